local clicks = require "mlua.data.clicks"
local files = require "spec.support.files"

-- A file of three integers and two categories, which is enough to see everything.
local SMALL = { n_dense = 3, n_cat = 2, cache = false }

local function with(options)
  local all = {}
  for _, from in ipairs { SMALL, options or {} } do
    for k, v in pairs(from) do all[k] = v end
  end
  return all
end

describe("data.clicks", function()
  local folder
  before_each(function() folder = files.folder() end)
  after_each(function() files.remove(folder) end)

  local function file(text) return files.write(folder .. "/clicks.tsv", text) end
  local function open(text, options) return clicks.open(file(text), with(options)) end
  local function ids(set)
    local all = {}
    for r = 1, set:rows() do
      local _, _, row = set:row(r)
      all[r] = table.concat(row, " ")
    end
    return all
  end

  describe("a row", function()
    it("has its label, log(x + 1) of its integers, and ids from 0", function()
      local set = assert(open("1\t0\t1\t99\tdeadbeef\t0a\n"))
      local label, dense, id = set:row(1)
      assert.equal(1, label)
      assert.equal(0, dense[1])
      assert.near(math.log(2), dense[2], 1e-7)
      assert.near(math.log(100), dense[3], 1e-6)
      assert.same({ 0, 0 }, id)
      assert.same({ 1, 1 }, set:tables())
      assert.equal("deadbeef", set:word(1, 0))
      assert.equal("0000000a", set:word(2, 0))
    end)

    it("takes empty fields and negative integers as 0", function()
      local set = assert(open("0\t\t-3\t\t\t\n0\t0\t0\t0\t0\t00000000\n"))
      for r = 1, 2 do
        local label, dense, id = set:row(r)
        assert.equal(0, label)
        assert.same({ 0, 0, 0 }, dense)
        assert.same({ 0, 0 }, id)
      end
      assert.equal("", set:word(1, 0))
    end)

    it("takes integers of up to 18 digits", function()
      local set = assert(open("0\t999999999999999999\t4095\t4096\t\t\n"))
      local _, dense = set:row(1)
      assert.near(18 * math.log(10), dense[1], 1e-5)
      assert.near(math.log(4096), dense[2], 1e-6)
      assert.near(math.log(4097), dense[3], 1e-6)
    end)

    it("takes capitals and short words as the same numbers", function()
      local set = assert(open("0\t\t\t\tABCDEF01\t1f\n0\t\t\t\tabcdef01\t0000001F\n"))
      assert.same({ 1, 1 }, set:tables())
    end)

    it("may end in CRLF, and the last one in nothing", function()
      local unix = assert(open("1\t1\t2\t3\ta\tb\n0\t4\t5\t6\tc\td\n"))
      for _, text in ipairs {
        "1\t1\t2\t3\ta\tb\r\n0\t4\t5\t6\tc\td\r\n", "1\t1\t2\t3\ta\tb\n0\t4\t5\t6\tc\td",
        "1\t1\t2\t3\ta\tb\r\n0\t4\t5\t6\tc\td\r",
      } do
        local set = assert(open(text))
        assert.equal(2, set:rows())
        for r = 1, 2 do assert.same({ unix:row(r) }, { set:row(r) }) end
      end
    end)
  end)

  describe("ids", function()
    local TEXT = "0\t\t\t\tc\t1\n0\t\t\t\ta\t2\n0\t\t\t\tc\t3\n0\t\t\t\tb\t1\n"

    it("count by first appearance in the file", function()
      local set = assert(open(TEXT))
      assert.same({ "0 0", "1 1", "0 2", "2 0" }, ids(set))
      assert.same({ 3, 3 }, set:tables())
    end)

    it("are words modulo the size where they are hashed: 0xa mod 7 = 3", function()
      local set = assert(open(TEXT, { hash = 7 }))
      assert.same({ "5 1", "3 2", "5 3", "4 1" }, ids(set))
      assert.same({ 7, 7 }, set:tables())
      assert.is_nil(set:word(1, 0))
    end)

    it("count by first appearance of words modulo max_ind_range", function()
      local set = assert(open(TEXT, { max_ind_range = 2 })) -- c, a are even, b is odd
      assert.same({ "0 0", "0 1", "0 0", "1 0" }, ids(set))
      assert.same({ 2, 2 }, set:tables())
    end)

    it("are the remainder for the largest word and any modulus", function()
      for _, m in ipairs { 1, 2, 3, 10, 4294967, 2147483647 } do
        local set = assert(open("0\t\t\t\tffffffff\tfffffffe\n", { hash = m }))
        local _, _, id = set:row(1)
        assert.same({ 4294967295 % m, 4294967294 % m }, id)
      end
    end)

    it("are the same for any number of threads", function()
      local made = assert(clicks.open("synthetic", { rows = 20000, cache = false }))
      assert(made:write(folder .. "/big.tsv"))
      local sets = {}
      for threads = 1, 5 do
        sets[threads] = assert(clicks.open(folder .. "/big.tsv",
          { threads = threads, cache = false }))
      end
      for r = 1, 20000, 37 do
        local row = { made:row(r) }
        for threads = 1, 5 do assert.same(row, { sets[threads]:row(r) }) end
      end
      assert.same(made:tables(), sets[1]:tables())
    end)
  end)

  describe("a malformed file", function()
    local GOOD = "0\t1\t2\t3\ta\tb\n"
    local function refused(text, message, options)
      local set, err, code = open(text, options)
      assert.is_nil(set)
      assert.equal(folder .. "/clicks.tsv" .. message, err)
      assert.is_true(code < 0)
    end

    it("is named with line and columns where there are too few or too many", function()
      refused(GOOD .. "0\t1\t2\t3\ta\n", ":2: expected 6 columns, got 5")
      refused(GOOD .. GOOD .. "0\t1\t2\t3\ta\tb\tc\n" .. GOOD, ":3: expected 6 columns, got 7")
      refused(GOOD .. "\n" .. GOOD, ":2: expected 6 columns, got 1")
      refused("0", ":1: expected 6 columns, got 1")
    end)

    it("is named with line and column for a label other than 0 and 1", function()
      for _, label in ipairs { "2", "", "-1", "01", "x", "1.0" } do
        refused(GOOD .. label .. "\t1\t2\t3\ta\tb\n",
          (":2: column 1: expected a label, 0 or 1, got '%s'"):format(label))
      end
    end)

    it("is named with line and column for what is no integer", function()
      for _, x in ipairs { "1x", "-", "--1", "+1", "1.5", " 1", "1234567890123456789", "a" } do
        refused(("0\t1\t%s\t3\ta\tb\n"):format(x),
          (":1: column 3: expected an integer of up to 18 digits, got '%s'"):format(x))
      end
    end)

    it("is named with line and column for what is no word", function()
      for _, x in ipairs { "g", "123456789", "0x12", "-1", "abcdefgh", "12 4", "@@@@@@@@",
        "````````", "////////", "::::::::", "GGGGGGGG" } do
        refused(GOOD .. ("0\t1\t2\t3\ta\t%s"):format(x),
          (":2: column 6: expected up to 8 hexadecimal digits, got '%s'"):format(x))
      end
    end)

    it("shows no control characters, and no more than 32 of a long field", function()
      refused("0\t\27[31m\t2\t3\ta\tb\n",
        ":1: column 2: expected an integer of up to 18 digits, got '?[31m'")
      refused("0\t" .. ("z"):rep(1000000) .. "\t2\t3\ta\tb\n",
        ":1: column 2: expected an integer of up to 18 digits, got '" .. ("z"):rep(32) .. "...'")
    end)

    it("is refused when it is empty", function()
      refused("", ":1: expected 6 columns, got an empty file")
    end)

    it("is named by the first bad line for any number of threads", function()
      local text = GOOD:rep(300000) .. "9" .. GOOD:sub(2) .. GOOD:rep(300000) .. "bad\n"
      for threads = 1, 4 do
        refused(text, ":300001: column 1: expected a label, 0 or 1, got '9'", { threads = threads })
      end
    end)

    it("may be a gigantic line, or nothing but ends of lines", function()
      refused(("x"):rep(3000000), ":1: expected 6 columns, got 1")
      refused(("\n"):rep(3000000), ":1: expected 6 columns, got 1")
      refused(GOOD .. ("\t"):rep(3000000), ":2: expected 6 columns, got 3000001")
    end)

    it("leaves nothing in the cache's folder", function()
      local cache = folder .. "/cache"
      refused(GOOD:rep(100000) .. "bad\n", ":100001: expected 6 columns, got 1", { cache = cache })
      local pipe = io.popen("ls -A " .. cache)
      assert.equal("", pipe:read("*a"))
      pipe:close()
    end)
  end)

  describe("a file that cannot be read", function()
    it("is named with the cause", function()
      local set, message = clicks.open(folder .. "/absent.tsv", SMALL)
      assert.is_nil(set)
      assert.equal(folder .. "/absent.tsv: No such file or directory", message)
      set, message = clicks.open(folder, SMALL)
      assert.is_nil(set)
      assert.equal(folder .. ": Is a directory", message)
    end)

    it("may be a pipe, which is refused without waiting", function()
      os.execute("mkfifo " .. folder .. "/pipe")
      local set, message = clicks.open(folder .. "/pipe", SMALL)
      assert.is_nil(set)
      assert.equal(folder .. "/pipe: not a regular file", message)
    end)
  end)

  describe("misuse", function()
    local function raises(message, source, options)
      local ok, err = pcall(function() clicks.open(source, options) end)
      assert.is_false(ok)
      assert.matches("^%S*clicks_spec%.lua:%d+: ", err)
      assert.equal(message, (err:gsub("^%S*:%d+: ", "")))
    end

    it("raises at the caller's line", function()
      raises("bad argument #1 to 'open' (source: expected a string, got nil)")
      raises("bad argument #2 to 'open' (unknown option 'hsh', did you mean 'hash'?)", "x",
        { hsh = 1 })
      raises("bad argument #2 to 'open' (hash: expected 1 to 2147483647, got 0)", "x", { hash = 0 })
      raises("bad argument #2 to 'open' (hash and max_ind_range exclude each other)", "x",
        { hash = 1, max_ind_range = 1 })
      raises("bad argument #2 to 'open' (split: expected 'order', 'random' or a table, got 'by')",
        "x", { split = "by" })
      raises("bad argument #2 to 'open' (skew: only a synthetic log takes it)", "x", { skew = 1 })
      raises("bad argument #2 to 'open' (split: expected train, validation, test, seed, got tset)",
        "x", { split = { tset = 1 } })
    end)
  end)

  describe("parts", function()
    local function rows(n)
      local text = {}
      for i = 1, n do text[i] = ("%d\t%d\t\t\t\t"):format(i % 2, i) end
      return table.concat(text, "\n") .. "\n"
    end
    local function order(part) return part:rows() > 0 and part:loader():order(0) or {} end

    it("by order are six sevenths, and the halves of the last: test, then validation", function()
      local set = assert(open(rows(14)))
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, order(set.train))
      assert.same({ 13 }, order(set.test))
      assert.same({ 14 }, order(set.validation))
    end)

    it("by order give the odd rows to the first sevenths, and the odd half to test", function()
      local set = assert(open(rows(26))) -- 4 4 4 4 4 3 3
      assert.equal(23, set.train:rows())
      assert.same({ 24, 25 }, order(set.test))
      assert.same({ 26 }, order(set.validation))
    end)

    it("drawn by a seed hold every row once", function()
      local set = assert(open(rows(100), { split = { train = 0.7, validation = 0.2, test = 0.1 } }))
      assert.equal(70, set.train:rows())
      assert.equal(20, set.validation:rows())
      assert.equal(10, set.test:rows())
      local seen, sorted = {}, true
      for _, part in ipairs { set.train, set.validation, set.test } do
        for i, row in ipairs(order(part)) do
          assert.is_nil(seen[row])
          seen[row] = true
          sorted = sorted and (row == i)
        end
      end
      assert.equal(100, #seen)
      assert.is_false(sorted)
      local again = assert(open(rows(100), { split = "random", seed = 5 }))
      local other = assert(open(rows(100), { split = "random", seed = 6 }))
      assert.are_not.same(order(again.train), order(other.train))
    end)

    it("may be empty", function()
      local set = assert(open(rows(3)))
      assert.equal(0, set.test:rows())
      local loader = assert(set.test:loader { workers = 1 })
      assert.equal(0, loader:steps())
      assert.is_nil(loader:next())
    end)
  end)

  it("reads at most so many rows where that is asked", function()
    local set = assert(open(("0\t1\t2\t3\ta\tb\n"):rep(10) .. "bad\n", { rows = 10 }))
    assert.equal(10, set:rows())
    assert.equal(3, assert(open(("0\t1\t2\t3\ta\tb\n"):rep(3), { rows = 10 })):rows())
  end)

  it("writes what it read", function()
    local text = "1\t0\t17\t1000000\tdeadbeef\t0000000a\n0\t5\t0\t0\t\tffffffff\n"
    local set = assert(open(text))
    assert(set:write(folder .. "/copy.tsv"))
    assert.equal(text, files.read(folder .. "/copy.tsv"))
    assert(set:write(folder .. "/copy.tsv", 2))
    assert.equal("0\t5\t0\t0\t\tffffffff\n", files.read(folder .. "/copy.tsv"))
  end)

  it("stays readable through its loaders when it is closed", function()
    local set = assert(open(("1\t1\t2\t3\ta\tb\n"):rep(50)))
    local loader = assert(set.all:loader { batch = 20, workers = 2 })
    set:close()
    local rows = 0
    for batch in loader:epoch(0) do rows = rows + batch.rows end
    assert.equal(50, rows)
    assert.has_error(function() set:row(1) end)
  end)

  describe("the census", function()
    it("has 26,000 rows, 6,227 of them 1, and the words that were counted in it", function()
      local path = files.data("clicks/census.tsv")
      if not path then return pending("no clicks/census.tsv (MLUA_TEST_DATA)") end
      local set = assert(clicks.open(path, { cache = false }))
      assert.equal(26000, set:rows())
      local tables = set:tables()
      assert.same({ 9, 16, 7, 15, 6, 5, 2, 42 }, { unpack(tables, 1, 8) })
      for t = 9, 26 do assert.equal(1, tables[t]) end
      assert.equal(22286, set.train:rows())
      assert.equal(1857, set.test:rows())
      assert.equal(1857, set.validation:rows())
      local positive = 0
      for batch in set.all:loader({ batch = 26000 }):epoch(0) do
        positive = batch.label:sum():item()
      end
      assert.equal(6227, positive)
      assert.equal("2daf0feb", set:word(1, 0)) -- crc32 of "State-gov"
    end)
  end)
end)
