-- Normalisation, by hand; all cases of the cards are swept and compared with PyTorch elsewhere.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local near = require "spec.support.near"

local function flat(t) return t:contiguous():reshape(-1):totable() end

describe("layer_norm", function()
  it("makes a row's mean 0 and its variance 1", function()
    -- mean 2, variance ((1)^2 + 1^2) / 2 = 1 of [1, 3]; of [0, 8]: 4 and 16
    near({ -1, 1, -1, 1 }, flat(ml.layer_norm(ml.tensor { { 1, 3 }, { 0, 8 } }, nil, nil, 1, 0)))
  end)

  it("keeps a row of equal elements at the bias", function()
    local y = ml.layer_norm(ml.tensor { { 7, 7, 7 } }, ml.tensor { 1, 2, 3 }, ml.tensor { 4, 5, 6 })
    assert.same({ { 4, 5, 6 } }, y:totable())
  end)

  it("loses nothing to a mean a million times the deviation", function()
    local x = ml.tensor({ { 1e6, 1e6 + 1, 1e6 + 2, 1e6 + 3 } })
    local s = 1 / math.sqrt(1.25)
    near({ -1.5 * s, -0.5 * s, 0.5 * s, 1.5 * s }, flat(ml.layer_norm(x, nil, nil, 1, 0)), 1e-6)
  end)

  it("lets NaN spoil its own row alone", function()
    local y = ml.layer_norm(ml.tensor { { 0 / 0, 1 }, { 1, 3 } }, nil, nil, 1, 0):totable()
    assert.is_true(y[1][1] ~= y[1][1] and y[1][2] ~= y[1][2])
    near({ -1, 1 }, y[2])
  end)

  it("has the same bits for any number of threads, gradients too", function()
    local before, got = ml.threads(), {}
    for n = 1, 3 do
      ml.threads(n)
      local x = ml.randn(700, 130, { seed = 1, stream = 1 }):requires_grad()
      local w = ml.randn(130, { seed = 1, stream = 2 }):requires_grad()
      local y = ml.layer_norm(x, w)
      y:backward(ml.randn(700, 130, { seed = 1, stream = 3 }))
      got[n] = { y:totable(), x:grad():totable(), w:grad():totable() }
    end
    ml.threads(before)
    assert.same(got[1], got[2])
    assert.same(got[1], got[3])
  end)

  it("names the argument where sizes differ", function()
    local x = ml.zeros(2, 3)
    assert.equal("bad argument #2 to 'layer_norm' (weight: expected [3], got [2])",
      mistake(function() ml.layer_norm(x, ml.zeros(2)) end))
    assert.equal("bad argument #3 to 'layer_norm' (bias: expected [2, 3], got [3])",
      mistake(function() ml.layer_norm(x, nil, ml.zeros(3), 2) end))
    assert.equal("bad argument #4 to 'layer_norm' (axes: expected 1 to the 2 of x, got 3)",
      mistake(function() ml.layer_norm(x, nil, nil, 3) end))
    assert.equal("bad argument #1 to 'layer_norm' (x: expected f64 or f32, got i64)",
      mistake(function() ml.layer_norm(ml.zeros(2, { dtype = "i64" })) end))
  end)
end)

describe("rms_norm", function()
  it("makes the mean square 1, and keeps zeros", function()
    -- sqrt((9 + 16) / 2) = 5 / sqrt 2
    local r = math.sqrt(2) / 5
    near({ 3 * r, 4 * r * 2, 0, 0 },
      flat(ml.rms_norm(ml.tensor { { 3, 4 }, { 0, 0 } }, ml.tensor { 1, 2 }, 1, 1e-12)))
  end)
end)

describe("group_norm", function()
  it("normalises groups of channels of each sample", function()
    -- groups {1, 3 | 5, 7} and {0, 0 | 0, 4}: means 4 and 1, variances 5 and 3
    local x = ml.tensor { { { 1, 3 }, { 5, 7 } }, { { 0, 0 }, { 0, 4 } } }
    local a, b = 1 / math.sqrt(5), 1 / math.sqrt(3)
    near({ -3 * a, -a, a, 3 * a, -b, -b, -b, 3 * b }, flat(ml.group_norm(x, 1, nil, nil, 0)))
    near({ -1, 1, -1, 1 }, flat(ml.group_norm(x[1]:unsqueeze(1), 2, nil, nil, 0)))
  end)

  it("names what does not fit", function()
    assert.equal("bad argument #2 to 'group_norm' (groups: expected a divisor of the 4 channels, "
      .. "got 3)", mistake(function() ml.group_norm(ml.zeros(2, 4, 3), 3) end))
    assert.equal("bad argument #1 to 'group_norm' (x: expected [N, C, …], got [4])",
      mistake(function() ml.group_norm(ml.zeros(4), 2) end))
  end)
end)

describe("batch_norm", function()
  it("normalises channels over the batch, and moves the running statistics", function()
    -- channel 1: 1, 3 (mean 2, variance 1, unbiased 2); channel 2: 0, 8 (4, 16, 32)
    local mean, var = ml.tensor { 10, 20 }, ml.tensor { 1, 1 }
    local y = ml.batch_norm(ml.tensor { { 1, 0 }, { 3, 8 } }, nil, nil, mean, var, 0.25, 0)
    near({ -1, -1, 1, 1 }, flat(y))
    near({ 0.75 * 10 + 0.25 * 2, 0.75 * 20 + 0.25 * 4 }, mean:totable())
    near({ 0.75 + 0.25 * 2, 0.75 + 0.25 * 32 }, var:totable())
  end)

  it("has the same bits for any number of threads", function()
    local before, got = ml.threads(), {}
    for i, sizes in ipairs { { 900, 40 }, { 3, 5, 40, 40 }, { 2, 40, 9, 9 } } do
      for n = 1, 2 do
        ml.threads(n)
        local x = ml.randn(sizes, { seed = 1, stream = 1 }):requires_grad()
        local w = ml.ones(sizes[2]):requires_grad()
        local y = ml.batch_norm(x, w)
        y:backward(ml.randn(sizes, { seed = 1, stream = 3 }))
        got[n] = { y:totable(), x:grad():totable(), w:grad():totable() }
      end
      assert.same(got[1], got[2], "case " .. i)
    end
    ml.threads(before)
  end)

  it("may run twice before a backward", function()
    local mean, var = ml.zeros(2), ml.ones(2)
    local w = ml.ones(2):requires_grad()
    local function once() return ml.batch_norm(ml.randn(4, 2, 3), w, nil, mean, var) end
    local a, b = once(), once()
    a:square():sum():backward()
    b:square():sum():backward()
    assert.is_not_nil(w:grad())
  end)

  it("refuses one value per channel, and statistics that it could not write", function()
    assert.equal("bad argument #1 to 'batch_norm' (x: expected more than one value per channel "
      .. "when training)", mistake(function() ml.batch_norm(ml.zeros(1, 3)) end))
    assert.equal("bad argument #4 to 'batch_norm' (mean: expected [3], got [2])",
      mistake(function() ml.batch_norm(ml.zeros(2, 3), nil, nil, ml.zeros(2)) end))
    assert.equal("bad argument #4 to 'batch_norm' (mean: expected contiguous, and not computed on "
      .. "the tape)",
      mistake(function() ml.batch_norm(ml.zeros(2, 3), nil, nil, ml.zeros(3, 2):select(2, 1)) end))
  end)
end)

describe("batch_norm_fixed", function()
  it("goes by the given statistics, which get no gradient", function()
    local mean, var = ml.tensor { 1, 2 }, ml.tensor { 4, 9 }
    near({ 1, 1, 0, -1 },
      flat(ml.batch_norm_fixed(ml.tensor { { 3, 5 }, { 1, -1 } }, mean, var, nil, nil, 0)))
    local y = ml.batch_norm_fixed(ml.ones(2, 2), mean:requires_grad(), var):sum()
    assert.equal("batch_norm_fixed: no gradient by the mean or the variance",
      mistake(function() y:backward() end))
  end)
end)

describe("softmax", function()
  it("has rows that sum to 1, large ones and those with -inf among them", function()
    local inf = math.huge
    near({ 1, 0, 0, 0.5, 0, 0.5 },
      flat(ml.softmax(ml.tensor { { 1000, 0, -1000 }, { 3, -inf, 3 } }, -1)))
    near({ 0, -1000, -2000 }, flat(ml.log_softmax(ml.tensor { 1000, 0, -1000 }, -1)))
  end)

  it("keeps to f64 within 3e-7 over all that an exponent may be", function()
    local x = ml.uniform(-100, 0, 4000, { seed = 4 })
    local want = ml.softmax(x:to("f64"), 1):totable()
    near(want, ml.softmax(x, 1):totable(), 3e-7)
    for i, v in ipairs(ml.softmax(x, 1):totable()) do
      assert.is_true(math.abs(v - want[i]) <= 1e-6 * want[i] + 1e-37)
    end
  end)
end)
