--- The text of a tensor: elements in columns, long axes by their ends; then dtype, shape, device.
--
-- All elements shown have one format, chosen as NumPy does: as many digits behind the point as the
-- one that needs most (at most `precision`), with exponents where the largest is 1e8 or more, the
-- smallest below 1e-4, or they are more than 1000 times apart.
-- @module mlua.tensor.text
local core = require "mlua.ffi"

local text = {}

local options = { precision = 4, threshold = 1000, edge = 3, width = 80 }
local LIMITS = { precision = { 0, 17 }, threshold = { 0, 2 ^ 53 }, edge = { 1, 2 ^ 20 },
                 width = { 1, 2 ^ 53 } }

--- Set how tensors are printed: `ml.print_options { precision = 6 }`.
-- @tparam ?table given  precision (digits behind the point, 4), threshold (elements shown whole,
--   1000), edge (shown at each end of an axis beyond that, 3), width (columns of a line, 80)
-- @treturn table  the options from now on
-- @raise on an unknown option, or one that is no whole number within its limits
function text.options(given)
  if given ~= nil and type(given) ~= "table" then
    core.bad_argument(1, "print_options", "options", "a table", given)
  end
  for name, v in pairs(given or {}) do
    local limits = LIMITS[name]
    if not limits then
      core.misuse("print_options: " .. require("mlua.check").unknown(name, LIMITS))
    end
    if type(v) ~= "number" or v % 1 ~= 0 or v < limits[1] or v > limits[2] then
      core.misuse(("print_options: option %s: expected a whole number, %.0f to %.0f, got %s")
        :format(name, limits[1], limits[2], core.what(v)))
    end
  end
  for name, v in pairs(given or {}) do options[name] = v end
  local now = {}
  for name, v in pairs(options) do now[name] = v end
  return now
end

-- -- the format of elements --

local MOST = { f64 = 17, f32 = 9, bf16 = 4, f16 = 5 } -- digits that tell any two values apart

-- The fewest digits that read back as v in its dtype: "-1.5e+01".
local function shortest(v, dtype)
  local number = core.dtype_number[dtype]
  for digits = 0, MOST[dtype] - 2 do
    local s = ("%." .. digits .. "e"):format(v)
    if core.C.ml_dtype_round(number, tonumber(s)) == v then return s end
  end
  return ("%." .. MOST[dtype] - 1 .. "e"):format(v)
end

local function is_finite(v) return v - v == 0 end

-- Digits behind the point of a number in text, without trailing zeros.
local function fraction(s)
  local digits = s:match "%.(%d*)"
  return digits and #digits:gsub("0+$", "") or 0
end

local function has_exponents(values)
  local largest, smallest = 0, math.huge
  for _, v in ipairs(values) do
    local a = math.abs(v)
    if is_finite(v) and a > 0 then
      largest, smallest = math.max(largest, a), math.min(smallest, a)
    end
  end
  return largest > 0 and (largest >= 1e8 or smallest < 1e-4 or largest / smallest > 1000)
end

-- NumPy's rule: the common number of digits is what the value needs that needs most, each by its
-- shortest digits, cut at the precision.
local function float_texts(values, dtype)
  local kind, digits, out = has_exponents(values) and "e" or "f", 0, {}
  local cut = "%." .. options.precision .. kind
  for _, v in ipairs(values) do
    if is_finite(v) then
      local s = shortest(v, dtype)
      local n = fraction(s)
      if kind == "f" then n = math.max(0, n - tonumber(s:match "e(.*)$")) end
      digits = math.max(digits, n > options.precision and fraction(cut:format(v)) or n)
    end
  end
  local fmt = "%#." .. digits .. kind -- #: a point even where no digits follow
  for k, v in ipairs(values) do
    out[k] = v ~= v and "nan" or v == math.huge and "inf" or v == -math.huge and "-inf"
      or fmt:format(v)
  end
  return out
end

local function texts_of(values, dtype)
  if MOST[dtype] then return float_texts(values, dtype) end
  local out = {}
  for k, v in ipairs(values) do
    out[k] = dtype == "bool" and tostring(v ~= 0) or dtype == "i64" and v or ("%.0f"):format(v)
  end
  return out
end

-- -- the layout --

-- The positions shown of an axis of n, false for those left out.
local function shown(n, whole)
  local list, edge = {}, options.edge
  for k = 1, whole and n or math.min(n, edge) do list[k] = k end
  if whole or n <= edge then return list end
  if n > 2 * edge then list[edge + 1] = false end
  for k = math.max(edge, n - edge) + 1, n do list[#list + 1] = k end
  return list
end

-- The values at the positions shown, in row order.
local function gather(t, axes, dtype)
  local stride, values = {}, {}
  local i = core.info(t)
  for d = 1, #axes do stride[d] = tonumber(i.stride[d - 1]) end
  local function walk(offset, d)
    if d > #axes then
      values[#values + 1] = dtype == "i64" and core.digits(t, offset) or core.get(t, offset)
      return
    end
    for _, k in ipairs(axes[d]) do
      if k then walk(offset + (k - 1) * stride[d], d + 1) end
    end
  end
  walk(0, 1)
  return values
end

-- The cells of one row as lines of at most `width`: those after the first are set in.
local function wrap(cells, width, lines)
  local line, used, n = {}, 0, 0
  for _, cell in ipairs(cells) do
    local size = cell == "…" and 1 or #cell
    if n > 0 and used + 1 + size > width then
      lines[#lines + 1] = table.concat(line, " ")
      line, used, n = { " " }, 1, 0
    end
    line[#line + 1] = cell
    used, n = used + size + (#line > 1 and 1 or 0), n + 1
  end
  lines[#lines + 1] = table.concat(line, " ")
end

local function layout(axes, texts)
  local width, at, lines = 0, 0, {}
  for _, s in ipairs(texts) do width = math.max(width, #s) end
  local function row(list)
    local cells = {}
    for c, k in ipairs(list) do
      if k then
        at = at + 1
        cells[c] = (" "):rep(width - #texts[at]) .. texts[at]
      else
        cells[c] = "…"
      end
    end
    wrap(cells, options.width, lines)
  end
  -- matrices are an empty line apart, what holds several of them one more
  local function block(d)
    if d == #axes then return row(axes[d]) end
    for c, k in ipairs(axes[d]) do
      for _ = 1, c > 1 and #axes - 1 - d or 0 do lines[#lines + 1] = "" end
      if k then block(d + 1) else lines[#lines + 1] = "…" end
    end
  end
  block(1)
  return lines
end

--- The text of a tensor, as tostring and print have it.
-- @tparam Tensor t
-- @treturn string
function text.show(t)
  local i = core.C.ml_tensor_info(t)
  if i == nil then return "[a tensor that is no longer there]" end
  local shape, dtype = t:shape(), t:dtype()
  local sizes = #shape == 0 and "scalar" or table.concat(shape, "×")
  local tail = ("[%s %s %s]"):format(dtype, sizes, t:device())
  local count = t:count()
  if count == 0 then return tail end
  local axes = {}
  for d, n in ipairs(shape) do axes[d] = shown(n, count <= options.threshold) end
  local texts = texts_of(gather(t, axes, dtype), dtype)
  if #shape == 0 then return texts[1] .. "   " .. tail end
  return table.concat(layout(axes, texts), "\n") .. "   " .. tail
end

return text
