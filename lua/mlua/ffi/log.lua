--- Lines that libmlua's threads say (core/base/log.c).
-- @module mlua.ffi.log
local ffi = require "ffi"
local lib = require "mlua.ffi"

local log = {}

local C = lib.C
local line = ffi.new "ml_log_line"

--- The highest level of lines that are made from now on.
-- @tparam number level  1 (error) to 5 (trace)
function log.level(level) C.ml_log_level(level) end

--- Whether there are lines to take.
-- @treturn boolean
function log.waiting() return C.ml_log_waiting() > 0 end

--- The oldest line that nobody has taken; nil where there is none.
-- @treturn ?table  { level, module, origin, text, time, lost }
function log.take()
  if not C.ml_log_take(line) then return nil end
  return { level = line.level, module = ffi.string(line.module), origin = ffi.string(line.origin),
           text = ffi.string(line.text), time = line.time, lost = tonumber(line.lost) }
end

return log
