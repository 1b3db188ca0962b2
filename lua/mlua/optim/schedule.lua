--- Learning-rate schedules: each sets the rates of an optimiser's groups, from the rates that they
-- had when the first schedule was made, and counts its own steps.
--
--     local schedule = optim.schedule.cosine(opt, { steps = 1000 })
--     … opt:step(loss) schedule:step() …
--
-- A schedule is made at its step 0 and sets the rates of that at once; `s:step()` goes to the next.
-- `s:state()` is a table of numbers, as JSON takes it; `s:load(state)` goes on from there. Rates
-- are PyTorch's, by closed forms: `opt.lr` is the first group's, `opt.groups[i].lr` the ith's.
-- @module mlua.optim.schedule
local check = require "mlua.check"
local core = require "mlua.ffi"
local text = require "mlua.text"
local cycle = require "mlua.optim.cycle"

local bad, what = core.bad, core.what
local schedule = {}

-- -- arguments --

-- What options may be: a test, and how messages say it.
local NUMBER = { function(v) return type(v) == "number" and v == v end, "a number" }
local RATE = { function(v) return type(v) == "number" and v >= 0 and v < math.huge end,
               "a number of at least 0" }
local PART = { function(v) return type(v) == "number" and v >= 0 and v <= 1 end,
               "a number, 0 to 1" }
local BELOW_1 = { function(v) return type(v) == "number" and v >= 0 and v < 1 end,
                  "a number of at least 0 and below 1" }
local POSITIVE = { function(v) return type(v) == "number" and v > 0 and v < math.huge end,
                   "a number above 0" }
local COUNT = { function(v) return type(v) == "number" and v % 1 == 0 and v >= 1 end,
                "a whole number of at least 1" }
local FROM_0 = { function(v) return type(v) == "number" and v % 1 == 0 and v >= 0 end,
                 "a whole number of at least 0" }
local FLAG = { function(v) return type(v) == "boolean" end, "true or false" }

local function one_of(a, b)
  return { function(v) return v == a or v == b end, ("'%s' or '%s'"):format(a, b) }
end

-- Rising whole numbers.
local RISING = { function(v)
  if type(v) ~= "table" or #v == 0 then return false end
  local ok = true
  for i = 1, #v do
    ok = ok and type(v[i]) == "number" and v[i] % 1 == 0 and v[i] > (i == 1 and 0 or v[i - 1])
  end
  return ok
end, "a list of rising whole numbers above 0" }

local function is_optimizer(v)
  return type(v) == "table" and type(v.groups) == "table" and v.set_lr ~= nil
end

-- Options by { what they may be, default }; one without a default must be given.
local function options(name, opt, given, known)
  if not is_optimizer(opt) then bad(1, name, "expected an optimiser, got %s", what(opt)) end
  if given == nil then given = {} end
  if type(given) ~= "table" or core.is_tensor(given) then
    bad(2, name, "expected a table of options, got %s", what(given))
  end
  for _, option in ipairs(text.keys(given)) do
    if not known[option] then
      bad(2, name, "%s", check.unknown(option, known))
    end
  end
  local o = {}
  for _, option in ipairs(text.keys(known)) do
    local v, entry = given[option], known[option]
    if v == nil then v = entry[2] end
    if given[option] ~= nil or v == nil and not entry.optional then
      if not entry[1][1](v) then
        bad(2, name, "%s: expected %s, got %s", option, entry[1][2], what(v))
      end
    end
    o[option] = v
  end
  return o
end

-- A number for every group, or a list of one number each.
local function per_group(name, option, v, opt)
  local list = {}
  for g = 1, #opt.groups do
    list[g] = type(v) == "table" and v[g] or v
    if type(v) == "table" and #v ~= #opt.groups then
      bad(2, name, "%s: expected a number or %d of them, got %d", option, #opt.groups, #v)
    end
    if not RATE[1](list[g]) then
      bad(2, name, "%s: expected %s, got %s", option, RATE[2], what(list[g]))
    end
  end
  return list
end
local ANY = { function(v) return v ~= nil end, "a number, or a list of one for each group" }

-- -- schedules by a formula --

local Schedule = {}
Schedule.__index = Schedule

local function base_rates(opt)
  local base = {}
  for g, group in ipairs(opt.groups) do
    group.base_lr = group.base_lr or group.lr
    base[g] = group.base_lr
  end
  return base
end

-- at(t, base, g): the rate at step t of a group g.
local function by_formula(name, opt, at, last)
  local self = setmetatable({ name = name, opt = opt, base = base_rates(opt), at = at,
                              last = last }, Schedule)
  self:restart()
  return self
end

local function apply(self, t)
  if self.last and t > self.last then
    core.misuse(("%s: step %d of a schedule of %d"):format(self.name, t, self.last))
  end
  self.t = t
  for g = 1, #self.opt.groups do
    local lr, momentum = self.at(t, self.base[g], g)
    if type(lr) ~= "number" or not (lr >= 0 and lr < math.huge) then
      core.misuse(("%s: the rate of step %d: expected a number of at least 0, got %s"):format(
        self.name, t, what(lr)))
    end
    self.opt:set_lr(lr, g)
    if momentum then self.opt:set_momentum(momentum, g) end
  end
end

--- Go on by one step, and set its rates.
function Schedule:step() apply(self, self.t + 1) end

--- Begin again at step 0.
function Schedule:restart() apply(self, 0) end

--- What a checkpoint needs of it.
-- @treturn table  step, and the groups' base rates
function Schedule:state()
  return { step = self.t, base = { unpack(self.base) } }
end

-- A state's list of one rate for each group, or nil.
local function rates_in(list, opt)
  if type(list) ~= "table" or #list ~= #opt.groups then return nil end
  local copy = {}
  for g = 1, #list do
    if not RATE[1](list[g]) then return nil end
    copy[g] = list[g]
  end
  return copy
end

local function misfit(name, field, opt, wanted)
  return nil, ("%s: state: %s: expected %s"):format(name, field,
    wanted or ("%d rates"):format(#opt.groups))
end

--- Go on from a state: all or nothing.
-- @tparam table state
-- @return true, or nil and one line
function Schedule:load(state)
  if type(state) ~= "table" then bad(1, "load", "state: expected a table, got %s", what(state)) end
  local base = rates_in(state.base, self.opt)
  if not base then return misfit(self.name, "base", self.opt) end
  if not FROM_0[1](state.step) or self.last and state.step > self.last then
    return misfit(self.name, "step", self.opt,
      self.last and ("0 to %d"):format(self.last) or FROM_0[2])
  end
  self.base = base
  apply(self, state.step)
  return true
end

--- lr = base gamma^floor(t / size).
-- @param opt
-- @tparam table o  size; gamma (0.1)
-- @treturn Schedule
function schedule.step(opt, o)
  o = options("step", opt, o, { size = { COUNT }, gamma = { RATE, 0.1 } })
  return by_formula("step", opt, function(t, base)
    return base * o.gamma ^ math.floor(t / o.size)
  end)
end

--- lr = base gamma^(the number of milestones so far, t itself counted).
-- @param opt
-- @tparam table o  milestones; gamma (0.1)
-- @treturn Schedule
function schedule.multi_step(opt, o)
  o = options("multi_step", opt, o, { milestones = { RISING }, gamma = { RATE, 0.1 } })
  local milestones = { unpack(o.milestones) }
  return by_formula("multi_step", opt, function(t, base)
    local n = 0
    while milestones[n + 1] and milestones[n + 1] <= t do n = n + 1 end
    return base * o.gamma ^ n
  end)
end

--- lr = base gamma^t.
-- @param opt
-- @tparam table o  gamma
-- @treturn Schedule
function schedule.exponential(opt, o)
  o = options("exponential", opt, o, { gamma = { RATE } })
  return by_formula("exponential", opt, function(t, base) return base * o.gamma ^ t end)
end

--- lr = lowest + (base - lowest) (1 + cos(pi t / steps)) / 2: half a wave down in `steps`, and up
-- again after it.
-- @param opt
-- @tparam table o  steps; lowest (0)
-- @treturn Schedule
-- @source Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts
function schedule.cosine(opt, o)
  o = options("cosine", opt, o, { steps = { COUNT }, lowest = { RATE, 0 } })
  return by_formula("cosine", opt, function(t, base)
    return o.lowest + (base - o.lowest) * (1 + math.cos(math.pi * t / o.steps)) / 2
  end)
end

--- lr = base (from + (to - from) min(t, steps) / steps): a line to the base rate, then level.
-- @param opt
-- @tparam table o  steps (5); from (1/3), to (1): factors of the base rate
-- @treturn Schedule
function schedule.warmup(opt, o)
  o = options("warmup", opt, o, { steps = { COUNT, 5 }, from = { PART, 1 / 3 }, to = { PART, 1 } })
  return by_formula("warmup", opt, function(t, base)
    return base * (o.from + (o.to - o.from) * math.min(t, o.steps) / o.steps)
  end)
end

--- lr = base f(t).
-- @param opt
-- @tparam function|table f  t, from 0 → factor; or a list of one function for each group
-- @treturn Schedule
function schedule.lambda(opt, f)
  options("lambda", opt, {}, {})
  for g = 1, type(f) == "table" and #opt.groups or 1 do
    local one = type(f) == "table" and f[g] or f
    if type(one) ~= "function" or type(f) == "table" and #f ~= #opt.groups then
      bad(2, "lambda", "expected a function, or a list of one for each of %d groups, got %s",
        #opt.groups, what(f))
    end
  end
  return by_formula("lambda", opt, function(t, base, g)
    local factor = (type(f) == "table" and f[g] or f)(t)
    return type(factor) == "number" and base * factor or factor
  end)
end

--- One cycle: up from max_lr / div to max_lr, down to max_lr / div / final_div, momentum the other
-- way round. Its rates take the place of the groups' own; it ends at step `steps`.
-- @param opt
-- @tparam table o  max_lr: a number, or one for each group; steps; rise (0.3): the part of them
--   that goes up; anneal "cos" or "linear" ("cos"); cycle_momentum (true where the optimiser has
--   momentum), base_momentum (0.85), max_momentum (0.95); div (25), final_div (1e4); three_phase
--   (false): down to where it began first, then to the end
-- @treturn Schedule
-- @source Smith & Topin 2018, arXiv:1708.07120; PyTorch's OneCycleLR
function schedule.one_cycle(opt, o)
  o = options("one_cycle", opt, o, {
    max_lr = { ANY }, steps = { COUNT }, rise = { PART, 0.3 },
    anneal = { one_of("cos", "linear"), "cos" }, cycle_momentum = { FLAG, optional = true },
    base_momentum = { BELOW_1, 0.85 }, max_momentum = { BELOW_1, 0.95 }, div = { POSITIVE, 25 },
    final_div = { POSITIVE, 1e4 }, three_phase = { FLAG, false } })
  local max = per_group("one_cycle", "max_lr", o.max_lr, opt)
  local momentum = true
  for g = 1, #opt.groups do momentum = momentum and opt:has_momentum(g) end
  if o.cycle_momentum and not momentum then
    bad(2, "one_cycle", "cycle_momentum: the optimiser, %s, has no momentum; make it with one " ..
      "above 0", opt.name)
  end
  if o.cycle_momentum == nil then o.cycle_momentum = momentum end
  return by_formula("one_cycle", opt, cycle.new(o, max), o.steps)
end

-- -- by a metric --

local Plateau = setmetatable({}, { __index = Schedule })
Plateau.__index = Plateau

--- Lower the rates by a factor where a metric has not become better for more than `patience` steps:
-- `s:step(metric)`.
-- @param opt
-- @tparam table o  mode "min" or "max" ("min"); factor (0.1); patience (10); threshold (1e-4): how
--   much better counts, threshold_mode "rel" or "abs" ("rel"); cooldown (0): steps after a lowering
--   in which bad ones do not count; lowest (0): a rate, or one for each group; eps (1e-8): a change
--   of the rate that is not larger is not made
-- @treturn Plateau
-- @source PyTorch's ReduceLROnPlateau
function schedule.plateau(opt, o)
  o = options("plateau", opt, o, {
    mode = { one_of("min", "max"), "min" }, factor = { BELOW_1, 0.1 }, patience = { FROM_0, 10 },
    threshold = { RATE, 1e-4 }, threshold_mode = { one_of("rel", "abs"), "rel" },
    cooldown = { FROM_0, 0 }, lowest = { ANY, 0 }, eps = { RATE, 1e-8 } })
  local self = setmetatable({ name = "plateau", opt = opt, base = base_rates(opt), o = o,
                              lowest = per_group("plateau", "lowest", o.lowest, opt) }, Plateau)
  self.bad, self.cooldown = 0, 0 -- the rates stay as they are
  return self
end

--- Begin again at the base rates, with no best value.
function Plateau:restart()
  for g, lr in ipairs(self.base) do self.opt:set_lr(lr, g) end
  self.best, self.bad, self.cooldown = nil, 0, 0
end

local function better(o, now, best)
  local sign = o.mode == "min" and -1 or 1
  if not best then return now == now and now ~= -sign * math.huge end
  local bar = o.threshold_mode == "rel" and best * (1 + sign * o.threshold)
    or best + sign * o.threshold
  if sign < 0 then return now < bar end
  return now > bar
end

--- Take in a metric.
-- @tparam number|Tensor metric  of one element
function Plateau:step(metric)
  if core.is_tensor(metric) then metric = metric:item() end
  if type(metric) ~= "number" then
    bad(1, "step", "metric: expected a number, got %s", what(metric))
  end
  local o = self.o
  if better(o, metric, self.best) then
    self.best, self.bad = metric, 0
  else
    self.bad = self.bad + 1
  end
  if self.cooldown > 0 then
    self.cooldown, self.bad = self.cooldown - 1, 0
  end
  if self.bad <= o.patience then return end
  for g, group in ipairs(self.opt.groups) do
    local lr = math.max(group.lr * o.factor, self.lowest[g])
    if group.lr - lr > o.eps then self.opt:set_lr(lr, g) end
  end
  self.cooldown, self.bad = o.cooldown, 0
end

--- What a checkpoint needs of it.
-- @treturn table  best (nil before the first metric), bad, cooldown, lr and base of the groups
function Plateau:state()
  local lr = {}
  for g, group in ipairs(self.opt.groups) do lr[g] = group.lr end
  return { best = self.best, bad = self.bad, cooldown = self.cooldown, lr = lr,
           base = { unpack(self.base) } }
end

--- Go on from a state, its rates set: all or nothing.
-- @tparam table state
-- @return true, or nil and one line
function Plateau:load(state)
  if type(state) ~= "table" then bad(1, "load", "state: expected a table, got %s", what(state)) end
  local lr, base = rates_in(state.lr, self.opt), rates_in(state.base, self.opt)
  if not lr or not base then return misfit("plateau", lr and "base" or "lr", self.opt) end
  for _, field in ipairs { "bad", "cooldown" } do
    if not FROM_0[1](state[field]) then return misfit("plateau", field, self.opt, FROM_0[2]) end
  end
  if state.best ~= nil and not NUMBER[1](state.best) then
    return misfit("plateau", "best", self.opt, "a number")
  end
  self.best, self.bad, self.cooldown, self.base = state.best, state.bad, state.cooldown, base
  for g = 1, #lr do self.opt:set_lr(lr[g], g) end
  return true
end

-- -- one after another --

local Chain = {}
Chain.__index = Chain

--- Schedules one after another: the next begins, at its own step 0, when the chain's step reaches
-- the next milestone. All are of one optimiser, and made before: those before the chain leave no
-- trace in its rates.
-- @param opt
-- @tparam table o  schedules: a list; milestones: one fewer, rising
-- @treturn Chain
-- @usage chain(opt, { schedules = { warmup(opt, …), cosine(opt, …) }, milestones = { 500 } })
function schedule.chain(opt, o)
  o = options("chain", opt, o, { milestones = { RISING },
    schedules = { { function(v) return type(v) == "table" end, "a list of schedules" } } })
  if #o.schedules ~= #o.milestones + 1 then
    bad(2, "chain", "milestones: expected %d, one fewer than schedules, got %d", #o.schedules - 1,
      #o.milestones)
  end
  for i, s in ipairs(o.schedules) do
    if type(s) ~= "table" or not s.restart or s.opt ~= opt then
      bad(2, "chain", "schedules[%d]: expected a schedule of this optimiser, got %s", i, what(s))
    end
  end
  local self = setmetatable({ name = "chain", opt = opt, schedules = { unpack(o.schedules) },
                              milestones = { unpack(o.milestones) } }, Chain)
  self:restart()
  return self
end

local function present(self)
  local i = 1
  while self.milestones[i] and self.milestones[i] <= self.t do i = i + 1 end
  return self.schedules[i], i
end

--- Go on by one step.
-- @tparam ?number metric  for a schedule that takes one
function Chain:step(metric)
  self.t = self.t + 1
  local s, i = present(self)
  if self.milestones[i - 1] == self.t then s:restart() else s:step(metric) end
end

--- Begin again with the first.
function Chain:restart()
  self.t = 0
  self.schedules[1]:restart()
end

--- What a checkpoint needs of it.
-- @treturn table  step; schedules: their states
function Chain:state()
  local list = {}
  for i, s in ipairs(self.schedules) do list[i] = s:state() end
  return { step = self.t, schedules = list }
end

--- Go on from a state: all or nothing.
-- @tparam table state
-- @return true, or nil and one line
function Chain:load(state)
  if type(state) ~= "table" then bad(1, "load", "state: expected a table, got %s", what(state)) end
  local list = state.schedules
  if not FROM_0[1](state.step) then return misfit("chain", "step", self.opt, FROM_0[2]) end
  if type(list) ~= "table" or #list ~= #self.schedules then
    return misfit("chain", "schedules", self.opt, ("%d states"):format(#self.schedules))
  end
  local before = self:state()
  for i, s in ipairs(self.schedules) do
    local ok, message
    if type(list[i]) == "table" then ok, message = s:load(list[i])
    else message = ("chain: state: schedules[%d]: expected a table, got %s"):format(i,
      what(list[i]))
    end
    if not ok then
      self:load(before)
      return nil, message
    end
  end
  self.t = state.step
  local s = present(self)
  s:load(s:state()) -- its rates, last
  return true
end

return schedule
