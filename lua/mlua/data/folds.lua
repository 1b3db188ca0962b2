--- Folds for cross-validation, and a part set aside for tests: by samples, or by groups of which
-- none is on both sides.
--
--     for _, fold in ipairs(ml.data.folds(n, { k = 5, by = patients, stratify = labels })) do
--       fit(fold.train); test(fold.test)           -- positions from 1, rising
--     end
--
-- A unit, which is a group or a single sample, goes to the fold in which its classes are rarest so
-- far, then to the smallest; the largest units first, of one size in a random order.
-- @module mlua.data.folds
local check = require "mlua.check"
local columns = require "mlua.data.columns"
local core = require "mlua.ffi"
local draws = require "mlua.data.draws"
local fail = require "mlua.fail"

local M = {}

local function column(values, n, name, option)
  local list, problem = columns.list(values, n)
  core.expect(list, 2, name, "%s: %s", option, problem)
  return list
end

-- Groups, as lists of positions; without `by` each sample is one.
local function units_of(n, by, name)
  if by ~= nil then return (columns.groups(column(by, n, name, "by"))) end
  local units = {}
  for i = 1, n do units[i] = { i } end
  return units
end

-- The units in the order in which they are dealt, each with how many of each class it has.
local function dealt(units, n, o)
  local class_of, sizes = {}, { n }
  for i = 1, n do class_of[i] = 1 end
  if o.stratify ~= nil then
    for class, ids in ipairs((columns.groups(column(o.stratify, n, "folds", "stratify")))) do
      sizes[class] = #ids
      for _, i in ipairs(ids) do class_of[i] = class end
    end
  end
  local list = {}
  for place, at in ipairs(draws.of(o.seed or 123, draws.FOLDS):order(#units)) do
    local counts, unit = {}, units[at]
    for _, i in ipairs(unit) do counts[class_of[i]] = (counts[class_of[i]] or 0) + 1 end
    list[place] = { ids = unit, counts = counts, class = class_of[unit[1]], place = place }
  end
  table.sort(list, function(a, b)
    if #a.ids ~= #b.ids then return #a.ids > #b.ids end
    if a.class ~= b.class then return a.class < b.class end
    return a.place < b.place
  end)
  return list, sizes
end

-- The fold to which a unit adds least to what folds have too much of each class.
local function best_fold(folds, unit, sizes)
  local best, least
  for _, fold in ipairs(folds) do
    local cost = 0
    for class, count in pairs(unit.counts) do
      cost = cost + count * (fold.counts[class] or 0) / sizes[class]
    end
    if not best or cost < least or cost == least and fold.size < best.size then
      best, least = fold, cost
    end
  end
  return best
end

local function joined(lists)
  local all = {}
  for _, list in ipairs(lists) do
    for _, i in ipairs(list) do all[#all + 1] = i end
  end
  return all
end

-- Positions on the one side and on the other, both rising.
local function sides(n, is_test)
  local parts = { train = {}, test = {} }
  for i = 1, n do table.insert(is_test(i) and parts.test or parts.train, i) end
  return parts
end

-- Makes a fold's `train` when it is asked for: of k folds all together would take k times n.
local function the_others(n, f, fold_of)
  return function(fold, name)
    if name ~= "train" then return nil end
    fold.train = sides(n, function(i) return fold_of[i] == f end).train
    return fold.train
  end
end

--- k folds: each sample tests in one of them and trains in the others. Without groups their sizes
-- differ by at most one; with classes as well as without groups, so does each class.
-- @tparam number n       samples
-- @tparam table options  k; seed (123); by, the group of each sample, a list or a tensor: no group
--   is in two folds; stratify, the class of each
-- @treturn {table,...}   { train, test }: positions from 1, rising
-- @raise bad argument; where there are fewer samples or groups than folds, a line that says so
function M.split(n, options)
  check.int(n, 1, "folds", "n", 0, 2 ^ 53)
  local o = check.options(options, { k = "number", seed = "number", by = true, stratify = true }, 2,
    "folds")
  local k = check.int(o.k, 2, "folds", "k", 2)
  check.int(o.seed or 123, 2, "folds", "seed", 0, 2 ^ 53)
  local units = units_of(n, o.by, "folds")
  if #units < k then
    fail.run("folds: k = %d, and there are %d %s", k, #units, o.by ~= nil and "groups" or "samples")
  end
  local folds, fold_of = {}, {}
  for f = 1, k do folds[f] = { f = f, size = 0, counts = {} } end
  local list, sizes = dealt(units, n, o)
  for _, unit in ipairs(list) do
    local fold = best_fold(folds, unit, sizes)
    fold.size = fold.size + #unit.ids
    for class, count in pairs(unit.counts) do
      fold.counts[class] = (fold.counts[class] or 0) + count
    end
    for _, i in ipairs(unit.ids) do fold_of[i] = fold.f end
  end
  for f = 1, k do
    folds[f] = setmetatable({ test = {} }, { __index = the_others(n, f, fold_of) })
  end
  for i = 1, n do table.insert(folds[fold_of[i]].test, i) end
  return folds
end

--- A part set aside for tests: samples, or whole groups, which are gone through in a random order
-- and taken where that brings the part nearer to its share.
-- @tparam number n
-- @tparam table options  test, the share, above 0 and below 1: at least one sample or group tests,
--   and one trains; seed (123); by, the group of each sample
-- @treturn table  train and test: positions from 1, in the order drawn
-- @raise as split
function M.holdout(n, options)
  check.int(n, 1, "holdout", "n", 0, 2 ^ 53)
  local o = check.options(options, { test = "number", seed = "number", by = true }, 2, "holdout")
  check.arg(o.test and o.test > 0 and o.test < 1, 2, "holdout",
    "test: expected a share above 0 and below 1, got %s", check.what(o.test))
  check.int(o.seed or 123, 2, "holdout", "seed", 0, 2 ^ 53)
  local units = units_of(n, o.by, "holdout")
  if #units < 2 then
    fail.run("holdout: %d %s, and one has to train and one to test", #units,
      (o.by ~= nil and "group" or "sample") .. (#units == 1 and "" or "s"))
  end
  local order = draws.of(o.seed or 123, draws.HOLDOUT):order(#units)
  local wanted, tests, train, test, smallest = math.max(1, math.floor(n * o.test + 0.5)), 0, {}, {}
  for place, at in ipairs(order) do
    local size = #units[at]
    if tests + size / 2 <= wanted and (place < #units or train[1]) then
      test[#test + 1], tests = units[at], tests + size
    else
      train[#train + 1] = units[at]
      if not smallest or size < #train[smallest] then smallest = #train end
    end
  end
  if not test[1] then test[1] = table.remove(train, smallest) end
  return { train = joined(train), test = joined(test) }
end

return setmetatable(M, { __call = function(_, n, options) return M.split(n, options) end })
