--- Durable files, mapped files and safetensors headers, from core/store.
--
-- Every function that can meet a failure of the world returns nil, message, code.
-- @module mlua.ffi.store
local ffi = require "ffi"
local check = require "mlua.check"
local lib = require "mlua.ffi"

local store = {}

local C = lib.C
local new, gc = ffi.new, ffi.gc

local failure = lib.failed

-- Bytes and their number, of a string or of a pointer with a count.
local function bytes_of(data, n, position, name)
  if type(data) == "string" then return data, #data end
  check.arg_at(2, type(data) == "cdata" and type(n) == "number", position, name,
    "data: expected a string, or a pointer and a number of bytes")
  return data, n
end

-- -- durable files --

local File = {}
File.__index = File

--- A file that appears at `path` whole, or not at all: see core/include/mlua_store.h.
-- @tparam string path
-- @treturn File  to be ended by commit, finish or abort
function store.create(path)
  check.type(path, 1, "create", "path", "string")
  local out = new("ml_file *[1]")
  local code = C.ml_file_create(out, path)
  if code ~= 0 then return failure(code) end
  return setmetatable({ handle = gc(out[0], C.ml_file_abort) }, File)
end

local function handle_of(self, name)
  check.arg_at(2, self.handle, 1, name, "file: already committed or aborted")
  return self.handle
end

--- Append.
-- @param data            a string, or a pointer
-- @tparam ?number n      bytes, with a pointer
-- @treturn boolean       true
function File:write(data, n)
  local handle = handle_of(self, "write")
  data, n = bytes_of(data, n, 2, "write")
  local code = C.ml_file_write(handle, data, n)
  if code ~= 0 then return failure(code) end
  return true
end

--- Write at an offset; the end that `write` appends to stays.
-- @tparam number offset  bytes from the start
-- @param data
-- @tparam ?number n
-- @treturn boolean       true
function File:write_at(offset, data, n)
  local handle = handle_of(self, "write_at")
  check.int(offset, 2, "write_at", "offset", 0)
  data, n = bytes_of(data, n, 3, "write_at")
  local code = C.ml_file_pwrite(handle, data, n, offset)
  if code ~= 0 then return failure(code) end
  return true
end

--- Set the size: grow, with disk space reserved, or cut.
-- @tparam number size  bytes
-- @treturn boolean     true
function File:resize(size)
  local handle = handle_of(self, "resize")
  check.int(size, 2, "resize", "size", 0)
  local code = C.ml_file_resize(handle, size)
  if code ~= 0 then return failure(code) end
  return true
end

--- Where the next write goes, in bytes from the start.
function File:tell()
  return tonumber(C.ml_file_tell(handle_of(self, "tell")))
end

local function end_file(self, handle, call)
  self.handle = nil
  local code = call(gc(handle, nil))
  if code ~= 0 then return failure(code) end
  return true
end

--- Make it durable under its name. Whatever comes of it, the file is closed.
-- @treturn boolean  true
function File:commit()
  return end_file(self, handle_of(self, "commit"), C.ml_file_commit)
end

--- Give it its name, whole, and wait for no disk: a crash of the machine may lose it.
-- @treturn boolean  true
function File:finish()
  return end_file(self, handle_of(self, "finish"), C.ml_file_finish)
end

--- Drop it; what was at its path before stays. Fine after a commit.
function File:abort()
  local handle = self.handle
  if handle then C.ml_file_abort(gc(handle, nil)) end
  self.handle = nil
end

--- A whole durable file from a string.
-- @tparam string path
-- @tparam string data
-- @treturn boolean  true
function store.put(path, data)
  check.type(path, 1, "put", "path", "string")
  check.type(data, 2, "put", "data", "string")
  local code = C.ml_store_put(path, data, #data)
  if code ~= 0 then return failure(code) end
  return true
end

--- Remove what writers that died left in a directory.
-- @tparam string dir
-- @treturn number  files removed
function store.sweep(dir)
  check.type(dir, 1, "sweep", "dir", "string")
  local count = new("int64_t[1]")
  local code = C.ml_store_sweep(dir, count)
  if code ~= 0 then return failure(code) end
  return tonumber(count[0])
end

-- -- files that grow by lines --

local Lines = {}
Lines.__index = Lines

--- A file that lines are added to, made where it is missing. One writer at a time.
-- @tparam string path
-- @treturn Lines
function store.append(path)
  check.type(path, 1, "append", "path", "string")
  local out = new("ml_append *[1]")
  local code = C.ml_append_open(out, path)
  if code ~= 0 then return failure(code) end
  return setmetatable({ handle = gc(out[0], C.ml_append_close) }, Lines)
end

--- Add text: all of it, or none where that fails.
-- @tparam string text
-- @treturn boolean  true
function Lines:write(text)
  local code = C.ml_append_write(self.handle, text, #text)
  if code ~= 0 then return failure(code) end
  return true
end

--- Its bytes.
-- @treturn number
function Lines:size() return tonumber(C.ml_append_size(self.handle)) end

--- No more is added. Fine if it is closed already.
function Lines:close()
  if self.handle then C.ml_append_close(gc(self.handle, nil)) end
  self.handle = nil
end

-- -- mapped files --

local Map = {}
Map.__index = Map

--- Map a whole file. Fields `data` (void *) and `size`; unmapped when collected and no tensor
-- stands on it.
-- @tparam string path
-- @tparam[opt] table options  `copy`: writable, changes stay in this process; `sequential`
-- @treturn Map
function store.map(path, options)
  check.type(path, 1, "map", "path", "string")
  options = check.options(options, { copy = "boolean", sequential = "boolean" }, 2, "map")
  local out = new("ml_map *[1]")
  local flags = (options.copy and 1 or 0) + (options.sequential and 2 or 0)
  local code = C.ml_map_open(out, path, flags)
  if code ~= 0 then return failure(code) end
  local handle = gc(out[0], C.ml_map_release)
  return setmetatable({ handle = handle, data = handle.data, size = tonumber(handle.size) }, Map)
end

--- Bytes as a string; fewer than asked where the file ends.
-- @tparam number offset  from 0
-- @tparam number n
-- @treturn string
function Map:bytes(offset, n)
  check.int(offset, 2, "bytes", "offset", 0)
  check.int(n, 3, "bytes", "n", 0)
  n = math.min(n, self.size - offset)
  if n <= 0 then return "" end
  return ffi.string(ffi.cast("const char *", self.data) + offset, n)
end

--- A tensor over the file's bytes (mlua_store.h, ml_map_tensor); the map must be a `copy`.
-- @tparam number offset
-- @tparam string dtype
-- @tparam {number,...} shape     at most 8
-- @tparam[opt=false] boolean fortran  the first axis varies fastest: a view with such strides
-- @treturn Tensor
function Map:tensor(offset, dtype, shape, fortran)
  local n = #shape
  local sizes, strides, stride = new("int64_t[8]"), new("int64_t[8]"), 1
  for i = 1, n do
    sizes[fortran and n - i or i - 1] = shape[i]
    strides[i - 1] = stride
    stride = stride * math.max(shape[i], 1)
  end
  local out = lib.new_ref()
  local code = C.ml_map_tensor(out, self.handle, offset, lib.dtype_number[dtype], n, sizes)
  if code ~= 0 then return failure(code) end
  if not fortran or n < 2 then return lib.own(out) end
  local view = lib.new_ref()
  for i = 1, n do sizes[i - 1] = shape[i] end
  code = C.ml_tensor_view(view, out, n, sizes, strides, 0)
  C.ml_tensor_free(out) -- the view keeps the memory
  if code ~= 0 then return failure(code) end
  return lib.own(view)
end

-- -- tensors as bytes --

--- Name of a tensor's dtype, its shape, a pointer to its values and their bytes, in C order.
-- The pointer is good while `keep`, the last value, lives.
-- @tparam Tensor t
-- @treturn string dtype
-- @treturn {number,...} shape
-- @return pointer
-- @treturn number bytes
-- @treturn Tensor keep
function store.tensor_bytes(t)
  local info, keep = lib.info(t), t
  local shape = {}
  for i = 1, info.ndim do shape[i] = tonumber(info.shape[i - 1]) end
  if not info.contiguous then
    keep = lib.new_ref()
    lib.check(C.ml_tensor_new(keep, info.dtype, info.ndim, info.shape))
    keep = lib.own(keep)
    lib.check(C.ml_tensor_copy(keep, t))
    info = lib.info(keep)
  end
  local bytes = tonumber(info.count * C.ml_dtype_size(info.dtype))
  return lib.dtypes[info.dtype], shape, info.data, bytes, keep
end

--- Whether a value is a tensor.
store.is_tensor = lib.is_tensor

-- -- safetensors --

--- What is in a safetensors file.
-- @tparam string path
-- @tparam[opt=false] boolean values  also the tensors
-- @treturn {table,...}  in the order of the data: name, dtype, shape, offset, bytes and `tensor`
-- @treturn table        the metadata, string → string
function store.safetensors(path, values)
  local out = new("ml_safetensors *[1]")
  local code = C.ml_safetensors_open(out, path)
  if code ~= 0 then return failure(code) end
  local file = gc(out[0], C.ml_safetensors_close)
  local entry = new("ml_safetensor")
  local list, metadata = {}, {}
  for i = 1, tonumber(C.ml_safetensors_count(file)) do
    code = C.ml_safetensors_entry(file, i - 1, entry)
    if code ~= 0 then return failure(code) end
    local shape = {}
    for d = 1, entry.ndim do shape[d] = tonumber(entry.shape[d - 1]) end
    local item = { name = ffi.string(entry.name, entry.name_len), dtype = lib.dtypes[entry.dtype],
                   shape = shape, offset = tonumber(entry.offset), bytes = tonumber(entry.bytes) }
    if values then
      local ref = lib.new_ref()
      code = C.ml_safetensors_tensor(file, i - 1, ref)
      if code ~= 0 then return failure(code) end
      item.tensor = lib.own(ref)
    end
    list[i] = item
  end
  local at, lengths = new("int64_t[1]"), new("int64_t[2]")
  local key, value = new("const char *[1]"), new("const char *[1]")
  while C.ml_safetensors_metadata(file, at, key, lengths, value, lengths + 1) == 0 do
    metadata[ffi.string(key[0], lengths[0])] = ffi.string(value[0], lengths[1])
  end
  C.ml_safetensors_close(gc(file, nil))
  return list, metadata
end

--- The name that safetensors files have for a dtype.
-- @tparam string dtype
-- @treturn string
function store.safetensors_dtype(dtype)
  return ffi.string(C.ml_safetensors_dtype(lib.dtype_number[dtype]))
end

-- -- snapshots --

local Snapshot = {}
Snapshot.__index = Snapshot

--- What copies tensors at once and writes them in the background (core/include/mlua_store.h).
-- @treturn Snapshot
function store.snapshot()
  local out = new("ml_snapshot *[1]")
  local code = C.ml_snapshot_new(out)
  if code ~= 0 then return failure(code) end
  return setmetatable({ handle = gc(out[0], C.ml_snapshot_free) }, Snapshot)
end

--- Begin to write; the pieces may change as soon as this returns.
-- @tparam {table,...} pieces  { string } or { pointer, bytes }
-- @tparam string path
-- @tparam string record       the path of its record
-- @tparam string head         what the record says before the digest of the pieces
-- @tparam string tail         and after it
-- @tparam ?string also        a file to be made durable before the record is
-- @treturn boolean  true
function Snapshot:write(pieces, path, record, head, tail, also)
  local n = #pieces
  local data, bytes = new("const void *[?]", n), new("int64_t[?]", n)
  for i, piece in ipairs(pieces) do
    data[i - 1] = ffi.cast("const void *", piece[1])
    bytes[i - 1] = piece[2] or #piece[1]
  end
  local code = C.ml_snapshot_write(self.handle, data, bytes, n, path, record, head, tail, also)
  if code ~= 0 then return failure(code) end
  return true
end

--- Whether a write is under way.
-- @treturn boolean
function Snapshot:busy() return C.ml_snapshot_busy(self.handle) end

--- Wait for it; what came of it is told once.
-- @tparam ?number seconds  at most; none: however long
-- @treturn boolean  true: all is durable, or there was nothing to write; false: it is under way
--   still; nil, message, code
function Snapshot:wait(seconds)
  local code = C.ml_snapshot_wait(self.handle, seconds or -1)
  if code == C.ML_END then return false end
  if code ~= 0 then return failure(code) end
  return true
end

-- -- faults, for tests --

local FAULTS = { any = C.ML_FAULT_ANY, open = C.ML_FAULT_OPEN, write = C.ML_FAULT_WRITE,
                 resize = C.ML_FAULT_RESIZE, fsync = C.ML_FAULT_FSYNC, rename = C.ML_FAULT_RENAME,
                 map = C.ML_FAULT_MAP }

--- Make the n-th call of an operation fail (mlua_store.h, faults).
-- @tparam ?string op     any, open, write, resize, fsync, rename or map; nil: none shall fail
-- @tparam ?number n      from 1
-- @tparam ?number errno  0 makes that write a short one
function store.fail_at(op, n, errno)
  C.ml_store_fail_at(FAULTS[op or "any"], op and n or 0, errno or 0)
end

--- Calls of an operation since the last fail_at.
-- @tparam[opt="any"] string op
-- @treturn number
function store.calls(op)
  return tonumber(C.ml_store_calls(FAULTS[op or "any"]))
end

return store
