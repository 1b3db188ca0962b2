--- Attention of several heads, and encodings of positions.
--
-- Parameters are laid out and named as PyTorch's. A mask of bool is true where a row may see a
-- column, as op.scaled_dot_product_attention has it; one of floats is added to the scores.
-- @module mlua.nn.attention
local Module = require "mlua.nn.module"
local attend = require "mlua.nn.attend"
local check = require "mlua.check"
local core = require "mlua.ffi"
local inputs = require "mlua.nn.inputs"
local tensor = require "mlua.tensor"

local op, is_tensor = core.op, core.is_tensor
local bad, what, shape_text = core.bad, inputs.what, inputs.shape_text

-- Whether x is [B, L, dim], or [L, B, dim]; its B and L.
local function check_input(self, x, n, class, label, dim)
  local axes = self.batch_first and "B, L" or "L, B"
  if not is_tensor(x) or x:dim() ~= 3 or x:size(3) ~= dim then
    bad(n, class, "%s: expected [%s, %d], got %s", label, axes, dim, what(x))
  end
  if self.batch_first then return x:size(1), x:size(2) end
  return x:size(2), x:size(1)
end

-- -- positions --

local Rotary = Module.class "Rotary"

-- f (cos, sin) of position p times base^(-2 i / dim), [length, dim]: both halves alike.
local function angles(length, dim, base, dtype, f)
  local rows = {}
  for p = 0, length - 1 do
    local row = {}
    for i = 0, dim / 2 - 1 do
      row[i + 1] = f(p * base ^ (-2 * i / dim))
      row[i + 1 + dim / 2] = row[i + 1]
    end
    rows[p + 1] = row
  end
  return tensor.of(rows, dtype)
end

-- The cosines and sines of `length` positions or more. A captured step that meets a new length has
-- its own, as constants: what it makes cannot outlive it.
local function turns(self, length, dtype)
  if length <= self.length and dtype == self.dtype then return self.cos, self.sin end
  local n = core.recording and length or math.max(length, 2 * self.length, 16)
  local cos = angles(n, self.dim, self.base, dtype, math.cos)
  local sin = angles(n, self.dim, self.base, dtype, math.sin)
  if not core.recording then
    self.cos, self.sin, self.length, self.dtype = core.keep(cos), core.keep(sin), n, dtype
  end
  return cos, sin
end

--- Rotary encoding: pairs of elements (i, i + dim / 2) turned by an angle that grows with the
-- position, so that products of rows depend on their distance.
-- @tparam table o  dim, even; base (10000)
-- @treturn Rotary  without parameters
-- @source Su et al. 2021, arXiv:2104.09864; halves as in GPT-NeoX
function Rotary.new(o)
  o = check.options(o, { dim = "number", base = "number" }, 1, "Rotary")
  local self = Rotary.create()
  self.dim = check.int(o.dim, 1, "Rotary", "dim", 2)
  check.arg(o.dim % 2 == 0, 1, "Rotary", "dim: expected an even number, got %d", o.dim)
  self.base, self.length = o.base or 10000, 0
  return self
end

--- @tparam Tensor x  [.., L, dim]
-- @tparam[opt=0] number past  positions before the first row
-- @treturn Tensor    of x's shape
function Rotary:forward(x, past)
  core.set_context(self._path)
  if not is_tensor(x) or x:dim() < 2 or x:size(-1) ~= self.dim then
    bad(1, "Rotary", "x: expected [.., L, %d], got %s", self.dim, what(x))
  end
  past = past or 0
  if type(past) ~= "number" or past % 1 ~= 0 or past < 0 then
    bad(2, "Rotary", "past: expected an integer of at least 0, got %s", check.what(past))
  end
  local n, half = x:size(-2), self.dim / 2
  local cos, sin = turns(self, past + n, x:dtype())
  cos, sin = cos:narrow(1, past + 1, past + n), sin:narrow(1, past + 1, past + n)
  local turned = op.cat({ -x:narrow(-1, half + 1, self.dim), x:narrow(-1, 1, half) }, -1)
  local y = op.add(op.mul(x, cos), op.mul(turned, sin))
  core.set_context(nil)
  return y
end
function Rotary:describe() return ("Rotary %d"):format(self.dim) end

-- x [B, L, dim] or [L, B, dim] plus rows 1 to L of a table.
local function add_rows(self, x, rows, class)
  core.set_context(self._path)
  local _, n = check_input(self, x, 1, class, "x", self.dim)
  if n > self.length then
    bad(1, class, "x: expected at most %d positions, got %d", self.length, n)
  end
  local part = rows:narrow(1, 1, n)
  local y = op.add(x, self.batch_first and part or part:unsqueeze(2))
  core.set_context(nil)
  return y
end

local function encoding(class, o)
  local Class = Module.class(class)
  function Class:forward(x) return add_rows(self, x, self.weight, class) end
  function Class:describe() return ("%s %d x %d"):format(class, self.length, self.dim) end
  function Class.new(given)
    given = check.options(given, { length = "number", dim = "number", batch_first = "boolean",
                                   dtype = "string", seed = "number", stream = "number" }, 1, class)
    local self = Class.create()
    self.length = check.int(given.length, 1, class, "length", 1)
    self.dim = check.int(given.dim, 1, class, "dim", 1)
    self.batch_first = given.batch_first or false
    o.fill(self, given)
    return self
  end
  return Class
end

--- Sines and cosines of positions, added to the input: sin(p / 10000^(2i / dim)) at 2i, its cosine
-- at 2i + 1, counted from 0.
-- @function SinusoidalEncoding.new
-- @tparam table o  length: the most positions; dim; batch_first (false); dtype ("f32")
-- @treturn SinusoidalEncoding  without parameters
-- @source Vaswani et al. 2017, arXiv:1706.03762, section 3.5
local SinusoidalEncoding = encoding("SinusoidalEncoding", { fill = function(self, o)
  local rows = {}
  for p = 0, self.length - 1 do
    local row = {}
    for i = 0, self.dim - 1 do
      local angle = p / 10000 ^ ((i - i % 2) / self.dim)
      row[i + 1] = i % 2 == 0 and math.sin(angle) or math.cos(angle)
    end
    rows[p + 1] = row
  end
  self.weight = core.keep(tensor.of(rows, o.dtype))
end })
function SinusoidalEncoding:rebind(dtype) self.weight = core.keep(self.weight:to(dtype)) end

--- A learned row for each position, added to the input.
-- @function LearnedEncoding.new
-- @tparam table o  length: the most positions; dim; batch_first (false); dtype ("f32"); seed and
--   stream, which name the draws
-- @treturn LearnedEncoding  parameter weight [length, dim], N(0, 0.02)
local LearnedEncoding = encoding("LearnedEncoding", { fill = function(self, o)
  self:parameter("weight", tensor.normal(0, 0.02, self.length, self.dim,
    { dtype = o.dtype, seed = o.seed, stream = o.stream }))
end })

-- -- attention --

local MultiheadAttention = Module.class "MultiheadAttention"

--- Attention by several heads: each sees a projection of queries, keys and values of its own.
-- @tparam table o  dim; heads, which divide it; kdim, vdim: the sizes of keys and values (dim);
--   bias (true); dropout (0), of the attention, in training; batch_first (false): inputs are
--   [B, L, dim]; rotary (false): turn queries and keys by their positions; dtype ("f32"); seed and
--   stream, which name the draws
-- @treturn MultiheadAttention  in_proj_weight [3 dim, dim] (or q_proj_weight, k_proj_weight,
--   v_proj_weight where kdim or vdim differ), U by Glorot; in_proj_bias 0; out_proj
-- @source Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2
function MultiheadAttention.new(o)
  local class = "MultiheadAttention"
  o = check.options(o, { dim = "number", heads = "number", kdim = "number", vdim = "number",
                         bias = "boolean", dropout = "number", batch_first = "boolean",
                         rotary = "boolean", dtype = "string", seed = "number",
                         stream = "number" }, 1, class)
  local self, p = MultiheadAttention.create(), o.dropout or 0
  local dim = check.int(o.dim, 1, class, "dim", 1)
  self.dim, self.heads = dim, check.int(o.heads, 1, class, "heads", 1)
  check.arg(dim % o.heads == 0, 1, class, "heads: expected a divisor of dim, %d, got %d", dim,
    o.heads)
  self.kdim = check.int(o.kdim or dim, 1, class, "kdim", 1)
  self.vdim = check.int(o.vdim or dim, 1, class, "vdim", 1)
  check.arg(p >= 0 and p < 1, 1, class, "dropout: expected 0 to below 1, got %s", p)
  self.batch_first = o.batch_first or false
  local function draw(name, i, wide, from)
    local bound = math.sqrt(6 / (wide + from))
    self:parameter(name, tensor.uniform(-bound, bound, wide, from, { dtype = o.dtype,
      seed = o.seed, stream = o.stream and 64 * o.stream + i }))
  end
  if self.kdim == dim and self.vdim == dim then
    draw("in_proj_weight", 0, 3 * dim, dim)
  else
    draw("q_proj_weight", 0, dim, dim)
    draw("k_proj_weight", 1, dim, self.kdim)
    draw("v_proj_weight", 2, dim, self.vdim)
  end
  if o.bias ~= false then
    self:parameter("in_proj_bias", tensor.zeros(3 * dim, { dtype = o.dtype }))
  end
  self:child("out_proj", require("mlua.nn.linear").Linear.new { inputs = dim, outputs = dim,
    bias = o.bias, dtype = o.dtype, seed = o.seed, stream = o.stream and 32 * o.stream + 8 })
  if self.out_proj.bias then self.out_proj.bias:fill(0) end
  if p > 0 then
    self:child("dropout", require("mlua.nn.dropout").new { p = p, seed = o.seed,
      stream = o.stream and 64 * o.stream + 32 })
  end
  if o.rotary then self:child("rotary", Rotary.new { dim = dim / o.heads }) end
  return self
end

-- Projections of one input as `n` of [B, heads, L, dim / heads]: views of one product.
local function heads_of(self, x, n, weight, bias)
  local a, b, wide = x:size(1), x:size(2), self.dim / self.heads
  local y = op.linear(x:reshape(a * b, x:size(3)), weight, bias)
  y = y:reshape(a, b, n, self.heads, wide)
  local parts = {}
  for i = 1, n do
    local part = y:select(3, i) -- [a, b, heads, wide]
    parts[i] = self.batch_first and part:permute(1, 3, 2, 4) or part:permute(2, 3, 1, 4)
  end
  return unpack(parts)
end

-- The queries, keys and values, by as few products as their inputs allow.
local function project(self, q, k, v)
  local w, b, dim = self.in_proj_weight, self.in_proj_bias, self.dim
  if w and rawequal(q, k) and rawequal(k, v) then return heads_of(self, q, 3, w, b) end
  local function rows(t, from, to) return t and t:narrow(1, (from - 1) * dim + 1, to * dim) end
  if w and rawequal(k, v) then
    local keys, values = heads_of(self, k, 2, rows(w, 2, 3), rows(b, 2, 3))
    return heads_of(self, q, 1, rows(w, 1, 1), rows(b, 1, 1)), keys, values
  end
  local function one(x, i, own)
    return (heads_of(self, x, 1, own or rows(w, i, i), rows(b, i, i)))
  end
  return one(q, 1, self.q_proj_weight), one(k, 2, self.k_proj_weight),
    one(v, 3, self.v_proj_weight)
end

-- One mask of a mask [L, S] (or what broadcasts to [B, heads, L, S]) and of keys [B, S].
local function joined_mask(mask, keys, b, s, dtype)
  if mask ~= nil and not is_tensor(mask) then
    bad(4, "MultiheadAttention", "mask: expected a tensor, got %s", what(mask))
  end
  if mask and mask:dtype() ~= "bool" then mask = mask:to(dtype == "f64" and "f64" or "f32") end
  if keys == nil then return mask end
  if not is_tensor(keys) or keys:dtype() ~= "bool" or shape_text(keys) ~= ("[%d, %d]"):format(b, s)
  then
    bad(4, "MultiheadAttention", "key_mask: expected bool [%d, %d], got %s", b, s,
      (is_tensor(keys) and keys:dtype() .. " " or "") .. what(keys))
  end
  keys = keys:unsqueeze(2):unsqueeze(3) -- [B, 1, 1, S]
  if not mask then return keys end
  if mask:dtype() == "bool" then return op.logical_and(mask, keys) end
  return tensor.where(keys, mask, -math.huge)
end

local OPTIONS = { mask = true, key_mask = true, causal = "boolean", weights = "string" }

--- Queries see keys, and take of their values.
-- @tparam Tensor q   [L, B, dim], or [B, L, dim] where batch_first
-- @tparam[opt=q] Tensor k  [S, B, kdim]
-- @tparam[opt=k] Tensor v  [S, B, vdim]
-- @tparam ?table o   mask: bool, true where a query may see a key, or floats that are added; it
--   broadcasts to [B, heads, L, S]; key_mask: bool [B, S], false for keys that nobody sees; causal
--   (false): query l sees keys up to l; weights: "mean" over the heads, or of all "heads", asks for
--   what each query takes of each key. Weights, or a mask that requires a gradient, take the memory
--   of [B, heads, L, S] several times
-- @treturn Tensor    of q's shape; a query that sees no key takes nothing: out_proj's bias
-- @treturn ?Tensor   weights where asked for, after dropout: [B, L, S], or [B, heads, L, S]
function MultiheadAttention:forward(q, k, v, o)
  local class = "MultiheadAttention"
  core.set_context(self._path)
  o = core.options(o, OPTIONS, 4, class)
  if o.weights ~= nil and o.weights ~= "mean" and o.weights ~= "heads" then
    bad(4, class, "weights: expected mean or heads, got %s", what(o.weights))
  end
  k = k == nil and q or k
  v = v == nil and k or v
  local b, l = check_input(self, q, 1, class, "q", self.dim)
  local kb, s = check_input(self, k, 2, class, "k", self.kdim)
  local vb, vs = check_input(self, v, 3, class, "v", self.vdim)
  if kb ~= b then bad(2, class, "k: expected a batch of %d, as q, got %d", b, kb) end
  if vb ~= b or vs ~= s then
    bad(3, class, "v: expected %d rows in a batch of %d, as k, got %d in %d", s, b, vs, vb)
  end
  local qs, ks, vs_ = project(self, q, k, v)
  if self.rotary then qs, ks = self.rotary(qs), self.rotary(ks) end
  core.set_context(self._path)
  local d, p, seed, stream, draw = self.dropout, 0, 0, 0, nil
  if d and self.training then
    p, seed, stream, draw = d.p, d.seed, d.stream, op.count_up(d.count)
  end
  local y, w = attend(qs, ks, vs_, { mask = joined_mask(o.mask, o.key_mask, b, s, q:dtype()),
    causal = o.causal, p = p, seed = seed, stream = stream, draw = draw,
    weights = o.weights ~= nil }) -- [B, heads, L, wide], [B, heads, L, S]
  y = self.batch_first and y:permute(1, 3, 2, 4) or y:permute(3, 1, 2, 4)
  y = self.out_proj(y:reshape(b * l, self.dim)):reshape(q:shape())
  if o.weights == "mean" then w = w:mean(2) end
  core.set_context(nil)
  if o.weights then return y, w end
  return y
end

function MultiheadAttention:describe()
  return ("MultiheadAttention %d, %d heads"):format(self.dim, self.heads)
end

return { MultiheadAttention = MultiheadAttention, Rotary = Rotary,
         SinusoidalEncoding = SinusoidalEncoding, LearnedEncoding = LearnedEncoding }
