-- Losses, by hand; all cases of the cards are swept and compared with PyTorch elsewhere.
local ml = require "mlua"
local mistake = require "spec.support.mistake"

local function near(want, got)
  assert.is_true(math.abs(want - got) <= 1e-6, ("expected %.9g, got %.9g"):format(want, got))
end
local function ids(t) return ml.tensor(t, "i64") end

describe("losses", function()
  local x, t = ml.tensor { 0, 1, 4 }, ml.tensor { 0, 3, 1 }

  it("are averaged, summed, or left as they are", function()
    near(13 / 3, ml.mse(x, t):item()) -- 0, 4, 9
    near(13, ml.mse(x, t, nil, "sum"):item())
    assert.same({ 0, 4, 9 }, ml.mse(x, t, nil, "none"):totable())
    assert.same({ 0, 2, 3 }, ml.l1(x, t, "none"):totable())
    assert.same({ 0, 1.5, 2.5 }, ml.huber(x, t, "none"):totable()) -- 1 (2 - 0.5), 1 (3 - 0.5)
    assert.same({ 0, 2, 4.5 }, ml.huber(x, t, "none", 4):totable()) -- 4 / 2, 9 / 2
    assert.same({ 0, 1.5, 2.5 }, ml.smooth_l1(x, t, "none"):totable())
    assert.same({ 0, 0.5, 1.125 }, ml.smooth_l1(x, t, "none", 4):totable()) -- d^2 / 8
  end)

  it("of a difference have a gradient by the target, too", function()
    local a, b = ml.tensor({ 1, 5 }):requires_grad(), ml.tensor({ 3, 4 }):requires_grad()
    ml.mse(a, b):backward()
    assert.same({ -2, 1 }, a:grad():totable())
    assert.same({ 2, -1 }, b:grad():totable())
  end)

  it("by margins", function()
    local sign = ml.tensor { 1, -1, 1 }
    assert.same({ 1, 2, 0 }, ml.hinge(x, sign, "none"):totable()) -- 1 - 0, 1 + 1, 1 - 4
    assert.same({ 0, 0, 4 }, ml.hinge_embedding(x, sign, "none"):totable())
    assert.same({ 0, 1, 4 }, ml.hinge_embedding(x, sign, "none", 2):totable())
  end)

  it("kl_div of what is not a number is none, also where the event has probability 0", function()
    local y = ml.kl_div(ml.tensor { { 0 / 0 } }, ml.tensor { { -math.huge } }, "sum", true):item()
    assert.is_true(y ~= y)
  end)

  it("kl_div is 0 where the distributions agree, and takes 0 for an event's probability", function()
    local p = ml.tensor { { 0.25, 0.75 }, { 1, 0 } }
    near(0, ml.kl_div(ml.tensor { { math.log(0.25), math.log(0.75) }, { 0, -50 } }, p):item())
    near(math.log(2), ml.kl_div(ml.full(math.log(0.5), 1, 2), ml.tensor { { 1, 0 } },
      "batchmean"):item())
    near(math.log(2), ml.kl_div(ml.full(math.log(0.5), 1, 2), ml.tensor { { 0, -math.huge } },
      "sum", true):item())
  end)

  it("bce_logits weighs positives", function()
    -- -ln sigmoid(0) = ln 2
    local l2, y = math.log(2), ml.tensor { { 1, 0 }, { 1, 1 } }
    local got = ml.bce_logits(ml.zeros(2, 2), y, nil, "none", ml.tensor { 3, 5 }):totable()
    for i, want in ipairs { { 3, 1 }, { 3, 5 } } do
      near(want[1] * l2, got[i][1])
      near(want[2] * l2, got[i][2])
    end
    assert.equal("bad argument #5 to 'bce_logits' (pos_weight: expected [2, 2], got [3])",
      mistake(function() ml.bce_logits(ml.zeros(2, 2), y, nil, "sum", ml.zeros(3)) end))
  end)

  it("focal is a quarter of the cross-entropy at even odds, with gamma 2 and no alpha", function()
    near(0.25 * math.log(2), ml.focal(ml.zeros(1), ml.ones(1), "mean", -1):item())
    near(0.75 * 0.25 * math.log(2), ml.focal(ml.zeros(1), ml.zeros(1)):item()) -- 1 - alpha
  end)

  it("name what does not fit", function()
    assert.equal("bad argument #2 to 'l1' (target: expected [3], got [2])",
      mistake(function() ml.l1(x, ml.zeros(2)) end))
    assert.equal("bad argument #3 to 'l1' (reduction: expected one of mean, sum, none, got 'max')",
      mistake(function() ml.l1(x, t, "max") end))
    local y = ml.hinge(x, ml.ones(3):requires_grad())
    assert.equal("hinge: no gradient by the target", mistake(function() y:backward() end))
  end)
end)

describe("cross_entropy", function()
  local l3 = math.log(3)

  it("of even logits is the logarithm of the number of classes", function()
    near(l3, ml.cross_entropy(ml.zeros(4, 3), ids { 0, 1, 2, 0 }):item())
    near(l3, ml.cross_entropy(ml.full(1e4, 3), ids(2)):item())
    local many = ids { { 0, 1, 2, 1, 0 }, { 0, 0, 0, 0, 0 } }
    near(l3, ml.cross_entropy(ml.zeros(2, 3, 5), many):item())
  end)

  it("weighs classes, and divides by the weights met", function()
    local x, w = ml.tensor { { 0, math.log(3) }, { 0, 0 } }, ml.tensor { 1, 3 }
    -- sample 1: class 1 of probability 3/4; sample 2: class 0 of 1/2
    local a, b = -math.log(0.75), math.log(2)
    near((3 * a + b) / 4, ml.cross_entropy(x, ids { 1, 0 }, w):item())
    near(3 * a + b, ml.cross_entropy(x, ids { 1, 0 }, w, "sum"):item())
  end)

  it("leaves out ignored labels, from its gradient, too", function()
    local x = ml.randn(3, 4):requires_grad()
    local loss = ml.cross_entropy(x, ids { 1, -100, 2 })
    near((ml.cross_entropy(x[1], ids(1)):item() + ml.cross_entropy(x[3], ids(2)):item()) / 2,
      loss:item())
    loss:backward()
    assert.same({ 0, 0, 0, 0 }, x:grad():totable()[2])
    local all = ml.cross_entropy(ml.zeros(1, 2), ids { -100 }):item()
    assert.is_true(all ~= all) -- nothing to average
  end)

  it("is what log-softmax and nll_loss are", function()
    local x, y = ml.randn(5, 7, 3), ml.uniform(0, 7, 5, 3, { seed = 5 }):to("i64")
    near(ml.nll_loss(ml.log_softmax(x, 2), y):item(), ml.cross_entropy(x, y):item())
  end)

  it("takes probabilities, and smooths labels towards them", function()
    local x = ml.randn(2, 4)
    local soft = ml.tensor { { 0.925, 0.025, 0.025, 0.025 }, { 0.025, 0.025, 0.025, 0.925 } }
    near(ml.cross_entropy(x, soft):item(),
      ml.cross_entropy(x, ids { 0, 3 }, nil, "mean", -100, 0.1):item())
  end)

  it("lets a class of no share have a logit of -inf", function()
    local inf = math.huge
    local x = ml.tensor { { 0, -inf, 0 }, { -inf, 1, 1 } }
    local soft = ml.tensor { { 0.5, 0, 0.5 }, { 0, 1, 0 } }
    near(math.log(2), ml.cross_entropy(x, soft):item())
    near(math.log(2), ml.cross_entropy(x:reshape(2, 3, 1), soft:reshape(2, 3, 1)):item())
    local weights = ml.tensor { 1, 0, 1 } -- smoothing gives a share to classes of a weight alone
    near(0.9 * math.log(2), ml.cross_entropy(x[1], ids(0), weights, "mean", -100, 0.3):item())
  end)

  it("has the same bits for any number of threads", function()
    local before, got = ml.threads(), {}
    for n = 1, 2 do
      ml.threads(n)
      local x = ml.randn(300, 500, { seed = 1, stream = 1 }):requires_grad()
      local loss = ml.cross_entropy(x, ml.uniform(0, 500, 300, { seed = 2, stream = 0 }):to("i32"))
      loss:backward()
      got[n] = { loss:item(), x:grad():totable() }
    end
    ml.threads(before)
    assert.same(got[1], got[2])
  end)

  it("names a label outside the classes, and shapes that do not fit", function()
    assert.equal("bad argument #2 to 'cross_entropy' (target: id 3 at position 1 is outside 0 "
      .. "to 2)", mistake(function() ml.cross_entropy(ml.zeros(2, 3), ids { 0, 3 }) end))
    assert.equal("bad argument #2 to 'cross_entropy' (target: expected [2], got [3])",
      mistake(function() ml.cross_entropy(ml.zeros(2, 3), ids { 0, 1, 1 }) end))
    assert.equal("bad argument #3 to 'cross_entropy' (weight: expected [3], got [2])",
      mistake(function() ml.cross_entropy(ml.zeros(2, 3), ids { 0, 1 }, ml.ones(2)) end))
    assert.equal("bad argument #2 to 'cross_entropy' (target: expected [2, 3], got [2])",
      mistake(function() ml.cross_entropy(ml.zeros(2, 3), ml.zeros(2)) end))
    assert.equal("bad argument #6 to 'cross_entropy' (label_smoothing: expected 0 to 1, got 2)",
      mistake(function() ml.cross_entropy(ml.zeros(1, 3), ids { 0 }, nil, "sum", 0, 2) end))
    assert.equal("bad argument #2 to 'nll_loss' (target: id -1 at position 0 is outside 0 to 2)",
      mistake(function() ml.nll_loss(ml.zeros(1, 3), ids { -1 }) end))
  end)
end)
