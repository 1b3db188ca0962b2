--- Layers.
-- @module mlua.nn
local linear = require "mlua.nn.linear"

local nn = { Module = require "mlua.nn.module", Linear = linear.Linear, MLP = linear.MLP }

-- What loads on first use: modules that are one thing, and those that hold several classes.
local lazy = {
  TableCollection = "mlua.nn.tables", DLRM = "mlua.nn.dlrm", Dropout = "mlua.nn.dropout",
  functional = "mlua.nn.functional", initialise = "mlua.nn.initialise",
}
local several = {
  ["mlua.nn.norm"] = { "LayerNorm", "RMSNorm", "BatchNorm", "GroupNorm", "InstanceNorm" },
  ["mlua.nn.embedding"] = { "Embedding", "EmbeddingBag" },
  ["mlua.nn.containers"] = { "Sequential", "ModuleList", "ModuleDict", "Lambda", "Identity" },
  ["mlua.nn.activation"] = {
    "ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SELU", "GELU", "SiLU", "Sigmoid", "LogSigmoid",
    "Tanh", "Softplus", "Softsign", "Hardsigmoid", "Hardswish", "Hardshrink", "Hardtanh",
    "Softmax", "LogSoftmax", "GLU", "SwiGLU",
  },
  ["mlua.nn.recurrent"] = { "RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell" },
  ["mlua.nn.attention"] = {
    "MultiheadAttention", "Rotary", "SinusoidalEncoding", "LearnedEncoding",
  },
  ["mlua.nn.transformer"] = {
    "TransformerEncoderLayer", "TransformerEncoder", "TransformerDecoderLayer",
    "TransformerDecoder",
  },
  ["mlua.nn.conv"] = {
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
  },
  ["mlua.nn.pool"] = {
    "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "Upsample", "Flatten",
  },
}
for module, names in pairs(several) do
  for _, name in ipairs(names) do lazy[name] = module end
end

return setmetatable(nn, {
  __index = function(t, name)
    if not lazy[name] then return nil end
    local loaded = require(lazy[name])
    if several[lazy[name]] then loaded = loaded[name] end
    rawset(t, name, loaded)
    return loaded
  end,
})
