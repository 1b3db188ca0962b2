--- What two configurations say differently: by meaning, not by spelling.
--
--     local diff = require "mlua.config.diff"
--     local d = diff.of({ lr = 0.1, model = { dim = 16 } }, { lr = "1e-1", model = { dim = 32 } })
--     io.write(diff.text(d))                       -- ~ model.dim: 16 → 32
--
-- A tree is a table of names, each with a number, string or boolean, a list of values, or another
-- tree; an empty list is `json.array()`, where it matters that it is none of names. Equal are
-- numbers of one value, a number and a string that spells it, and a list and its text: "1024-512",
-- "a,b". An empty list and an empty tree are equal, for Lua and lua-cjson do not tell them apart.
--
-- A difference has a name, the path from the root joined by dots: "model.dim". Dots and backslashes
-- of a name itself stand behind a backslash. Of lists of trees that are equally long, elements are
-- compared: "parts.2.dim". Other lists are one value.
-- @module mlua.config.diff
local check = require "mlua.check"
local json = require "mlua.json"
local param = require "mlua.param"

local M = {}

-- LuaJIT before 2022-04-05, Debian 12's among them, may cut off half of a pointer where it compiles
-- `next` and `pairs` amid many live values (its issue 829): processes died of it here.
jit.off(true, true)

local DEEPEST = 90 -- levels; JSON has 100
local EXACT = 2 ^ 53

local NUMBER, BOOL, NUMBERS, STRINGS = param.number {}, param.bool {}, param.numbers {},
  param.strings {}

local EMPTY_LIST = getmetatable(json.array())

-- -- values ------------------------------------------------------------------------------------

local function is_list(value)
  return type(value) == "table" and (value[1] ~= nil or getmetatable(value) == EMPTY_LIST)
end

local function is_map(value) return type(value) == "table" and not is_list(value) end

-- What unquoted text of a file stands for. Whole numbers that no double holds stay text.
local function scalar(text)
  local number = NUMBER:read(text)
  if number and math.abs(number) >= EXACT and text:find "^[+-]?%d+$" then return text end
  if number then return number end
  local truth = BOOL:read(text)
  if truth ~= nil then return truth end
  return text
end

--- The tree of a file's node. Unquoted decimal numbers become numbers, unquoted true, false, yes,
-- no, on and off booleans; null is absent, in a list too.
-- @tparam table node  as mlua.config.yaml describes it
-- @treturn ?table     of a scalar its value; nil of null
function M.tree(node)
  if node.kind == "scalar" then
    if node.quoted then return node.text end
    return scalar(node.text)
  elseif node.kind == "map" then
    local tree = {}
    for _, key in ipairs(node.keys) do tree[key.name] = M.tree(key.node) end
    return tree
  elseif node.kind == "list" then
    local list = {}
    for _, item in ipairs(node.items) do list[#list + 1] = M.tree(item) end
    return list[1] == nil and json.array(list) or list
  end
end

-- The parts of a text that has at least two, by commas or dashes; nil where it has not.
local function parts_of(text)
  local parts = STRINGS:read(text)
  if not parts[2] then parts = NUMBERS:read(text) end
  return parts and parts[2] and parts or nil
end

local same

local function same_as_text(list, text)
  local parts = parts_of(text)
  if not parts or #parts ~= #list then return false end
  for i, part in ipairs(parts) do
    local read = part
    if type(part) == "string" then read = scalar(part) end
    if part ~= list[i] and not same(read, list[i]) then return false end
  end
  return true
end

-- Numbers by dashes and by commas, spelt the same.
local function same_lists_of_numbers(a, b)
  if a:gsub("%s*,%s*", "-") ~= b:gsub("%s*,%s*", "-") then return false end
  local numbers = NUMBERS:read(a)
  return numbers ~= nil and numbers[2] ~= nil and NUMBERS:read(b) ~= nil
end

-- Whether two values mean one thing.
function same(a, b)
  local of_a, of_b = type(a), type(b)
  if a == b or a ~= a and b ~= b then return true end
  if of_a == "string" and of_b ~= "string" then return same(b, a) end
  if of_a == "number" and of_b == "string" then return NUMBER:read(b) == a end
  if of_a == "string" then return same_lists_of_numbers(a, b) end
  if is_list(a) and of_b == "string" then return same_as_text(a, b) end
  if of_a ~= "table" or of_b ~= "table" then return false end
  if next(a) == nil or next(b) == nil then return next(a) == next(b) end
  if is_list(a) ~= is_list(b) then return false end
  for key, value in pairs(a) do
    if b[key] == nil or not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- What keeps a value from being one of a tree, or nil.
local function misfit(value, name, depth)
  local kind = type(value)
  if kind == "number" or kind == "string" or kind == "boolean" then return nil end
  if kind ~= "table" then
    return ("%s: expected a value of a tree, got %s"):format(name, check.what(value))
  end
  if depth > DEEPEST then return ("%s: more than %d levels"):format(name:sub(1, 60), DEEPEST) end
  local list, n = is_list(value), 0
  for key, each in pairs(value) do
    n = n + 1
    if list and not (type(key) == "number" and value[n] ~= nil) then
      return name .. ": a table of names and of a list, both, or a list with gaps"
    elseif not list and type(key) ~= "string" then
      return ("%s: expected names, got the key %s"):format(name, check.what(key))
    end
    local problem = misfit(each, name .. "." .. tostring(key), depth + 1)
    if problem then return problem end
  end
end

-- What carries a configuration (values of a spec, a task, a part) as the tree that it is.
local function carried(value, seen)
  if type(value) ~= "table" or seen[value] then return value end
  local as_tree = (getmetatable(value) or {}).__tree
  if as_tree then return carried(as_tree(value), seen) end
  seen[value] = true
  local copy
  for key, each in pairs(value) do
    local tree = carried(each, seen)
    if tree ~= each then
      if not copy then
        copy = setmetatable({}, getmetatable(value))
        for k, v in pairs(value) do copy[k] = v end
      end
      copy[key] = tree
    end
  end
  seen[value] = nil
  return copy or value
end

--- The tree of what carries a configuration: values of a spec, a task, a part, tables with these.
-- @param value
-- @return a tree; what is one already is not copied
function M.plain(value) return carried(value, {}) end

local function check_tree(tree, n, name, label)
  check.arg_at(2, is_map(tree), n, name, "%s: expected a table of names, got %s", label,
    is_list(tree) and "a list" or check.what(tree))
  local problem = misfit(tree, label, 0)
  check.arg_at(2, not problem, n, name, "%s", problem)
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local new = setmetatable({}, getmetatable(value) == EMPTY_LIST and EMPTY_LIST or nil)
  for key, each in pairs(value) do new[key] = copy(each) end
  return new
end

-- -- names -------------------------------------------------------------------------------------

local function join(path, name)
  name = tostring(name):gsub("[.\\]", "\\%0")
  return path and path .. "." .. name or name
end

local function split(path)
  local names, name, at = {}, {}, 1
  while at <= #path do
    local c = path:sub(at, at)
    if c == "." then
      names[#names + 1], name = table.concat(name), {}
    elseif c == "\\" then
      at = at + 1
      name[#name + 1] = path:sub(at, at)
    else
      name[#name + 1] = c
    end
    at = at + 1
  end
  names[#names + 1] = table.concat(name)
  return names
end

-- Whether a path is ignored: those above it were asked before.
local function ignorer(list)
  local patterns = {}
  for i, glob in ipairs(list) do
    check.arg_at(2, type(glob) == "string", 3, "diff.of", "ignore: expected names, got %s",
      check.what(glob))
    local pattern = glob:gsub("[%^$()%%.%[%]+?-]", "%%%0"):gsub("%*+", ".*")
    patterns[i] = "^" .. pattern .. "$"
  end
  return function(path)
    for _, pattern in ipairs(patterns) do
      if path:find(pattern) then return true end
    end
    return false
  end
end

-- -- differences -------------------------------------------------------------------------------

-- A tree without the values that are their defaults; nil where nothing is left.
local function without(tree, defaults)
  local rest = {}
  for name, value in pairs(tree) do
    local default = defaults[name]
    if default == nil then rest[name] = value
    elseif is_map(value) and is_map(default) then rest[name] = without(value, default)
    elseif not same(value, default) then rest[name] = value
    end
  end
  return next(rest) ~= nil and rest or nil
end

-- Adds all that a value holds, unless it is ignored, to a list; an empty tree is itself a value.
-- Returns how many it were.
local function leaves(value, path, field, into, ignored)
  if ignored(path) then return 0 end
  if not is_map(value) or next(value) == nil then
    into[#into + 1] = { name = path, [field] = value }
    return 1
  end
  local n = 0
  for name, each in pairs(value) do
    n = n + leaves(each, join(path, name), field, into, ignored)
  end
  return n
end

local function of_maps(list)
  for _, item in ipairs(list) do
    if not is_map(item) then return false end
  end
  return true
end

local compare

local function compare_maps(a, b, path, d, ignored)
  local empty_a, empty_b = next(a) == nil, next(b) == nil
  if path and empty_a ~= empty_b then
    -- The empty one counts where the other has something to show.
    local full, field, into = b, "to", d.added
    local other, other_into = "from", d.removed
    if empty_b then full, field, into, other, other_into = a, "from", d.removed, "to", d.added end
    if leaves(full, path, field, into, ignored) > 0 then
      other_into[#other_into + 1] = { name = path, [other] = {} }
    end
    return
  end
  for name, value in pairs(a) do compare(value, b[name], join(path, name), d, ignored) end
  for name, value in pairs(b) do
    if a[name] == nil then leaves(value, join(path, name), "to", d.added, ignored) end
  end
end

function compare(a, b, path, d, ignored)
  if ignored(path) then return end
  local map_a, map_b = is_map(a), is_map(b)
  if map_a and map_b then
    compare_maps(a, b, path, d, ignored)
  elseif b == nil or map_a and next(a) ~= nil or map_b and next(b) ~= nil then
    leaves(a, path, "from", d.removed, ignored)
    if b ~= nil then leaves(b, path, "to", d.added, ignored) end
  elseif is_list(a) and is_list(b) and #a == #b and of_maps(a) and of_maps(b) then
    for i, item in ipairs(a) do compare(item, b[i], join(path, i), d, ignored) end
  elseif not same(a, b) then
    d.changed[#d.changed + 1] = { name = path, from = a, to = b }
  end
end

local function by_name(a, b) return a.name < b.name end

--- What has to change in one tree to make it another.
-- @tparam table a  a tree, or what has one: a task with its parameters, values of a spec, a part
-- @tparam table b
-- @tparam ?table options  `ignore`: names and sections that do not count, `*` for any letters
--   (default { "logging", "general", "recipe" }); `defaults`: a tree, whose values are as not given
-- @treturn table  added = {{name, to}…}, removed = {{name, from}…}, changed = {{name, from, to}…},
--   each sorted by name; values are those of the trees, not copies
-- @raise bad argument #1, #2 where a table is no tree, #3 on unknown options
function M.of(a, b, options)
  options = check.options(options, { ignore = "table", defaults = "table" }, 3, "diff.of")
  a, b = carried(a, {}), carried(b, {})
  check_tree(a, 1, "diff.of", "a")
  check_tree(b, 2, "diff.of", "b")
  if options.defaults then
    check_tree(options.defaults, 3, "diff.of", "defaults")
    a, b = without(a, options.defaults) or {}, without(b, options.defaults) or {}
  end
  local d = { added = {}, removed = {}, changed = {} }
  compare_maps(a, b, nil, d, ignorer(options.ignore or M.IGNORED))
  for _, list in pairs(d) do table.sort(list, by_name) end
  return d
end

--- What is ignored unless options say otherwise: what changes no result.
M.IGNORED = { "logging", "general", "recipe" }

-- -- what is done with them --------------------------------------------------------------------

local function key_of(container, name, path)
  if not is_list(container) then return name end
  local at = tonumber(name)
  check.arg_at(4, at and container[at] ~= nil, 2, "diff.apply", "%s: no such element", path)
  return at
end

-- What stands below the root, down to the one that holds the name; and the keys there.
local function way(tree, path, make)
  local names, containers, keys = split(path), { tree }, {}
  for i, name in ipairs(names) do
    local container = containers[i]
    keys[i] = key_of(container, name, path)
    if i == #names then return containers, keys end
    local below = container[keys[i]]
    if type(below) ~= "table" then
      if not make then return nil end
      below = {}
      container[keys[i]] = below
    end
    containers[i + 1] = below
  end
end

-- Trees that nothing is left in go, too; an element stays, empty, so that others keep their places.
local function remove(tree, path)
  local containers, keys = way(tree, path)
  if not containers then return end
  for i = #keys, 1, -1 do
    if is_list(containers[i]) then
      containers[i][keys[i]] = {}
      return
    end
    containers[i][keys[i]] = nil
    if next(containers[i]) ~= nil then return end
  end
end

local function put(tree, path, value)
  local containers, keys = way(tree, path, true)
  containers[#keys][keys[#keys]] = copy(value)
end

--- A tree with differences applied: of what `of` was given as `a`, one that is equal to its `b`.
-- @tparam table a
-- @tparam table d  differences
-- @treturn table   a new tree
-- @raise bad argument #2 where a list of the tree has no such element
function M.apply(a, d)
  check_tree(a, 1, "diff.apply", "a")
  local tree = copy(a)
  for _, item in ipairs(d.removed) do remove(tree, item.name) end
  for _, item in ipairs(d.changed) do put(tree, item.name, item.to) end
  for _, item in ipairs(d.added) do put(tree, item.name, item.to) end
  return tree
end

--- The differences the other way round: of(b, a).
-- @tparam table d
-- @treturn table
function M.invert(d)
  local function turned(list)
    local new = {}
    for i, item in ipairs(list) do
      new[i] = { name = item.name, from = item.to, to = item.from }
    end
    return new
  end
  return { added = turned(d.removed), removed = turned(d.added), changed = turned(d.changed) }
end

--- Whether there is no difference.
-- @tparam table d
-- @treturn boolean
function M.empty(d) return not (d.added[1] or d.removed[1] or d.changed[1]) end

-- -- as text -----------------------------------------------------------------------------------

-- A string as it is where no one would take it for anything else.
local function shown_string(s)
  local plain = s:find "^[%w_./\128-\255-][^%c\"',:%[%]{}]*$" and not s:find " $"
    and s:lower() ~= "null" and type(scalar(s)) == "string"
  return plain and s or json.quote(s)
end

local function shown(value)
  if type(value) == "string" then return shown_string(value) end
  if type(value) == "number" then
    return value - value == 0 and json.number(value) or tostring(value)
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local words = {}
  if is_list(value) then
    for i, item in ipairs(value) do words[i] = shown(item) end
    return "[" .. table.concat(words, ", ") .. "]"
  end
  for name, item in pairs(value) do
    words[#words + 1] = shown_string(name) .. ": " .. shown(item)
  end
  table.sort(words)
  return "{" .. table.concat(words, ", ") .. "}"
end

--- Differences for people, a line each, sorted by name: "+ name: value" of what was added,
-- "- name: value" of what was removed, "~ name: from → to" of what was changed.
-- @tparam table d
-- @treturn string  "" where there is none
function M.text(d)
  local rows = {}
  local function row(sign, name, ...)
    local words = { ... }
    for i, word in ipairs(words) do words[i] = shown(word) end
    rows[#rows + 1] = { name = name, text = ("%s %s: %s\n"):format(sign,
      name:find "%c" and json.quote(name) or name, table.concat(words, " → ")) }
  end
  for _, item in ipairs(d.added) do row("+", item.name, item.to) end
  for _, item in ipairs(d.removed) do row("-", item.name, item.from) end
  for _, item in ipairs(d.changed) do row("~", item.name, item.from, item.to) end
  table.sort(rows, by_name)
  for i, each in ipairs(rows) do rows[i] = each.text end
  return table.concat(rows)
end

--- Differences as JSON in one line.
-- @tparam table d
-- @treturn string
function M.json(d)
  local whole = {}
  for _, field in ipairs { "added", "removed", "changed" } do
    whole[field] = d[field][1] and d[field] or json.array()
  end
  return json.encode(whole, { nonfinite = "string" })
end

return M
