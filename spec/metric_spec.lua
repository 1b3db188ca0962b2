local ml = require "mlua"
local metric = require "mlua.metric"

local function near(expected, got, tolerance)
  assert(math.abs(expected - got) <= (tolerance or 1e-12),
    ("expected %.15g, got %.15g"):format(expected, got))
end

local function nan(x) assert.is_true(x ~= x) end

-- Of the four pairs of a 1 and a 0, (0.35, 0.1), (0.8, 0.1) and (0.8, 0.4) are in order.
local P, Y = { 0.1, 0.4, 0.35, 0.8 }, { 0, 0, 1, 1 }

-- All pairs, one by one.
local function auc_by_pairs(p, y)
  local right, pairs_ = 0, 0
  for i = 1, #p do
    for j = 1, #p do
      if y[i] == 1 and y[j] == 0 then
        pairs_ = pairs_ + 1
        right = right + (p[i] > p[j] and 1 or p[i] == p[j] and 0.5 or 0)
      end
    end
  end
  return right / pairs_
end

describe("metric", function()
  it("has the AUC, log loss, accuracy, entropy and calibration of four rows by hand", function()
    local log = math.log
    local loss = -(log(0.9) + log(0.6) + log(0.35) + log(0.8)) / 4
    assert.equal(0.75, metric.auc(P, Y))
    near(loss, metric.log_loss(P, Y))
    assert.equal(0.75, metric.accuracy(P, Y))
    near(loss / log(2), metric.normalised_entropy(P, Y))
    near(1.65 / 2, metric.calibration(P, Y))
  end)

  it("counts a tie as half a pair", function()
    assert.equal(0.5, metric.auc({ 3, 3 }, { 0, 1 }))
    -- ones at 2 and 1, zeros at 2 and 0: a half, 1, 0 and 1 of four pairs
    assert.equal(2.5 / 4, metric.auc({ 2, 1, 2, 0 }, { 1, 1, 0, 0 }))
    assert.equal(0.5, metric.auc({ 0, -0 }, { 1, 0 }))
  end)

  it("agrees with counting all pairs, ties, signs and infinities included", function()
    math.randomseed(3)
    for n = 2, 80 do
      local p, y = {}, {}
      for i = 1, n do
        p[i] = math.floor((math.random() - 0.5) * 20) / 7 * 2 ^ math.random(-3, 3)
        y[i] = i <= 2 and i - 1 or math.random(0, 1)
      end
      p[1], p[2] = 1 / 0, -1 / 0
      near(auc_by_pairs(p, y), metric.auc(p, y))
      if n % 7 == 0 then -- f32 keeps the order of these
        near(auc_by_pairs(p, y), metric.auc(ml.tensor(p), ml.tensor(y)))
      end
    end
  end)

  it("takes tensors of any shape and dtype of labels, strided ones and tables", function()
    local p = ml.tensor({ { 0.1, 0.35 }, { 0.4, 0.8 } }, "f64")
    for _, dtype in ipairs { "f64", "f32", "i64", "i32", "u8", "bool" } do
      assert.equal(0.75, metric.auc(P, ml.tensor(Y, dtype)))
    end
    assert.equal(0.75, metric.auc(p:transpose(1, 2), ml.tensor { { 0, 0 }, { 1, 1 } }))
    assert.equal(0.75, metric.auc(P, { false, false, true, true }))
  end)

  it("counts a prediction at the threshold as 1", function()
    assert.equal(1, metric.accuracy({ 0.5, 0.49 }, { 1, 0 }))
    assert.equal(0.5, metric.accuracy({ 0.5, 0.49 }, { 1, 0 }, 0.6))
  end)

  it("bounds the loss of a certain and wrong prediction by its dtype's precision", function()
    near(23 * math.log(2), metric.log_loss(ml.tensor { 1 }, { 0 }), 1e-6)
    near(52 * math.log(2), metric.log_loss({ 0 }, { 1 }), 1e-9)
    near(0, metric.log_loss({ 1 }, { 1 }), 1e-15)
  end)

  it("is NaN where it is not defined, and nowhere else", function()
    for _, f in ipairs { "auc", "log_loss", "accuracy", "normalised_entropy", "calibration" } do
      nan(metric[f]({}, {}))
    end
    nan(metric.auc({ 0.2, 0.3 }, { 1, 1 }))
    nan(metric.normalised_entropy({ 0.2, 0.3 }, { 1, 1 }))
    nan(metric.calibration({ 0.2, 0.3 }, { 0, 0 }))
    near(0.25, metric.calibration({ 0.2, 0.3 }, { 1, 1 }))
    near(-math.log(0.8 * 0.7) / 2, metric.log_loss({ 0.2, 0.3 }, { 0, 0 }))
  end)

  it("names the row and value of what is neither a probability nor a label", function()
    local function says(message, f, ...)
      local given = { ... }
      assert.error_matches(function() f(unpack(given)) end, message, 1, true)
    end
    says("bad argument #1 to 'accuracy' (prediction 2 is nan; expected 0 to 1)",
      metric.accuracy, { 0.5, 0 / 0 }, { 0, 1 })
    says("bad argument #1 to 'log_loss' (prediction 1 is 1.5; expected 0 to 1)",
      metric.log_loss, { 1.5 }, { 0 })
    says("bad argument #1 to 'auc' (prediction 1 is nan; expected a number)",
      metric.auc, { 0 / 0 }, { 0 })
    says("bad argument #2 to 'auc' (label 2 is 0.5; expected 0 or 1)",
      metric.auc, { 1, 2 }, { 0, 0.5 })
    says("bad argument #2 to 'auc' (labels: expected 2, as many as predictions, got 3)",
      metric.auc, { 1, 2 }, { 0, 1, 1 })
    says("bad argument #2 to 'auc' (labels: expected a tensor or a table, got 1)",
      metric.auc, {}, 1)
    says("bad argument #1 to 'auc' (predictions: expected numbers, got 'x' at 1)",
      metric.auc, { "x" }, { 1 })
    says("unknown option 'treshold', did you mean 'threshold'?", metric.binary, { treshold = 1 })
  end)

  it("raises at the line that called", function()
    local ok, message = pcall(function()
      local _ = metric.auc({ 1 }, { 2 }) -- this line
    end)
    assert.is_false(ok)
    local here = debug.getinfo(1, "l").currentline - 3
    assert.matches("metric_spec.lua:" .. here .. ": bad argument #2", message, 1, true)
  end)

  it("gathers batches to the figures of all rows at once, at any time", function()
    local m = metric.binary()
    m:add({ P[1], P[2] }, { Y[1], Y[2] })
    nan(m:result().auc)
    m:add(ml.tensor({ P[3], P[4] }, "f64"), ml.tensor({ 1, 1 }, "i64"))
    local r = m:result()
    assert.equal(0.75, r.auc)
    assert.equal(4, r.count)
    assert.equal(0.75, r.accuracy)
    near(metric.log_loss(P, Y), r.log_loss)
    near(0.825, r.calibration)
    near(0.4125, r.predicted)
    near(0.5, r.observed)
    assert.same(r, m:result())
    m:clear()
    assert.equal(0, m:result().count)
    nan(m:result().log_loss)
  end)

  it("adds nothing of a batch that has a wrong row", function()
    local m = metric.binary()
    m:add(P, Y)
    assert.error_matches(function() m:add({ 0.5, 2 }, { 0, 1 }) end,
      "bad argument #2 to 'add' (prediction 2 is 2; expected 0 to 1)", 1, true)
    assert.error_matches(function() m:add({ 0.5, 1 }, { 0, 3 }) end,
      "bad argument #3 to 'add'", 1, true)
    assert.equal(4, m:result().count)
  end)

  it("is exact over a hundred thousand rows", function()
    local n = 100000
    local p, y = ml.uniform(0, 1, n, { dtype = "f64" }), {}
    local values = p:totable()
    for i = 1, n do y[i] = values[i] > 0.25 and 1 or 0 end
    assert.equal(1, metric.auc(p, y))
    for i = 1, n do y[i] = 1 - y[i] end
    assert.equal(0, metric.auc(p, y))
  end)
end)
