--- Facts about files, folders, locks, and many files made durable at once
-- (core/include/mlua_files.h).
--
-- Every function that can meet a failure of the world returns nil, message, code.
-- @module mlua.ffi.files
local ffi = require "ffi"
local check = require "mlua.check"
local lib = require "mlua.ffi"

local files = {}

local C, failed = lib.C, lib.failed
local facts = ffi.new "ml_file_facts"
local KIND = { [1] = "file", [2] = "folder", [3] = "other" }

--- What is at a path: false for nothing, else its kind, size and a stamp that changes when it does.
-- @tparam string path
-- @treturn string|boolean  "file", "folder", "other" or false
-- @treturn number          bytes
-- @treturn string          stamp: device, inode, size and time
function files.look(path)
  local code = C.ml_file_look(facts, path)
  if code ~= 0 then return failed(code) end
  if facts.kind == 0 then return false end
  return KIND[facts.kind], tonumber(facts.size),
    ("%d:%d:%d:%d"):format(tonumber(facts.device), tonumber(facts.inode), tonumber(facts.size),
      tonumber(facts.time))
end

--- The size of a regular file, or false where there is none: `look` without its stamp.
-- @tparam string path
-- @treturn number|boolean
function files.size(path)
  local code = C.ml_file_look(facts, path)
  if code ~= 0 then return failed(code) end
  return facts.kind == 1 and tonumber(facts.size)
end

--- When a file changed last, in seconds since 1970; false where there is none.
-- @tparam string path
-- @treturn number|boolean
function files.time(path)
  local code = C.ml_file_look(facts, path)
  if code ~= 0 then return failed(code) end
  return facts.kind ~= 0 and tonumber(facts.time) / 1e9
end

--- A folder and those above it, where they are missing.
-- @tparam string path
-- @treturn boolean  true
function files.make_folders(path)
  check.type(path, 1, "make_folders", "path", "string")
  local code = C.ml_make_folders(path)
  if code ~= 0 then return failed(code) end
  return true
end

--- The names in a folder, sorted, without . and ..
-- @tparam string path
-- @treturn {string,...}
function files.list(path)
  local ok, next_name, state = pcall(require "lfs".dir, path)
  if not ok then return nil, (next_name:gsub("^cannot open ", "")) end
  local names = {}
  for name in next_name, state do
    if name ~= "." and name ~= ".." then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Remove a file or a whole folder; true, too, where there is nothing.
-- @tparam string path
-- @treturn boolean  true
function files.remove(path)
  if require "lfs".symlinkattributes(path, "mode") == "directory" then
    for _, name in ipairs(files.list(path) or {}) do
      local ok, why = files.remove(path .. "/" .. name)
      if not ok then return nil, why end
    end
  end
  local ok, why, code = os.remove(path)
  if ok or code == 2 then return true end
  return nil, why
end

ffi.cdef [[
int mkdir(const char *path, unsigned mode);
int truncate(const char *path, long size);
]]

--- A folder that is its owner's alone, where there is nothing yet.
-- @tparam string path
-- @treturn boolean  true; false where something is there
function files.new_folder(path)
  local EXISTS = 17
  if ffi.C.mkdir(path, 448) == 0 then return true end -- 0700
  if ffi.errno() == EXISTS then return false end
  return nil, ("%s: %s"):format(path, require "mlua.ffi.process".cause())
end

--- Cut a file short.
-- @tparam string path
-- @tparam number size  bytes
-- @treturn boolean  true
function files.truncate(path, size)
  if ffi.C.truncate(path, size) == 0 then return true end
  return nil, ("%s: %s (truncate)"):format(path, require "mlua.ffi.process".cause())
end

--- Make many written files durable under their names at once (mlua_files.h, ml_publish).
-- @tparam {string,...} from
-- @tparam {string,...} to
-- @treturn boolean  true
function files.publish(from, to)
  local n = #from
  local a, b = ffi.new("const char *[?]", n + 1), ffi.new("const char *[?]", n + 1)
  for i = 1, n do a[i - 1], b[i - 1] = from[i], to[i] end
  local code = C.ml_publish(a, b, n)
  if code ~= 0 then return failed(code) end
  return from ~= nil and to ~= nil -- both lists, and so their strings, were needed until here
end

ffi.cdef [[
int open(const char *path, int flags, ...);
long pwrite(int fd, const void *from, size_t n, long at);
]]

--- A file whose bytes are set one by one, made where it is missing.
-- @tparam string path
-- @treturn function  takes a place, from 0, and a character
-- @treturn number    the open file
function files.bytes(path)
  local fd = ffi.C.open(path, 0x80041, ffi.cast("int", 438)) -- write, create, close on exec; 0666
  if fd < 0 then return nil, path .. ": cannot be written to" end
  return function(at, character) ffi.C.pwrite(fd, character, 1, at) end, fd
end

-- -- objects --

local Objects = {}
Objects.__index = Objects

local line, size = ffi.new "int64_t[1]", ffi.new "int64_t[1]"

--- A folder of objects under their digests.
-- @tparam string path
-- @treturn Objects
function files.objects(path)
  local fd = ffi.new "int[1]"
  local code = C.ml_folder_open(fd, path)
  if code ~= 0 then return failed(code) end
  return setmetatable({ fd = fd[0] }, Objects)
end

--- Whether all objects that a text of outputs names are there, with their sizes (mlua_files.h).
-- @tparam string text
-- @treturn boolean
-- @treturn number  the line of the first that is not
-- @treturn string  "missing" or "damaged"
function Objects:look(text)
  local code = C.ml_objects_look(self.fd, text, #text, line, size)
  if code == 0 then return true end
  return false, tonumber(line[0]), size[0] < 0 and "missing" or "damaged"
end

--- Whether all objects of many texts are there, by a thread while the caller goes on.
-- @tparam string texts  one after the other
-- @treturn function  waits; whether they are
function Objects:look_ahead(texts)
  local look = C.ml_look_begin(self.fd, texts, #texts)
  if look == nil then return function() return (self:look(texts)) end end
  look = ffi.gc(look, C.ml_look_end)
  return function() return C.ml_look_end(ffi.gc(look, nil)) end
end

-- -- locks --

local Locks = {}
Locks.__index = Locks

--- Open a file of locks.
-- @tparam string path
-- @treturn Locks
function files.locks(path)
  local fd = ffi.new "int[1]"
  local code = C.ml_locks_open(fd, path)
  if code ~= 0 then return failed(code) end
  return setmetatable({ fd = fd[0] }, Locks)
end

-- The byte that stands for a digest.
local function place(digest)
  return tonumber(digest:sub(1, 13), 16)
end

--- Take the lock of a digest.
-- @tparam string digest  hexadecimal
-- @tparam ?boolean wait    until it is free
-- @tparam ?boolean shared  with all who take it so
-- @treturn boolean  false: another process has it
function Locks:take(digest, wait, shared)
  local code = C.ml_lock(self.fd, place(digest), shared or false, wait or false)
  if code < 0 then return failed(code) end
  return code == 0
end

--- Give it back.
-- @tparam string digest
-- @treturn boolean  true
function Locks:give(digest)
  local code = C.ml_unlock(self.fd, place(digest))
  if code ~= 0 then return failed(code) end
  return true
end

return files
