--- What an engine is given: checked, with what is as usual where nothing is said.
-- @module mlua.engine.options
local core = require "mlua.ffi"
local meter = require "mlua.engine.meter"
local text = require "mlua.text"

local M = {}

local KNOWN = {
  run = "table|boolean|string", name = "string", model = "table", optimizer = "table",
  train = "table",
  loss = "function", test = "table", predict = "function", metrics = "table", losses = "table",
  epochs = "number", steps = "number", max_steps = "number", test_every = "number",
  test_batches = "number", accumulate = "number", clip_norm = "number", clip_value = "number",
  schedule = "table", schedule_every = "string", schedule_metric = "string", ema = "table",
  precision = "string", nan = "string", checkpoint = "table", stop = "table", hooks = "table",
  grace = "number", report_every = "number", show_every = "number", label = "string",
  quiet = "boolean",
}
local KNOWN_CHECKPOINT = {
  steps = "number", minutes = "number", keep = "number", best = "string|table", mode = "string",
  restore = "boolean",
}
local KNOWN_HOOKS = { step = "function", test = "function", epoch = "function" }
local KNOWN_STOP = {
  metric = "string", mode = "string", patience = "number", smooth = "number", above = "number",
  below = "number",
}

local function expect(ok, ...)
  if not ok then core.bad(1, "engine", ...) end
end

local function options(o, known) return core.options(o, known, 1, "engine") end

local function whole(o, field, default, lowest)
  local value = o[field] == nil and default or o[field]
  expect(value % 1 == 0 and value >= lowest, "%s: expected a whole number of at least %d, got %s",
    field, lowest, tostring(value))
  return value
end

local function needed(o, field)
  expect(o[field] ~= nil, "%s: required", field)
  return o[field]
end

local function choice(o, field, list)
  local value = o[field] or list[1]
  for _, each in ipairs(list) do
    if value == each then return value end
  end
  core.bad(1, "engine", "%s: expected %s, got '%s'", field, text.list(list), value)
end

local function mode_of(o) return choice(o, "mode", { "max", "min" }) end

-- A rule of when to stop, or several.
local function rules_of(stop)
  local list = {}
  for i, rule in ipairs(stop and (stop[1] and stop or { stop }) or {}) do
    list[i] = options(rule, KNOWN_STOP)
    expect(rule.metric, "stop: metric: required")
    local smooth = rule.smooth or 0
    expect(smooth >= 0 and smooth < 1, "stop: smooth: expected at least 0, below 1, got %s",
      smooth)
    mode_of(rule)
  end
  return list
end

-- Metrics whose best tests' checkpoints are kept: a name, a list of names, or modes by name.
local function best_of(checkpoint)
  local best, list = checkpoint.best, {}
  local by_name = type(best) == "table" and not best[1]
  if type(best) ~= "table" then best = { best } end
  for i, name in ipairs(by_name and text.keys(best) or best) do
    expect(type(name) == "string", "checkpoint: best: expected names of metrics")
    list[i] = { name = name, mode = mode_of { mode = by_name and best[name] or checkpoint.mode } }
  end
  return list
end

local function checkpoint_of(o)
  o = options(o or {}, KNOWN_CHECKPOINT)
  local checkpoint = { steps = o.steps, minutes = o.minutes, keep = o.keep }
  for _, field in ipairs { "steps", "keep" } do
    if o[field] then whole(o, field, nil, 1) end
  end
  checkpoint.best, checkpoint.restore = best_of(o), o.restore
  expect(not o.restore or o.best, "checkpoint: restore: goes with best")
  return checkpoint
end

-- Metrics, those built that are given by name.
local function metrics_of(metrics)
  local list = {}
  for i, each in ipairs(metrics or {}) do
    if type(each) == "string" then
      local part, why = require "mlua.param".metric {}:check(each)
      expect(part, "metrics: %s", why)
      each = part()
    end
    for _, method in ipairs { "add", "result", "clear" } do
      local ok, f = pcall(function() return each[method] end)
      expect(ok and type(f) == "function", "metrics: %d: expected the name of a metric, or what "
        .. "has add, result and clear, got %s", i, type(each))
    end
    list[i] = each
  end
  return list
end

-- What tests give by name, as far as metrics that have seen nothing say.
local function figures_of(self)
  local known = {}
  for _, each in ipairs(self.metrics) do
    local ok, result = pcall(each.result, each)
    if not ok or type(result) ~= "table" then return nil end
    for name in pairs(result) do known[name] = true end
  end
  for _, each in ipairs(self.losses) do known[each.name] = true end
  return known
end

-- What goes by tests needs them, and figures that they give.
local function check_tests(o, self)
  local wanted = {}
  for _, rule in ipairs(self.stop_rules) do
    if rule.patience or rule.above or rule.below then
      wanted[#wanted + 1] = { "stop: metric", rule.metric }
    end
  end
  for _, best in ipairs(self.checkpoint.best) do
    wanted[#wanted + 1] = { "checkpoint: best", best.name }
  end
  if self.schedule_metric then
    wanted[#wanted + 1] = { "schedule_metric", self.schedule_metric }
  end
  local known = o.test and figures_of(self)
  for _, each in ipairs(wanted) do
    expect(o.test or self.epochs == 0, "%s: needs test, a loader", each[1])
    expect(not known or known[each[2]], "%s: tests give no '%s'%s", each[1], each[2],
      text.did_you_mean(each[2], text.keys(known or {})))
  end
end

-- The losses of tests, in order of their names.
local function losses_of(losses)
  local list = {}
  for _, name in ipairs(text.keys(losses or {})) do
    expect(type(losses[name]) == "function", "losses: %s: expected a function", name)
    list[#list + 1] = { name = name, of = losses[name] }
  end
  return list
end

-- What calls f(...) in the precision that is asked for.
local function precision_of(o)
  local dtype = choice(o, "precision", { "f32", "bf16" })
  if dtype == "f32" then return function(f, ...) return f(...) end end
  local autocast = require "mlua.tensor".autocast
  return function(f, ...) return autocast(dtype, f, ...) end
end

local function check_together(o, self)
  expect((self.schedule_every == "test") == (self.schedule_metric ~= nil),
    "schedule_metric: goes with schedule_every = 'test'")
  for _, field in ipairs { "clip_norm", "clip_value" } do
    local v = self[field]
    expect(v == nil or v >= 0, "%s: expected a number of at least 0, got %s", field, tostring(v))
  end
  expect(not (o.test and (self.metrics[1] or self.losses[1])) or o.predict,
    "predict: required with test, metrics and losses")
end

--- An engine's fields from its options.
-- @tparam table o  as mlua.engine.new takes them
-- @treturn table
-- @raise bad argument #1 to 'engine'
function M.read(o)
  o = options(o, KNOWN)
  local self = {
    model = needed(o, "model"), optimizer = needed(o, "optimizer"), train = needed(o, "train"),
    loss_of = needed(o, "loss"), test_loader = o.test, predict = o.predict,
    metrics = metrics_of(o.metrics), losses = losses_of(o.losses), precise = precision_of(o),
    schedule = o.schedule, schedule_metric = o.schedule_metric,
    schedule_every = choice(o, "schedule_every", { "update", "epoch", "test" }),
    ema = o.ema, hooks = options(o.hooks or {}, KNOWN_HOOKS),
    nan = choice(o, "nan", { "stop", "skip" }),
    epochs = whole(o, "epochs", 1, 0), limit = whole(o, "steps", 0, 0),
    max_steps = whole(o, "max_steps", 0, 0), accumulate = whole(o, "accumulate", 1, 1),
    test_every = whole(o, "test_every", 0, 0), test_batches = whole(o, "test_batches", 0, 0),
    report_every = whole(o, "report_every", 100, 1), show_every = whole(o, "show_every", 0, 0),
    clip_norm = o.clip_norm, clip_value = o.clip_value, label = o.label, quiet = o.quiet or false,
    grace = o.grace or 30, checkpoint = checkpoint_of(o.checkpoint), stop_rules = rules_of(o.stop),
    patience = {}, bests = {}, epoch = 0, step_in_epoch = 0, gathered = 0, window = 0, in_a_row = 0,
    steps = 0, updates = 0, samples = 0, skipped = 0, waited = 0,
    loss = meter.mean(), recent = meter.mean(), others = {}, smooth = meter.smooth(0.98),
  }
  check_together(o, self)
  check_tests(o, self)
  return self
end

--- Refuse what only a run can keep, where there is none.
-- @tparam table o
-- @tparam ?Run run
function M.check_run(o, run)
  expect(run or not o.checkpoint or o.run == false,
    "checkpoint: there is no run to keep it: outside a task, run = \"FOLDER\" is one")
end

return M
