-- Activations as modules: what each computes is in spec/op; here, that options arrive.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local nn = ml.nn

local function near(want, got, title)
  for i, v in ipairs(want) do
    assert.is_true(math.abs(v - got[i]) < 1e-6,
      ("%s [%d]: expected %.9g, got %.9g"):format(title, i, v, got[i]))
  end
  assert.equal(#want, #got)
end

local function sigmoid(x) return 1 / (1 + math.exp(-x)) end
local E, LN = math.exp, math.log
local Z = E(-1) + E(0) + E(2)

-- { class, options, what it makes of -1, 0 and 2 }
local CASES = {
  { "ReLU", nil, { 0, 0, 2 } },
  { "ReLU6", nil, { 0, 0, 2 } },
  { "LeakyReLU", nil, { -0.01, 0, 2 } },
  { "LeakyReLU", { slope = 0.5 }, { -0.5, 0, 2 } },
  { "PReLU", nil, { -0.25, 0, 2 } },
  { "PReLU", { slope = 0.1 }, { -0.1, 0, 2 } },
  { "ELU", nil, { E(-1) - 1, 0, 2 } },
  { "ELU", { alpha = 2 }, { 2 * E(-1) - 2, 0, 2 } },
  { "SELU", nil, { 1.7580993408473766 * (E(-1) - 1), 0, 2 * 1.0507009873554805 } },
  { "GELU", nil, { -0.15865525, 0, 1.95449974 } }, -- x Phi(x), Phi(1) = 0.84134475
  { "GELU", { approximate = "tanh" }, { -0.15880801, 0, 1.95459769 } },
  { "SiLU", nil, { -sigmoid(-1), 0, 2 * sigmoid(2) } },
  { "Sigmoid", nil, { sigmoid(-1), 0.5, sigmoid(2) } },
  { "LogSigmoid", nil, { LN(sigmoid(-1)), LN(0.5), LN(sigmoid(2)) } },
  { "Tanh", nil, { math.tanh(-1), 0, math.tanh(2) } },
  { "Softplus", nil, { LN(1 + E(-1)), LN(2), LN(1 + E(2)) } },
  { "Softplus", { beta = 2, threshold = 3 }, { LN(1 + E(-2)) / 2, LN(2) / 2, 2 } },
  { "Softsign", nil, { -0.5, 0, 2 / 3 } },
  { "Hardsigmoid", nil, { 1 / 3, 0.5, 5 / 6 } },
  { "Hardswish", nil, { -1 / 3, 0, 5 / 3 } },
  { "Hardshrink", { lambda = 1.5 }, { 0, 0, 2 } },
  { "Hardtanh", nil, { -1, 0, 1 } },
  { "Hardtanh", { lo = -0.5, hi = 3 }, { -0.5, 0, 2 } },
  { "Softmax", nil, { E(-1) / Z, 1 / Z, E(2) / Z } },
  { "LogSoftmax", { axis = 1 }, { -1 - LN(Z), -LN(Z), 2 - LN(Z) } },
}

describe("activation", function()
  for _, c in ipairs(CASES) do
    it(("%s computes its values"):format(nn[c[1]].new(c[2]):describe()), function()
      local m = nn[c[1]].new(c[2])
      near(c[3], m(ml.tensor { -1, 0, 2 }):totable(), c[1])
      local x = ml.tensor { -1, 0.5, 2 }:requires_grad()
      m(x):square():sum():backward()
      assert.same({ 3 }, x:grad():shape())
    end)
  end

  it("GLU and SwiGLU gate one half of an axis by the other", function()
    local x = ml.tensor { { 1, 2, 0, 3 } }
    near({ 0.5, 2 * sigmoid(3) }, nn.GLU.new()(x)[1]:totable(), "GLU")
    near({ 0, 3 * 2 * sigmoid(2) }, nn.SwiGLU.new()(x)[1]:totable(), "SwiGLU")
    near({ 1 * sigmoid(3), 2 * sigmoid(4) },
      nn.GLU.new { axis = 1 } (ml.tensor { { 1, 2 }, { 3, 4 } })[1]:totable(), "GLU by rows")
  end)

  it("PReLU learns a slope for all, or one by channel", function()
    local m = nn.PReLU.new { channels = 2 }
    m.weight:copy(ml.tensor { 0.5, 0.1 })
    local x = ml.tensor { { { -2, 2 }, { -4, 4 } } } -- [1, 2, 2]
    assert.same({ { { -1, 2 }, { ml.tensor { -0.4 }:item(), 4 } } }, m(x):totable())
    m(x):sum():backward()
    assert.same({ -2, -4 }, m.weight:grad():totable())
    assert.equal("weight", m:named_parameters()[1].name)
  end)

  it("is known by what differs from its defaults", function()
    assert.equal("LeakyReLU", tostring(nn.LeakyReLU.new()))
    assert.equal("Softplus beta 2 threshold 9",
      tostring(nn.Softplus.new { beta = 2, threshold = 9 }))
    assert.equal("PReLU 3", tostring(nn.PReLU.new { channels = 3 }))
  end)

  it("refuses wrong options and inputs at their line", function()
    for message, fn in pairs {
      ["bad argument #1 to 'ReLU' (unknown option 'slope')"] =
        function() nn.ReLU.new { slope = 1 } end,
      ["bad argument #1 to 'ELU' (alpha: expected a number, got 'x')"] =
        function() nn.ELU.new { alpha = "x" } end,
      ["bad argument #1 to 'GELU' (approximate: expected none or tanh, got 'erf')"] =
        function() nn.GELU.new { approximate = "erf" } end,
      ["bad argument #1 to 'Softmax' (axis: expected an integer, got 0.5)"] =
        function() nn.Softmax.new { axis = 0.5 } end,
      ["bad argument #1 to 'tanh' (x: expected a tensor, got 3)"] = function() nn.Tanh.new()(3) end,
      ["bad argument #1 to 'GLU' (x: expected an even size of axis -1, got 3)"] =
        function() nn.GLU.new()(ml.ones(3)) end,
      ["bad argument #1 to 'PReLU' (x: expected [N, 2, …], got [2, 3])"] =
        function() nn.PReLU.new { channels = 2 } (ml.ones(2, 3)) end,
    } do
      assert.equal(message, mistake(fn))
    end
  end)
end)
