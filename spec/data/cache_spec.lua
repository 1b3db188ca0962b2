local clicks = require "mlua.data.clicks"
local files = require "spec.support.files"
local process = require "spec.support.process"

describe("the cache of click data", function()
  local folder, path, cache
  local OPTIONS = { n_dense = 2, n_cat = 2 }
  local TEXT = {}
  for i = 1, 500 do
    TEXT[i] = ("%d\t%d\t%d\t%x\t%x\n"):format(i % 3 == 0 and 1 or 0, i, i * i, i % 17, i * 7 % 101)
  end
  TEXT = table.concat(TEXT)

  before_each(function()
    folder = files.folder()
    cache = folder .. "/a/b"
    path = files.write(folder .. "/clicks.tsv", TEXT)
  end)
  after_each(function() files.remove(folder) end)

  local function open(more)
    local o = { cache = cache }
    for _, from in ipairs { OPTIONS, more or {} } do for k, v in pairs(from) do o[k] = v end end
    return assert(clicks.open(path, o))
  end
  local function content(set)
    local all = {}
    for r = 1, set:rows() do
      local label, dense, ids = set:row(r)
      all[r] = ("%d %.9g %.9g %d %d"):format(label, dense[1], dense[2], ids[1], ids[2])
    end
    for t, n in ipairs(set:tables()) do
      for id = 0, n - 1 do all[#all + 1] = set:word(t, id) end
    end
    return table.concat(all, "\n")
  end
  local function listed()
    local names = {}
    local pipe = io.popen("ls -A " .. cache)
    for name in pipe:lines() do names[#names + 1] = name end
    pipe:close()
    return names
  end

  it("is made by the first opening and mapped by the second, which reads no text", function()
    local first = open()
    assert.is_false(first:warm())
    assert.is_nil(first:note())
    assert.same({ first:cache() }, { cache .. "/" .. listed()[1] })
    local second = open()
    assert.is_true(second:warm())
    assert.equal(content(first), content(second))
  end)

  it("is another one for other options, and for a file that has changed", function()
    local first = open()
    assert.is_false(open({ hash = 10 }):warm())
    assert.is_false(open({ max_ind_range = 10 }):warm())
    assert.is_false(open({ rows = 100 }):warm())
    assert.equal(4, #listed())
    files.write(path, TEXT:gsub("^0", "1"))
    local changed = open()
    assert.is_false(changed:warm())
    assert.equal(1, (changed:row(1)))
    assert.equal(0, (first:row(1))) -- still mapped
    assert.is_true(open({ hash = 10, rows = 7 }):warm() == false)
  end)

  it("does not depend on the number of threads or the form of the path", function()
    open({ threads = 1 })
    assert.is_true(open({ threads = 3 }):warm())
    assert.is_true((assert(clicks.open(folder .. "/a/../clicks.tsv",
      { n_dense = 2, n_cat = 2, cache = cache }))):warm())
  end)

  it("is made again where its header is damaged, any bit of it, and says so", function()
    local made = open()
    local want, name = content(made), made:cache()
    local bytes = files.read(name)
    made:close()
    for at = 1, 208, 3 do -- the header and the sizes of two tables
      local damaged = bytes:sub(1, at - 1)
        .. string.char(bit.bxor(bytes:byte(at), 2 ^ (at % 8))) .. bytes:sub(at + 1)
      files.write(name, damaged)
      local set = open()
      assert.is_false(set:warm(), "byte " .. at)
      assert.equal(want, content(set))
      assert.matches("^" .. name:gsub("%p", "%%%0") .. ": .*; made again$", set:note())
      set:close()
      assert.equal(bytes, files.read(name))
    end
  end)

  it("is made again where it was cut short, anywhere", function()
    local made = open()
    local want, name = content(made), made:cache()
    local bytes = files.read(name)
    made:close()
    for _, size in ipairs { 0, 1, 7, 8, 100, 263, 264, 280, 4095, 4096, 4097, 5000, #bytes - 1 } do
      files.write(name, bytes:sub(1, size))
      local set = open()
      assert.is_false(set:warm(), "size " .. size)
      assert.equal(want, content(set))
      assert.matches("made again$", set:note())
      set:close()
    end
    files.write(name, bytes .. "\0")
    assert.is_false(open():warm())
  end)

  it("is made again where anything in it is damaged, if asked to verify", function()
    local made = open()
    local want, name = content(made), made:cache()
    local bytes = files.read(name)
    made:close()
    for at = 4097, #bytes, 331 do
      files.write(name, bytes:sub(1, at - 1) .. string.char(bit.bxor(bytes:byte(at), 16))
        .. bytes:sub(at + 1))
      local set = open({ verify = true })
      -- bytes between sections are nobody's
      if set:warm() then assert.equal(0, bytes:byte(at)) end
      assert.equal(want, content(set))
      set:close()
    end
    assert.is_true(open({ verify = true }):warm())
  end)

  it("cannot lead a batch outside a table, whatever is in it", function()
    local made = open()
    local name = made:cache()
    local bytes = files.read(name)
    made:close()
    local ids = #bytes - 4 * (17 + 101) - 500 * 2 * 4 -- words come last, ids before them
    ids = ids - ids % 64
    files.write(name, bytes:sub(1, ids + 800) .. ("\255"):rep(4) .. bytes:sub(ids + 805))
    local set = open()
    assert.is_true(set:warm())
    for workers = 0, 2 do
      local loader = assert(set.all:loader { batch = 500, workers = workers })
      local batch, message, code = loader:next()
      assert.is_nil(batch)
      assert.matches("clicks%.tsv: row %d+: id %-1 of table %d: expected 0 to %d+ "
        .. "%(its cache is damaged: delete .*%.bin%)$", message)
      assert.is_true(code < 0)
      loader:close()
    end
    local ok, message = pcall(function() for _ in set.all:loader({}):epoch(0) do end end)
    assert.is_false(ok)
    assert.matches("row %d+: id %-1 of table", tostring(message))
  end)

  it("is kept in memory where its folder cannot be made, and says so", function()
    files.write(folder .. "/a", "a file where the folder should be")
    local set = open()
    assert.equal(500, set:rows())
    assert.is_nil(set:cache())
    assert.equal(folder .. "/a/b: Not a directory; kept in memory", set:note())
  end)

  it("is whole or not there, whichever write or sync fails, and the failure is told", function()
    local ffi_layer = require "mlua.ffi"
    local C, ENOSPC = ffi_layer.C, 28
    local failures = 0
    for n = 1, 40 do
      files.remove(cache)
      C.ml_store_fail_at(C.ML_FAULT_ANY, n, ENOSPC)
      local set, message = clicks.open(path, { n_dense = 2, n_cat = 2, cache = cache, threads = 1 })
      local done = C.ml_store_calls(C.ML_FAULT_ANY) < n
      C.ml_store_fail_at(C.ML_FAULT_ANY, 0, 0)
      if done then
        assert.is_true(failures > 5)
        return
      end
      failures = failures + 1
      local told = message or set:note()
      if told then assert.matches("No space left on device", told) end
      assert.is_not_nil(told)
      if set then
        assert.equal(500, set:rows())
        set:close()
      end
      for _, name in ipairs(listed()) do assert.is_nil(name:find("tmp")) end
      local again = open({ verify = true })
      assert.equal(500, again:rows())
      again:close()
    end
    error("more than 40 calls")
  end)

  it("may be made by several processes at once", function()
    local script = files.write(folder .. "/open.lua", ([[
      local set = assert(require("mlua.data.clicks").open(%q,
        { n_dense = 2, n_cat = 2, cache = %q }))
      io.write(set:rows())
    ]]):format(path, cache))
    local mlua = process.quote(process.program()) .. " " .. process.quote(script)
    local pipe = io.popen((mlua .. " & "):rep(6) .. "wait")
    assert.equal(("500"):rep(6), pipe:read("*a"))
    pipe:close()
    assert.equal(1, #listed())
    assert.is_true(open({ verify = true }):warm())
  end)

  it("is opened in less than a millisecond", function()
    open():close()
    local clock = require("mlua.ffi").C.ml_clock
    local best = math.huge
    for _ = 1, 20 do
      local begin = clock()
      local set = open()
      best = math.min(best, clock() - begin)
      assert.is_true(set:warm())
      set:close()
    end
    assert.is_true(best < 1e-3, ("%.3f ms"):format(best * 1e3))
  end)

  it("is in $MLUA_CACHE where no folder is named", function()
    local got = process.mlua({ "-e", ([[
      local set = assert(require("mlua.data.clicks").open(%q, { n_dense = 2, n_cat = 2 }))
      io.write(set:cache())]]):format(path) }, { env = { MLUA_CACHE = folder .. "/named" } })
    assert.equal("", got.err)
    assert.equal(folder .. "/named/", got.out:match("^.*/"))
  end)
end)
