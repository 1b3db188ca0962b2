--- Errors of the functions that a recipe has: the user's own lines, and nothing of mlua's.
-- @module mlua.task.trace
local M = {}

local core = require "mlua.ffi"

local MOST = 60 -- levels that are looked at

local function is_own(info) return core.is_own(info.source) end

-- Whether this level is where mlua has called a recipe's function, protected.
local function is_boundary(info, level)
  if info.func ~= xpcall then return false end
  local caller = debug.getinfo(level + 2, "S")
  return not caller or is_own(caller)
end

--- The level of the nearest function that is not mlua's, as check.arg_at counts it where this is
-- called; nil where there is none up to the call of the recipe's function.
-- @treturn ?number
-- @treturn ?string  its "file:line"
function M.level()
  for level = 3, MOST do
    local info = debug.getinfo(level, "Slf")
    if not info or is_boundary(info, level) then return nil end
    if info.what ~= "C" and not is_own(info) then
      return level - 2, ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
end

local function frame(info)
  if info.what == "C" then return ("[C]: in function '%s'"):format(info.name or "?") end
  local place = ("%s:%d: in "):format(info.short_src, info.currentline)
  if info.what == "main" then return place .. "main chunk" end
  if info.name then return ("%sfunction '%s'"):format(place, info.name) end
  return ("%sfunction <%s:%d>"):format(place, info.short_src, info.linedefined)
end

--- A handler for xpcall: the error as it is where it is a table, else its message and `trace`, the
-- message with the user's calls, from the nearest on. What one line says needs no trace: a mistake
-- that is placed already, in the run function itself.
-- @param e
-- @treturn table
function M.handler(e)
  if type(e) == "table" and (e.message or e.user_error) then return e end
  local message, lines, last = tostring(e), {}, 0
  for level = 2, MOST do
    local info = debug.getinfo(level, "Snlf")
    if not info or is_boundary(info, level) then break end
    local own = is_own(info)
    if #lines > 0 or info.what ~= "C" and not own then lines[#lines + 1] = frame(info) end
    if info.what ~= "C" and not own then last = #lines end
  end
  for i = #lines, last + 1, -1 do lines[i] = nil end
  if #lines == 0 or #lines == 1 and message:sub(1, #lines[1]:match "^.-:%d+:") ==
    lines[1]:match "^.-:%d+:" then
    return { message = message, trace = message }
  end
  return { message = message,
           trace = message .. "\nstack traceback:\n\t" .. table.concat(lines, "\n\t") }
end

return M
