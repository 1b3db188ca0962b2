--- Argument checks that raise in Lua's own form, at the line of whoever made the mistake.
--
-- Called from a public function f, each raises at the line that called f:
-- `x.lua:7: bad argument #1 to 'f' (x: expected …, got …)`. Messages are only built on failure.
-- @module mlua.check
local check = {}

local type = type

local host = package.loaded["mlua.host"] or {} -- prints a mistake as one line (core/host/call.c)

local function raise(level, n, name, message)
  host.mistake = ("bad argument #%d to '%s' (%s)"):format(n, name, message)
  error(host.mistake, level + 1)
end

-- %s takes anything with a __tostring, as tensors have; the other directives are Lua's own.
local function message(format, ...)
  local n = select("#", ...)
  if n == 0 then return format end
  local given = { ... }
  for i = 1, n do
    local kind = type(given[i])
    if kind ~= "number" and kind ~= "string" then given[i] = tostring(given[i]) end
  end
  return format:format(unpack(given, 1, n))
end

local function what(value)
  local kind = type(value)
  if kind == "number" then return ("%.14g"):format(value) end
  if kind == "string" then
    return (#value > 40 or value:find "%c") and "a string" or ("'%s'"):format(value)
  end
  if kind == "boolean" or kind == "nil" then return tostring(value) end
  if kind == "table" and getmetatable(value) and getmetatable(value).__tostring then
    return tostring(value)
  end
  return "a " .. kind
end

--- A value as messages show it: 3, 'text', true, nil, a table.
-- @param value
-- @treturn string
check.what = what

--- Raise unless a condition holds.
-- @param ok          anything true passes
-- @tparam number n   which argument
-- @tparam string name    of the function
-- @tparam string format  as string.format; %s takes anything with a __tostring
-- @param ...
-- @raise bad argument #n to 'name' (…), at the caller's line
function check.arg(ok, n, name, format, ...)
  if not ok then raise(3, n, name, message(format, ...)) end
end

--- The same for a helper: `level` 1 is the line that called the calling function, 2 its caller.
-- @tparam number level
-- @param ok
-- @tparam number n
-- @tparam string name
-- @tparam string format
-- @param ...
function check.arg_at(level, ok, n, name, format, ...)
  if not ok then raise(level + 2, n, name, message(format, ...)) end
end

-- Whether a value is of a type, or of one of those in "table|nil".
local function is_of(value, expected)
  local kind = type(value)
  return kind == expected or ("|" .. expected .. "|"):find("|" .. kind .. "|", 1, true) ~= nil
end

--- Raise unless a value has the type.
-- @param value
-- @tparam number n
-- @tparam string name      of the function
-- @tparam string label     of the argument
-- @tparam string expected  as type() says it; "table|nil" takes either
-- @return value
function check.type(value, n, name, label, expected)
  if not is_of(value, expected) then
    local wanted = expected:gsub("|", " or ")
    raise(3, n, name, ("%s: expected a %s, got %s"):format(label, wanted, what(value)))
  end
  return value
end

-- What keeps a value from being a whole number within bounds, or nil.
local function no_int(value, label, lowest, highest)
  if type(value) ~= "number" or value % 1 ~= 0 then
    return ("%s: expected an integer, got %s"):format(label, what(value))
  end
  if lowest and value < lowest or highest and value > highest then
    local range = not highest and ("at least %d"):format(lowest)
      or not lowest and ("at most %d"):format(highest)
      or ("%d to %d"):format(lowest, highest)
    return ("%s: expected %s, got %.14g"):format(label, range, value)
  end
end

--- Raise unless a value is a whole number within bounds.
-- @param value
-- @tparam number n
-- @tparam string name     of the function
-- @tparam string label    of the argument
-- @tparam ?number lowest
-- @tparam ?number highest
-- @return value
function check.int(value, n, name, label, lowest, highest)
  local wrong = no_int(value, label, lowest, highest)
  if wrong then raise(3, n, name, wrong) end
  return value
end

--- The same for a helper, by `level` as `arg_at` has it.
-- @tparam number level
-- @param value
-- @tparam number n
-- @tparam string name
-- @tparam string label
-- @tparam ?number lowest
-- @tparam ?number highest
-- @return value
function check.int_at(level, value, n, name, label, lowest, highest)
  local wrong = no_int(value, label, lowest, highest)
  if wrong then raise(level + 2, n, name, wrong) end
  return value
end

--- What a message says of an option that is not known: unknown option 'strid', did you mean …
-- @param field
-- @tparam table known  names as keys
-- @treturn string
function check.unknown(field, known)
  local text = require "mlua.text"
  return ("unknown option '%s'%s"):format(tostring(field),
    text.did_you_mean(tostring(field), text.keys(known)))
end

--- What is wrong with a table of options, a field that is not known or one of the wrong type, for
-- those who raise in a way of their own.
-- @param options       a table, or nil for none
-- @tparam table known  name → type as check.type takes it, or true for any
-- @treturn ?string     nil where nothing is
function check.misfit(options, known)
  if options == nil then return nil end
  if type(options) ~= "table" then
    return ("expected a table of options, got %s"):format(what(options))
  end
  for field, value in pairs(options) do
    local expected = known[field]
    if expected == nil then return check.unknown(field, known) end
    if expected ~= true and not is_of(value, expected) then
      return ("%s: expected a %s, got %s"):format(tostring(field), (expected:gsub("|", " or ")),
        what(value))
    end
  end
end

--- Raise if a table of options holds a field that is not known, or one of the wrong type.
-- @param options     a table, or nil for none
-- @tparam table known    name → type as check.type takes it, or true for any
-- @tparam number n
-- @tparam string name    of the function
-- @treturn table     options, or an empty table
function check.options(options, known, n, name)
  local wrong = check.misfit(options, known)
  if wrong then raise(3, n, name, wrong) end
  return options == nil and {} or options
end

return check
