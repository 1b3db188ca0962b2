-- Tensors: creation, views, elements, printing, and mistakes in one line at the user's.
local ml = require "mlua"

-- The message of a mistake made in fn, which must name the line that made it.
local function mistake(fn)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  assert.equal("string", type(message))
  local place, rest = message:match("^(.-spec/[%w_/]+_spec%.lua:%d+): (.*)$")
  assert.is_not_nil(place, "no place in: " .. message)
  assert.is_nil(rest:find("\n"), rest)
  assert.is_nil(rest:find("cannot convert", 1, true), rest)
  return rest
end

describe("a tensor", function()
  it("is made of nested lists and gives them back", function()
    assert.same({ { 1, 2 }, { 3, 4 } }, ml.tensor({ { 1, 2 }, { 3, 4 } }):totable())
    assert.equal(7, ml.tensor(7):totable())
    assert.same({}, ml.tensor({}):totable())
    assert.same({ {}, {} }, ml.zeros(2, 0):totable())
    assert.same({ true, false }, ml.tensor({ true, 0 }, "bool"):totable())
  end)

  it("is of truth values where its entries all are", function()
    assert.equal("bool", ml.tensor({ { true, false } }):dtype())
    assert.equal("bool", ml.tensor(true):dtype())
    assert.equal("f32", ml.tensor({ true, 2 }):dtype())
    assert.equal("f32", ml.tensor({ true, false }, "f32"):dtype())
    assert.equal("f32", ml.tensor({}):dtype())
  end)

  it("of integers wraps around, as NumPy's do", function()
    local b = ml.tensor({ 1, 255 }, "u8")
    assert.same({ 2, 0 }, (b + 1):totable())
    assert.same({ 2, 254 }, (b * 2):totable())
    assert.same({ 255, 253 }, (b - 2):totable())
  end)

  it("converts what is out of range to the nearest end", function()
    local t = ml.tensor { 1e20, -1e20 }
    assert.same({ 2 ^ 63, -2 ^ 63 }, t:to("i64"):totable())
    assert.same({ 2 ^ 31 - 1, -2 ^ 31 }, t:to("i32"):totable())
    assert.equal(" 9223372036854775807 -9223372036854775808   [i64 2 cpu]", tostring(t:to "i64"))
  end)

  it("gives Lua any pattern of NaN as NaN, not as what LuaJIT keeps in those bits", function()
    for dtype, pattern in pairs { f64 = 4, f32 = 2, f16 = 1, bf16 = 1 } do
      local t = ml.empty(2, { dtype = dtype })
      local words = ml.wrap(t:data(), "u8", { 2 * 2 * pattern })
      for _, last in ipairs { 255, 251 } do
        words:fill(255):put(last, 1)
        for _, v in ipairs { t:at(1), t:totable()[1], t[2]:item(), t[2]:totable() } do
          assert.equal("number", type(v))
          assert.is_true(v ~= v)
        end
      end
    end
  end)

  it("of losses keeps NaN", function()
    local loss = ml.bce(ml.tensor { 0.5, 0 / 0 }, ml.tensor { 0, 1 }):item()
    assert.is_true(loss ~= loss)
  end)

  it("is of no axes where no sizes are given", function()
    assert.same({}, ml.zeros():shape())
    assert.equal(0, ml.zeros():item())
    assert.equal(1, ml.ones({ dtype = "i64" }):item())
  end)

  it("holds whole numbers exactly up to 2^53", function()
    assert.equal(2 ^ 53, ml.tensor({ 2 ^ 53 }, "i64"):at(1))
  end)

  it("of a range begins, steps and ends as said, before its end", function()
    assert.same({ 2, 3, 4 }, ml.arange(2, 5):totable())
    assert.equal("i64", ml.arange(2, 5):dtype())
    assert.same({ 5, 3, 1 }, ml.arange(5, 0, -2):totable())
    assert.same({ 0, 0.25, 0.5, 0.75 }, ml.arange(0, 1, 0.25):totable())
    assert.same({ "f32", "f64" },
      { ml.arange(0, 1, 0.25):dtype(), ml.arange(0, 3, 1, "f64"):dtype() })
    assert.same({ 2, 3 }, ml.arange(2, 4, "u8"):totable())
    assert.equal(0, ml.arange(3, 3):count())
  end)

  it("of integers times a fraction is in f32", function()
    assert.same({ 0, 2, 4 }, (ml.arange(3) * 2):totable())
    assert.same({ 0, 0.5, 1 }, (ml.arange(3) * 0.5):totable())
  end)

  it("keeps NaN through relu", function()
    local y = ml.tensor({ 0 / 0, -1, 2 }):relu():totable()
    assert.is_true(y[1] ~= y[1])
    assert.same({ 0, 2 }, { y[2], y[3] })
  end)
end)

describe("a view", function()
  local x = ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

  it("shares elements", function()
    local t = ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    t:transpose():select(1, -1):put(60, 2)
    assert.equal(60, t:at(2, 3))
  end)

  it("outlives the tensor that it was made from", function()
    local v = ml.tensor({ { 1, 2 }, { 3, 4 } }):select(1, 2)
    collectgarbage()
    collectgarbage()
    ml.full(9, 2, 2)
    assert.same({ 3, 4 }, v:totable())
  end)

  it("is cut, swapped, widened and reshaped as said", function()
    assert.same({ { 2, 3 }, { 5, 6 } }, x:narrow(2, 2, -1):totable())
    assert.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, x:transpose():totable())
    assert.same({ { 1, 4, 2 }, { 5, 3, 6 } }, x:transpose():reshape(2, -1):totable())
    assert.same({ 2, 1, 3 }, x:unsqueeze(2):shape())
    assert.same({ 2, 3, 1 }, x:unsqueeze(-1):shape())
    assert.same({ 2, 3 }, x:unsqueeze(1):squeeze():shape())
    assert.same({ { 1, 1 }, { 2, 2 } }, ml.tensor({ { 1 }, { 2 } }):expand(2, 2):totable())
    assert.same({ 0, 3 }, x:narrow(1, 2, 1):shape())
  end)

  it("may be copied onto its own tensor", function()
    local t = ml.tensor { { 1, 2 }, { 3, 4 } }
    t:copy(t:transpose())
    assert.same({ { 1, 3 }, { 2, 4 } }, t:totable())
  end)
end)

describe("an empty tensor", function()
  it("passes through operations", function()
    local e = ml.zeros(0, 3)
    assert.equal(0, e:sum():item())
    assert.same({ 0, 0, 0 }, e:sum(1):totable())
    assert.same({ 0, 3 }, (e + 1):relu():shape())
    assert.same({ 3, 3 }, e:matmul(e, true):shape())
    assert.same({ 0, 3 }, ml.cat({ e, e }, 1):shape())
    assert.equal("[f32 0×3 cpu]", tostring(e))
    assert.same({ 0, 2 }, e:reshape(0, 3):narrow(2, 1, 2):contiguous():shape())
  end)
end)

describe("printing", function()
  it("shows columns, then dtype, shape and device", function()
    assert.equal("1. 2.\n3. 4.   [f32 2×2 cpu]", tostring(ml.tensor { { 1, 2 }, { 3, 4 } }))
    assert.equal("0.5 nan   [f32 2 cpu]", tostring(ml.tensor { 0.5, 0 / 0 }))
    assert.equal("5   [i64 scalar cpu]", tostring(ml.tensor(5, "i64")))
  end)

  it("shows the ends of a long axis", function()
    assert.equal("   0    1    2 … 1998 1999 2000   [i64 2001 cpu]", tostring(ml.arange(2001)))
  end)
end)

describe("a mistake", function()
  local x = ml.zeros(2, 3)
  local huge = 2 ^ 52

  for message, fn in pairs {
    ["bad argument #2 to 'matmul' (b: expected [3, *], got [2, 3])"] =
      function() local _ = x:matmul(x) end,
    ["bad argument #2 to 'add' (b: expected a tensor, got 'x')"] = function() local _ = x + "x" end,
    ["bad argument #2 to 'add' (shapes [2, 3] and [2] do not broadcast)"] =
      function() local _ = x + ml.zeros(2) end,
    ["bad argument #2 to 'sum' (axis: expected 1 to 2 or negative, got 3)"] =
      function() x:sum(3) end,
    ["bad argument #2 to 'sum' (axis: expected a whole number, got nan)"] =
      function() x:sum(0 / 0) end,
    ["bad argument #3 to 'sum' (keep: expected true or false, got 1)"] = function() x:sum(1, 1) end,
    ["bad argument #1 to 'zeros' (size: expected a whole number of at least 0, got -1)"] =
      function() ml.zeros(-1) end,
    ["bad argument #2 to 'zeros' (size: expected a whole number of at least 0, got nil)"] =
      function() ml.zeros(1, nil, 3) end,
    ["bad argument #1 to 'zeros' (size: expected a whole number of at least 0, got 1e+30)"] =
      function() ml.zeros(1e30) end,
    ["bad argument #1 to 'zeros' (size: expected a whole number of at least 0, got '3')"] =
      function() ml.zeros "3" end,
    ["no tensor of shape [4503599627370496, 4503599627370496]"] =
      function() ml.zeros(huge, huge) end,
    ["9 axes: expected 0 to 8"] = function() ml.zeros(1, 1, 1, 1, 1, 1, 1, 1, 1) end,
    ["zeros: unknown option 'dtyp', did you mean 'dtype'?"] =
      function() ml.zeros(2, { dtyp = "f32" }) end,
    ["no dtype 'f33': expected f64, f32, bf16, f16, i64, i32, u8 or bool"] =
      function() ml.zeros(2, { dtype = "f33" }) end,
    ["bad argument #1 to 'full' (value: expected a number, got nil)"] =
      function() ml.full(nil, 2) end,
    ["rand: option seed: expected a whole number of at least 0, got 0.5"] =
      function() ml.rand(2, { seed = 0.5 }) end,
    ["bad argument #1 to 'uniform' (lo: expected a number, got nil)"] = function() ml.uniform() end,
    ["bad argument #1 to 'seed' (n: expected a whole number of at least 0, got nil)"] =
      function() ml.seed() end,
    ["bad argument #1 to 'seed' (n: expected a whole number of at least 0, got -1)"] =
      function() ml.seed(-1) end,
    ["arange: a step of 0"] = function() ml.arange(0, 1, 0) end,
    ["bad argument #3 to 'arange' (step: expected a number, got true)"] =
      function() ml.arange(0, 1, true) end,
    ["mean: expected a floating-point tensor, got i32"] = function() ml.arange(3, "i32"):mean() end,
    ["mean: axis 5 of a tensor of 2 axes"] = function() x:mean(5) end,
    ["a tensor has no field 'foo'"] = function() x:foo() end,
    ["a tensor has no field 'meen', did you mean 'mean'?"] = function() local _ = x.meen end,
    ["a tensor's field 'x' cannot be set; use put(value, …), fill(value) or copy(from)"] =
      function() x.x = 1 end,
    ["<, >: Lua makes one truth value of these; use lt(…), gt(…) for each element, or item()"] =
      function() local _ = x < x end,
    ["<=, >=: Lua makes one truth value of these; use le(…), ge(…) for each element, or item()"] =
      function() local _ = x >= 1 end,
    ["..: a tensor is not a string; use tostring(t), or ml.cat to join tensors"] =
      function() local _ = x .. "x" end,
    ["a tensor is not a function; at(…) has its elements"] = function() x() end,
    ["bad argument #2 to 'affine' (expected a whole number for u8, got 0.5)"] =
      function() ml.op.affine(ml.tensor({ 1 }, "u8"), 0.5) end,
    ["256 is not in the range of u8; convert the tensor first"] =
      function() local _ = ml.tensor({ 1 }, "u8") + 256 end,
    ["-1 is not in the range of u8; convert the tensor first"] =
      function() ml.tensor({ 1 }, "u8"):maximum(-1) end,
    ["to: no device 'cuda' in this build, there is 'cpu'"] = function() x:to "cuda" end,
    ["bad argument #1 to 'bce' (input: 1.5 at position 1 is outside 0 to 1)"] =
      function() ml.bce(ml.tensor { 0.5, 1.5 }, ml.tensor { 0, 1 }) end,
    ["bad argument #1 to 'bce' (input: -0.25 at position 0 is outside 0 to 1)"] =
      function() ml.bce(ml.tensor { -0.25, 1 }, ml.tensor { 0, 1 }) end,
    ["bad argument #1 to 'arange' (n: expected a whole number of at least 0, got -1)"] =
      function() ml.arange(-1) end,
    ["arange: 300 numbers as 'u8'"] = function() ml.arange(300, "u8") end,
    ["tensor: [2]: expected a list of 2, got 1"] = function() ml.tensor { { 1, 2 }, { 3 } } end,
    ["tensor: [2][1]: expected a number, got 'x'"] = function() ml.tensor { { 1 }, { "x" } } end,
    ["tensor: expected a number, got a tensor"] = function() ml.tensor(x) end,
    ["tensor: [2]: expected a whole number that i64 holds, got 1.5"] =
      function() ml.tensor({ 1, 1.5 }, "i64") end,
    ["tensor: [1]: expected a whole number that u8 holds, got 256"] =
      function() ml.tensor({ 256 }, "u8") end,
    ["tensor: lists nested deeper than 8"] = function()
      local t = {}
      t[1] = t
      ml.tensor(t)
    end,
    ["at: expected 2 positions, got 1"] = function() x:at(1) end,
    ["at: position 4 of 3 along axis 2"] = function() x:at(1, 4) end,
    ["bad argument #2 to 'at' (position: expected a whole number, got nil)"] =
      function() x:at(1, nil) end,
    ["bad argument #1 to 'put' (value: expected a number, got nil)"] =
      function() x:put(nil, 1, 1) end,
    ["size: axis 0 of a tensor of 2 axes"] = function() x:size(0) end,
    ["bad argument #1 to 'size' (axis: expected a whole number, got nil)"] =
      function() x:size() end,
    ["reshape: [2, 3] has 6 elements, [4, 2] 8"] = function() x:reshape(4, 2) end,
    ["reshape: [2, 3] has 6 elements, [4, -1] does not divide them"] =
      function() x:reshape(4, -1) end,
    ["reshape: two sizes of -1"] = function() x:reshape(-1, -1) end,
    ["reshape: any size would do for the -1 of [0, -1]"] =
      function() ml.zeros(0):reshape(0, -1) end,
    ["bad argument #2 to 'reshape' (size: expected a whole number of at least -1, got 1.5)"] =
      function() x:reshape(4, 1.5) end,
    ["narrow: 0 to 2 of 2 along axis 1"] = function() x:narrow(1, 0, 2) end,
    ["bad argument #2 to 'narrow' (from: expected a whole number, got nil)"] =
      function() x:narrow(1) end,
    ["select: position 3 of 2 along axis 1"] = function() x:select(1, 3) end,
    ["expand: [2, 3] does not broadcast to [3]"] = function() x:expand(3) end,
    ["bad argument #1 to 'expand' (size: expected a whole number of at least 0, got -1)"] =
      function() x:expand(-1, 3) end,
    ["squeeze: axis 1 has size 2"] = function() x:squeeze(1) end,
    ["unsqueeze: axis 4 of a tensor of 3 axes"] = function() x:unsqueeze(4) end,
    ["copy: expected [2, 3], got [3, 3]"] = function() x:copy(ml.zeros(3, 3)) end,
    ["bad argument #1 to 'copy' (from: expected a tensor or a number, got nil)"] =
      function() x:copy() end,
    ["bad argument #1 to 'fill' (value: expected a number, got 'x')"] = function() x:fill "x" end,
    ["item: expected one element, got [2, 3]"] = function() x:item() end,
    ["bad argument #1 to 'backward' (gradient: expected a tensor, got 3)"] =
      function() x:backward(3) end,
    ["bad argument #1 to 'cat' (xs: expected a list of tensors, got a tensor)"] =
      function() ml.cat(x, 1) end,
    ["bad argument #1 to 'cat' (xs: expected at least one tensor)"] = function() ml.cat({}, 1) end,
    ["bad argument #1 to 'cat' (xs[2]: expected a tensor, got 3)"] =
      function() ml.cat({ x, 3 }, 1) end,
    ["bad argument #2 to 'cat' (axis: 1, but the tensor has no axes)"] =
      function() ml.cat({ ml.zeros() }, 1) end,
    ["bad argument #2 to 'maximum' (shapes [3, 2] and [3] do not broadcast)"] =
      function() ml.maximum(ml.zeros(3, 2), ml.zeros(3)) end,
    ["bad argument #4 to 'linear' (act: expected one of none, relu, sigmoid, got 'gelu')"] =
      function() ml.linear(x, x, nil, "gelu") end,
    ["bad argument #1 to 'threads' (n: expected a whole number, 1 to 1024, got 0)"] =
      function() ml.threads(0) end,
    ["bad argument #1 to 'wrap' (pointer: expected a pointer, got a tensor)"] =
      function() ml.wrap(x, "f32", { 2 }) end,
    ["expected a tensor, got nil"] = function() x.shape() end,
  } do
    it("is told at its line: " .. message, function()
      assert.equal(message, mistake(fn))
    end)
  end

  it("with eight large sizes fits its message", function()
    local message = mistake(function() ml.zeros(huge, huge, huge, huge, huge, huge, huge, huge) end)
    assert.equal("no tensor of shape [" .. ("4503599627370496, "):rep(7) .. "4503599627370496]",
      message)
  end)
end)
