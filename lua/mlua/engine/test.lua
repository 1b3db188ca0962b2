--- Tests of an engine: what is measured, and what follows from it: the best checkpoint, a schedule,
-- an end.
-- @module mlua.engine.test
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local log = require "mlua.log"
local meter = require "mlua.engine.meter"
local profile = require "mlua.ffi.profile"

local C = core.C

local M = {}

-- What a test has measured: metrics, and means of losses over rows.
local function result_of(self, means)
  local result = {}
  for _, each in ipairs(self.metrics) do
    for name, value in pairs(each:result()) do result[name] = value end
  end
  for i, each in ipairs(self.losses) do
    if result[each.name] ~= nil then
      fail.run("losses: '%s' is the name of a metric, too", each.name)
    end
    result[each.name] = means[i]:value()
  end
  return result
end

-- Predictions of mixed precision as metrics and losses take them: in f32.
local function widened(prediction)
  if core.is_tensor(prediction) then
    local dtype = prediction:dtype()
    return (dtype == "bf16" or dtype == "f16") and prediction:to "f32" or prediction
  end
  if type(prediction) ~= "table" then return prediction end
  local all = {}
  for name, each in pairs(prediction) do all[name] = widened(each) end
  return all
end

-- Calls f with the averages of weights, where there are such, in their place.
local function with_averages(self, f)
  if not self.ema then return f() end
  self.ema:swap()
  local ok, why = xpcall(f, function(e)
    return type(e) == "table" and e or debug.traceback(e, 2)
  end)
  self.ema:swap()
  if not ok then error(why, 0) end
end

--- All metrics and losses over the test loader, in one table.
-- @tparam Engine self
-- @tparam ?boolean stoppable  whether a signal ends it, without a result
-- @treturn ?table
function M.measure(self, stoppable)
  local n, means = 0, {}
  for i in ipairs(self.losses) do means[i] = meter.mean() end
  local function add(batch)
    local prediction, label = self.precise(self.predict, batch)
    prediction = widened(prediction)
    for _, each in ipairs(self.metrics) do each:add(prediction, label) end
    for i, each in ipairs(self.losses) do
      local loss = self.precise(each.of, prediction, label, batch)
      means[i]:add(core.is_tensor(loss) and loss:item() or loss, batch.rows or 1)
    end
  end
  for _, each in ipairs(self.metrics) do each:clear() end
  local stopped = false
  local seed, stream = C.ml_seed_set(), C.ml_set_stream(0)
  C.ml_set_stream(stream)
  local function all()
    for batch in self.test_loader:epoch(0) do
      core.scope(add, batch)
      n = n + 1
      stopped = stoppable and C.ml_stop_signal() ~= 0
      if n == self.test_batches or stopped then break end
    end
  end
  with_averages(self, function()
    self.model:evaluating(function() require "mlua.tensor".no_grad(all) end)
  end)
  if stopped then -- as if it had not begun
    C.ml_seed(seed)
    C.ml_set_stream(stream)
    return nil
  end
  return result_of(self, means)
end

local function better(a, b, mode)
  if b == nil or b ~= b then return a == a end
  if mode == "min" then return a < b end
  return a > b
end

-- Whether training is to stop by a test's result and a rule.
local function stops_by(self, i, rule, result)
  local value = result[rule.metric]
  if value == nil then fail.run("stop: tests have no metric '%s'", rule.metric) end
  if rule.above and value > rule.above or rule.below and value < rule.below then
    return ("%s is %.6g"):format(rule.metric, value)
  end
  if not rule.patience then return false end
  local smooth = rule.smooth or 0
  local name = "rule " .. i -- a word: checkpoints keep it as JSON
  local of = self.patience[name] or {}
  self.patience[name] = of
  if value == value then
    of.smooth = smooth > 0 and of.smooth and smooth * of.smooth + (1 - smooth) * value or value
  end
  if value == value and better(of.smooth, of.best, rule.mode or "max") then
    of.best, of.waited = of.smooth, 0
    return false
  end
  of.waited = (of.waited or 0) + 1
  return of.waited >= rule.patience
    and ("%s has not become better in %d tests"):format(rule.metric, rule.patience)
end

local function stops(self, result)
  local why = false
  for i, rule in ipairs(self.stop_rules) do why = why or stops_by(self, i, rule, result) end
  return why
end

local function numbers_of(result)
  local list = {}
  for name, value in pairs(result) do
    if type(value) == "number" then list[name] = value end
  end
  return list
end

local SHOWN = { auc = "AUC", log_loss = "log loss" }

-- The result in words: what is known by name, then losses.
local function words_of(self, result)
  local words = {}
  local function add(name)
    if result[name] then
      words[#words + 1] = ("%s %.4f"):format(SHOWN[name] or name, result[name])
    end
  end
  for _, name in ipairs { "auc", "accuracy", "log_loss", "mse", "mae" } do add(name) end
  for _, each in ipairs(self.losses) do add(each.name) end
  return table.concat(words, ", ")
end

local function note_best(self, result)
  for _, best in ipairs(self.checkpoint.best) do
    local value, before = result[best.name], self.bests[best.name] or {}
    if value == nil then fail.run("checkpoint.best: tests have no '%s'", best.name) end
    if better(value, before.value, best.mode) then
      self.bests[best.name], self.is_best = { value = value, step = self.steps }, true
    end
  end
end

--- A test, and what it is for. A signal leaves `pending`: then it is done after the resume.
-- @tparam Engine self
-- @tparam ?Progress line
function M.run(self, line)
  self.pending, self.test_due = true, false
  local result = profile.part("test", M.measure, self, true)
  if not result then return end
  self.pending, self.tested = false, self.steps
  local text = ("step %d: test %s"):format(self.steps, words_of(self, result))
  if line then line:note(text) end
  if self.run then
    log.of "run".info("%s", text)
    self.run:report { kind = "test", step = self.steps, epoch = self.epoch,
      values = numbers_of(result), seconds = self:seconds() }
  end
  if self.hooks.test then profile.part("hook: test", self.hooks.test, self, result) end
  if self.schedule and self.schedule_every == "test" then
    self.schedule:step(result[self.schedule_metric])
  end
  note_best(self, result)
  self.last_test = result
  self.stopped = stops(self, result) or nil
end

return M
