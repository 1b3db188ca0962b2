--- Click logs: a file in the Criteo format, or a synthetic one with a planted signal.
--
--     local set = assert(clicks.open("train.txt", { hash = 1000000 }))
--     local loader = assert(set.train:loader { batch = 128, shuffle = true, workers = 1 })
--     for batch in loader:epoch(0) do … end
--
-- A file has one row a line, tab-separated, no header: label (0 or 1), 13 integers, 26 words of up
-- to 8 hexadecimal digits. Fields but the label may be empty, which counts as 0; so do negative
-- integers. An integer x becomes log(x + 1). Words become ids from 0 by first appearance in the
-- file, or are hashed.
--
-- What was read is kept in a cache file (in `cache`, $MLUA_CACHE or .mlua/cache) that the next
-- start maps into memory. Its name is a digest of the file's path, size, inode, time of change and
-- the options that shape it. A damaged one is made again; set:note() says so.
-- @module mlua.data.clicks
local check = require "mlua.check"
local data = require "mlua.ffi.data"
local loader = require "mlua.data.loader"

local clicks = {}

local Set, Part = {}, {}
Set.__index, Part.__index = Set, Part

-- What a training takes of a batch (mlua.data.sets).
Set.input, Set.label, Set.kind = { "dense", "ids", "offsets" }, "label", "binary"

local TABLES = {
  10, 20, 50, 100, 200, 500, 1000, 10, 20, 50, 100, 200, 500,
  1000, 10, 20, 50, 100, 200, 500, 1000, 10, 20, 50, 100, 200,
}

--- Tables of the default synthetic log: words that each category may take.
clicks.TABLES = TABLES

local KNOWN = {
  rows = "number", seed = "number", tables = "table", skew = "number", split = "string|table",
  hash = "number", max_ind_range = "number", n_dense = "number", n_cat = "number",
  threads = "number", cache = "string|boolean", verify = "boolean",
}

-- -- parts --

-- As the public DLRM cuts a file: seven parts by order, the first ones a row longer where they do
-- not come out even; six train, the first half of the seventh tests, the second validates.
local function by_order(rows)
  local last = math.floor(rows / 7)
  local test = math.ceil(last / 2)
  return {
    train = { first = 0, count = rows - last },
    test = { first = rows - last, count = test },
    validation = { first = rows - last + test, count = last - test },
  }
end

-- Rows in an order by the seed, cut at rounded fractions of all.
local function by_fraction(rows, f)
  local total = f.train + f.validation + f.test
  local train = math.floor(rows * f.train / total + 0.5)
  local both = math.floor(rows * (f.train + f.validation) / total + 0.5)
  local function part(first, stop)
    return { first = first, count = stop - first, permuted = true, seed = f.seed }
  end
  return { train = part(0, train), validation = part(train, both), test = part(both, rows) }
end

local function fractions(split, seed)
  if split == "random" then split = {} end
  local f = {
    train = split.train or 6 / 7, validation = split.validation or 1 / 14,
    test = split.test or 1 / 14, seed = split.seed or seed,
  }
  for field, value in pairs(split) do
    check.arg_at(2, f[field] ~= nil and type(value) == "number", 2, "open",
      "split: expected train, validation, test, seed, got %s", tostring(field))
  end
  for _, name in ipairs { "train", "validation", "test" } do
    check.arg_at(2, f[name] >= 0 and f[name] < math.huge, 2, "open",
      "split: %s: expected 0 or more, got %.14g", name, f[name])
  end
  check.arg_at(2, f.train + f.validation + f.test > 0, 2, "open", "split: all parts are 0")
  check.arg_at(2, f.seed % 1 == 0 and f.seed >= 0 and f.seed <= 2 ^ 53, 2, "open",
    "split: seed: expected an integer from 0, got %.14g", f.seed)
  return f
end

--- Rows of a part.
-- @treturn number
function Part:rows() return self.part.count end

--- A loader of its rows (mlua.data.loader says what batches are).
-- @tparam ?table options  batch, shuffle, seed, epoch, workers, drop_last
-- @treturn Loader  or nil, message, code
function Part:loader(options)
  local handle = self.set.handle
  check.arg(handle, 1, "loader", "the data set is closed")
  return loader.new(function(o) return data.clicks_loader(handle, o) end, self.part, options,
    { name = "loader", n = 1 })
end

--- The probabilities that drew the labels of a synthetic log: f32 [rows], in the part's order.
-- @treturn Tensor  or nil and why not, where the data are real
function Part:planted()
  check.arg(self.set.handle, 1, "planted", "the data set is closed")
  return data.planted(self.set.handle, self.part)
end

-- -- sets --

--- Open a click log.
-- @tparam string source  path of a file, or "synthetic"
-- @tparam ?table options
-- @tparam ?number options.rows   at most this many from the top; of a synthetic log: all, 100000
-- @tparam[opt="order"] string|table options.split   "order": 6/7, 1/14, 1/14 as they stand in the
--   file, test before validation; "random": the same shares of rows in a seeded order; or a table
--   train, validation, test (shares), seed
-- @tparam[opt=123] number options.seed   of a synthetic log, and of a random split
-- @tparam ?number options.hash   ids are words modulo this: tables of that many rows, no vocabulary
-- @tparam ?number options.max_ind_range   words modulo this, then ids by first appearance
-- @tparam[opt=13] number options.n_dense
-- @tparam[opt=26] number options.n_cat
-- @tparam ?number options.threads   to read with; as many as compute
-- @tparam ?string|boolean options.cache   folder for the cache file; false: keep in memory
-- @tparam[opt=false] boolean options.verify   check all of a cache file, not its header alone
-- @tparam ?table options.tables   synthetic: words of each category
-- @tparam[opt=3] number options.skew   synthetic: P(one of the k commonest) = (k / words)^(1/skew);
--   0: each word in turn
-- @treturn Set  or nil, message, code
-- @raise bad argument #2 for an option that is unknown or out of range
function clicks.open(source, options)
  check.type(source, 1, "open", "source", "string")
  local given = check.options(options, KNOWN, 2, "open")
  local o = {}
  for field, value in pairs(given) do o[field] = value end
  local synthetic = source == "synthetic"
  for _, field in ipairs { "tables", "skew" } do
    check.arg(synthetic or o[field] == nil, 2, "open", "%s: only a synthetic log takes it", field)
  end
  o.seed = check.int(o.seed or 123, 2, "open", "seed", 0, 2 ^ 53)
  o.n_dense = check.int(o.n_dense or 13, 2, "open", "n_dense", 0, 1024)
  if synthetic then o.tables = o.tables or { unpack(clicks.TABLES, 1, o.n_cat or 26) } end
  o.n_cat = check.int(o.n_cat or o.tables and #o.tables or 26, 2, "open", "n_cat", 0, 1024)
  check.arg(not synthetic or #o.tables == o.n_cat, 2, "open", "tables: expected %d, got %d",
    o.n_cat, synthetic and #o.tables or 0)
  for t, size in ipairs(o.tables or {}) do
    check.int(size, 2, "open", ("tables[%d]"):format(t), 1, 2 ^ 31 - 1)
  end
  for _, field in ipairs { "hash", "max_ind_range", "rows" } do
    local highest = field == "rows" and 2 ^ 53 or 2 ^ 31 - 1
    if o[field] then check.int(o[field], 2, "open", field, 1, highest) end
  end
  check.arg(not (o.hash and o.max_ind_range), 2, "open",
    "hash and max_ind_range exclude each other")
  if o.threads then check.int(o.threads, 2, "open", "threads", 1, 1024) end
  check.int(o.skew or 3, 2, "open", "skew", 0, 16)
  check.arg(o.cache ~= true, 2, "open", "cache: expected a folder or false, got true")
  if o.cache == nil then o.cache = os.getenv("MLUA_CACHE") or ".mlua/cache" end
  local split = o.split or "order"
  check.arg(type(split) == "table" or split == "order" or split == "random", 2, "open",
    "split: expected 'order', 'random' or a table, got %s", check.what(split))
  local shares = split ~= "order" and fractions(split, o.seed) or nil

  local core = {
    n_dense = o.n_dense, n_cat = o.n_cat, rows = not synthetic and o.rows or 0,
    modulo = o.hash or o.max_ind_range or 0, hash = o.hash ~= nil, verify = o.verify or false,
    threads = o.threads or 0, cache = o.cache or nil,
  }
  local handle, message, code
  if synthetic then
    handle, message, code = data.synthetic({
      rows = o.rows or 100000, seed = o.seed, skew = o.skew or 3, tables = o.tables }, core)
  else
    handle, message, code = data.open(source, core)
  end
  if not handle then return nil, message, code end
  local info = data.info(handle)
  local set = setmetatable({ handle = handle, info = info }, Set)
  for name, part in pairs(shares and by_fraction(info.rows, shares) or by_order(info.rows)) do
    set[name] = setmetatable({ set = set, part = part, name = name }, Part)
  end
  set.all = setmetatable({ set = set, part = { first = 0, count = info.rows }, name = "all" }, Part)
  return set
end

--- Rows in all.
-- @treturn number
function Set:rows() return self.info.rows end

--- Ids in each table.
-- @treturn {number,...}
function Set:tables() return self.info.tables end

--- Dense values in a row.
-- @treturn number
function Set:dense() return self.info.n_dense end

--- Whether it was mapped from the cache, and nothing was read or made.
-- @treturn boolean
function Set:warm() return self.info.warm end

--- The cache file; nil where the data are in memory.
-- @treturn ?string
function Set:cache() return self.info.cache ~= "" and self.info.cache or nil end

--- Why a cache file was not used or not written; nil if there is nothing to say.
-- @treturn ?string
function Set:note() return self.info.note ~= "" and self.info.note or nil end

--- A row: its label, its dense values and its ids.
-- @tparam number n  from 1
-- @treturn number
-- @treturn {number,...}
-- @treturn {number,...}
function Set:row(n)
  check.arg(self.handle, 1, "row", "the data set is closed")
  check.int(n, 1, "row", "n", 1, self.info.rows)
  return data.row(self.handle, n)
end

--- The word of an id, as it stands in the file: up to 8 hexadecimal digits, "" for an empty field.
-- @tparam number table_number  from 1
-- @tparam number id            from 0
-- @treturn ?string  nil where ids are hashed
function Set:word(table_number, id)
  check.arg(self.handle, 1, "word", "the data set is closed")
  check.int(table_number, 1, "word", "table", 1, self.info.n_cat)
  check.int(id, 2, "word", "id", 0, self.info.tables[table_number] - 1)
  local word = data.word(self.handle, table_number, id)
  return word and (word == 0 and "" or ("%08x"):format(word))
end

--- Write the set, or rows first … first + count - 1 of it, as a file in the Criteo format.
-- @tparam string path
-- @tparam[opt=1] number first
-- @tparam ?number count
-- @return true, or nil, message, code
function Set:write(path, first, count)
  check.arg(self.handle, 1, "write", "the data set is closed")
  check.type(path, 1, "write", "path", "string")
  first = check.int(first or 1, 2, "write", "first", 1, self.info.rows + 1)
  count = count or self.info.rows - first + 1
  check.int(count, 3, "write", "count", 0, self.info.rows - first + 1)
  return data.write(self.handle, path, first - 1, count)
end

--- Let go of the data now, not when collected. Loaders made from the set keep it.
function Set:close()
  if self.handle then data.close(self.handle) end
  self.handle = nil
end

function Set:__tostring()
  return ("clicks %s: %d rows, %d dense, %d tables"):format(self.info.name, self.info.rows,
    self.info.n_dense, self.info.n_cat)
end

return clicks
