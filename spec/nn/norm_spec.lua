local ml = require "mlua"
local nn = ml.nn
local mistake = require "spec.support.mistake"
local near = require "spec.support.near"
local torch = require "spec.support.torch"

local function flat(t) return t:contiguous():reshape(-1):totable() end

describe("nn norms", function()
  it("begin with weight 1 and bias 0, as far as they have them", function()
    for _, m in ipairs { nn.LayerNorm.new { shape = 3 },
                         nn.GroupNorm.new { groups = 1, channels = 3 },
                         nn.BatchNorm.new { channels = 3 },
                         nn.InstanceNorm.new { channels = 3, affine = true } } do
      assert.same({ 1, 1, 1 }, m.weight:totable())
      assert.same({ 0, 0, 0 }, m.bias:totable())
    end
    assert.is_nil(nn.RMSNorm.new { shape = 3 }.bias)
    assert.equal(0, #nn.InstanceNorm.new { channels = 3 }:parameters())
    assert.equal(0, #nn.LayerNorm.new { shape = 3, affine = false }:parameters())
    assert.equal(1, #nn.LayerNorm.new { shape = 3, bias = false }:parameters())
  end)

  it("normalise what they say", function()
    local x = ml.tensor { { { 1, 3 }, { 0, 8 } } } -- [1, 2, 2]
    near({ -1, 1, -1, 1 }, flat(nn.LayerNorm.new { shape = 2, eps = 0 }(x)))
    near({ -1, 1, -1, 1 }, flat(nn.InstanceNorm.new { channels = 2, eps = 0 }(x)))
    -- of 1, 3, 0, 8: mean 3, variance (4 + 0 + 9 + 25) / 4 = 9.5
    local s = 1 / math.sqrt(9.5)
    near({ -2 * s, 0, -3 * s, 5 * s }, flat(nn.LayerNorm.new { shape = { 2, 2 }, eps = 0 }(x)))
    near({ -2 * s, 0, -3 * s, 5 * s },
      flat(nn.GroupNorm.new { groups = 1, channels = 2, eps = 0 }(x)))
    local r = math.sqrt(5) -- of 1, 3: (1 + 9) / 2
    near({ 1 / r, 3 / r, 0, math.sqrt(2) }, flat(nn.RMSNorm.new { shape = 2, eps = 0 }(x)))
  end)

  it("of batches take running statistics when they no longer train", function()
    local m = nn.BatchNorm.new { channels = 1, momentum = 0.5, eps = 0 }
    near({ -1, 1 }, flat(m(ml.tensor { { 1 }, { 3 } })))
    near({ 1 }, m.running_mean:totable()) -- half of 2
    near({ 1.5 }, m.running_var:totable()) -- (1 + 2) / 2
    m:eval()
    near({ (4 - 1) / math.sqrt(1.5) }, flat(m(ml.tensor { { 4 } })))
    near({ 1 }, m.running_mean:totable())
    m:train()
    assert.equal("bad argument #1 to 'batch_norm' (x: expected more than one value per channel "
      .. "when training)", mistake(function() m(ml.tensor { { 4 } }) end))
    local without = nn.BatchNorm.new { channels = 1, running = false, eps = 0 }:eval()
    near({ -1, 1 }, flat(without(ml.tensor { { 1 }, { 3 } })))
  end)

  it("of batches keep their statistics in the state, not among the parameters", function()
    local a, b = nn.BatchNorm.new { channels = 2 }, nn.BatchNorm.new { channels = 2 }
    a(ml.randn(5, 2, 3))
    assert.equal(2, #a:parameters())
    assert.equal(2, #a:named_buffers())
    assert.is_true(b:load_state(a:state()))
    assert.same(a.running_var:totable(), b.running_var:totable())
  end)

  it("of single samples may have running statistics, too: averages over the batch", function()
    local m = nn.InstanceNorm.new { channels = 2, running = true, momentum = 0.5, eps = 0 }
    local x = ml.tensor { { { 1, 3 }, { 0, 8 } }, { { 4, 6 }, { 2, 4 } } }
    near(flat(nn.InstanceNorm.new { channels = 2 }(x)), flat(m(x)), 1e-4)
    -- means 2, 4 and 5, 3; unbiased variances 2, 32 and 2, 2
    near({ 3.5 / 2, 3.5 / 2 }, m.running_mean:totable())
    near({ (1 + 2) / 2, (1 + 17) / 2 }, m.running_var:totable())
    m:eval()
    local s = math.sqrt(1.5)
    near({ (1 - 1.75) / s, (3 - 1.75) / s, -1.75 / 3, 6.25 / 3 }, flat(m(x:narrow(1, 1, 1))))
    near({ 1.75, 1.75 }, m.running_mean:totable())
    assert.equal(2, #m:named_buffers())
    m:train()
    assert.same({ 0, 2, 3 }, m(ml.zeros(0, 2, 3)):shape())
    near({ 1.75, 1.75 }, m.running_mean:totable())
    local step = ml.capture(function(given) return m(given) end)
    step(x)
    step(x)
    near({ 1.75 * 0.25 + 3.5 * 0.75, 1.75 * 0.25 + 3.5 * 0.75 }, m.running_mean:totable())
    m._path = "style"
    assert.equal("style: bad argument #1 to 'InstanceNorm' (x: expected more than one value per "
      .. "channel and sample when training, got [3, 2, 1])",
      mistake(function() m(ml.zeros(3, 2, 1)) end))
    assert.equal("style: bad argument #1 to 'InstanceNorm' (x: expected [N, 2, …], got [3, 4])",
      mistake(function() m(ml.zeros(3, 4)) end))
  end)

  it("take empty batches", function()
    for m, sizes in pairs {
      [nn.LayerNorm.new { shape = 3 }] = { 0, 3 }, [nn.RMSNorm.new { shape = 3 }] = { 0, 3 },
      [nn.BatchNorm.new { channels = 3 }] = { 0, 3, 4 },
      [nn.GroupNorm.new { groups = 3, channels = 3 }] = { 0, 3, 4 },
    } do
      local x = ml.zeros(sizes):requires_grad()
      local y = m(x)
      assert.same(sizes, y:shape())
      y:sum():backward()
      assert.same({ 0, 0, 0 }, m.weight:grad():totable())
    end
  end)

  it("name their path, and what does not fit", function()
    local m = nn.LayerNorm.new { shape = { 2, 3 } }
    m._path = "block.norm"
    assert.equal("block.norm: bad argument #1 to 'LayerNorm' (x: expected [*, 2, 3], got [3, 2])",
      mistake(function() m(ml.zeros(3, 2)) end))
    local b = nn.BatchNorm.new { channels = 3 }
    b._path = "stem"
    assert.equal("stem: bad argument #2 to 'batch_norm' (weight: expected [2], got [3])",
      mistake(function() b(ml.zeros(4, 2)) end))
    for message, make in pairs {
      ["bad argument #1 to 'LayerNorm' (shape: expected a size or a list of sizes, got nil)"] =
        function() nn.LayerNorm.new {} end,
      ["bad argument #1 to 'RMSNorm' (shape[2]: expected at least 1, got 0)"] =
        function() nn.RMSNorm.new { shape = { 3, 0 } } end,
      ["bad argument #1 to 'BatchNorm' (channels: expected an integer, got nil)"] =
        function() nn.BatchNorm.new() end,
      ["bad argument #1 to 'BatchNorm' (momentum: expected 0 to 1, got 2)"] =
        function() nn.BatchNorm.new { channels = 2, momentum = 2 } end,
      ["bad argument #1 to 'GroupNorm' (channels: expected a multiple of 2 groups, got 3)"] =
        function() nn.GroupNorm.new { groups = 2, channels = 3 } end,
      ["bad argument #1 to 'InstanceNorm' (unknown option 'chanels', did you mean 'channels'?)"] =
        function() nn.InstanceNorm.new { chanels = 3 } end,
    } do
      assert.equal(message, mistake(make))
    end
  end)

  it("describe themselves", function()
    assert.equal("LayerNorm 2 x 3", tostring(nn.LayerNorm.new { shape = { 2, 3 } }))
    assert.equal("GroupNorm 4, 2 groups", tostring(nn.GroupNorm.new { groups = 2, channels = 4 }))
    assert.equal("BatchNorm 4", tostring(nn.BatchNorm.new { channels = 4 }))
  end)

  it("of batches train and predict as PyTorch's, for 0 to 3 spatial axes", function()
    local want = torch.run [[
torch.set_default_dtype(torch.float64)
def values(n, k): return torch.sin(torch.arange(n, dtype=torch.float64) * 0.7 + k)
for sizes in [(6, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 7)]:
    d = max(1, len(sizes) - 2)
    m = [torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d][d - 1](3, momentum=0.3)
    n = math.prod(sizes)
    for step in range(2):
        x = values(n, step).reshape(sizes).requires_grad_()
        m.zero_grad()
        y = m(x)
        (y * values(n, 5).reshape(sizes)).sum().backward()
    m.eval()
    result[str(len(sizes))] = [y.reshape(-1), x.grad.reshape(-1), m.weight.grad, m.bias.grad,
        m.running_mean, m.running_var, m(values(n, 9).reshape(sizes)).reshape(-1)]
]]
    if not want then return pending("python3-torch is not installed") end
    for _, sizes in ipairs { { 6, 3 }, { 4, 3, 5 }, { 2, 3, 4, 5 }, { 2, 3, 2, 3, 7 } } do
      local n = 1
      for _, s in ipairs(sizes) do n = n * s end
      local function values(k)
        return ml.arange(n, "f64"):affine(0.7, k):sin():reshape(sizes)
      end
      local m = nn.BatchNorm.new { channels = 3, momentum = 0.3, dtype = "f64" }
      local x, y
      for step = 0, 1 do
        x = values(step):clone():requires_grad()
        m:zero_grad()
        y = m(x)
        y:backward(values(5):clone())
      end
      m:eval()
      for i, t in ipairs { y:detach(), x:grad(), m.weight:grad(), m.bias:grad(), m.running_mean,
                           m.running_var, m(values(9)):detach() } do
        near(want[tostring(#sizes)][i], flat(t), 1e-12)
      end
    end
  end)
end)
