local lfs = require "lfs"
local store = require "mlua.ffi.store"
local files = require "spec.support.files"
local process = require "spec.support.process"

local EIO, EINTR, ENOSPC, EDQUOT = 5, 4, 28, 122

describe("durable files", function()
  local folder, path

  before_each(function()
    folder = files.folder()
    path = folder .. "/a.bin"
  end)

  after_each(function()
    store.fail_at()
    files.remove(folder)
  end)

  local function names()
    local list = {}
    for name in lfs.dir(folder) do
      if name ~= "." and name ~= ".." then list[#list + 1] = name end
    end
    table.sort(list)
    return table.concat(list, " ")
  end

  -- Every kind of call once: small writes, a large one, a header over the first bytes.
  local large = ("x"):rep(200000)
  local new = "HEAD5678" .. large .. "end"
  local function write_new()
    local file, message = store.create(path)
    if not file then return nil, message end
    for _, step in ipairs { { "resize", #new }, { "write", "12345678" }, { "write", large },
                            { "write", "end" }, { "write_at", 0, "HEAD" } } do
      local ok, why = file[step[1]](file, step[2], step[3])
      if not ok then
        file:abort()
        return nil, why
      end
    end
    return file:commit()
  end

  it("appear whole, with appended and placed bytes, and nothing beside them", function()
    assert.is_true(write_new())
    assert.equal(new, files.read(path))
    assert.equal("a.bin", names())
  end)

  it("tell where the next write goes, placed writes apart", function()
    local file = store.create(path)
    file:write("abc")
    file:write_at(10, "z")
    assert.equal(3, file:tell())
    file:write("d")
    assert.is_true(file:commit())
    assert.equal("abcd\0\0\0\0\0\0z", files.read(path))
  end)

  it("grow and are cut by resize", function()
    local file = store.create(path)
    file:write("abcdef")
    assert.is_true(file:resize(8))
    assert.is_true(file:resize(2))
    assert.equal(2, file:tell())
    file:write("!")
    assert.is_true(file:commit())
    assert.equal("ab!", files.read(path))
  end)

  it("leave the old file when dropped, and refuse to be used after", function()
    store.put(path, "old")
    local file = store.create(path)
    file:write("new")
    assert.not_equal("a.bin", names())
    file:abort()
    file:abort()
    assert.equal("old", files.read(path))
    assert.equal("a.bin", names())
    assert.error_matches(function() file:write("x") end, "already committed or aborted", 1, true)
  end)

  it("are dropped when the collector finds them", function()
    store.create(path)
    collectgarbage()
    collectgarbage()
    assert.equal("", names())
  end)

  it("keep the permissions of the file they replace, and follow a link", function()
    store.put(path, "old")
    process.run { "chmod", "640", path }
    assert(lfs.link("a.bin", folder .. "/link", true))
    assert.is_true(store.put(folder .. "/link", "new"))
    assert.equal("new", files.read(path))
    assert.equal("rw-r-----", lfs.attributes(path, "permissions"))
    assert.equal("link", lfs.symlinkattributes(folder .. "/link", "mode"))
  end)

  it("are refused where something other than a file stands, with path and cause", function()
    local function refused(at)
      local ok, message, code = store.put(at, "x")
      assert.is_nil(ok)
      assert.equal(-6, code)
      return message
    end
    assert.equal(folder .. ": Is a directory", refused(folder))
    assert.equal("/dev/null: not a regular file", refused("/dev/null"))
    assert.equal(folder .. "/no/x: No such file or directory (open its directory)",
      refused(folder .. "/no/x"))
    assert.equal(folder .. "/x/: not the name of a file", refused(folder .. "/x/"))
  end)

  it("hold the old contents or the new after a failure of any call, and name path and cause",
    function()
      store.fail_at()
      assert.is_true(write_new())
      local calls = store.calls()
      assert.is_true(calls >= 8)
      for _, errno in ipairs { EIO, ENOSPC, EDQUOT } do
        for n = 1, calls do
          store.fail_at()
          store.put(path, "old")
          store.fail_at("any", n, errno)
          local ok, message = write_new()
          store.fail_at()
          assert.is_nil(ok)
          assert.equal("a.bin", names())
          local now = files.read(path)
          if n < calls then -- the last is the fsync of the directory
            assert.equal("old", now)
          else
            assert.is_true(now == new)
            assert.matches("fsync of its directory", message, 1, true)
          end
          assert.equal(path .. ": ", message:sub(1, #path + 2))
        end
      end
    end)

  it("retry short writes and interrupted calls", function()
    store.fail_at()
    assert.is_true(write_new())
    local calls = store.calls()
    for _, errno in ipairs { EINTR, 0 } do
      for n = 1, calls do
        store.fail_at("any", n, errno)
        assert(write_new())
        assert.is_true(files.read(path) == new)
      end
    end
  end)

  it("are lost when fsync fails, and the previous one is kept", function()
    store.put(path, "old")
    store.fail_at("fsync", 1, EIO)
    local ok, message = store.put(path, "new")
    assert.is_nil(ok)
    assert.equal(path
      .. ": Input/output error (fsync; this file is lost, the previous one is kept)", message)
    assert.equal("old", files.read(path))
    assert.equal(1, store.calls("fsync")) -- not asked again
  end)

  it("may be finished without a sync: whole or not at all, and no fsync is asked for", function()
    local function finish_new()
      local file, message = store.create(path)
      if not file then return nil, message end
      file:write(large)
      return file:finish()
    end
    store.fail_at()
    assert.is_true(finish_new())
    assert.is_true(files.read(path) == large)
    assert.equal(0, store.calls("fsync"))
    local calls = store.calls()
    assert.is_true(calls >= 4)
    for n = 1, calls do
      store.put(path, "old")
      store.fail_at("any", n, ENOSPC)
      local ok, message = finish_new()
      store.fail_at()
      assert.is_nil(ok)
      assert.equal(path .. ": No space left on device", message:sub(1, #path + 25))
      assert.equal("old", files.read(path))
      assert.equal("a.bin", names())
    end
  end)

  it("say how much a full disk lacks", function()
    store.fail_at("write", 1, ENOSPC)
    local _, message = store.put(path, ("x"):rep(1000))
    assert.matches("No space left on device %(write; 1000 bytes needed, %d+ free%)$", message)
  end)

  it("refuse the commit after a failed write, with the first cause", function()
    store.put(path, "old")
    local file = store.create(path)
    store.fail_at("write", 1, EIO)
    assert.is_nil((file:write(large)))
    local ok, message = file:commit()
    assert.is_nil(ok)
    assert.matches("Input/output error (write)", message, 1, true)
    assert.equal("old", files.read(path))
    assert.equal("a.bin", names())
  end)

  it("survive their writer's death at any call; a sweep removes what it left", function()
    local script = ([[
      local store = require "mlua.ffi.store"
      store.put(%q, ("n"):rep(200000))
    ]]):format(path)
    local done
    for n = 1, 12 do
      store.put(path, "old")
      local got = process.mlua({ "-e", script },
        { env = { MLUA_STORE_FAULT = "any:" .. n .. ":KILL" } })
      done = got.status == 0
      if done then break end
      local now = files.read(path)
      assert.is_true(now == "old" or now == ("n"):rep(200000))
      assert.is_true(store.sweep(folder) <= 1)
      assert.equal("a.bin", names())
    end
    assert.is_true(done)
  end)

  it("are not swept while somebody writes them, and other files never", function()
    local file = store.create(path)
    files.write(folder .. "/.x.mlua-1.tmp", "")
    files.write(folder .. "/x.mlua-1-1.tmp", "")
    assert.equal(0, store.sweep(folder))
    file:abort()
    files.write(folder .. "/.x.mlua-999999999-1.tmp", "")
    assert.equal(1, store.sweep(folder))
    assert.equal(".x.mlua-1.tmp x.mlua-1-1.tmp", names())
  end)
end)

describe("mapped files", function()
  local folder, path

  before_each(function()
    folder = files.folder()
    path = files.write(folder .. "/a", "abcdef")
  end)

  after_each(function()
    store.fail_at()
    files.remove(folder)
  end)

  it("give the file's bytes", function()
    local map = store.map(path)
    assert.equal(6, map.size)
    assert.equal("cde", map:bytes(2, 3))
    assert.equal("f", map:bytes(5, 100))
    assert.equal("", map:bytes(6, 1))
  end)

  it("may be empty", function()
    local map = store.map(files.write(path, ""))
    assert.equal(0, map.size)
    assert.equal("", map:bytes(0, 10))
  end)

  it("name path and cause of a failure", function()
    assert.same({ nil, folder .. "/b: No such file or directory", -6 },
      { store.map(folder .. "/b") })
    assert.same({ nil, folder .. ": Is a directory", -6 }, { store.map(folder) })
    assert.same({ nil, "/dev/null: not a regular file", -6 }, { store.map("/dev/null") })
    store.fail_at("map", 1, 12)
    assert.same({ nil, path .. ": Cannot allocate memory (map)", -6 }, { store.map(path) })
  end)
end)
