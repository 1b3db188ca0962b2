--- Numbers by axis, as convolutions and pools take them: one for all axes, or a list.
-- @module mlua.tensor.window
local core = require "mlua.ffi"

local bad, what = core.bad, core.what
local window = {}

--- The spatial axes of [N, C, …]: one to three.
function window.axes(x, name)
  if not core.is_tensor(x) then core.bad_argument(1, name, "x", "a tensor", x) end
  local n = core.info(x).ndim - 2
  if n < 1 or n > 3 then
    bad(1, name, "x: expected [N, C, *] with one to three axes after the channels, got %d axes",
      n + 2)
  end
  return n
end

local function is_int(v)
  return type(v) == "number" and v % 1 == 0 and v > -2 ^ 53 and v < 2 ^ 53
end

--- A number by axis: from one whole number, or a list of one for each.
-- @param v            the argument; nil: the default
-- @tparam number n    axes
-- @param default      a number or list
-- @tparam number rest
-- @tparam number at   position of the argument, for messages
-- @tparam string name of the function
-- @tparam string label
-- @treturn number,number,number  those beyond n are `rest`
function window.numbers(v, n, default, rest, at, name, label)
  if v == nil then v = default end
  if is_int(v) then return v, n > 1 and v or rest, n > 2 and v or rest end
  if type(v) ~= "table" or #v ~= n then
    bad(at, name, "%s: expected a whole number or a list of %d, got %s", label, n,
      type(v) == "table" and "a list of " .. #v or what(v))
  end
  for i = 1, n do
    if not is_int(v[i]) then
      bad(at, name, "%s[%d]: expected a whole number, got %s", label, i, what(v[i]))
    end
  end
  return v[1], v[2] or rest, v[3] or rest
end

--- Padding before and after each axis: a number, or a list of a number or a pair for each.
-- @treturn number,number,number,number,number,number
function window.padding(v, n, at, name)
  if v == nil then return 0, 0, 0, 0, 0, 0 end
  if type(v) ~= "table" then
    local a, b, c = window.numbers(v, n, 0, 0, at, name, "padding")
    return a, b, c, a, b, c
  end
  if #v ~= n then
    bad(at, name, "padding: expected a whole number or a list of %d, got a list of %d", n, #v)
  end
  local before, after = { 0, 0, 0 }, { 0, 0, 0 }
  for i = 1, n do
    local p = v[i]
    if type(p) == "table" and #p == 2 and is_int(p[1]) and is_int(p[2]) then
      before[i], after[i] = p[1], p[2]
    elseif is_int(p) then
      before[i], after[i] = p, p
    else
      bad(at, name, "padding[%d]: expected a whole number or a pair of them, got %s", i, what(p))
    end
  end
  return before[1], before[2], before[3], after[1], after[2], after[3]
end

--- Raise unless an option is absent, or true or false.
function window.flag(v, at, name, label)
  if v ~= nil and type(v) ~= "boolean" then
    bad(at, name, "%s: expected true or false, got %s", label, what(v))
  end
  return v
end

return window
