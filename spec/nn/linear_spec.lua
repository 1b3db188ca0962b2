-- Linear and MLP.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local nn = ml.nn

local function with(o, weight, bias)
  local l = nn.Linear.new(o)
  l.weight:copy(ml.tensor(weight))
  if bias then l.bias:copy(ml.tensor(bias)) end
  return l
end

describe("Linear", function()
  it("multiplies by its weights' rows and adds its bias", function()
    local l = with({ inputs = 2, outputs = 3 }, { { 1, 2 }, { 3, 4 }, { -5, 0 } }, { 10, 20, 30 })
    assert.same({ { 13, 27, 25 }, { 12, 24, 30 } }, l(ml.tensor { { 1, 1 }, { 0, 1 } }):totable())
  end)

  it("applies its activation", function()
    local x = ml.tensor { { 1 } }
    local relu = with({ inputs = 1, outputs = 1, activation = "relu", bias = false }, { { -2 } })
    local sigmoid = with({ inputs = 1, outputs = 1, activation = "sigmoid" }, { { 0 } }, { 0 })
    assert.equal(0, relu(x):item())
    assert.equal(0.5, sigmoid(x):item())
  end)

  it("takes a batch of none, and no inputs: then it is its bias", function()
    assert.same({ 0, 3 }, nn.Linear.new { inputs = 2, outputs = 3 } (ml.zeros(0, 2)):shape())
    local l = nn.Linear.new { inputs = 0, outputs = 2 }
    l.bias:copy(ml.tensor { 1, 2 })
    assert.same({ { 1, 2 } }, l(ml.zeros(1, 0)):totable())
  end)

  it("begins with the public DLRM's deviations, the same for the same seed and stream", function()
    local a = nn.Linear.new { inputs = 300, outputs = 500, seed = 3, stream = 7 }
    local b = nn.Linear.new { inputs = 300, outputs = 500, seed = 3, stream = 7 }
    assert.same(a.weight:select(1, 5):totable(), b.weight:select(1, 5):totable())
    local function deviation(t) return math.sqrt(t:detach():square():mean():item()) end
    assert.is_true(math.abs(deviation(a.weight) / math.sqrt(2 / 800) - 1) < 0.01) -- error 0.0018
    assert.is_true(math.abs(deviation(a.bias) / math.sqrt(1 / 500) - 1) < 0.16) -- error 0.032
  end)

  it("computes in f64 where asked", function()
    assert.equal("f64", nn.Linear.new { inputs = 1, outputs = 1, dtype = "f64" } (
      ml.zeros(1, 1, { dtype = "f64" })):dtype())
  end)

  it("refuses wrong options at their line", function()
    for message, o in pairs {
      ["bad argument #1 to 'Linear' (inputs: expected an integer, got nil)"] = { outputs = 1 },
      ["bad argument #1 to 'Linear' (outputs: expected at least 1, got 0)"] =
        { inputs = 1, outputs = 0 },
      ["bad argument #1 to 'Linear' (activation: expected none, relu or sigmoid, got 'softmax')"] =
        { inputs = 1, outputs = 1, activation = "softmax" },
      ["bad argument #1 to 'Linear' (unknown option 'input', did you mean 'inputs'?)"] =
        { input = 1 },
    } do
      assert.equal(message, mistake(function() nn.Linear.new(o) end))
    end
    assert.equal("bad argument #1 to 'Linear' (inputs: expected an integer, got nil)",
      mistake(function() nn.Linear.new() end))
  end)
end)

describe("MLP", function()
  it("chains layers: relu between, the last as asked", function()
    local m = nn.MLP.new { sizes = { 1, 2, 1 }, last = "none" }
    m.layers[1].weight:copy(ml.tensor { { 1 }, { -1 } })
    m.layers[1].bias:fill(0)
    m.layers[2].weight:copy(ml.tensor { { 2, -3 } })
    m.layers[2].bias:fill(-10)
    -- x = 2: relu(2, -2) = 2, 0; 4 - 10.   x = -2: 0, 2; -6 - 10
    assert.same({ { -6 }, { -16 } }, m(ml.tensor { { 2 }, { -2 } }):totable())
  end)

  it("draws layer i from stream + i - 1", function()
    local m = nn.MLP.new { sizes = { 2, 3, 4 }, seed = 1, stream = 5 }
    local l = nn.Linear.new { inputs = 3, outputs = 4, seed = 1, stream = 6 }
    assert.same(l.weight:totable(), m.layers[2].weight:totable())
  end)

  it("refuses wrong sizes", function()
    for message, o in pairs {
      ["bad argument #1 to 'MLP' (sizes: expected a list of widths, got nil)"] = {},
      ["bad argument #1 to 'MLP' (sizes: expected at least an input and an output width, got 1)"] =
        { sizes = { 3 } },
      ["bad argument #1 to 'MLP' (sizes[2]: expected an integer, got 'x')"] =
        { sizes = { 3, "x" } },
      ["bad argument #1 to 'MLP' (sizes[2]: expected at least 1, got 0)"] = { sizes = { 3, 0 } },
      ["bad argument #1 to 'MLP' (last: expected none, relu or sigmoid, got 'tanh')"] =
        { sizes = { 3, 1 }, last = "tanh" },
      ["bad argument #1 to 'MLP' (last: expected none, relu or sigmoid, got 'sigmod', did you "
        .. "mean 'sigmoid'?)"] = { last = "sigmod" },
    } do
      assert.equal(message, mistake(function() nn.MLP.new(o) end))
    end
    assert.equal("bad argument #1 to 'MLP' (sizes: expected a list of widths, got nil)",
      mistake(function() nn.MLP.new() end))
  end)
end)
