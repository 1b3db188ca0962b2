--- Random rows with bags of ids, as the public DLRM makes for timing: nothing in them to learn.
--
-- Dense values are uniform in [0, 1), ids uniform over their table. Row r is the same each time, by
-- (seed, r): nothing is kept in memory.
-- @module mlua.data.random
local check = require "mlua.check"
local data = require "mlua.ffi.data"
local loader = require "mlua.data.loader"

local random = {}

local Random = {}
Random.__index = Random

-- What a training takes of a batch (mlua.data.sets).
Random.input, Random.label, Random.kind = { "dense", "ids", "offsets" }, "label", "binary"

local KNOWN = {
  rows = "number", n_dense = "number", tables = "table", lookups = "number", fixed = "boolean",
  round_labels = "boolean", seed = "number",
}

--- Random rows.
-- @tparam table options
-- @tparam[opt=1024] number options.rows
-- @tparam[opt=13] number options.n_dense
-- @tparam {number,...} options.tables   rows of each table
-- @tparam[opt=10] number options.lookups   ids in a bag
-- @tparam[opt=false] boolean options.fixed   that many in each; otherwise 1 to that many
-- @tparam[opt=false] boolean options.round_labels   0 or 1; otherwise uniform in [0, 1)
-- @tparam[opt=123] number options.seed
-- @treturn Random
function random.open(options)
  local o = check.options(options, KNOWN, 1, "open")
  check.arg(o.tables and #o.tables > 0, 1, "open", "tables: expected the sizes of the tables")
  local self = setmetatable({
    rows_n = o.rows or 1024, n_dense = o.n_dense or 13, sizes = o.tables,
    lookups = o.lookups or 10, fixed = o.fixed or false, round = o.round_labels or false,
    seed = o.seed or 123,
  }, Random)
  check.int(self.rows_n, 1, "open", "rows", 1, 2 ^ 40)
  check.int(self.n_dense, 1, "open", "n_dense", 0, 1024)
  check.int(self.lookups, 1, "open", "lookups", 1, 2 ^ 20)
  check.int(self.seed, 1, "open", "seed", 0, 2 ^ 53)
  for t, size in ipairs(o.tables) do
    check.int(size, 1, "open", ("tables[%d]"):format(t), 1, 2 ^ 31 - 1)
  end
  return self
end

function Random:rows() return self.rows_n end

--- Dense values in a row.
function Random:dense() return self.n_dense end

--- Rows of each table.
function Random:tables() return self.sizes end

--- A loader (mlua.data.loader) of batches with bags.
-- @tparam ?table options
-- @treturn Loader  or nil, message, code
function Random:loader(options)
  local what = {
    rows = self.rows_n, seed = self.seed, n_dense = self.n_dense, tables = self.sizes,
    lookups = self.lookups, fixed = self.fixed, round_labels = self.round,
  }
  return loader.new(function(o) return data.random_loader(what, o) end,
    { first = 0, count = self.rows_n }, options, { name = "loader", n = 1, bags = true })
end

return random
