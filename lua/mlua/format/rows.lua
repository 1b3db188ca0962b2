--- The formats csv and tsv: rows of numbers, strings, true and false, as RFC 4180 quotes them.
--
-- A value is a list of rows, each a list of as many fields; `columns`, where there are any, names
-- the fields and is the file's first line: { columns = { "id", "auc" }, { "a", 0.81 }, … }.
--
-- Types come back by one rule: what is in quotes is a string. Without, `true` and `false` are
-- booleans, `NaN`, `Infinity` and `-Infinity` numbers, and so is a decimal number that a double
-- holds; all else is a string. So a string that would be read as something else is written in
-- quotes. 007 and whole numbers of more digits than a double has (ids, often) are strings. An empty
-- field is an empty string. The first line has the names of the columns where all its fields are
-- strings and the first one is without quotes; a first row of strings alone is therefore written
-- with quotes.
--
-- Of others' files: a byte order mark and empty lines are skipped, lines may end in CR LF, and
-- `format.get("csv").load(path, { header = true })` says that the first line has the names (false:
-- that it has not); `lines = true` adds the field `lines`, in which line each row begins.
-- @module mlua.format.rows
-- @source https://www.rfc-editor.org/rfc/rfc4180
local bytes = require "mlua.format.bytes"
local check = require "mlua.check"
local json = require "mlua.json"

local new_table = require "table.new"

local byte, sub = string.byte, string.sub

local rows = {}

local BOM = "\239\187\191"
local WORDS = { ["true"] = true, ["false"] = false, NaN = 0 / 0, Infinity = math.huge,
                ["-Infinity"] = -math.huge }

-- -- fields --

-- What a field means that is not in quotes.
local function meaning(s)
  if WORDS[s] ~= nil then return WORDS[s] end
  local b = byte(s)
  if not b or b > 57 or b < 45 or b == 47 or s:find("^-?0%d") then return s end
  if s:find("^-?%d+$") then
    local x = tonumber(s)
    return (#s <= 15 or ("%.0f"):format(x) == s) and x or s
  end
  if s:find("^-?%d*%.%d+$") or s:find("^-?%d*%.?%d+[eE][+-]?%d+$") then
    local x = tonumber(s)
    return x and x - x == 0 and x or s -- nil: an exponent of very many digits
  end
  return s
end

local function quoted(s) return '"' .. s:gsub('"', '""') .. '"' end

local function needs_quotes(s, separator)
  return s:find('[",\r\n]') or s:find(separator, 1, true) or type(meaning(s)) ~= "string"
    or s:sub(1, 3) == BOM
end

local function field(value, separator)
  if type(value) == "string" then
    return needs_quotes(value, separator) and quoted(value) or value
  end
  if type(value) == "boolean" then return tostring(value) end
  if value - value == 0 then return json.number(value) end
  return value ~= value and "NaN" or value > 0 and "Infinity" or "-Infinity"
end

-- -- what can be saved --

local FIELDS = { string = true, number = true, boolean = true }

local function wrong_row(row, at, width)
  if type(row) ~= "table" then return ("%s: expected a row, got %s"):format(at, check.what(row)) end
  local n = #row
  for key in pairs(row) do
    if type(key) ~= "number" or key % 1 ~= 0 or key < 1 or key > n then
      return ("%s: expected a list of fields, got the key %s"):format(at, check.what(key))
    end
  end
  if n == 0 then return at .. ": no fields" end
  if width and n ~= width then
    return ("%s: %d field%s, expected %d"):format(at, n, n == 1 and "" or "s", width)
  end
  for i = 1, n do
    if not FIELDS[type(row[i])] then
      return ("%s[%d]: expected a string, a number, true or false, got %s"):format(at, i,
        check.what(row[i]))
    end
  end
end

local function wrong_columns(columns, separator)
  local problem = wrong_row(columns, "columns")
  if problem then return problem end
  for i, name in ipairs(columns) do
    if type(name) ~= "string" then
      return ("columns[%d]: expected a name, got %s"):format(i, check.what(name))
    end
  end
  local first = columns[1]
  if needs_quotes(first, separator) or first == "" and #columns == 1 then
    return ("columns[1]: expected a name that needs no quotes, got %s"):format(check.what(first))
  end
end

local function check_rows(value, separator)
  if type(value) ~= "table" then return "expected a list of rows, got " .. check.what(value) end
  local columns, n = value.columns, #value
  local problem = columns ~= nil and wrong_columns(columns, separator) or nil
  if problem then return problem end
  for key in pairs(value) do
    local row = type(key) == "number" and key % 1 == 0 and key >= 1 and key <= n
    if not row and key ~= "columns" then
      return "expected rows and `columns`, got the key " .. check.what(key)
    end
  end
  local width = columns and #columns
  for i = 1, n do
    problem = wrong_row(value[i], ("[%d]"):format(i), width)
    if problem then return problem end
    width = #value[i]
  end
end

-- -- writing --

local function line_of(row, separator)
  local fields = {}
  for i, value in ipairs(row) do fields[i] = field(value, separator) end
  if #row == 1 and row[1] == "" then fields[1] = '""' end -- an empty line is no row
  return fields
end

--- One row as text.
-- @tparam {string|number|boolean,...} row
-- @tparam string separator
-- @treturn string  without an end of line
function rows.line(row, separator) return table.concat(line_of(row, separator), separator) end

local function all_strings(row)
  for _, value in ipairs(row) do
    if type(value) ~= "string" then return false end
  end
  return true
end

local function save_rows(value, path, separator)
  return bytes.write(path, function(file)
    for i = value.columns and 0 or 1, #value do
      local row = i == 0 and value.columns or value[i]
      local fields = line_of(row, separator)
      if i == 1 and not value.columns and all_strings(row) then fields[1] = quoted(row[1]) end
      local ok, message, code = file:write(table.concat(fields, separator) .. "\n")
      if not ok then return nil, message, code end
    end
    return true
  end)
end

-- -- reading --

-- The string in quotes that begins at `at`, and where it ends; nil where it does not.
local function read_quoted(all, at)
  local from, pieces = at + 1, nil
  while true do
    local stop = all:find('"', from, true)
    if not stop then return nil end
    local piece = all:sub(at + 1, stop - 1)
    if all:byte(stop + 1) ~= 34 then
      if pieces then pieces[#pieces + 1] = piece end
      return pieces and table.concat(pieces, '"') or piece, stop + 1
    end
    pieces = pieces or {}
    pieces[#pieces + 1] = piece
    at, from = stop + 1, stop + 2
  end
end

local function count_lines(s)
  local _, n = s:gsub("\n", "")
  return n
end

-- The fields of the line at r.at, as texts, and which are in quotes; nil and what is wrong.
local function read_line(r)
  local all, list, in_quotes, at = r.all, {}, {}, r.at
  r.line = r.next_line
  while true do
    local n = #list + 1
    local text, stop
    if all:byte(at) == 34 then
      text, stop = read_quoted(all, at)
      if not text then return nil, "a quote that does not end" end
      in_quotes[n], r.next_line = true, r.next_line + count_lines(text)
      if stop <= #all and not all:find(r.ends, stop) then
        r.line = r.next_line
        return nil, "text after the end of a quote"
      end
    else
      stop = all:find(r.stops, at) or #all + 1
      text = all:sub(at, stop - 1)
    end
    list[n] = text
    local b = byte(all, stop)
    if b == 34 then return nil, "a quote within a field" end
    if b == 13 and byte(all, stop + 1) ~= 10 then return nil, "a carriage return within a line" end
    if b ~= r.separator then
      r.at, r.next_line = stop + (b == 13 and 2 or 1), r.next_line + 1
      return list, in_quotes
    end
    at = stop + 1
  end
end

local function values_of(list, in_quotes)
  for i = 1, #list do
    if not in_quotes[i] then list[i] = meaning(list[i]) end
  end
  return list
end

-- -- plain lines: most have neither quotes nor what needs a pattern, and are read byte by byte,
-- which LuaJIT compiles --

local MOST_EXACT = 2 ^ 53 -- below it, digits are a whole number that a double holds
local TENS = {} -- powers that a double holds: a quotient of two such numbers is rounded once
for k = 0, 22 do TENS[k] = tonumber("1e" .. k) end

-- The digits from `at` on, as a number that goes on from m, and where they end.
local function digits(all, at, m)
  local b = byte(all, at)
  while b >= 48 and b <= 57 do
    m, at = m * 10 + (b - 48), at + 1
    b = byte(all, at)
  end
  return m, at, b
end

-- The decimal number at `at`, as `meaning` takes it, and where it ends; nil where it is none, or
-- has an exponent or more digits than can be taken so.
local function decimal(all, at)
  local first, negative = at, byte(all, at) == 45
  local whole, power = negative and at + 1 or at, 0
  local m, b
  m, at, b = digits(all, whole, 0)
  if at - whole > 1 and byte(all, whole) == 48 then return nil end -- 007
  if b == 46 then
    local point = at
    m, at = digits(all, at + 1, m)
    power = at - point - 1
    if power == 0 then return nil end
    if m >= MOST_EXACT or power > 22 then
      local x = tonumber(sub(all, first, at - 1))
      return x and x - x == 0 and x or nil, at
    end
  elseif at == whole or m >= MOST_EXACT then
    return nil
  end
  local x = m / TENS[power]
  if negative then x = -x end
  return x, at
end

-- Whether a field ends before this byte: at the separator or the end of the line.
local function ends(all, at, b, separator)
  return b == separator or b == 10 or b == 13 and byte(all, at + 1) == 10
end

-- The values of the line at `at`, and where the next begins; nil where it is not so plain.
local function plain_line(all, at, separator, width)
  local list, n = new_table(width, 0), 0
  while true do
    local b, x = byte(all, at), nil
    local stop = at
    if b >= 48 and b <= 57 or b == 45 or b == 46 then
      x, stop = decimal(all, at)
      b = x and byte(all, stop)
      if x and not ends(all, stop, b, separator) then x = nil end
    end
    if not x then
      stop, b = at, byte(all, at)
      while b ~= separator and b ~= 10 and b ~= 13 do
        if b == 34 then return nil end
        stop = stop + 1
        b = byte(all, stop)
      end
      if not ends(all, stop, b, separator) then return nil end
      x = meaning(sub(all, at, stop - 1))
    end
    n = n + 1
    list[n] = x
    if b ~= separator then return list, stop + (b == 13 and 2 or 1) end
    at = stop + 1
  end
end

-- Whether a first line has the names of the columns.
local function is_header(list, in_quotes)
  if in_quotes[1] then return false end
  for i = 1, #list do
    if not in_quotes[i] and type(meaning(list[i])) ~= "string" then return false end
  end
  return true
end

local NONE = {}

local function parse(r, header, lines)
  local value, width, n = {}, nil, 0
  if lines then value.lines = {} end
  while r.at <= #r.all do
    local first, list, in_quotes, stop = r.next_line, nil, NONE, nil
    if width and r.at <= r.last then list, stop = plain_line(r.all, r.at, r.separator, width) end
    local plain = list ~= nil
    if plain then
      r.line, r.at, r.next_line = first, stop, first + 1
    else
      list, in_quotes = read_line(r)
      if not list then return nil, in_quotes end
    end
    if #list > 1 or list[1] ~= "" or in_quotes[1] then
      if width and #list ~= width then
        return nil, ("%d field%s, expected %d"):format(#list, #list == 1 and "" or "s", width)
      end
      if not width and header == nil then header = is_header(list, in_quotes) end
      if not width and header then
        value.columns = list
      else
        n = n + 1
        value[n] = plain and list or values_of(list, in_quotes)
        if lines then value.lines[n] = first end
      end
      width = #list
    end
  end
  return value
end

local function load_rows(path, separator, options)
  options = check.options(options, { header = "boolean", lines = "boolean" }, 2, "load")
  local all, message, code = bytes.read(path)
  if not all then return nil, message, code end
  local r = { all = all, at = all:sub(1, 3) == BOM and 4 or 1, next_line = 1,
              separator = separator:byte(), stops = '["\r\n' .. separator .. "]",
              ends = "^[\r\n" .. separator .. "]", last = #all }
  while r.last > 0 and byte(all, r.last) ~= 10 do r.last = r.last - 1 end
  local value, what = parse(r, options.header, options.lines)
  if value then return value end
  return nil, ("%s: line %d: %s"):format(path, r.line, what), bytes.FORMAT
end

-- -- the formats --

local function format_of(separator, doc, extension, takes)
  return {
    doc = doc, extension = extension, takes = takes,
    check = function(value) return check_rows(value, separator) end,
    save = function(value, path) return save_rows(value, path, separator) end,
    load = function(path, options) return load_rows(path, separator, options) end,
  }
end

rows.formats = {
  { "csv", format_of(",", "Rows of numbers, strings and booleans, separated by commas.", ".csv",
    function(value)
      return type(value) == "table" and type(rawget(value, "columns")) == "table"
        and type(rawget(value, 1)) == "table"
    end) },
  { "tsv", format_of("\t", "Rows of numbers, strings and booleans, separated by tabs.", ".tsv") },
}

return rows
