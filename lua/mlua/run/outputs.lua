--- The outputs of a run's task in the run's folder, beside what they came from: outputs/NAME.json.
--
-- They are links to the store's objects where that is possible, and take no room; else copies.
-- @module mlua.run.outputs
local files = require "mlua.ffi.files"
local formats = require "mlua.format"
local lfs = require "lfs"
local log = require "mlua.log".of "run"
local process = require "mlua.ffi.process"

local M = {}

local function copy(from, to, is_folder)
  if not is_folder and lfs.link(from, to) then return true end
  return process.run { "cp", is_folder and "-R" or "-p", "--", from, to }
end

--- Put outputs there. What stands in the way ends nothing: the store has them.
-- @tparam string dir          of the run
-- @tparam {table,...} outputs  as mlua.task.outputs parses them
-- @tparam Store store
function M.keep(dir, outputs, store)
  local folder = dir .. "/outputs"
  local ok, why = files.make_folders(folder)
  for _, output in ipairs(ok and outputs or {}) do
    local format = formats.get(output.format)
    if format and not format.memory then
      local to = folder .. "/" .. output.name .. format.extension
      local from = format.folder and store:folder(output.digest) or store:path(output.digest)
      files.remove(to)
      ok, why = copy(from, to, format.folder)
      if not ok then break end
    end
  end
  if not ok then log.warn("%s: %s", folder, tostring(why)) end
end

return M
