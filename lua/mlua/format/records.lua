--- The format records: a list of values, or what an iterator gives, one JSON text per line.
-- Each record is what the format json takes; lines end with a newline; blank ones are skipped.
-- @module mlua.format.records
-- @source https://jsonlines.org
local bytes = require "mlua.format.bytes"
local check = require "mlua.check"
local json = require "mlua.format.json"

local records = {}

local CHUNK = 2 ^ 16

-- -- writing --

local function check_value(value)
  if type(value) == "function" then return nil end -- its records are checked as they come
  if type(value) ~= "table" then
    return "expected a list or an iterator, got " .. check.what(value)
  end
  for key in pairs(value) do
    if type(key) ~= "number" then
      return "expected a list, got a table with the key " .. check.what(key)
    end
  end
  return json.check(value)
end

local function in_turn(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

local function save(value, path)
  local checked = type(value) == "table"
  local next_record = checked and in_turn(value) or value
  return bytes.write(path, function(file)
    local count = 0
    while true do
      local record = next_record()
      if type(record) == "nil" then return true end
      count = count + 1
      local problem = not checked and json.check(record)
      if problem then return nil, ("record %d: %s"):format(count, problem), bytes.FORMAT end
      local ok, message, code = file:write(json.encode(record) .. "\n")
      if not ok then return nil, message, code end
    end
  end)
end

-- -- reading --

-- The next line without its end; nil at the end of the file; nil and a cause.
local function next_line(r)
  local from = r.at
  while true do
    local stop = r.text:find("\n", from, true)
    if stop then
      local line = r.text:sub(r.at, stop - 1)
      r.at, r.line = stop + 1, r.line + 1
      return line
    end
    local rest = r.text:sub(r.at)
    local more, cause = r.file:read(math.max(CHUNK, #rest)) -- long lines: twice as much each time
    if not more and cause then return nil, cause end
    if not more then
      r.text, r.at, r.line = "", 1, r.line + 1
      return rest ~= "" and rest or nil
    end
    r.text, r.at, from = rest .. more, 1, #rest + 1
  end
end

-- The next record; nil at the end; nil, message, code.
local function next_record(r)
  while true do
    local line, cause = next_line(r)
    if not line then
      if io.type(r.file) == "file" then r.file:close() end
      if cause then return nil, ("%s: %s"):format(r.path, cause), -6 end
      return nil
    end
    if line:find("[^ \t\r]") then
      local value, what = json.decode(line)
      if type(value) ~= "nil" then return value end
      r.file:close()
      return nil, ("%s: line %d: %s"):format(r.path, r.line, what), bytes.FORMAT
    end
  end
end

local function open(path)
  local file, message, code = bytes.open(path)
  if not file then return nil, message, code end
  return { path = path, file = file, text = "", at = 1, line = 0 }
end

local function load(path)
  local r, message, code = open(path)
  if not r then return nil, message, code end
  local list = {}
  while true do
    local value
    value, message, code = next_record(r)
    if message then return nil, message, code end
    if type(value) == "nil" then return list end
    list[#list + 1] = value
  end
end

--- The records of a file one by one: see mlua.format.records.
-- @tparam string path
-- @treturn function  raises where the file is damaged
-- @return or nil, message, code
function records.each(path)
  local r, cause, code = open(path)
  if not r then return nil, cause, code end
  return function()
    if not r then return nil end
    local value, message = next_record(r)
    if type(value) == "nil" then r = nil end
    if message then error(message, 0) end
    return value
  end
end

records.formats = { { "records", {
  doc = "A list, or what an iterator gives, one JSON text a line.",
  extension = ".jsonl", check = check_value, save = save, load = load,
} } }

return records
