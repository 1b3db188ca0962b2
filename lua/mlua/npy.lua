--- One tensor in a NumPy .npy file.
--
-- Reads formats 1.0, 2.0 and 3.0, little-endian, C or Fortran order (which becomes a transposed
-- view), without a copy; writes format 1.0, durably, as numpy.save does. Pickled objects are never
-- read. A damaged or hostile file is an error with path and offset.
-- @module mlua.npy
-- @source https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
local check = require "mlua.check"
local store = require "mlua.ffi.store"

local npy = {}

local concat, format = table.concat, string.format

local FORMAT = -7 -- ML_EFORMAT
local MAGIC = "\147NUMPY"
local MOST = 65536 -- of a header; the numbers of 8 dimensions need less than 300 bytes

local DESCR = { f64 = "<f8", f32 = "<f4", f16 = "<f2", i64 = "<i8", i32 = "<i4", u8 = "|u1",
                bool = "|b1" }
local DTYPE = { ["<u1"] = "u8", ["?"] = "bool", ["|?"] = "bool", ["<b1"] = "bool" }
for dtype, descr in pairs(DESCR) do DTYPE[descr] = dtype end

-- -- the header: a Python dictionary of a string, a boolean and a tuple of integers --

local function shown(text)
  return (text:sub(1, 40):gsub("[^\32-\126]", "?"))
end

-- Raises a table { offset, message }, for pcall in npy.load.
local function fail(offset, ...)
  error({ offset = offset, message = format(...) }, 0)
end

-- Reads the literal `text`, which starts at `base` in the file.
local function read_dictionary(text, base)
  local at = 1
  local function take(pattern)
    local s, e = text:match("^%s*(" .. pattern .. ")()", at)
    if s then at = e end
    return s
  end
  local function here()
    at = text:match("^%s*()", at)
    return base + at - 1
  end
  local function expect(pattern, what)
    local got = take(pattern)
    if not got then
      fail(here(), "expected %s in the header, got '%s'", what, shown(text:sub(at)))
    end
    return got
  end
  local function tuple()
    local sizes = {}
    expect("%(", "'('")
    while not take("%)") do
      local start = here()
      local digits = expect("%d+", "a size"):gsub("^0+(%d)", "%1")
      if #digits > 15 then fail(start, "a size too large") end
      sizes[#sizes + 1] = tonumber(digits)
      if not take(",") then
        if #sizes == 1 then expect(",", "','") end
        expect("%)", "')'")
        break
      end
    end
    return sizes
  end
  local header = {}
  expect("{", "'{'")
  while not take("}") do
    local start = here()
    local key = expect("'[^'\\]*'", "a key"):sub(2, -2)
    if header[key] ~= nil then fail(start, "twice the key '%s'", shown(key)) end
    expect(":", "':'")
    if key == "descr" then
      if text:match("^%s*[%[(]", at) then fail(here(), "a structured dtype; not read") end
      header.descr = expect("'[^'\\]*'", "a dtype"):sub(2, -2)
    elseif key == "fortran_order" then
      header.fortran_order = expect("%a+", "True or False")
      if header.fortran_order ~= "True" and header.fortran_order ~= "False" then
        fail(start, "fortran_order: expected True or False")
      end
    elseif key == "shape" then
      header.shape = tuple()
    else
      fail(start, "unknown key '%s'", shown(key))
    end
    if not take(",") then
      expect("}", "'}'")
      break
    end
  end
  if not text:match("^%s*$", at) then fail(here(), "text after the header's end") end
  for _, key in ipairs { "descr", "fortran_order", "shape" } do
    if header[key] == nil then fail(base, "the header has no '%s'", key) end
  end
  return header
end

-- Header and the offset of the data.
local function read_header(map)
  local start = map:bytes(0, 12)
  if start:sub(1, 6) ~= MAGIC then fail(0, "not an .npy file") end
  local version = start:byte(7)
  local base = version == 1 and 10 or 12
  if not version or not start:byte(8) or #start < base then fail(#start, "the file ends here") end
  if version < 1 or version > 3 or start:byte(8) ~= 0 then
    fail(6, "format %d.%d; 1.0, 2.0 and 3.0 are read", version, start:byte(8))
  end
  local length, scale = 0, 1
  for i = 9, base do
    length = length + start:byte(i) * scale
    scale = scale * 256
  end
  if length > MOST then fail(8, "a header of %.0f bytes; %d is the most", length, MOST) end
  local text = map:bytes(base, length)
  if #text < length then
    fail(map.size, "the file ends in its header of %d bytes", length)
  end
  return read_dictionary(text, base), base + length
end

local function dtype_of(descr)
  local dtype = DTYPE[descr]
  if dtype then return dtype end
  local why = descr:match("^>") and "big-endian" or descr:find("O", 1, true) and "pickled objects"
    or "not among f2, f4, f8, i4, i8, u1 and b1"
  fail(8, "dtype '%s' is not read (%s)", shown(descr), why)
end

local function read(map)
  local header, offset = read_header(map)
  local dtype, shape = dtype_of(header.descr), header.shape
  if #shape > 8 then fail(8, "%d dimensions; 8 is the most", #shape) end
  local count, width = 1, tonumber(header.descr:match("%d$") or 1)
  for _, size in ipairs(shape) do count = count * size end
  if count * width > map.size - offset then
    fail(map.size, "%.0f bytes of data; the shape needs %.0f", map.size - offset, count * width)
  elseif count * width < map.size - offset then
    fail(offset + count * width, "%.0f bytes after the data", map.size - offset - count * width)
  end
  local tensor, message = map:tensor(offset, dtype, shape, header.fortran_order == "True")
  if not tensor then fail(offset, "%s", (message:gsub("^offset %d+: ", ""))) end
  return tensor
end

--- The tensor in a file.
-- @tparam string path
-- @treturn Tensor  on the file's pages; what is written into it stays in this process
-- @return or nil, message, code
function npy.load(path)
  check.type(path, 1, "load", "path", "string")
  local map, message, code = store.map(path, { copy = true })
  if not map then return nil, message, code end
  local ok, result = pcall(read, map)
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end
  return nil, format("%s: offset %.0f: %s", path, result.offset, result.message), FORMAT
end

-- -- writing --

local function header_of(dtype, shape)
  local sizes = {}
  for i, n in ipairs(shape) do sizes[i] = format("%.0f", n) end
  local text = format("{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }", DESCR[dtype],
    concat(sizes, ", "), #sizes == 1 and "," or "")
  text = text .. (" "):rep(-(#text + 11) % 64) .. "\n" -- data at a multiple of 64
  return MAGIC .. "\1\0" .. string.char(#text % 256, math.floor(#text / 256)) .. text
end

--- Write a tensor to a file, durably, in C order.
-- @tparam string path
-- @tparam Tensor tensor  of any strides; not bf16, which NumPy has not
-- @treturn boolean       true; or nil, message, code
function npy.save(path, tensor)
  check.type(path, 1, "save", "path", "string")
  check.arg(store.is_tensor(tensor), 2, "save", "tensor: expected a tensor, got %s",
    check.what(tensor))
  local dtype, shape, pointer, bytes, keep = store.tensor_bytes(tensor)
  check.arg(DESCR[dtype], 2, "save", "tensor: an .npy file cannot hold %s", dtype)
  local file, message, code = store.create(path)
  if not file then return nil, message, code end
  local ok
  ok, message, code = file:write(header_of(dtype, shape))
  if ok then ok, message, code = file:write(pointer, bytes) end
  if ok and keep then return file:commit() end
  file:abort()
  return nil, message, code
end

return npy
