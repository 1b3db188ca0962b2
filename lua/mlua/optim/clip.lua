--- Clipping of gradients, between `loss:backward()` and `opt:step()`.
-- @module mlua.optim.clip
local core = require "mlua.ffi"
local parameters = require "mlua.optim.params"

local C, bad = core.C, core.bad
local clip = {}

local function at_least(lowest, v) return type(v) == "number" and v >= lowest end

-- The tensors of a module, an optimiser, a list, or one alone.
local function tensors_of(source, name)
  if core.is_tensor(source) then return core.ref_list { source } end
  if type(source) ~= "table" then
    bad(1, name, "params: expected a module, an optimiser or a list of tensors, got %s",
      core.what(source))
  end
  if source.entries and source.refs then return source.refs end
  local list = parameters.each_once(source.entries or source, name, "params")
  for i, e in ipairs(list) do list[i] = e.tensor end
  local refs = core.ref_list(list)
  if source.entries then source.refs = refs end -- an optimiser's parameters never change
  return refs
end

--- Scale the gradients so that their norm, as of one vector, is at most max_norm: by
-- max_norm / (norm + 1e-6) where that is below 1. Parameters without a gradient are left out.
-- @param params             a module, an optimiser, or a list of tensors
-- @tparam number max_norm
-- @tparam[opt=2] number p   of the norm, above 0; math.huge takes the largest magnitude
-- @treturn number           the norm before
-- @source Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, algorithm 1
function clip.norm(params, max_norm, p)
  local list = tensors_of(params, "clip_grad_norm")
  if not at_least(0, max_norm) then
    bad(2, "clip_grad_norm", "max_norm: expected a number of at least 0, got %s",
      core.what(max_norm))
  end
  p = p == nil and 2 or p
  if not at_least(0, p) or p == 0 then
    bad(3, "clip_grad_norm", "p: expected a number above 0, or math.huge, got %s", core.what(p))
  end
  local norm = core.norm_of_grads(list.array, list.n, p)
  local factor = max_norm / (norm + 1e-6)
  if factor < 1 or factor ~= factor then
    core.check(C.ml_scale_grads(list.array, list.n, factor))
  end
  return norm
end

--- Clamp every element of the gradients into [-limit, limit].
-- @param params        a module, an optimiser, or a list of tensors
-- @tparam number limit  at least 0
function clip.value(params, limit)
  local list = tensors_of(params, "clip_grad_value")
  if not at_least(0, limit) then
    bad(2, "clip_grad_value", "limit: expected a number of at least 0, got %s", core.what(limit))
  end
  core.check(C.ml_clamp_grads(list.array, list.n, limit))
end

return clip
