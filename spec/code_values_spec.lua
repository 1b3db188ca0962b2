local code = require "mlua.code"

-- What a text returns; all that was remembered is forgotten first.
local function load_text(text)
  code.forget()
  return assert(loadstring(text, "@recipes/x.lua"))()
end

describe("code.value_digest", function()
  after_each(code.forget)

  it("tells values and types apart", function()
    local seen = {}
    local values = { 1, "1", true, false, "true", 1.5, 0 / 0, 1 / 0, -1 / 0, "", 0, {}, { 1 },
      { "1" }, { { 1 } }, { a = 1 }, { b = 1 }, { a = 2 }, { 1, 2 }, { 2, 1 }, { [1.5] = 1 },
      { a = {} }, 1LL, 1ULL, print, math.floor, math }
    for i, v in pairs(values) do
      local hex = code.value_digest(v)
      assert.matches("^" .. ("%x"):rep(64) .. "$", hex)
      assert.is_nil(seen[hex] and ("%d and %d"):format(seen[hex], i))
      seen[hex] = i
    end
    assert.not_equal(code.value_digest(nil), code.value_digest(false))
  end)

  it("does not depend on the order of keys, nor on whether equal tables are one", function()
    local a, b = {}, {}
    for i = 1, 50 do a["k" .. i], b["k" .. 51 - i] = i, 51 - i end
    assert.equal(code.value_digest(a), code.value_digest(b))
    local shared = { 1, 2 }
    assert.equal(code.value_digest { shared, shared }, code.value_digest { { 1, 2 }, { 1, 2 } })
    assert.equal(code.value_digest { [{ 1 }] = "a", [{ 2 }] = "b" },
      code.value_digest { [{ 2 }] = "b", [{ 1 }] = "a" })
  end)

  it("takes cycles, and long lists without a stack", function()
    local function ring(v)
      local a = { v = v }
      a.next = { next = a }
      return a
    end
    assert.equal(code.value_digest(ring(1)), code.value_digest(ring(1)))
    assert.not_equal(code.value_digest(ring(1)), code.value_digest(ring(2)))
    local key = {}
    key[key] = 1
    assert.matches("^%x+$", code.value_digest(key))
    local list
    for i = 1, 50000 do list = { i, list } end
    assert.matches("^%x+$", code.value_digest(list))
    local ladder = {}
    for _ = 1, 60 do ladder = { ladder, ladder } end
    assert.matches("^%x+$", code.value_digest(ladder))
  end)

  it("counts tensors by dtype, shape and elements", function()
    local ml = require "mlua"
    local function of(values, options) return code.value_digest { ml.tensor(values, options) } end
    assert.equal(of { 1, 2, 3, 4 }, of { 1, 2, 3, 4 })
    assert.not_equal(of { 1, 2, 3, 4 }, of { 1, 2, 3, 5 })
    assert.not_equal(of { 1, 2, 3, 4 }, of { { 1, 2 }, { 3, 4 } })
    assert.not_equal(of { 1, 2 }, of({ 1, 2 }, { dtype = "f64" }))
    assert.matches("^%x+$", code.value_digest(ml.scope(function()
      return { require("ffi").typeof(ml.zeros(1)) } -- the type of tensors, which is none
    end)))
    assert.equal(code.value_digest(ml.tensor { { 1, 2 }, { 3, 4 } }:transpose(1, 2)),
      code.value_digest(ml.tensor { { 1, 3 }, { 2, 4 } }))
  end)
end)

describe("code.reads", function()
  local function reads(text, n, methods) return code.reads(load_text(text), n or 1, methods) end

  it("is the set of constant fields that are read of a parameter", function()
    assert.same({ rows = true, path = true, seed = true }, reads [[return function(self, x)
      local me = self
      self.done = true
      if x then return me.rows * 2 end
      return self.path, function() return self.seed end
    end]])
    assert.same({ rows = true }, reads("return function(x, self) return self.rows.count end", 2))
    assert.same({}, reads "return function(x) return 1 end")
    assert.same({}, reads("return function() return 1 end", 3))
  end)

  it("is nil where the parameter goes elsewhere", function()
    for _, body in ipairs { "return self", "print(self)", "return self[x]", "x.me = self",
                            "return { self }", "for k in pairs(self) do print(k) end",
                            "self:log(1)", "return function() self = x end", "return self == x",
                            "x = x or self return x(1)", "return #self", "return self .. x" } do
      assert.is_nil(reads("return function(self, x) " .. body .. " end"), body)
    end
  end)

  it("lets named methods be called", function()
    local text = "return function(self) self:log(self.rows) return self.seed end"
    assert.same({ rows = true, seed = true }, reads(text, 1, { log = true }))
    assert.is_nil(reads(text, 1, { save = true }))
    assert.is_nil(reads("return function(self) self.log(self, 1, self) end", 1, { log = true }))
  end)

  it("reads what is only tested", function()
    assert.same({ fast = true }, reads "return function(self) if self.fast then return 1 end end")
  end)
end)

describe("code.changes", function()
  after_each(code.forget)

  local function parts(text) return code.digest(load_text(text), "run").parts end

  it("names what changed, is new and is gone, at the new lines, in order", function()
    local old = parts [[local function scale(x) return x * 2 end
local function shift(x) return x + 1 end
return function(x) return scale(shift(x)) end]]
    local new = parts [[
local function scale(x) return x * 3 end

local function cut(x) return x - 1 end
return function(x) return scale(cut(x)) end]]
    assert.same({ "cut (recipes/x.lua:3) is new", "scale (recipes/x.lua:1) changed",
                  "shift (recipes/x.lua:2) is gone" }, code.changes(old, new))
    assert.same({}, code.changes(old, old))
  end)

  it("names the function that reads a value that changed, not those that call it", function()
    local text = [[local rate = %g
local function scale(x) return x * rate end
return function(x) return scale(x) end]]
    assert.same({ "scale (recipes/x.lua:2) changed" },
      code.changes(parts(text:format(1)), parts(text:format(2))))
  end)

  it("does not mind lines that moved, or a new name", function()
    assert.same({}, code.changes(
      parts "local function a(x) return x * 2 end return function(x) return a(x) end",
      parts "\n\nlocal function b(x) return x * 2 end\nreturn function(x) return b(x) end"))
  end)
end)

describe("an upvalue that a function assigns", function()
  local function counter(start)
    return load_text(("local n = %d return function() n = n + 1 return n end"):format(start))
  end

  it("is state: neither its value nor a run changes the digest, and a note says so", function()
    local f = counter(1)
    local before = code.digest(f)
    f()
    code.forget()
    assert.equal(before.digest, code.digest(f).digest)
    assert.equal(before.digest, code.digest(counter(5)).digest)
    assert.same({ "the value of 'n' does not count: a function at recipes/x.lua:1 assigns it" },
      before.notes)
  end)

  it("is one also where an inner function assigns it", function()
    local f = load_text "local n = 0 return function() return (function() n = 1 end) end"
    local before = code.digest(f).digest
    f()()
    code.forget()
    assert.equal(before, code.digest(f).digest)
  end)
end)
