--- `mlua train`: registered parts, trained by a configuration (mlua.train).
-- @module mlua.cli.train
local files = require "mlua.ffi.files"

local M = {}

local function names_file(args)
  for _, word in ipairs(args) do
    if word == "--config" or word:find "^%-%-config=" then return true end
  end
  return false
end

--- Train.
-- @tparam {string,...} args  the folder of the run, unless it is left out; options of the flow
function M.main(args)
  local dir = args[1]
  if dir and not dir:find "^%-" then
    args = { "--run", dir, unpack(args, 2) }
    local own = dir:gsub("/+$", "") .. "/config.yaml"
    if not names_file(args) and files.look(own) == "file" then
      args = { "--config", own, unpack(args) }
    end
  end
  return require "mlua.flow.cli".main(require "mlua.train", args)
end

return M
