local ml = require "mlua"
local F = ml.nn.functional
local mistake = require "spec.support.mistake"
local torch = require "spec.support.torch"

local function near(want, got)
  assert.is_true(math.abs(want - got) <= 1e-6, ("expected %.9g, got %.9g"):format(want, got))
end

describe("nn.functional", function()
  it("has the operations, too", function()
    assert.equal(ml.op.layer_norm, F.layer_norm)
    assert.is_nil(F.no_such_thing)
  end)

  it("drops out by options", function()
    local x = ml.ones(40)
    assert.equal(x, F.dropout(x, 0.5, { training = false }))
    local o = { seed = 1, stream = 2 }
    assert.same(F.dropout(x, 0.5, o):totable(), F.dropout(x, 0.5, o):totable())
    assert.is_not.same(F.dropout(x):totable(), F.dropout(x):totable())
    assert.equal("bad argument #3 to 'dropout' (unknown option 'trainig', did you mean "
      .. "'training'?)",
      mistake(function() F.dropout(x, 0.5, { trainig = true }) end))
  end)

  it("normalises batches by running statistics, or by their own", function()
    local mean, var = ml.zeros(1), ml.full(4, 1)
    local x = ml.tensor { { 2 }, { 4 } }
    local y = F.batch_norm(x, mean, var, nil, nil, { eps = 0 }):totable()
    near(1, y[1][1])
    near(2, y[2][1])
    y = F.batch_norm(x, mean, var, nil, nil, { training = true, eps = 0, momentum = 1 }):totable()
    near(-1, y[1][1])
    near(3, mean:item())
  end)

  it("attends with leading axes in broadcast", function()
    local q = ml.randn(2, 3, 4, 8)
    local k, v = ml.randn(3, 5, 8), ml.randn(1, 3, 5, 6)
    local y = F.scaled_dot_product_attention(q, k, v, { scale = 0.3 })
    assert.same({ 2, 3, 4, 6 }, y:shape())
    local one = F.scaled_dot_product_attention(q[{ 2, 3 }], k[3], v[{ 1, 3 }], { scale = 0.3 })
    local a, b = y:totable()[2][3], one:totable()
    for l = 1, 4 do
      for e = 1, 6 do near(b[l][e], a[l][e]) end
    end
    assert.equal("scaled_dot_product_attention: [2, 5, 8] does not broadcast to [3, 5, 8]",
      mistake(function()
        F.scaled_dot_product_attention(ml.zeros(3, 4, 8), ml.zeros(2, 5, 8), v[1])
      end))
  end)

  it("ranks by margins", function()
    local a, b = ml.tensor { 1, 1, 5 }, ml.tensor { 2, 2, 1 }
    assert.same({ 1.5, 0, 0 }, F.margin_ranking(a, b, ml.tensor { 1, -1, 1 },
      { margin = 0.5, reduction = "none" }):totable())
    near(1 / 3, F.margin_ranking(a, b, ml.tensor { 1, -1, 1 }):item())
  end)

  it("compares directions", function()
    local a, b = ml.tensor { { 3, 4 }, { 0, 2 } }, ml.tensor { { 4, 3 }, { 1, 0 } }
    local cos = F.cosine_similarity(a, b):totable()
    near(24 / 25, cos[1])
    near(0, cos[2])
    local each = F.cosine_embedding(a, b, ml.tensor { -1, 1 }, { reduction = "none" }):totable()
    near(24 / 25, each[1])
    near(1, each[2])
  end)

  it("gives rows of zeros finite gradients: of the other's direction, as PyTorch", function()
    local a = ml.tensor({ { 0, 0 }, { 3, 4 } }, "f64"):requires_grad()
    local b = ml.tensor({ { 3, 4 }, { 0, 0 } }, "f64"):requires_grad()
    F.cosine_similarity(a, b, -1, 0.5):sum():backward() -- d/da1 = (b / |b|) / 0.5
    assert.same({ { 1.2, 1.6 }, { 0, 0 } }, a:grad():totable())
    assert.same({ { 0, 0 }, { 1.2, 1.6 } }, b:grad():totable())
    a:zero_grad()
    F.cosine_similarity(a, a):sum():backward()
    for _, g in ipairs(a:grad():reshape(-1):totable()) do near(0, g) end
    local x, y = ml.zeros(1, 2):requires_grad(), ml.zeros(1, 2)
    F.triplet_margin(x, y, y, { eps = 0 }):backward() -- distances of 0
    assert.same({ { 0, 0 } }, x:grad():totable())
  end)

  it("names a reduction that there is not", function()
    assert.equal("bad argument #4 to 'triplet_margin' (reduction: expected mean, sum or none, got "
      .. "'max')", mistake(function()
        F.triplet_margin(ml.ones(1, 2), ml.ones(1, 2), ml.ones(1, 2), { reduction = "max" })
      end))
  end)

  it("has PyTorch's losses and gradients", function()
    local want = torch.run [[
import torch.nn.functional as F
def v(k): return torch.sin(torch.arange(20, dtype=torch.float64) * 0.9 + k).reshape(5, 4)
t = torch.tensor([1., -1., 1., -1., 1.], dtype=torch.float64)
for name, f in {
    "triplet": lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=0.8),
    "triplet swap 3": lambda a, b, c: F.triplet_margin_loss(a, b, c, p=3, swap=True,
                                                             reduction="sum"),
    "cosine": lambda a, b, c: F.cosine_embedding_loss(a, b, t, margin=0.2),
    "ranking": lambda a, b, c: F.margin_ranking_loss(a, b, t.reshape(5, 1), margin=0.3),
}.items():
    a, b, c = (v(k).requires_grad_() for k in range(3))
    y = f(a, b, c)
    y.backward()
    result[name] = [y.item(), a.grad.reshape(-1), b.grad.reshape(-1)]
]]
    if not want then return pending("python3-torch is not installed") end
    local t = ml.tensor({ 1, -1, 1, -1, 1 }, "f64")
    for name, f in pairs {
      triplet = function(a, b, c) return F.triplet_margin(a, b, c, { margin = 0.8 }) end,
      ["triplet swap 3"] = function(a, b, c)
        return F.triplet_margin(a, b, c, { p = 3, swap = true, reduction = "sum" })
      end,
      cosine = function(a, b) return F.cosine_embedding(a, b, t, { margin = 0.2 }) end,
      ranking = function(a, b) return F.margin_ranking(a, b, t:reshape(5, 1), { margin = 0.3 }) end,
    } do
      local x = {}
      for k = 0, 2 do
        x[k + 1] = ml.arange(20, "f64"):affine(0.9, k):sin():reshape(5, 4):clone():requires_grad()
      end
      local y = f(x[1], x[2], x[3])
      y:backward()
      near(want[name][1], y:item())
      for i = 1, 2 do
        local grad = x[i]:grad():reshape(-1):totable()
        for k, value in ipairs(want[name][i + 1]) do near(value, grad[k]) end
      end
    end
  end)
end)
