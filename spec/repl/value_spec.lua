local ml = require "mlua"
local value = require "mlua.repl.value"

local function show(v, width) return value.show(v, width or 80) end

describe("a value at the prompt", function()
  it("is a string in quotes that Lua reads back", function()
    local s = 'a "b"\n\t\\ \0 é'
    assert.equal([["a \"b\"\n\t\\ \000 é"]], show(s))
    assert.equal(s, loadstring("return " .. show(s))())
    assert.equal('"' .. ("x"):rep(2000) .. '"… (3000 bytes)', show(("x"):rep(3000)))
    assert.equal('"x' .. ("é"):rep(999) .. '"… (2001 bytes)', show("x" .. ("é"):rep(1000)))
  end)

  it("is a function with its parameters and its place", function()
    local function f(x, axis, ...) return x, axis, ... end
    local line = debug.getinfo(f, "S").linedefined
    assert.equal(("function(x, axis, ...) <%s:%d>"):format(
      debug.getinfo(1, "S").source:sub(2), line), show(f))
    assert.equal("function <built in>", show(print))
    assert.truthy(show(ml.scope):match("^function%(fn, %.%.%.%) <mlua/ffi/init%.lua:%d+>$"))
  end)

  it("is what else Lua has, as tostring has it", function()
    assert.equal("nil true 1.5 42LL", table.concat({ show(nil), show(true), show(1.5),
      show(42LL) }, " "))
    assert.equal("coroutine <suspended>", show(coroutine.create(print)))
    assert.truthy(show(io.stdout):match("^file %("))
  end)

  it("is a tensor as it prints itself, and within a table its kind alone", function()
    local t = ml.ones(2, 3)
    assert.equal(tostring(t), show(t))
    assert.equal("{ [f32 2×3 cpu] }", show { t })
  end)

  it("is a table on one line where it fits: positions first, then sorted keys", function()
    assert.equal("{}", show {})
    assert.equal('{ 1, "two", [true] = 4, a = 3, b = { c = true }, ["no name"] = 5 }',
      show { 1, "two", b = { c = true }, a = 3, ["no name"] = 5, [true] = 4 })
    assert.equal("{ [-1] = 1, [3] = 2 }", show { [3] = 2, [-1] = 1 })
  end)

  it("is a wide table on several lines: positions fill them, keys have one each", function()
    assert.equal([[
{
  1000, 1001, 1002,
  1003,
  name = { 1, 2 },
  other = "………………………"
}]], show({ 1000, 1001, 1002, 1003, name = { 1, 2 }, other = ("…"):rep(9) }, 24))
  end)

  it("is a table to a depth and a number of items, and marks one inside itself", function()
    assert.equal("{ { { { { … } } } } }", show { { { { { 1 } } } } })
    assert.equal("{ { { { {} } } } }", show { { { { {} } } } })
    local t = { x = {} }
    t.x.back = t
    assert.equal("{ x = { back = { itself } } }", show(t))
    local shared = {}
    assert.equal("{ {}, {} }", show { shared, shared })
    local long = {}
    for i = 1, 1000 do long[i] = 0 end
    assert.truthy(show(long):match("0,\n  … 600 more\n}$") or show(long):match(", … 600 more\n}$"))
    for i = 1, 5000 do long["k" .. i] = 0 end
    assert.truthy(show(long):match("… 5000 more\n}$"))
  end)

  it("is an object by its __tostring, or as a table where that fails", function()
    local model = ml.nn.MLP.new { sizes = { 2, 3, 1 } }
    assert.equal(tostring(model), show(model))
    assert.equal("{\n  " .. tostring(model):gsub("\n", "\n  ") .. "\n}", show { model })
    local broken = setmetatable({ 1 }, { __tostring = function() error "broken" end })
    assert.equal("{ 1 }", show(broken))
  end)

  it("never calls a user's __index or __pairs", function()
    local function never() error "called" end
    local t = setmetatable({ 1, a = 2 }, { __index = never, __pairs = never, __len = never })
    assert.equal("{ 1, a = 2 }", show(t))
  end)

  it("is a module with its names", function()
    local text = show(ml.nn)
    assert.equal("module mlua.nn\n  ", text:sub(1, 17))
    for _, name in ipairs { "DLRM", "Linear", "initialise" } do -- not loaded yet, some
      assert.truthy(text:find(name, 1, true), name)
    end
  end)

  it("stands beside others on one line, unless one has several", function()
    assert.equal("1\tnil\t\"a\"", value.list(3, 1, nil, "a"))
    local t = ml.ones(2, 2)
    assert.equal("1\n" .. tostring(t), value.list(2, 1, t))
  end)
end)
