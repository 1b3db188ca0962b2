--- Versions of what a result came from: this program, LuaJIT and the libraries that were at work.
-- @module mlua.ffi.versions
local core = require "mlua.ffi"
local ffi = require "ffi"

ffi.cdef [[
const char *gnu_get_libc_version(void);
const char *sqlite3_libversion(void);
const char *yaml_get_version_string(void);
]]

local M = {}

-- A library that a module of mlua's has opened already.
local function opened(module, name) return package.loaded[module] and ffi.load(name) end

--- By name, as texts. Libraries that nothing has asked for yet are left out.
-- @treturn table
function M.all()
  local all = { mlua = core.version(), lua = jit.version }
  all.onednn, all.cpu = ffi.string(core.C.ml_build_info()):match "^oneDNN ([^,]*),? ?(.*)$"
  local sqlite = opened("mlua.ffi.sqlite", "libsqlite3.so.0")
  local yaml = opened("mlua.ffi.yaml", "libyaml-0.so.2")
  if sqlite then all.sqlite = ffi.string(sqlite.sqlite3_libversion()) end
  if yaml then all.libyaml = ffi.string(yaml.yaml_get_version_string()) end
  all.glibc = ffi.string(ffi.C.gnu_get_libc_version())
  return all
end

return M
