--- Clipping of gradients, between `loss:backward()` and `opt:step()`.
-- @module mlua.optim.clip
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"

local C = core.C
local clip = {}

local function bad(n, name, format, ...)
  core.misuse(("bad argument #%d to '%s' (%s)"):format(n, name, format:format(...)))
end

local function at_least(lowest, v) return type(v) == "number" and v >= lowest end

-- The tensors of a module, an optimiser, a list, or one alone.
local function tensors_of(params, name)
  if tensor.is(params) then return core.ref_list { params } end
  if type(params) ~= "table" then
    bad(1, name, "params: expected a module, an optimiser or a list of tensors, got %s",
      core.what(params))
  end
  if params.entries and params.refs then return params.refs end
  local list, seen = {}, {}
  for i, p in ipairs(params.named_parameters and params:named_parameters() or params.entries or
                     params) do
    local t = not tensor.is(p) and type(p) == "table" and p.tensor or p
    if not tensor.is(t) then
      bad(1, name, "params[%d]: expected a tensor, got %s", i, core.what(t))
    end
    local key = t.slot .. ":" .. t.gen
    if not seen[key] then
      seen[key] = true
      list[#list + 1] = t
    end
  end
  local refs = core.ref_list(list)
  if params.entries then params.refs = refs end -- an optimiser's parameters never change
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
