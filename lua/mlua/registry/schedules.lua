--- mlua's schedules: those of mlua.optim.schedule, with its names, options and defaults, but for
-- `lambda`, which takes a function; and `policy`, the public DLRM's (mlua.optim.policy).
--
-- Each is built by (o, optimizer) and has `step`, `state` and `load`.
-- @module mlua.registry.schedules
local param = require "mlua.param"
local registry = require "mlua.registry"
local register = registry.register

local function copy(o)
  local given = {}
  for option, value in pairs(o) do given[option] = value end
  return given
end

local function add(name, options, change)
  registry.register_at(2, "schedule", name, options, function(o, optimizer)
    local given = copy(o)
    if change then change(given, optimizer) end
    return require "mlua.optim.schedule"[name](optimizer, given)
  end)
end

local function steps(doc)
  return param.int { min = 1, required = true, doc = doc }
end

local function gamma(default)
  return param.number { default, min = 0, required = default == nil,
    doc = "what the rate is multiplied by" }
end

add("step", {
  doc = "the rate times gamma every so many steps",
  size = steps "from one change to the next",
  gamma = gamma(0.1),
})
add("multi_step", {
  doc = "the rate times gamma at each milestone",
  milestones = param.ints { min = 1, length = { 1, math.huge }, required = true,
    doc = "steps at which it changes, rising" },
  gamma = gamma(0.1),
})
add("exponential", { doc = "the rate times gamma at each step", gamma = gamma() })
add("cosine", {
  doc = "down by half a wave of the cosine",
  steps = steps "till the lowest rate",
  lowest = param.number { 0, min = 0, doc = "the rate that it goes down to" },
})
add("warmup", {
  doc = "a line from a part of the rate to the rate",
  steps = param.int { 5, min = 1, doc = "till the end of the line" },
  from = param.number { 1 / 3, min = 0, max = 1, doc = "share of the rate that it begins at" },
  to = param.number { 1, min = 0, max = 1, doc = "share of the rate that it ends at" },
})
add("one_cycle", {
  doc = "up to a highest rate and down to almost nothing, momentum the other way round",
  max_lr = param.number { min = 0, required = true, doc = "the highest rate" },
  steps = steps "of the whole cycle",
  rise = param.number { 0.3, min = 0, max = 1, doc = "share of the steps that goes up" },
  anneal = param.choice { "cos", "linear", doc = "the curve between rates" },
  cycle_momentum = param.choice { "auto", "yes", "no",
    doc = "momentum, too; auto: where the optimiser has it" },
  base_momentum = param.number { 0.85, min = 0, below = 1, doc = "the lowest momentum" },
  max_momentum = param.number { 0.95, min = 0, below = 1, doc = "the highest momentum" },
  div = param.number { 25, above = 0, doc = "the highest rate over the first one" },
  final_div = param.number { 1e4, above = 0, doc = "the first rate over the last one" },
  three_phase = param.bool { doc = "down to the first rate, then to the last one" },
}, function(o)
  o.cycle_momentum = ({ yes = true, no = false })[o.cycle_momentum]
end)
add("plateau", {
  doc = "the rate lowered where a metric, which `step` takes, no longer becomes better",
  mode = param.choice { "min", "max", doc = "which metrics are better" },
  factor = param.number { 0.1, min = 0, below = 1, doc = "what the rate is multiplied by" },
  patience = param.int { 10, min = 0, doc = "steps without a better metric that are waited for" },
  threshold = param.number { 1e-4, min = 0, doc = "how much better counts" },
  threshold_mode = param.choice { "rel", "abs", doc = "rel: that is a share of the best one" },
  cooldown = param.int { 0, min = 0, doc = "steps after a change that do not count" },
  lowest = param.number { 0, min = 0, doc = "the rate that it goes down to" },
  eps = param.number { 1e-8, min = 0, doc = "a change no larger than this is not made" },
})

register("schedule", "policy", {
  doc = "the public DLRM's: a line up, level, a quadratic way down",
  warmup = param.int { 0, min = 0, doc = "steps in which the rate rises from 0" },
  decay_start = param.int { 0, min = 0, doc = "step from which it falls" },
  decay_steps = param.int { 0, min = 0, doc = "steps in which it falls; 0: never" },
}, function(o, optimizer)
  local optim = require "mlua.optim"
  local base = optimizer.groups[1].base_lr or optimizer.lr
  local given = copy(o)
  given.lr = base
  local rate = optim.policy(given) -- counts steps from 1
  return optim.schedule.lambda(optimizer, function(t)
    return base > 0 and rate(t + 1) / base or 0
  end)
end)

register("schedule", "chain", {
  doc = "schedules one after another, each from its own step 0",
  schedules = param.schedules { required = true, length = { 2, math.huge },
    doc = "the schedules, in order" },
  milestones = param.ints { required = true, min = 1, length = { 1, math.huge },
    doc = "steps at which the next one begins, rising" },
}, function(o, optimizer)
  local parts = {}
  for i, part in ipairs(o.schedules or {}) do parts[i] = part(optimizer) end
  return require "mlua.optim.schedule".chain(optimizer,
    { schedules = parts, milestones = o.milestones })
end)
