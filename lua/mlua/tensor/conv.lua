--- Convolutions over one to three axes, as PyTorch's conv1d … conv3d and conv_transpose.
-- @module mlua.tensor.conv
local core = require "mlua.ffi"

local window = require "mlua.tensor.window"

local op = core.op
local numbers, bad = window.numbers, core.bad

local conv = {}

local CONV = { stride = true, padding = true, dilation = true, groups = true }
local TRANSPOSED = { stride = true, padding = true, dilation = true, groups = true,
                     output_padding = true }
local NONE = {} -- options where there are none

local function groups_of(o, name)
  local g = o.groups
  if g == nil then return 1 end
  if type(g) ~= "number" or g % 1 ~= 0 or g >= 2 ^ 53 then
    bad(4, name, "groups: expected a whole number, got %s", core.what(g))
  end
  return g
end

-- What makes ceil(in / stride) windows; an odd one goes to the end.
local function same(n, kernel, stride, dilation)
  local total = math.max(0, (math.ceil(n / stride) - 1) * stride + dilation * (kernel - 1) + 1 - n)
  local before = math.floor(total / 2)
  return before, total - before
end

local function check_weight(x, w, name)
  if not core.is_tensor(w) then core.bad_argument(2, name, "w", "a tensor", w) end
  local wi, n = core.info(w).ndim, core.info(x).ndim
  if wi ~= n then bad(2, name, "w: expected %d axes as x has, got %d", n, wi) end
end

--- Convolution (cross-correlation): y[n,o,p] = b[o] + sum x[n,c, p stride - padding + k dilation]
-- w[o,c,k] over the channels c of o's group and the places k of the kernel; zeros are around x.
-- @tparam Tensor x   [N, C, …] with one to three spatial axes; floats
-- @tparam Tensor w   [O, C / groups, kernel…]
-- @tparam ?Tensor b  [O]
-- @tparam ?table o   stride (1), dilation (1): a number, or a list of one for each axis; padding
--   (0): also a pair { before, after } for an axis, "same" (as many places as x / stride, rounded
--   up) or "valid" (0); groups (1)
-- @treturn Tensor    [N, O, …]
-- @raise bad argument with the shapes or the option
function conv.conv(x, w, b, o)
  local n = window.axes(x, "conv")
  check_weight(x, w, "conv")
  o = o == nil and NONE or core.options(o, CONV, 4, "conv")
  local s1, s2, s3 = numbers(o.stride, n, 1, 1, 4, "conv", "stride")
  local d1, d2, d3 = numbers(o.dilation, n, 1, 1, 4, "conv", "dilation")
  local b1, b2, b3, a1, a2, a3
  local p = o.padding
  if p == "same" then
    local xi, wi, s, d = x:shape(), w:shape(), { s1, s2, s3 }, { d1, d2, d3 }
    local before, after = { 0, 0, 0 }, { 0, 0, 0 }
    for i = 1, n do
      if s[i] > 0 then before[i], after[i] = same(xi[i + 2], wi[i + 2], s[i], d[i]) end
    end
    b1, b2, b3, a1, a2, a3 = before[1], before[2], before[3], after[1], after[2], after[3]
  else
    if type(p) == "string" and p ~= "valid" then
      bad(4, "conv", "padding: expected numbers, 'same' or 'valid', got '%s'", p)
    end
    if p == "valid" then p = nil end
    b1, b2, b3, a1, a2, a3 = window.padding(p, n, 4, "conv")
  end
  return op.conv(x, w, b, s1, s2, s3, d1, d2, d3, b1, b2, b3, a1, a2, a3, groups_of(o, "conv"))
end

--- Transposed convolution: the gradient of `conv` by its input. Along an axis the output has
-- (in - 1) stride - padding before and after + dilation (kernel - 1) + 1 + output_padding places.
-- @tparam Tensor x   [N, C, …] with one to three spatial axes; floats
-- @tparam Tensor w   [C, O / groups, kernel…]
-- @tparam ?Tensor b  [O]
-- @tparam ?table o   stride (1), dilation (1), padding (0; pairs, too), groups (1), as `conv` has
--   them; output_padding (0): places added at the end, less than stride or dilation
-- @treturn Tensor    [N, O, …]
-- @raise bad argument with the shapes or the option
function conv.conv_transpose(x, w, b, o)
  local name = "conv_transpose"
  local n = window.axes(x, name)
  check_weight(x, w, name)
  o = o == nil and NONE or core.options(o, TRANSPOSED, 4, name)
  local s1, s2, s3 = numbers(o.stride, n, 1, 1, 4, name, "stride")
  local d1, d2, d3 = numbers(o.dilation, n, 1, 1, 4, name, "dilation")
  local b1, b2, b3, a1, a2, a3 = window.padding(o.padding, n, 4, name)
  local e1, e2, e3 = numbers(o.output_padding, n, 0, 0, 4, name, "output_padding")
  if e1 < 0 or e2 < 0 or e3 < 0 or e1 >= math.max(s1, d1) or e2 >= math.max(s2, d2)
    or e3 >= math.max(s3, d3) then
    bad(4, name, "output_padding: expected at least 0 and less than stride or dilation")
  end
  if math.min(a1, a2, a3) < 0 then bad(4, name, "padding: expected at least 0") end
  return op.conv_transpose(x, w, b, s1, s2, s3, d1, d2, d3, b1, b2, b3, a1 - e1, a2 - e2, a3 - e3,
    groups_of(o, name))
end

return { methods = conv }
