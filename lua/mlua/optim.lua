--- Optimisers and learning-rate policies.
--
-- `opt:step(loss)` walks the tape back and updates in the same pass: no gradient of an embedding table
-- is ever built, and none of a layer used once. `loss:backward()` … `opt:step()` updates by gradients
-- that were gathered before, for accumulation or to look at them.
-- @module mlua.optim
local check = require "mlua.check"
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"

local C = core.C
local Optimizer = {}
Optimizer.__index = Optimizer

local KIND = { sgd = C.ML_UPDATE_SGD, adagrad = C.ML_UPDATE_ADAGRAD,
               rwsadagrad = C.ML_UPDATE_ROWWISE_ADAGRAD }

local optim = {}

-- Row-wise Adagrad keeps one number per row of a table; other parameters get plain Adagrad.
local function kind_of(name, entry)
  if name == "rwsadagrad" and not (entry.rowwise and entry.tensor:dim() == 2) then return KIND.adagrad end
  return KIND[name]
end

-- A model, a list of tensors, or a list of { name, tensor, module }.
local function entries_of(model)
  local list = {}
  for i, p in ipairs(model.named_parameters and model:named_parameters() or model) do
    if tensor.is(p) then p = { name = tostring(i), tensor = p, rowwise = p:dim() == 2 }
    else p = { name = p.name, tensor = p.tensor, rowwise = p.module.class_name == "TableCollection" } end
    list[i] = p
  end
  return list
end

local function make(name, model, o)
  o = check.options(o, { lr = "number", eps = "number" }, 2, name)
  local lr = o.lr or 0.01
  check.arg_at(1, lr >= 0, 2, name, "lr: expected at least 0, got %s", lr)
  local entries = entries_of(model)
  local self = setmetatable({ name = name, lr = lr, entries = entries, n = #entries, steps = 0,
                              updates = core.updates(#entries), states = {} }, Optimizer)
  for i, e in ipairs(entries) do
    local u, kind = self.updates[i - 1], kind_of(name, e)
    u.param, u.kind, u.lr, u.eps = e.tensor, kind, lr, o.eps or 1e-10
    if kind ~= KIND.sgd then
      local shape = kind == KIND.adagrad and e.tensor:shape() or { e.tensor:size(1) }
      self.states[i] = core.keep(tensor.full(0, shape, { dtype = e.tensor:dtype() }))
      u.state = self.states[i]
    end
  end
  return self
end

--- Plain stochastic gradient descent: p -= lr g.
-- @param model      a module, or a list of tensors
-- @tparam table o   lr (0.01)
function optim.sgd(model, o) return make("sgd", model, o) end

--- Adagrad: s += g^2, p -= lr g / (sqrt(s) + eps); rows of tables that no id touched are left alone.
-- @param model
-- @tparam table o   lr (0.01), eps (1e-10)
-- @source Duchi, Hazan, Singer 2011
function optim.adagrad(model, o) return make("adagrad", model, o) end

--- Adagrad with one s per row of an embedding table: s[row] += mean(g[row]^2). Other parameters get
-- plain Adagrad. Given a list of tensors, every matrix counts as a table.
-- @param model
-- @tparam table o   lr (0.01), eps (1e-10)
-- @source facebookresearch/dlrm, optim/rwsadagrad.py
function optim.rwsadagrad(model, o) return make("rwsadagrad", model, o) end

--- Set the learning rate for the next steps.
-- @tparam number lr
function Optimizer:set_lr(lr)
  if lr == self.lr then return end
  self.lr = lr
  local updates = self.updates
  for i = 0, self.n - 1 do updates[i].lr = lr end
end

--- One update: with a loss, back from it and in the same pass; without, by the gradients gathered.
-- @tparam ?Tensor loss
function Optimizer:step(loss)
  self.steps = self.steps + 1
  if loss then
    core.check(C.ml_backward_update(loss, self.updates, self.n))
  else
    core.check(C.ml_apply_updates(self.updates, self.n))
  end
end

--- Forget all gradients.
function Optimizer:zero_grad()
  for _, e in ipairs(self.entries) do e.tensor:zero_grad() end
end

--- Its state by name, for checkpoints: "<parameter>.sum"; the tensors are its own.
-- @treturn table
function Optimizer:state()
  local state = {}
  for i, e in ipairs(self.entries) do
    if self.states[i] then state[e.name .. ".sum"] = self.states[i] end
  end
  return state
end

--- Copy a state in.
-- @tparam table state
-- @return true, or nil and a message
function Optimizer:load_state(state)
  for name in pairs(self:state()) do
    if not state[name] then return nil, ("optimiser's state: no '%s'"):format(name) end
  end
  for name, t in pairs(self:state()) do t:copy(state[name]) end
  return true
end

--- The public DLRM's policy: linear warm-up, a plateau, quadratic decay.
-- With w = warmup, d = decay_start, n = decay_steps and step counted from 0:
-- step < w: lr (step + 1) / w... ; d <= step < d + n: lr ((d + n - step) / n)^2, at least 1e-7.
-- @tparam table o  lr, warmup (0), decay_start (0), decay_steps (0: no decay)
-- @treturn function  step → learning rate
-- @source facebookresearch/dlrm, dlrm_s_pytorch.py, LRPolicyScheduler
function optim.policy(o)
  check.options(o, { lr = "number", warmup = "number", decay_start = "number", decay_steps = "number" },
    1, "policy")
  local lr, w = o.lr, o.warmup or 0
  local d, n = o.decay_start or 0, o.decay_steps or 0
  check.arg(d == 0 or d >= w, 1, "policy", "decay_start: expected at least warmup, %d, got %d", w, d)
  return function(step)
    if step < w then return lr * (1 - (w - step) / w) end
    if n > 0 and step >= d and step < d + n then
      return math.max(1e-7, lr * ((d + n - step) / n) ^ 2)
    elseif n > 0 and step >= d + n then
      return 1e-7
    end
    return lr
  end
end

return optim
