--- Numbers, durations and sizes as a person reads them.
-- @module mlua.ui.format
local M = {}

--- A count with its digits in threes: 45,840,617.
-- @tparam number n  rounded to an integer
-- @treturn string
function M.count(n)
  local s = ("%.0f"):format(n)
  local sign, digits = s:match("^(%-?)(%d+)$")
  if not digits then return s end
  digits = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return sign .. digits:gsub("^,", "")
end

local function three(x)
  if x >= 100 then return ("%.0f"):format(x) end
  return ("%." .. (x >= 10 and 1 or 2) .. "f"):format(x)
end

--- Three digits and a letter: 999, 61.2k, 1.40M, 2.05G.
-- @tparam number n
-- @treturn string
function M.short(n)
  local size = math.abs(n)
  if size < 999.5 then
    return n % 1 == 0 and ("%.0f"):format(n) or three(size):gsub("^", n < 0 and "-" or "", 1)
  end
  local sign = n < 0 and "-" or ""
  for _, unit in ipairs { "k", "M", "G" } do
    size = size / 1000
    if size < 999.5 then return sign .. three(size) .. unit end
  end
  return sign .. three(size / 1000) .. "T"
end

--- Bytes in powers of 1024: 512 B, 12.4 MiB.
-- @tparam number n
-- @treturn string
function M.bytes(n)
  if n < 1024 then return ("%d B"):format(n) end
  for _, unit in ipairs { "KiB", "MiB", "GiB" } do
    n = n / 1024
    if n < 999.5 then return three(n) .. " " .. unit end
  end
  return three(n / 1024) .. " TiB"
end

--- A duration: 350 µs, 12.4 ms, 4.21 s, 3:05, 2:03:05, 4 d 3 h.
-- @tparam number seconds
-- @treturn string
function M.duration(seconds)
  if seconds ~= seconds then return "?" end
  if seconds < 0 then return "-" .. M.duration(-seconds) end
  if seconds < 999.5e-6 then return ("%.0f µs"):format(seconds * 1e6) end
  if seconds < 0.9995 then return three(seconds * 1e3) .. " ms" end
  if seconds < 59.95 then return three(seconds) .. " s" end
  return M.clock(seconds)
end

--- A duration in whole seconds, for what counts down: 0:12, 3:05, 2:03:05, 4 d 3 h.
-- @tparam number seconds
-- @treturn string
function M.clock(seconds)
  if seconds ~= seconds or seconds == math.huge then return "?" end
  local s = math.floor(math.max(0, seconds) + 0.5)
  if s < 3600 then return ("%d:%02d"):format(s / 60, s % 60) end
  if s < 86400 then return ("%d:%02d:%02d"):format(s / 3600, s % 3600 / 60, s % 60) end
  return ("%d d %d h"):format(s / 86400, s % 86400 / 3600)
end

--- A part in percent: 34 %, 0.2 %.
-- @tparam number part  0 to 1
-- @treturn string
function M.percent(part)
  local p = part * 100
  return (p > 0 and p < 1 or p > 99 and p < 100) and ("%.1f %%"):format(p) or ("%.0f %%"):format(p)
end

return M
