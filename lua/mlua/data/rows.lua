--- Rows of one or several CSV files whose first lines name their columns.
--
--     local rows = assert(ml.data.rows.load { "2023.csv", "2024.csv" })       -- one after another
--     local rows = assert(ml.data.rows.load({ "a.csv", "b.csv" }, { key = "id" }))   -- joined
--
-- With a key, a row has the columns of all files, where all have a row of that key; rows stand in
-- the order of the first file. Keys are equal where they are the same as text: 7 and "7".
-- @module mlua.data.rows
local bytes = require "mlua.format.bytes"
local check = require "mlua.check"
local columns = require "mlua.data.columns"
local format = require "mlua.format"
local text = require "mlua.text"

local M = {}

-- What separates a file's columns in place of commas; nil where there is no such sign.
local function other_separator(path)
  local file = bytes.open(path)
  local line = file and (file:read(4096) or ""):match "^[^\r\n]*" or ""
  if file then file:close() end
  if line:find '[,"]' then return nil end
  return line:find(";", 1, true) and "';'" or line:find("\t", 1, true) and "tabs" or nil
end

-- The place of each column; nil and a message where two have one name.
local function places_of(names, path)
  local at = {}
  for c, name in ipairs(names) do
    if at[name] then return nil, ("%s: two columns '%s'"):format(path, name) end
    at[name] = c
  end
  return at
end

local function read(paths)
  local tables, csv = {}, format.get "csv"
  for f, path in ipairs(paths) do
    local separator = other_separator(path)
    if separator then
      return nil, ("%s: its columns are separated by %s; expected commas"):format(path, separator)
    end
    local rows, message, code = csv.load(path, { header = true, lines = true })
    if not rows then return nil, message, code end
    if not rows.columns then return nil, path .. ": no line with the names of columns" end
    local at, problem = places_of(rows.columns, path)
    if not at then return nil, problem end
    rows.path, rows.at, tables[f] = path, at, rows
  end
  return tables
end

-- -- one after another -------------------------------------------------------------------------

-- A file's rows with their fields in the order of other columns.
local function append(into, names, rows, first)
  local at, known, from = rows.at, {}, {}
  for c, name in ipairs(names) do
    if not at[name] then
      return nil, ("%s: no column '%s', which %s has%s"):format(rows.path, name, first,
        text.did_you_mean(name, rows.columns))
    end
    known[name], from[c] = true, at[name]
  end
  for _, name in ipairs(rows.columns) do
    if not known[name] then
      return nil, ("%s: column '%s', which %s has not"):format(rows.path, name, first)
    end
  end
  for _, row in ipairs(rows) do
    local moved = {}
    for c = 1, #from do moved[c] = row[from[c]] end
    into[#into + 1] = moved
  end
  return true
end

local function chained(tables)
  local first = tables[1]
  for f = 2, #tables do
    local done, problem = append(first, first.columns, tables[f], first.path)
    if not done then return nil, problem end
  end
  first.path, first.at, first.lines = nil, nil, nil
  return first
end

-- -- joined ------------------------------------------------------------------------------------

-- Each key's row, and the place of the key's column.
local function by_key(rows, key)
  local place = rows.at[key]
  if not place then
    return nil, ("%s: %s"):format(rows.path, columns.absent(key, rows.columns))
  end
  local row_of = {}
  for i, row in ipairs(rows) do
    local word = columns.word(row[place])
    local before = row_of[word]
    if before then
      return nil, ("%s: line %d: the key '%s' is in line %d, too"):format(rows.path, rows.lines[i],
        word, rows.lines[before])
    end
    row_of[word] = i
  end
  return row_of, place
end

-- The names of all columns, the key's once; nil and a message where two files have one name.
local function all_names(tables, key)
  local names, path_of = {}, {}
  for f, rows in ipairs(tables) do
    for _, name in ipairs(rows.columns) do
      if path_of[name] and name ~= key then
        return nil, ("column '%s' is in both %s and %s"):format(name, path_of[name], rows.path)
      end
      if f == 1 or name ~= key then names[#names + 1], path_of[name] = name, rows.path end
    end
  end
  return names
end

-- Why no row is left: which file has no key of the first, with a key of each, or has no rows.
local function unmatched(tables, row_of, key)
  local first = tables[1]
  for f, rows in ipairs(tables) do
    if not rows[1] then return rows.path .. ": no rows" end
    local found = false
    for word in pairs(row_of[1]) do found = found or row_of[f][word] ~= nil end
    if not found then
      return ("no '%s' of %s is in %s: the first are %s and %s"):format(key, first.path, rows.path,
        check.what(first[1][first.at[key]]), check.what(rows[1][rows.at[key]]))
    end
  end
  return ("no '%s' of %s is in all of the other files"):format(key, first.path)
end

local function joined(tables, key)
  local row_of, place = {}, {}
  for f, rows in ipairs(tables) do
    local found, at = by_key(rows, key)
    if not found then return nil, at end
    row_of[f], place[f] = found, at
  end
  local names, problem = all_names(tables, key)
  if not names then return nil, problem end
  local all = { columns = names, dropped = {} }
  for _, row in ipairs(tables[1]) do
    local word, fields = columns.word(row[place[1]]), {}
    for c, value in ipairs(row) do fields[c] = value end
    for f = 2, #tables do
      local other = fields and tables[f][row_of[f][word]]
      if not other then fields = nil end
      for c, value in ipairs(other or {}) do
        if c ~= place[f] then fields[#fields + 1] = value end
      end
    end
    all[#all + 1] = fields
  end
  for f, rows in ipairs(tables) do all.dropped[f] = #rows - #all end
  if not all[1] then return nil, unmatched(tables, row_of, key) end
  return all
end

--- Read and put together.
-- @tparam string|{string,...} paths
-- @tparam ?table options  key: the column by which files are joined; without one, all have the same
--   columns and stand one after another
-- @treturn ?table  rows, lists of fields; columns, their names; with a key also dropped, how many
--   rows of each file are not in all others. nil, a message
function M.load(paths, options)
  check.type(paths, 1, "load", "paths", "string|table")
  local o = check.options(options, { key = "string" }, 2, "load")
  if type(paths) == "string" then paths = { paths } end
  check.arg(paths[1], 1, "load", "paths: expected at least one")
  local tables, message, code = read(paths)
  if not tables then return nil, message, code end
  if o.key then return joined(tables, o.key) end
  return chained(tables)
end

return M
