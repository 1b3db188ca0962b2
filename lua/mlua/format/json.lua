--- The format json: numbers, booleans, strings, and tables of these.
--
-- What is read equals what was saved: numbers to the last bit; NaN and infinities, which JSON has
-- not, as the objects {"$number":"NaN"}, {"$number":"Infinity"}, {"$number":"-Infinity"};
-- `json.null` as itself. A table that is there twice comes back as two. 64-bit integers come back
-- as numbers, and are refused where a number has not their digits.
-- @module mlua.format.json
local bytes = require "mlua.format.bytes"
local json = require "mlua.json"
local store = require "mlua.ffi.store"
local text = require "mlua.text"

local format_json = {}

local NONFINITE = { NaN = 0 / 0, Infinity = math.huge, ["-Infinity"] = -math.huge }
local DEPTH = 100 -- of mlua.json

-- -- what can be saved --

local function step(key)
  if type(key) == "number" then return ("[%.14g]"):format(key) end
  if key:find("^[%a_][%w_]*$") then return "." .. key end
  return "[" .. json.quote(key:sub(1, 40)) .. "]"
end

-- What is wrong with a table's keys, or nil.
local function wrong_keys(t)
  local n, positions, names = 0, 0, nil
  for key in pairs(t) do
    if type(key) == "string" then
      names = key
      if not text.is_utf8(key) then return "a key that is not UTF-8, as JSON needs it" end
    elseif type(key) ~= "number" then
      return ("a %s is a key; JSON takes names, or the positions 1..n"):format(type(key))
    elseif key % 1 ~= 0 or key < 1 or key > 2 ^ 53 then
      return ("%.14g is a key; JSON takes names, or the positions 1..n"):format(key)
    else
      positions, n = positions + 1, math.max(n, key)
    end
  end
  if positions > 0 and names then
    return ("both a list and a map: it has the keys 1 to %.0f and '%s'"):format(n, names)
  end
  if positions < n then
    return ("a list with holes: %.0f of 1..%.0f are there"):format(positions, n)
  end
  if names == "$number" and NONFINITE[t[names]] and next(t, names) == nil and next(t) == names then
    return "a table of '$number' alone stands for NaN and infinities"
  end
end

local function wrong_cdata(value)
  if store.is_tensor(value) then
    return "a tensor; tensors are saved by themselves or in a table of them, t:item() is a number"
  end
  if tostring(value):find("^%-?%d+U?LL$") then -- below 2^53 a number has all digits
    local x = tonumber(value)
    if x < 2 ^ 53 and x > -2 ^ 53 then return nil end
    return tostring(value) .. ": more digits than a number keeps"
  end
  return "a cdata, which JSON cannot hold"
end

-- What is wrong with a value, and the path to it; nil where nothing is.
local function wrong(value, inside, depth)
  local kind = type(value)
  if kind == "number" or kind == "boolean" then return nil end
  if kind == "string" then
    if text.is_utf8(value) then return nil end
    return "not UTF-8, as JSON needs it", ""
  end
  if kind == "cdata" then return wrong_cdata(value), "" end
  if value == json.null then return nil end
  if kind ~= "table" then return ("a %s, which JSON cannot hold"):format(kind), "" end
  if inside[value] then return "a table that is inside itself", "" end
  if depth == DEPTH then return ("deeper than %d levels"):format(DEPTH), "" end
  local meta = getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__index") then
    return "an object, which would come back without its class", ""
  end
  local problem, path = wrong_keys(value), ""
  if problem then return problem, path end
  inside[value] = true
  for key, item in pairs(value) do
    problem, path = wrong(item, inside, depth + 1)
    if problem then return problem, step(key) .. path end
  end
  inside[value] = nil
end

--- Why a value cannot be JSON, with the path to the culprit: "a.b[2]: a function, …".
-- @param value
-- @treturn ?string  nil where it can
function format_json.check(value)
  local problem, path = wrong(value, {}, 0)
  if not problem then return nil end
  path = path:gsub("^%.", "")
  if #path > 80 then path = path:sub(1, 77) .. "..." end
  return path == "" and problem or path .. ": " .. problem
end

-- -- text --

local function marked(x)
  return ('{"$number":"%s"}'):format(x ~= x and "NaN" or x > 0 and "Infinity" or "-Infinity")
end

--- A value that `check` has passed, as a line of JSON.
-- @param value
-- @treturn string
function format_json.encode(value)
  return json.encode(value, { nonfinite = marked })
end

local function unmarked(value)
  if type(value) ~= "table" then return value end
  local key, word = next(value)
  if key == "$number" and NONFINITE[word] and next(value, key) == nil then
    return NONFINITE[word]
  end
  for k, item in pairs(value) do
    if type(item) == "table" then value[k] = unmarked(item) end
  end
  return value
end

--- What `encode` made a line of.
-- @tparam string line
-- @return the value; or nil, what is wrong, and the line in the text where
function format_json.decode(line)
  if not text.is_utf8(line) then
    local at = 0
    for piece in line:gmatch("[^\n]*\n?") do
      at = at + 1
      if not text.is_utf8(piece) then break end
    end
    return nil, "not UTF-8", at
  end
  local value, message = json.decode(line, "")
  if type(value) == "nil" then
    local at, what = message:match("^:(%d+): (.*)$")
    return nil, what, tonumber(at)
  end
  return line:find('"$number"', 1, true) and unmarked(value) or value
end

local function load(path)
  local all, message, code = bytes.read(path)
  if not all then return nil, message, code end
  local value, what, line = format_json.decode(all)
  if type(value) ~= "nil" then return value end
  return nil, ("%s: line %d: %s"):format(path, line, what), bytes.FORMAT
end

local function takes(value)
  local kind = type(value)
  return kind == "table" or kind == "number" or kind == "boolean"
end

format_json.formats = { { "json", {
  doc = "Numbers, booleans, strings, and tables of these.",
  extension = ".json", takes = takes, check = format_json.check, load = load,
  save = function(value, path) return bytes.put(path, format_json.encode(value) .. "\n") end,
} } }

return format_json
