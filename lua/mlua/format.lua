--- Formats: how values become files and come back. Data only: nothing that is read is ever run.
--
--     local ml = require "mlua"
--     local f = ml.format.of { auc = 0.8 }        -- by the value: here json
--     assert(f.save({ auc = 0.8 }, "metrics.json"))
--     local metrics = assert(f.load("metrics.json"))
--
-- A format of one's own is a few lines; its values are then saved by it wherever none is named:
--
--     ml.format("points", {
--       doc = "Points in a plane, one a line.",
--       takes = function(v) return type(v) == "table" and v.points ~= nil end,
--       save = function(v, path)
--         local file, message = io.open(path, "w")
--         if not file then return nil, message end
--         for _, p in ipairs(v.points) do file:write(("%.17g %.17g\n"):format(p[1], p[2])) end
--         return file:close()
--       end,
--       load = function(path)
--         local v = { points = {} }
--         for line in io.lines(path) do
--           local x, y = line:match("^(%S+) (%S+)$")
--           x, y = tonumber(x), tonumber(y)
--           if not x or not y then return nil, path .. ": not a point: " .. line end
--           v.points[#v.points + 1] = { x, y }
--         end
--         return v
--       end,
--     })
--
-- Chosen by the value: `tensor`, `tensors` (tables of them), `state` (models, optimisers), `text`
-- (strings), `csv` (rows with `columns`), `json` (numbers, booleans, other tables). By name alone:
-- `tsv`, `records`, `file`, `folder`, `memory`. Files appear whole or not at all, and wait for no
-- disk: whoever keeps them makes them durable.
-- @module mlua.format
local check = require "mlua.check"
local text = require "mlua.text"

local format = {}

local formats = {}  -- by name
local own           -- mlua's, in the order in which they are asked, once that is needed
local users = {}    -- the others, in the order of their definition

-- mlua's by the modules that define them, loaded when first asked for.
local OWN = {
  { "tensors", "tensor", "state", "tensors" }, { "plain", "text", "file", "folder", "memory" },
  { "rows", "csv", "tsv" }, { "json", "json" }, { "records", "records" },
}
local module_of = {}
for _, list in ipairs(OWN) do
  for i = 2, #list do module_of[list[i]] = list[1] end
end

local NIL = "nil is not saved; false is, and an empty table"

local FIELDS = {
  save = "function", load = "function", takes = "function", check = "function",
  extension = "string", doc = "string", memory = "boolean", folder = "boolean",
}

-- -- defining --

-- What is wrong with a definition, or nil.
local function mistake_in(def)
  for _, field in ipairs(text.keys(def)) do
    local expected = FIELDS[field]
    if not expected then
      return ("unknown field '%s'%s"):format(field, text.did_you_mean(field, text.keys(FIELDS)))
    end
    if type(def[field]) ~= expected then
      return ("%s: expected a %s, got %s"):format(field, expected, check.what(def[field]))
    end
  end
  if def.folder then
    return "folder: one of your own writes a file; the format 'folder' keeps trees"
  end
  if def.memory then
    for _, field in ipairs { "save", "load", "extension" } do
      if def[field] then return field .. ": a format in memory has none" end
    end
  else
    if not def.save then return "save: expected a function, got nil" end
    if not def.load then return "load: expected a function, got nil" end
  end
  if def.extension and not def.extension:find("^%.[%w_%.%-]+$") then
    return ("extension: expected a dot and a word, as '.json', got %s"):format(
      check.what(def.extension))
  end
end

-- Functions that keep the promises of the module whatever the definition's do.
local function guarded(name, def)
  local f = { name = name, doc = def.doc, extension = def.extension or "", takes = def.takes,
              memory = def.memory or false, folder = def.folder or false, writes = def.save }
  function f.check(value)
    if type(value) == "nil" then return NIL end
    return def.check and def.check(value)
  end
  f.save = def.save and function(value, path)
    local problem = f.check(value)
    if problem then return nil, problem end
    local ok, message, code = def.save(value, path)
    if ok then return true end
    return nil, message or ("%s: format '%s' did not say that it saved"):format(path, name), code
  end
  f.load = def.load and function(path, ...)
    local value, message, code = def.load(path, ...)
    if type(value) ~= "nil" then return value end
    return nil, message or ("%s: format '%s' read nothing"):format(path, name), code
  end
  return f
end

local function add(name, def, place)
  formats[name] = guarded(name, def)
  formats[name].place = place
  return formats[name]
end

local function load_own(module)
  for _, entry in ipairs(require("mlua.format." .. module).formats) do
    if not formats[entry[1]] then add(entry[1], entry[2], "mlua") end
  end
end

local function load_all()
  if own then return end
  own = {}
  for _, list in ipairs(OWN) do
    load_own(list[1])
    for i = 2, #list do own[#own + 1] = formats[list[i]] end
  end
end

-- file:line of the Lua code that called the caller.
local function place_of_caller()
  local level, at = 3, debug.getinfo(3, "Sl")
  while at and at.currentline < 1 do
    level = level + 1
    at = debug.getinfo(level, "Sl")
  end
  return at and ("%s:%d"):format(at.short_src, at.currentline) or "the host"
end

--- Define a format; `ml.format(name, def)` is the same.
-- @tparam string name
-- @tparam table def  fields:
--   `save(value, path)` → true, or nil and a message: write one file, the path is the caller's;
--   `load(path)` → the value, or nil and a message;
--   `takes(value)` → whether it is chosen where none is named; the format that was defined last is
--   asked first, and mlua's own after all others;
--   `check(value)` → nil, or why the value cannot be saved;
--   `extension` of its files, as ".json"; `doc`, a sentence;
--   `memory`: true for values that no file holds (then neither `save` nor `load`)
-- @treturn table  the format
-- @raise bad argument on anything else, and on a name that has another definition
function format.define(name, def)
  check.type(name, 1, "format", "name", "string")
  check.arg(name:find("^[%a][%w_%-]*$"), 1, "format", "name: expected a word, got %s",
    check.what(name))
  check.type(def, 2, "format", "def", "table")
  local problem = mistake_in(def)
  check.arg(not problem, 2, "format", "%s", problem)
  load_all()
  local place = place_of_caller()
  local before = formats[name]
  check.arg(not before or before.place == place, 1, "format",
    "name: '%s' is defined by %s already, and again at %s", name, before and before.place, place)
  for i = before and #users or 0, 1, -1 do -- a file that was loaded again
    if users[i] == before then table.remove(users, i) end
  end
  users[#users + 1] = add(name, def, place)
  return users[#users]
end

--- Formats of the user's own: the one of a name, or, without one, those that are chosen by value.
-- @tparam ?string name
-- @treturn {table,...}
function format.own(name)
  local list = {}
  for _, f in ipairs(users) do
    if f.name == name or not name and f.takes then list[#list + 1] = f end
  end
  return list
end

-- -- asking --

--- The format that a value is saved by where none is named.
-- @param value
-- @treturn table  the format: name, doc, extension, memory, folder, check, save, load
-- @return or nil and a message that says what there is
function format.of(value)
  load_all()
  for i = #users, 1, -1 do
    if users[i].takes and users[i].takes(value) then return users[i] end
  end
  for _, f in ipairs(own) do
    if f.takes and f.takes(value) then return f end
  end
  if type(value) == "nil" then return nil, NIL end
  return nil, ("%s: no format takes it; saved as they are: tensors, tables of tensors, models, "
    .. "optimisers, strings, numbers, booleans, tables of these, rows with columns; others by the "
    .. "name of a format: %s"):format(check.what(value), text.list(text.keys(formats)))
end

--- A format by its name.
-- @tparam string name
-- @treturn table  as `of` gives it
-- @return or nil and a message
function format.get(name)
  check.type(name, 1, "get", "name", "string")
  if not formats[name] and module_of[name] then load_own(module_of[name]) end
  local f = formats[name]
  if f then return f end
  load_all()
  local names = text.keys(formats)
  local meant = text.did_you_mean(name, names)
  return nil, ("no format '%s'%s"):format(name, meant ~= "" and meant
    or "; there are " .. text.list(names, "and"))
end

--- Whether there is a format of this name; unlike `get`, it loads nothing.
-- @tparam string name
-- @treturn boolean
function format.is(name) return formats[name] ~= nil or module_of[name] ~= nil end

--- Whether a format keeps values in memory only.
-- @tparam string name
-- @treturn boolean
function format.is_memory(name)
  return formats[name] ~= nil and formats[name].memory or name == "memory"
end

--- All formats.
-- @treturn {table,...}  name and doc, by name
function format.list()
  load_all()
  local list = {}
  for i, name in ipairs(text.keys(formats)) do
    list[i] = { name = name, doc = formats[name].doc }
  end
  return list
end

--- The records of a file one by one: `for record in assert(format.records(path)) do … end`.
-- Nothing but the record at hand and some of the file is in memory.
-- @tparam string path  of a file as format `records` writes it
-- @treturn function    the iterator; it raises `path: line N: …` where the file is damaged
-- @return or nil, message, code
function format.records(path)
  check.type(path, 1, "records", "path", "string")
  return require "mlua.format.records".each(path)
end

return setmetatable(format, { __call = function(_, ...) return format.define(...) end })
