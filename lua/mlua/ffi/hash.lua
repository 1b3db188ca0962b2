--- SHA-256 (FIPS 180-4), by nettle.
-- @module mlua.ffi.hash
local ffi = require "ffi"
local check = require "mlua.check"

local hash = {}

ffi.cdef [[
void nettle_sha256_init(void *context);
void nettle_sha256_update(void *context, size_t length, const void *data);
void nettle_sha256_digest(void *context, size_t length, uint8_t *digest);
void nettle_base16_encode_update(char *text, size_t length, const uint8_t *bytes);
]]

local nettle = ffi.load "libnettle.so.8"
local context = ffi.new "uint64_t[32]" -- struct sha256_ctx takes 112 bytes
local out = ffi.new "uint8_t[32]"
local text = ffi.new "char[64]"

--- The digest of a string's bytes, or of those at a pointer.
-- @param s           a string, or a pointer
-- @tparam ?number n  bytes, with a pointer
-- @treturn string    64 hexadecimal digits
function hash.sha256(s, n)
  check.type(s, 1, "sha256", "s", n and "cdata" or "string")
  nettle.nettle_sha256_init(context)
  nettle.nettle_sha256_update(context, n or #s, s)
  nettle.nettle_sha256_digest(context, 32, out)
  nettle.nettle_base16_encode_update(text, 32, out)
  return ffi.string(text, 64)
end

return hash
