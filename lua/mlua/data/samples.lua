--- Loaders over samples of one's own: a data set is whatever has a number of samples and `get(i)`.
--
--     local loader = samples.loader({ x = x, y = y }, { batch = 32, shuffle = true })
--     local loader = samples.loader({ n = 500, get = function(i) return { x = …, y = … } end }, …)
--     for batch in loader:epoch(0) do train(batch.x, batch.y) end
--
-- Tensors in a table are a data set, too: sample i is row i of each; beside them there may be lists
-- of words. A sample is a table of tensors, numbers, words or lists by name; a batch has them
-- stacked along a new first axis (words as a list), and `rows`, `epoch`, `step`. Which samples a
-- batch has depends on seed, epoch and step alone, so that a training goes on in the middle of an
-- epoch with the batches that it would have had.
--
-- Samplers ask for columns by name (`sampler = balanced` with `by = "label"`): those of `columns`,
-- else the data set's own tensors and lists.
-- @module mlua.data.samples
local check = require "mlua.check"
local core = require "mlua.ffi"
local draws = require "mlua.data.draws"
local fail = require "mlua.fail"
local profile = require "mlua.ffi.profile"
local tensor = require "mlua.tensor"
local text = require "mlua.text"

local M = {}

local Loader = {}
Loader.__index = Loader

local KNOWN = {
  batch = "number", shuffle = "boolean", seed = "number", drop_last = "boolean",
  sampler = "function|table", collate = "function", columns = "function|table",
}

-- -- data sets ---------------------------------------------------------------------------------

-- The number of samples and (ids) → batch of a table of tensors and lists; nil where it is none.
local function of_tensors(set)
  if type(set.get) == "function" then return nil end
  local n, sizes = nil, {}
  for name, t in pairs(set) do
    local is_tensor = core.is_tensor(t)
    if not is_tensor and (type(t) ~= "table" or getmetatable(t)) then return nil end
    sizes[name] = is_tensor and t:size(1) or #t
    n = n or is_tensor and sizes[name] or nil
  end
  if not n then return nil end
  for name, size in pairs(sizes) do
    check.arg_at(3, size == n, 1, "loader", "%s: expected %d rows as the others, got %d", name, n,
      size)
  end
  return n, function(ids)
    local at, batch = {}, {}
    for i, id in ipairs(ids) do at[i] = id - 1 end
    local index = tensor.of(at, "i64")
    for name, t in pairs(set) do
      if core.is_tensor(t) then
        batch[name] = core.op.index_select(t, index, 1)
      else
        batch[name] = {}
        for i, id in ipairs(ids) do batch[name][i] = t[id] end
      end
    end
    return batch
  end
end

-- Samples stacked, field by field.
local function stacked(list)
  local batch = {}
  for name, value in pairs(list[1]) do
    local values = {}
    for i, sample in ipairs(list) do
      values[i] = sample[name]
      if values[i] == nil then
        fail.run("samples: '%s' is not in each of a batch", tostring(name))
      end
    end
    if core.is_tensor(value) then
      batch[name] = require "mlua.tensor.arrange".functions.stack(values)
    else
      batch[name] = type(value) == "string" and values or tensor.of(values)
    end
  end
  return batch
end

local function of_samples(set, collate)
  local n = set.n or type(set.len) == "function" and set:len()
  check.arg_at(3, type(n) == "number" and n % 1 == 0 and n >= 0, 1, "loader",
    "expected tensors by name, or n and get, got n = %s", check.what(n or nil))
  check.arg_at(3, type(set.get) == "function", 1, "loader", "get: expected a function, got %s",
    check.what(set.get))
  return n, function(ids)
    local list = {}
    for i, id in ipairs(ids) do
      local ok, sample = pcall(set.get, id)
      if not ok then fail.run("sample %d: %s", id - 1, tostring(sample)) end
      if type(sample) ~= "table" then
        fail.run("sample %d: get: expected a table, got %s", id - 1, check.what(sample))
      end
      list[i] = sample
    end
    return (collate or stacked)(list)
  end
end

-- -- loaders -----------------------------------------------------------------------------------

-- What samplers ask for by name.
local function column_of(set, columns)
  return function(name)
    local found
    if type(columns) == "function" then found = columns(name) else found = (columns or {})[name] end
    if found == nil and type(set.get) ~= "function" then found = set[name] end
    if found ~= nil then return found end
    local known = type(columns) == "table" and text.keys(columns) or {}
    for _, own in ipairs(type(set.get) ~= "function" and text.keys(set) or {}) do
      known[#known + 1] = own
    end
    fail.run("sampler: no column '%s'%s", name, text.did_you_mean(name, known))
  end
end

--- A loader of a data set.
-- @tparam table set         tensors by name, of as many rows; or n and get(i), i from 1, and
--   columns, as of the options
-- @tparam ?table options    batch (128); shuffle (false), by (seed, epoch); seed (123); drop_last;
--   sampler(n, epoch, column, seed) → positions from 1, or a part of the registry, in place of
--   shuffle; columns for samplers, lists or tensors by name, or a function of the name; collate, a
--   list of samples → a batch
-- @treturn Loader
-- @raise bad argument #1, #2
function M.loader(set, options)
  check.type(set, 1, "loader", "set", "table")
  local o = check.options(options, KNOWN, 2, "loader")
  local self = setmetatable({
    options = { batch = check.int(o.batch or 128, 2, "loader", "batch", 1, 2 ^ 31),
                seed = check.int(o.seed or 123, 2, "loader", "seed", 0, 2 ^ 53) },
    shuffle = o.shuffle, sampler = o.sampler, drop_last = o.drop_last,
  }, Loader)
  self.n, self.take = of_tensors(set)
  if not self.n then self.n, self.take = of_samples(set, o.collate) end
  self.column = column_of(set, o.columns or type(set.get) == "function" and set.columns or nil)
  return self
end

--- The samples of an epoch in the order in which batches have them.
-- @tparam number epoch  from 0
-- @treturn {number,...}  positions from 1
function Loader:order(epoch)
  if self.ordered == epoch then return self.list end
  local list
  if self.sampler then
    list = self.sampler(self.n, epoch, self.column, self.options.seed)
  elseif self.shuffle then
    list = draws.of(self.options.seed, epoch):order(self.n)
  else
    list = {}
    for i = 1, self.n do list[i] = i end
  end
  for i = 1, self.sampler and #list or 0 do
    local id = list[i]
    if type(id) ~= "number" or id % 1 ~= 0 or id < 1 or id > self.n then
      fail.run("sampler: expected positions from 1 to %d, got %s", self.n, tostring(id))
    end
  end
  self.ordered, self.list = epoch, list
  return list
end

--- Samples of an epoch.
-- @tparam[opt=0] number epoch  a sampler may give each another number
-- @treturn number
function Loader:rows(epoch) return self.sampler and #self:order(epoch or 0) or self.n end

--- Batches of an epoch.
-- @tparam[opt=0] number epoch
-- @treturn number
function Loader:steps(epoch)
  local exact = self:rows(epoch) / self.options.batch
  return self.drop_last and math.floor(exact) or math.ceil(exact)
end

--- The batches of an epoch, for a `for` loop.
-- @tparam number epoch      from 0
-- @tparam[opt=0] number step  first batch, to go on in the middle
-- @treturn function
function Loader:epoch(epoch, step)
  check.int(epoch, 1, "epoch", "epoch", 0, 2 ^ 53)
  local order, size, at = self:order(epoch), self.options.batch, step or 0
  local last = self:steps(epoch)
  return function()
    if at >= last then return nil end
    local ids = {}
    for i = at * size + 1, math.min((at + 1) * size, #order) do ids[#ids + 1] = order[i] end
    local batch = profile.call(profile.WAIT, "loader: gather", self.take, ids)
    batch.rows, batch.epoch, batch.step = #ids, epoch, at
    at = at + 1
    return batch
  end
end

--- Nothing is open; as other loaders have it.
function Loader.close() end

return M
