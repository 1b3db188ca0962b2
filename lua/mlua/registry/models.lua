--- mlua's models. Each is built by (o, given, outputs) and is a module of mlua.nn.
--
-- `given` is what whoever trains knows of the data: the width of the input, or a table or data set
-- with `dense` (that width), `tables` (rows of each table) and what else its own models ask for; a
-- field may be a method, as of mlua.data.clicks. A field `seed` is of the first weights, unless a
-- model's options have one. `outputs` is the width that a part around the
-- model would have. What a model's options say comes before both.
--
-- Composites pass what they are given on to their parts; conjoined takes it for each part.
-- @module mlua.registry.models
local param = require "mlua.param"
local register = require "mlua.registry".register

-- A field of what is given, or what its method says.
local function said(given, field)
  if type(given) ~= "table" then return nil end
  local value = given[field]
  if type(value) == "function" then return value(given) end
  return value
end

local SEED = "of the first weights; unless set, the data's, or the next of ml.seed"

local function bad(n, name, ...) require "mlua.ffi".bad(n, name, ...) end

-- -- plain ones --

-- What a fully connected layer does in one go, and modules for the rest.
local FUSED = { none = true, relu = true, sigmoid = true }
local CLASSES = { tanh = "Tanh", gelu = "GELU", silu = "SiLU", leaky_relu = "LeakyReLU",
                  elu = "ELU", selu = "SELU", softplus = "Softplus", hard_swish = "Hardswish" }
local ACTIVATIONS = { "relu", "none", "sigmoid", "tanh", "gelu", "silu", "leaky_relu", "elu",
                      "selu", "softplus", "hard_swish" }

register("model", "mlp", {
  doc = "fully connected layers, one after another",
  inputs = param.int { min = 1, doc = "width of the input; unless set, what the data say" },
  widths = param.ints { { 64 }, min = 1, doc = "of the hidden layers" },
  outputs = param.int { min = 1, doc = "width of the output; unless set, 1, or what a part around "
    .. "this one asks for" },
  activation = param.choice { choices = ACTIVATIONS, doc = "of the hidden layers" },
  last = param.choice { choices = ACTIVATIONS, default = "none",
    doc = "of the output: sigmoid for probabilities" },
  seed = param.int { min = 0, doc = SEED },
}, function(o, given, outputs)
  local nn = require "mlua.nn"
  local sizes = { o.inputs or tonumber(given) or said(given, "inputs") or said(given, "dense") }
  if not sizes[1] then
    bad(1, "mlp", "inputs: neither its options nor the data say how wide the input is")
  end
  for _, width in ipairs(o.widths) do sizes[#sizes + 1] = width end
  sizes[#sizes + 1] = o.outputs or outputs or said(given, "outputs") or 1
  local layers, seed = nn.Sequential.new {}, o.seed or said(given, "seed")
  for i = 1, #sizes - 1 do
    local activation = i < #sizes - 1 and o.activation or o.last
    layers:append(nn.Linear.new {
      inputs = sizes[i], outputs = sizes[i + 1], seed = seed, stream = seed and i,
      activation = FUSED[activation] and activation or "none",
    })
    if CLASSES[activation] then layers:append(nn[CLASSES[activation]].new()) end
  end
  layers.outputs = sizes[#sizes]
  return layers:name_paths()
end)

register("model", "dlrm", {
  doc = "embedding tables and a bottom MLP, whose features meet below a top MLP (mlua.nn.dlrm)",
  dim = param.int { 16, min = 1, doc = "width of an embedding row" },
  bottom = param.ints { { 64 }, min = 1, doc = "hidden widths of the bottom MLP" },
  top = param.ints { { 64 }, min = 1, doc = "hidden widths of the top MLP" },
  interaction = param.choice { "dot", "cat", doc = "how features meet" },
  itself = param.bool { doc = "dot: each feature with itself too" },
  activation = param.choice { "relu", "sigmoid", doc = "of hidden layers" },
  weighted_pooling = param.choice { "none", "fixed", "learned",
    doc = "a weight for every row where bags are summed, of 1 or learned from 1" },
  qr = param.bool { doc = "quotient and remainder tables for large tables" },
  qr_threshold = param.int { 200, min = 0, doc = "qr: tables with more rows than this" },
  qr_collisions = param.int { 4, min = 1, doc = "qr: rows of the remainder table" },
  qr_operation = param.choice { "mult", "add", "concat", doc = "qr: how the two rows meet" },
  md = param.bool { doc = "narrower rows for larger tables, projected to dim" },
  md_threshold = param.int { 200, min = 0, doc = "md: tables with more rows than this" },
  md_temperature = param.number { 0.3, min = 0, doc = "md: how much narrower; 0 not at all" },
  md_round_dims = param.bool { doc = "md: widths that are powers of 2" },
  loss_threshold = param.number { 0, min = 0, below = 0.5,
    doc = "keep predictions at least this far from 0 and 1" },
  seed = param.int { min = 0, doc = SEED },
}, function(o, given)
  local seed = o.seed or said(given, "seed")
  if not seed then -- its draws have streams of their own
    local of_all, stream = require "mlua.tensor.create".next_stream()
    seed = (of_all % 2 ^ 21 * 2 ^ 32 + stream) % 2 ^ 53
  end
  local tables = said(given, "tables")
  if not tables then bad(1, "dlrm", "tables: the data do not say the rows of each") end
  local model = require "mlua.nn.dlrm".new {
    dense = said(given, "dense"), tables = tables, dim = o.dim, bottom = o.bottom, top = o.top,
    interaction = o.interaction, itself = o.itself, activation = o.activation,
    loss_threshold = o.loss_threshold, pooling = o.weighted_pooling, seed = seed,
    qr = o.qr and { threshold = o.qr_threshold, collisions = o.qr_collisions,
      operation = o.qr_operation } or nil,
    md = o.md and { threshold = o.md_threshold, temperature = o.md_temperature,
      round = o.md_round_dims } or nil,
  }
  model.outputs = 1
  return model
end)

-- -- models of models --

-- What is given, with a seed for each part: of equal parts, each starts elsewhere.
local function apart(given, i)
  local seed = said(given, "seed")
  if not seed then return given end
  return setmetatable({ seed = (seed + i * 0x9E3779B1) % 2 ^ 53 }, { __index = given })
end

local function build_all(parts, given, ...)
  local modules = {}
  for i, part in ipairs(parts) do modules[i] = part(apart(given, i), ...) end
  return modules
end

register("model", "ensemble", {
  doc = "models that are all given the same: the mean of their outputs, and each by its name",
  parts = param.models { { "mlp", "mlp" }, length = { 2, math.huge }, doc = "the models" },
  weights = param.numbers { {}, min = 0, doc = "of each in the mean; none: all the same" },
  names = param.strings { {}, doc = "of their outputs; none: 1, 2, …" },
}, function(o, ...)
  return require "mlua.nn.composite".Ensemble.new(build_all(o.parts, ...),
    { weights = o.weights, names = o.names })
end)

register("model", "multi_task", {
  doc = "heads on one trunk: outputs by the heads' names",
  trunk = param.model { "mlp", doc = "what all heads share" },
  heads = param.models { { "mlp", "mlp" }, length = { 1, math.huge },
    doc = "a model for each task" },
  names = param.strings { {}, doc = "of the heads' outputs; none: 1, 2, …" },
  width = param.int { 16, min = 1,
    doc = "of what the trunk gives, where its own options do not say" },
}, function(o, given)
  local trunk = o.trunk(given, o.width)
  local heads = build_all(o.heads, {
    inputs = trunk.outputs or o.width, seed = said(given, "seed"),
  })
  return require "mlua.nn.composite".MultiTask.new(trunk, heads, { names = o.names })
end)

register("model", "siamese", {
  doc = "one model applied to each of several inputs: the list of outputs, or the distance of two",
  part = param.model { "mlp", doc = "the model, whose weights all inputs share" },
  distance = param.choice { "none", "euclidean", "manhattan", "cosine",
    doc = "of two outputs; none: the outputs themselves" },
  width = param.int { 16, min = 1,
    doc = "of what the model gives, where its own options do not say" },
}, function(o, given)
  return require "mlua.nn.composite".Siamese.new(o.part(given, o.width), { distance = o.distance })
end)

register("model", "conjoined", {
  doc = "models with an input each, and a head that takes their outputs side by side",
  parts = param.models { { "mlp", "mlp" }, length = { 2, math.huge },
    doc = "a model for each input" },
  head = param.model { "mlp", doc = "what takes their outputs" },
  width = param.int { 16, min = 1,
    doc = "of what each part gives, where its own options do not say" },
}, function(o, ...)
  local Conjoined, parts = require "mlua.nn.composite".Conjoined, {}
  for i, part in ipairs(o.parts) do parts[i] = part(select(i, ...), o.width) end
  return Conjoined.new(parts, o.head(Conjoined.width(parts) or o.width * #parts))
end)
