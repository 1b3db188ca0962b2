--- What a task takes of a machine while it runs: `{ gpu = 1, memory = "4G" }`.
-- @module mlua.task.resources
local check = require "mlua.check"
local core = require "mlua.ffi"

local M = {}

local memory -- of this machine, in bytes, once asked

local UNITS = { K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }

--- An amount: a number, or text as "4G" (units of 1024).
-- @tparam number|string value
-- @treturn ?number  nil where it is none
function M.amount(value)
  if type(value) == "number" then return value >= 0 and value or nil end
  if type(value) ~= "string" then return nil end
  local digits, unit = value:match "^(%d+%.?%d*)([KMGT]?)B?$"
  return digits and tonumber(digits) * (UNITS[unit] or 1)
end

--- Amounts by name, checked.
-- @tparam ?table resources
-- @tparam string task  for messages
-- @treturn table
function M.of(resources, task)
  local all = {}
  for name, value in pairs(resources or {}) do
    all[name] = M.amount(value)
    core.expect(all[name], 2, "task",
      "%s: resources: %s: expected an amount as 2 or '4G', got %s", task, tostring(name),
      check.what(value))
  end
  return all
end

--- What there is of each name: given, else memory as the machine has it, and 1 of all else.
-- @tparam table given
-- @tparam string name
-- @treturn number
function M.available(given, name)
  if given[name] then return given[name] end
  if name ~= "memory" then return 1 end
  if not memory then
    local file = io.open "/proc/meminfo"
    local kilobytes = file and file:read("*a"):match "MemTotal:%s+(%d+) kB"
    if file then file:close() end
    memory = kilobytes and tonumber(kilobytes) * 1024 or math.huge
  end
  return memory
end

return M
