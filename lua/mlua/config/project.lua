--- The files that hold for every recipe of a project: mlua.yaml, and mlua.local.yaml beside it,
-- which is kept out of git and says what differs from machine to machine (folders, devices).
-- @module mlua.config.project
local files = require "mlua.ffi.files"

local M = {}

local NAMES = { "mlua.yaml", "mlua.local.yaml" }

-- A path without "." and "..": they would be folders of their own on the way up.
local function plain(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then parts[#parts] = nil
    elseif part ~= "." then parts[#parts + 1] = part end
  end
  return "/" .. table.concat(parts, "/")
end

--- A path from the root, without "." and "..".
-- @tparam string path
-- @treturn string
function M.absolute(path)
  local here = require "lfs".currentdir() or ""
  return plain(path:sub(1, 1) == "/" and path or here .. "/" .. path)
end

--- Where something is that a file names, from where we are.
-- @tparam string file
-- @tparam string path  as the file has it
-- @treturn string
function M.beside(file, path)
  return path:sub(1, 1) == "/" and path or (file:match "^.*/" or "") .. path
end

-- Commands of the program that are flows, by their modules.
local COMMANDS = { train = "mlua.train" }

--- The module of the flow that a word names in a recipe's place, as `train`; nil where it is none,
-- or a file.
-- @tparam string name
-- @treturn ?string
function M.command(name)
  return COMMANDS[name] and files.look(name) ~= "file" and COMMANDS[name] or nil
end

--- Where the recipe is that a file names; a command is where it is.
-- @tparam string file
-- @tparam string named
-- @treturn string
function M.recipe(file, named)
  return M.command(named) and named or M.beside(file, named)
end

--- Those of a script: of the nearest folder that has one, from the script's upwards, but not beyond
-- one with `.git`, nor the home or root folder.
-- @tparam ?string script  a path; the working folder's where there is none
-- @treturn {string,...}   the project's first, then the machine's; as short paths as can be
function M.files(script)
  local here = require "lfs".currentdir() or "."
  local folder = M.absolute(script and script:match "^(.*)/[^/]*$" or ".")
  local home, first = os.getenv "HOME", folder
  while true do
    local found = {}
    for _, name in ipairs(folder ~= "/" and (folder ~= home or folder == first) and NAMES or {}) do
      local path = folder .. "/" .. name
      if files.look(path) then
        if path:sub(1, #here + 1) == here .. "/" then path = path:sub(#here + 2) end
        found[#found + 1] = path
      end
    end
    if found[1] or folder == "/" or files.look(folder .. "/.git") then return found end
    folder = folder:match "^(.+)/[^/]*$" or "/"
  end
end

return M
