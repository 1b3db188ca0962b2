--- What layers and losses compute, without state: operations, and what is put together from them.
--
-- Every operation is a function here (`functional.cross_entropy`, `functional.layer_norm`: see
-- their reference page); those below take options as a table.
-- @module mlua.nn.functional
local attend = require "mlua.nn.attend"
local check = require "mlua.check"
local core = require "mlua.ffi"
local create = require "mlua.tensor.create"
local product = require "mlua.tensor.product"
local views = require "mlua.tensor.view"

local op, is_tensor = core.op, core.is_tensor
local functional = setmetatable({}, { __index = op })

local function check_tensor(t, n, name, label)
  check.arg_at(2, is_tensor(t), n, name, "%s: expected a tensor, got %s", label, check.what(t))
end

-- The next draw of ml.seed, as far as the options do not name one.
local function names_of(o)
  if o.seed and o.stream then return o.seed, o.stream end
  local seed, stream = create.next_stream()
  return o.seed or seed, o.stream or stream
end

-- -- dropout --

--- The elements of one channel of one sample, those of [N, C, …] after the first two axes; at
-- least 1.
function functional.channel_size(x)
  local i, n = core.info(x), 1
  for d = 2, i.ndim - 1 do n = n * tonumber(i.shape[d]) end
  return math.max(1, n)
end

--- x / (1 - p), but 0 with probability p.
-- @tparam Tensor x
-- @tparam[opt=0.5] number p
-- @tparam ?table o  training (true): false gives x; by "element" or "channel" ("element"); seed and
--   stream, which name the draw, else the next of ml.seed
-- @treturn Tensor
function functional.dropout(x, p, o)
  o = check.options(o, { training = "boolean", by = "string", seed = "number",
                         stream = "number" }, 3, "dropout")
  check_tensor(x, 1, "dropout", "x")
  check.arg(o.by == nil or o.by == "element" or o.by == "channel", 3, "dropout",
    "by: expected element or channel, got %s", check.what(o.by))
  if o.training == false or p == 0 then return x end
  local seed, stream = names_of(o)
  local span = o.by == "channel" and functional.channel_size(x) or 1
  return op.dropout(x, p or 0.5, seed, stream, nil, span)
end

-- -- norms --

--- Batch norm by running statistics, or in training by the batch's.
-- @tparam Tensor x  [N, C, …]
-- @tparam ?Tensor mean  [C], running; moved on in training
-- @tparam ?Tensor var   [C]
-- @tparam ?Tensor weight
-- @tparam ?Tensor bias
-- @tparam ?table o  training (false), momentum (0.1), eps (1e-5)
-- @treturn Tensor
function functional.batch_norm(x, mean, var, weight, bias, o)
  o = check.options(o, { training = "boolean", momentum = "number", eps = "number" }, 6,
    "batch_norm")
  if o.training or not mean then
    return op.batch_norm(x, weight, bias, mean, var, o.momentum, o.eps)
  end
  return op.batch_norm_fixed(x, mean, var, weight, bias, o.eps)
end

--- Every channel of every sample normalised by itself.
-- @tparam Tensor x  [N, C, …]
-- @tparam ?Tensor weight  [C]
-- @tparam ?Tensor bias    [C]
-- @tparam[opt=1e-5] number eps
-- @treturn Tensor
function functional.instance_norm(x, weight, bias, eps)
  check_tensor(x, 1, "instance_norm", "x")
  check.arg(x:dim() >= 2, 1, "instance_norm", "x: expected [N, C, …], got %d axes", x:dim())
  return op.group_norm(x, x:size(2), weight, bias, eps)
end

-- -- embeddings --

--- Rows of a table by ids from 0.
-- @tparam Tensor ids     i32 or i64, any shape
-- @tparam Tensor weight  [rows, dim]
-- @tparam ?number padding  an id whose row gets no gradient
-- @treturn Tensor        [ids' shape…, dim]
function functional.embedding(ids, weight, padding)
  check_tensor(ids, 1, "embedding", "ids")
  check_tensor(weight, 2, "embedding", "weight")
  local y = op.embedding_bags({ weight }, ids, nil, nil, "sum", padding or -1)
  local sizes = ids:shape()
  sizes[#sizes + 1] = weight:size(-1)
  return y:reshape(sizes)
end

-- -- attention --

-- The leading axes of several tensors in broadcast, but for the last two.
local function common_lead(tensors)
  local lead = {}
  for _, t in ipairs(tensors) do
    local shape = t:shape()
    local shift = #shape - 2 - #lead
    for _ = 1, shift do table.insert(lead, 1, 1) end
    for d = 1, #shape - 2 do
      local at = d + #lead - (#shape - 2)
      if lead[at] == 1 then lead[at] = shape[d] end
    end
  end
  return lead
end

local function expanded(t, lead)
  local shape, to = t:shape(), {}
  for d = 1, #lead do to[d] = lead[d] end
  to[#to + 1], to[#to + 2] = shape[#shape - 1], shape[#shape]
  if #shape == #to then
    local same = true
    for d = 1, #to do same = same and shape[d] == to[d] end
    if same then return t end
  end
  return views.expand_to(t, to, "scaled_dot_product_attention")
end

--- dropout(softmax(q k' / sqrt(E) + mask)) v: rows of q look at rows of k and take those of v.
-- @tparam Tensor q  [.., L, E]
-- @tparam Tensor k  [.., S, E]; leading axes broadcast
-- @tparam Tensor v  [.., S, V]
-- @tparam ?table o  mask: broadcasts to [.., L, S], bool (true where a row sees a column) or added;
--   causal (false): row l sees columns up to l; scale (1 / sqrt(E)); dropout (0), training (true),
--   seed, stream. A mask that requires a gradient gets one, at the cost of the weights' memory
-- @treturn Tensor   [.., L, V]
-- @source Vaswani et al. 2017, arXiv:1706.03762, eq. 1
function functional.scaled_dot_product_attention(q, k, v, o)
  local name = "scaled_dot_product_attention"
  o = check.options(o, { mask = true, causal = "boolean", scale = "number", dropout = "number",
                         training = "boolean", seed = "number", stream = "number" }, 4, name)
  for i, t in ipairs { q or false, k or false, v or false } do
    local label = ({ "q", "k", "v" })[i]
    check_tensor(t, i, name, label)
    check.arg(t:dim() >= 2, i, name, "%s: expected [.., L, E], got %d axes", label, t:dim())
  end
  local lead = common_lead { q, k, v }
  q, k, v = expanded(q, lead), expanded(k, lead), expanded(v, lead)
  local p, seed, stream = o.training ~= false and o.dropout or 0, nil, nil
  if p > 0 then seed, stream = names_of(o) end
  return (attend(q, k, v, { mask = o.mask, causal = o.causal, scale = o.scale, p = p, seed = seed,
                            stream = stream }))
end

-- -- losses --

local function reduced(y, reduction, n, name)
  if reduction == "none" then return y end
  check.arg_at(2, reduction == nil or reduction == "mean" or reduction == "sum", n, name,
    "reduction: expected mean, sum or none, got %s", check.what(reduction))
  if reduction == "sum" then return op.sum(y) end
  return op.affine(op.sum(y), 1 / y:count(), 0)
end

--- max(0, margin - t (a - b)): a above b where t is 1, below it where t is -1.
-- @tparam Tensor a
-- @tparam Tensor b
-- @tparam Tensor t
-- @tparam ?table o  margin (0); reduction "mean", "sum" or "none"
-- @treturn Tensor
function functional.margin_ranking(a, b, t, o)
  o = check.options(o, { margin = "number", reduction = "string" }, 4, "margin_ranking")
  local y = op.relu(op.affine(op.mul(t, op.sub(a, b)), -1, o.margin or 0))
  return (reduced(y, o.reduction, 4, "margin_ranking"))
end

-- ||a - b + eps||_p over the last axis.
local function distance(a, b, p, eps)
  return op.norm(op.affine(op.sub(a, b), 1, eps), p, -1)
end

--- max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm of the last axis.
-- @tparam Tensor anchor    [.., D]
-- @tparam Tensor positive
-- @tparam Tensor negative
-- @tparam ?table o  margin (1), p (2), eps (1e-6), added to differences; swap (false): take
--   d(positive, negative) where that is less; reduction
-- @treturn Tensor
-- @source Balntas et al. 2016 (swap)
function functional.triplet_margin(anchor, positive, negative, o)
  o = check.options(o, { margin = "number", p = "number", eps = "number", swap = "boolean",
                         reduction = "string" }, 4, "triplet_margin")
  local p, eps = o.p or 2, o.eps or 1e-6
  local near, far = distance(anchor, positive, p, eps), distance(anchor, negative, p, eps)
  if o.swap then far = op.minimum(far, distance(positive, negative, p, eps)) end
  local y = op.relu(op.affine(op.sub(near, far), 1, o.margin or 1))
  return (reduced(y, o.reduction, 4, "triplet_margin"))
end

--- a b / (||a|| ||b||) over an axis, each norm at least eps.
-- @function cosine_similarity
-- @tparam Tensor a
-- @tparam Tensor b
-- @tparam[opt=-1] number axis
-- @tparam[opt=1e-8] number eps
-- @treturn Tensor
functional.cosine_similarity = product.methods.cosine_similarity

--- 1 - cos(a, b) where t is 1, max(0, cos(a, b) - margin) where it is -1; over the last axis.
-- @tparam Tensor a  [.., D]
-- @tparam Tensor b
-- @tparam Tensor t  [..]
-- @tparam ?table o  margin (0); reduction
-- @treturn Tensor
function functional.cosine_embedding(a, b, t, o)
  o = check.options(o, { margin = "number", reduction = "string" }, 4, "cosine_embedding")
  local function squares(x) return op.affine(op.sum(op.square(x), -1), 1, 1e-12) end
  local cos = op.div(op.sum(op.mul(a, b), -1), op.sqrt(op.mul(squares(a), squares(b))))
  local near, far = op.affine(cos, -1, 1), op.relu(op.affine(cos, 1, -(o.margin or 0)))
  local y = op.where(op.gt(t, create.zeros({}, { dtype = t:dtype() })), near, far)
  return (reduced(y, o.reduction, 4, "cosine_embedding"))
end

return functional
