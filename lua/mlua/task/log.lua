--- What a run function writes, kept beside what it shows: the last words of one that fails.
--
-- While it is on, `print`, `io.write` and the `write` of standard output and error keep a copy.
-- What C writes by itself is not seen; a task in a process of its own is read through a pipe.
-- @module mlua.task.log
local log = {}

local MOST = 65536 -- bytes that are kept

local kept, size -- nil: it is off

-- What is written on standard output goes to the log of a run, too (mlua.log).
local function keep(text, to_log)
  local of_runs = to_log and package.loaded["mlua.log"]
  if of_runs then of_runs.output(text) end
  kept[#kept + 1], size = text, size + #text
  if size > 2 * MOST then
    local whole = table.concat(kept):sub(-MOST)
    kept, size = { whole }, #whole
  end
end

local function joined(separator, ...)
  local parts = { ... }
  for i = 1, select("#", ...) do parts[i] = tostring(parts[i]) end
  return table.concat(parts, separator)
end

local methods = getmetatable(io.stdout).__index

--- Call f and keep what it writes.
-- @tparam function f  is called without arguments
-- @treturn string  what it wrote, at most the last 64 KiB
function log.of(f)
  if kept then -- one inside another: of both
    f()
    return ""
  end
  local print_before, write_before, method_before = print, io.write, methods.write
  local execute_before = os.execute
  kept, size = {}, 0
  print = function(...) -- luacheck: ignore
    keep(joined("\t", ...) .. "\n", true)
    print_before(...)
  end
  io.write = function(...) -- luacheck: ignore
    keep(joined("", ...), true)
    return write_before(...)
  end
  os.execute = function(command) -- luacheck: ignore
    local status = execute_before(command)
    if command and (status % 128 == 2 or status == 130 * 256) then -- Ctrl-C's: for us, too
      require "mlua.ffi.process".interrupt()
    end
    return status
  end
  methods.write = function(file, ...)
    if file == io.stdout or file == io.stderr then keep(joined("", ...), file == io.stdout) end
    return method_before(file, ...)
  end
  local ok, why = xpcall(f, debug.traceback)
  print, io.write, methods.write = print_before, write_before, method_before -- luacheck: ignore
  os.execute = execute_before -- luacheck: ignore
  local text = table.concat(kept):sub(-MOST)
  kept = nil
  if not ok then error(why, 0) end
  return text
end

return log
