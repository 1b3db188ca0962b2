-- Engines without a run: what a step, a test and an end are.
local ml = require "mlua"
local engine_module = require "mlua.engine"

local nn, optim = ml.nn, ml.optim
local log = require "mlua.log"

setup(function() log.configure { "off" } end) -- updates that are left out are told
teardown(function() log.configure { "info" } end)

-- Rows as a loader gives them: batches of `size` of points around a line.
local function points(n, size, change)
  local x = ml.rand(n, 1, { seed = 1, stream = 0 })
  local y = x * 3 + 1
  local loader = { options = { batch = size } }
  function loader.steps() return math.ceil(n / size) end
  function loader.rows() return n end
  function loader.order()
    local list = {}
    for i = 1, n do list[i] = i end
    return list
  end
  function loader.epoch(_, epoch, step)
    local at = (step or 0) * size
    return function()
      if at >= n then return nil end
      local first, last = at + 1, math.min(at + size, n)
      at = last
      local batch = { x = x:narrow(1, first, last), y = y:narrow(1, first, last),
                      rows = last - first + 1, epoch = epoch, first = first }
      if change then change(batch) end
      return batch
    end
  end
  return loader
end

local function setting(o, change)
  local model = nn.Linear.new { inputs = 1, outputs = 1, seed = 1, stream = 1 }
  local all = {
    model = model, optimizer = optim.sgd(model, { lr = 0.1 }), train = points(40, 8, change),
    loss = function(b) return ml.mse(model(b.x), b.y) end, quiet = true,
  }
  for name, value in pairs(o or {}) do all[name] = value end
  return all
end

local function weights(model)
  local list = {}
  for name, t in pairs(model:state()) do list[name] = t:totable() end
  return list
end

-- What a bare loop makes of the same.
local function bare(epochs)
  local o = setting()
  for epoch = 0, epochs - 1 do
    for b in o.train:epoch(epoch) do
      ml.scope(function() o.optimizer:step(o.loss(b)) end)
    end
  end
  return weights(o.model)
end

describe("an engine", function()
  it("trains as a bare loop does, bit for bit", function()
    local o = setting { epochs = 3 }
    local r = ml.engine(o):fit()
    assert.same(bare(3), weights(o.model))
    assert.same({ 15, 15, 120, 0 }, { r.steps, r.updates, r.samples, r.skipped })
    assert.is_nil(r.stopped)
  end)

  it("makes one update of several batches: that of one large batch", function()
    local one, four = setting { train = points(40, 40) }, setting { accumulate = 5 }
    ml.engine(one):fit()
    local r = ml.engine(four):fit()
    assert.same({ 5, 1 }, { r.steps, r.updates })
    local a, b = weights(one.model), weights(four.model)
    assert.is_true(math.abs(a.weight[1][1] - b.weight[1][1]) < 1e-6)
    assert.is_true(math.abs(a.bias[1] - b.bias[1]) < 1e-6)
  end)

  it("clips by norm", function()
    local o = setting { clip_norm = 0.01, steps = 1 }
    local before = weights(o.model)
    ml.engine(o):fit()
    local after = weights(o.model)
    local dw, db = after.weight[1][1] - before.weight[1][1], after.bias[1] - before.bias[1]
    assert.is_true(math.abs(math.sqrt(dw * dw + db * db) - 0.1 * 0.01) < 1e-6)
  end)

  it("goes by a schedule, of updates or of epochs", function()
    for every, steps in pairs { update = 10, epoch = 2 } do
      local o = setting { epochs = 2, schedule_every = every }
      o.schedule = optim.schedule.step(o.optimizer, { size = steps / 2, gamma = 0.5 })
      ml.engine(o):fit()
      assert.is_true(math.abs(o.optimizer.lr - 0.025) < 1e-12, every)
    end
  end)

  it("ends at max_steps, and has so many steps in an epoch", function()
    assert.same({ 7, "max_steps" }, (function()
      local r = ml.engine(setting { epochs = 9, max_steps = 7 }):fit()
      return { r.steps, r.stopped }
    end)())
    assert.equal(6, ml.engine(setting { epochs = 3, steps = 2 }):fit().steps)
  end)

  it("averages what the loss gives besides, and calls hooks", function()
    local o, seen = setting { epochs = 2 }, { step = 0, epoch = 0 }
    o.hooks = { step = function() seen.step = seen.step + 1 end,
                epoch = function() seen.epoch = seen.epoch + 1 end }
    local loss = o.loss
    o.loss = function(b) return loss(b), { rows = b.rows } end
    local engine = ml.engine(o)
    engine:fit()
    assert.same({ 10, 2 }, { seen.step, seen.epoch })
    assert.equal(8, engine.others.rows:value())
  end)
end)

describe("a loss that is no number", function()
  local function spoilt(b)
    if b.first == 17 then b.y = b.y * (0 / 0) end
  end

  it("ends training with the step and its samples", function()
    local ok, e = pcall(function() ml.engine(setting({}, spoilt)):fit() end)
    assert.is_false(ok)
    assert.equal("step 3: the loss is not a number; samples 16 17 18 19 20 21 22 23; 'y' of "
      .. "the batch has what is no number", tostring(e))
  end)

  it("is left out where that is asked for, and all else goes on", function()
    local o = setting({ nan = "skip", epochs = 2 }, spoilt)
    local r = ml.engine(o):fit()
    assert.same({ 10, 8, 2 }, { r.steps, r.updates, r.skipped })
    assert.is_true(o.model:state().weight:sum():item() == o.model:state().weight:sum():item())
  end)

  it("of a gradient is seen where gradients are clipped", function()
    local o = setting { clip_norm = 1, nan = "skip" }
    o.loss = function(b) return ml.sqrt(ml.mse(o.model(b.x) * 0, b.y * 0)) end -- 1 / sqrt(0) back
    assert.equal(5, ml.engine(o):fit().skipped)
  end)
end)

describe("tests", function()
  local function tested(o)
    local full = setting(o)
    full.test = points(24, 8)
    full.predict = function(b) return full.model(b.x), b.y end
    full.metrics = { ml.registry.get("metrics"):find("mse").build({ column = "" }) }
    return full
  end

  it("come after each epoch, or every so many steps, on so many batches", function()
    local counts, o = {}, tested { epochs = 2 }
    o.hooks = { test = function(_, result) counts[#counts + 1] = result.count end }
    local r = ml.engine(o):fit()
    assert.same({ 24, 24 }, counts)
    assert.is_true(r.test.mse < 1)
    counts, o = {}, tested { epochs = 2, test_every = 3, test_batches = 2 }
    o.hooks = { test = function(_, result) counts[#counts + 1] = result.count end }
    ml.engine(o):fit()
    assert.same({ 16, 16, 16, 16 }, counts) -- after steps 3, 6, 9 and at the end, after 10
  end)

  it("leave the model in training, and train nothing", function()
    local o = tested { epochs = 1, test_every = 1 }
    ml.engine(o):fit()
    assert.same(bare(1), weights(o.model))
    assert.is_true(o.model.training)
  end)

  it("keep the best by each of several metrics", function()
    local o = tested { epochs = 3, run = false,
      losses = { worse = function(_, _, b) return b.first end },
      checkpoint = { best = { mse = "min", worse = "max" } } }
    local r = ml.engine(o):fit()
    assert.equal(15, r.bests.mse.step)
    assert.equal(5, r.bests.worse.step) -- the same value each time: the first is kept
    assert.same({ r.bests.mse.value, 15 }, { r.best, r.best_step })
  end)

  it("have losses beside metrics, by which training ends, too", function()
    local o = tested { epochs = 99, stop = { metric = "twice", below = 0.4 },
      losses = { twice = function(p, y, b)
        assert.equal(8, b.rows)
        return ml.mse(p, y) * 2
      end, rows = function(p) return p:size(1) end } }
    local r = ml.engine(o):fit()
    assert.matches("^twice is 0.3", r.stopped)
    assert.near(2 * r.test.mse, r.test.twice, 1e-6)
    assert.equal(8, r.test.rows)
    assert.error_matches(function()
      ml.engine(tested { losses = { mse = function() return 0 end } }):fit()
    end, "losses: 'mse' is the name of a metric, too")
  end)

  it("end training by a metric: passed, or no longer better", function()
    local r = ml.engine(tested { epochs = 99, stop = { metric = "mse", below = 0.2 } }):fit()
    assert.matches("^mse is 0.1", r.stopped)
    r = ml.engine(tested { epochs = 99, test_every = 1,
      stop = { metric = "mse", mode = "max", patience = 3 } }):fit()
    assert.same({ 4, "mse has not become better in 3 tests" }, { r.steps, r.stopped })
  end)
end)

describe("a training that fails as it begins", function()
  it("leaves signals to the system, as it found them", function()
    local o = setting()
    o.run = { continued = true, dir = "x", checkpoints = { newest = function() error "torn" end },
              fail = function() end }
    local e = ml.engine(o)
    assert.error_matches(function() e:fit() end, "torn")
    local r = require "spec.support.process".mlua { "-e", ([[
      local ml = require "mlua"
      local m = ml.nn.Linear.new { inputs = 1, outputs = 1 }
      local e = ml.engine { model = m, optimizer = ml.optim.sgd(m, { lr = 0 }), train = {},
        loss = print, run = { continued = true, checkpoints = { newest = function()
          error "torn" end }, fail = function() end } }
      pcall(e.fit, e)
      require "mlua.ffi.process".stop(15)
      require "mlua.ffi.process".sleep(1)
      print "still here"]]) }
    assert.equal("", r.out)
  end)
end)

describe("updates of several batches", function()
  it("take what is left at the end of an epoch", function()
    for accumulate, updates in pairs { [2] = 3, [3] = 2, [5] = 1, [9] = 1 } do -- of 5 batches
      local o = setting { epochs = 2, accumulate = accumulate }
      assert.equal(2 * updates, ml.engine(o):fit().updates)
    end
  end)

  it("are waited for by tests", function()
    local steps, o = {}, setting { accumulate = 2, test_every = 1, metrics = { "mse" } }
    o.test, o.predict = points(8, 8), function(b) return o.model(b.x), b.y end
    o.hooks = { test = function(e) steps[#steps + 1] = e.steps end }
    ml.engine(o):fit()
    assert.same({ 2, 4, 5 }, steps)
  end)
end)

describe("an average of weights", function()
  local function averaged(warmup)
    local o = setting { epochs = 20, metrics = { "mse" } }
    o.ema = optim.ema(o.model, { decay = 0.999, warmup = warmup })
    o.test, o.predict = points(40, 8), function(b) return o.model(b.x), b.y end
    local mse = ml.engine(o):fit().test.mse
    o.ema:swap()
    local own = ml.mse(o.model(o.test.epoch(nil, 0)().x), o.test.epoch(nil, 0)().y):item()
    return mse, own
  end

  it("is what tests are of", function()
    local mse, first_batch = averaged(false)
    assert.is_true(mse > 1) -- near where it began, after 100 updates
    assert.is_true(first_batch > 0.5)
  end)

  it("forgets its beginning where it warms up", function()
    local slow, quick = averaged(false), averaged(true)
    assert.is_true(quick < 0.2 * slow)
  end)
end)

describe("mixed precision", function()
  it("gives metrics f32", function()
    local o = setting { precision = "bf16", metrics = { "mse", "binary" } }
    o.predict = function(b) return ml.sigmoid(o.model(b.x)), (b.y * 0) end
    o.test = points(8, 8)
    assert.is_number(ml.engine(o):fit().test.log_loss)
  end)

  it("computes products of bf16, and keeps weights and losses in f32", function()
    local dtypes, o = {}, setting { epochs = 3, precision = "bf16" }
    o.loss = function(b)
      local y = o.model(b.x)
      local loss = ml.mse(y, b.y)
      dtypes = { y:dtype(), loss:dtype() }
      return loss
    end
    local plain = setting { epochs = 3 }
    local l16, l32 = ml.engine(o):fit().loss, ml.engine(plain):fit().loss
    assert.same({ "bf16", "f32" }, dtypes)
    assert.equal("f32", o.model:state().weight:dtype())
    assert.not_equal(l32, l16)
    assert.near(l32, l16, 0.02 * l32)
  end)
end)

describe("an engine's options", function()
  it("are checked, each by name", function()
    for message, o in pairs {
      ["bad argument #1 to 'engine' (model: required)"] = { model = false },
      ["bad argument #1 to 'engine' (unknown option 'epoch', did you mean 'epochs'?)"]
        = { epoch = 3 },
      ["bad argument #1 to 'engine' (epochs: expected a whole number of at least 0, got 1.5)"]
        = { epochs = 1.5 },
      ["bad argument #1 to 'engine' (nan: expected stop or skip, got 'go')"] = { nan = "go" },
      ["bad argument #1 to 'engine' (precision: expected f32 or bf16, got 'f8')"]
        = { precision = "f8" },
      ["bad argument #1 to 'engine' (losses: x: expected a function)"] = { losses = { x = 1 } },
      ["bad argument #1 to 'engine' (unknown option 'stp', did you mean 'step'?)"]
        = { hooks = { stp = print } },
      ["bad argument #1 to 'engine' (step: expected a function, got 5)"]
        = { hooks = { step = 5 } },
      ["bad argument #1 to 'engine' (stop: metric: needs test, a loader)"]
        = { stop = { metric = "mse", patience = 1 } },
      ["bad argument #1 to 'engine' (stop: smooth: expected at least 0, below 1, got 1.5)"]
        = { stop = { metric = "mse", smooth = 1.5 } },
      ["bad argument #1 to 'engine' (checkpoint: best: tests give no 'msee', did you mean 'mse'?)"]
        = { checkpoint = { best = "msee" }, run = false, test = points(8, 8), predict = print,
            metrics = { "mse" } },
      ["bad argument #1 to 'engine' (metrics: no metric 'mee', did you mean 'mae'?)"]
        = { metrics = { "mee" } },
      ["bad argument #1 to 'engine' (metrics: 1: expected the name of a metric, or what has add, "
        .. "result and clear, got function)"] = { metrics = { print } },
      ["bad argument #1 to 'engine' (checkpoint: there is no run to keep it: outside a task, "
        .. "run = \"FOLDER\" is one)"] = { checkpoint = { steps = 1 } },
    } do
      local given = setting(o)
      if given.model == false then given.model = nil end
      local ok, e = pcall(engine_module.new, given)
      assert.is_false(ok)
      assert.equal(message, (tostring(e):gsub("^[^:]*:%d+: ", "")))
    end
  end)
end)

describe("gathering with losses that are no numbers", function()
  it("leaves out those batches alone", function()
    local o = setting({ nan = "skip", accumulate = 5 }, function(b)
      if b.first == 33 then b.y = b.y * (0 / 0) end -- the fifth, which would make the update
    end)
    local r = ml.engine(o):fit()
    assert.same({ 5, 1, 1 }, { r.steps, r.updates, r.skipped })
    assert.not_same(weights(setting().model), weights(o.model))
  end)
end)

describe("what is wrong", function()
  it("with a gradient alone leaves its update out, too, and not for ever", function()
    local o = setting { nan = "skip", epochs = 30 }
    o.loss = function(b) return ml.sqrt(ml.mse(o.model(b.x) * 0, b.y * 0)) end
    local before = weights(o.model)
    local ok, e = pcall(function() ml.engine(o):fit() end)
    assert.is_false(ok)
    assert.matches("step 100: the gradient's norm is .*; 100 in a row", tostring(e))
    assert.same(before, weights(o.model))
  end)

  it("with options is told before anything runs", function()
    for message, o in pairs {
      ["keep: expected a whole number of at least 1, got 0"] = { checkpoint = { keep = 0 } },
      ["mode: expected max or min, got 'most'"] = { stop = { metric = "a", mode = "most" } },
      ["clip_norm: expected a number of at least 0, got -1"] = { clip_norm = -1 },
      ["schedule_metric: goes with schedule_every = 'test'"] = { schedule_every = "test" },
    } do
      local ok, e = pcall(ml.engine, setting(o))
      assert.is_false(ok)
      assert.truthy(tostring(e):find(message, 1, true), tostring(e))
    end
  end)
end)

describe("an end by an epoch's test", function()
  it("has the loss of that epoch", function()
    local o = setting { epochs = 99, stop = { metric = "mse", below = 9 } }
    o.test, o.predict = points(24, 8), function(b) return o.model(b.x), b.y end
    o.metrics = { ml.registry.get("metrics"):find("mse").build({ column = "" }) }
    local r = ml.engine(o):fit()
    assert.same({ 5, true }, { r.steps, r.loss > 0 })
  end)
end)

describe("a schedule by tests", function()
  it("goes down where a metric is no longer better", function()
    local o = setting { epochs = 6, schedule_every = "test", schedule_metric = "mse" }
    o.test, o.predict = points(24, 8), function(b) return o.model(b.x) * 0, b.y end
    o.metrics = { ml.registry.get("metrics"):find("mse").build({ column = "" }) }
    o.schedule = optim.schedule.plateau(o.optimizer, { patience = 1, factor = 0.5 })
    ml.engine(o):fit()
    assert.is_true(o.optimizer.lr < 0.1)
  end)
end)

describe("parts of a model", function()
  it("that are in evaluation stay so", function()
    local model = nn.Sequential.new { nn.Linear.new { inputs = 1, outputs = 1 },
      nn.Dropout.new { p = 0.5 } }
    local list = {}
    for i, c in ipairs(model._children) do list[i] = c.value end
    list[2]:eval()
    model:evaluating(function() assert.is_false(list[1].training) end)
    assert.same({ true, false }, { list[1].training, list[2].training })
  end)
end)
