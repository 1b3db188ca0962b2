--- Tensors put together, cut up, turned and filled in part.
--
-- `methods` are the tensors' and ml's; `functions` are ml's alone. All that can have a gradient do.
-- Where it says a view, elements are shared; otherwise they are copied.
-- @module mlua.tensor.arrange
local core = require "mlua.ffi"

local create = require "mlua.tensor.create"
local index = require "mlua.tensor.index"
local views = require "mlua.tensor.view"

local op, is_tensor, misuse, bad_argument = core.op, core.is_tensor, core.misuse, core.bad_argument
local is_whole = create.is_whole
local shape_of, shape_text, axis_in = views.shape_of, views.shape_text, views.axis_in

local arrange = { methods = {}, functions = {} }
local methods, functions = arrange.methods, arrange.functions

-- -- what they share --

local function whole(v, i, name, label, least)
  if not is_whole(v) or (least and v < least) then
    bad_argument(i, name, label, least and ("a whole number of at least %d"):format(least)
      or "a whole number", v)
  end
  return v
end

-- An axis of t as 1 to n.
local function axis_of(t, axis, name, position)
  return axis_in(core.info(t).ndim, axis, name, position)
end

local function a_tensor(v, i, name, label)
  if not is_tensor(v) then bad_argument(i, name, label, "a tensor", v) end
  return v
end

-- Whole numbers as an i64 tensor.
local function whole_numbers(list)
  local t = create.new({ #list }, "i64")
  local p = core.pointer(t)
  for i = 1, #list do p[i - 1] = list[i] end
  core.info(t) -- a use after the last write: nothing collects it before
  return t
end

-- f(2, 3) or f({2, 3}): a list.
local function list_of(...)
  local first = ...
  if select("#", ...) == 1 and type(first) == "table" then return first end
  return { ... }
end

-- op.pad with a list of counts.
local function padded(t, counts, mode, value)
  local pads = whole_numbers(counts)
  local y = op.pad(t, pads, mode, value)
  core.free(pads)
  return y
end

-- -- together --

--- Tensors of one shape, joined along a new axis.
-- @tparam {Tensor,...} list
-- @tparam[opt=1] number axis  the new one's place
-- @treturn Tensor
function functions.stack(list, axis)
  if type(list) ~= "table" or #list == 0 then
    bad_argument(1, "stack", "list", "a list of tensors", list)
  end
  local parts, first = {}, nil
  for i = 1, #list do
    local t = a_tensor(list[i], 1, "stack", ("list[%d]"):format(i))
    local shape = shape_text(shape_of(t))
    first = first or shape
    if shape ~= first then
      misuse(("stack: list[%d]: expected %s, got %s"):format(i, first, shape))
    end
  end
  axis = axis_in(core.info(list[1]).ndim + 1, axis or 1, "stack", 2)
  for i = 1, #list do parts[i] = list[i]:unsqueeze(axis) end
  return op.cat(parts, axis)
end

--- Vectors spread over a grid: the i-th result has the i-th vector along its i-th axis; views.
-- `local y, x = ml.meshgrid(rows, columns)`
-- @tparam Tensor ...  of one axis, or of none
-- @treturn Tensor ...  one for each
function functions.meshgrid(...)
  local n, shape, grids = select("#", ...), {}, {}
  for i = 1, n do
    local t = a_tensor((select(i, ...)), i, "meshgrid", "vector")
    if core.info(t).ndim > 1 then
      misuse(("meshgrid: expected vectors, got %s"):format(shape_text(shape_of(t))))
    end
    shape[i] = t:count()
  end
  for i = 1, n do
    local along = {}
    for d = 1, n do along[d] = d == i and shape[i] or 1 end
    grids[i] = views.expand_to((select(i, ...)):reshape(along), shape, "meshgrid")
  end
  return unpack(grids, 1, n)
end

-- -- cut up --

--- Its parts along an axis, as views: of a size, the last one of what is left, or of the sizes.
-- @tparam number|{number,...} sizes  of each part; or of all but the last
-- @tparam[opt=1] number axis
-- @treturn {Tensor,...}
-- @raise split: … where a list of sizes does not add up to the axis
function methods:split(sizes, axis)
  axis = axis_of(self, axis or 1, "split", 2)
  local n, parts, at = self:size(axis), {}, 0
  if type(sizes) == "table" then
    for i = 1, #sizes do
      whole(sizes[i], 1, "split", ("sizes[%d]"):format(i), 0)
      at = at + sizes[i]
    end
    if at ~= n then
      misuse(("split: sizes of %d together, of %d along axis %d"):format(at, n, axis))
    end
    at = 0
  else
    local size = whole(sizes, 1, "split", "sizes", 1)
    sizes = {}
    for i = 1, math.max(1, math.ceil(n / size)) do
      sizes[i] = math.min(size, n - (i - 1) * size)
    end
  end
  for i = 1, #sizes do
    parts[i] = self:narrow(axis, at + 1, at + sizes[i])
    at = at + sizes[i]
  end
  return parts
end

--- It in at most n parts of one size along an axis, the last one smaller, as views.
-- @tparam number n
-- @tparam[opt=1] number axis
-- @treturn {Tensor,...}
function methods:chunk(n, axis)
  whole(n, 1, "chunk", "n", 1)
  axis = axis_of(self, axis or 1, "chunk", 2)
  return self:split(math.max(1, math.ceil(self:size(axis) / n)), axis)
end

--- Windows along an axis, as a view: the axis becomes their number, a new last one their size.
-- @tparam number axis
-- @tparam number size
-- @tparam[opt=1] number step  from one window's start to the next
function methods:unfold(axis, size, step)
  local shape, stride = views.layout(self)
  local d = axis_of(self, axis, "unfold")
  whole(size, 2, "unfold", "size", 0)
  step = whole(step == nil and 1 or step, 3, "unfold", "step", 1)
  if size > shape[d] then
    misuse(("unfold: windows of %d along axis %d, of size %d"):format(size, d, shape[d]))
  end
  shape[#shape + 1], stride[#stride + 1] = size, stride[d]
  shape[d] = math.floor((shape[d] - size) / step) + 1
  if shape[d] > 1 then stride[d] = stride[d] * step end -- else the step may be absurdly wide
  return views.view(self, shape, stride, 0)
end

-- -- turned, moved, repeated --

-- Bits of axes, each once.
local function axes_bits(t, axes, name)
  local bits, seen = 0, {}
  for i = 1, #axes do
    local d = axis_of(t, axes[i], name, i)
    if seen[d] then misuse(("%s: axis %d twice"):format(name, axes[i])) end
    seen[d] = true
    bits = bits + 2 ^ (d - 1)
  end
  return bits
end

--- Turned round along axes; along all where none is named.
-- @param ...  axes, or a list of them
function methods:flip(...)
  local ndim = core.info(self).ndim
  if select("#", ...) == 0 then return op.flip(self, 2 ^ ndim - 1) end
  return op.flip(self, axes_bits(self, list_of(...), "flip"))
end

--- Elements moved along axes, those beyond the end coming in at the beginning.
-- @tparam number|{number,...} shifts  by how many places, backwards where negative
-- @tparam ?number|{number,...} axes   one for each shift; none: in row order over all
function methods:roll(shifts, axes)
  local ndim = core.info(self).ndim
  if axes == nil then
    whole(shifts, 1, "roll", "shifts", nil)
    return self:reshape(-1):roll(shifts, 1):reshape(shape_of(self))
  end
  shifts, axes = list_of(shifts), list_of(axes)
  if #shifts ~= #axes then
    misuse(("roll: %d shifts along %d axes"):format(#shifts, #axes))
  end
  local counts = {}
  for i = 1, 2 * ndim do counts[i] = 0 end
  for i = 1, #axes do
    local d = axis_of(self, axes[i], "roll", 2)
    local k, n = 2 * (ndim - d) + 1, self:size(d)
    whole(shifts[i], 1, "roll", "shifts", nil)
    counts[k] = n == 0 and 0 or (counts[k] + shifts[i]) % n
    counts[k + 1] = -counts[k]
  end
  return padded(self, counts, "circular")
end

--- Itself several times along each axis; missing axes are put before (PyTorch's `repeat`, too).
-- @param ...  times along each of the last axes, or a list of them
function methods:tile(...)
  local times, shape = list_of(...), shape_of(self)
  local extra = #times - #shape
  for i = 1, #times do whole(times[i], i, "tile", "times", 0) end
  if extra > 0 then
    for _ = 1, extra do table.insert(shape, 1, 1) end
    self = self:reshape(shape)
  end
  local counts, n = {}, #shape
  for i = 1, #times do
    local d = n - #times + i
    counts[2 * (n - d) + 1], counts[2 * (n - d) + 2] = 0, shape[d] * (times[i] - 1)
  end
  return padded(self, counts, "circular")
end

--- Each of its slices along an axis several times, side by side.
-- @tparam number|Tensor repeats  for all, or i64 or i32 ones for each
-- @tparam ?number axis  none: of all elements in row order
function methods:repeat_interleave(repeats, axis)
  core.info(self)
  if axis == nil then return self:reshape(-1):repeat_interleave(repeats, 1) end
  axis = axis_of(self, axis, "repeat_interleave", 2)
  local n = self:size(axis)
  local each, counts
  if is_tensor(repeats) then
    counts = repeats:totable()
    if type(counts) ~= "table" or #counts ~= n then
      misuse(("repeat_interleave: expected repeats of [%d], got %s"):format(n,
        shape_text(shape_of(repeats))))
    end
  else
    each = whole(repeats, 1, "repeat_interleave", "repeats", 0)
  end
  local total = 0
  for i = 1, counts and n or 1 do
    total = total + whole(each or counts[i], 1, "repeat_interleave", "repeats", 0)
  end
  local ids = create.new({ each and n * each or total }, "i64")
  local p, at = core.pointer(ids), 0
  for i = 1, n do
    for _ = 1, each or counts[i] do
      p[at] = i - 1
      at = at + 1
    end
  end
  core.info(ids) -- a use after the last write: nothing collects it before
  return op.index_select(self, ids, axis)
end

--- More elements around its last axes: `x:pad { 1, 2 }`, `x:pad({ 1, 1, 2, 2 }, "reflect")`.
-- @tparam {number,...} counts  before and after the last axis, then the one before it, …; a
--   negative one takes away
-- @tparam[opt="constant"] string mode  constant, reflect, replicate or circular
-- @tparam[opt=0] number value  of constant
function methods:pad(counts, mode, value)
  if type(counts) ~= "table" then bad_argument(1, "pad", "counts", "a list of counts", counts) end
  for i = 1, #counts do whole(counts[i], 1, "pad", ("counts[%d]"):format(i)) end
  return padded(self, counts, mode, value)
end

-- -- triangles and diagonals --

--- Its lower triangles; 0 above the diagonal.
-- @tparam[opt=0] number diagonal  0 the main one, 1 that above it, -1 that below
function methods:tril(diagonal) return op.tril(self, diagonal) end

--- Its upper triangles; 0 below the diagonal.
-- @tparam[opt=0] number diagonal
function methods:triu(diagonal) return op.triu(self, diagonal) end

--- A diagonal of two axes, which becomes the last axis; a view.
-- @tparam[opt=0] number offset  above the main one; below it where negative
-- @tparam[opt=1] number axis1
-- @tparam[opt=2] number axis2
function methods:diagonal(offset, axis1, axis2)
  offset = whole(offset == nil and 0 or offset, 1, "diagonal", "offset", nil)
  local shape, stride = views.layout(self)
  local a = axis_of(self, axis1 or 1, "diagonal", 2)
  local b = axis_of(self, axis2 or 2, "diagonal", 3)
  if a == b then misuse(("diagonal: axis %d twice"):format(a)) end
  local down, right = math.max(-offset, 0), math.max(offset, 0)
  local n = math.max(0, math.min(shape[a] - down, shape[b] - right))
  local at = n > 0 and down * stride[a] + right * stride[b] or 0
  local step = stride[a] + stride[b]
  for _, d in ipairs { math.max(a, b), math.min(a, b) } do
    table.remove(shape, d)
    table.remove(stride, d)
  end
  shape[#shape + 1], stride[#stride + 1] = n, step
  return views.view(self, shape, stride, at)
end

--- Of a matrix its diagonal, a view; of a vector the matrix that has it as its diagonal.
-- @tparam[opt=0] number offset  above the main one; below it where negative
function methods:diag(offset)
  local ndim = core.info(self).ndim
  if ndim == 2 then return self:diagonal(offset) end
  if ndim ~= 1 then
    misuse(("diag: expected a vector or a matrix, got %s"):format(shape_text(shape_of(self))))
  end
  offset = whole(offset == nil and 0 or offset, 1, "diag", "offset", nil)
  local size, n = math.abs(offset), self:size(1)
  local rows = padded(self:unsqueeze(2), { 0, n + size }) -- row i, read on, begins at i of row i
  local matrix = padded(rows:reshape(-1), { 0, -n }):reshape(n, n + size)
  return padded(matrix, offset > 0 and { size, -size, 0, size } or { 0, 0, size, 0 })
end

-- -- by masks and ids --

--- Copied, with a value where the mask is true; mask and tensor are broadcast.
-- @tparam Tensor mask  bool
-- @tparam number|Tensor value  a number, or a tensor of its dtype that broadcasts
function methods:masked_fill(mask, value)
  core.info(self)
  a_tensor(mask, 1, "masked_fill", "mask")
  if type(value) == "number" then value = create.full(value, { dtype = self:dtype() }) end
  return op.where(mask, a_tensor(value, 2, "masked_fill", "value"), self)
end

--- Its elements where the mask is true, in row order; mask and tensor are broadcast.
-- @tparam Tensor mask  bool
-- @treturn Tensor  of one axis
function methods:masked_select(mask)
  a_tensor(mask, 1, "masked_select", "mask")
  local a, b, shape = shape_of(self), shape_of(mask), {}
  local n = math.max(#a, #b)
  for d = 1, n do
    local x, y = a[d - n + #a] or 1, b[d - n + #b] or 1
    if x ~= y and x ~= 1 and y ~= 1 then
      misuse(("masked_select: shapes %s and %s do not broadcast"):format(shape_text(a),
        shape_text(b)))
    end
    shape[d] = x == 1 and y or x
  end
  local all = views.expand_to(self, shape, "masked_select")
  local chosen = views.expand_to(mask, shape, "masked_select")
  if n == 0 then all, chosen = all:reshape(1), chosen:reshape(1) end
  return index.get(all, chosen)
end

--- Its ids, from 0, as vectors: 1 at the id's place of a new last axis, 0 elsewhere.
-- @tparam ?number classes  else one more than the largest id
-- @tparam[opt="i64"] string dtype
function methods:one_hot(classes, dtype)
  core.info(self)
  if classes == nil then
    if self:count() == 0 then misuse "one_hot: no ids: how many classes?" end
    classes = op.max(self):item() + 1
  end
  whole(classes, 1, "one_hot", "classes", 0)
  local y = op.one_hot(self, classes)
  return dtype and y:to(dtype) or y
end

-- -- made --

--- A matrix with 1 on its diagonal: `eye(3)`, `eye(2, 3, { dtype = "f64" })`.
-- @tparam number n  rows
-- @tparam[opt=n] number m  columns
-- @tparam ?table options  dtype ("f32")
function functions.eye(n, m, options)
  if type(m) == "table" then m, options = nil, m end
  whole(n, 1, "eye", "n", 0)
  m = whole(m == nil and n or m, 2, "eye", "m", 0)
  local t = create.zeros({ n, m }, options or {})
  t:diagonal():fill(1)
  return t
end

--- n numbers from one to another at equal distances, both included.
-- @tparam number from
-- @tparam number to
-- @tparam number n
-- @tparam ?table options  dtype ("f32")
function functions.linspace(from, to, n, options)
  if type(from) ~= "number" then bad_argument(1, "linspace", "from", "a number", from) end
  if type(to) ~= "number" then bad_argument(2, "linspace", "to", "a number", to) end
  whole(n, 3, "linspace", "n", 0)
  local o = create.check_options(options or {}, "linspace")
  local t = create.new({ n }, "f64")
  local p, step = core.pointer(t), n > 1 and (to - from) / (n - 1) or 0
  for i = 0, n - 1 do -- from the nearer end, so that both are met exactly
    p[i] = i < n / 2 and from + step * i or to - step * (n - 1 - i)
  end
  core.info(t) -- a use after the last write: nothing collects it before
  return t:to(o.dtype or "f32")
end

return arrange
