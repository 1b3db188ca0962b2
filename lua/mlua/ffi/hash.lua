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
