-- Tensors and numbers of different dtypes: what they meet in (docs/tensors.md has the table).
local ml = require "mlua"
local mistake = require "spec.support.mistake"

local FLOAT = { f64 = 8, f32 = 4, bf16 = 2, f16 = 2 }
local WHOLE = { i64 = 8, i32 = 4, u8 = 2, bool = 1 }
local ALL = { "f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool" }

-- The rules in words: floats before integers before bool, the wider before the narrower, bf16 and
-- f16 in f32.
local function meet(a, b)
  if a == b then return a end
  if FLOAT[a] and FLOAT[b] then
    if FLOAT[a] == FLOAT[b] then return "f32" end
    return FLOAT[a] > FLOAT[b] and a or b
  end
  if FLOAT[a] or FLOAT[b] then return FLOAT[a] and a or b end
  return WHOLE[a] > WHOLE[b] and a or b
end

local function is_whole(dtype) return not FLOAT[dtype] end

describe("tensors of two dtypes", function()
  local x, y = ml.tensor({ 1, 0, 1 }, "f64"), ml.tensor({ 1, 1, 0 }, "f64")

  it("meet in the wider float, else in the wider integer, bool in i64 for arithmetic", function()
    for _, a in ipairs(ALL) do
      for _, b in ipairs(ALL) do
        local want = meet(a, b)
        local sum = x:to(a) + y:to(b)
        assert.equal(want == "bool" and "i64" or want, sum:dtype(), a .. " + " .. b)
        assert.same({ 2, 1, 1 }, sum:totable())
        assert.equal("bool", x:to(a):lt(y:to(b)):dtype())
        assert.same({ false, true, false }, x:to(a):lt(y:to(b)):totable())
        local chosen = ml.where(ml.tensor { true, false, true }, x:to(a), y:to(b))
        assert.equal(want, chosen:dtype(), ("where %s %s"):format(a, b))
        local joined = ml.cat { x:to(a), y:to(b) }
        assert.equal(want, joined:dtype(), ("cat %s %s"):format(a, b))
        assert.same({ 1, 0, 1, 1, 1, 0 }, joined:to("f64"):totable())
      end
    end
  end)

  it("give the same in either order", function()
    for _, a in ipairs(ALL) do
      for _, b in ipairs(ALL) do
        assert.same((x:to(a) * y:to(b)):totable(), (y:to(b) * x:to(a)):totable())
      end
    end
  end)

  it("are divided in f32 where both are integers, as roots and exponentials are taken", function()
    for _, a in ipairs(ALL) do
      local want = is_whole(a) and "f32" or a
      assert.equal(want, (x:to(a) / x:to(a)):dtype())
      assert.equal(want, x:to(a):sqrt():dtype())
    end
    assert.same({ 0.5, 1.5 }, (ml.tensor({ 1, 3 }, "i64") / ml.tensor({ 2, 2 }, "i32")):totable())
    assert.same({ 0, 1 }, ml.tensor({ 1, 3 }, "i64"):floor_divide(2):totable())
  end)

  it("keep 64-bit integers exact", function()
    local big = ml.tensor({ 2 ^ 53 }, "i64") + ml.tensor({ 1 }, "i32")
    assert.equal("i64", big:dtype())
    assert.equal("9007199254740993", tostring(big:data()[0]):match "%d+")
  end)

  it("pass gradients back to each in its own dtype", function()
    local a = ml.tensor({ 1, 2 }, "bf16"):requires_grad()
    local b = ml.tensor({ 3, 4 }, "f64"):requires_grad();
    (a * b):sum():backward()
    assert.equal("bf16", a:grad():dtype())
    assert.equal("f64", b:grad():dtype())
    assert.same({ { 3, 4 }, { 1, 2 } }, { a:grad():totable(), b:grad():totable() })
  end)

  it("are refused by operations on matrices and tables where neither fits", function()
    assert.equal("bad argument #1 to 'matmul' (a: expected f64 or f32, got i64)",
      mistake(function()
        local whole = ml.ones(2, 2, { dtype = "i64" })
        whole:matmul(whole)
      end))
    assert.equal("f32", ml.ones(2, 2, { dtype = "i64" }):matmul(ml.ones(2, 2)):dtype())
  end)
end)

describe("a number and a tensor", function()
  it("meet in the tensor's dtype; a fraction and integers in f32; bool counts as i64", function()
    for _, a in ipairs(ALL) do
      local t = ml.ones(2, { dtype = a })
      local whole, fraction = a == "bool" and "i64" or a, is_whole(a) and "f32" or a
      for name, f in pairs {
        ["+"] = function(v) return t + v, v + t end, ["-"] = function(v) return t - v, v - t end,
        ["*"] = function(v) return t * v, v * t end,
        maximum = function(v) return t:maximum(v), t:minimum(v) end,
      } do
        local p, q = f(3)
        assert.same({ whole, whole }, { p:dtype(), q:dtype() }, a .. " " .. name .. " 3")
        p, q = f(0.5)
        assert.same({ fraction, fraction }, { p:dtype(), q:dtype() }, a .. " " .. name .. " 0.5")
      end
      assert.same({ 1.5, 1.5 }, (t + 0.5):totable())
      assert.same({ true, true }, t:gt(0.5):totable())
    end
  end)
end)

describe("sums and products", function()
  it("of integers and bool are in i64, which does not wrap around at 256", function()
    for _, a in ipairs { "i64", "i32", "u8", "bool" } do
      assert.equal("i64", ml.ones(3, { dtype = a }):sum():dtype())
      assert.equal("i64", ml.op.prod(ml.ones(3, { dtype = a })):dtype())
    end
    assert.equal(600, ml.full(200, 3, { dtype = "u8" }):sum():item())
    assert.equal(2, ml.tensor({ true, false, true }):sum():item())
  end)
end)
