--- Tensors: creation, views, arithmetic, printing, to and from Lua tables.
--
-- Axes and positions count from 1, or from the end when negative; values inside data (ids, labels)
-- count from 0. Shapes broadcast as NumPy's do.
-- @module mlua.tensor
local core = require "mlua.ffi"

local create = require "mlua.tensor.create"
local gradient = require "mlua.tensor.gradient"
local later = require "mlua.tensor.later"
local views = require "mlua.tensor.view"

local C, op, own, new_ref = core.C, core.op, core.own, core.new_ref
local is_tensor, misuse, check = core.is_tensor, core.misuse, core.check
local bad_argument = core.bad_argument
local new = create.new
local is_float = core.is_float
local shape_of, shape_text = views.shape_of, views.shape_text
local axis_in, position_in = views.axis_in, views.position_in

local tensor = {}
local Tensor = {} -- methods
for name, f in pairs(views.methods) do Tensor[name] = f end
for name, f in pairs(gradient.methods) do Tensor[name] = f end
for name, f in pairs(gradient.functions) do tensor[name] = f end

-- The rest is there on first use. Each table's __index has the names it would load as `lazy`
-- (mlua.repl.names reads them).
local lazy_methods, lazy_functions = {}, {}
for module, list in pairs(later) do
  for name in list.methods:gmatch "%S+" do
    lazy_methods[name], lazy_functions[name] = module, module
  end
  for name in (list.functions or ""):gmatch "%S+" do lazy_functions[name] = module end
end

local function load_later(module)
  local more = require(module)
  for name, f in pairs(more.methods) do
    rawset(Tensor, name, f)
    rawset(tensor, name, f)
  end
  for name, f in pairs(more.functions or {}) do rawset(tensor, name, f) end
end

local function load_on_use(lazy)
  return { __index = function(t, name)
    if not lazy[name] then return nil end
    load_later(lazy[name])
    return rawget(t, name)
  end }
end
setmetatable(Tensor, load_on_use(lazy_methods))
setmetatable(tensor, load_on_use(lazy_functions))

for _, name in ipairs { "zeros", "ones", "full", "empty", "rand", "randn", "uniform", "normal",
                        "randint", "seed", "arange", "of", "wrap" } do
  tensor[name] = create[name]
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
Tensor.ndim, Tensor.numel = Tensor.dim, Tensor.count
--- "f32", "i64", …
function Tensor:dtype() return core.dtypes[core.info(self).dtype] end
--- Where it is: "cpu".
function Tensor:device() return core.info(self).device == 0 and "cpu" or "cuda" end
--- Its record in C: data, shape, stride, count (see mlua.h).
function Tensor:info() return core.info(self) end
--- Its elements as a typed FFI pointer, in the order of memory. Keep the tensor while you use it.
function Tensor:data()
  core.no_capture "the step asks for a tensor's memory, which would be read once only"
  return core.pointer(self)
end
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
  local shape, at, is_bool = shape_of(self), -1, self:dtype() == "bool"
  local t = new_ref()
  check(C.ml_tensor_numbers(t, self))
  local p = core.pointer(own(t))
  local function build(level)
    if level > #shape then
      at = at + 1
      if is_bool then return p[at] ~= 0 end
      return p[at]
    end
    local list = {}
    for i = 1, shape[level] do list[i] = build(level + 1) end
    return list
  end
  local list = build(1)
  core.free(t) -- a use after the last read: nothing collects it before (no tail call above, either)
  return list
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

--- Converted to another dtype, or moved to a device; itself where it is there already. Gradients go
-- back through conversions between floating-point dtypes.
-- @tparam string to  "f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool", or "cpu"
function Tensor:to(to)
  core.info(self)
  if to == "cpu" then return self end
  if type(to) == "string" and (to == "auto" or to:find "^cuda") then
    misuse(("to: no device '%s' in this build, there is 'cpu'"):format(to))
  end
  if core.dtypes[core.info(self).dtype] == to then return self end
  create.dtype_number(to)
  return op.cast(self, to)
end

--- Copy another tensor's elements (or a number) into this one, broadcast and converted.
function Tensor:copy(from)
  core.info(self)
  if not is_tensor(from) then
    if type(from) ~= "number" then bad_argument(1, "copy", "from", "a tensor or a number", from) end
    return self:fill(from)
  end
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

--- Ask for gradients by this tensor (a leaf, of floats), or no longer.
-- @tparam[opt=true] boolean on
-- @treturn Tensor  itself
function Tensor:requires_grad(on)
  core.info(self)
  check(C.ml_set_requires_grad(self, on ~= false))
  return self
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

--- Mixed precision: run a function with matrix products, convolutions and attention computed of
-- 16-bit floats, and losses, sums, exponentials and norms in f32. Weights stay as they are. What a
-- backward does is outside of it; it computes in the dtypes that the forward pass had.
-- @tparam string dtype  "bf16" or "f16" (whose gradients may need a scaled loss)
-- @tparam function fn
-- @param ...  what fn is called with
-- @return what fn returns
function tensor.autocast(dtype, fn, ...)
  if dtype ~= "bf16" and dtype ~= "f16" then
    core.bad(1, "autocast", "dtype: expected bf16 or f16, got %s", core.what(dtype))
  end
  if type(fn) ~= "function" then
    core.bad(2, "autocast", "expected a function, got %s", core.what(fn))
  end
  local before = C.ml_mixed(core.dtype_number[dtype])
  local function leave(ok, ...)
    C.ml_mixed(before)
    if not ok then error(..., 0) end
    return ...
  end
  return leave(pcall(fn, ...))
end

-- -- arithmetic --

-- Operations whose first argument is a tensor are methods, too, where no method has the name.
for _, name in ipairs(core.op_methods) do
  if not lazy_methods[name] then Tensor[name] = Tensor[name] or op[name] end
end

-- The dtype in which a number meets a tensor: the tensor's, but that bool counts as i64, and an
-- integer tensor meets a number with a fraction in f32.
local function meets(value, like)
  local dtype = core.dtypes[core.info(like).dtype]
  if is_float[dtype] then return dtype end
  if value % 1 ~= 0 then return "f32" end
  if dtype == "bool" then return "i64" end
  if C.ml_dtype_round(core.info(like).dtype, value) ~= value then
    misuse(("%.14g is not in the range of %s; convert the tensor first"):format(value, dtype))
  end
  return dtype
end

-- A number on one side of an operation between two tensors.
local function lift(value, like)
  if not is_tensor(like) then return value end -- the operation refuses both
  return tensor.full(value, { dtype = meets(value, like) })
end

-- scale x + shift, in f32 where x is of integers and these are not whole.
local function affine(x, scale, shift)
  if scale % 1 ~= 0 or shift % 1 ~= 0 then
    local dtype = core.info(x).dtype
    if dtype >= C.ML_I64 then x = op.cast(x, "f32") end
  end
  return op.affine(x, scale, shift)
end

local function both(name)
  local f = op[name]
  return function(a, b)
    if type(b) == "number" then b = lift(b, a) elseif type(a) == "number" then a = lift(a, b) end
    return f(a, b)
  end
end
local NUMBERS_TOO = {
  "add", "sub", "mul", "div", "floor_divide", "remainder", "pow", "atan2", "hypot", "maximum",
  "minimum", "prelu", "eq", "ne", "lt", "le", "gt", "ge",
}
for _, name in ipairs(NUMBERS_TOO) do
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

--- The mean over an axis, or over all; of floats.
function Tensor:mean(axis, keep)
  local i = core.info(self)
  if not is_float[self:dtype()] then
    misuse("mean: expected a floating-point tensor, got " .. self:dtype())
  end
  local n = tonumber(axis and i.shape[axis_in(i.ndim, axis, "mean") - 1] or i.count)
  return op.affine(op.sum(self, axis or 0, keep), 1 / n, 0)
end

-- -- results in place --

local direct -- the functions that compute their result in one operation

local function finish(ok, t, y)
  C.ml_into(nil)
  if not ok then error(y, 0) end
  if core.pointer(y) ~= core.pointer(t) then return t:copy(y) end
  return t
end

--- Compute into the memory of a tensor: `ml.into(t, ml.add, a, b)`. Operations write there at once,
-- element-wise ones also where t is an argument; what other functions return is copied.
-- @tparam Tensor t  contiguous, of the result's shape and dtype
-- @tparam function f  returns a tensor
-- @treturn Tensor  t
-- @raise where a gradient would be wanted (use ml.no_grad), or t is read while it is written
function tensor.into(t, f, ...)
  if not is_tensor(t) then bad_argument(1, "into", "t", "a tensor", t) end
  if type(f) ~= "function" then bad_argument(2, "into", "f", "a function", f) end
  if not direct then
    direct = {}
    for _, g in pairs(op) do direct[g] = true end
    for _, name in ipairs(NUMBERS_TOO) do direct[Tensor[name]] = true end
  end
  if not direct[f] then return t:copy(f(...)) end
  check(C.ml_into(t))
  local ok, y = pcall(f, ...)
  return finish(ok, t, y)
end

-- `t:add_(b)` is ml.into(t, ml.add, t, b).
local function in_place(name)
  local f = Tensor[name]
  return function(self, ...) return tensor.into(self, f, self, ...) end
end

--- Set all elements to 0.
function Tensor:zero_()
  core.info(self)
  return self:fill(0)
end
Tensor.fill_, Tensor.copy_ = Tensor.fill, Tensor.copy

local Meta = {}

local parts -- mlua.tensor.index, once it is needed
local function index()
  parts = parts or require "mlua.tensor.index"
  return parts
end

-- Methods by name; any other key asks for a part (mlua.tensor.index).
function Meta.__index(t, key)
  local method = Tensor[key]
  if method ~= nil then return method end
  if type(key) == "string" and not index().is_text(key) then
    local name = key:match "^(%a[%w_]*)_$"
    if name and Tensor[name] then
      Tensor[key] = in_place(name)
      return Tensor[key]
    end
    local text = require "mlua.text"
    local known = text.keys(Tensor)
    for method_name in pairs(lazy_methods) do known[#known + 1] = method_name end
    misuse(("a tensor has no field %s%s"):format(core.what(key), text.did_you_mean(key, known)))
  end
  return index().get(t, key)
end

function Meta.__newindex(t, key, value)
  if type(key) == "string" and not index().is_text(key) then
    misuse(("a tensor's field %s cannot be set; use put(value, …), fill(value) or copy(from)")
      :format(core.what(key)))
  end
  index().set(t, key, value)
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
  if type(b) == "number" then return affine(a, 1, b) end
  if type(a) == "number" then return affine(b, 1, a) end
  return op.add(a, b)
end

function Meta.__sub(a, b)
  if type(b) == "number" then return affine(a, 1, -b) end
  if type(a) == "number" then return affine(b, -1, a) end
  return op.sub(a, b)
end

function Meta.__mul(a, b)
  if type(b) == "number" then return affine(a, b, 0) end
  if type(a) == "number" then return affine(b, a, 0) end
  return op.mul(a, b)
end

Meta.__div, Meta.__mod = Tensor.div, Tensor.remainder

function Meta.__pow(a, b)
  if b == 2 then return op.square(a) end
  return Tensor.pow(a, b)
end

function Meta.__unm(a) return affine(a, -1, 0) end
function Meta.__len(a) return a:size(1) end

function Meta.__tostring(t) return require("mlua.tensor.text").show(t) end

core.metatype(Meta)
tensor.Tensor = Tensor
tensor.is = is_tensor

return tensor
