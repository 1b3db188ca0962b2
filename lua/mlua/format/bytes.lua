--- Whole files as strings, and files that are written piece by piece, for formats.
-- @module mlua.format.bytes
local files = require "mlua.ffi.files"
local store = require "mlua.ffi.store"

local bytes = {}

--- The code of damaged contents, ML_EFORMAT.
bytes.FORMAT = -7

local MOST = 2 ^ 31 - 2 ^ 16 -- what a string holds, and a little less

--- A regular file, opened, and its size.
-- @tparam string path
-- @return file
-- @treturn number  bytes
-- @return or nil, message, code
function bytes.open(path)
  local kind, size, code = files.look(path) -- the open of a pipe would wait
  if kind == nil then return nil, size, code end
  if kind == "folder" then return nil, path .. ": Is a directory", -6 end
  if kind == "other" then return nil, path .. ": not a regular file", -6 end
  local file, cause = io.open(path, "rb")
  if not file then return nil, cause, -6 end
  return file, size
end

--- All of a file. It is read, not mapped: one that is cut short meanwhile is an error.
-- @tparam string path
-- @treturn string
-- @return or nil, message, code
function bytes.read(path)
  local file, size, code = bytes.open(path)
  if not file then return nil, size, code end
  if size > MOST then
    file:close()
    return nil, ("%s: %.0f bytes are too many to read at once; at most %.0f"):format(path, size,
      MOST), bytes.FORMAT
  end
  local all, cause = "", nil
  if size > 0 then all, cause = file:read(size) end
  file:close()
  if cause then return nil, ("%s: %s"):format(path, cause), -6 end
  if not all or #all ~= size then
    return nil, path .. ": changed while it was read", bytes.FORMAT
  end
  return all
end

--- Write a file that appears whole or not at all, and waits for no disk.
-- @tparam string path
-- @tparam function fill  takes the file (mlua.ffi.store); → true, or nil, message, code. Where it
--   raises, the collector drops what was written
-- @treturn boolean  true; or nil, message, code
function bytes.write(path, fill)
  local file, message, code = store.create(path)
  if not file then return nil, message, code end
  local ok
  ok, message, code = fill(file)
  if ok then return file:finish() end
  file:abort()
  return nil, message, code
end

--- The same of one string.
-- @tparam string path
-- @tparam string text
-- @treturn boolean  true; or nil, message, code
function bytes.put(path, text)
  return bytes.write(path, function(file) return file:write(text) end)
end

--- Copy a regular file.
-- @tparam string from
-- @tparam string to
-- @treturn boolean  true; or nil, message, code
function bytes.copy(from, to)
  local source, size, code = bytes.open(from)
  if not source then return nil, size, code end
  local ok, message
  ok, message, code = bytes.write(to, function(file)
    local done, why, number = file:resize(size) -- a full disk shows before any work
    local left = size
    while done and left > 0 do
      local piece, cause = source:read(math.min(left, 2 ^ 20))
      if not piece then
        return nil, ("%s: %s"):format(from, cause or "cut short while it was copied"), -6
      end
      left = left - #piece
      done, why, number = file:write(piece)
    end
    return done, why, number
  end)
  source:close()
  return ok, message, code
end

return bytes
