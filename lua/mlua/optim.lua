--- Optimisers, learning-rate schedules, clipping, averages of weights.
--
-- `opt:step(loss)` walks the tape back and updates in the same pass: no gradient is built of an
-- embedding table, nor, with plain SGD, of a layer, where the loss uses it once (SGD and Adagrad;
-- the others build each gradient and drop it once it is used). `loss:backward()` … `opt:step()`
-- updates by gradients that were gathered before, for accumulation, clipping, or to look at them;
-- `opt:zero_grad()` forgets them.
--
-- Parameters come as a module, as a list of tensors, or as groups with options of their own:
-- `optim.adam({ { params = model.base, lr = 1e-4 }, { params = model.head } }, { lr = 1e-3 })`.
-- Formulas, defaults and the names of states are PyTorch's. All take maximize (false): go up
-- instead of down, by gradients of the other sign.
-- @module mlua.optim
local check = require "mlua.check"
local core = require "mlua.ffi"
local params = require "mlua.optim.params"
local rules = require "mlua.optim.rules"
local gradient = require "mlua.tensor.gradient"
local tensor = require "mlua.tensor"
local states = require "mlua.tensor.state"

local C = core.C
local Optimizer = {}
Optimizer.__index = Optimizer

local optim = {}

-- Raise unless ok, at the user's line however deep this is.
local function expect(ok, n, name, format, ...)
  if not ok then core.bad(n, name, format, ...) end
end

local function wants_gradient(t)
  local i = core.info(t)
  return i.requires_grad and i.leaf
end

-- -- parameters --

-- Of a model, a list of tensors, or a list of { name, tensor, module }, append the entries to
-- `list`. A tensor that is there twice, as tied weights are, counts once. Parameters that a module
-- has frozen are left out; in a list, a tensor that asks for no gradient is a mistake.
local function add_entries(list, taken, model, optimizer, group, at)
  local entries, is_module = params.each_once(model, optimizer, at)
  for _, e in ipairs(entries) do
    local i, wanted, dtype = e.position, wants_gradient(e.tensor), e.tensor:dtype()
    expect(wanted or is_module, 1, optimizer,
      "%s[%d]: expected a leaf that requires a gradient", at, i)
    expect(dtype == "f32" or dtype == "f64", 1, optimizer, "%s[%d]: expected f32 or f64, got %s",
      at, i, dtype)
    local before = taken[e.key]
    expect(not before or before == group, 1, optimizer, "%s[%d]: is in group %d, too", at, i,
      before or 0)
    if wanted and not before then
      taken[e.key] = group
      e.rowwise = not e.name and e.tensor:dim() == 2
        or e.module ~= nil and e.module.class_name == "TableCollection"
      e.name = e.name or tostring(taken.n + i)
      while group > 1 and taken.names[e.name] do e.name = group .. "." .. e.name end
      taken.names[e.name] = true
      list[#list + 1] = e
    end
  end
  taken.n = taken.n + #model
end

local function is_group(v) return type(v) == "table" and not tensor.is(v) and v.params ~= nil end

-- -- options --

-- Options over their defaults, all checked; `at` names the group, "" for the options of all.
local function merge(given, defaults, n, name, at)
  local o = {}
  for option, v in pairs(defaults) do o[option] = v end
  for option, v in pairs(given) do
    local default = defaults[option]
    if option ~= "params" or n ~= 1 then
      if default == nil then
        core.bad(n, name, "%s%s", at, check.unknown(option, defaults))
      end
      expect(type(v) == type(default), n, name, "%s%s: expected a %s, got %s", at, option,
        type(default), check.what(v))
      local ok, wanted = rules.check(option, v)
      expect(ok, n, name, "%s%s: expected %s, got %s", at, option, wanted, check.what(v))
      o[option] = v
    end
  end
  if o.betas then o.betas = { o.betas[1], o.betas[2] } end -- its own: a schedule may change it
  return o
end

local function checked(o, rule, n, name, at)
  local mistake = rule.mistake and rule.mistake(o)
  expect(not mistake, n, name, "%s%s", at, mistake)
  return o
end

-- Groups as { options…, first, last }: which of the entries are theirs.
local function groups_of(rule, name, model, given)
  expect(given == nil or type(given) == "table", 2, name, "expected a table of options, got %s",
    check.what(given))
  local defaults = merge(given or {}, rule.options, 2, name, "")
  local list, taken, groups = {}, { n = 0, names = {} }, {}
  if type(model) == "table" and not model.named_parameters and is_group(model[1]) then
    for g, spec in ipairs(model) do
      local at = ("[%d]: "):format(g)
      expect(is_group(spec), 1, name, "%sexpected a group, { params = … }, got %s", at,
        check.what(spec))
      local o = checked(merge(spec, defaults, 1, name, at), rule, 1, name, at)
      local given_params = tensor.is(spec.params) and { spec.params } or spec.params
      o.first = #list
      add_entries(list, taken, given_params, name, g, ("[%d].params: "):format(g))
      o.last = #list - 1
      expect(o.last >= o.first, 1, name, "%sexpected at least one parameter, got none", at)
      groups[g] = o
    end
  else
    checked(defaults, rule, 2, name, "")
    add_entries(list, taken, model, name, 1, "")
    defaults.first, defaults.last = 0, #list - 1
    groups[1] = defaults
  end
  expect(#list > 0, 1, name, "expected at least one parameter, got none")
  return groups, list
end

-- -- making --

local function new_state(e, s)
  if s[3] == "step" then return core.keep(tensor.full(0, {}, { dtype = "i64" })) end
  local shape = s[3] == "rows" and { e.tensor:size(1) } or e.tensor:shape()
  return core.keep(tensor.full(0, shape, { dtype = e.tensor:dtype() }))
end

-- Rates that fall with the count of updates, where a group has lr_decay; self.decay, i64, is the
-- count as the state has it.
local function decay_rates(self)
  if not self.decay then return end
  core.pointer(self.decay)[0] = self.done -- no fill, which a captured step would repeat
  for _, group in ipairs(self.groups) do
    local rate = group.lr / (1 + self.done * group.lr_decay)
    for i = group.first, group.last do self.updates[i].lr = rate end
  end
end

local function count_step(self)
  self.steps, self.done = self.steps + 1, self.done + 1
  decay_rates(self)
end

-- The parameters of groups that maximize, as C takes them, or nil; whether these are all.
local function rising(groups, entries)
  local list = {}
  for _, group in ipairs(groups) do
    for i = group.first, group.last do
      if group.maximize then list[#list + 1] = entries[i + 1].tensor end
    end
  end
  return #list > 0 and core.ref_list(list) or nil, #list == #entries
end

local function make(name, model, o)
  local rule = rules[name]
  local groups, entries = groups_of(rule, name, model, o)
  local self = setmetatable({ name = name, lr = groups[1].lr, entries = entries, n = #entries,
                              groups = groups, steps = 0, done = 0, states = {},
                              updates = core.updates(#entries) }, Optimizer)
  self.rising, self.all_rise = rising(groups, entries)
  for _, group in ipairs(groups) do
    if (group.lr_decay or 0) > 0 and not self.decay then
      self.decay = core.keep(tensor.full(0, {}, { dtype = "i64" }))
      self.states[1] = { name = "updates", tensor = self.decay }
    end
    for i = group.first, group.last do
      local u, e = self.updates[i], entries[i + 1]
      u.param, u.kind = e.tensor, rule.kind(group, e)
      rules.write(u, group)
      local list = rule.states(group, e)
      for k = 1, 4 do
        local s = list[k]
        if s then
          local t = new_state(e, s)
          u[s[2]] = t
          self.states[#self.states + 1] = { name = e.name .. "." .. s[1], tensor = t }
        end
      end
    end
  end
  return self
end

--- Stochastic gradient descent. Momentum, where it is asked for: g += weight_decay p;
-- m = momentum m + (1 - dampening) g, m = g at first; p -= lr m, or lr (g + momentum m) with
-- Nesterov's. Without momentum and weight decay: p -= lr g, fused with backward.
-- @param model      a module, a list of tensors, or groups
-- @tparam table o   lr (0.01), momentum (0), dampening (0), weight_decay (0), nesterov (false)
-- @source Sutskever, Martens, Dahl, Hinton 2013, as PyTorch has it
function optim.sgd(model, o) return make("sgd", model, o) end

--- Adagrad: s += g^2, p -= lr g / (sqrt(s) + eps); rows of tables that no id touched are left
-- alone. With lr_decay, the rate of the kth update is lr / (1 + (k - 1) lr_decay), k counted for
-- all parameters together (state "updates").
-- @param model
-- @tparam table o   lr (0.01), lr_decay (0), eps (1e-10)
-- @source Duchi, Hazan, Singer 2011
function optim.adagrad(model, o) return make("adagrad", model, o) end

--- Adagrad with one s per row of an embedding table: s[row] += mean(g[row]^2). Other parameters get
-- plain Adagrad. Given a list of tensors, every matrix counts as a table.
-- @param model
-- @tparam table o   as `adagrad`
-- @source facebookresearch/dlrm, optim/rwsadagrad.py
function optim.rwsadagrad(model, o) return make("rwsadagrad", model, o) end

--- Adam: g += weight_decay p; m and v, the running means of g and g^2, corrected for their start
-- at zero; p -= lr m / (sqrt(v) + eps). With amsgrad, the largest v so far.
-- @param model
-- @tparam table o   lr (1e-3), betas ({ 0.9, 0.999 }), eps (1e-8), weight_decay (0),
--   amsgrad (false)
-- @source Kingma & Ba 2015, arXiv:1412.6980; Reddi, Kale, Kumar 2018
function optim.adam(model, o) return make("adam", model, o) end

--- Adam with decoupled weight decay: p *= 1 - lr weight_decay before the step.
-- @param model
-- @tparam table o   as `adam`; weight_decay (0.01)
-- @source Loshchilov & Hutter 2019, arXiv:1711.05101
function optim.adamw(model, o) return make("adamw", model, o) end

--- RMSprop: s is the running mean of g^2; p -= lr g / (sqrt(s) + eps). Centered, the variance of g
-- takes the place of s; with momentum, m = momentum m + g / (…), p -= lr m.
-- @param model
-- @tparam table o   lr (0.01), alpha (0.99): of the means, eps (1e-8), weight_decay (0),
--   momentum (0), centered (false)
-- @source Tieleman & Hinton 2012, lecture 6e; centered: Graves 2013, arXiv:1308.0850
function optim.rmsprop(model, o) return make("rmsprop", model, o) end

--- Lion: p = (1 - lr weight_decay) p - lr sign(beta1 m + (1 - beta1) g), then
-- m = beta2 m + (1 - beta2) g.
-- @param model
-- @tparam table o   lr (1e-4), betas ({ 0.9, 0.99 }), weight_decay (0)
-- @source Chen et al. 2023, arXiv:2302.06675, algorithm 2
function optim.lion(model, o) return make("lion", model, o) end

-- -- what optimisers do --

-- The group of a number, and its place in `groups`; without one, all.
local function range(self, name, group)
  if group == nil then return 1, #self.groups end
  expect(self.groups[group] ~= nil, 2, name, "group: expected a whole number, 1 to %d, got %s",
    #self.groups, check.what(group))
  return group, group
end

--- Set the learning rate for the next steps.
-- @tparam number lr
-- @tparam ?number group  its number; else of all
function Optimizer:set_lr(lr, group)
  core.no_capture "set_lr inside the step would set it once only; set it before the step is called"
  if lr == self.lr and #self.groups == 1 and group == nil then return end
  check.arg(type(lr) == "number" and lr >= 0 and lr < math.huge, 1, "set_lr",
    "lr: expected a number of at least 0, got %s", check.what(lr))
  local updates = self.updates
  local from, to = range(self, "set_lr", group)
  for g = from, to do
    local o = self.groups[g]
    o.lr = lr
    for i = o.first, o.last do updates[i].lr = lr end
  end
  decay_rates(self)
  self.lr = self.groups[1].lr
end

--- Set the momentum, or the first of Adam's and Lion's betas, for the next steps.
-- @tparam number momentum
-- @tparam ?number group  its number; else of all
function Optimizer:set_momentum(momentum, group)
  core.no_capture "set_momentum inside the step would set it once only; set it outside"
  check.arg(type(momentum) == "number" and momentum >= 0 and momentum < 1, 1, "set_momentum",
    "momentum: expected a number of at least 0 and below 1, got %s", check.what(momentum))
  local from, to = range(self, "set_momentum", group)
  for g = from, to do
    expect(self:has_momentum(g), 1, "set_momentum",
      "the optimiser, %s, has no momentum; make it with one above 0", self.name)
  end
  for g = from, to do
    local o = self.groups[g]
    if o.betas then o.betas[1] = momentum else o.momentum = momentum end
    for i = o.first, o.last do self.updates[i].beta1 = momentum end
  end
end

--- Whether a group was made with momentum, which may be set then.
-- @tparam number group
-- @treturn boolean
function Optimizer:has_momentum(group)
  local o = self.groups[group]
  if o.betas then return true end
  if not o.momentum then return false end
  local u = self.updates[o.first]
  return (self.name == "rmsprop" and u.state3.slot or u.state.slot) ~= 0
end

-- By the gradients that are there; those of parameters that go up count with the other sign.
local function apply(self)
  local up = self.rising
  if up then core.check(C.ml_scale_grads(up.array, up.n, -1)) end
  local code = C.ml_apply_updates(self.updates, self.n)
  if up then C.ml_scale_grads(up.array, up.n, -1) end
  core.check(code)
end

--- One update: with a loss, back from it and in the same pass, which keeps no gradients; without,
-- by the gradients gathered, which stay until `zero_grad`.
-- @tparam ?Tensor loss
function Optimizer:step(loss)
  if loss ~= nil then
    if not tensor.is(loss) then core.bad_argument(1, "step", "loss", "a tensor", loss) end
    if gradient.has_hooks() or self.rising and not self.all_rise then
      loss:backward() -- hooks see gradients, and groups differ in their sign: they are built first
      apply(self)
      self:zero_grad()
    else
      local down = self.rising and core.op.affine(loss, -1, 0) or loss
      local code = core.check(C.ml_backward_update(down, self.updates, self.n))
      if code == C.ML_CALL then require("mlua.ffi.gradient").finish(code) end
    end
  else
    apply(self)
  end
  count_step(self)
  if core.recording then
    local after = core.recording.after
    after[#after + 1] = function() count_step(self) end
  end
end

--- Forget all gradients.
function Optimizer:zero_grad()
  for _, e in ipairs(self.entries) do e.tensor:zero_grad() end
end

--- Its state by name, for checkpoints: "<parameter>.sum", "<parameter>.exp_avg", …; the tensors are
-- its own. Parameters of lists are named by their number. Rates belong to options and schedules.
-- @treturn table
function Optimizer:state()
  local state = {}
  for _, s in ipairs(self.states) do state[s.name] = s.tensor end
  return state
end

--- Copy a state in: all or nothing. Training then goes on with the same bits.
-- @tparam table state  as `state` gives it; extra and missing names are mistakes
-- @return true, or nil and one line that names the first misfit
function Optimizer:load_state(state)
  check.type(state, 1, "load_state", "state", "table")
  local ok, message = states.load(self.states, state, "optimiser's state", "the optimiser")
  if ok and self.decay then
    self.done = self.decay:item()
    decay_rates(self)
  end
  return ok, message
end

--- The public DLRM's policy: linear warm-up, a plateau, quadratic decay, each held where it ends.
-- With w = warmup, d = decay_start, n = decay_steps, and k counting steps from 1:
-- k < w: lr k / w; d <= k < d + n: lr ((d + n - k) / n)^2, at least 1e-7. Where there is a decay,
-- the steps between warm-up and decay keep the last rate of the warm-up, and those after it that of
-- the decay; without one, the rate after the warm-up is lr.
-- @tparam table o  lr, warmup (0), decay_start (0), decay_steps (0: no decay)
-- @treturn function  k, from 1 → learning rate
-- @source facebookresearch/dlrm, dlrm_s_pytorch.py, LRPolicyScheduler
function optim.policy(o)
  o = check.options(o, { lr = "number", warmup = "number", decay_start = "number",
                         decay_steps = "number" }, 1, "policy")
  check.arg(type(o.lr) == "number", 1, "policy", "lr: expected a number, got %s", check.what(o.lr))
  local lr, w = o.lr, o.warmup or 0
  local d, n = o.decay_start or 0, o.decay_steps or 0
  check.arg(d == 0 or d >= w, 1, "policy", "decay_start: expected at least warmup, %d, got %d", w,
    d)
  local function decayed(k) return math.max(1e-7, lr * ((d + n - k) / n) ^ 2) end
  return function(k)
    if k < w then return lr * k / w end
    if n == 0 then return lr end
    if k < d then return w > 1 and lr * (w - 1) / w or lr end
    return decayed(math.min(k, d + n - 1))
  end
end

-- Loaded on first use: a module, or a function of one.
local lazy = { schedule = { "mlua.optim.schedule" }, ema = { "mlua.optim.ema", "new" },
               clip_grad_norm = { "mlua.optim.clip", "norm" },
               clip_grad_value = { "mlua.optim.clip", "value" } }

return setmetatable(optim, {
  __index = function(t, name)
    local where = lazy[name]
    if not where then return nil end
    local loaded = require(where[1])
    if where[2] then loaded = loaded[where[2]] end
    rawset(t, name, loaded)
    return loaded
  end,
})
