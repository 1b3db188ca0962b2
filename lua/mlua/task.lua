--- Tasks: what makes a result, of which parameters and of which other results.
--
--     local Clicks = ml.task("Clicks", {
--       params  = { rows = param.int { 1000, min = 1 }, seed = param.int { 1 } },
--       outputs = { "train", "test" },
--       run     = function(self) return { train = …, test = … } end,
--     })
--     local Train = ml.task("Train", {
--       requires = { clicks = Clicks },            -- rows and seed are Train's, too
--       params   = { lr = param.number { 0.1, min = 0 } },
--       run      = function(self, input) return fit(input.clicks.train, self.lr) end,
--     })
--     Train { lr = 0.2 }:run():output()
--
-- Calling a task gives a node of a graph: the task with values for all its parameters, its own and
-- those of what it requires. Nodes of equal values are one. mlua.flow runs them.
-- @module mlua.task
local check = require "mlua.check"
local core = require "mlua.ffi"
local format = require "mlua.format"
local param = require "mlua.param"
local text = require "mlua.text"

local task = {}

local Task = {}
Task.__index = Task

-- A task asked for with some parameters fixed, or kept apart under a name.
local Variant = {}
Variant.__index = Variant

local defined = setmetatable({}, { __mode = "v" }) -- tasks by name, the last of each
local node_module -- mlua.task.node, which requires this one

local FIELDS = {
  params = "table", requires = "table|function", inherits = "table", outputs = "table|string",
  run = "function", external = "function", doc = "string", priority = "number",
  resources = "table", retries = "number", timeout = "number", on_start = "function",
  on_success = "function", on_failure = "function", report = "function", json = "function",
}

local function place(level)
  local info = debug.getinfo(level + 1, "Sl")
  return info and ("%s:%d"):format(info.short_src, info.currentline) or "?"
end

-- -- requirements ------------------------------------------------------------------------------

--- Whether a value is a task.
function task.is(value) return getmetatable(value) == Task end

local function is_required(value)
  local meta = getmetatable(value)
  return meta == Task or meta == Variant
end

local function edge(key, value)
  if task.is(value) then return { key = key, task = value, pins = {} } end
  return { key = key, task = value.task, pins = value.pins, under = value.under }
end

-- Requirements as a list of edges; `shape` says how the inputs are handed to run.
local function edges_of(requires, name)
  if requires == nil or type(requires) == "function" then return {}, "none" end
  if is_required(requires) then return { edge(1, requires) }, "one" end
  local list, keys, shape = {}, {}, #requires > 0 and "list" or "named"
  for key in pairs(requires) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == "number"
  end)
  for _, key in ipairs(keys) do
    core.expect(is_required(requires[key]), 2, "task",
      "%s: requires: expected a task as '%s', got %s", name, tostring(key),
      check.what(requires[key]))
    core.expect(shape == "named" or type(key) == "number", 2, "task",
      "%s: requires: expected a list or a table of names, got both", name)
    list[#list + 1] = edge(key, requires[key])
  end
  return list, #list == 0 and "none" or shape
end

-- -- outputs -----------------------------------------------------------------------------------

-- { { name, format or nil }, … }; one that has no name is "output".
local function outputs_of(outputs, name)
  if outputs == nil or type(outputs) == "string" then
    outputs = { { "output", outputs } }
    outputs.single = true
  else
    local list, names = {}, {}
    for key, value in pairs(outputs) do
      local by_name = type(key) == "string"
      core.expect(type(value) == "string", 2, "task",
        "%s: outputs: expected names, or formats by name, got %s", name, check.what(value))
      names[#names + 1] = { by_name and key or value, by_name and value or nil }
    end
    table.sort(names, function(a, b) return a[1] < b[1] end)
    for i, output in ipairs(names) do
      core.expect(output[1]:find "^[%a_][%w_.-]*$", 2, "task",
        "%s: outputs: '%s' is not a name", name, output[1])
      core.expect(not list[i - 1] or list[i - 1][1] ~= output[1], 2, "task",
        "%s: outputs: '%s' is there twice", name, output[1])
      list[i] = output
    end
    outputs = list
  end
  for _, output in ipairs(outputs) do
    local known, why = output[2] == nil or format.is(output[2]), nil
    if not known then known, why = format.get(output[2]) end
    core.expect(known, 2, "task", "%s: outputs: %s", name, why)
  end
  return outputs
end

-- -- parameters --------------------------------------------------------------------------------

-- Parameters by name; those of a group carry its title.
local function ungrouped(params)
  local all = {}
  for key, value in pairs(params or {}) do
    local group = type(value) == "table" and not param.is(value) and value.entries
    for name, p in pairs(group or { [key] = value }) do
      core.expect(all[name] == nil, 2, "task", "params: '%s' is there twice", tostring(name))
      if group and param.is(p) then p.group = p.group or value.group end
      all[name] = p
    end
  end
  return all
end

-- -- definition --------------------------------------------------------------------------------

--- Define a task.
--
--     params      name → parameter (mlua.param), and groups of them (param.group) for help;
--                 `significant = false` for what changes no result
--     requires    a task, a list or a table of them, each as it is, `T:with { seed = 5 }` (a
--                 parameter pinned) or `T:apart "left"` (its parameters under left.…); or a
--                 function of the node that gives such a value, of nodes, too:
--                 `function(self) return Part { i = self.i } end`
--     inherits    tasks whose parameters are this one's, where requires is a function
--     outputs     names, or formats by name; none: run returns the one output itself
--     run         function(self, input) → the outputs by name
--     external    in place of run: function(self) → paths by name, of files or folders made
--                 elsewhere
--     doc         a sentence, for help
--     priority    0; where several could run, the higher first
--     resources   what it takes while it runs: { gpu = 1, memory = "4G" }
--     retries     0: how often it is tried again
--     timeout     seconds
--     on_start    function(self); on_success(self), on_failure(self, message)
--     report      function(outputs, self) → text that a flow shows at its end
--     json        function(outputs, self) → what its --json prints, a table
-- @tparam string name  a word; it names the task at the shell, too: --Clicks.seed 3
-- @tparam table def    the fields above
-- @treturn Task
-- @raise bad argument on anything else
function task.define(name, def)
  check.type(name, 1, "task", "name", "string")
  core.expect(name:find "^%a[%w_]*$", 1, "task", "name: '%s' is not a word", name)
  check.type(def, 2, "task", "def", "table")
  core.options(def, FIELDS, 2, "task")
  core.expect((def.run ~= nil) ~= (def.external ~= nil), 2, "task",
    "%s: expected either 'run' or 'external'", name)
  local self = setmetatable({
    name = name, place = place(2), body = def.run, external = def.external, doc = def.doc,
    priority = def.priority or 0, retries = def.retries or 0, timeout = def.timeout,
    on_start = def.on_start, on_success = def.on_success, on_failure = def.on_failure,
    report = def.report, json = def.json, own = ungrouped(def.params),
    inherits = def.inherits or {},
    resources = require "mlua.task.resources".of(def.resources, name),
    require_function = type(def.requires) == "function" and def.requires or nil,
  }, Task)
  self.edges, self.shape = edges_of(def.requires, name)
  self.outputs = outputs_of(def.outputs, name)
  self.in_memory = true -- all of it, so that nothing is recorded
  for _, output in ipairs(self.outputs) do
    self.in_memory = self.in_memory and output[2] ~= nil and format.is_memory(output[2])
  end
  for key, p in pairs(self.own) do
    core.expect(type(key) == "string" and param.is(p), 2, "task",
      "%s: params: expected parameters by name, got %s as '%s'", name, check.what(p), tostring(key))
    core.expect(not require "mlua.task.node".reserved[key], 2, "task",
      "%s: params: '%s' is a method of every task", name, key)
  end
  for i, other in ipairs(self.inherits) do
    core.expect(task.is(other), 2, "task", "%s: inherits: expected a task at %d, got %s", name, i,
      check.what(other))
  end
  self:parameters() -- refuses what does not fit, here
  defined[name] = self
  return self
end

--- All parameters, the task's own and inherited (mlua.task.params).
-- @treturn table  list of { name, param, owner, own }, `by` name
function Task:parameters()
  self.all = self.all or require "mlua.task.params".merge(self)
  return self.all
end

--- Run the node of this task's defaults: `T:run()` is `T():run()`.
-- @tparam ?table options  as mlua.flow.run
-- @treturn Node
function Task:run(options) return self():run(options) end

--- The task with some parameters fixed: for what requires it they are no longer open.
-- @tparam table pins  name → value
-- @treturn Variant
function Task:with(pins)
  return setmetatable({ task = self, pins = {} }, Variant):with(pins)
end

--- The task with its parameters under a name of their own: `T:apart "left"` has left.seed.
-- @tparam string name
-- @treturn Variant
function Task:apart(name)
  return setmetatable({ task = self, pins = {} }, Variant):apart(name)
end

function Variant:with(pins)
  check.type(pins, 2, "with", "pins", "table")
  local all, entries = {}, self.task:parameters().by
  for key, value in pairs(self.pins) do all[key] = value end
  for key, value in pairs(pins) do
    local entry = entries[key]
    core.expect(entry, 2, "with", "%s has no parameter '%s'%s", self.task.name, tostring(key),
      text.did_you_mean(tostring(key), text.keys(entries)))
    local checked, why = entry.param:check(value)
    core.expect(checked ~= nil, 2, "with", "%s: %s", key, why)
    all[key] = checked
  end
  return setmetatable({ task = self.task, pins = all, under = self.under }, Variant)
end

function Variant:apart(name)
  check.type(name, 2, "apart", "name", "string")
  return setmetatable({ task = self.task, pins = self.pins, under = name }, Variant)
end

--- A node: this task with values. Within a `requires` function, what is not given is as the node
-- that requires it has it.
-- @tparam ?table values  name → value, or "Task.name" → value for one task below
-- @treturn Node
-- @raise bad argument #1 where a value is unknown, of the wrong type or out of range
function Task:__call(values)
  check.type(values, 1, self.name, "values", "table|nil")
  node_module = node_module or require "mlua.task.node"
  return node_module.new(self, values)
end

function Task:__tostring() return "task " .. self.name end

--- What the program does with a script that returns a task: a flow was meant.
function Task:__main()
  require "mlua.fail".usage("%s: returns a task, where a recipe ends with: return ml.flow(%s)",
    arg and arg[0] or self.place, self.name)
end

-- In digests of code, a task counts by its name: what it does counts where it is required.
function Task:__digest() return "task " .. self.name end

--- The task that was defined last under a name; nil for none.
-- @tparam string name
-- @treturn ?Task
function task.named(name) return defined[name] end

return setmetatable(task, { __call = function(_, ...) return task.define(...) end })
