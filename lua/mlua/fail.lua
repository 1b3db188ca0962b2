--- Ends a script for a mistake of its user: one line on standard error and a status, no traceback.
--
-- Inside the `mlua` program the error value is a table { user_error = message, status = status }
-- that the program prints as `mlua: message`. A plain luajit would add a traceback to it, so there
-- the line is written here.
-- @module mlua.fail
local fail = {}

local UserError = { __tostring = function(self) return self.user_error end }

--- The error value, for those who raise it themselves.
-- @tparam string message  one line
-- @tparam[opt=1] number status
-- @treturn table
function fail.value(message, status)
  return setmetatable({ user_error = message, status = status or 1 }, UserError)
end

--- Whether a caught error is a user's mistake.
-- @param e
-- @treturn boolean
function fail.is_user(e)
  return type(e) == "table" and e.user_error ~= nil
end

local function stop(message, status)
  if not fail.hosted() then
    io.stdout:flush()
    io.stderr:write("mlua: ", message, "\n")
    os.exit(status, true)
  end
  error(fail.value(message, status), 0)
end

--- Whether the `mlua` program, which knows these errors, runs the script.
-- @treturn boolean
function fail.hosted()
  return package.loaded["mlua.host"] ~= nil
end

--- Wrong usage: status 2.
-- @tparam string format  as string.format
-- @param ...
function fail.usage(format, ...)
  stop(select("#", ...) > 0 and format:format(...) or format, 2)
end

--- What was asked for cannot be done: status 1.
-- @tparam string format  as string.format
-- @param ...
function fail.run(format, ...)
  stop(select("#", ...) > 0 and format:format(...) or format, 1)
end

--- Pass on the first values, or fail with the second where the first is nil or false, as assert.
-- @param ok
-- @param message
-- @return ok, message, ...
function fail.assert(ok, message, ...)
  if not ok then stop(tostring(message), 1) end
  return ok, message, ...
end

return fail
