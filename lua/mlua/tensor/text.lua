--- The text of a tensor: elements in columns, long axes by their ends; then dtype, shape, device.
-- @module mlua.tensor.text
local core = require "mlua.ffi"

local EDGE, WHOLE = 3, 1000 -- ends shown of a long axis; elements shown whole

local function formatter(values, dtype)
  local width = 1
  if dtype ~= "f32" and dtype ~= "f64" then
    -- %.0f: %d would wrap around where a number is not a 64-bit integer, as 2^63 is not
    for _, v in ipairs(values) do width = math.max(width, #("%.0f"):format(v)) end
    return function(v) return ("%" .. width .. ".0f"):format(v) end
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
  local fmt = (largest >= 1e8 or smallest < 1e-4 and not whole) and "%.4e"
    or whole and "%.0f." or "%.4f"
  for _, v in ipairs(values) do width = math.max(width, #fmt:format(v)) end
  return function(v)
    local s = v ~= v and "nan" or v == math.huge and "inf" or v == -math.huge and "-inf"
      or fmt:format(v)
    return (" "):rep(width - #s) .. s
  end
end

return function(t)
  local i = core.C.ml_tensor_info(t)
  if i == nil then return "[a tensor that is no longer there]" end
  local shape, dtype = t:shape(), t:dtype()
  local sizes = #shape == 0 and "scalar" or table.concat(shape, "×")
  local tail = ("[%s %s %s]"):format(dtype, sizes, t:device())
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
        if n > 1 and level < #shape - 1 then lines[#lines + 1] = "" end
        block(level + 1)
      end
    end
  end
  block(1)
  return table.concat(lines, "\n") .. "   " .. tail
end
