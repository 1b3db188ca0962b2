--- Nodes: tasks with values for all their parameters, and what they require.
--
-- A node's own fields begin with an underscore; all others are parameters (`self.rows`) and
-- methods. Nodes of equal values are one. Those that came of one call share a context: what was
-- given.
-- @module mlua.task.node
local check = require "mlua.check"
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local json = require "mlua.json"
local params = require "mlua.task.params"
local text = require "mlua.text"
local trace = require "mlua.task.trace"

local M = {}

local Node = {} -- methods, for all tasks: of this module, mlua.task.work and mlua.flow
M.methods = Node

--- Counts plans: what requires functions gave, and digests of code, are good for one.
M.round = 0

--- Their names, which no parameter may have.
M.reserved = {}
for name in ([[clone invalidate id meta note output params path preview record require run
  save]]):gmatch "%a+" do
  M.reserved[name] = true
end

--- All methods, with those that other modules add when they are loaded.
-- @treturn table  name → function
function M.all_methods()
  require "mlua.task.work"
  require "mlua.flow"
  return Node
end

local metatables = setmetatable({}, { __mode = "k" }) -- by task
local nodes = setmetatable({}, { __mode = "v" })      -- by task and values
local building -- the node whose requires function runs

-- -- values ------------------------------------------------------------------------------------

--- A value as text that tells it from any other of its parameter.
function M.value_text(value)
  local kind = type(value)
  if kind == "number" then
    if value % 1 == 0 and value > -2 ^ 31 and value < 2 ^ 31 then return tostring(value) end
    if value % 1 == 0 then return ("%.0f"):format(value) end
    local short = ("%.15g"):format(value)
    return tonumber(short) == value and short or ("%.17g"):format(value)
  elseif kind == "table" then
    local meta = getmetatable(value)
    if meta and meta.__text then return meta.__text(value) end
    meta = value[1] and getmetatable(value[1])
    if type(meta) == "table" and meta.__text then -- parts
      local texts = {}
      for i, part in ipairs(value) do texts[i] = meta.__text(part) end
      return table.concat(texts, ",")
    end
    return json.encode(value)
  end
  return tostring(value)
end

local function unknown(class, name)
  local names = text.keys(class:parameters().by)
  return ("%s has no parameter '%s'%s"):format(class.name, name, text.did_you_mean(name, names))
end

-- What was given in a call, sorted into values for all tasks and for single ones.
local function new_context(class, given)
  local context = { given = {}, origins = {}, single = {} }
  for name, value in pairs(given or {}) do
    core.expect(type(name) == "string", 1, class.name, "expected values by name, got %s",
      check.what(name))
    local origin
    if type(value) == "table" and value.origin then value, origin = value.value, value.origin end
    if class:parameters().by[name] then
      local checked, why = params.check(class:parameters().by[name], value)
      core.expect(checked ~= nil, 1, class.name, "%s: %s", name, why)
      context.given[name] = checked
    else
      local task_name = name:match "^([%a][%w_]*)%."
      core.expect(task_name, 1, class.name, "%s", unknown(class, name))
      context.single[name] = value
      context.unused = context.unused or {}
      context.unused[name] = true
    end
    context.origins[name] = origin or "set"
  end
  return context
end

-- What a name stands for that is neither a value nor a method: the part of a parameter's name
-- before a dot, or a mistake.
local function rest_of_name(node, name, by)
  for dotted in pairs(by) do
    if dotted:sub(1, #name + 1) == name .. "." then
      return setmetatable({}, { __index = function(_, rest)
        return node[name .. "." .. tostring(rest)]
      end })
    end
  end
  local known = text.keys(by)
  for method_name in pairs(Node) do known[#known + 1] = method_name end
  error(("%s has no parameter '%s'%s"):format(node._task.name, name,
    text.did_you_mean(name, known)), 3)
end

local function new_metatable(class)
  local by = class:parameters().by
  local meta = {
    __index = function(node, name)
      local value = node._values[name]
      if value ~= nil then return value end
      if by[name] then return nil end
      local method = Node[name]
      if method then return method end
      if type(name) ~= "string" or name:sub(1, 1) == "_" then return nil end
      method = M.all_methods()[name]
      if method then return method end
      local found = rest_of_name(node, name, by)
      return found
    end,
    __newindex = function(_, name)
      error(("%s: '%s' can't be set; parameters are given when a task is called"):format(class.name,
        tostring(name)), 2)
    end,
    __tostring = function(node) return node:_describe() end,
    __shown = function(node) return require "mlua.flow.show".node(node) end,
    __fields = function() return by, M.all_methods() end,
    __digest = function(node) return "task " .. node._key end,
    __tree = function(node) -- what makes its result differ
      local tree = {}
      for _, entry in ipairs(class:parameters().list) do
        if entry.param.significant then tree[entry.name] = node._values[entry.name] end
      end
      return tree
    end,
    __main = function() class:__main() end,
    __class = class,
  }
  metatables[class] = meta
  return meta
end

local function metatable(class) return metatables[class] or new_metatable(class) end

--- Whether a value is a node; its task.
-- @treturn ?Task
function M.task_of(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__class or nil
end

-- What was given for single tasks, and to tasks that a requires function may yet call, as text: it
-- tells apart nodes of equal values that stand on unequal ones.
local function mark_of(class, context)
  if class.open == nil then
    class.open = class.require_function ~= nil
    for _, edge in ipairs(class.edges) do
      mark_of(edge.task, context)
      class.open = class.open or edge.task.open
    end
  end
  if not class.open and not context.unused then return "" end
  if not context.mark then
    local words = {}
    for _, part in ipairs { "given", "single" } do
      for _, name in ipairs(text.keys(context[part])) do
        words[#words + 1] = name .. "\31" .. M.value_text(context[part][name])
      end
    end
    context.mark = table.concat(words, "\31")
  end
  return context.mark
end

local key_words = {}

-- The node of these values, the one that is there or a new one.
local function intern(class, values, context, origins)
  local list, key = class:parameters().list, key_words
  key[1] = class.name
  for i = 1, #list do
    local value = values[list[i].name]
    key[i + 1] = type(value) == "string" and #value .. ":" .. value or M.value_text(value)
  end
  key[#list + 2] = mark_of(class, context)
  key = table.concat(key, "\31", 1, #list + 2)
  local known = nodes[key]
  if known and known._task == class then return known end
  local node = setmetatable({ _task = class, _values = values, _context = context, _key = key,
                              _origins = origins, _inputs = false, _shape = false,
                              _round = false },
    metatable(class))
  nodes[key] = node
  return node
end

-- Where values come from, by name: tables that never change, one for all nodes that have the same.
local NO_ORIGINS = {}
local with_one_more = {}

local function with_origin(origins, name, origin)
  local by_name = with_one_more[origins]
  if not by_name then
    by_name = {}
    with_one_more[origins] = by_name
  end
  local by_origin = by_name[name]
  if not by_origin then
    by_origin = {}
    by_name[name] = by_origin
  end
  local more = by_origin[origin]
  if not more then
    more = {}
    for key, value in pairs(origins) do more[key] = value end
    more[name] = origin
    by_origin[origin] = more
  end
  return more
end

local function checked_value(class, entry, value, name)
  local checked, why = params.check(entry, value)
  if checked == nil then fail.usage("%s: %s: %s", class.name, name, why) end
  return checked
end

-- A task as `parent` requires it: pinned values, those for it alone, the parent's, those given for
-- all, defaults.
local function required(class, context, parent, pins, under)
  local values, origins = {}, NO_ORIGINS
  local list = class:parameters().list
  local single, given = context.single, context.given
  local of_parent = parent and parent._task:parameters().by
  local setter = "set by " .. (parent and parent._task.name or "a task")
  for i = 1, #list do
    local entry = list[i]
    local name = entry.name
    local value, origin = pins[name], nil
    if value ~= nil then
      value = checked_value(class, entry, value, name)
      origin = setter
    else
      local own = context.unused and class.name .. "." .. name
      local theirs = under and under .. "." .. name or name
      local pinned = parent and parent._origins[theirs]
      if own and single[own] ~= nil and not (pinned and pinned:find "^set by ") then
        value, origin = checked_value(class, entry, single[own], own), context.origins[own]
        context.used = context.used or {}
        context.used[own] = true
      else
        if of_parent and of_parent[theirs] then
          value = parent._values[theirs]
          origin = parent._origins[theirs]
        elseif given[name] ~= nil then
          value, origin = checked_value(class, entry, given[name], name), context.origins[name]
        else
          value = entry.param.default
        end
      end
    end
    values[name] = value
    if origin then origins = with_origin(origins, name, origin) end
    if value == nil and entry.param.required then
      fail.usage("%s: %s: required", class.name, name)
    end
  end
  return intern(class, values, context, origins)
end

--- A node from a call of its task: of the node whose requires function runs, else a graph's first.
-- @tparam Task class
-- @tparam ?table given
-- @treturn Node
function M.new(class, given)
  if building then
    local entries = class:parameters().by
    for name in pairs(given or {}) do
      if not entries[name] then
        local _, place = trace.level()
        fail.usage("%s: %s", place or building._task.place, unknown(class, tostring(name)))
      end
    end
    return required(class, building._context, building, given or {})
  end
  local context = new_context(class, given)
  return required(class, context, nil, {})
end

-- -- requirements ------------------------------------------------------------------------------

-- What a requires function gave, as edges to nodes.
local function nodes_of(given, node, where)
  local class = M.task_of(given)
  local tasks = require "mlua.task"
  if class then return { { key = 1, node = given } }, "one" end
  local pins, under
  if not tasks.is(given) and type(given) == "table" and given.task and given.pins then
    given, pins, under = given.task, given.pins, given.under
  end
  if tasks.is(given) then
    local one = required(given, node._context, node, pins or {}, under)
    return { { key = 1, node = one } }, "one"
  end
  if given == nil then return {}, "none" end
  if type(given) ~= "table" then
    fail.usage("%s: task %s: requires: expected tasks, got %s", node._task.place, node._task.name,
      check.what(given))
  end
  local edges, keys = {}, {}
  for key in pairs(given) do keys[#keys + 1] = key end
  local shape = #given > 0 and "list" or "named"
  if shape == "named" then table.sort(keys) end
  for i = 1, #keys do
    local key = shape == "list" and i or keys[i]
    local one, form = nil, nil
    if not where then one, form = nodes_of(given[key], node, key) end
    if not one or form ~= "one" then
      fail.usage("%s: task %s: requires: expected a task as '%s', got %s", node._task.place,
        node._task.name, tostring(key), check.what(given[key]))
    end
    edges[i] = { key = key, node = one[1].node }
  end
  return edges, #edges == 0 and "none" or shape
end

-- What its requires function gives.
local function called(class, node)
  local before = building
  building = node
  local ok, given = xpcall(function() return class.require_function(node) end, trace.handler)
  local inputs, shape
  if ok then inputs, shape = nodes_of(given, node) end
  building = before
  if not ok then
    if fail.is_user(given) then error(given, 0) end
    fail.run("task %s: requires: %s", class.name, given.trace or tostring(given))
  end
  return inputs, shape
end

local NO_INPUTS = {}

--- What a node requires, found at the first call: a list of { key, node }, and the shape in which
-- run gets them: none, one, list or named.
-- @tparam Node node
-- @treturn {table,...}
function M.expand(node)
  if node._inputs and (node._round == M.round or not node._task.require_function) then
    return node._inputs
  end
  local class = node._task
  local inputs, shape = NO_INPUTS, class.shape
  if class.require_function then
    inputs, shape = called(class, node)
  elseif #class.edges > 0 then
    inputs = {}
    for i, edge in ipairs(class.edges) do
      inputs[i] = { key = edge.key,
                    node = required(edge.task, node._context, node, edge.pins, edge.under) }
    end
  end
  node._shape, node._inputs, node._round = shape, inputs, M.round
  return inputs
end

local DEEPEST = 2e5 -- tasks that stand one on another

--- A graph: all nodes that some need, each after what it requires.
-- @tparam {Node,...} roots
-- @treturn {Node,...}
-- @raise a line that names the path, where there is a cycle
function M.graph(roots)
  local order, state, stack, classes = {}, {}, {}, {}
  local function finish(node)
    state[node] = "done"
    order[#order + 1] = node
    local class = node._task
    local known = classes[class.name]
    if not known then
      classes[class.name] = class
    elseif known ~= class then
      fail.usage("two tasks are named '%s': %s and %s", class.name, known.place, class.place)
    end
  end
  local function begin(node)
    local inputs = M.expand(node)
    if #inputs == 0 then return finish(node) end
    state[node] = "open"
    stack[#stack + 1] = { node, inputs, 0 }
  end
  for _, root in ipairs(roots) do
    if not state[root] then begin(root) end
    while #stack > 0 do
      local top = stack[#stack]
      top[3] = top[3] + 1
      local input = top[2][top[3]]
      if not input then
        stack[#stack] = nil
        finish(top[1])
      elseif state[input.node] == "open" then
        local path = {}
        for _, item in ipairs(stack) do path[#path + 1] = tostring(item[1]) end
        path[#path + 1] = tostring(input.node)
        while path[1] ~= path[#path] do table.remove(path, 1) end
        fail.usage("%s: a cycle of tasks: %s", input.node._task.place, table.concat(path, " → "))
      elseif not state[input.node] then
        begin(input.node)
        if #stack > DEEPEST then
          fail.usage("%s: requirements without an end: %s → %s → %s → …", root._task.place,
            tostring(stack[1][1]), tostring(stack[2][1]), tostring(stack[3][1]))
        end
      end
    end
  end
  return order
end

-- -- methods -----------------------------------------------------------------------------------

--- The values that are not defaults, as text: "lr=0.2 rows=100".
-- @tparam[opt=false] boolean all     defaults, too
-- @tparam[opt=" "] string between
function Node:_words(all, between)
  local words = {}
  for _, entry in ipairs(self._task:parameters().list) do
    local value = self._values[entry.name]
    local default = entry.param.default
    local changed = M.value_text(value) ~= M.value_text(default)
    if value ~= nil and (all or changed) then
      words[#words + 1] = entry.name .. "=" .. entry.param:show(value)
    end
  end
  return table.concat(words, between or " ")
end

function Node:_describe()
  local words = self:_words(false, ", ")
  return self._task.name .. (words ~= "" and "(" .. words .. ")" or "")
end

--- All values, by name.
-- @treturn table
function Node:params()
  local all = {}
  for name, value in pairs(self._values) do all[name] = value end
  return all
end

--- Another task with the parameters that both have, and some given.
-- @tparam Task class
-- @tparam ?table given
-- @treturn Node
function Node:clone(class, given)
  core.expect(require "mlua.task".is(class), 2, "clone", "expected a task, got %s",
    check.what(class))
  local before = building
  building = self
  local ok, node = pcall(M.new, class, given)
  building = before
  if not ok then error(node, 0) end
  return node
end

return M
