--- Files for specs: temporary folders, and data from outside the project.
local lfs = require "lfs"
local process = require "spec.support.process"

local files = {}

--- A new empty folder; remove it with files.remove.
function files.folder()
  local path = os.tmpname()
  os.remove(path)
  assert(lfs.mkdir(path))
  return path
end

--- Removes a file, or a folder and all in it.
function files.remove(path)
  os.execute("rm -rf -- " .. process.quote(path))
end

function files.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

function files.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function files.exists(path)
  return lfs.attributes(path, "mode") ~= nil
end

--- Path of outside data, below MLUA_TEST_DATA (../shared/data); nil where it is absent.
-- @usage local path = files.data("clicks/census.tsv") or pending("no clicks/census.tsv")
function files.data(name)
  local path = (os.getenv("MLUA_TEST_DATA") or "../shared/data") .. "/" .. name
  return files.exists(path) and path or nil
end

return files
