--- Views: tensors that share the elements of another, and are on the tape with it.
-- @module mlua.tensor.view
local core = require "mlua.ffi"

local create = require "mlua.tensor.create"

local C, own, new_ref = core.C, core.own, core.new_ref
local misuse, check, bad_argument = core.misuse, core.check, core.bad_argument
local is_whole = create.is_whole

local views = { methods = {} }
local methods = views.methods

-- -- what others share --

-- Its sizes as a list.
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

-- A view with its own shape and strides, the first element at an offset.
local function view(t, shape, stride, offset)
  local v = new_ref()
  local s, n = core.sizes(shape)
  local st = core.sizes(stride)
  check(C.ml_tensor_view(v, t, n, s, st, offset))
  return own(v)
end

-- Its sizes and strides, new lists.
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

views.shape_of, views.shape_text, views.axis_in = shape_of, shape_text, axis_in
views.position_in, views.view, views.layout = position_in, view, layout

-- -- methods --

--- The same elements in another shape; one size may be -1. Copies where they are not in row order.
function methods:reshape(...)
  local count = tonumber(core.info(self).count)
  local sizes, known, open = sizes_of("reshape", -1, ...), 1, nil
  local given = shape_text(sizes)
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
function methods:transpose(a, b)
  local shape, stride = layout(self)
  a, b = axis_of(self, a or 1, "transpose"), axis_of(self, b or 2, "transpose", 2)
  shape[a], shape[b], stride[a], stride[b] = shape[b], shape[a], stride[b], stride[a]
  return view(self, shape, stride, 0)
end

--- Positions from..to along an axis, both included, negative from the end.
function methods:narrow(axis, from, to)
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
function methods:select(axis, position)
  local shape, stride = layout(self)
  local d = axis_of(self, axis, "select")
  local offset = position_in(shape[d], position, axis, "select", 2) * stride[d]
  table.remove(shape, d)
  table.remove(stride, d)
  return view(self, shape, stride, offset)
end

--- A new axis of size 1 before `axis`; -1 puts it last.
function methods:unsqueeze(axis)
  local shape, stride = layout(self)
  local d = axis_in(#shape + 1, axis, "unsqueeze")
  table.insert(shape, d, 1)
  table.insert(stride, d, 1)
  return view(self, shape, stride, 0)
end

--- Without its axes of size 1, or without the one named.
function methods:squeeze(axis)
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

--- A tensor broadcast to a list of sizes; `name` is the caller's, for a mistake.
function views.expand_to(t, to, name)
  local shape, stride = layout(t)
  local strides, shift = {}, #to - #shape
  local fits = shift >= 0
  for d = 1, #to do
    local size = d > shift and shape[d - shift] or 1
    fits = fits and (size == to[d] or size == 1)
    strides[d] = (d > shift and size == to[d]) and stride[d - shift] or 0
  end
  if not fits then
    misuse(("%s: %s does not broadcast to %s"):format(name, shape_text(shape), shape_text(to)))
  end
  return view(t, to, strides, 0)
end

--- Broadcast to a shape, sharing elements.
function methods:expand(...) return views.expand_to(self, sizes_of("expand", 0, ...), "expand") end

-- The axes as a list of 1 to n, each once: given as f(2, 1) or f({2, 1}).
local function order_of(n, name, ...)
  local given, seen = type((...)) == "table" and select("#", ...) == 1 and (...) or { ... }, {}
  local order = {}
  if #given ~= n then
    misuse(("%s: expected the %d axes of the tensor, got %d"):format(name, n, #given))
  end
  for i = 1, n do
    order[i] = axis_in(n, given[i], name, i)
    if seen[order[i]] then misuse(("%s: axis %d twice"):format(name, given[i])) end
    seen[order[i]] = true
  end
  return order
end

-- Its axes in this order.
local function reordered(t, order)
  local shape, stride = layout(t)
  local s, st = {}, {}
  for i, d in ipairs(order) do s[i], st[i] = shape[d], stride[d] end
  return view(t, s, st, 0)
end
views.reordered = reordered

--- Its axes in another order: `t:permute(3, 1, 2)` has t's last axis first.
-- @param ...  every axis once, or a list of them
function methods:permute(...)
  return reordered(self, order_of(core.info(self).ndim, "permute", ...))
end

--- One axis moved to another place, the others in their order.
-- @tparam number from
-- @tparam number to  its place afterwards
function methods:movedim(from, to)
  local n, order = core.info(self).ndim, {}
  from, to = axis_in(n, from, "movedim"), axis_in(n, to, "movedim", 2)
  for d = 1, n do order[d] = d end
  table.insert(order, to, table.remove(order, from))
  return reordered(self, order)
end

--- The axes from..to as one, all of them without arguments. Copies as `reshape` does.
-- @tparam[opt=1] number from
-- @tparam[opt=-1] number to
function methods:flatten(from, to)
  local shape = shape_of(self)
  local n = #shape
  if n == 0 and from == nil and to == nil then return self:reshape(1) end
  from, to = axis_in(n, from or 1, "flatten"), axis_in(n, to or -1, "flatten", 2)
  if to < from then misuse(("flatten: axes %d to %d"):format(from, to)) end
  local sizes, size = {}, 1
  for d = 1, n do
    if d >= from and d <= to then
      size = size * shape[d]
      if d == to then sizes[#sizes + 1] = size end
    else
      sizes[#sizes + 1] = shape[d]
    end
  end
  return self:reshape(sizes)
end

methods.swapaxes = methods.transpose

return views
