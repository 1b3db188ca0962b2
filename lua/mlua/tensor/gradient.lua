--- Gradients: back from a loss, by some tensors, through hooks, of operations of one's own.
-- @module mlua.tensor.gradient
local core = require "mlua.ffi"

local C, is_tensor, misuse, check = core.C, core.is_tensor, core.misuse, core.check
local bad_argument = core.bad_argument

local gradient = { methods = {}, functions = {} }
local methods, functions = gradient.methods, gradient.functions

local function calls() return require "mlua.ffi.gradient" end

-- -- hooks on leaves: their gradient is there when the backward is over --

local hooked, n_hooked = {}, 0 -- lists of { tensor, f } by handle

local key_of = core.key

-- Leaves that are still there, with copies of their hooks and what they hold of gradients.
local function hooked_now()
  local leaves = {}
  for key, list in pairs(hooked) do
    local t = list[1].tensor
    if C.ml_tensor_info(t) == nil then -- freed, with its scope
      n_hooked = n_hooked - #list
      hooked[key] = nil
    else
      leaves[#leaves + 1] = { tensor = t, hooks = { unpack(list) }, before = t:grad() }
    end
  end
  return leaves
end

local function gather(fn, ...)
  local leaves = hooked_now()
  for _, leaf in ipairs(leaves) do leaf.tensor:zero_grad() end
  local ok, message = pcall(fn, ...)
  for _, leaf in ipairs(leaves) do -- all get theirs back, whatever fails
    local t, g = leaf.tensor, leaf.tensor:grad()
    for _, h in ipairs(g and leaf.hooks or {}) do
      if not ok then break end
      local new
      ok, new = pcall(h.f, g)
      if not ok then
        message = new
      elseif new ~= nil and not is_tensor(new) then
        ok, message = pcall(bad_argument, 1, "register_hook", "f's result", "a tensor or nil", new)
      else
        g = new or g
      end
    end
    if leaf.before then g = ok and g and leaf.before + g or leaf.before end
    if g then check(C.ml_set_grad(t, g)) end
  end
  if not ok then error(message, 0) end
end

local function back(loss, g)
  local code = check(C.ml_backward(loss, g))
  if code == C.ML_CALL then calls().finish(code) end
end

--- Whether hooks on leaves ask for gradients to be built before they are used.
-- @treturn boolean
function gradient.has_hooks() return n_hooked > 0 end

--- Walk the tape back from this loss, adding to the gradients of the leaves.
-- @tparam ?Tensor g  its gradient, where the loss has more than one element
function methods:backward(g)
  core.info(self)
  if g ~= nil and not is_tensor(g) then
    bad_argument(1, "backward", "gradient", "a tensor", g)
  end
  if n_hooked > 0 then gather(back, self, g) else back(self, g) end
end

--- Set the gradient of a leaf: a copy of g, of its shape and dtype.
-- @tparam Tensor g
function methods:set_grad(g)
  core.info(self)
  if not is_tensor(g) then bad_argument(1, "set_grad", "g", "a tensor", g) end
  check(C.ml_set_grad(self, g))
  return self
end

local function same(g, new, name)
  if new == nil then return g end
  if not is_tensor(new) then bad_argument(1, name, "f's result", "a tensor or nil", new) end
  return new
end

--- Call f(g) with the gradient of this tensor in every backward, before it goes on: a tensor that
-- it returns takes g's place. Of a leaf: with all that the backward brought, before it is added.
-- @tparam function f
-- @treturn table  hook: `hook:remove()` ends it
function methods:register_hook(f)
  local i = core.info(self)
  if type(f) ~= "function" then bad_argument(1, "register_hook", "f", "a function", f) end
  if not i.requires_grad then misuse "register_hook: the tensor does not require a gradient" end
  local hook = { f = f, tensor = self }
  if not i.leaf then
    calls().hook(self, {
      n = 1, name = "hook",
      backward = function(_, g) return { hook.f and same(g, hook.f(g), "register_hook") or g } end,
    })
    hook.tensor = nil
    function hook.remove() hook.f = nil end
    return hook
  end
  local key = key_of(self)
  hooked[key] = hooked[key] or {}
  table.insert(hooked[key], hook)
  n_hooked = n_hooked + 1
  function hook.remove()
    local list = hooked[key] or {}
    for k, h in ipairs(list) do
      if h == hook then
        table.remove(list, k)
        n_hooked = n_hooked - 1
      end
    end
    if #list == 0 then hooked[key] = nil end
  end
  return hook
end

-- -- by some tensors --

--- The gradients of a loss by tensors, leaves or computed, in a list; what leaves hold of gradients
-- stays as it is. false stands for one that the loss does not depend on.
-- @tparam Tensor loss
-- @tparam {Tensor,...} of
-- @tparam ?table o  gradient: where the loss has more than one element; create_graph (false): put
--   what is computed on the tape, for gradients of gradients
-- @treturn {Tensor,...}
-- @usage local gx, gy = unpack(ml.grad(loss, { x, y }))
function functions.grad(loss, of, o)
  if not is_tensor(loss) then bad_argument(1, "grad", "loss", "a tensor", loss) end
  if is_tensor(of) then of = { of } end
  if type(of) ~= "table" then bad_argument(2, "grad", "of", "a list of tensors", of) end
  for i = 1, #of do
    if not is_tensor(of[i]) then
      bad_argument(2, "grad", ("of[%d]"):format(i), "a tensor", of[i])
    end
  end
  o = require("mlua.check").options(o, { gradient = "cdata", create_graph = "boolean" }, 3, "grad")
  return calls().by(loss, o.gradient, of, o.create_graph == true)
end

-- -- operations of one's own --

local function indices(inputs)
  local at = {}
  for k, t in ipairs(inputs) do at[key_of(t)] = k end
  return at
end

local function record(o, y, ctx, inputs, positions, n_args)
  local at, names, all = indices(inputs), {}, { unpack(inputs) }
  for name, v in pairs(ctx) do
    if is_tensor(v) then
      local k = at[key_of(v)]
      if not k then
        all[#all + 1] = v
        k = #all
      end
      names[name] = k
    end
  end
  for name in pairs(names) do ctx[name] = nil end -- the record keeps them
  return calls().record(y, all, #all - #inputs, {
    n = #inputs, name = o.name,
    backward = function(_, g, saved)
      for name, k in pairs(names) do ctx[name] = saved(k) end
      local got, list = { o.backward(ctx, g) }, {}
      for i = 1, n_args do
        if positions[i] then list[positions[i]] = got[i] end
      end
      for name in pairs(names) do ctx[name] = nil end
      return list
    end,
  })
end

--- An operation with a gradient in Lua: a function that computes `forward(ctx, …)`, off the tape,
-- to one tensor. `backward(ctx, g)` returns one gradient for each argument of forward, nil for
-- those that have none. Tensors that forward puts into ctx are kept for it; where they are all
-- inputs, and backward is made of operations, gradients of gradients work as well. In a captured
-- step it is refused.
-- @tparam table o    name, forward, backward
-- @treturn function
-- @usage local cube = ml.operation { name = "cube",
--   forward = function(ctx, x) ctx.x = x return x * x * x end,
--   backward = function(ctx, g) return g * 3 * ctx.x * ctx.x end }
function functions.operation(o)
  o = require("mlua.check").options(o, { name = "string", forward = "function",
                                         backward = "function" }, 1, "operation")
  for _, field in ipairs { "name", "forward", "backward" } do
    if o[field] == nil then misuse(("operation: it has no '%s'"):format(field)) end
  end
  return function(...)
    local ctx, inputs, positions, n = {}, {}, {}, select("#", ...)
    for i = 1, n do
      local v = select(i, ...)
      if is_tensor(v) then
        core.info(v)
        inputs[#inputs + 1] = v
        positions[i] = #inputs
      end
    end
    if #inputs > 64 then misuse(("%s: %d tensors, at most 64"):format(o.name, #inputs)) end
    local y = require("mlua.tensor").no_grad(o.forward, ctx, ...)
    if not is_tensor(y) then
      misuse(("%s: forward: expected a tensor as the result, got %s"):format(o.name, core.what(y)))
    end
    local wanted = false
    for _, t in ipairs(inputs) do wanted = wanted or core.info(t).requires_grad end
    if not wanted or not C.ml_grad_enabled() then return y end
    return record(o, y, ctx, inputs, positions, n)
  end
end

return gradient
