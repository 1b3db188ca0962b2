--- Tensors: creation, views, arithmetic, printing, to and from Lua tables.
--
-- Axes and positions count from 1, or from the end when negative; values inside data (ids, labels)
-- count from 0. Shapes broadcast as NumPy's do.
-- @module mlua.tensor
local core = require "mlua.ffi"

local create = require "mlua.tensor.create"

local C, op, own, new_ref = core.C, core.op, core.own, core.new_ref
local is_tensor, misuse, check = core.is_tensor, core.misuse, core.check
local bad_argument = core.bad_argument
local is_whole, new = create.is_whole, create.new

local tensor = {}
local Tensor = {} -- methods

for _, name in ipairs { "zeros", "ones", "full", "empty", "rand", "randn", "uniform", "normal",
                        "seed", "arange", "of", "wrap" } do
  tensor[name] = create[name]
end

local function shape_of(t)
  local i, shape = core.info(t), {}
  for d = 1, i.ndim do shape[d] = tonumber(i.shape[d - 1]) end
  return shape
end

local function shape_text(shape)
  return "[" .. table.concat(shape, ", ") .. "]"
end

-- An axis as 1 to n (of which the tensor has n), or a mistake.
local function axis_in(n, axis, name, position)
  if not is_whole(axis) then bad_argument(position or 1, name, "axis", "a whole number", axis) end
  local d = axis < 0 and axis + n + 1 or axis
  if d < 1 or d > n then misuse(("%s: axis %d of a tensor of %d axes"):format(name, axis, n)) end
  return d
end

-- A position along an axis of n as 0 to n-1, or a mistake.
local function position_in(n, k, axis, name, argument)
  if not is_whole(k) then bad_argument(argument, name, "position", "a whole number", k) end
  local p = k < 0 and k + n or k - 1
  if p < 0 or p >= n then
    misuse(("%s: position %d of %d along axis %d"):format(name, k, n, axis))
  end
  return p
end
-- -- looking --

--- Its sizes as a list.
function Tensor:shape() return shape_of(self) end

--- The size of one axis.
-- @tparam number axis  from 1, negative from the end
function Tensor:size(axis)
  local i = core.info(self)
  return tonumber(i.shape[axis_in(i.ndim, axis, "size") - 1])
end

--- The number of axes.
function Tensor:dim() return core.info(self).ndim end
--- The number of elements.
function Tensor:count() return tonumber(core.info(self).count) end
--- "f32", "i64", …
function Tensor:dtype() return core.dtypes[core.info(self).dtype] end
--- Where it is: "cpu".
function Tensor:device() return core.info(self).device == 0 and "cpu" or "cuda" end
--- Its record in C: data, shape, stride, count (see mlua.h).
function Tensor:info() return core.info(self) end
--- Its elements as a typed FFI pointer, in the order of memory. Keep the tensor while you use it.
function Tensor:data() return core.pointer(self) end
--- Whether its elements lie in row order without gaps.
function Tensor:is_contiguous() return core.info(self).contiguous end

--- The single element of a tensor that has just one.
function Tensor:item()
  local i = core.info(self)
  if i.count ~= 1 then misuse("item: expected one element, got " .. shape_text(shape_of(self))) end
  return core.get(self, 0)
end

local function offset_of(t, name, before, ...)
  local i, offset = core.info(t), 0
  if select("#", ...) ~= i.ndim then
    misuse(("%s: expected %d positions, got %d"):format(name, i.ndim, (select("#", ...))))
  end
  for d = 0, i.ndim - 1 do
    local p = position_in(tonumber(i.shape[d]), (select(d + 1, ...)), d + 1, name, before + d + 1)
    offset = offset + p * tonumber(i.stride[d])
  end
  return offset
end

--- One element: `t:at(i, j)`.
function Tensor:at(...) return core.get(self, offset_of(self, "at", 0, ...)) end

--- Set one element: `t:put(value, i, j)`.
function Tensor:put(value, ...)
  if type(value) ~= "number" then bad_argument(1, "put", "value", "a number", value) end
  check(C.ml_tensor_set(self, offset_of(self, "put", 1, ...), value))
  return self
end

--- Its elements as nested lists; a number where it has no axes.
-- 64-bit integers beyond 2^53 lose digits, as Lua's numbers do.
function Tensor:totable()
  local t, dtype = self:contiguous(), self:dtype()
  if dtype == "bf16" or dtype == "f16" then
    misuse("totable: no arithmetic on " .. dtype .. " yet")
  end
  local shape, at, is_bool = shape_of(t), -1, dtype == "bool"
  local p = t:count() > 0 and core.pointer(t)
  local function build(level)
    if level > #shape then
      at = at + 1
      if is_bool then return p[at] ~= 0 end
      return tonumber(p[at])
    end
    local list = {}
    for i = 1, shape[level] do list[i] = build(level + 1) end
    return list
  end
  local list = build(1)
  core.info(t) -- a use after the last read: nothing collects it before (no tail call above, either)
  return list
end

-- -- views: they share elements, and are on the tape --

local function view(t, shape, stride, offset)
  local v = new_ref()
  local s, n = core.sizes(shape)
  local st = core.sizes(stride)
  check(C.ml_tensor_view(v, t, n, s, st, offset))
  return own(v)
end

local function layout(t)
  local i, shape, stride = core.info(t), {}, {}
  for d = 1, i.ndim do
    shape[d], stride[d] = tonumber(i.shape[d - 1]), tonumber(i.stride[d - 1])
  end
  return shape, stride
end

local function axis_of(t, axis, name, position)
  return axis_in(core.info(t).ndim, axis, name, position)
end

-- Sizes given as f(2, 3) or f({2, 3}): a new list of them.
local function sizes_of(name, lowest, ...)
  local n, first = select("#", ...), (...)
  local given = n == 1 and type(first) == "table" and first or { ... }
  local sizes = {}
  if given == first then n = #given end
  for i = 1, n do
    if not is_whole(given[i]) or given[i] < lowest then
      bad_argument(i, name, "size", ("a whole number of at least %d"):format(lowest), given[i])
    end
    sizes[i] = given[i]
  end
  return sizes
end

--- The same elements in another shape; one size may be -1. Copies where they are not in row order.
function Tensor:reshape(...)
  local sizes, known, open = sizes_of("reshape", -1, ...), 1, nil
  local count, given = self:count(), shape_text(sizes)
  for i = 1, #sizes do
    if sizes[i] == -1 then open = open and misuse("reshape: two sizes of -1") or i
    else known = known * sizes[i] end
  end
  if open and known == 0 then
    misuse(("reshape: any size would do for the -1 of %s"):format(given))
  end
  if open then sizes[open] = math.floor(count / known) end
  local total = open and known * sizes[open] or known
  if total ~= count then
    misuse(("reshape: %s has %d elements, %s %s"):format(shape_text(shape_of(self)), count, given,
      open and "does not divide them" or ("%.14g"):format(total)))
  end
  local stride, step = {}, 1
  for i = #sizes, 1, -1 do
    stride[i] = step
    step = step * math.max(sizes[i], 1)
  end
  return view(self:contiguous(), sizes, stride, 0)
end

--- Two axes swapped; without arguments, a matrix transposed.
function Tensor:transpose(a, b)
  local shape, stride = layout(self)
  a, b = axis_of(self, a or 1, "transpose"), axis_of(self, b or 2, "transpose", 2)
  shape[a], shape[b], stride[a], stride[b] = shape[b], shape[a], stride[b], stride[a]
  return view(self, shape, stride, 0)
end

--- Positions from..to along an axis, both included, negative from the end.
function Tensor:narrow(axis, from, to)
  local shape, stride = layout(self)
  local d = axis_of(self, axis, "narrow")
  local n = shape[d]
  if not is_whole(from) then bad_argument(2, "narrow", "from", "a whole number", from) end
  if not is_whole(to) then bad_argument(3, "narrow", "to", "a whole number", to) end
  local lo, hi = from < 0 and from + n + 1 or from, to < 0 and to + n + 1 or to
  if lo < 1 or hi > n or hi < lo - 1 then
    misuse(("narrow: %d to %d of %d along axis %d"):format(from, to, n, axis))
  end
  shape[d] = hi - lo + 1
  return view(self, shape, stride, (lo - 1) * stride[d])
end

--- One position along an axis, which is dropped: `t:select(1, -1)` is the last row.
function Tensor:select(axis, position)
  local shape, stride = layout(self)
  local d = axis_of(self, axis, "select")
  local offset = position_in(shape[d], position, axis, "select", 2) * stride[d]
  table.remove(shape, d)
  table.remove(stride, d)
  return view(self, shape, stride, offset)
end

--- A new axis of size 1 before `axis`; -1 puts it last.
function Tensor:unsqueeze(axis)
  local shape, stride = layout(self)
  local d = axis_in(#shape + 1, axis, "unsqueeze")
  table.insert(shape, d, 1)
  table.insert(stride, d, 1)
  return view(self, shape, stride, 0)
end

--- Without its axes of size 1, or without the one named.
function Tensor:squeeze(axis)
  local shape, stride = layout(self)
  local d = axis and axis_of(self, axis, "squeeze")
  if d and shape[d] ~= 1 then misuse(("squeeze: axis %d has size %d"):format(axis, shape[d])) end
  for i = #shape, 1, -1 do
    if shape[i] == 1 and (not d or i == d) then
      table.remove(shape, i)
      table.remove(stride, i)
    end
  end
  return view(self, shape, stride, 0)
end

--- Broadcast to a shape, sharing elements.
function Tensor:expand(...)
  local to = sizes_of("expand", 0, ...)
  local shape, stride = layout(self)
  local strides, shift = {}, #to - #shape
  if shift < 0 then
    misuse(("expand: %s does not broadcast to %s"):format(shape_text(shape), shape_text(to)))
  end
  for d = 1, #to do
    local size = d > shift and shape[d - shift] or 1
    if size ~= to[d] and size ~= 1 then
      misuse(("expand: %s does not broadcast to %s"):format(shape_text(shape), shape_text(to)))
    end
    strides[d] = (d > shift and size == to[d]) and stride[d - shift] or 0
  end
  return view(self, to, strides, 0)
end

-- -- copies --

-- A recorded copy: x + -0 is x for every x, -0 among them.
local function recorded_copy(t) return op.affine(t, 1, -0.0) end

--- Its elements copied into a new tensor, on the tape; `t:detach():clone()` is off it.
function Tensor:clone()
  if core.info(self).requires_grad then return recorded_copy(self) end
  local t = new(shape_of(self), self:dtype())
  check(C.ml_tensor_copy(t, self))
  return t
end

--- Itself if its elements lie in row order, else a copy that does (on the tape).
function Tensor:contiguous()
  local i = core.info(self)
  if i.contiguous then return self end
  if i.requires_grad then return recorded_copy(self) end
  return self:clone()
end

--- Converted to another dtype; itself where it already has it. No gradient goes through it.
function Tensor:to(dtype)
  if self:dtype() == dtype then return self end
  if core.info(self).requires_grad and C.ml_grad_enabled() then
    misuse "to: a conversion has no gradient; detach() first"
  end
  local t = new(shape_of(self), dtype)
  check(C.ml_tensor_copy(t, self))
  return t
end

--- Copy another tensor's elements (or a number) into this one, broadcast and converted.
function Tensor:copy(from)
  if not is_tensor(from) then
    if type(from) ~= "number" then bad_argument(1, "copy", "from", "a tensor or a number", from) end
    return self:fill(from)
  end
  core.info(self)
  check(C.ml_tensor_copy(self, from))
  return self
end

--- Set all elements to a number.
function Tensor:fill(value)
  core.info(self)
  if type(value) ~= "number" then bad_argument(1, "fill", "value", "a number", value) end
  check(C.ml_tensor_fill(self, value))
  return self
end

-- -- gradients --

--- Ask for gradients by this tensor (a leaf, f32 or f64), or no longer.
-- @tparam[opt=true] boolean on
-- @treturn Tensor  itself
function Tensor:requires_grad(on)
  core.info(self)
  check(C.ml_set_requires_grad(self, on ~= false))
  return self
end

--- Walk the tape back from this loss, adding to the gradients of the leaves.
-- @tparam ?Tensor gradient  where the loss has more than one element
function Tensor:backward(gradient)
  core.info(self)
  if gradient ~= nil and not is_tensor(gradient) then
    bad_argument(1, "backward", "gradient", "a tensor", gradient)
  end
  check(C.ml_backward(self, gradient))
end

--- The gradient gathered so far, or nil.
function Tensor:grad()
  core.info(self)
  local g = new_ref()
  if check(C.ml_grad(g, self)) == C.ML_END then return nil end
  return own(g)
end

--- Forget the gradient.
function Tensor:zero_grad()
  core.info(self)
  check(C.ml_clear_grad(self))
  return self
end

--- The same elements, off the tape.
function Tensor:detach()
  core.info(self)
  local t = new_ref()
  check(C.ml_detach(t, self))
  return own(t)
end

--- Keep it beyond the scope it was made in.
function Tensor:keep()
  core.info(self)
  return core.keep(self)
end

--- Run a function without recording.
function tensor.no_grad(fn, ...)
  if type(fn) ~= "function" then
    misuse(("bad argument #1 to 'no_grad' (expected a function, got %s)"):format(core.what(fn)))
  end
  local before = C.ml_grad_enabled()
  C.ml_set_grad_enabled(false)
  local function leave(ok, ...)
    C.ml_set_grad_enabled(before)
    if not ok then error(..., 0) end
    return ...
  end
  return leave(pcall(fn, ...))
end

-- -- arithmetic --

-- Operations whose first argument is the tensor are methods, too.
for _, name in ipairs {
  "abs", "sign", "square", "reciprocal", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2",
  "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
  "acosh", "atanh", "erf", "erfc", "floor", "ceil", "round", "trunc", "frac",
  "relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "sigmoid", "log_sigmoid", "silu",
  "softplus", "softsign", "hard_sigmoid", "hard_swish", "hard_shrink", "clamp", "affine",
  "isnan", "isinf", "isfinite", "logical_and", "logical_or", "logical_xor", "logical_not",
  "matmul", "index_select", "linear",
} do
  Tensor[name] = assert(op[name])
end

-- A number on one side of an operation between two tensors.
local function lift(value, like)
  return tensor.full(value, { dtype = like:dtype() })
end

local function both(name)
  local f = op[name]
  return function(a, b)
    if type(b) == "number" then b = lift(b, a) elseif type(a) == "number" then a = lift(a, b) end
    return f(a, b)
  end
end
for _, name in ipairs {
  "add", "sub", "mul", "div", "floor_divide", "remainder", "pow", "atan2", "hypot", "maximum",
  "minimum", "prelu", "eq", "ne", "lt", "le", "gt", "ge",
} do
  Tensor[name] = both(name)
  tensor[name] = Tensor[name]
end

--- Element by element: a where the condition holds, else b; each may be a number.
-- @tparam Tensor c  bool
-- @tparam Tensor|number a
-- @tparam Tensor|number b
function tensor.where(c, a, b)
  if type(a) == "number" then a = is_tensor(b) and lift(a, b) or tensor.full(a, {}) end
  if type(b) == "number" then b = lift(b, a) end
  return op.where(c, a, b)
end

--- The sum over an axis (kept as size 1 where `keep`), or over all.
function Tensor:sum(axis, keep) return op.sum(self, axis or 0, keep) end

--- The mean over an axis, or over all; of f32 or f64.
function Tensor:mean(axis, keep)
  local i = core.info(self)
  if i.dtype ~= C.ML_F32 and i.dtype ~= C.ML_F64 then
    misuse("mean: expected f32 or f64, got " .. self:dtype())
  end
  local n = tonumber(axis and i.shape[axis_in(i.ndim, axis, "mean") - 1] or i.count)
  return op.affine(op.sum(self, axis or 0, keep), 1 / n, 0)
end

-- A name that is no method gets here; methods are found in the table before.
setmetatable(Tensor, { __index = function(_, name)
  if type(name) ~= "string" then
    misuse(("a tensor is not indexed with [%s]; use at(…), select(axis, position) or narrow(…)")
      :format(core.what(name)))
  end
  local text = require "mlua.text"
  misuse(("a tensor has no field '%s'%s"):format(name, text.did_you_mean(name, text.keys(Tensor))))
end })

local Meta = { __index = Tensor }

function Meta.__newindex(_, name)
  misuse(("a tensor's %s cannot be set; use put(value, …), fill(value) or copy(from)")
    :format(type(name) == "string" and "field '" .. name .. "'" or "[" .. core.what(name) .. "]"))
end

for event, message in pairs {
  lt = "<, >: Lua makes one truth value of these; use lt(…), gt(…) for each element, or item()",
  le = "<=, >=: Lua makes one truth value of these; use le(…), ge(…) for each element, or item()",
  concat = "..: a tensor is not a string; use tostring(t), or ml.cat to join tensors",
  call = "a tensor is not a function; at(…) has its elements",
} do
  Meta["__" .. event] = function() misuse(message) end
end

function Meta.__add(a, b)
  if type(b) == "number" then return op.affine(a, 1, b) end
  if type(a) == "number" then return op.affine(b, 1, a) end
  return op.add(a, b)
end

function Meta.__sub(a, b)
  if type(b) == "number" then return op.affine(a, 1, -b) end
  if type(a) == "number" then return op.affine(b, -1, a) end
  return op.sub(a, b)
end

function Meta.__mul(a, b)
  if type(b) == "number" then return op.affine(a, b, 0) end
  if type(a) == "number" then return op.affine(b, a, 0) end
  return op.mul(a, b)
end

Meta.__div, Meta.__mod = Tensor.div, Tensor.remainder

function Meta.__pow(a, b)
  if b == 2 then return op.square(a) end
  return Tensor.pow(a, b)
end

function Meta.__unm(a) return op.affine(a, -1, 0) end
function Meta.__len(a) return a:size(1) end

Meta.__tostring = require "mlua.tensor.text"

core.metatype(Meta)
tensor.Tensor = Tensor
tensor.is = is_tensor

return tensor
