--- Rows as what is learned from: inputs, and one column as labels, to train and to test.
--
--     local set = labelled.of(assert(ml.data.rows.load "wine.csv"), { target = "quality" })
--     set.train.x, set.train.y          -- f32 [n, inputs]; i64 [n] of classes from 0, or f32 [n]
--
-- Columns of numbers are brought to mean 0 and deviation 1 over the training rows; other columns
-- become one column for each of their words. Words as the target, or whole numbers of few values,
-- are classes; other numbers are brought to mean 0 and deviation 1, too. The key that joined files,
-- the column of groups and the columns `without` are no inputs.
-- @module mlua.data.labelled
local check = require "mlua.check"
local columns = require "mlua.data.columns"
local fail = require "mlua.fail"
local folds = require "mlua.data.folds"
local op = require "mlua.op"
local tensor = require "mlua.tensor"

local M = {}

local MOST_CLASSES = 20 -- values of a target of whole numbers that are taken as classes

local KNOWN = {
  where = "string", target = "string", kind = "string", key = "string", group = "string",
  without = "table", test = "number", folds = "number", fold = "number", seed = "number",
  missing = "string", words = "table",
}

-- The positions that train and those that test; `classes` is the column of classes, or nil.
local function split(n, o, groups, classes)
  local k = o.folds or 0
  if k > 0 then
    return folds(n, { k = k, seed = o.seed, by = groups, stratify = classes })[o.fold]
  end
  if o.test ~= 0 then
    return folds.holdout(n, { test = o.test or 0.2, seed = o.seed, by = groups })
  end
  local all = {}
  for i = 1, n do all[i] = i end
  return { train = all }
end

-- The target as numbers: ids of classes, and their words; or scaled, and by what.
local function labels_of(target, is_classes, train)
  if is_classes then
    local words, ids = columns.ids(target)
    return ids, words
  end
  local mean, deviation = columns.moments(target, train)
  local scale, labels = { mean = mean, deviation = deviation > 0 and deviation or 1 }, {}
  for i = 1, #target do labels[i] = (target[i] - mean) / scale.deviation end
  return labels, nil, scale
end

-- Refuses rows without a target, and one that is neither numbers nor words.
local function check_target(target, kind)
  for i = 1, target.numbers and 0 or #target do
    local value = target[i]
    if value ~= value or type(value) == "string" and not value:find "%S" then
      fail.run("column '%s': no value in row %d, and each row needs its target", target.name, i)
    end
  end
  if kind ~= "classification" then
    columns.refuse_odd(target, kind == "regression" and "regression needs numbers"
      or ("give words = %s to take all as classes"):format(target.name))
  end
end

-- Inputs most of whose values are numbers: refused, or without the others.
local function settle(column, missing, train)
  if missing == "mean" and column.odd then columns.fill(column, train) end
  columns.refuse_odd(column, ("give missing = mean for the mean of the training rows, or "
    .. "words = %s to take all as words"):format(column.name))
end

--- What is learned from rows.
-- @tparam table rows      of mlua.data.rows, or of the format csv
-- @tparam ?table options  target, a column's name (unless set or "", the last); kind "auto",
--   "classification" or "regression"; key and group, columns; without, a list of columns; words, a
--   list of columns taken as words; missing "refuse" or "mean", what becomes of single values that
--   are no numbers in a column of numbers: an error, or the mean of the training rows; test
--   (0.2), the share of rows that test, 0 for none; or folds and fold, which of them tests; seed
--   (123) of the split; where, the file, for messages
-- @treturn table  train and, unless test is 0, test: { x, y }; inputs, how many, and names, theirs;
--   target; kind; classes, words; or scale, mean and deviation; columns of the training rows as
--   tensors, with `target`, and column_words, the words of those that are ids of words
-- @raise a line on what is wrong with the rows
function M.of(rows, options)
  local o = check.options(options, KNOWN, 2, "of")
  check.arg(({ refuse = true, mean = true })[o.missing or "refuse"], 2, "of",
    "missing: expected refuse or mean, got %s", check.what(o.missing))
  local where, list = o.where or "rows", columns.of(rows)
  if #rows < 2 then fail.run("%s: %d rows; at least 2 are needed", where, #rows) end
  local target = list[#list]
  if o.target and o.target ~= "" then target = columns.find(list, o.target, where) end
  local group = o.group and columns.find(list, o.group, where)
  for _, name in ipairs(o.words or {}) do columns.as_words(columns.find(list, name, where)) end
  check_target(target, o.kind)
  local is_classes = o.kind == "classification"
    or (o.kind or "auto") == "auto" and columns.is_classes(target, MOST_CLASSES)
  if not is_classes and not target.numbers then
    fail.run("column '%s': regression needs numbers", target.name)
  end
  local parts = split(#rows, o, group or nil, is_classes and target or nil)
  local left_out = { [target] = true }
  if group then left_out[group] = true end
  if o.key then left_out[columns.find(list, o.key, where)] = true end
  for _, name in ipairs(o.without or {}) do left_out[columns.find(list, name, where)] = true end
  for _, column in ipairs(list) do
    if not left_out[column] then settle(column, o.missing, parts.train) end
  end
  local inputs, names = columns.inputs(list, parts.train, left_out)
  if not inputs[1] then fail.run("%s: no column but the target", where) end
  local labels, words, scale = labels_of(target, is_classes, parts.train)
  local x = tensor.of(inputs, "f32"):swapaxes(1, 2):contiguous()
  local y = tensor.of(labels, is_classes and "i64" or "f32")
  local set = {
    inputs = #names, names = names, target = target.name, classes = words, scale = scale,
    kind = is_classes and "classification" or "regression", dropped = rows.dropped,
  }
  set.columns, set.column_words = columns.tensors(list, parts.train)
  for name, ids in pairs(parts) do
    local index = tensor.of(ids, "i64") - 1
    set[name] = { x = op.index_select(x, index, 1), y = op.index_select(y, index, 1) }
  end
  set.columns.target = set.train.y
  set.column_words.target = not target.numbers and words or nil
  return set
end

--- The rows of CSV files as a data set (mlua.data.sets).
-- @tparam {string,...} paths
-- @tparam ?table options  as of M.of
-- @treturn ?table  as M.of; nil and a message where they cannot be read
function M.open(paths, options)
  local o = {}
  for name, value in pairs(options or {}) do o[name] = value end
  o.where = table.concat(paths, ", ")
  local rows, why = require "mlua.data.rows".load(paths, { key = o.key })
  if not rows then return nil, why end
  local set = M.of(rows, o)
  set.columns = columns.readable(set.columns, set.column_words)
  function set.note()
    local words = {}
    for f, n in ipairs(set.dropped or {}) do
      if n > 0 then words[#words + 1] = ("%.0f rows of %s"):format(n, paths[f]) end
    end
    return words[1] and "left out: " .. table.concat(words, ", ")
  end
  return set
end

return M
