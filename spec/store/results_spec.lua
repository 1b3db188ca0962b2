-- The store of results: where it is, objects by content, folders, rows that are whole or not there.
local files = require "spec.support.files"
local hash = require "mlua.ffi.hash"
local lfs = require "lfs"
local store_module = require "mlua.store"

local dir

before_each(function() dir = files.folder() end)
after_each(function() files.remove(dir) end)

local function open()
  local store = store_module.open(dir .. "/store")
  assert(store:prepare())
  return store
end

local function written(store, text)
  local path = assert(store:scratch())
  files.write(path, text)
  return path
end

local function row(id, outputs)
  return { id = hash.sha256(id), task = "T", time = 1, seconds = 2, outputs = outputs or "",
           detail = { code = "c" } }
end

describe("the store's folder", function()
  local function found(folder, home)
    local mlua = require "spec.support.process".program()
    return require "spec.support.process".run({ mlua, "-e",
      'io.write(require "mlua.store".find())' },
      { cwd = folder, env = { HOME = home or "/none", MLUA_STORE = false } }).out
  end

  it("is the nearest from the working folder upwards, within the project", function()
    os.execute(("mkdir -p %s/.mlua/objects %s/a/b %s/g/.git %s/g/h"):format(dir, dir, dir, dir))
    assert.equal(".mlua", found(dir))
    assert.equal(dir .. "/.mlua", found(dir .. "/a/b"))
    assert.equal(".mlua", found(dir .. "/g/h"))
    assert.equal(".mlua", found(dir .. "/a/b", dir)) -- the home folder's is nobody else's
  end)
end)

describe("objects", function()
  it("are under the digest of their bytes once their group is durable", function()
    local store = open()
    local digest, size = store:adopt(written(store, "bytes"))
    assert.same({ hash.sha256 "bytes", 5 }, { digest, size })
    assert.is_true(store:has(digest, 5)) -- readable before
    assert(store:record(row("a", ("o\ttext\t%s\t5\n"):format(digest))))
    assert(store:flush())
    assert.equal("bytes", files.read(dir .. "/store/objects/" .. digest:sub(1, 2) .. "/"
      .. digest:sub(3)))
    assert.same({ false, "damaged" }, { store:has(digest, 6) })
    assert.same({ false, "missing" }, { store:has(hash.sha256 "other", 5) })
  end)

  it("that changed are found out, and leave the store", function()
    local store = open()
    local digest = store:adopt(written(store, "bytes"))
    store:record(row "a")
    assert(store:flush())
    files.write(store:path(digest), "bytez")
    local _, why, what = store:verified(digest)
    assert.equal("damaged", what)
    assert.matches("its contents have changed", why)
    assert.same({ false, "missing" }, { store:has(digest, 5) })
  end)

  it("make folders again, which hold nothing outside themselves", function()
    local store = open()
    local path = assert(store:scratch())
    lfs.mkdir(path)
    lfs.mkdir(path .. "/sub")
    files.write(path .. "/sub/a b", "1")
    files.write(path .. "/c", "")
    local digest = assert(store:adopt_folder(path))
    store:record(row "a")
    assert(store:flush())
    local folder = assert(store:folder(digest))
    assert.equal("1", files.read(folder .. "/sub/a b"))
    assert.equal("", files.read(folder .. "/c"))
    for _, name in ipairs { "../x", "/etc/x", "a/../../x" } do
      local listing = files.write(dir .. "/listing",
        ("mlua folder 1\n%s 1 %s\n"):format(("0"):rep(64), name))
      assert.same({ nil, listing .. ": a damaged listing" }, { store_module.listing(listing) })
    end
  end)
end)

describe("rows", function()
  it("are there after the flush, for all, with what is known of them", function()
    local store = open()
    assert(store:record(row("a", "x\tjson\tabc\t1\n")))
    assert.is_nil((store:results() or { get = function() end }):get(hash.sha256 "a"))
    assert(store:flush())
    local other = store_module.open(dir .. "/store")
    assert.equal("x\tjson\tabc\t1\n", other:results():get(hash.sha256 "a"))
    assert.is_nil(other:results():get(hash.sha256 "b"))
    local detail = other:results():detail(hash.sha256 "a")
    assert.same({ 1, 2, "c" }, { detail.time, detail.seconds, detail.code })
  end)

  it("that were damaged are none", function()
    local store = open()
    store:record(row("a", "x\tjson\tabc\t1\n"))
    assert(store:flush())
    store:results().db:exec "update result set outputs = replace(outputs, 'abc', 'abd')"
    assert.is_nil(store:results():get(hash.sha256 "a"))
  end)
end)
