--- Order and counts: sorting, the largest, medians, unique values, histograms, lookups.
--
-- Equal elements keep their order, and NaN counts as the largest, as PyTorch has it. Positions that
-- are returned (ids) count from 0, as all data; axes from 1.
-- @module mlua.tensor.order
local core = require "mlua.ffi"

local arrange = require "mlua.tensor.arrange"
local create = require "mlua.tensor.create"
local views = require "mlua.tensor.view"

local C, op, is_tensor, misuse = core.C, core.op, core.is_tensor, core.misuse
local bad_argument, is_whole, axis_in = core.bad_argument, create.is_whole, views.axis_in

local order = { methods = {}, functions = {} }
local methods = order.methods

local function axis_of(t, axis, name, position)
  return axis_in(core.info(t).ndim, axis == nil and -1 or axis, name, position)
end

local function check_bool(v, i, name, label)
  if v ~= nil and type(v) ~= "boolean" then bad_argument(i, name, label, "true or false", v) end
end

local function is_float(t) return core.is_float[t:dtype()] end

-- -- sorting --

--- Its elements along an axis in rising order, and their positions (from 0).
-- @tparam[opt=-1] number axis
-- @tparam[opt=false] boolean descending  in falling order
-- @treturn Tensor  values, with a gradient
-- @treturn Tensor  i64 positions
function methods:sort(axis, descending)
  axis = axis_of(self, axis, "sort", 1)
  check_bool(descending, 2, "sort", "descending")
  local ids = op.argsort(self, axis, descending)
  return op.gather(self, ids, axis), ids
end

--- The positions (from 0) that would sort it along an axis.
-- @tparam[opt=-1] number axis
-- @tparam[opt=false] boolean descending
-- @treturn Tensor  i64
function methods:argsort(axis, descending)
  axis = axis_of(self, axis, "argsort", 1)
  check_bool(descending, 2, "argsort", "descending")
  return op.argsort(self, axis, descending)
end

-- The first k in order along an axis: values and positions.
local function first(t, k, axis, smallest)
  local ids = op.topk_ids(t, k, axis, smallest)
  return op.gather(t, ids, axis), ids
end

--- The k largest elements along an axis, the largest first, and their positions (from 0).
-- @tparam number k
-- @tparam[opt=-1] number axis
-- @tparam[opt=true] boolean largest  else the smallest, the smallest first
-- @treturn Tensor  values, with a gradient
-- @treturn Tensor  i64 positions
function methods:topk(k, axis, largest)
  axis = axis_of(self, axis, "topk", 2)
  check_bool(largest, 3, "topk", "largest")
  local n = self:size(axis)
  if not is_whole(k) or k < 0 or k > n then
    bad_argument(1, "topk", "k", ("0 to %d"):format(n), k)
  end
  return first(self, k, axis, largest == false)
end

-- The positions of what is k-th (from 1) in rising order, one along the axis.
local function kth_ids(t, k, axis)
  return op.topk_ids(t, k, axis, true):narrow(axis, -1, -1)
end

-- The elements that ids name, one along the axis, which is dropped unless `keep`.
local function picked(t, ids, axis, keep)
  local values = op.gather(t, ids, axis)
  if keep then return values, ids end
  return values:squeeze(axis), ids:squeeze(axis)
end

--- The k-th smallest element along an axis, and its position (from 0).
-- @tparam number k  from 1
-- @tparam[opt=-1] number axis
-- @tparam[opt=false] boolean keep  the axis, with size 1
-- @treturn Tensor  values, with a gradient
-- @treturn Tensor  i64 positions
function methods:kthvalue(k, axis, keep)
  axis = axis_of(self, axis, "kthvalue", 2)
  check_bool(keep, 3, "kthvalue", "keep")
  local n = self:size(axis)
  if not is_whole(k) or k < 1 or k > n then
    bad_argument(1, "kthvalue", "k", ("1 to %d"):format(n), k)
  end
  return picked(self, kth_ids(self, k, axis), axis, keep)
end

--- The median: of an even number the lower one of the two in the middle; NaN where there is one.
-- @tparam ?number axis  none: of all elements, the value alone
-- @tparam[opt=false] boolean keep  the axis, with size 1
-- @treturn Tensor  values, with a gradient
-- @treturn Tensor  i64 positions
function methods:median(axis, keep)
  core.info(self)
  if axis == nil then return (self:reshape(-1):median(1)) end
  axis = axis_of(self, axis, "median", 1)
  check_bool(keep, 2, "median", "keep")
  local n = self:size(axis)
  if n == 0 then misuse(("median: axis %d is empty"):format(axis)) end
  local ids = kth_ids(self, math.floor((n + 1) / 2), axis)
  if is_float(self) then
    local largest, at = first(self:detach(), 1, axis, false)
    ids = op.where(op.isnan(largest), at, ids)
  end
  return picked(self, ids, axis, keep)
end

-- -- unique values --

local UNIQUE = { inverse = "boolean", counts = "boolean", axis = "number" }
local HISTOGRAM = { range = "table", weight = true, density = "boolean" }

-- The numbers, from 0, of a bool vector's true elements.
local function true_ids(mask)
  local ids = core.new_ref()
  core.check(C.ml_mask_ids(ids, mask))
  return core.own(ids)
end

-- The order of elements [n], or of rows [n, m] by their first element, then by the second, …
local function order_of(rows)
  if rows:dim() == 1 then return op.argsort(rows, 1) end
  local ids = create.arange(rows:size(1))
  for k = rows:size(2), 1, -1 do -- each sort keeps the order of equal elements
    local by = op.argsort(op.index_select(rows:select(2, k), ids, 1), 1)
    ids = op.index_select(ids, by, 1)
  end
  return ids
end

-- Whether each element, or row, is another than that before it; the first one is.
local function begins(rows)
  local n = rows:size(1)
  local new = create.ones({ n }, { dtype = "bool" })
  if n > 1 then
    local d = op.ne(rows:narrow(1, 2, n), rows:narrow(1, 1, n - 1))
    new:narrow(1, 2, n):copy(d:dim() > 1 and op.any(d, 2) or d)
  end
  return new
end

-- One of each run of equal elements, or of slices along o.axis; first in order, if `sorts`.
local function distinct(t, o, name, sorts)
  local shape, axis, from = views.shape_of(t), o.axis, t:detach()
  local rows, n
  if axis then
    axis = axis_in(#shape, axis, name, 1)
    n = shape[axis]
    rows = from:movedim(axis, 1):reshape(n, n > 0 and t:count() / n or 0)
    shape = { n }
  else
    from, axis, n = from:reshape(-1), 1, t:count()
    rows = from
  end
  local ids = sorts and order_of(rows)
  local new = begins(ids and op.index_select(rows, ids, 1) or rows)
  local starts = true_ids(new)
  local chosen = ids and op.index_select(ids, starts, 1) or starts
  local results = { op.index_select(from, chosen, axis) }
  if o.inverse then
    local place = op.affine(op.cumsum(new:to("f64"), 1), 1, -1):to("i64")
    results[2] = (ids and op.scatter(ids, ids, place, 1) or place):reshape(shape)
  end
  if o.counts then
    local ends = op.cat({ starts, create.full(n, { 1 }, { dtype = "i64" }) }, 1)
    local m = starts:count()
    results[#results + 1] = op.sub(ends:narrow(1, 2, m + 1), ends:narrow(1, 1, m))
  end
  return unpack(results)
end

--- Its values, each once, in rising order; or its slices along an axis, ordered by their first
-- element, then by the second, … (one sort for each element of a slice). No NaN equals another.
-- @tparam ?table options  `inverse`: also where each element, or slice, is among them; `counts`:
--   also how often each is there; `axis`
-- @treturn Tensor  of one axis; with `axis`, of its shape but there
-- @treturn Tensor  inverse, i64 of its shape, or [size of the axis], where asked for
-- @treturn Tensor  counts, i64, where asked for
function methods:unique(options)
  core.info(self)
  return distinct(self, core.options(options, UNIQUE, 1, "unique"), "unique", true)
end

--- Its values without those that equal the one before them; or its slices along an axis.
-- @tparam ?table options  inverse, counts, axis, as `unique` has them
-- @treturn Tensor  and inverse and counts, where asked for, as `unique` gives them
function methods:unique_consecutive(options)
  core.info(self)
  local name = "unique_consecutive"
  return distinct(self, core.options(options, UNIQUE, 1, name), name, false)
end

-- -- counting --

-- Evenly spaced edges over [lo, hi]; over the data's range where both are 0 or not given.
local function edges_of(t, bins, lo, hi, name)
  if not is_whole(bins) or bins < 1 then
    bad_argument(1, name, "bins", "a whole number of at least 1", bins)
  end
  lo, hi = lo or 0, hi or 0
  if type(lo) ~= "number" or type(hi) ~= "number" then
    bad_argument(type(lo) == "number" and 3 or 2, name, "range", "a number",
      type(lo) == "number" and hi or lo)
  end
  if lo == hi then
    if lo == 0 and t:count() > 0 then lo, hi = op.min(t):item(), op.max(t):item() end
    if lo == hi then lo, hi = lo - 1, hi + 1 end
  end
  if not (lo < hi and lo > -math.huge and hi < math.huge) then
    misuse(("%s: expected a finite range that rises, got %.14g to %.14g"):format(name, lo, hi))
  end
  return arrange.functions.linspace(lo, hi, bins + 1, { dtype = t:dtype() })
end

-- Its elements as f32 or f64, off the tape.
local function floating(t)
  core.info(t)
  if t:dtype() == "f64" or not is_float(t) then return t:detach():to("f64") end
  return t:detach():to("f32")
end

--- How many of its elements are in each of equal bins; those outside the range count nowhere.
-- @tparam[opt=100] number bins
-- @tparam[opt=0] number lo
-- @tparam[opt=0] number hi  lo = hi = 0: from the smallest element to the largest
-- @treturn Tensor  [bins], f32; f64 of f64 and of integers
function methods:histc(bins, lo, hi)
  local x = floating(self)
  return op.histogram(x, edges_of(x, bins or 100, lo, hi, "histc"))
end

--- How many of its elements are in each bin: from an edge to below the next, of the last bin to the
-- last edge itself.
-- @tparam number|Tensor bins  equal ones, or edges, which rise
-- @tparam ?table options  range: {lo, hi} of equal bins; weight: a tensor of its shape, summed in
--   place of ones; density: divided by the sum and the bins' widths
-- @treturn Tensor  [bins], f32; f64 of f64 and of integers
-- @treturn Tensor  edges, [bins + 1]
function methods:histogram(bins, options)
  local o = core.options(options, HISTOGRAM, 2, "histogram")
  local x, range = floating(self), o.range or {}
  local edges
  if is_tensor(bins) then edges = bins:to(x:dtype()) else
    edges = edges_of(x, bins, range[1], range[2], "histogram")
  end
  local weight = o.weight
  if weight ~= nil then
    if not is_tensor(weight) then bad_argument(2, "histogram", "weight", "a tensor", weight) end
    weight = weight:detach():to(x:dtype())
  end
  local y = op.histogram(x, edges, weight)
  if o.density then
    local n = y:count()
    y = op.div(y, op.mul(op.sub(edges:narrow(1, 2, n + 1), edges:narrow(1, 1, n)), op.sum(y)))
  end
  return y, edges
end

--- How often each of 0, 1, … is among whole numbers of at least 0; or the sums of their weights.
-- @tparam ?Tensor weights  floats, one for each
-- @tparam[opt=0] number minlength  at least so many counts
-- @treturn Tensor  i64 counts, or the weights' sums
function methods:bincount(weights, minlength)
  core.info(self)
  minlength = minlength == nil and 0 or minlength
  if not is_whole(minlength) or minlength < 0 then
    bad_argument(2, "bincount", "minlength", "a whole number of at least 0", minlength)
  end
  local bins = self:count() > 0 and math.max(op.max(self):item() + 1, minlength) or minlength
  if weights == nil then return op.bincount(self, math.max(bins, 0)) end
  if not is_tensor(weights) then bad_argument(1, "bincount", "weights", "a tensor", weights) end
  local sums = create.zeros({ math.max(bins, 0) }, { dtype = weights:dtype() })
  return op.scatter_add(sums, self:dtype() == "u8" and self:to("i32") or self, weights, 1)
end

--- Where values belong among sorted ones: the first place, from 0, that is not below each.
-- @tparam Tensor values  of its dtype
-- @tparam[opt=false] boolean right  that is above
-- @treturn Tensor  i64, values' shape
function methods:searchsorted(values, right) return op.searchsorted(self, values, right) end

--- The bin of each element between boundaries: the first place, from 0, that is not below it.
-- @tparam Tensor boundaries  of one axis, rising, its dtype
-- @tparam[opt=false] boolean right  that is above
-- @treturn Tensor  i64, its shape
function methods:bucketize(boundaries, right) return op.searchsorted(boundaries, self, right) end

return order
