--- `mlua train`: registered parts trained by a configuration, without Lua of one's own.
--
--     mlua train runs/wine --config wine.yaml    a new run in that folder, or the one there goes on
--     mlua train runs/wine                       goes on by its own configuration
--     mlua config template train                 a file to start from
--
-- A flow of three tasks: Data, a registered data set (mlua.data.sets), in memory alone; Train, a
-- registered model with its loss, optimiser and so on, by mlua.engine; Test, on rows not seen.
-- @module mlua.train
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local flow = require "mlua.flow"
local param = require "mlua.param"
local task = require "mlua.task"

local WHOLE = 2 ^ 53

local Data = task("Data", {
  doc = "the data set",
  params = {
    param.group "Data" {
      dataset = param.dataset { "csv", doc = "what is learned from" },
    },
  },
  outputs = "memory",
  run = function(self) return require "mlua.data.sets".open(self.dataset) end,
})

-- -- the parts of a training -------------------------------------------------------------------

-- The model, and how it, the data and the loss meet.
local function assemble(self, set)
  local fit = require "mlua.train.fit".new(set, self.loss, self.metrics, self.losses)
  local given = set:given { seed = self.seed, outputs = fit.outputs }
  local ok, model = pcall(self.model, given)
  if not ok then
    local why = type(model) == "string" and model:match "bad argument #%d+ to '[^']*' %((.*)%)$"
    if not why then error(model, 0) end
    fail.run("model %s: %s", self.model.name, why)
  end
  if set.kind == "classification" and not fit.one and type(model.outputs) == "number"
    and model.outputs ~= set.classes then
    fail.run("model %s: gives %d outputs, and dataset %s has %d classes", self.model.name,
      model.outputs, set.name, set.classes)
  end
  return model, fit
end

-- Batches as the transforms leave them.
local function changed(self)
  local steps = {}
  for i, part in ipairs(self.transforms) do steps[i] = part() end
  return function(batch)
    for _, step in ipairs(steps) do batch = step(batch) end
    return batch
  end
end

local function loaders_of(self, set)
  local given = { batch = self.batch, shuffle = self.shuffle, seed = self.seed,
                  sampler = self.sampler, workers = self.workers }
  local test = self.test_batch > 0 and self.test_batch or math.max(1024, self.batch)
  return set:loader("train", given),
    set.test and set:loader("test", { batch = test, workers = self.workers })
end

-- f of a batch, which says in one line which parts do not fit.
local function told(f, self, set, fit)
  return function(batch)
    local ok, loss, others = pcall(f, batch)
    if ok then return loss, others end
    local why = type(loss) == "string" and loss:match "(bad argument #%d+ to '[^']*' %(.*%))$"
    if not why then error(loss, 0) end
    fail.run("model %s, loss %s and dataset %s do not fit: %s%s", self.model.name,
      table.concat(fit.losses, ", "), set.name, why, why:find("outside 0 to 1", 1, true)
        and "; loss bce_logits takes any numbers, and a last sigmoid gives probabilities" or "")
  end
end

-- When to stop, for the engine, or nil.
local function stop_of(self, fit)
  local o = self.stop
  if o.patience == 0 and not o.above and not o.below then return nil end
  local figure = fit:figure(o.metric, "stop.metric")
  return {
    metric = figure, mode = o.mode or require "mlua.train.fit".mode(figure), smooth = o.smooth,
    patience = o.patience > 0 and o.patience or nil, above = o.above, below = o.below,
  }
end

-- The schedule, and what the engine is to know of it.
local function schedule_of(self, optimizer, fit)
  if not self.schedule then return {} end
  local every = self.schedule_every
    or self.schedule.name == "plateau" and "test" or "update"
  return {
    schedule = self.schedule(optimizer), every = every,
    metric = every == "test" and fit:figure(self.schedule_metric, "schedule_metric") or nil,
  }
end

-- Refuses what goes by tests where there are none.
local function check_tests(self, set)
  if set.test and self.test_every >= 0 then return end
  local why = set.test and "test_every is " .. self.test_every
    or ("dataset %s has no test part"):format(set.name)
  local by_test = {
    { "stop", self.stop.patience > 0 or self.stop.above or self.stop.below },
    { "checkpoint.best", self.checkpoint.best },
    { "test_every", not set.test and self.test_every > 0 },
    { "schedule", self.schedule
      and (self.schedule.name == "plateau" or self.schedule_every == "test") },
  }
  for _, each in ipairs(by_test) do
    if each[2] then fail.run("%s: needs tests, and %s", each[1], why) end
  end
end

local function use_threads(self)
  if self.threads > 0 then core.check(core.C.ml_set_threads(self.threads)) end
end

local function positive(value) return value > 0 and value or nil end

-- -- training ----------------------------------------------------------------------------------

local Train = task("Train", {
  doc = "training",
  requires = Data,
  params = {
    param.group "Model" {
      model = param.model { "mlp", doc = "what is trained" },
    },
    param.group "Weights" (require "mlua.engine.init".params()),
    param.group "Data" {
      transforms = param.transforms { {}, doc = "changes to each batch, in order" },
      batch = param.int { 32, min = 1, max = 2 ^ 31 - 1, doc = "rows in a step" },
      shuffle = param.bool { true, doc = "rows in another order each epoch" },
      sampler = param.sampler { doc = "the order of rows, in place of shuffle, by columns of the "
        .. "data set or by 'target'" },
      workers = param.int { 0, min = 0, max = 256, significant = false,
        doc = "threads that read ahead, of data sets that have such" },
    },
    param.group "Training" {
      loss = param.loss { doc = "unless set, cross_entropy for classes, bce for labels of 0 and 1, "
        .. "else mse" },
      metrics = param.metrics { doc = "of tests; unless set, accuracy, binary, or mse and mae" },
      optimizer = param.optimizer { { "adam", lr = 0.01 }, doc = "updates of the weights" },
      schedule = param.schedule { doc = "of the learning rate" },
      schedule_every = param.choice { "update", "epoch", "test", optional = true,
        doc = "when the schedule goes on; unless set, with each update, and plateau with tests" },
      schedule_metric = param.string { doc = "of tests, which it goes by; unless set, the first" },
      epochs = param.int { 10, min = 0, doc = "passes over the training rows" },
      epoch_steps = param.int { 0, min = 0, doc = "batches of an epoch at most; 0: all" },
      max_steps = param.int { 0, min = 0, doc = "batches at most, of all epochs; 0: all" },
      accumulate = param.int { 1, min = 1, doc = "batches whose gradients make one update" },
      clip_norm = param.number { 0, min = 0, doc = "gradients' norm at most; 0: as it is" },
      clip_value = param.number { 0, min = 0, doc = "a gradient at most; 0: as it is" },
      precision = param.choice { "f32", "bf16", doc = "bf16: matrix products of 16-bit floats" },
      nan = param.choice { "stop", "skip", doc = "what a loss that is no number does" },
      ema = param.number { 0, min = 0, below = 1,
        doc = "decay of an average of the weights, which tests and the result are of; 0: none" },
      seed = param.int { 1, min = 0, max = WHOLE, doc = "of the first weights and of the order" },
    },
    param.group "Tests" {
      test_every = param.int { 0, min = -1,
        doc = "batches from test to test; 0: after each epoch; -1: at the end alone" },
      test_batch = param.int { 0, min = 0, max = 2 ^ 31 - 1, significant = false,
        doc = "rows in a step of a test; 0: at least 1024" },
      losses = param.losses { {}, doc = "that tests average beside the metrics" },
      test_batches = param.int { 0, min = 0, doc = "batches of a test at most; 0: all" },
      ["stop.metric"] = param.string { doc = "of tests; unless set, the first" },
      ["stop.mode"] = param.choice { "max", "min", optional = true,
        doc = "which is better; unless set, min of errors, else max" },
      ["stop.patience"] = param.int { 0, min = 0,
        doc = "end after so many tests without a better one; 0: never" },
      ["stop.smooth"] = param.number { 0, min = 0, below = 1,
        doc = "patience: share of the tests before in a test's value" },
      ["stop.above"] = param.number { doc = "end when the metric passes this" },
      ["stop.below"] = param.number { doc = "end when the metric is less" },
    },
    param.group "Running" {
      ["checkpoint.minutes"] = param.number { 5, above = 0, significant = false, unit = "minutes",
        doc = "from one checkpoint to the next" },
      ["checkpoint.steps"] = param.int { min = 1, significant = false,
        doc = "batches from one checkpoint to the next, too" },
      ["checkpoint.keep"] = param.int { 3, min = 1, significant = false,
        doc = "checkpoints that are kept" },
      ["checkpoint.best"] = param.string { doc = "keep that of the best test by this metric" },
      ["checkpoint.restore"] = param.bool { doc = "with best: its weights are the result" },
      ["checkpoint.mode"] = param.choice { "max", "min", optional = true,
        doc = "which is better; unless set, min of errors, else max" },
      report_every = param.int { 100, min = 1, significant = false,
        doc = "batches from one line of metrics.jsonl to the next" },
      threads = param.int { 0, min = 0, max = 1024, significant = false,
        doc = "threads that compute; 0: one per core" },
    },
  },
  outputs = { model = "state", training = "json" },
  run = function(self, set)
    use_threads(self)
    check_tests(self, set)
    local model, fit = assemble(self, set)
    require "mlua.engine.init".begin(model, { init = self.init, partial = self.init_partial,
      rename = self.init_rename, freeze = self.freeze })
    local optimizer, change = self.optimizer(model), changed(self)
    local train, test = loaders_of(self, set)
    local schedule, best = schedule_of(self, optimizer, fit), self.checkpoint.best
    local ema = self.ema > 0
      and require "mlua.optim".ema(model, { decay = self.ema, warmup = true }) or nil
    if best then best = fit:figure(best, "checkpoint.best") end
    local prediction, label -- of a test's last batch, for its losses
    local engine = require "mlua.engine".new {
      model = model, optimizer = optimizer, ema = ema,
      schedule = schedule.schedule, schedule_every = schedule.every,
      schedule_metric = schedule.metric,
      train = train, test = self.test_every >= 0 and test or nil,
      loss = told(function(batch)
        batch = change(batch)
        return fit:loss(model(set:arguments(batch)), set:labels(batch))
      end, self, set, fit),
      predict = function(batch)
        batch = change(batch)
        prediction, label = model(set:arguments(batch)), set:labels(batch)
        return fit:figures(prediction, label)
      end,
      metrics = fit:new_metrics(),
      losses = fit:test_losses(self.losses, function() return prediction, label end),
      stop = stop_of(self, fit), nan = self.nan, precision = self.precision,
      epochs = self.epochs, steps = self.epoch_steps, max_steps = self.max_steps,
      accumulate = self.accumulate, clip_norm = positive(self.clip_norm),
      clip_value = positive(self.clip_value), test_every = math.max(0, self.test_every),
      test_batches = self.test_batches, report_every = self.report_every,
      checkpoint = {
        minutes = self.checkpoint.minutes, steps = self.checkpoint.steps,
        keep = self.checkpoint.keep, best = best,
        restore = best and self.checkpoint.restore or nil,
        mode = best and (self.checkpoint.mode or require "mlua.train.fit".mode(best)) or nil,
      },
    }
    local r = engine:fit()
    train:close()
    if test then test:close() end
    if ema then ema:swap() end
    self:note("seconds", r.seconds)
    return { model = model, training = { loss = r.loss, steps = r.steps, samples = r.samples,
      skipped = r.skipped, stopped = r.stopped, best = r.best, best_step = r.best_step } }
  end,
})

-- -- the test ----------------------------------------------------------------------------------

local SHOWN = { auc = "AUC", log_loss = "log loss", normalised_entropy = "normalised entropy",
                mse = "mean squared error", mae = "mean absolute error", count = "test rows" }

local function measure(self, set, model, fit)
  local metrics, change, n = fit:new_metrics(), changed(self), 0
  local _, test = loaders_of(self, set)
  model:eval()
  local function add(batch)
    batch = change(batch)
    local prediction, label = fit:figures(model(set:arguments(batch)), set:labels(batch))
    for _, metric in ipairs(metrics) do metric:add(prediction, label) end
  end
  require "mlua.tensor".no_grad(function()
    for batch in test:epoch(0) do
      core.scope(add, batch)
      n = n + 1
      if n == self.test_batches then break end
    end
  end)
  test:close()
  local found = {}
  for _, metric in ipairs(metrics) do
    for name, value in pairs(metric:result()) do found[name] = value end
  end
  return found
end

local Test = task("Test", {
  doc = "the test",
  requires = { data = Data, train = Train },
  outputs = { metrics = "json", training = "json" }, -- without a part to test on, no metrics
  run = function(self, input)
    use_threads(self)
    local model, fit = assemble(self, input.data)
    fail.assert(model:load_state(input.train.model))
    self:note("parameters", model:size())
    return { metrics = input.data.test and measure(self, input.data, model, fit) or {},
             training = input.train.training }
  end,
  report = function(outputs, self)
    local format, rows = require "mlua.ui.format", {}
    local training = outputs.training
    local function row(name, value, form)
      if value then rows[#rows + 1] = { name, form and form(value) or value } end
    end
    for _, name in ipairs(require "mlua.text".keys(outputs.metrics)) do
      local value = outputs.metrics[name]
      if type(value) == "number" then
        row(SHOWN[name] or name:gsub("_", " "), value, name == "count" and format.count)
      end
    end
    row("best", training.best)
    row("best at step", training.best and training.best_step, format.count)
    row("parameters", self:record().meta.parameters, format.count)
    row("training loss", training.loss)
    row("steps", training.steps, format.count)
    row("updates left out", training.skipped > 0 and training.skipped, format.count)
    row("stopped", training.stopped)
    row("training time", self:clone(Train):record().meta.seconds, format.duration)
    return require "mlua.ui.table".render { rows = rows }
  end,
})

-- What --help cannot say: options that do not go together.
local function contradiction(o)
  local every, plateau = o.schedule_every, o.schedule and o.schedule.name == "plateau"
  if o.schedule_metric and every ~= "test" and not plateau then
    return "--schedule-metric: takes effect with --schedule-every test only"
  end
  if plateau and every and every ~= "test" then
    return ("--schedule-every %s: a plateau goes by tests"):format(every)
  end
  if o["checkpoint.restore"] and not o["checkpoint.best"] then
    return "--checkpoint.restore: takes effect with --checkpoint.best only"
  end
  if not o.schedule and every then return "--schedule-every: takes effect with --schedule only" end
  if not o.init and (o.init_partial or o.init_rename[1]) then
    return ("--init-%s: takes effect with --init only"):format(o.init_partial and "partial"
      or "rename")
  end
end

return flow(Test, {
  name = "mlua train [DIR]", check = contradiction,
  doc = "Trains a registered model on a registered data set, as a configuration says, and tests "
    .. "it. DIR is the folder of the run: a new one, or one to go on with, by its own "
    .. "configuration where no --config is given. `mlua list` prints all parts, `mlua config "
    .. "template train` a file to start from.",
})
