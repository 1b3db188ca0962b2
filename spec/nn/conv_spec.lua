-- Layers of convolution and pooling.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local nn = ml.nn

describe("Conv1d, Conv2d, Conv3d", function()
  it("compute conv with their weight, bias and options", function()
    local layer = nn.Conv1d.new { inputs = 1, outputs = 1, kernel = 2, stride = 2 }
    layer.weight:copy(ml.tensor { { { 1, 10 } } })
    layer.bias:copy(ml.tensor { 5 })
    assert.same({ { { 26, 48 } } }, layer(ml.tensor { { { 1, 2, 3, 4 } } }):totable())
    assert.same({ 2, 6, 5, 3 }, nn.Conv2d.new { inputs = 4, outputs = 6, kernel = { 1, 3 },
      padding = "same", groups = 2, bias = false, stride = { 1, 2 } } (
        ml.zeros(2, 4, 5, 5)):shape())
    assert.same({ 1, 2, 3, 3, 3 }, nn.Conv3d.new { inputs = 1, outputs = 2, kernel = 3,
      padding = 1 } (ml.zeros(1, 1, 3, 3, 3)):shape())
  end)

  it("begin uniform within one over the root of the inputs, the same for the same seed", function()
    local function new()
      return nn.Conv2d.new { inputs = 8, outputs = 40, kernel = { 3, 5 }, groups = 2, seed = 3,
                             stream = 1 }
    end
    local a, b, bound = new(), new(), 1 / math.sqrt(4 * 15)
    assert.same({ 40, 4, 3, 5 }, a.weight:shape())
    assert.same(a.weight:totable(), b.weight:totable())
    local top = ml.op.max(a.weight:detach():abs()):item()
    assert.is_true(top <= bound and top > 0.99 * bound)
    assert.is_true(ml.op.max(a.bias:detach():abs()):item() <= bound)
  end)

  it("learn: a step of SGD lowers the loss", function()
    local layer = nn.Conv2d.new { inputs = 2, outputs = 3, kernel = 3, padding = 1, seed = 1 }
    local x = ml.randn(4, 2, 6, 6, { seed = 2 })
    local optimiser = ml.optim.sgd(layer, { lr = 0.1 })
    local function loss() return layer(x):square():mean() end
    local first = loss()
    optimiser:step(first)
    assert.is_true(loss():item() < first:item())
  end)

  it("show what they are", function()
    assert.equal("Conv2d 3 -> 16, kernel (3, 1), stride 2, padding (1, (0, 1))",
      nn.Conv2d.new { inputs = 3, outputs = 16, kernel = { 3, 1 }, stride = 2,
                      padding = { 1, { 0, 1 } } }:describe())
  end)

  it("name their path, and refuse wrong axes and options", function()
    local model = nn.Module.class("Model").create()
    model:child("stem", nn.Conv2d.new { inputs = 3, outputs = 2, kernel = 1 })
    model:name_paths()
    assert.equal("stem: bad argument #2 to 'conv' (w: expected [*, 1, *, *], got [2, 3, 1, 1])",
      mistake(function() model.stem:forward(ml.zeros(1, 1, 2, 2)) end))
    assert.equal("bad argument #1 to 'conv' (x: expected 3 axes, got 4)", mistake(function()
      nn.Conv1d.new { inputs = 3, outputs = 2, kernel = 1 }:forward(ml.zeros(1, 3, 2, 2))
    end))
    for message, o in pairs {
      ["bad argument #1 to 'Conv2d' (kernel: expected a number or a list, got nil)"] =
        { inputs = 1, outputs = 1 },
      ["bad argument #1 to 'Conv2d' (kernel: expected a whole number or a list of 2, got a list of "
        .. "3)"] = { inputs = 1, outputs = 1, kernel = { 1, 2, 3 } },
      ["bad argument #1 to 'Conv2d' (groups: expected a divisor of inputs and outputs, got 2)"] =
        { inputs = 3, outputs = 2, kernel = 1, groups = 2 },
      ["bad argument #1 to 'Conv2d' (unknown option 'strides', did you mean 'stride'?)"] =
        { inputs = 1, outputs = 1, kernel = 1, strides = 1 },
    } do
      assert.equal(message, mistake(function() nn.Conv2d.new(o) end))
    end
  end)
end)

describe("ConvTranspose2d", function()
  it("undoes the shape of a convolution", function()
    local layer = nn.ConvTranspose2d.new { inputs = 4, outputs = 6, kernel = 3, stride = 2,
                                           padding = 1, output_padding = 1, groups = 2 }
    assert.same({ 4, 3, 3, 3 }, layer.weight:shape())
    assert.same({ 1, 6, 8, 10 }, layer(ml.zeros(1, 4, 4, 5)):shape())
  end)
end)

describe("pools, Upsample and Flatten", function()
  local x = ml.arange(16, "f32"):reshape(1, 1, 4, 4)

  it("compute what their functions do", function()
    assert.same({ { { { 5, 7 }, { 13, 15 } } } }, nn.MaxPool.new { kernel = 2 } (x):totable())
    assert.same({ { { { 2.5, 4.5 }, { 10.5, 12.5 } } } },
      nn.AvgPool.new { kernel = 2 } (x):totable())
    assert.same({ { { { 7.5 } } } }, nn.AdaptiveAvgPool.new { size = 1 } (x):totable())
    assert.same({ { { { 15 } } } }, nn.AdaptiveMaxPool.new { size = 1 } (x):totable())
    assert.same({ 1, 1, 8, 8 }, nn.Upsample.new { scale = 2, mode = "bilinear" } (x):shape())
    assert.same({ 1, 16 }, nn.Flatten.new() (x):shape())
    assert.same({ 1, 4, 4 }, nn.Flatten.new { from = 1, to = 2 } (x):shape())
    local _, i = nn.MaxPool.new { kernel = 4, indices = true } (x)
    assert.same({ { { { 15 } } } }, i:totable())
  end)

  it("refuse to be without a kernel or size", function()
    assert.equal("bad argument #1 to 'MaxPool' (kernel: expected a number or a list, got nil)",
      mistake(function() nn.MaxPool.new() end))
    assert.equal("bad argument #1 to 'AdaptiveAvgPool' (size: expected a number or a list, "
      .. "got nil)",
      mistake(function() nn.AdaptiveAvgPool.new {} end))
  end)
end)
