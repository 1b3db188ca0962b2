--- Tensors: creation, views, arithmetic, printing, to and from Lua tables.
--
-- Axes and positions count from 1, or from the end when negative; values inside data (ids, labels)
-- count from 0. Shapes broadcast as NumPy's do.
-- @module mlua.tensor
local core = require "mlua.ffi"

local C, op, own, new_ref = core.C, core.op, core.own, core.new_ref
local is_tensor, misuse, check = core.is_tensor, core.misuse, core.check

local tensor = {}
local Tensor = {} -- methods

local function shape_of(t)
  local i, shape = core.info(t), {}
  for d = 1, i.ndim do shape[d] = tonumber(i.shape[d - 1]) end
  return shape
end

local function shape_text(shape)
  return "[" .. table.concat(shape, ", ") .. "]"
end

-- Sizes given as f(2, 3, options), f({2, 3}, options), and the options.
local function sizes_and_options(...)
  local n, options = select("#", ...), nil
  local first = ...
  local last = select(n, ...)
  if n > 0 and type(last) == "table" and not (n == 1 and (last[1] or next(last) == nil)) then
    options, n = last, n - 1
  end
  local sizes = {}
  if type(first) == "table" and n == 1 then
    for i = 1, #first do sizes[i] = first[i] end
  else
    for i = 1, n do sizes[i] = (select(i, ...)) end
  end
  for i = 1, #sizes do
    if type(sizes[i]) ~= "number" or sizes[i] < 0 or sizes[i] % 1 ~= 0 then
      misuse(("size #%d: expected a whole number of at least 0, got %s"):format(i, tostring(sizes[i])))
    end
  end
  return sizes, options or {}
end

local function dtype_number(name)
  return core.dtype_number[name] or misuse("no dtype '" .. tostring(name) ..
    "': expected f64, f32, bf16, f16, i64, i32, u8 or bool")
end

local function new(sizes, dtype)
  local t = new_ref()
  local s, n = core.sizes(sizes)
  check(C.ml_tensor_new(t, dtype_number(dtype or "f32"), n, s))
  return own(t)
end

-- -- creation --

--- A tensor of zeros: `zeros(2, 3)`, `zeros({2, 3}, { dtype = "i64" })`.
-- @param ...  sizes, or a list of them, then options: dtype ("f32")
-- @treturn Tensor
function tensor.zeros(...)
  return tensor.full(0, ...)
end

--- A tensor of ones, as `zeros`.
function tensor.ones(...)
  return tensor.full(1, ...)
end

--- A tensor of one value: `full(value, sizes…, options)`.
function tensor.full(value, ...)
  local sizes, o = sizes_and_options(...)
  local t = new(sizes, o.dtype)
  check(C.ml_tensor_fill(t, value))
  return t
end

--- A tensor that is not initialised, as `zeros`.
function tensor.empty(...)
  local sizes, o = sizes_and_options(...)
  return new(sizes, o.dtype)
end

local seed, stream = 0, 0

--- Seed the draws that name no stream of their own.
-- @tparam number n
function tensor.seed(n)
  seed, stream = n, 0
end

local function draw(fill, a, b, ...)
  local sizes, o = sizes_and_options(...)
  local t = new(sizes, o.dtype)
  local s, k = o.seed or seed, o.stream
  if not k then
    k, stream = stream, stream + 1
  end
  check(fill(t, a, b, s, k))
  return t
end

--- Uniform values in [0, 1): `rand(2, 3, { seed = 1, stream = 2 })`; Philox draws named by both.
function tensor.rand(...) return draw(C.ml_tensor_uniform, 0, 1, ...) end

--- Standard normal values, as `rand`.
function tensor.randn(...) return draw(C.ml_tensor_normal, 0, 1, ...) end

--- Uniform values in [lo, hi).
function tensor.uniform(lo, hi, ...) return draw(C.ml_tensor_uniform, lo, hi, ...) end

--- Normal values of a mean and a standard deviation.
function tensor.normal(mean, sd, ...) return draw(C.ml_tensor_normal, mean, sd, ...) end

--- 0, 1, … n-1.
-- @tparam number n
-- @tparam[opt="i64"] string dtype
function tensor.arange(n, dtype)
  local t = new({ n }, dtype or "i64")
  local p = core.pointer(t)
  for i = 0, n - 1 do p[i] = i end
  return t
end

-- Depth-first into nested lists; the first branch sets the shape, the others must agree.
local function measure(v, shape, level)
  if type(v) ~= "table" then return end
  shape[level] = #v
  if #v > 0 then measure(v[1], shape, level + 1) end
end

local function fill_from(v, shape, level, write, path)
  if level > #shape then
    if type(v) == "boolean" then v = v and 1 or 0 end
    if type(v) ~= "number" then
      misuse(("tensor: %s: expected a number, got %s"):format(path, type(v)))
    end
    return write(v)
  end
  if type(v) ~= "table" or #v ~= shape[level] then
    misuse(("tensor: %s: expected a list of %d, got %s"):format(path == "" and "it" or path, shape[level],
      type(v) == "table" and #v or type(v)))
  end
  for i = 1, #v do fill_from(v[i], shape, level + 1, write, path .. "[" .. i .. "]") end
end

--- A tensor of a number or of nested lists of numbers: `tensor { {1, 2}, {3, 4} }`.
-- @param values
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
-- @raise naming the entry where lists differ in length or hold something else
function tensor.of(values, dtype)
  if type(dtype) == "table" then dtype = dtype.dtype end
  local shape = {}
  measure(values, shape, 1)
  local t = new(shape, dtype)
  local p, at = core.pointer(t), 0
  local is_bool = dtype == "bool"
  fill_from(values, shape, 1, function(v)
    p[at] = is_bool and (v ~= 0 and 1 or 0) or v
    at = at + 1
  end, "")
  return t
end

--- A tensor over memory that somebody else owns and keeps alive.
-- @param pointer  cdata
-- @tparam string dtype
-- @tparam table shape
function tensor.wrap(pointer, dtype, shape)
  local t = new_ref()
  local s, n = core.sizes(shape)
  check(C.ml_tensor_wrap(t, pointer, dtype_number(dtype), n, s))
  return own(t)
end

-- -- looking --

--- Its sizes as a list.
function Tensor:shape() return shape_of(self) end

--- The size of one axis.
-- @tparam number axis  from 1, negative from the end
function Tensor:size(axis)
  local i = core.info(self)
  local d = axis < 0 and axis + i.ndim or axis - 1
  if d < 0 or d >= i.ndim then misuse(("axis %d of a tensor of %d axes"):format(axis, i.ndim)) end
  return tonumber(i.shape[d])
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

local function offset_of(t, ...)
  local i, offset = core.info(t), 0
  if select("#", ...) ~= i.ndim then
    misuse(("at: expected %d positions, got %d"):format(i.ndim, (select("#", ...))))
  end
  for d = 0, i.ndim - 1 do
    local n, k = tonumber(i.shape[d]), (select(d + 1, ...))
    local p = k < 0 and k + n or k - 1
    if p < 0 or p >= n then misuse(("at: position %d of %d along axis %d"):format(k, n, d + 1)) end
    offset = offset + p * tonumber(i.stride[d])
  end
  return offset
end

--- One element: `t:at(i, j)`.
function Tensor:at(...) return core.get(self, offset_of(self, ...)) end

--- Set one element: `t:put(value, i, j)`.
function Tensor:put(value, ...)
  check(C.ml_tensor_set(self, offset_of(self, ...), value))
  return self
end

--- Its elements as nested lists; a number where it has no axes.
-- 64-bit integers beyond 2^53 lose digits, as Lua's numbers do.
function Tensor:totable()
  local t = self:contiguous()
  local shape, at, is_bool = shape_of(t), -1, t:dtype() == "bool"
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

local function axis_of(t, axis, name)
  local n = core.info(t).ndim
  local d = axis < 0 and axis + n + 1 or axis
  if d < 1 or d > n then misuse(("%s: axis %d of a tensor of %d axes"):format(name, axis, n)) end
  return d
end

--- The same elements in another shape; one size may be -1. Copies where the tensor is not contiguous.
function Tensor:reshape(...)
  local sizes, known, open = {}, 1, nil
  local given = type((...)) == "table" and (...) or { ... }
  local count = self:count()
  for i = 1, #given do
    sizes[i] = given[i]
    if given[i] == -1 then open = open and misuse("reshape: two sizes of -1") or i
    else known = known * given[i] end
  end
  if open and known > 0 then sizes[open] = math.floor(count / known) end
  local total = 1
  for i = 1, #sizes do total = total * sizes[i] end
  if total ~= count then
    misuse(("reshape: %s has %d elements, %s %d"):format(shape_text(shape_of(self)), count,
      shape_text(given), total))
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
  a, b = axis_of(self, a or 1, "transpose"), axis_of(self, b or 2, "transpose")
  shape[a], shape[b], stride[a], stride[b] = shape[b], shape[a], stride[b], stride[a]
  return view(self, shape, stride, 0)
end

--- Positions from..to along an axis, both included, negative from the end.
function Tensor:narrow(axis, from, to)
  local shape, stride = layout(self)
  local d = axis_of(self, axis, "narrow")
  local n = shape[d]
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
  local p = position < 0 and position + shape[d] or position - 1
  if p < 0 or p >= shape[d] then
    misuse(("select: position %d of %d along axis %d"):format(position, shape[d], axis))
  end
  local offset = p * stride[d]
  table.remove(shape, d)
  table.remove(stride, d)
  return view(self, shape, stride, offset)
end

--- A new axis of size 1 before `axis`; -1 puts it last.
function Tensor:unsqueeze(axis)
  local shape, stride = layout(self)
  local d = axis < 0 and axis + #shape + 2 or axis
  if d < 1 or d > #shape + 1 then misuse(("unsqueeze: axis %d"):format(axis)) end
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
  local to = type((...)) == "table" and (...) or { ... }
  local shape, stride = layout(self)
  local strides, shift = {}, #to - #shape
  for d = 1, #to do
    local size = d > shift and shape[d - shift] or 1
    if shift < 0 or (size ~= to[d] and size ~= 1) then
      misuse(("expand: %s does not broadcast to %s"):format(shape_text(shape), shape_text(to)))
    end
    strides[d] = (d > shift and size == to[d]) and stride[d - shift] or 0
  end
  return view(self, to, strides, 0)
end

-- -- copies --

--- Its elements copied into a new tensor, off the tape.
function Tensor:clone()
  local t = new(shape_of(self), self:dtype())
  check(C.ml_tensor_copy(t, self))
  return t
end

--- Itself if its elements lie in row order, else a copy that does (on the tape).
function Tensor:contiguous()
  local i = core.info(self)
  if i.contiguous then return self end
  if i.requires_grad then return op.affine(self, 1, 0) end
  return self:clone()
end

--- Converted to another dtype, off the tape; itself where it already has it.
function Tensor:to(dtype)
  if self:dtype() == dtype then return self end
  local t = new(shape_of(self), dtype)
  check(C.ml_tensor_copy(t, self))
  return t
end

--- Copy another tensor's elements (or a number) into this one, broadcast and converted.
function Tensor:copy(from)
  if is_tensor(from) then check(C.ml_tensor_copy(self, from))
  else check(C.ml_tensor_fill(self, from)) end
  return self
end

--- Set all elements to a number.
function Tensor:fill(value)
  check(C.ml_tensor_fill(self, value))
  return self
end

-- -- gradients --

--- Ask for gradients by this tensor (a leaf, f32 or f64), or no longer.
-- @tparam[opt=true] boolean on
-- @treturn Tensor  itself
function Tensor:requires_grad(on)
  check(C.ml_set_requires_grad(self, on ~= false))
  return self
end

--- Walk the tape back from this loss, adding to the gradients of the leaves.
-- @tparam ?Tensor gradient  where the loss has more than one element
function Tensor:backward(gradient)
  check(C.ml_backward(self, gradient))
end

--- The gradient gathered so far, or nil.
function Tensor:grad()
  local g = new_ref()
  if check(C.ml_grad(g, self)) == C.ML_END then return nil end
  return own(g)
end

--- Forget the gradient.
function Tensor:zero_grad()
  check(C.ml_clear_grad(self))
  return self
end

--- The same elements, off the tape.
function Tensor:detach()
  local t = new_ref()
  check(C.ml_detach(t, self))
  return own(t)
end

--- Keep it beyond the scope it was made in.
function Tensor:keep() return core.keep(self) end

--- Run a function without recording.
function tensor.no_grad(fn, ...)
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

for _, name in ipairs { "exp", "log", "sqrt", "tanh", "sigmoid", "relu", "clamp", "matmul",
                        "index_select", "linear", "affine" } do
  Tensor[name] = op[name]
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
Tensor.mul, Tensor.add, Tensor.sub, Tensor.div = both "mul", both "add", both "sub", both "div"
local div = Tensor.div

--- The sum over an axis (kept as size 1 where `keep`), or over all.
function Tensor:sum(axis, keep) return op.sum(self, axis or 0, keep) end

--- The mean over an axis, or over all.
function Tensor:mean(axis, keep)
  local n = axis and self:size(axis) or self:count()
  return op.affine(op.sum(self, axis or 0, keep), 1 / n, 0)
end

--- The square, element by element.
function Tensor:square() return op.mul(self, self) end

local Meta = { __index = Tensor }

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

Meta.__div = div
function Meta.__unm(a) return op.affine(a, -1, 0) end
function Meta.__len(a) return a:size(1) end

-- -- printing --

local EDGE, WHOLE = 3, 1000 -- ends shown of a long axis; elements shown whole

local function formatter(values, dtype)
  local width, fmt = 1, "%d"
  if dtype ~= "f32" and dtype ~= "f64" then
    for _, v in ipairs(values) do width = math.max(width, #("%d"):format(v)) end
    return function(v) return ("%" .. width .. "d"):format(v) end
  end
  local whole, largest, smallest = true, 0, math.huge
  for _, v in ipairs(values) do
    local a = math.abs(v)
    if a == a and a ~= math.huge then
      whole = whole and v % 1 == 0
      largest = math.max(largest, a)
      if a > 0 then smallest = math.min(smallest, a) end
    end
  end
  if largest >= 1e8 or (smallest < 1e-4 and not whole) then fmt = "%.4e"
  elseif whole then fmt = "%.0f." else fmt = "%.4f" end
  for _, v in ipairs(values) do width = math.max(width, #fmt:format(v)) end
  return function(v)
    local s = v ~= v and "nan" or v == math.huge and "inf" or v == -math.huge and "-inf" or fmt:format(v)
    return (" "):rep(width - #s) .. s
  end
end

function Meta.__tostring(t)
  local i = C.ml_tensor_info(t)
  if i == nil then return "[a tensor that is no longer there]" end
  local shape, dtype = shape_of(t), t:dtype()
  local tail = ("[%s %s %s]"):format(dtype, #shape == 0 and "scalar" or table.concat(shape, "×"), t:device())
  if dtype == "bf16" or dtype == "f16" or t:count() == 0 then return tail end
  local function shown(n)
    local l = {}
    for k = 1, n do
      if t:count() <= WHOLE or k <= EDGE or k > n - EDGE then l[#l + 1] = k
      elseif k == EDGE + 1 then l[#l + 1] = false end
    end
    return l
  end
  local values = {}
  local function gather(offset, level)
    if level > #shape then
      values[#values + 1] = core.get(t, offset)
      return
    end
    for _, k in ipairs(shown(shape[level])) do
      if k then gather(offset + (k - 1) * tonumber(i.stride[level - 1]), level + 1) end
    end
  end
  gather(0, 1)
  local show, at, lines = formatter(values, dtype), 0, {}
  if #shape == 0 then return show(values[1]) .. "   " .. tail end
  local function row()
    local cells = {}
    for _, k in ipairs(shown(shape[#shape])) do
      if k then
        at = at + 1
        cells[#cells + 1] = show(values[at])
      else
        cells[#cells + 1] = "…"
      end
    end
    return table.concat(cells, " ")
  end
  local function block(level)
    if level == #shape then
      lines[#lines + 1] = row()
      return
    end
    for n, k in ipairs(shown(shape[level])) do
      if not k then lines[#lines + 1] = "…"
      else
        if n > 1 and level == #shape - 2 or n > 1 and level < #shape - 1 then lines[#lines + 1] = "" end
        block(level + 1)
      end
    end
  end
  block(1)
  return table.concat(lines, "\n") .. "   " .. tail
end

core.metatype(Meta)
tensor.Tensor = Tensor
tensor.is = is_tensor

return tensor
