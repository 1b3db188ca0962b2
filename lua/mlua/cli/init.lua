--- The program's commands: `mlua new NAME` runs main of the module mlua.cli.new with { NAME }.
-- @module mlua.cli
local files = require "mlua.ffi.files"
local text = require "mlua.text"

local M = {}

local FOLDER = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

--- The names of all commands, sorted.
-- @treturn {string,...}
function M.names()
  local names = {}
  for _, file in ipairs(files.list(FOLDER) or {}) do
    local name = file:match "^(%l[%w_]*)%.lua$"
    if name and name ~= "init" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- What runs a command.
-- @tparam string name
-- @treturn function|string  main(args); or the end of a message on a word that is none
function M.find(name)
  for _, known in ipairs(M.names()) do
    if known == name then return require("mlua.cli." .. name).main end
  end
  local near = text.nearest(name, M.names())
  return near and (", did you mean the command '%s'?"):format(near) or ""
end

return M
