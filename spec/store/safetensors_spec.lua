local ml = require "mlua"
local lfs = require "lfs"
local safetensors = require "mlua.safetensors"
local store = require "mlua.ffi.store"
local files = require "spec.support.files"

local EFORMAT = -7
local WIDTH = { f64 = 8, i64 = 8, f32 = 4, i32 = 4, u8 = 1, bool = 1, f16 = 2, bf16 = 2 }

-- A file of a header and data; the length before it is right unless given.
local function file_of(header, data, length)
  length = length or #header
  local bytes = {}
  for i = 1, 8 do
    bytes[i] = string.char(length % 256)
    length = math.floor(length / 256)
  end
  return table.concat(bytes) .. header .. (data or "")
end

describe("safetensors", function()
  local folder, path

  setup(function()
    folder = files.folder()
    path = folder .. "/a.safetensors"
  end)

  teardown(function() files.remove(folder) end)

  after_each(function() store.fail_at() end)

  local function load_of(header, data, length)
    return safetensors.load(files.write(path, file_of(header, data, length)))
  end

  it("reads a file written by hand, byte for byte", function()
    local t, metadata = load_of('{"__metadata__":{"a":"b"},"x":{"dtype":"U8","shape":[2,2],'
      .. '"data_offsets":[0,4]},"y":{"dtype":"I32","shape":[],"data_offsets":[4,8]}}  ',
      "\1\2\3\4\5\0\0\0")
    assert.same({ { 1, 2 }, { 3, 4 } }, t.x:totable())
    assert.equal("u8", t.x:dtype())
    assert.equal(5, t.y:item())
    assert.equal("i32", t.y:dtype())
    assert.same({ a = "b" }, metadata)
  end)

  it("gives back what it wrote: all dtypes, empty, scalar and strided tensors, names in UTF-8",
    function()
      local tensors = {
        empty = ml.zeros(0, 3),
        scalar = ml.tensor(2.5, "f64"),
        strided = ml.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, "f32"):transpose(1, 2),
        ['"é\\\n'] = ml.tensor({ 1, 0 }, "bool"),
      }
      for _, dtype in ipairs { "f64", "f32", "i64", "i32", "u8" } do
        tensors[dtype] = ml.tensor({ 1, 2, 3 }, dtype)
      end
      local metadata = { ["k\0"] = 'v"\n', epoch = "3" }
      assert.is_true(safetensors.save(path, tensors, metadata))
      local read, meta = safetensors.load(path)
      assert.same(metadata, meta)
      for name, t in pairs(tensors) do
        assert.equal(t:dtype(), read[name]:dtype())
        assert.same(t:shape(), read[name]:shape())
        assert.same(t:totable(), read[name]:totable())
        read[name] = nil
      end
      assert.is_nil(next(read))
    end)

  it("waits for the disk unless told not to, and writes the same bytes", function()
    store.fail_at()
    assert.is_true(safetensors.save(path, { x = ml.ones(3) }))
    assert.equal(2, store.calls("fsync")) -- the file's and its folder's
    local bytes = files.read(path)
    store.fail_at()
    assert.is_true(safetensors.save(path, { x = ml.ones(3) }, nil, { durable = false }))
    assert.equal(0, store.calls("fsync"))
    assert.equal(bytes, files.read(path))
    assert.error_matches(function() safetensors.save(path, {}, nil, { durabel = false }) end,
      "bad argument #4 to 'save' (unknown option 'durabel', did you mean 'durable'?)", 1, true)
  end)

  it("writes the same bytes for the same tensors: widest dtype first, then by name", function()
    local x, y = ml.tensor({ 1 }, "u8"), ml.tensor({ 2 }, "f32")
    assert.is_true(safetensors.save(path, { b = y, z = x, a = x, c = y }))
    local list = assert(safetensors.list(path))
    local names = {}
    for i, item in ipairs(list) do
      names[i] = item.name
      assert.equal(0, item.offset % (item.dtype == "f32" and 4 or 1))
    end
    assert.same({ "b", "c", "a", "z" }, names)
    local header = '{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
      .. '"c":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},'
      .. '"a":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},'
      .. '"z":{"dtype":"U8","shape":[1],"data_offsets":[9,10]}}'
    header = header .. (" "):rep(-#header % 8)
    assert.equal(file_of(header, "\0\0\0\64\0\0\0\64\1\1"), files.read(path))
  end)

  it("maps the file: what is written into a tensor stays in this process", function()
    safetensors.save(path, { x = ml.tensor { 1, 2 } })
    local before = files.read(path)
    local x = safetensors.load(path).x
    x:fill(7)
    assert.same({ 7, 7 }, x:totable())
    assert.equal(before, files.read(path))
  end)

  it("keeps tensors when the file is replaced or removed and the collector has run", function()
    safetensors.save(path, { x = ml.tensor { 1, 2 } })
    local x = safetensors.load(path).x
    safetensors.save(path, { x = ml.tensor { 3, 4 } })
    os.remove(path)
    collectgarbage()
    collectgarbage()
    assert.same({ 1, 2 }, x:totable())
  end)

  it("copies what is not aligned", function()
    local t = load_of('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
      .. '"b":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}}', "\1\0\0\0\0\0\0\240\63")
    assert.equal(1, t.b:item())
  end)

  it("reads an empty file of tensors", function()
    assert.is_true(safetensors.save(path, {}))
    assert.equal("\8\0\0\0\0\0\0\0{}      ", files.read(path))
    assert.same({}, (safetensors.load(path)))
  end)

  it("names file, offset and fault of what is not a safetensors file", function()
    local function refused(message, ...)
      local t, got, code = load_of(...)
      assert.is_nil(t)
      assert.equal(path .. ": " .. message, got)
      assert.equal(EFORMAT, code)
    end
    local function one(body, data) return '{"x":{' .. body .. "}}", data or "\0\0\0\0" end
    local shape, place = '"dtype":"F32","shape":', ',"data_offsets":[0,4]'
    refused("offset 0: a header of 10 bytes; the file has 2 after it", "{}", "", 10)
    refused("offset 0: a header of 100000001 bytes; the file has 2 after it, "
      .. "and 100 MB is the most", "{}", "", 100000001)
    refused("offset 8: expected '{', the header ends", "")
    refused("offset 8: expected '{', got '['", "[]")
    refused("offset 10: text after the header's end", "{}x")
    refused("offset 9: expected '\"', got byte 0x01", "{\1}")
    refused("offset 9: a string without an end", '{"x')
    refused("offset 10: a control character in a string", '{"\n"')
    refused("offset 10: not UTF-8", '{"\255"')
    refused("offset 10: not UTF-8", '{"\192\128"')
    refused("offset 10: not an escape of JSON", '{"\\x"')
    refused("offset 10: not an escape of JSON", '{"\\ud800"')
    refused("offset 13: expected '{', got 'n'", '{"x":null}')
    refused("offset 13: tensor 'x' has no dtype", '{"x":{}}')
    refused("offset 13: tensor 'x' has no data_offsets", one(shape .. "[1]"))
    refused("offset 15: tensor 'x' has an unknown key 'foo'", one('"foo":1'))
    refused("offset 29: tensor 'x' has twice the key 'dtype'", one('"dtype":"F32","dtype":"F32"'))
    refused("offset 23: tensor 'x' has dtype 'F8_E4M3'; F64, F32, BF16, F16, I64, I32, U8 and BOOL "
      .. "are read", one('"dtype":"F8_E4M3","shape":[1]' .. place))
    refused("offset 37: a negative number", one(shape .. "[-1]" .. place))
    refused("offset 37: expected a whole number", one(shape .. "[1.0]" .. place))
    refused("offset 37: expected a whole number", one(shape .. "[01]" .. place))
    refused("offset 37: expected a whole number", one(shape .. "[[1]]" .. place))
    refused("offset 37: a number too large", one(shape .. "[99999999999999999999]" .. place))
    refused("offset 13: tensor 'x' is too large",
      one(shape .. "[4294967296,4294967296]" .. place))
    refused("offset 13: tensor 'x' is too large",
      one(shape .. "[0,4294967296,4294967296]" .. ',"data_offsets":[0,0]', ""))
    refused("offset 53: tensor 'x' has more than 8 dimensions",
      one(shape .. "[1,1,1,1,1,1,1,1,1]" .. place))
    refused("offset 13: tensor 'x' has 4 bytes of data; its shape and dtype need 8",
      one(shape .. "[2]" .. place))
    refused("offset 13: tensor 'x' has data offsets 0 to 4; the file has 0 to 3",
      one(shape .. "[1]" .. place, "\0\0\0"))
    refused("offset 13: tensor 'x' has data offsets 4 to 0; the file has 0 to 4",
      one(shape .. '[1],"data_offsets":[4,0]'))
    refused("offset 66: 1 bytes that belong to no tensor",
      one(shape .. "[1]" .. place, "\0\0\0\0\0"))
    local entry = '"%s":{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}'
    local function two(...)
      return "{" .. entry:format(...) .. "," .. entry:format(select(5, ...)) .. "}"
    end
    refused("offset 114: tensor 'y' overlaps the one before it",
      two("x", 2, 0, 2, "y", 2, 1, 3), "\0\0\0")
    refused("offset 116: tensor 'y' has a hole before it", two("x", 2, 0, 2, "y", 1, 3, 4),
      "\0\0\0\0")
    refused("offset 61: tensor 'x' is there twice", two("x", 1, 0, 1, "x", 1, 1, 2), "\0\0")
    refused("offset 61: tensor '\\u0078' is there twice",
      two("x", 1, 0, 1, "\\u0078", 1, 1, 2), "\0\0")
    refused("offset 35: '__metadata__' is there twice",
      '{"__metadata__":{"a":"b"},"__metadata__":{}}')
    refused("offset 33: metadata key 'a' is there twice", '{"__metadata__":{"a":"b","a":"c"}}')
    refused("offset 29: expected '\"', got '1'", '{"__metadata__":{"a":1}}')
    refused("offset 64: expected a bool, 0 or 1, got 2 (tensor 'x')",
      '{"x":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}', "\1\2")
  end)

  it("refuses a hundred thousand levels without using the stack", function()
    assert.is_nil((load_of('{"x":' .. ("["):rep(1e5))))
    assert.is_nil((load_of('{"x":' .. ('{"dtype":'):rep(1e5))))
  end)

  it("refuses a file cut anywhere, with its path", function()
    safetensors.save(path, { x = ml.tensor { { 1, 2 }, { 3, 4 } }, y = ml.tensor({ 1 }, "bool") },
      { k = "v" })
    local whole = files.read(path)
    for n = 0, #whole - 1 do
      local t, message, code = safetensors.load(files.write(path, whole:sub(1, n)))
      assert.is_nil(t)
      assert.equal(EFORMAT, code)
      assert.matches(path .. ": offset %d+: ", message)
    end
  end)

  it("stands any byte changed: an error, or tensors that the file holds", function()
    safetensors.save(path, { x = ml.tensor { { 1, 2 }, { 3, 4 } }, y = ml.tensor({ 1, 0 }, "bool"),
                             z = ml.zeros(0, 2) }, { k = "v" })
    local whole = files.read(path)
    local random = math.random
    math.randomseed(11)
    for _ = 1, 2000 do
      local at, live = random(1, #whole), ml.memory().live
      local changed = whole:sub(1, at - 1) .. string.char(random(0, 255)) .. whole:sub(at + 1)
      local t, message = safetensors.load(files.write(path, changed))
      if not t then
        assert.equal(path .. ": offset ", message:sub(1, #path + 9))
      else
        assert(ml.memory().live - live <= #whole)
        local bytes = 0
        for _, x in pairs(t) do
          bytes = bytes + x:count() * WIDTH[x:dtype()]
          x:clone()
        end
        assert.equal(18, bytes)
      end
    end
  end)

  it("holds the old file or the new after a failure of any call", function()
    local old, new = { x = ml.tensor { 1 } }, { x = ml.tensor { 2 }, y = ml.zeros(100, 300) }
    store.fail_at()
    assert.is_true(safetensors.save(path, new))
    local calls = store.calls()
    for _, errno in ipairs { 5, 28 } do
      for n = 1, calls do
        store.fail_at()
        assert.is_true(safetensors.save(path, old))
        store.fail_at("any", n, errno)
        local ok, message, code = safetensors.save(path, new)
        store.fail_at()
        assert.is_nil(ok)
        assert.equal(-6, code)
        assert.equal(path .. ": ", message:sub(1, #path + 2))
        assert.equal(n < calls and 1 or 2, safetensors.load(path).x:item())
      end
    end
    local left = 0
    for name in lfs.dir(folder) do left = left + (name:find("mlua-", 1, true) and 1 or 0) end
    assert.equal(0, left)
  end)

  it("says before whether a path can be written, and leaves nothing", function()
    local fresh = folder .. "/fresh"
    assert.is_true(safetensors.check_path(fresh))
    assert.is_false(files.exists(fresh))
    files.write(fresh, "old")
    assert.is_true(safetensors.check_path(fresh))
    assert.equal("old", files.read(fresh))
    for wrong, message in pairs {
      [""] = "expected the name of a file, got ''", [folder] = folder .. ": Is a directory",
      ["/dev/full"] = "/dev/full: not a regular file",
      [folder .. "/none/a"] = folder .. "/none/a: No such file or directory (open its directory)",
    } do
      local ok, problem = safetensors.check_path(wrong)
      assert.is_nil(ok)
      assert.equal(message, problem)
    end
  end)

  it("names the argument that is wrong", function()
    local x = ml.zeros(1)
    local function says(message, ...)
      local given, n = { ... }, select("#", ...)
      assert.error_matches(function() safetensors.save(unpack(given, 1, n)) end, message, 1, true)
    end
    says("bad argument #1 to 'save' (path: expected a string, got nil)", nil, {})
    says("bad argument #2 to 'save' (tensors: 'x': expected a tensor, got 1)", path, { x = 1 })
    says("bad argument #2 to 'save' (tensors: expected names as keys, got 1)", path, { x })
    says("'__metadata__' cannot be a name", path, { __metadata__ = x })
    says("cannot be a name", path, { ["\195a\169"] = x })
    says("bad argument #3 to 'save' (metadata: 'k': expected strings, got 1)", path, {}, { k = 1 })
    local t, message = safetensors.load(folder .. "/none")
    assert.is_nil(t)
    assert.equal(folder .. "/none: No such file or directory", message)
  end)

  it("reads and writes back the runs of the public DLRM", function()
    local outside = files.data("dlrm-oracle/tiny-dot-mse-sgd.safetensors")
    if not outside then return pending("no dlrm-oracle/tiny-dot-mse-sgd.safetensors") end
    local tensors, metadata = assert(safetensors.load(outside))
    assert.equal("mse", metadata.loss)
    assert.is_true(safetensors.save(path, tensors, metadata))
    local again, meta = assert(safetensors.load(path))
    assert.same(metadata, meta)
    local n = 0
    for name, t in pairs(tensors) do
      n = n + 1
      assert.same(t:totable(), again[name]:totable())
    end
    assert.is_true(n > 50)
  end)
end)
