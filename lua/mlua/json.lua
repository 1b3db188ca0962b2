--- JSON whose numbers survive: what is written reads back as the same double.
--
-- Written by this module (lua-cjson keeps 14 digits), read by lua-cjson. Keys are sorted, so equal
-- values give equal text. A table with the keys 1..n is an array, any other an object; an empty one
-- is an object unless it was made by `json.array`. NaN and infinities, which JSON has not, become
-- null, or with `nonfinite = "string"` the strings "NaN", "Infinity" and "-Infinity", or what a
-- function says.
-- @module mlua.json
local cjson = require "cjson"
local check = require "mlua.check"

local json = {}

local floor, format, huge = math.floor, string.format, math.huge
local concat, sort = table.concat, table.sort

local Array = { __name = "json.array" }
local DEPTH = 100

--- What stands for null, in what is written and in what is read.
json.null = cjson.null

--- Mark a table as an array, which tells an empty one from an empty object.
-- @tparam[opt] table t
-- @treturn table  t, or a new one
function json.array(t)
  return setmetatable(t or {}, Array)
end

-- -- writing --

--- The shortest decimal text that reads back as the same double; "null" for NaN and infinities.
-- @tparam number x
-- @treturn string
function json.number(x)
  if x ~= x or x == huge or x == -huge then return "null" end
  if x == floor(x) and x > -2 ^ 53 and x < 2 ^ 53 then
    return x == 0 and 1 / x < 0 and "-0" or format("%.0f", x)
  end
  for digits = 15, 16 do
    local text = format("%." .. digits .. "g", x)
    if tonumber(text) == x then return text end
  end
  return format("%.17g", x)
end

local ESCAPES = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t",
}

local function escape(c)
  return ESCAPES[c] or format("\\u%04x", c:byte())
end

--- A string as JSON, in quotes. Bytes from 0x80 on are written as they are: it should be UTF-8.
-- @tparam string s
-- @treturn string
function json.quote(s)
  return '"' .. s:gsub('[%c"\\]', escape) .. '"'
end

local encode

-- The length of a table with the keys 1..n and no others; nil for any other.
local function length(t)
  local n = #t
  local keys = 0
  for key in pairs(t) do
    if type(key) ~= "number" or key < 1 or key > n or key ~= floor(key) then return nil end
    keys = keys + 1
  end
  return keys == n and n or nil
end

local function newline(out, options, depth)
  if options.indent then out[#out + 1] = "\n" .. (" "):rep(options.indent * depth) end
end

local function encode_array(t, n, out, options, depth, path)
  out[#out + 1] = "["
  for i = 1, n do
    if i > 1 then out[#out + 1] = "," end
    newline(out, options, depth + 1)
    encode(t[i], out, options, depth + 1, path .. "[" .. i .. "]")
  end
  newline(out, options, depth)
  out[#out + 1] = "]"
end

local function encode_object(t, out, options, depth, path)
  local keys = {}
  for key in pairs(t) do
    if type(key) ~= "string" then
      error(format("%s: a table must have the keys 1..n or strings alone, got the key %s",
        path == "" and "json" or path, tostring(key)), 0)
    end
    keys[#keys + 1] = key
  end
  sort(keys)
  out[#out + 1] = "{"
  for i, key in ipairs(keys) do
    if i > 1 then out[#out + 1] = "," end
    newline(out, options, depth + 1)
    out[#out + 1] = json.quote(key) .. (options.indent and ": " or ":")
    encode(t[key], out, options, depth + 1, path == "" and key or path .. "." .. key)
  end
  newline(out, options, depth)
  out[#out + 1] = "}"
end

local function encode_number(x, options)
  if type(options.nonfinite) == "function" and x - x ~= 0 then return options.nonfinite(x) end
  if options.nonfinite == "string" and x - x ~= 0 then
    return x ~= x and '"NaN"' or x > 0 and '"Infinity"' or '"-Infinity"'
  end
  return json.number(x)
end

function encode(value, out, options, depth, path)
  local kind = type(value)
  if depth >= DEPTH and kind == "table" then -- as many as are read
    error(format("%s: deeper than %d levels", path:sub(1, 60), DEPTH), 0)
  end
  local meta = kind == "table" and getmetatable(value)
  if type(meta) == "table" and meta.__json then
    encode(meta.__json(value), out, options, depth, path)
  elseif kind == "table" then
    local n = length(value)
    if n and (n > 0 or getmetatable(value) == Array) then
      if n == 0 then out[#out + 1] = "[]" else encode_array(value, n, out, options, depth, path) end
    elseif next(value) == nil then
      out[#out + 1] = "{}"
    else
      encode_object(value, out, options, depth, path)
    end
  elseif kind == "number" then
    out[#out + 1] = encode_number(value, options)
  elseif kind == "string" then
    out[#out + 1] = json.quote(value)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(value)
  elseif value == nil or value == json.null then
    out[#out + 1] = "null"
  else
    local digits = kind == "cdata" and tostring(value):match("^(-?%d+)U?LL$") -- 64-bit integers
    if not digits then
      error(format("%s: a %s cannot be JSON", path == "" and "json" or path, kind), 0)
    end
    out[#out + 1] = digits
  end
end

--- A value as JSON text.
-- @param value  nil, boolean, number, string, 64-bit integer, json.null, or a table of these; a
--   table whose metatable has `__json` is what that gives
-- @tparam[opt] table options  `indent` = spaces per level (default: one line);
--   `nonfinite` = "null" (default), "string", or a function, number → JSON text
-- @treturn string
-- @raise bad argument #1 on functions, userdata, mixed keys, more than 100 levels, with the path
function json.encode(value, options)
  options = check.options(options, { indent = "number", nonfinite = "string|function" }, 2,
    "encode")
  local nonfinite = options.nonfinite
  check.arg(type(nonfinite) ~= "string" or nonfinite == "null" or nonfinite == "string", 2,
    "encode", "nonfinite: expected 'null', 'string' or a function, got '%s'", nonfinite)
  local out = {}
  local ok, message = pcall(encode, value, out, options, 0, "")
  check.arg(ok, 1, "encode", "%s", message)
  return concat(out)
end

-- -- reading --

local reader = cjson.new()
reader.decode_invalid_numbers(false)
reader.decode_max_depth(DEPTH)

--- A value from JSON text. Nulls are json.null; of equal keys the last counts.
-- @tparam string text
-- @tparam[opt="json"] string name  of the file, for the message
-- @return the value; or nil and `name:line: what is wrong`
function json.decode(text, name)
  check.type(text, 1, "decode", "text", "string")
  local zero = text:find("\0", 1, true) -- where lua-cjson would think that the text ends
  local ok, value = false, zero and "a zero byte at character " .. zero
  if not zero then ok, value = pcall(reader.decode, text) end
  if ok then return value end
  local at = tonumber(value:match("at character (%d+)"))
  local line = 1
  for _ in text:sub(1, (at or 1) - 1):gmatch("\n") do line = line + 1 end
  value = value:gsub("^.-: ", "", value:match("^[^ ]+:%d+: ") and 1 or 0)
  return nil, format("%s:%d: %s", name or "json", line, (value:gsub("^%u", string.lower)))
end

--- The value in a JSON file.
-- @tparam string path
-- @return the value; or nil and a message with path and cause, and line where it has one
function json.load(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text, cause = file:read("*a")
  file:close()
  if not text then return nil, format("%s: %s", path, cause or "cannot be read") end
  return json.decode(text, path)
end

return json
