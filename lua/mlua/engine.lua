--- Training and test loops that a recipe configures: meters, tests, schedules, checkpoints, resume.
--
--     local engine = ml.engine {
--       model = model, optimizer = optimizer,         -- in a task's run function: its run goes on
--       train = loader, test = test_loader,
--       loss = function(batch) return ml.bce(model(batch.dense, …), batch.label) end,
--       predict = function(batch) return model(batch.dense, …), batch.label end,
--       metrics = { ml.metric.binary() },
--       epochs = 3, test_every = 1000, checkpoint = { steps = 1000, keep = 3 },
--     }
--     local result = engine:fit()
--
-- A step is one batch; an update is one or, with `accumulate`, several. Everything that later steps
-- depend on is in a checkpoint: weights, optimiser, schedule, random state, the loader's position,
-- meters. What was interrupted and goes on has the same weights and metrics, bit for bit, on the
-- CPU.
--
-- SIGTERM and SIGUSR1 end it after a checkpoint, with status 75; Ctrl-C after the step and a
-- checkpoint, twice at once.
-- @module mlua.engine
local check = require "mlua.check"
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local log = require "mlua.log"
local meter = require "mlua.engine.meter"
local options = require "mlua.engine.options"
local profile = require "mlua.ffi.profile"
local state = require "mlua.engine.state"
local test = require "mlua.engine.test"
local text_of = require "mlua.text"

local C = core.C
local say = log.of "engine"

local M = {}

local Engine = {}
Engine.__index = Engine

-- Called with the stage that training is at, where a test watches (mlua.engine.stage).
local watched = os.getenv "MLUA_TRAIN_STAGE"
local tell = watched and watched ~= "" and require "mlua.engine.stage".teller(watched)

local MOST_SKIPPED = 100 -- updates in a row
local STOPPED = 75 -- the status of what may be started again
local TERM, INTERRUPT = 15, 2

--- An engine.
-- @tparam table o
--   model, optimizer; train, a loader (mlua.data.loader, or what has its steps, epoch, rows);
--   loss(batch) → tensor of one element [, numbers by name, which are averaged beside it];
--   test, a loader, with predict(batch) → predictions, labels, and metrics, a list of names of
--   registered ones ("accuracy") or of what has add, result and clear; losses, by name
--   (prediction, label, batch) → a tensor of one element or a number, whose means are a test's
--   results, too; test_every, steps (0: after each epoch), beside one at the end; test_batches, of
--   a test (0: all);
--   epochs (1); steps, of an epoch at most (0: all); max_steps (0: none);
--   schedule, of mlua.optim.schedule; schedule_every "update", "epoch" or "test", which takes
--   schedule_metric's result, as plateau wants it;
--   accumulate (1), batches of an update: an epoch's last takes what is left; clip_norm,
--   clip_value;
--   precision, "f32" or "bf16", mixed (ml.autocast);
--   nan, what a loss or clipped gradient that is no number does: "stop" or "skip" the update;
--   checkpoint { steps, minutes, keep (3), best, a metric's name or several, mode "max" or "min",
--   or best = { auc = "max", log_loss = "min" }; restore: the best's weights are the result };
--   stop { metric, mode, patience (tests without a better one), smooth (0: not), above, below }, or
--   a list of such; show_every, steps from one progress line to the next (0: by time);
--   ema, an average of weights, which tests are of; report_every, steps of a line of metrics (100);
--   hooks { step(engine, batch, loss), test(engine, result), epoch(engine) };
--   run: unless given, that of the task whose run function is at work; outside any task the folder
--   of one, which the script goes on with; false: none;
--   name, of one of several trainings in a task; grace, seconds (30) for a last checkpoint
-- @treturn Engine
-- @raise bad argument #1
function M.new(o)
  local self = setmetatable(options.read(o), Engine)
  self.run = o.run or nil
  if o.run == nil then self.run = state.run_of_task(o.name)
  elseif type(o.run) == "string" then self.run = state.run_of_script(o.run) end
  options.check_run(o, self.run)
  return self
end

-- -- one step ----------------------------------------------------------------------------------

local function not_finite(x) return x - x ~= 0 end

-- The ids of a batch's samples, from 0, where its loader knows them.
local function samples_of(self)
  local loader = self.train
  if not loader.order or not loader.options then return "" end
  local ok, order = pcall(loader.order, loader, self.epoch)
  if not ok then return "" end
  local batch = loader.options.batch
  local ids = {}
  for i = self.step_in_epoch * batch + 1, math.min(#order, (self.step_in_epoch + 1) * batch) do
    ids[#ids + 1] = ("%.0f"):format(order[i] - 1)
  end
  local shown = table.concat(ids, " ", 1, math.min(#ids, 64))
  return shown == "" and "" or "; samples " .. shown .. (#ids > 64 and " …" or "")
end

-- The first field of a batch that has what is no number; nil: none has.
local function spoilt_field(batch)
  for _, name in ipairs(text_of.keys(type(batch) == "table" and batch or {})) do
    local t = batch[name]
    if core.is_tensor(t) and core.is_float[t:dtype()] and t:count() > 0 then
      local most = core.op.max(core.op.abs(t)):item()
      if not_finite(most) then return name end
    end
  end
end

-- A loss or gradient that is no number: the update is not made.
local function refuse(self, what, value, batch)
  local field = batch and require "mlua.tensor".no_grad(spoilt_field, batch)
  local text = ("step %d: the %s is %s%s; %s"):format(self.steps + 1, what,
    value ~= value and "not a number" or "infinite", samples_of(self),
    field and ("'%s' of the batch has what is no number"):format(field)
      or "a smaller learning rate may help")
  if self.nan == "stop" then
    return state.drop_spoilt(self) and text .. "; weights are no numbers already: a gradient "
      .. "before was none, which clip_norm sees at once" or text
  end
  say.warn("%s; the update is left out", text)
  self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
  if self.in_a_row >= MOST_SKIPPED then return ("%s; %d in a row"):format(text, MOST_SKIPPED) end
end

local function add_others(self, others, rows)
  for name, value in pairs(others) do
    if core.is_tensor(value) then value = value:item() end
    self.others[name] = self.others[name] or meter.mean()
    self.others[name]:add(value, rows)
  end
end

-- Gradients gathered, clipped, applied. nil, or what is wrong.
local function update_gathered(self)
  local optimizer = self.optimizer
  self.gathered = 0
  if self.clip_norm or self.nan == "skip" then
    local norm = require "mlua.optim".clip_grad_norm(self.model, self.clip_norm or math.huge)
    if not_finite(norm) then
      optimizer:zero_grad()
      return refuse(self, "gradient's norm", norm)
    end
  end
  if self.clip_value then require "mlua.optim".clip_grad_value(self.model, self.clip_value) end
  optimizer:step()
  optimizer:zero_grad()
  self.updates = self.updates + 1
end

-- One batch; its loss, and what is wrong, which ends it. Runs in a scope. Updates take `accumulate`
-- batches; the last of an epoch, what is left.
local function step(self, batch, last)
  local loss, others = self.precise(self.loss_of, batch)
  if not core.is_tensor(loss) then
    fail.run("loss: expected a tensor of one element, got %s", check.what(loss))
  end
  local value, updates = loss:item(), self.updates
  local at_once = self.accumulate == 1 and not self.clip_norm and not self.clip_value
    and self.nan == "stop" -- to skip an update, its gradient has to be looked at
  local problem
  if not_finite(value) then
    problem = refuse(self, "loss", value, batch) -- its gradients are never made
  elseif at_once then
    self.optimizer:step(loss)
    self.updates = self.updates + 1
  else
    local share = self.accumulate == 1 and loss or loss * (1 / self.accumulate)
    share:backward()
    self.gathered = self.gathered + 1
  end
  self.window = self.window + 1
  if self.window == self.accumulate or last then
    self.window = 0
    if self.gathered > 0 and not problem then problem = update_gathered(self) end
  end
  if not problem and self.gathered == 0 and self.updates > updates then self.in_a_row = 0 end
  if others and not problem then add_others(self, others, batch.rows or 1) end
  return value, problem
end

-- -- tests -------------------------------------------------------------------------------------

--- Test: all metrics and losses over the test loader, in one table.
-- @treturn table
function Engine:test() return test.measure(self) end

local function run_test(self, line)
  if tell then tell "t" end
  test.run(self, line)
  if tell then tell "s" end
end

-- -- the loop ----------------------------------------------------------------------------------

--- Seconds of training, those before an interruption among them.
-- @treturn number
function Engine:seconds() return self.seconds_before + C.ml_clock() - self.began end

local function report(self)
  if not self.run or self.recent.weight == 0 then return end
  local values = { loss = self.recent:value() }
  for name, each in pairs(self.others) do
    values[name] = each:value()
    each:clear()
  end
  local seconds = self:seconds()
  self.run:report { kind = "train", step = self.steps, epoch = self.epoch, values = values,
    lr = self.optimizer.lr, seconds = seconds, waited = self.waited,
    rate = self.recent.weight / (seconds - self.reported),
    bytes = tonumber(core.memory.live), resident = tonumber(C.ml_resident()) }
  self.reported = seconds
  self.recent:clear()
end

-- A loader's batches, and how long training waits for them.
local function waiting(self, f, state_of, first)
  return function(_, last)
    local began = C.ml_clock()
    local batch = f(state_of, last)
    self.waited = self.waited + C.ml_clock() - began
    return batch
  end, nil, first
end

local function due(self)
  local every, minutes = self.checkpoint.steps, self.checkpoint.minutes
  return every and self.steps % every == 0
    or minutes and C.ml_clock() - self.saved_at >= minutes * 60
    or self.is_best
end

-- What a signal asked for: a checkpoint, then an end; nothing comes back. Outside any task an error
-- ends the script, or leads back to the prompt.
local function stop_by_signal(self, signal, line)
  log.through(nil)
  if line then line:finish "stopped" end
  local where = ""
  if self.run then
    local checkpoints, till = self.run.checkpoints, C.ml_clock() + self.grace
    local ok, why = checkpoints:wait(self.grace) -- for the one before
    if self.window > 0 then
      where = "; the batches of an update that was not finished come again"
    elseif ok then
      state.save(self)
      ok, why = checkpoints:wait(math.max(0, till - C.ml_clock()))
    end
    if ok == nil then fail.run("%s", why) end
    if ok == false then where = ("; not durable after %g s"):format(self.grace) end
    self.run:finish "stopped"
  end
  local text = ("stopped by %s at step %d%s%s"):format(signal == TERM and "SIGTERM"
    or signal == INTERRUPT and "Ctrl-C" or "SIGUSR1", self.steps,
    self.run and "; the same command goes on" or "", where)
  if not state.in_task() then error(fail.value(text, STOPPED), 0) end
  C.ml_stop_watch(false)
  state.flush()
  io.stderr:write("mlua: ", text, "\n")
  require "mlua.ffi.process".quit(STOPPED)
end

-- Whether an epoch's line would be one of many in a second: then it is left out.
local function is_hasty(self)
  local now, before = C.ml_clock(), self.epoch_began
  self.epoch_began = now
  if not before or self.epoch == self.epochs - 1 or now - before > 0.2 then return false end
  if now - (self.line_shown or 0) > 1 then
    self.line_shown = now
    return false
  end
  return true
end

-- Samples of an epoch of so many steps; nil where the loader does not know.
local function samples_in(self, steps)
  local loader = self.train
  local rows = loader.rows and loader:rows(self.epoch)
  return rows and self.limit > 0 and loader.options
    and math.min(rows, steps * loader.options.batch) or rows or nil
end

-- What comes after a step: a test, a report, a checkpoint, an end that a signal asks for.
local function after_step(self, line)
  if self.test_every > 0 and self.steps % self.test_every == 0 and self.test_loader then
    self.test_due = true
  end
  if self.test_due and self.window == 0 or self.pending then run_test(self, line) end
  if not self.pending then
    if self.max_steps > 0 and self.steps >= self.max_steps then
      self.stopped = self.stopped or "max_steps"
    end
    if self.steps % self.report_every == 0 then report(self) end
    if self.run then
      self.save_due = self.save_due or due(self)
      if self.save_due and self.window == 0 then
        if tell then tell "c" end
        state.save(self)
        if tell then tell "s" end
      end
      state.poll(self)
    end
  end
  log.drain()
  local signal = C.ml_stop_signal()
  if signal ~= 0 then stop_by_signal(self, signal, line) end
end

-- Steps of one epoch from where it stands. What is wrong, or nil; and the progress line.
local function run_epoch(self)
  local per_epoch = self.train:steps(self.epoch)
  if self.limit > 0 then per_epoch = math.min(per_epoch, self.limit) end
  local scope = core.scope
  local line = not self.quiet and require "mlua.ui.progress".new {
    label = (self.label or "epoch %d/%d"):format(self.epoch + 1, self.epochs),
    quiet = is_hasty(self),
    total = samples_in(self, per_epoch), unit = "samples",
  }
  if line then log.through(function(text) line:note(text) end) end
  if self.pending then after_step(self, line) end -- of the step before a signal
  if self.stopped or self.step_in_epoch >= per_epoch then return nil, line end
  local batches = self.train
  for batch in waiting(self, profile.each("batch", batches:epoch(self.epoch, self.step_in_epoch)))
  do
    local rows = batch.rows or 1
    local last = self.step_in_epoch + 1 == per_epoch or self.steps + 1 == self.max_steps
    local loss, problem = profile.part("step", scope, step, self, batch, last)
    if problem then return problem, line end
    self.steps, self.step_in_epoch = self.steps + 1, self.step_in_epoch + 1
    self.samples = self.samples + rows
    if loss - loss == 0 then
      self.loss:add(loss, rows)
      self.recent:add(loss, rows)
      self.smooth:add(loss)
    end
    if self.schedule and self.schedule_every == "update"
      and self.window == 0 then self.schedule:step() end
    if self.ema and self.window == 0 then self.ema:update() end
    if self.hooks.step then profile.part("hook: step", self.hooks.step, self, batch, loss) end
    if line then
      local shows = line:tick(rows)
      if self.show_every > 0 then shows = self.step_in_epoch % self.show_every == 0 end
      if shows then line:show(("loss %.4f"):format(self.smooth:value())) end
    end
    after_step(self, line)
    if self.stopped or self.step_in_epoch == per_epoch then break end
  end
  return nil, line
end

local function train(self)
  if self.pending and self.epoch >= self.epochs then after_step(self) end -- of the last epoch's end
  while self.epoch < self.epochs and not self.stopped do
    local problem, line = run_epoch(self)
    log.through(nil)
    if problem then
      if line then line:finish "failed" end
      fail.run("%s", problem)
    end
    if self.loss.weight > 0 then self.last_loss = self.loss:value() end
    if line then line:finish(("loss %.4f"):format(self.last_loss or 0 / 0)) end
    if not self.stopped then
      report(self)
      self.epoch, self.step_in_epoch = self.epoch + 1, 0
      self.loss:clear()
      if self.schedule and self.schedule_every == "epoch" then self.schedule:step() end
      if self.hooks.epoch then profile.part("hook: epoch", self.hooks.epoch, self) end
      if self.test_every == 0 and self.test_loader then run_test(self) end
      if self.is_best and self.run then state.save(self) end
      local signal = C.ml_stop_signal()
      if signal ~= 0 then stop_by_signal(self, signal) end
    end
  end
end

-- The test of the weights as they are in the end.
local function last_test(self)
  if not self.test_loader or self.steps == 0 or self.tested == self.steps then return end
  local stopped = self.stopped
  run_test(self)
  self.stopped = stopped
  local signal = C.ml_stop_signal()
  if signal ~= 0 then stop_by_signal(self, signal) end
end

-- All of it, from where the run stands to its end.
local function train_whole(self)
  state.profile(self)
  if self.run then state.resume(self) end
  train(self)
  if self.stopped then say.info("step %d: stopped: %s", self.steps, self.stopped) end
  last_test(self)
  if not self.run then return end
  report(self)
  state.save(self, true)
  fail.assert(self.run.checkpoints:wait())
  if self.checkpoint.restore then state.restore_best(self) end
  self.run:finish("done", self:result())
end

--- What came of training, so far.
-- @treturn table  as fit gives it
function Engine:result()
  local first = self.checkpoint.best[1]
  local best = first and self.bests[first.name] or {}
  return {
    steps = self.steps, updates = self.updates, samples = self.samples, skipped = self.skipped,
    loss = self.loss.weight > 0 and self.loss:value() or self.last_loss, seconds = self:seconds(),
    stopped = self.stopped, test = self.last_test, bests = self.bests, best = best.value,
    best_step = best.step,
  }
end

--- Train, or go on where the run stands.
-- @treturn table  steps, updates, samples, skipped, loss (the last epoch's mean), seconds, stopped
--   (why it ended before its last epoch), test (the last result), bests (value and step by the
--   metrics of checkpoint.best), best and best_step (of the first)
function Engine:fit()
  self.began, self.seconds_before, self.saved_at = C.ml_clock(), 0, C.ml_clock()
  self.reported = 0
  C.ml_stop_watch(true)
  local ok, why = xpcall(train_whole, function(e)
    return type(e) == "table" and e or debug.traceback(e, 2)
  end, self)
  C.ml_stop_watch(false)
  log.through(nil)
  state.end_profile()
  if not ok then
    if self.run then self.run:fail(tostring(why)) end
    error(why, 0)
  end
  return self:result()
end

--- Other weights to begin with: `ml.engine.init(model, path, options)` (mlua.engine.init, load).
function M.init(model, path, o) return require "mlua.engine.init".load(model, path, o) end

--- Begin as the parameters say that params of mlua.engine.init gives a task: --init, --freeze, ….
function M.begin(model, o) return require "mlua.engine.init".begin(model, o) end

--- Parameters that training leaves as they are, by patterns of their names; before the optimiser is
-- made.
function M.freeze(model, patterns) return require "mlua.engine.init".freeze(model, patterns) end

return setmetatable(M, { __call = function(_, o) return M.new(o) end })
