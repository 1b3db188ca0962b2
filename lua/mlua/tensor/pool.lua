--- Pools and resampling over one to three axes.
-- @module mlua.tensor.pool
local core = require "mlua.ffi"

local text = require "mlua.text"
local window = require "mlua.tensor.window"

local op = core.op
local numbers, bad = window.numbers, core.bad

local pool = {}

local MAX = { stride = true, padding = true, dilation = true, ceil_mode = true, indices = true }
local AVERAGE = { stride = true, padding = true, ceil_mode = true, count_include_pad = true }
local UPSAMPLE = { size = true, scale = true, mode = true, align_corners = true }
local NONE = {} -- options where there are none

--- The largest element of each window. Padding never counts.
-- @tparam Tensor x  [N, C, …] with one to three spatial axes; floats
-- @param kernel     sizes of the window: a number, or a list of one for each axis
-- @tparam ?table o  stride (the kernel), padding (0; less than the kernel's reach), dilation (1),
--   as `conv` has them; ceil_mode (false): a last window may pass the end; indices (false)
-- @treturn Tensor   [N, C, …]
-- @treturn ?Tensor  where indices: i64, the place of each in its plane of x, from 0
-- @raise bad argument with the shapes or the option
function pool.max_pool(x, kernel, o)
  local n = window.axes(x, "max_pool")
  o = o == nil and NONE or core.options(o, MAX, 3, "max_pool")
  local k1, k2, k3 = numbers(kernel, n, nil, 1, 2, "max_pool", "kernel")
  local s1, s2, s3 = numbers(o.stride, n, kernel, 1, 3, "max_pool", "stride")
  local d1, d2, d3 = numbers(o.dilation, n, 1, 1, 3, "max_pool", "dilation")
  local b1, b2, b3, a1, a2, a3 = window.padding(o.padding, n, 3, "max_pool")
  local ceil = window.flag(o.ceil_mode, 3, "max_pool", "ceil_mode")
  local y = op.max_pool(x, k1, k2, k3, s1, s2, s3, d1, d2, d3, b1, b2, b3, a1, a2, a3, ceil)
  if not window.flag(o.indices, 3, "max_pool", "indices") then return y end
  return y, op.max_pool_indices(x, k1, k2, k3, s1, s2, s3, d1, d2, d3, b1, b2, b3, a1, a2, a3, ceil)
end

--- The mean of each window.
-- @tparam Tensor x  [N, C, …] with one to three spatial axes; floats
-- @param kernel     sizes of the window: a number, or a list of one for each axis
-- @tparam ?table o  stride (the kernel), padding (0), as `conv` has them; ceil_mode (false): a last
--   window may pass the end; count_include_pad (true): zeros of the padding count
-- @treturn Tensor   [N, C, …]
-- @raise bad argument with the shapes or the option
function pool.avg_pool(x, kernel, o)
  local n = window.axes(x, "avg_pool")
  o = o == nil and NONE or core.options(o, AVERAGE, 3, "avg_pool")
  local k1, k2, k3 = numbers(kernel, n, nil, 1, 2, "avg_pool", "kernel")
  local s1, s2, s3 = numbers(o.stride, n, kernel, 1, 3, "avg_pool", "stride")
  local b1, b2, b3, a1, a2, a3 = window.padding(o.padding, n, 3, "avg_pool")
  local ceil = window.flag(o.ceil_mode, 3, "avg_pool", "ceil_mode")
  local include = window.flag(o.count_include_pad, 3, "avg_pool", "count_include_pad") ~= false
  return op.avg_pool(x, k1, k2, k3, s1, s2, s3, b1, b2, b3, a1, a2, a3, ceil, include)
end

for _, name in ipairs { "adaptive_avg_pool", "adaptive_max_pool" } do
  local f = op[name]
  pool[name] = function(x, size)
    local n = window.axes(x, name)
    return f(x, numbers(size, n, nil, 1, 2, name, "size"))
  end
end

--- The mean of windows that cut each axis into `size` parts, overlapping where it does not divide:
-- part i of n elements goes from floor(i n / size) to ceil((i + 1) n / size).
-- @function adaptive_avg_pool
-- @tparam Tensor x  [N, C, …] with one to three spatial axes; floats
-- @param size       a number, or a list of one for each axis; 1: over all
-- @treturn Tensor   [N, C, size…]

--- The largest elements of such windows.
-- @function adaptive_max_pool
-- @tparam Tensor x  [N, C, …] with one to three spatial axes; floats
-- @param size       a number, or a list of one for each axis
-- @treturn Tensor   [N, C, size…]

local AXES = { linear = 0, bilinear = 2, trilinear = 3 } -- 0: any number

local function positive(v, n, name, label)
  if type(v) == "number" then v = n == 1 and { v } or n == 2 and { v, v } or { v, v, v } end
  if type(v) ~= "table" or #v ~= n then
    bad(2, name, "%s: expected a number or a list of %d, got %s", label, n,
      type(v) == "table" and "a list of " .. #v or core.what(v))
  end
  for i = 1, n do
    local ok = type(v[i]) == "number" and v[i] > 0 and v[i] < 2 ^ 31
    if not ok then
      bad(2, name, "%s: expected more than 0, got %s", label, core.what(v[i]))
    end
  end
  return v
end

--- Each spatial axis in another size.
-- @tparam Tensor x  [N, C, …] with one to three spatial axes; floats
-- @tparam table o   size or scale: a number, or a list of one for each axis; mode "nearest" or
--   "linear" ("nearest"; also by PyTorch's names "bilinear" and "trilinear"); align_corners
--   (false): for linear, first and last elements keep their values
-- @treturn Tensor   [N, C, …]
-- @raise bad argument with the option
-- @source semantics of PyTorch's interpolate
function pool.upsample(x, o)
  local name = "upsample"
  local n = window.axes(x, name)
  o = core.options(o, UPSAMPLE, 2, name)
  local mode = o.mode == nil and "nearest" or o.mode
  if mode ~= "nearest" and AXES[mode] ~= 0 and AXES[mode] ~= n then
    local near = type(mode) == "string" and not AXES[mode]
      and text.did_you_mean(mode, { "nearest", "linear", "bilinear", "trilinear" }) or ""
    bad(2, name, "mode: expected nearest or linear, got %s%s", core.what(mode), near)
  end
  local corners = window.flag(o.align_corners, 2, name, "align_corners")
  if corners and mode == "nearest" then bad(2, name, "align_corners: for linear alone") end
  if (o.size == nil) == (o.scale == nil) then bad(2, name, "expected size or scale") end
  local sizes = o.size ~= nil and positive(o.size, n, name, "size")
  local scales = not sizes and positive(o.scale, n, name, "scale")
  local y = x
  for i = 1, n do
    local from = x:size(i + 2)
    local size = sizes and sizes[i] or math.floor(from * scales[i])
    local step = scales and 1 / scales[i] or from / size
    if corners then step = size > 1 and (from - 1) / (size - 1) or 0 end
    if size ~= from or step ~= 1 then
      y = op.resample(y, i + 2, size, step,
        mode == "nearest" and "nearest" or corners and "corners" or "linear")
    end
  end
  return y
end

return { methods = pool }
