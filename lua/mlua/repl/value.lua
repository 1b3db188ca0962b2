--- Values as a person reads them at the prompt: what they are, not where they lie.
--
-- Tensors print themselves, and so does what has a __tostring. Tables are shown to a depth and a
-- number of items, on one line where it fits; a table inside itself is marked.
-- @module mlua.repl.value
local names = require "mlua.repl.names"

local value = {}

local DEPTH, ITEMS, KEYS, TEXT = 4, 400, 2000, 2000

local floor = math.floor

-- -- single values --

local ESCAPE = { ["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
                 ["\t"] = "\\t", ["\v"] = "\\v", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escape(c) return ESCAPE[c] or ("\\%03d"):format(c:byte()) end

--- A string in quotes, as Lua would read it; a long one by its beginning.
function value.quote(s)
  local shown = #s > TEXT and s:sub(1, TEXT):gsub("[\192-\255][\128-\191]*$", "") or s
  local text = '"' .. shown:gsub('[%c"\\]', escape) .. '"'
  return #s > TEXT and ("%s… (%d bytes)"):format(text, #s) or text
end

--- Where a function is defined: "recipes/dlrm.lua:41", "mlua/optim.lua:190", "stdin:1".
-- @tparam function f
-- @treturn ?string  nil for one that is not written in Lua
function value.place(f)
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return nil end
  local own = names.own_path(info.source)
  local file = own and "mlua/" .. own or info.source:match("^[@=](.*)") or "a string"
  return ("%s:%d"):format(file, info.linedefined)
end

--- The names of a function's parameters: "x, axis, ...".
function value.parameters(f)
  local info, list = debug.getinfo(f, "u"), {}
  for i = 1, info.nparams or 0 do list[i] = debug.getlocal(f, i) or "?" end
  if info.isvararg then list[#list + 1] = "..." end
  return table.concat(list, ", ")
end

local function function_text(f)
  local place = value.place(f)
  return place and ("function(%s) <%s>"):format(value.parameters(f), place) or "function <built in>"
end

-- What a value's own __shown, for the prompt alone, or __tostring makes of it; nil without one, or
-- where it fails.
local function own_text(v)
  local meta = debug.getmetatable(v)
  if type(meta) ~= "table" then return nil end
  for _, name in ipairs { "__shown", "__tostring" } do
    local f = rawget(meta, name)
    if f ~= nil then
      local ok, text = pcall(name == "__shown" and f or tostring, v)
      if ok and type(text) == "string" then return text end
    end
  end
end

local function scalar(v, inside)
  local kind = type(v)
  if kind == "string" then return value.quote(v) end
  if kind == "function" then return function_text(v) end
  if kind == "thread" then return ("coroutine <%s>"):format(coroutine.status(v)) end
  local text = tostring(v)
  return inside and names.is_tensor(v) and text:match("%[[^%[]*%]$") or text
end

-- -- tables --

local function by_kind(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return ta < tb end
  if ta == "number" or ta == "string" then return a < b end
  return tostring(a) < tostring(b)
end

-- The keys that are not positions 1 to n, sorted; and how many more there are.
local function other_keys(t, n)
  local keys, more = {}, 0
  for key in next, t do
    if not (type(key) == "number" and key >= 1 and key <= n and key == floor(key)) then
      if #keys < KEYS then keys[#keys + 1] = key else more = more + 1 end
    end
  end
  table.sort(keys, by_kind)
  return keys, more
end

-- Items in lines of at most `width` columns.
local function filled(items, width)
  local text = require "mlua.text"
  local lines, line, used = {}, {}, 0
  for _, item in ipairs(items) do
    local w = text.width(item) + 2
    if used > 0 and used + w > width then
      lines[#lines + 1] = table.concat(line, ", ")
      line, used = {}, 0
    end
    line[#line + 1] = item
    used = used + w
  end
  lines[#lines + 1] = table.concat(line, ", ")
  return lines
end

-- One line if it fits: { 1, 2, name = 3 }. Otherwise positions fill lines, and keys have one each.
local function layout(positions, keyed, indent, width)
  local all, broken = {}, false
  for _, list in ipairs { positions, keyed } do
    for _, item in ipairs(list) do
      all[#all + 1] = item
      broken = broken or item:find("\n", 1, true) ~= nil
    end
  end
  if #all == 0 then return "{}" end
  local text = require "mlua.text"
  local flat = not broken and "{ " .. table.concat(all, ", ") .. " }"
  if flat and indent + text.width(flat) <= width then return flat end
  local margin = (" "):rep(indent + 2)
  local lines = broken and positions or filled(positions, width - indent - 3)
  if #positions == 0 then lines = {} end
  for _, item in ipairs(keyed) do lines[#lines + 1] = item end
  return "{\n" .. margin .. table.concat(lines, ",\n" .. margin) .. "\n" .. (" "):rep(indent) .. "}"
end

local shown -- of a value inside a table

local function table_text(t, indent, depth, state)
  if state.path[t] then return "{ itself }" end
  if depth > DEPTH then return next(t) == nil and "{}" or "{ … }" end
  state.path[t] = true
  local positions, keyed, n = {}, {}, #t
  for i = 1, n do
    if state.items >= ITEMS then
      positions[i] = ("… %d more"):format(n - i + 1)
      break
    end
    positions[i] = shown(rawget(t, i), indent + 2, depth + 1, state)
  end
  local keys, more = other_keys(t, n)
  for i, key in ipairs(keys) do
    if state.items >= ITEMS then
      more = more + #keys - i + 1
      break
    end
    local name = type(key) == "string" and key:find("^[%a_][%w_]*$") and key
      or "[" .. scalar(key, true) .. "]"
    keyed[i] = name .. " = " .. shown(rawget(t, key), indent + 2, depth + 1, state)
  end
  if more > 0 then keyed[#keyed + 1] = ("… %d more"):format(more) end
  state.path[t] = nil
  return layout(positions, keyed, indent, state.width)
end

function shown(v, indent, depth, state)
  state.items = state.items + 1
  if type(v) ~= "table" then return scalar(v, true) end
  local text = own_text(v)
  if text then return (text:gsub("\n", "\n" .. (" "):rep(indent))) end
  return table_text(v, indent, depth, state)
end

-- -- modules --

-- The name under which a table is loaded; not that of the table of globals.
local function module_name(t)
  for name, loaded in next, package.loaded do
    if loaded == t and t ~= _G then return name end
  end
end

local function module_text(t, name, width)
  local lines = filled(names.fields(t), width - 2)
  return ("module %s\n  %s"):format(name, table.concat(lines, ",\n  "))
end

-- -- what others use --

local function width_of_terminal()
  return require("mlua.ffi.tty").width()
end

--- The text of a value, of one or more lines.
-- @param v
-- @tparam ?number width  columns, those of the terminal by default
-- @treturn string
function value.show(v, width)
  if type(v) ~= "table" then return scalar(v, false) end
  local text = own_text(v)
  if text then return text end
  width = width or width_of_terminal()
  local name = module_name(v)
  if name then return module_text(v, name, width) end
  return table_text(v, 0, 1, { path = {}, items = 0, width = width })
end

--- The first line of a value's text, for lists: of tensors, dtype, shape and device.
-- @param v
-- @tparam number width
-- @treturn string
function value.line(v, width)
  local text = require "mlua.text"
  local s = scalar(v, true)
  if type(v) == "table" then
    local name = module_name(v)
    s = name and "module " .. name or value.show(v, 10000)
  end
  local first = s:match("^[^\n]*")
  if text.width(s) <= width then return first end
  return text.clip(first, width - 2) .. " …"
end

--- Several values: on one line where each has one, else each on its own.
-- @tparam number n
-- @param ...
-- @treturn string
function value.list(n, ...)
  local texts, separator = {}, "\t"
  for i = 1, n do
    texts[i] = value.show((select(i, ...)))
    if texts[i]:find("\n", 1, true) then separator = "\n" end
  end
  return table.concat(texts, separator)
end

return value
