--- Columns of rows: which are of numbers, the words of the others, their groups, and what a model
-- takes of them.
--
--     local list = columns.of(rows)          -- of mlua.data.rows, or of the format csv
--     local color = list.by.color
--     local words, at = columns.words(color)   -- { "blue", "red" }, { blue = 1, red = 2 }
--
-- A column is the list of its values, with `name` and `numbers`, whether all are finite numbers;
-- and, where most but not all are, of those that are not empty, `odd`: how many are none, and the
-- row of the first.
-- @module mlua.data.columns
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local check = require "mlua.check"
local json = require "mlua.json"
local tensor = require "mlua.tensor"
local text = require "mlua.text"

local M = {}

local MOST_WORDS = 1000 -- of a column that becomes inputs

local function is_number(value) return type(value) == "number" and value - value == 0 end

--- Rows, column by column.
-- @tparam table rows  lists of fields, and `columns`, their names
-- @treturn table  a list of columns, and `by`, these by name
function M.of(rows)
  local list = { by = {} }
  for c, name in ipairs(rows.columns) do
    local column = { name = name, numbers = true }
    local odd, empty, first = 0, 0, nil
    for i = 1, #rows do
      local value = rows[i][c]
      column[i] = value
      if not is_number(value) then
        odd, first = odd + 1, first or i
        if value == "" then empty = empty + 1 end
      end
    end
    column.numbers = odd == 0
    if odd > 0 and 2 * (#rows - odd) > #rows - empty then
      column.odd = { count = odd, row = first }
    end
    list[c], list.by[name] = column, column
  end
  return list
end

local MOST_SHOWN = 10 -- columns in a message

--- What is said of a column that is not there: which was meant, or those that there are.
-- @tparam string name
-- @tparam {string,...} names
-- @treturn string
function M.absent(name, names)
  local hint = text.did_you_mean(name, names)
  if hint == "" then
    local shown = {}
    for i = 1, math.min(#names, MOST_SHOWN) do shown[i] = text.clip(names[i], 40) end
    if #names > MOST_SHOWN then shown[#shown + 1] = ("%d more"):format(#names - MOST_SHOWN) end
    hint = (#names == 1 and "; there is " or "; there are ") .. text.list(shown, "and")
  end
  return ("no column '%s'%s"):format(name, hint)
end

--- A column by name, or the end of the script.
-- @tparam table list   as of M.of
-- @tparam string name
-- @tparam string where  the file, for the message
-- @treturn table
function M.find(list, name, where)
  if list.by[name] then return list.by[name] end
  local names = {}
  for i, column in ipairs(list) do names[i] = column.name end
  fail.run("%s: %s", where, M.absent(name, names))
end

--- Take a column as words, though it has numbers.
-- @tparam table column
function M.as_words(column) column.numbers, column.odd = false, nil end

--- The end of the script where most values of a column are numbers and some are not.
-- @tparam table column
-- @tparam string advice  what to do
function M.refuse_odd(column, advice)
  local odd = column.odd
  if not odd then return end
  fail.run("column '%s': %d of %d values %s%s in row %d); %s", column.name, odd.count, #column,
    odd.count == 1 and "is no number (" or "are no numbers (the first is ",
    check.what(column[odd.row]), odd.row, advice)
end

--- Put the mean of some rows' numbers in place of what is no number.
-- @tparam table column
-- @tparam {number,...} ids  positions of the training rows
function M.fill(column, ids)
  local sum, count = 0, 0
  for _, i in ipairs(ids) do
    if is_number(column[i]) then sum, count = sum + column[i], count + 1 end
  end
  local mean = count > 0 and sum / count or 0
  for i = 1, #column do
    if not is_number(column[i]) then column[i] = mean end
  end
  column.numbers, column.odd = true, nil
end

--- A value as a word: what values of one class or group have in common.
-- @tparam string|number|boolean value
-- @treturn string
function M.word(value)
  if value == 0 then return "0" end -- of either sign
  return type(value) == "number" and value - value == 0 and json.number(value) or tostring(value)
end

-- Numbers by size, before words by their bytes.
local function before(a, b)
  local x, y = tonumber(a), tonumber(b)
  x, y = x == x and x or nil, y == y and y or nil
  if x and y and x ~= y then return x < y end
  if (x == nil) ~= (y == nil) then return x ~= nil end
  return a < b
end

--- The different words of a column, sorted, and the place of each.
-- @tparam table values
-- @treturn {string,...}
-- @treturn table  word → place
function M.words(values)
  local at, words = {}, {}
  for i = 1, #values do
    local word = M.word(values[i])
    if not at[word] then at[word], words[#words + 1] = true, word end
  end
  table.sort(words, before)
  for i, word in ipairs(words) do at[word] = i end
  return words, at
end

--- A column as ids of its words, from 0.
-- @tparam table values
-- @treturn {string,...}  the words, sorted
-- @treturn {number,...}  the ids
function M.ids(values)
  local words, at = M.words(values)
  local ids = {}
  for i = 1, #values do ids[i] = at[M.word(values[i])] - 1 end
  return words, ids
end

--- Some rows of all columns as tensors by name: numbers as f64, words as ids.
-- @tparam table list  as of M.of
-- @tparam {number,...} positions
-- @treturn table
-- @treturn table  the words of those that have ids, by name
function M.tensors(list, positions)
  local tensors, words = {}, {}
  for _, column in ipairs(list) do
    local values, picked = column, {}
    if not column.numbers then words[column.name], values = M.ids(column) end
    for k, i in ipairs(positions) do picked[k] = values[i] end
    tensors[column.name] = tensor.of(picked, column.numbers and "f64" or "i64")
  end
  return tensors, words
end

--- Columns as samplers take them: words as lists of words, so that none are taken as numbers.
-- @tparam table tensors  by name, as of M.tensors
-- @tparam table words    by name, as of M.tensors
-- @treturn table
function M.readable(tensors, words)
  local all = {}
  for name, t in pairs(tensors) do
    all[name] = t
    if words[name] then
      local list = t:totable()
      for i = 1, #list do list[i] = words[name][list[i] + 1] end
      all[name] = list
    end
  end
  return all
end

--- The positions of each word of a column.
-- @tparam table values
-- @tparam ?{number,...} among  some of the positions; all unless given
-- @treturn {{number,...},...}  in the order of the words
-- @treturn {string,...}  the words, sorted
function M.groups(values, among)
  local some = values
  if among then
    some = {}
    for k, i in ipairs(among) do some[k] = values[i] end
  end
  local words, at = M.words(some)
  local groups = {}
  for i = 1, #words do groups[i] = {} end
  for k = 1, #some do
    local group = groups[at[M.word(some[k])]]
    group[#group + 1] = among and among[k] or k
  end
  return groups, words
end

--- What a caller gives as a column, as a list of as many values as there are samples.
-- @param values     a list, or a tensor of that many numbers
-- @tparam number n
-- @treturn ?table   nil and what is wrong
function M.list(values, n)
  if core.is_tensor(values) then
    if values:count() ~= n then
      return nil, ("expected %d values, got %d"):format(n, values:count())
    end
    values = values:reshape(n):totable()
  elseif type(values) ~= "table" or #values ~= n then
    return nil, ("expected %d values, got %s"):format(n, type(values) == "table" and #values
      or tostring(values))
  end
  for i = 1, n do
    if values[i] ~= values[i] then return nil, ("no number at position %d"):format(i) end
  end
  return values
end

--- Whether a column has classes: words, or whole numbers of few values.
-- @tparam table column
-- @tparam number most  values of whole numbers
-- @treturn boolean
function M.is_classes(column, most)
  if not column.numbers then return true end
  local seen, n = {}, 0
  for i = 1, #column do
    if column[i] % 1 ~= 0 then return false end
    if not seen[column[i]] then
      seen[column[i]], n = true, n + 1
      if n > most then return false end
    end
  end
  return true
end

--- Mean and deviation of a column over some rows.
-- @tparam table column
-- @tparam {number,...} ids  positions
-- @treturn number
-- @treturn number
function M.moments(column, ids)
  local sum, squares = 0, 0
  for _, i in ipairs(ids) do sum = sum + column[i] end
  local mean = sum / #ids
  for _, i in ipairs(ids) do squares = squares + (column[i] - mean) ^ 2 end
  return mean, math.sqrt(squares / #ids)
end

-- Adds what a column gives: one list, or one for each of its words.
local function add_inputs(column, ids, inputs, names)
  local function add(name, from, f)
    local values = {}
    for i = 1, #from do values[i] = f(from[i]) end
    inputs[#inputs + 1], names[#names + 1] = values, name
  end
  if column.numbers then
    local mean, deviation = M.moments(column, ids)
    add(column.name, column, function(x) return deviation > 0 and (x - mean) / deviation or 0 end)
    return
  end
  local words, word_ids = M.ids(column)
  if #words > MOST_WORDS then
    fail.run("column '%s': %d different words; at most %d are taken", column.name, #words,
      MOST_WORDS)
  end
  for at, word in ipairs(words) do
    add(column.name .. "=" .. word, word_ids, function(id) return id == at - 1 and 1 or 0 end)
  end
end

--- Inputs of a model: numbers brought to mean 0 and deviation 1 over some rows, and a column of 0
-- and 1 for each word of the others.
-- @tparam table list     as of M.of
-- @tparam {number,...} ids  positions of the training rows
-- @tparam table left_out    columns as keys
-- @treturn {{number,...},...}  a list for each input
-- @treturn {string,...}        their names
function M.inputs(list, ids, left_out)
  local inputs, names = {}, {}
  for _, column in ipairs(list) do
    if not left_out[column] then add_inputs(column, ids, inputs, names) end
  end
  return inputs, names
end

return M
