--- Optimisers and learning-rate policies.
--
-- `opt:step(loss)` walks the tape back and updates in the same pass: no gradient is built of an
-- embedding table, nor, with SGD, of a layer, where the loss uses it once. `loss:backward()` …
-- `opt:step()` updates by gradients that were gathered before, for accumulation or to look at them.
-- @module mlua.optim
local check = require "mlua.check"
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"
local states = require "mlua.tensor.state"

local C = core.C
local Optimizer = {}
Optimizer.__index = Optimizer

local KIND = { sgd = C.ML_UPDATE_SGD, adagrad = C.ML_UPDATE_ADAGRAD,
               rwsadagrad = C.ML_UPDATE_ROWWISE_ADAGRAD }

local optim = {}

-- Row-wise Adagrad keeps one number per row of a table; other parameters get plain Adagrad.
local function kind_of(name, entry)
  local rowwise = entry.rowwise and entry.tensor:dim() == 2
  return name == "rwsadagrad" and not rowwise and KIND.adagrad or KIND[name]
end

local function wants_gradient(t)
  local i = core.info(t)
  return i.requires_grad and i.leaf
end

-- A model, a list of tensors, or a list of { name, tensor, module }. A tensor that is there twice,
-- as tied weights are, counts once. Parameters that a module has frozen are left out; in a list, a
-- tensor that asks for no gradient is a mistake.
local function entries_of(model, optimizer)
  check.arg_at(2, type(model) == "table", 1, optimizer,
    "expected a module or a list of tensors, got %s", core.what(model))
  local list, seen = {}, {}
  local is_module = model.named_parameters ~= nil
  for i, p in ipairs(is_module and model:named_parameters() or model) do
    local e
    if tensor.is(p) then
      e = { name = tostring(i), tensor = p, rowwise = p:dim() == 2 }
    else
      check.arg_at(2, type(p) == "table" and tensor.is(p.tensor), 1, optimizer,
        "[%d]: expected a tensor, got %s", i, check.what(p))
      e = { name = p.name, tensor = p.tensor,
            rowwise = p.module ~= nil and p.module.class_name == "TableCollection" }
    end
    local wanted = wants_gradient(e.tensor)
    check.arg_at(2, wanted or is_module, 1, optimizer,
      "[%d]: expected a leaf that requires a gradient", i)
    local key = e.tensor.slot .. ":" .. e.tensor.gen
    if wanted and not seen[key] then
      seen[key] = true
      list[#list + 1] = e
    end
  end
  check.arg_at(2, #list > 0, 1, optimizer, "expected at least one parameter, got none")
  return list
end

local function make(name, model, o)
  o = check.options(o, { lr = "number", eps = "number" }, 2, name)
  local lr = o.lr or 0.01
  check.arg_at(1, lr >= 0 and lr < math.huge, 2, name, "lr: expected at least 0, got %s", lr)
  check.arg_at(1, not o.eps or o.eps >= 0 and o.eps < math.huge, 2, name,
    "eps: expected at least 0, got %s", o.eps)
  local entries = entries_of(model, name)
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

--- Adagrad: s += g^2, p -= lr g / (sqrt(s) + eps); rows of tables that no id touched are left
-- alone.
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
  check.arg(type(lr) == "number" and lr >= 0 and lr < math.huge, 1, "set_lr",
    "lr: expected a number of at least 0, got %s", check.what(lr))
  self.lr = lr
  local updates = self.updates
  for i = 0, self.n - 1 do updates[i].lr = lr end
end

--- One update: with a loss, back from it and in the same pass; without, by the gradients gathered.
-- @tparam ?Tensor loss
function Optimizer:step(loss)
  if loss ~= nil then
    if not tensor.is(loss) then core.bad_argument(1, "step", "loss", "a tensor", loss) end
    core.check(C.ml_backward_update(loss, self.updates, self.n))
  else
    core.check(C.ml_apply_updates(self.updates, self.n))
  end
  self.steps = self.steps + 1
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

--- Copy a state in: all or nothing.
-- @tparam table state  as `state` gives it; extra and missing names are mistakes
-- @return true, or nil and one line that names the first misfit
function Optimizer:load_state(state)
  check.type(state, 1, "load_state", "state", "table")
  local own = {}
  for i, e in ipairs(self.entries) do
    if self.states[i] then own[#own + 1] = { name = e.name .. ".sum", tensor = self.states[i] } end
  end
  local ok, message = states.load(own, state, "optimiser's state", "the optimiser")
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
  check.arg(o.lr, 1, "policy", "lr: expected a number, got nil")
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

return optim
