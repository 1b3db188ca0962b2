--- Flows whose files fail: calls that return errors, short writes, a damaged database, flipped
-- bits.
local facts = require "mlua.ffi.files"
local files = require "spec.support.files"
local process = require "spec.support.process"

local RECIPE = "spec/support/faulty.lua"
local CAUSE = { [5] = "Input/output error", [28] = "No space left on device" }

describe("a flow of three tasks", function()
  local folder, store

  before_each(function()
    folder = files.folder()
    store = folder .. "/store"
  end)

  after_each(function() files.remove(folder) end)

  local function run(options, ...)
    options = options or {}
    local env = options.env or {}
    env.MLUA_STORE, env.MLUA_THREADS = store, "1"
    return process.mlua({ options.recipe or RECIPE, ... }, { env = env })
  end

  local function finishes(hint)
    local got = run()
    assert.equal("sum 12\n", got.out, hint .. ":\n" .. got.err)
    assert.equal(0, got.status)
    return got.err
  end

  local function objects()
    local list = {}
    for _, part in ipairs(assert(facts.list(store .. "/objects"))) do
      for _, name in ipairs(assert(facts.list(store .. "/objects/" .. part))) do
        list[#list + 1] = store .. "/objects/" .. part .. "/" .. name
      end
    end
    return list
  end

  -- A file with the bits of one byte turned round, without a change of its size.
  local function flip(path, at)
    local text = files.read(path)
    at = at or math.ceil(#text / 2)
    files.write(path, text:sub(1, at - 1) .. string.char(255 - text:byte(at)) .. text:sub(at + 1))
  end

  for jobs = 1, 2 do
    it(("says which file failed and why, whatever call fails, and goes on after it; %d job%s")
      :format(jobs, jobs > 1 and "s" or ""), function()
      local calls = run(nil, "--jobs", tostring(jobs)).err:match "calls: ([^\n]*)"
      local failures = 0
      for name, n in calls:gmatch "(%a+)=(%d+)" do
        -- Children count their own, from where their parent was.
        for i = 1, math.max(n, 6), jobs == 1 and 1 or 3 do
          files.remove(store)
          local errno = (i + jobs) % 2 == 0 and 5 or 28
          local fault = ("%s:%d:%d"):format(name, i, errno)
          local got = run({ env = { MLUA_STORE_FAULT = fault } }, "--jobs", tostring(jobs))
          if got.status ~= 0 then
            failures = failures + 1
            assert.equal(1, got.status, fault .. got.err)
            assert.equal("", got.out, fault)
            local here = store:gsub("%p", "%%%0")
            local path, cause = got.err:match("(" .. here .. "[^:]*): ([^(\n]*)")
            assert.truthy(path, fault .. ":\n" .. got.err)
            assert.equal(CAUSE[errno], (cause:gsub("%s+$", "")), fault)
          else
            assert.equal("sum 12\n", got.out, fault)
          end
          finishes(fault)
        end
      end
      assert.is_true(failures > 20 / jobs)
    end)
  end

  it("stays as it is when the database of results can't be written whole", function()
    local failed = 0
    for _, blocks in ipairs { 1, 8, 24, 56, 64, 72, 80, 96, 112, 120, 400 } do
      files.remove(store)
      local limited = ("trap '' XFSZ; ulimit -f %d; exec \"$@\""):format(blocks)
      local got = process.run({ "sh", "-c", limited, "sh", process.program(), RECIPE },
        { env = { MLUA_STORE = store } })
      if got.status ~= 0 then
        failed = failed + 1
        assert.equal(1, got.status)
        assert.truthy(got.err:find(store .. "/results.db: disk I/O error", 1, true)
          or got.err:find(store .. "/[^\n]*: File too large"), got.err)
      end
      finishes(("%d blocks"):format(blocks))
    end
    assert.is_true(failed > 6)
  end)

  it("gives no wrong result from a damaged database", function()
    finishes "at first"
    local whole, refused, again = files.read(store .. "/results.db"), 0, 0
    local cuts = { 0, 1, 17, 99, 100, 4095, 4096, 5000, 8192, #whole - 1 }
    for i = 1, #cuts + 40 do
      local text, what
      if i <= #cuts then
        text, what = whole:sub(1, cuts[i]), "cut at " .. cuts[i]
      else
        local at = i % 4 == 0 and 1 + (i * 7) % 100 or 1 + (i * 104729) % #whole
        while whole:byte(at) == 0 do at = at % #whole + 1 end
        text = whole:sub(1, at - 1) .. string.char(255 - whole:byte(at)) .. whole:sub(at + 1)
        what = "flipped at " .. at
      end
      files.write(store .. "/results.db", text)
      local got = run()
      if got.status == 0 then
        assert.equal("sum 12\n", got.out, what)
        if got.err:find "1/%d" then again = again + 1 end
      else
        refused = refused + 1
        assert.equal(1, got.status, what .. got.err)
        assert.truthy(got.err:find(store .. "/results.db: ", 1, true), what .. got.err)
      end
      os.remove(store .. "/results.db-wal")
      os.remove(store .. "/results.db-shm")
    end
    assert.is_true(refused > 5, "refused: " .. refused)
    assert.is_true(again > 2, "ran again: " .. again)
    files.write(store .. "/results.db", "not a database, but of some length: " .. whole)
    assert.equal("mlua: " .. store .. "/results.db: file is not a database; remove it, and what it "
      .. "held runs again\n", run().err)
    os.remove(store .. "/results.db")
    finishes "without the database"
  end)

  it("finds a flipped byte in any object that it loads, and makes it anew", function()
    finishes "at first"
    local found = 0
    for _, path in ipairs(objects()) do
      for jobs = 1, 2 do
        local whole = files.read(path)
        flip(path)
        local got = run(nil, "--jobs", tostring(jobs), "--force", "Sum,Folder")
        assert.equal("sum 12\n", got.out, path .. "\n" .. got.err)
        if files.read(path) == whole then found = found + 1 end
        if #whole < 100 and whole:find "^%[" then -- the list that Folder loads
          assert.truthy(got.err:find("is damaged: " .. path
            .. ": its contents have changed: it runs again", 1, true), got.err)
        end
        assert.equal("sum 12\n", run(nil, "--verify").out)
        assert.equal(whole, files.read(path))
      end
    end
    assert.is_true(found > 10)
  end)

  it("finds a flipped byte in what it shows at its end", function()
    finishes "at first"
    for _, path in ipairs(objects()) do
      if files.read(path) == '{"sum":12}\n' then
        flip(path, 8)
        local said = finishes "flipped"
        assert.truthy(said:find("its contents have changed: it runs again", 1, true), said)
        assert.truthy(said:find("1/1  Sum  output output is missing", 1, true), said)
        return
      end
    end
    error "no object has the sum"
  end)

  it("finds a flipped byte in an object that two tasks load at once", function()
    local recipe = files.write(folder .. "/two.lua", [[
      local ml = require "mlua"
      local Base = ml.task("Base", { run = function() return { x = 5 } end })
      local Side = ml.task("Side", { params = { i = ml.param.int { 1 } }, requires = Base,
        run = function(self, base) return { y = base.x + self.i } end })
      local Both = ml.task("Both", {
        requires = function() return { Side { i = 1 }, Side { i = 2 }, Side { i = 3 } } end,
        run = function(_, sides) return sides[1].y + sides[2].y + sides[3].y end })
      return ml.flow(Both)]])
    assert.equal("output: 21\n", run { recipe = recipe }.out)
    for jobs = 1, 3 do
      for _, path in ipairs(objects()) do
        if files.read(path):find '"x"' then flip(path) end
      end
      local got = run({ recipe = recipe }, "--force", "Side", "--jobs", tostring(jobs))
      assert.equal("output: 21\n", got.out, got.err)
      local _, n = got.err:gsub("it runs again", "")
      assert.equal(1, n, got.err)
    end
  end)
end)

describe("a result that could not be recorded", function()
  it("leaves nothing behind that a later task would take for an object", function()
    local folder = files.folder()
    local script = files.write(folder .. "/s.lua", [[
      local ml, store = require "mlua", require "mlua.ffi.store"
      require "mlua.flow"
      local A = ml.task("A", { outputs = { "a", "b" }, run = function()
        return { a = { same = 1 }, b = function() end } end })
      local B = ml.task("B", { run = function() return { same = 1 } end })
      print(pcall(function() A {}:run() end) == false) -- a is written, b can't be
      B {}:run()
      print(B {}:output().same)
      local C = ml.task("C", { run = function() return { c = 1 } end })
      local D = ml.task("D", { requires = C, run = function(_, c) return c end })
      store.fail_at("fsync", 1, 28)
      local ok, e = pcall(function() D {}:run() end)
      print(ok, e.user_error:find "No space left on device" ~= nil)
      D {}:run()
      print(D {}:output().c)]])
    local got = process.mlua({ script }, { env = { MLUA_STORE = folder .. "/store" } })
    files.remove(folder)
    assert.equal("true\n1\nfalse\ttrue\n1\n", got.out .. got.err)
  end)
end)
