--- All that later steps of an engine depend on: into a checkpoint, and back.
-- @module mlua.engine.state
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local log_module = require "mlua.log"
local profile = require "mlua.ffi.profile"

local M = {}

local log = log_module.of "engine"
local KEEP = 3 -- checkpoints, unless options say otherwise

-- Numbers of an engine that are saved as they are.
local PLAIN = {
  "epoch", "step_in_epoch", "steps", "updates", "samples", "skipped", "bests",
  "patience", "stopped", "pending", "last_loss", "last_test", "in_a_row", "waited", "reported",
  "tested",
}
local METERS = { "loss", "recent", "smooth" }

-- -- runs --------------------------------------------------------------------------------------

local function work_now()
  return package.loaded["mlua.task.work"] and package.loaded["mlua.task.work"].current()
end

--- Whether a task is at work.
-- @treturn boolean
function M.in_task() return work_now() ~= nil end

local function is_recorded(work)
  local results = work.store:exists() and work.store:results()
  return results and results:get(work.id) ~= nil or false
end

--- The run of the task that is at work: the interrupted one of its identity, or a new one.
-- @tparam ?string name  of one of several trainings in a task
-- @treturn ?Run  nil where no task is at work
function M.run_of_task(name)
  local work = work_now()
  if not work then return nil end
  local run, node = require "mlua.run", work.node
  local identity = name and require "mlua.ffi.hash".sha256(work.id .. "\n" .. name) or work.id
  local cli = package.loaded["mlua.flow.cli"] -- where a command line is carried out
  local asked, config = cli and cli.asked or {}, {}
  for key, value in pairs(node:params()) do config[key] = value end
  config = require "mlua.config.diff".plain(config)
  if asked.taken then
    fail.usage("--run %s: it has another training of this flow; leave --run out, for a folder each",
      asked.taken)
  end
  local opened = run.open {
    task = node._task.name, identity = identity, recorded = is_recorded(work), config = config,
    root = work.store.dir .. "/runs", dir = asked.dir, new = asked.new or nil,
    words = (name and name .. " " or "") .. node:_words(false), command = asked.command,
    script = asked.script, yaml = asked.yaml, files = asked.files,
  }
  if asked.dir then asked.taken, asked.dir = asked.dir, nil end -- of one run
  asked.new = nil
  node:note(name and "run " .. name or "run", opened.dir)
  work.runs = work.runs or {}
  table.insert(work.runs, opened.dir)
  return opened
end

--- The run of a script in a folder of its own: what is there goes on, whatever the script is now.
-- @tparam string dir
-- @treturn Run
function M.run_of_script(dir)
  return require "mlua.run".open {
    task = "script", identity = require "mlua.ffi.hash".sha256 "script", config = {},
    dir = (dir:gsub("(.)/+$", "%1")), script = arg and arg[0],
    command = { "mlua", arg and arg[0], unpack(arg or {}) },
  }
end

--- Begin what `--profile` asks for; and name the model's layers, for whoever profiles.
-- @tparam Engine engine
function M.profile(engine)
  local cli = package.loaded["mlua.flow.cli"]
  if cli and cli.asked and cli.asked.profile then
    M.profiled = require "mlua.flow.profiled".training(engine.run and engine.run.dir)
  end
  if profile.on then require "mlua.nn.timed".name(engine.model) end
end

--- End it.
function M.end_profile()
  local finish = M.profiled
  M.profiled = nil
  if finish then finish() end
end

--- Make durable what tasks before this one gave, as the process is about to end.
function M.flush()
  M.end_profile()
  local work = work_now()
  if work and not work.store.child then fail.assert(work.store:flush()) end
end

-- -- saving ------------------------------------------------------------------------------------

local function add(into, prefix, tensors)
  for name, t in pairs(tensors) do into[prefix .. name] = t end
end

local function tensors_of(engine)
  local all = {}
  add(all, "model.", engine.model:state())
  add(all, "optimizer.", engine.optimizer:state())
  if engine.ema then add(all, "ema.", engine.ema:state()) end
  return all
end

local function momentum_of(optimizer, g)
  if not optimizer:has_momentum(g) then return nil end
  local group = optimizer.groups[g]
  return group.betas and group.betas[1] or group.momentum
end

local function facts_of(engine)
  local facts = { meters = {}, others = {} }
  for _, name in ipairs(PLAIN) do facts[name] = engine[name] end
  for _, name in ipairs(METERS) do facts.meters[name] = engine[name]:state() end
  for name, each in pairs(engine.others) do facts.others[name] = each:state() end
  facts.schedule = engine.schedule and engine.schedule:state()
  facts.groups = {}
  for g, group in ipairs(engine.optimizer.groups) do
    facts.groups[g] = { lr = group.lr, momentum = momentum_of(engine.optimizer, g) }
  end
  facts.seed = tonumber(core.C.ml_seed_set())
  facts.stream = tonumber(core.C.ml_set_stream(0))
  core.C.ml_set_stream(facts.stream)
  facts.metrics = engine.run:position()
  facts.seconds = engine:seconds()
  facts.averaged = engine.ema and engine.ema.updates
  return facts
end

-- Ends the run where a checkpoint could not be written.
local function written(ok, why)
  if ok == nil then fail.run("%s; checkpoints before this one are whole", why) end
  return ok
end

-- Waits for the checkpoint before; a signal, which leaves but its grace, ends that.
local function waited(engine)
  local ok
  repeat ok = written(engine.run.checkpoints:wait(0.1)) until ok or core.C.ml_stop_signal() ~= 0
  return ok
end

local function save(engine)
  local run = engine.run
  run:settle()
  local kept = { [engine.steps] = true }
  for _, best in pairs(engine.bests) do kept[best.step] = true end
  local facts = facts_of(engine)
  fail.assert(run.checkpoints:save(engine.steps, tensors_of(engine), facts, {
    also = facts.metrics > 0 and run.metrics_path or nil,
    after = function() run.checkpoints:prune(engine.checkpoint.keep or KEEP, kept) end,
  }))
end

--- Save a checkpoint of an engine's run in the background, unless there is one of this step, or
-- gradients have been gathered that no checkpoint holds; or a signal comes while the one before is
-- still being written.
-- @tparam Engine engine
-- @tparam ?boolean last  training is over
function M.save(engine, last)
  if not last and engine.window > 0 then return end
  if engine.saved_step ~= engine.steps and not last and not waited(engine) then return end
  engine.saved_at, engine.is_best, engine.save_due = core.C.ml_clock(), false, false
  if engine.saved_step == engine.steps then return end -- what an epoch's end does is done again
  engine.saved_step = engine.steps
  profile.part("checkpoint", save, engine)
end

local function is_finite(model)
  local op, tensor = core.op, require "mlua.tensor"
  return tensor.no_grad(core.scope, function()
    for _, t in pairs(model:state()) do
      local most = core.is_float[t:dtype()] and t:count() > 0 and op.max(op.abs(t)):item() or 0
      if most - most ~= 0 then return false end
    end
    return true
  end)
end

--- Whether weights are no numbers by now, because a gradient was none; a checkpoint of them goes.
-- @tparam Engine engine
-- @treturn boolean
function M.drop_spoilt(engine)
  if is_finite(engine.model) then return false end
  local run = engine.run
  if run and engine.saved_step == engine.steps and written(run.checkpoints:wait()) then
    run.checkpoints:drop_after(engine.steps - 1)
  end
  return true
end

--- See whether a checkpoint is durable by now; a failure ends the run.
-- @tparam Engine engine
function M.poll(engine)
  log_module.drain()
  written(engine.run.checkpoints:poll())
end

-- -- going on ----------------------------------------------------------------------------------

local function part(tensors, prefix)
  local found = {}
  for name, t in pairs(tensors) do
    if name:sub(1, #prefix) == prefix then found[name:sub(#prefix + 1)] = t end
  end
  return found
end

--- Put the weights of the best test back, by the first of checkpoint.best's metrics.
-- @tparam Engine engine
function M.restore_best(engine)
  local best = engine.bests[engine.checkpoint.best[1].name]
  if not best then return end -- no test has given a number
  local found = fail.assert(engine.run.checkpoints:read(best.step))
  fail.assert(engine.model:load_state(part(found.tensors, "model.")))
  if engine.ema then fail.assert(engine.ema:load_state(part(found.tensors, "ema."))) end
end

local function load(engine, found)
  local tensors, facts = found.tensors, found.facts
  fail.assert(engine.model:load_state(part(tensors, "model.")))
  fail.assert(engine.optimizer:load_state(part(tensors, "optimizer.")))
  if engine.ema then
    fail.assert(engine.ema:load_state(part(tensors, "ema.")))
    engine.ema.updates = facts.averaged
  end
  for _, name in ipairs(PLAIN) do engine[name] = facts[name] end
  for _, name in ipairs(METERS) do engine[name]:load(facts.meters[name]) end
  for name, each in pairs(facts.others) do
    engine.others[name] = require "mlua.engine.meter".mean()
    engine.others[name]:load(each)
  end
  if engine.schedule and facts.schedule then
    fail.assert(engine.schedule:load(facts.schedule))
  end
  for g, group in ipairs(facts.groups) do
    engine.optimizer:set_lr(group.lr, g)
    if group.momentum then engine.optimizer:set_momentum(group.momentum, g) end
  end
  core.C.ml_seed(facts.seed)
  core.C.ml_set_stream(facts.stream)
  engine.seconds_before = facts.seconds
  engine.saved_step = engine.steps
end

--- Take up a run where its newest whole checkpoint stands; from the start, where there is none.
-- @tparam Engine engine
function M.resume(engine)
  local run = engine.run
  local found, why
  if run.continued then
    found, why = run.checkpoints:newest(function(damage)
      log.warn("%s; the checkpoint before it is taken", damage)
    end)
    if not found and why then fail.run("%s", why) end
    if not found and run.checkpoints:steps()[1] then
      fail.run("%s: none of its checkpoints is whole; --new begins a new run", run.dir)
    end
    run.checkpoints:drop_after(found and found.step or -1)
  end
  if found then load(engine, found) end
  run:cut(found and found.facts.metrics or 0)
  if run.continued then
    log.info("%s: goes on at step %d", run.dir, engine.steps)
  else
    fail.assert(run.checkpoints:save_first(run.dir .. "/first", engine.model:state()))
  end
end

return M
