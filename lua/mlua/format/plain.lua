--- The formats text, file, folder and memory: what is kept as it is.
-- @module mlua.format.plain
local bytes = require "mlua.format.bytes"
local check = require "mlua.check"

local plain = {}

local function check_text(value)
  if type(value) ~= "string" then return "expected a string, got " .. check.what(value) end
end

local function check_path(value)
  if type(value) ~= "string" or value == "" or value:find("%z") then
    return "expected a path, got " .. (value == "" and "''" or check.what(value))
  end
end

local function check_file(value)
  local problem = check_path(value)
  if problem then return problem end
  local file, message = bytes.open(value)
  if not file then return message end
  file:close()
end

local function check_folder(value)
  local problem = check_path(value)
  if problem then return problem end
  local file, message = io.open(value .. "/.", "rb") -- of all there is, a folder alone has this
  if not file then return (message:gsub("/%.: ", ": ", 1)) end
  file:close()
end

-- The path itself, once it is what it should be.
local function checked(check_it)
  return function(path)
    local problem = check_it(path)
    if problem then return nil, problem, -6 end
    return path
  end
end

plain.formats = {
  { "text", {
    doc = "A string, byte for byte.", extension = ".txt",
    takes = function(value) return type(value) == "string" end,
    check = check_text, load = bytes.read,
    save = function(value, path) return bytes.put(path, value) end,
  } },
  { "file", {
    doc = "A file, by its path: it is copied; load gives the path of the copy, to be read only.",
    check = check_file, save = bytes.copy, load = checked(check_file),
  } },
  { "folder", {
    doc = "A folder with all in it, by its path.", folder = true,
    check = check_folder, load = checked(check_folder),
  } },
  { "memory", { doc = "Any value, in memory only: another process makes it again.",
                memory = true } },
}

return plain
