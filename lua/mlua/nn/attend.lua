--- Attention, by one operation where that will do; step by step where its weights are asked for, or
-- a gradient by its mask, which the operation has not got: then [.., L, S] numbers are kept,
-- several times over.
-- @module mlua.nn.attend
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"

local op = core.op

-- scale q k', with -inf where a row does not see a column.
local function scores(q, k, mask, causal, scale)
  local rows, columns = q:size(-2), k:size(-2)
  local s = op.affine(op.matmul(q, k, false, true),
    scale ~= 0 and scale or 1 / math.sqrt(math.max(1, q:size(-1))), 0)
  if mask and mask:dtype() == "bool" then
    s = tensor.where(mask, s, -math.huge)
  elseif mask then
    s = op.add(s, mask:to(s:dtype()))
  end
  if not causal then return s end
  local seen = op.ge(tensor.arange(rows):reshape(rows, 1), tensor.arange(columns))
  return tensor.where(seen, s, -math.huge)
end

--- dropout(softmax(scale q k' + mask)) v, as op.scaled_dot_product_attention has it.
-- @tparam Tensor q  [.., L, E]
-- @tparam Tensor k  [.., S, E]
-- @tparam Tensor v  [.., S, V]
-- @tparam table o   mask, causal, scale (0: 1 / sqrt(E)), p, seed, stream, draw: its arguments;
--   weights: whether they are asked for
-- @treturn Tensor   [.., L, V]
-- @treturn ?Tensor  weights [.., L, S], as they met v: after dropout
return function(q, k, v, o)
  local mask, p = o.mask, o.p or 0
  local by_mask = core.is_tensor(mask) and core.info(mask).requires_grad
  if not (o.weights or by_mask and core.C.ml_grad_enabled()) then
    return op.scaled_dot_product_attention(q, k, v, mask, o.causal, o.scale, p, o.seed, o.stream,
      o.draw)
  end
  local s = scores(q, k, mask, o.causal, o.scale or 0)
  local blind -- the rows that see nothing, whose weights are 0
  if mask and s:count() > 0 then
    blind = op.eq(op.max(s:detach(), -1, true), tensor.full(-math.huge, {}, { dtype = s:dtype() }))
    s = tensor.where(blind, 0, s)
  end
  local w = op.softmax(s, -1)
  if blind then w = tensor.where(blind, 0, w) end
  if p > 0 then w = op.dropout(w, p, o.seed, o.stream, o.draw) end
  return op.matmul(w, v), w
end
