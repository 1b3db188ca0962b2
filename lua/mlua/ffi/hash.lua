--- SHA-256 of strings, memory and files (core/store/sha256.c).
-- @module mlua.ffi.hash
local ffi = require "ffi"
local check = require "mlua.check"
local lib = require "mlua.ffi"

local hash = {}

local C, string_of = lib.C, ffi.string
local hex = ffi.new "char[64]"
local size = ffi.new "int64_t[1]"

--- Of a string, or of n bytes at a pointer.
-- @tparam string|cdata data
-- @tparam ?number n
-- @treturn string  64 hexadecimal digits
function hash.sha256(data, n)
  if not n then check.type(data, 1, "sha256", "data", "string") end
  C.ml_sha256(hex, data, n or #data)
  return string_of(hex, 64)
end

local joined, room = ffi.new("char[?]", 4096), 4096

--- Of strings and whole numbers, a line each but for the last's end: table.concat(list, "\n", 1, n)
-- without the string.
-- @tparam {string|number,...} list
-- @tparam number n
-- @treturn string
function hash.lines(list, n)
  local at = 0
  for i = 1, n do
    local item = list[i]
    if type(item) == "number" then item = tostring(item) end
    local length = #item
    if at + length + 1 > room then
      room = 2 * (at + length + 1)
      local larger = ffi.new("char[?]", room)
      ffi.copy(larger, joined, at)
      joined = larger
    end
    ffi.copy(joined + at, item, length)
    at = at + length + 1
    joined[at - 1] = 10
  end
  C.ml_sha256(hex, joined, at - 1)
  return string_of(hex, 64)
end

--- The first 52 bits of a digest, as a number.
-- @tparam string digest  64 hexadecimal digits
-- @treturn number
function hash.key(digest)
  check.arg_at(2, #digest == 64, 1, "key", "expected 64 digits, got %d", #digest)
  return C.ml_digest_key(digest)
end

--- Whether a text is the one that was sealed under an identity (core/include/mlua_files.h).
-- @param seal        a string, or a pointer
-- @tparam number n   its bytes
-- @tparam string id  64 hexadecimal digits
-- @param text        a string, or a pointer
-- @tparam number n_text
-- @treturn boolean
function hash.sealed(seal, n, id, text, n_text)
  return #id == 64 and C.ml_sealed(seal, n, id, text, n_text)
end

--- Of a file's bytes.
-- @tparam string path
-- @treturn string  64 hexadecimal digits; or nil, message, code
-- @treturn number  bytes
function hash.file(path)
  check.type(path, 1, "file", "path", "string")
  local code = C.ml_sha256_file(hex, size, path)
  if code ~= 0 then return lib.failed(code) end
  return string_of(hex, 64), tonumber(size[0])
end

return hash
