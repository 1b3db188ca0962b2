--- Blocks of transformers: encoder and decoder layers, and stacks of them.
--
-- Parameters of a layer are laid out and named as PyTorch's; layers of a stack count from 1.
-- @module mlua.nn.transformer
-- @source Vaswani et al. 2017, arXiv:1706.03762; norms first: Xiong et al. 2020, arXiv:2002.04745
local Module = require "mlua.nn.module"
local attention = require "mlua.nn.attention"
local check = require "mlua.check"
local containers = require "mlua.nn.containers"
local core = require "mlua.ffi"
local dropout = require "mlua.nn.dropout"
local linear = require "mlua.nn.linear"
local norm = require "mlua.nn.norm"

local op = core.op
local ACTIVATIONS = { relu = true, gelu = op.gelu, silu = op.silu }

local KNOWN = {
  dim = "number", heads = "number", hidden = "number", dropout = "number",
  activation = "string|function", norm_first = "boolean", eps = "number", bias = "boolean",
  batch_first = "boolean", rotary = "boolean", dtype = "string", seed = "number", stream = "number",
}
local STACK = { layers = "number", norm = "boolean" }
for k, v in pairs(KNOWN) do STACK[k] = v end

-- -- what layers share --

-- Options of a class, checked for the function that called the calling one.
local function checked(o, known, class)
  o = core.options(o, known, 1, class)
  check.arg_at(2, type(o.activation) == "function" or ACTIVATIONS[o.activation or "relu"], 1,
    class, "activation: expected relu, gelu, silu or a function, got %s", check.what(o.activation))
  for _, key in ipairs { "dim", "heads", "hidden" } do
    if key ~= "hidden" or o.hidden then check.int_at(2, o[key], 1, class, key, 1) end
  end
  check.arg_at(2, o.dim % o.heads == 0, 1, class,
    "heads: expected a divisor of dim, %d, got %d", o.dim, o.heads)
  local p = o.dropout or 0.1
  check.arg_at(2, p >= 0 and p < 1, 1, class, "dropout: expected 0 to below 1, got %s", p)
  return o
end

-- The draws of part i of a layer.
local function part(o, i, more)
  more.dtype, more.seed, more.stream = o.dtype, o.seed, o.stream and 32 * o.stream + i
  return more
end

local function add_attention(self, name, o, i)
  return self:child(name, attention.MultiheadAttention.new(part(o, i, { dim = o.dim,
    heads = o.heads, bias = o.bias, dropout = o.dropout or 0.1, batch_first = o.batch_first,
    rotary = o.rotary and name == "self_attn" })))
end

-- linear1, dropout, linear2, then a norm and a dropout for each of n parts; PyTorch's order.
local function add_rest(self, o, n)
  local hidden, fused, p = o.hidden or 2048, (o.activation or "relu") == "relu", o.dropout or 0.1
  local function drop(name, i)
    if p > 0 then
      local d = part(o, i, { p = p })
      d.dtype = nil
      self:child(name, dropout.new(d))
    end
  end
  self:child("linear1", linear.Linear.new(part(o, 16, { inputs = o.dim, outputs = hidden,
    bias = o.bias, activation = fused and "relu" or "none" })))
  drop("dropout", 17)
  self:child("linear2", linear.Linear.new(part(o, 18, { inputs = hidden, outputs = o.dim,
    bias = o.bias })))
  for i = 1, n do
    self:child("norm" .. i, norm.LayerNorm.new { shape = o.dim, eps = o.eps, bias = o.bias,
                                                 dtype = o.dtype })
  end
  for i = 1, n do drop("dropout" .. i, 20 + i) end
  self.act = not fused and (ACTIVATIONS[o.activation] or o.activation) or nil
  self.norm_first, self.dim, self.heads = o.norm_first or false, o.dim, o.heads
  self.hidden = hidden
end

local function dropped(self, name, x)
  local d = self[name]
  if d then return d(x) end
  return x
end

local function feed_forward(self, x)
  x = self.linear1(x)
  if self.act then x = self.act(x) end
  return self.linear2(dropped(self, "dropout", x))
end

-- x + f(x), the i-th part of a layer, with its norm before or after.
local function add_part(self, i, x, f, ...)
  local n = self["norm" .. i]
  if self.norm_first then
    return op.add(x, dropped(self, "dropout" .. i, f(self, n(x), ...)))
  end
  return n(op.add(x, dropped(self, "dropout" .. i, f(self, x, ...))))
end

local function self_attention(self, x, o) return self.self_attn(x, nil, nil, o) end

local function cross_attention(self, x, memory, o)
  return self.multihead_attn(x, memory, memory, o)
end

local function describe(self)
  return ("%s %d, %d heads, %d hidden%s"):format(self.class_name, self.dim, self.heads, self.hidden,
    self.norm_first and ", norms first" or "")
end

-- -- layers --

local EncoderLayer = Module.class "TransformerEncoderLayer"

local function new_encoder_layer(o)
  local self = EncoderLayer.create()
  add_attention(self, "self_attn", o, 0)
  add_rest(self, o, 2)
  return self
end

--- Self-attention, then two linear layers, each added to its input, with a layer norm.
-- @tparam table o  dim; heads; hidden (2048): the width between the linear layers; dropout (0.1);
--   activation "relu", "gelu", "silu" or a function ("relu"); norm_first (false): norms before the
--   parts, not after; eps (1e-5) of the norms; bias (true); batch_first (false); rotary (false);
--   dtype ("f32"); seed and stream, which name the draws
-- @treturn TransformerEncoderLayer
function EncoderLayer.new(o)
  return new_encoder_layer(checked(o, KNOWN, "TransformerEncoderLayer"))
end

--- @tparam Tensor x  [L, B, dim], or [B, L, dim] where batch_first
-- @tparam ?table o   mask, key_mask, causal, as MultiheadAttention has them
-- @treturn Tensor    of x's shape
function EncoderLayer:forward(x, o)
  x = add_part(self, 1, x, self_attention, o)
  return add_part(self, 2, x, feed_forward)
end
EncoderLayer.describe = describe

local DecoderLayer = Module.class "TransformerDecoderLayer"

local function new_decoder_layer(o)
  local self = DecoderLayer.create()
  add_attention(self, "self_attn", o, 0)
  add_attention(self, "multihead_attn", o, 1)
  add_rest(self, o, 3)
  return self
end

--- Self-attention, attention to an encoder's output, two linear layers.
-- @tparam table o  as TransformerEncoderLayer
-- @treturn TransformerDecoderLayer
function DecoderLayer.new(o)
  return new_decoder_layer(checked(o, KNOWN, "TransformerDecoderLayer"))
end

local DECODE = { mask = true, key_mask = true, causal = "boolean", memory_mask = true,
                 memory_key_mask = true }

--- @tparam Tensor x       [L, B, dim]
-- @tparam Tensor memory  [S, B, dim], an encoder's output
-- @tparam ?table o       mask, key_mask, causal of the self-attention; memory_mask, memory_key_mask
-- @treturn Tensor        of x's shape
function DecoderLayer:forward(x, memory, o)
  o = core.options(o, DECODE, 3, "TransformerDecoderLayer")
  x = add_part(self, 1, x, self_attention,
    { mask = o.mask, key_mask = o.key_mask, causal = o.causal })
  x = add_part(self, 2, x, cross_attention, memory,
    { mask = o.memory_mask, key_mask = o.memory_key_mask })
  return add_part(self, 3, x, feed_forward)
end
DecoderLayer.describe = describe

-- -- stacks --

local function stack(class, make)
  local Class = Module.class(class)
  function Class.new(o)
    o = checked(o, STACK, class)
    check.int(o.layers, 1, class, "layers", 1)
    local self, list = Class.create(), containers.ModuleList.new()
    local own = {}
    for k in pairs(KNOWN) do own[k] = o[k] end
    for i = 1, o.layers do
      own.stream = o.stream and 64 * o.stream + i
      list:append(make(own))
    end
    self:child("layers", list)
    if o.norm or o.norm == nil and o.norm_first then
      self:child("norm", norm.LayerNorm.new { shape = o.dim, eps = o.eps, bias = o.bias,
                                              dtype = o.dtype })
    end
    return self
  end
  function Class:forward(x, ...)
    for _, layer in ipairs(self.layers) do x = layer(x, ...) end
    return self.norm and self.norm(x) or x
  end
  return Class
end

--- A stack of encoder layers, each with weights of its own.
-- @function TransformerEncoder.new
-- @tparam table o  layers, how many; norm: a layer norm at the end (where norm_first); the rest as
--   TransformerEncoderLayer
-- @treturn TransformerEncoder  called as its layers: `y = encoder(x, { causal = true })`
local Encoder = stack("TransformerEncoder", new_encoder_layer)

--- A stack of decoder layers.
-- @function TransformerDecoder.new
-- @tparam table o  as TransformerEncoder
-- @treturn TransformerDecoder  called as its layers: `y = decoder(x, memory, { causal = true })`
local Decoder = stack("TransformerDecoder", new_decoder_layer)

return { TransformerEncoderLayer = EncoderLayer, TransformerEncoder = Encoder,
         TransformerDecoderLayer = DecoderLayer, TransformerDecoder = Decoder }
