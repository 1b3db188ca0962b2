local ml = require "mlua"
local npy = require "mlua.npy"
local store = require "mlua.ffi.store"
local files = require "spec.support.files"

local EFORMAT = -7

local function header_of(text, version)
  local n = string.char(#text % 256, math.floor(#text / 256))
  if (version or 1) > 1 then n = n .. "\0\0" end
  return "\147NUMPY" .. string.char(version or 1) .. "\0" .. n .. text
end

describe("npy", function()
  local folder, path

  setup(function()
    folder = files.folder()
    path = folder .. "/a.npy"
  end)

  teardown(function() files.remove(folder) end)

  after_each(function() store.fail_at() end)

  local function load_of(...) return npy.load(files.write(path, header_of(...))) end
  local function load_with(data, ...) return npy.load(files.write(path, header_of(...) .. data)) end

  it("writes what numpy.save writes, byte for byte", function()
    assert.is_true(npy.save(path, ml.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, "u8")))
    local text = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }"
    assert.equal(header_of(text .. (" "):rep(117 - #text) .. "\n") .. "\1\2\3\4\5\6",
      files.read(path))
    assert.equal(128 + 6, #files.read(path))
  end)

  it("gives back what it wrote: dtypes, empty, scalar and strided tensors", function()
    local tensors = { ml.zeros(0, 3), ml.tensor(2.5, "f64"), ml.tensor({ 1, 0 }, "bool"),
                      ml.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }):transpose(1, 2) }
    for _, dtype in ipairs { "f64", "f32", "i64", "i32", "u8" } do
      tensors[#tensors + 1] = ml.tensor({ 1, 2, 3 }, dtype)
    end
    for _, t in ipairs(tensors) do
      assert.is_true(npy.save(path, t))
      local read = assert(npy.load(path))
      assert.equal(t:dtype(), read:dtype())
      assert.same(t:shape(), read:shape())
      assert.same(t:totable(), read:totable())
    end
  end)

  it("reads Fortran order as a view with such strides", function()
    local t = assert(load_with("\1\4\2\5\3\6",
      "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n"))
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, t:totable())
    assert.is_false(t:is_contiguous())
  end)

  it("reads formats 2.0 and 3.0, odd spacing and any order of keys", function()
    for version = 2, 3 do
      local t = assert(load_with("\1\2", "{'shape':(2,),'descr':'|u1' , 'fortran_order':False}",
        version))
      assert.same({ 1, 2 }, t:totable())
    end
  end)

  it("names file, offset and fault of what it does not read", function()
    local function refused(message, ...)
      local t, got, code = load_of(...)
      assert.is_nil(t)
      assert.equal(path .. ": " .. message, got)
      assert.equal(EFORMAT, code)
    end
    local function descr(d)
      return "{'descr': '" .. d .. "', 'fortran_order': False, 'shape': (), }"
    end
    refused("offset 8: dtype '>f4' is not read (big-endian)", descr ">f4")
    refused("offset 8: dtype '|O' is not read (pickled objects)", descr "|O")
    refused("offset 8: dtype '<c8' is not read (not among f2, f4, f8, i4, i8, u1 and b1)",
      descr "<c8")
    refused("offset 20: a structured dtype; not read", "{'descr': [('a', '<f4')]}")
    refused("offset 10: expected '{' in the header, got 'x'", "x")
    refused("offset 10: the header has no 'descr'", "{}")
    refused("offset 11: unknown key 'x'", "{'x': 1}")
    refused("offset 26: twice the key 'descr'", "{'descr':'<f4', 'descr':'<f4'}")
    refused("offset 21: expected a size in the header, got '-1,)}'", "{'shape': (-1,)}")
    refused("offset 20: a size too large",
      "{'shape':(9999999999999999,)}")
    refused("offset 11: fortran_order: expected True or False", "{'fortran_order': None}")
    refused("offset 12: text after the header's end", "{}__import__('os')")
    refused("offset 6: format 4.0; 1.0, 2.0 and 3.0 are read", "{}", 4)
    refused("offset 66: 0 bytes of data; the shape needs 8", descr "<f8" .. "\n")
    assert.same({ nil, path .. ": offset 0: not an .npy file", EFORMAT },
      { npy.load(files.write(path, "PK\3\4")) })
    assert.same({ nil, path .. ": offset 67: 1 bytes after the data", EFORMAT },
      { load_with("\1\2", descr "|u1" .. " ") })
    assert.same({ nil, path .. ": offset 66: expected a bool, 0 or 1, got 7", EFORMAT },
      { load_with("\7", descr "|b1" .. " ") })
    assert.same({ nil, folder .. "/none: No such file or directory", -6 },
      { npy.load(folder .. "/none") })
  end)

  it("refuses a file cut anywhere", function()
    npy.save(path, ml.tensor { { 1, 2 }, { 3, 4 } })
    local whole = files.read(path)
    for n = 0, #whole - 1 do
      local t, message, code = npy.load(files.write(path, whole:sub(1, n)))
      assert.is_nil(t)
      assert.equal(EFORMAT, code)
      assert.matches(path .. ": offset %d+: ", message)
    end
  end)

  it("stands any byte changed", function()
    npy.save(path, ml.tensor { { 1, 2 }, { 3, 4 } })
    local whole = files.read(path)
    math.randomseed(12)
    for _ = 1, 2000 do
      local at, live = math.random(1, #whole), ml.memory().live
      local changed = whole:sub(1, at - 1) .. string.char(math.random(0, 255)) .. whole:sub(at + 1)
      local t, message = npy.load(files.write(path, changed))
      assert(ml.memory().live - live <= #whole)
      if t then
        assert.is_true(t:count() <= 16)
        t:clone()
      else
        assert.equal(path .. ": offset ", message:sub(1, #path + 9))
      end
    end
  end)

  it("holds the old file or the new after a failure of any call", function()
    store.fail_at()
    assert.is_true(npy.save(path, ml.tensor { 2 }))
    local calls = store.calls()
    for n = 1, calls do
      store.fail_at()
      npy.save(path, ml.tensor { 1 })
      store.fail_at("any", n, 28)
      local ok, message = npy.save(path, ml.tensor { 2 })
      store.fail_at()
      assert.is_nil(ok)
      assert.equal(path .. ": ", message:sub(1, #path + 2))
      assert.equal(n < calls and 1 or 2, npy.load(path):item())
    end
  end)

  it("names the argument that is wrong", function()
    assert.error_matches(function() npy.save(path, 1) end,
      "bad argument #2 to 'save' (tensor: expected a tensor, got 1)", 1, true)
    assert.error_matches(function() npy.load() end, "bad argument #1 to 'load'", 1, true)
  end)
end)
