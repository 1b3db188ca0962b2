--- mlua's optimisers: those of mlua.optim, with its names, options and defaults.
--
-- Each is built by (o, model), where a list of tensors or of groups may stand for the model, and is
-- an optimiser of mlua.optim.
-- @module mlua.registry.optimizers
local param = require "mlua.param"
local registry = require "mlua.registry"

local function lr(default)
  return param.number { default, min = 0, doc = "learning rate" }
end

local function decay(default, doc)
  return param.number { default, min = 0, doc = doc or "of weights, added to their gradients" }
end

local function eps(default)
  return param.number { default, min = 0, doc = "added to what is divided by" }
end

local function betas(second)
  return param.numbers { { 0.9, second }, length = 2, min = 0, below = 1,
    doc = "of the two running means" }
end

local function momentum()
  return param.number { 0, min = 0, doc = "share of the last step that goes on" }
end

local function add(name, options)
  options.maximize = param.bool { doc = "go up instead of down" }
  registry.register_at(2, "optimizer", name, options, function(o, model)
    local given = {}
    for option, value in pairs(o) do given[option] = value end
    return require "mlua.optim"[name](model, given)
  end)
end

add("sgd", {
  doc = "stochastic gradient descent",
  lr = lr(0.01),
  momentum = momentum(),
  dampening = param.number { 0, min = 0, doc = "share of a gradient kept from the momentum" },
  weight_decay = decay(0),
  nesterov = param.bool { doc = "Nesterov's momentum" },
})

local function of_sums(doc)
  return {
    doc = doc,
    lr = lr(0.01),
    lr_decay = param.number { 0, min = 0, doc = "of the rate, by updates" },
    eps = eps(1e-10),
  }
end
add("adagrad", of_sums "rates by each weight's sum of squared gradients")
add("rwsadagrad", of_sums "Adagrad with one sum for each row of an embedding table")

add("adam", {
  doc = "steps by running means of gradients and of their squares",
  lr = lr(1e-3),
  betas = betas(0.999),
  eps = eps(1e-8),
  weight_decay = decay(0),
  amsgrad = param.bool { doc = "by the largest mean of squares so far" },
})
add("adamw", {
  doc = "Adam, whose weight decay is apart from the gradients",
  lr = lr(1e-3),
  betas = betas(0.999),
  eps = eps(1e-8),
  weight_decay = decay(0.01, "of weights, times the rate"),
  amsgrad = param.bool { doc = "by the largest mean of squares so far" },
})
add("rmsprop", {
  doc = "rates by a running mean of each weight's squared gradients",
  lr = lr(0.01),
  alpha = param.number { 0.99, min = 0, below = 1, doc = "of the running means" },
  eps = eps(1e-8),
  weight_decay = decay(0),
  momentum = momentum(),
  centered = param.bool { doc = "by the gradients' variance" },
})
add("lion", {
  doc = "steps by the sign of a running mean of gradients",
  lr = lr(1e-4),
  betas = betas(0.99),
  weight_decay = decay(0, "of weights, times the rate"),
})
