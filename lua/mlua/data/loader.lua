--- Loaders: batches of rows as tensors, in order, read ahead by worker threads.
--
--     for batch in loader:epoch(0) do
--       train(batch.dense, batch.ids, batch.label)
--     end
--
-- A batch is a table { dense, ids, label, rows, epoch, step }:
--
--     dense   f32 [rows, n_dense]
--     ids     i32 [n_cat, rows], table by table: from 0
--     label   f32 [rows, 1]
--
-- With bags (mlua.data.random), ids is flat, [lookups], by table, then row; batch.offsets, i32
-- [n_cat * rows + 1], says where each bag begins.
--
-- The table and its tensors are used again for the next batch: what must outlive it is copied.
-- Which rows a batch has depends on its epoch and step alone, not on the number of workers.
-- @module mlua.data.loader
local check = require "mlua.check"
local fail = require "mlua.fail"
local core = require "mlua.ffi"
local data = require "mlua.ffi.data"
require "mlua.tensor" -- what batches are made of

local bad = core.bad
local loader = {}

local Loader = {}
Loader.__index = Loader

--- Options that every loader takes.
-- @table options
-- @tfield[opt=128] number batch     rows in a batch
-- @tfield[opt=false] boolean shuffle   another order each epoch, by (seed, epoch)
-- @tfield[opt=123] number seed
-- @tfield[opt=0] number workers     threads that read ahead; 0: the calling thread gathers
-- @tfield[opt=false] boolean drop_last  leave out a last batch that is short
-- @tfield[opt=0] number sub_sample  leave out this share of the rows labelled 0, by the seed
-- @tfield[opt=0] number epoch       where to begin
local KNOWN = {
  batch = "number", shuffle = "boolean", seed = "number", workers = "number",
  drop_last = "boolean", epoch = "number", sub_sample = "number",
}

-- Options checked and with their defaults; raises at the user's line.
local function complete(o, name, n)
  local full = {
    batch = 128, shuffle = false, seed = 123, workers = 0, drop_last = false, epoch = 0,
    sub_sample = 0,
  }
  for field, value in pairs(core.options(o, KNOWN, n, name)) do full[field] = value end
  local function range(field, lowest, highest)
    local value = full[field]
    if value % 1 ~= 0 or value < lowest or value > highest then
      bad(n, name, "%s: expected an integer from %d to %.0f, got %.14g", field, lowest, highest,
        value)
    end
  end
  range("batch", 1, 2 ^ 31 - 1)
  range("workers", 0, 256)
  range("seed", 0, 2 ^ 53)
  range("epoch", 0, 2 ^ 53)
  if not (full.sub_sample >= 0 and full.sub_sample < 1) then
    bad(n, name, "sub_sample: expected a number from 0, below 1, got %.14g", full.sub_sample)
  end
  return full
end

-- What the handle shows for batches of `rows` rows.
local function view(self, rows)
  local tensors, message, code = data.tensors(self.handle, rows, self.bags)
  if not tensors then return nil, message, code end
  return { dense = tensors[1], label = tensors[2], ids = tensors[3], offsets = tensors[4],
           rows = rows }
end

--- A loader over an open handle; other modules' way in.
-- @tparam function open   open(options) gives a handle, or nil, message, code
-- @tparam table part      first, count, permuted, seed
-- @param o                the user's options
-- @tparam table about     name of the user's function, its argument number, bags
-- @treturn Loader         or nil, message, code
function loader.new(open, part, o, about)
  o = complete(o, about.name, about.n)
  o.part = part
  local handle, message, code = open(o)
  if not handle then
    if code == data.EARG then bad(about.n, about.name, "%s", message) end
    return nil, message, code
  end
  local self = setmetatable({
    handle = handle, options = o, bags = about.bags, part = part, owner = about.owner,
    raw = data.batch(handle), count = data.steps(handle), row_count = data.count(handle),
  }, Loader)
  local full = math.min(o.batch, self.row_count)
  local last = self.row_count % o.batch
  self.full, message, code = view(self, full)
  if self.full and last > 0 and last < full and not o.drop_last then
    self.short, message, code = view(self, last)
  end
  if not self.full or message then return nil, message, code end
  self.at_epoch = o.epoch
  return self
end

local function handle_of(self, name)
  check.arg_at(2, self.handle, 1, name, "the loader is closed")
  return self.handle
end

--- Batches in an epoch.
-- @treturn number
function Loader:steps()
  return self.count
end

--- Rows that an epoch goes through.
-- @treturn number
function Loader:rows()
  return self.row_count
end

--- Go to a position: the next batch is number `step`, from 0, of `epoch`.
-- @tparam number epoch
-- @tparam[opt=0] number step
function Loader:seek(epoch, step)
  step = step or 0
  local handle = handle_of(self, "seek")
  check.int(epoch, 1, "seek", "epoch", 0, 2 ^ 53)
  check.int(step, 2, "seek", "step", 0, self.count)
  local ok, message = data.seek(handle, epoch, step)
  check.arg(ok, 1, "seek", "%s", message)
  self.started, self.at_epoch, self.at_step = true, epoch, step
end

--- Where the loader stands: what seek takes to go on from here.
-- @treturn number epoch
-- @treturn number step  batches of it already given
function Loader:position()
  return self.at_epoch, self.at_step or 0
end

--- The next batch; nil at the end of the epoch.
-- @treturn table  or nil; or nil, message, code
function Loader:next()
  local handle = self.handle
  if not handle then handle_of(self, "next") end
  core.no_capture "a loader goes on outside the step; hand its batch in"
  if not self.started then self:seek(self.at_epoch, 0) end
  local code = data.next(handle)
  if code > 0 then return nil end
  data.touch(self.full) -- also after a failure: what the batch held may be overwritten in part
  if self.short then data.touch(self.short) end
  if code < 0 then return nil, data.message(), code end
  local raw = self.raw
  local rows, step = tonumber(raw.rows), tonumber(raw.step)
  local batch = rows == self.full.rows and self.full or self.short
  batch.epoch, batch.step = self.at_epoch, step
  if self.bags and batch.lookups ~= raw.lookups then
    batch.lookups = tonumber(raw.lookups)
    batch.ids = assert(data.ids(handle, batch.ids))
  end
  self.at_step = step + 1
  return batch
end

local function iterate(self)
  local batch, message = self:next()
  if message then error(fail.value(message), 0) end
  return batch
end

--- The batches of an epoch, for a `for` loop. A failure ends the script with its one line.
-- @tparam[opt] number n       which epoch, from 0; none: from where the loader stands
-- @tparam[opt=0] number step  first batch, to go on in the middle
-- @treturn function           an iterator of batches
function Loader:epoch(n, step)
  if n ~= nil then
    check.int(n, 1, "epoch", "n", 0, 2 ^ 53)
    check.int(step or 0, 2, "epoch", "step", 0, self.count)
    self:seek(n, step)
  end
  return iterate, self
end

--- The rows (from 1) of an epoch in the order in which batches have them.
-- @tparam number epoch
-- @treturn {number,...}
function Loader:order(epoch)
  local handle = handle_of(self, "order")
  check.int(epoch, 1, "order", "epoch", 0, 2 ^ 53)
  return (data.order(handle, epoch, 0, self:rows()))
end

--- End the workers and give memory back now, not when collected. Tensors of batches stay readable.
function Loader:close()
  if not self.handle then return end
  data.loader_close(self.handle)
  self.handle, self.raw = nil, nil
end

function Loader:__tostring()
  return ("loader: %d rows, batches of %d, %s, %d worker%s"):format(self:rows(), self.options.batch,
    self.options.shuffle and "shuffled" or "in order", self.options.workers,
    self.options.workers == 1 and "" or "s")
end

--- A loader over tensors in memory.
-- @tparam table rows   dense f32 [n, d], ids i32 [n, t], label f32 with n elements, and tables: ids
--   of each of the t tables
-- @tparam ?table options
-- @treturn Loader  or nil, message, code
function loader.rows(rows, options)
  check.type(rows, 1, "rows", "rows", "table")
  local dense, ids, label = rows.dense, rows.ids, rows.label
  check.arg(dense and dense:dtype() == "f32" and #dense:shape() == 2, 1, "rows",
    "dense: expected f32 [n, d], got %s", dense)
  local n = dense:size(1)
  check.arg(ids and ids:dtype() == "i32" and #ids:shape() == 2 and ids:size(1) == n, 1, "rows",
    "ids: expected i32 [%d, t], got %s", n, ids)
  check.arg(label and label:dtype() == "f32" and label:count() == n, 1, "rows",
    "label: expected f32 [%d], got %s", n, label)
  check.arg(type(rows.tables) == "table" and #rows.tables == ids:size(2), 1, "rows",
    "tables: expected the sizes of %d tables", ids:size(2))
  for name, t in pairs { dense = dense, ids = ids, label = label } do
    check.arg(t:info().contiguous, 1, "rows", "%s: expected a contiguous tensor", name)
  end
  return loader.new(function(o) return data.rows_loader(rows, o) end, { first = 0, count = n },
    options, { name = "rows", n = 2, owner = rows })
end

return loader
