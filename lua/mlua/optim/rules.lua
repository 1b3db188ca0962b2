--- What each optimiser takes, keeps, and asks of libmlua (core/include/mlua_grad.h).
-- @module mlua.optim.rules
local core = require "mlua.ffi"

local C = core.C
local rules = {}

-- -- options: each by its default; its check by its name --

local function at_least_0(v) return v >= 0 and v < math.huge, "at least 0" end
local function below_1(v) return v >= 0 and v < 1, "at least 0 and below 1" end
local function is_pair(v)
  local a, b = v[1], v[2]
  local ok = #v == 2 and type(a) == "number" and type(b) == "number"
  return ok and below_1(a) and below_1(b), "two numbers, each at least 0 and below 1"
end

local CHECKS = { betas = is_pair, alpha = below_1 }

--- Whether a value of the right type will do for an option, and what was expected.
function rules.check(option, v)
  if type(v) == "boolean" then return true end
  return (CHECKS[option] or at_least_0)(v)
end

-- -- kinds and states --

-- A state is { name, field of ml_update, shape }: by default of the parameter's shape and dtype.
local STEP = { "step", "step", "step" }

local function has_momentum(o) return o.momentum > 0 end

local function adam_states(o)
  return { { "exp_avg", "state" }, { "exp_avg_sq", "state2" },
           o.amsgrad and { "max_exp_avg_sq", "state3" }, STEP }
end

rules.sgd = {
  options = { lr = 0.01, momentum = 0, dampening = 0, weight_decay = 0, nesterov = false },
  kind = function(o)
    return (o.momentum > 0 or o.weight_decay > 0) and C.ML_UPDATE_MOMENTUM or C.ML_UPDATE_SGD
  end,
  states = function(o)
    if not has_momentum(o) then return {} end
    return { { "momentum_buffer", "state" }, o.dampening > 0 and STEP }
  end,
  mistake = function(o)
    if o.nesterov and not (has_momentum(o) and o.dampening == 0) then
      return "nesterov: expected momentum above 0 and dampening 0"
    end
    if o.dampening > 0 and not has_momentum(o) then
      return "dampening: expected momentum above 0 with it"
    end
  end,
}

rules.adagrad = {
  options = { lr = 0.01, lr_decay = 0, eps = 1e-10 },
  kind = function() return C.ML_UPDATE_ADAGRAD end,
  states = function() return { { "sum", "state" } } end,
}

-- One number per row of a table; other parameters get plain Adagrad.
local function by_rows(entry) return entry.rowwise and entry.tensor:dim() == 2 end
rules.rwsadagrad = {
  options = rules.adagrad.options,
  kind = function(_, e)
    return by_rows(e) and C.ML_UPDATE_ROWWISE_ADAGRAD or C.ML_UPDATE_ADAGRAD
  end,
  states = function(_, e) return { { "sum", "state", by_rows(e) and "rows" } } end,
}

rules.adam = {
  options = { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0, amsgrad = false },
  kind = function() return C.ML_UPDATE_ADAM end,
  states = adam_states,
}

rules.adamw = {
  options = { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0.01,
              amsgrad = false },
  kind = function() return C.ML_UPDATE_ADAMW end,
  states = adam_states,
}

rules.rmsprop = {
  options = { lr = 0.01, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0,
              centered = false },
  kind = function() return C.ML_UPDATE_RMSPROP end,
  states = function(o)
    return { { "square_avg", "state" }, o.centered and { "grad_avg", "state2" },
             has_momentum(o) and { "momentum_buffer", "state3" } }
  end,
}

rules.lion = {
  options = { lr = 1e-4, betas = { 0.9, 0.99 }, weight_decay = 0 },
  kind = function() return C.ML_UPDATE_LION end,
  states = function() return { { "exp_avg", "state" } } end,
}

for _, name in ipairs { "sgd", "adagrad", "adam", "adamw", "rmsprop", "lion" } do
  rules[name].options.maximize = false
end

--- Write a group's options into an update.
function rules.write(u, o)
  u.lr, u.eps = o.lr, o.eps or 0
  u.weight_decay, u.dampening = o.weight_decay or 0, o.dampening or 0
  u.nesterov = o.nesterov or false
  if o.betas then u.beta1, u.beta2 = o.betas[1], o.betas[2]
  else u.beta1, u.beta2 = o.momentum or 0, o.alpha or 0
  end
end

return rules
