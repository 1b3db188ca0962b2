-- Pools and upsampling, by hand. Values and gradients of many more: spec/op/torch_spec.lua.
local ml = require "mlua"
local mistake = require "spec.support.mistake"

local function row(...) return ml.tensor { { { ... } } } end
local NAN = 0 / 0

describe("max_pool", function()
  it("takes the largest of each window, in steps of the kernel", function()
    assert.same({ { { 3, 5 } } }, ml.max_pool(row(1, 3, 5, 4, 9), 2):totable())
    assert.same({ { { 3, 5, 5, 9 } } },
      ml.max_pool(row(1, 3, 5, 4, 9), 2, { stride = 1 }):totable())
    assert.same({ { { 5, 4, 9 } } },
      ml.max_pool(row(1, 3, 5, 4, 9), 2, { stride = 1, dilation = 2 }):totable())
    local x = ml.arange(16, "f32"):reshape(1, 1, 4, 4)
    assert.same({ { { { 4, 6 }, { 12, 14 } } } },
      ml.max_pool(x, { 2, 1 }, { stride = 2 }):totable())
  end)

  it("never takes padding, and passes the end where asked", function()
    assert.same({ { { -1, -2, -4 } } },
      ml.max_pool(row(-1, -2, -3, -4), 2, { padding = 1 }):totable())
    assert.same({ { { 3, 5, 9 } } },
      ml.max_pool(row(1, 3, 5, 4, 9), 2, { ceil_mode = true }):totable())
  end)

  it("says where in the plane the largest are, the first of equals", function()
    local x = ml.tensor { { { { 1, 7, 2 }, { 7, 3, 8 }, { 0, 0, 0 } } } }
    local y, i = ml.max_pool(x, 2, { stride = 1, indices = true })
    assert.same({ { { { 7, 8 }, { 7, 8 } } } }, y:totable())
    assert.same({ { { { 1, 5 }, { 3, 5 } } } }, i:totable())
    assert.equal("i64", i:dtype())
  end)

  it("sends the gradient to the largest alone, added up", function()
    local x = row(1, 3, 2):requires_grad()
    ml.max_pool(x, 2, { stride = 1 }):sum():backward()
    assert.same({ { { 0, 2, 0 } } }, x:grad():totable())
  end)

  it("is NaN where a window has one", function()
    local y = ml.max_pool(row(1, NAN, 2, 3), 2):totable()[1][1]
    assert.is_true(y[1] ~= y[1])
    assert.equal(3, y[2])
  end)

  it("says what does not fit", function()
    local x = row(1, 2, 3)
    for message, f in pairs {
      ["bad argument #2 to 'max_pool' (kernel: it reaches over 4 along axis 3 of x, which has 3 "
        .. "with its padding)"] = function() ml.max_pool(x, 4) end,
      ["bad argument #2 to 'max_pool' (kernel: expected a whole number or a list of 1, got nil)"] =
        function() ml.max_pool(x) end,
      ["bad argument #3 to 'max_pool' (padding: expected 0 to 1, got 2)"] =
        function() ml.max_pool(x, 2, { padding = 2 }) end,
      ["bad argument #3 to 'max_pool' (unknown option 'ceil', did you mean 'ceil_mode'?)"] =
        function() ml.max_pool(x, 2, { ceil = true }) end,
      ["bad argument #3 to 'max_pool' (ceil_mode: expected true or false, got 1)"] =
        function() ml.max_pool(x, 2, { ceil_mode = 1 }) end,
      ["bad argument #1 to 'max_pool' (x: expected [N, C, *] with one to three axes after the "
        .. "channels, none empty, got [1, 2, 0])"] =
        function() ml.max_pool(ml.zeros(1, 2, 0), 1) end,
    } do
      assert.equal(message, mistake(f))
    end
  end)
end)

describe("avg_pool", function()
  it("counts zeros of the padding, or does not", function()
    local x = row(2, 4, 6, 8)
    assert.same({ { { 3, 7 } } }, ml.avg_pool(x, 2):totable())
    assert.same({ { { 2, 6 } } }, ml.avg_pool(x, 3, { padding = 1, stride = 2 }):totable())
    assert.same({ { { 3, 6 } } },
      ml.avg_pool(x, 3, { padding = 1, stride = 2, count_include_pad = false }):totable())
  end)

  it("divides by what a window past the end has", function()
    assert.same({ { { 3, 6 } } }, ml.avg_pool(row(2, 4, 6), 2, { ceil_mode = true }):totable())
  end)
end)

describe("adaptive pools", function()
  it("cut each axis into parts, which overlap where it does not divide", function()
    local x = row(1, 2, 3, 4, 5)
    -- parts 0..1, 1..3, 3..4 of five elements
    assert.same({ { { 1.5, 3, 4.5 } } }, ml.adaptive_avg_pool(x, 3):totable())
    assert.same({ { { 2, 4, 5 } } }, ml.adaptive_max_pool(x, 3):totable())
    assert.same({ { { { 2.5 } } } },
      ml.adaptive_avg_pool(ml.tensor { { { { 1, 2 }, { 3, 4 } } } }, 1):totable())
  end)

  it("refuse an empty part", function()
    assert.equal("bad argument #2 to 'adaptive_avg_pool' (size: expected 1 to 2147483647, got 0)",
      mistake(function() ml.adaptive_avg_pool(row(1, 2), 0) end))
  end)
end)

describe("upsample", function()
  it("repeats the nearest", function()
    assert.same({ { { 1, 1, 2, 2 } } }, ml.upsample(row(1, 2), { scale = 2 }):totable())
    assert.same({ { { { 1, 1, 2 }, { 1, 1, 2 } } } },
      ml.upsample(ml.tensor { { { { 1, 2 } } } }, { size = { 2, 3 } }):totable())
  end)

  it("goes linearly from middle to middle, or from corner to corner", function()
    assert.same({ { { 0, 1, 3, 4 } } }, ml.upsample(row(0, 4), { scale = 2, mode = "linear" })
      :totable())
    assert.same({ { { 0, 2, 4 } } },
      ml.upsample(row(0, 4), { size = 3, mode = "linear", align_corners = true }):totable())
    assert.same({ { { { 0, 1, 2 }, { 2, 3, 4 }, { 4, 5, 6 } } } },
      ml.upsample(ml.tensor { { { { 0, 2 }, { 4, 6 } } } },
        { size = 3, mode = "bilinear", align_corners = true }):totable())
  end)

  it("refuses what it does not know", function()
    local x = row(1, 2)
    for message, o in pairs {
      ["bad argument #2 to 'upsample' (expected size or scale)"] = {},
      ["bad argument #2 to 'upsample' (mode: expected nearest or linear, got 'linaer', did you "
        .. "mean 'linear'?)"] = { scale = 2, mode = "linaer" },
      ["bad argument #2 to 'upsample' (mode: expected nearest or linear, got 'bilinear')"] =
        { scale = 2, mode = "bilinear" },
      ["bad argument #2 to 'upsample' (scale: expected more than 0, got -1)"] = { scale = -1 },
      ["bad argument #2 to 'upsample' (align_corners: for linear alone)"] =
        { scale = 2, align_corners = true },
    } do
      assert.equal(message, mistake(function() ml.upsample(x, o) end))
    end
  end)
end)
