--- Tensors by name in a safetensors file.
--
-- Reading maps the file: tensors stand on its pages, loading takes no copy, and what is written
-- into them stays in this process. The whole header is checked first; a damaged or hostile file is
-- an error with path and offset. Writing is durable unless that is not wanted: the path holds the
-- old file or the new one.
-- @module mlua.safetensors
-- @source https://github.com/huggingface/safetensors#format
local check = require "mlua.check"
local json = require "mlua.json"
local store = require "mlua.ffi.store"
local text = require "mlua.text"

local safetensors = {}

local concat, format, sort = table.concat, string.format, table.sort

-- The order of the data, as the reference library has it: widest first, so that all are aligned.
local RANK = { i64 = 1, f64 = 2, f32 = 3, i32 = 4, bf16 = 5, f16 = 6, u8 = 7, bool = 8 }

--- All tensors of a file.
-- @tparam string path
-- @treturn table  name → Tensor
-- @treturn table  the metadata, string → string
-- @return or nil, message, code
function safetensors.load(path)
  check.type(path, 1, "load", "path", "string")
  local list, metadata, code = store.safetensors(path, true)
  if not list then return nil, metadata, code end
  local tensors = {}
  for _, item in ipairs(list) do tensors[item.name] = item.tensor end
  return tensors, metadata
end

--- What a file holds, without its values.
-- @tparam string path
-- @treturn {table,...}  name, dtype, shape, offset and bytes, in the order of the data
-- @treturn table        the metadata
-- @return or nil, message, code
function safetensors.list(path)
  check.type(path, 1, "list", "path", "string")
  return store.safetensors(path, false)
end

-- -- writing --

local function check_arguments(path, tensors, metadata)
  local function wrong(ok, n, ...) check.arg_at(3, ok, n, "save", ...) end
  wrong(type(path) == "string", 1, "path: expected a string, got %s", check.what(path))
  wrong(type(tensors) == "table", 2, "tensors: expected a table, got %s", check.what(tensors))
  for name, t in pairs(tensors) do
    wrong(type(name) == "string", 2, "tensors: expected names as keys, got %s", check.what(name))
    wrong(name ~= "__metadata__" and text.is_utf8(name), 2, "tensors: '%s' cannot be a name", name)
    wrong(store.is_tensor(t), 2, "tensors: '%s': expected a tensor, got %s", name, check.what(t))
  end
  wrong(metadata == nil or type(metadata) == "table", 3, "metadata: expected a table, got %s",
    check.what(metadata))
  for key, value in pairs(metadata or {}) do
    wrong(type(key) == "string" and type(value) == "string", 3,
      "metadata: '%s': expected strings, got %s", tostring(key), check.what(value))
    wrong(text.is_utf8(key) and text.is_utf8(value), 3, "metadata: '%s': expected UTF-8", key)
  end
end

local function described(tensors)
  local list = {}
  for name, t in pairs(tensors) do
    local dtype, shape, pointer, bytes, keep = store.tensor_bytes(t)
    list[#list + 1] = { name = name, dtype = dtype, shape = shape, pointer = pointer,
                        bytes = bytes, keep = keep }
  end
  sort(list, function(a, b)
    if a.dtype ~= b.dtype then return RANK[a.dtype] < RANK[b.dtype] end
    return a.name < b.name
  end)
  return list
end

local function sizes(list)
  local out = {}
  for i, n in ipairs(list) do out[i] = format("%.0f", n) end
  return concat(out, ",")
end

local function header_of(list, metadata)
  local parts, offset = {}, 0
  if metadata and next(metadata) ~= nil then
    parts[1] = '"__metadata__":' .. json.encode(metadata)
  end
  for _, item in ipairs(list) do
    parts[#parts + 1] = format('%s:{"dtype":"%s","shape":[%s],"data_offsets":[%s]}',
      json.quote(item.name), store.safetensors_dtype(item.dtype), sizes(item.shape),
      sizes { offset, offset + item.bytes })
    offset = offset + item.bytes
  end
  local header = "{" .. concat(parts, ",") .. "}"
  header = header .. (" "):rep(-#header % 8)
  local length, n = {}, #header
  for i = 1, 8 do
    length[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return concat(length) .. header, offset
end

local function write(file, list, metadata, durable)
  local header, bytes = header_of(list, metadata)
  local ok, message, code = file:resize(#header + bytes) -- a full disk shows before any work
  if ok then ok, message, code = file:write(header) end
  for _, item in ipairs(list) do
    if not ok then break end
    ok, message, code = file:write(item.pointer, item.bytes)
  end
  if ok and durable then return file:commit() end
  if ok then return file:finish() end
  file:abort()
  return nil, message, code
end

--- The bytes of a file with these tensors, in pieces, for who writes it elsewhere.
-- @tparam table tensors        name → Tensor, of any strides
-- @tparam[opt] table metadata  string → string
-- @treturn {table,...}         { string } or { pointer, bytes }; they hold what they point to
function safetensors.pieces(tensors, metadata)
  check_arguments("", tensors, metadata)
  local list = described(tensors)
  local pieces = { { (header_of(list, metadata)) } }
  for _, item in ipairs(list) do pieces[#pieces + 1] = { item.pointer, item.bytes, item.keep } end
  return pieces
end

--- Whether `save` could write a path, as far as that shows before: its folder is there and takes
-- files, and nothing but a regular file has the name. What is there stays as it is.
-- @tparam string path
-- @treturn boolean  true; or nil, message, code
function safetensors.check_path(path)
  check.type(path, 1, "check_path", "path", "string")
  if path == "" then return nil, "expected the name of a file, got ''" end
  local file, message, code = store.create(path)
  if not file then return nil, message, code end
  file:abort()
  return true
end

--- Write tensors to a file. The same tensors and metadata give the same bytes.
-- @tparam string path
-- @tparam table tensors        name → Tensor, of any strides
-- @tparam[opt] table metadata  string → string
-- @tparam[opt] table options   `durable`: true, or false to wait for no disk: the file still
--   appears whole or not at all, but a crash of the machine may lose it
-- @treturn boolean             true; or nil, message, code
-- @raise bad argument on names that are not UTF-8 or are `__metadata__`, and on other types
function safetensors.save(path, tensors, metadata, options)
  check_arguments(path, tensors, metadata)
  options = check.options(options, { durable = "boolean" }, 4, "save")
  local list = described(tensors)
  local file, message, code = store.create(path)
  if not file then return nil, message, code end
  return write(file, list, metadata, options.durable ~= false)
end

return safetensors
