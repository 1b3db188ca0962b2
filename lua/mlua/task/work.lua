--- One node at work: its inputs, its run function, its outputs into the store.
-- @module mlua.task.work
local check = require "mlua.check"
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local formats = require "mlua.format"
local hash = require "mlua.ffi.hash"
local node_module = require "mlua.task.node"
local outputs = require "mlua.task.outputs"
local plans = require "mlua.flow.plan"
local process = require "mlua.ffi.process"
local trace = require "mlua.task.trace"

local M = {}

local Node = node_module.methods
local running -- what the run function at work is given to know: node, store, saved, …

-- What is loaded stays, whichever scope it is first asked for in.
local function keep(value, seen)
  if core.is_tensor(value) then
    core.keep(value)
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for _, inner in next, value do keep(inner, seen) end
  end
end

-- A failure of the task at work, by its own doing.
local function wrong(format, ...)
  error({ message = format:format(...) }, 0)
end

-- -- inputs ------------------------------------------------------------------------------------

--- The error that the damage of an input is: whoever made it has to run again.
local Damaged = { __tostring = function(e) return e.message end }
function M.is_damaged(e) return getmetatable(e) == Damaged end

--- The value of an output.
-- @tparam Store store
-- @tparam Node node
-- @tparam table output  as mlua.task.outputs parses it
-- @tparam ?table paths  of an external task's files, by name
function M.load(store, node, output, paths)
  if output.format == "memory" then
    local kept = plans.memory[output.digest] or plans.memory[M.make_in_memory(node, store)]
    return kept[output.name]
  end
  local path, why, what
  if paths then path = paths[output.name]
  elseif output.format == "folder" then path, why, what = store:folder(output.digest)
  else path, why, what = store:verified(output.digest) end
  if not path then
    error(setmetatable({ node = node, what = what, output = output.name,
      message = ("output '%s' of %s is %s: %s"):format(output.name, tostring(node), what, why),
    }, Damaged), 0)
  end
  if output.format == "file" or output.format == "folder" then return path end
  local format
  format, why = formats.get(output.format)
  if not format then wrong("output '%s' of %s: %s", output.name, tostring(node), why) end
  local value
  value, why = format.load(path)
  if value == nil then
    error(setmetatable({ node = node, what = "damaged", output = output.name,
      message = ("output '%s' of %s can't be read: %s"):format(output.name, tostring(node),
        tostring(why)) }, Damaged), 0)
  end
  keep(value, {})
  return value
end

--- The outputs of a node as a task that requires it gets them: the value itself where there is one
-- without a name, else a table that loads what is asked of it.
-- @tparam Store store
-- @tparam Node node
-- @tparam table state  of the plan: text, paths
function M.result(store, node, state)
  local list = outputs.parse(state.text)
  if node._task.outputs.single then return M.load(store, node, list[1], state.paths) end
  local by, names = {}, {}
  for _, output in ipairs(list) do
    if output.format ~= "found" then
      by[output.name] = output
      names[#names + 1] = output.name
    end
  end
  return setmetatable({}, {
    __index = function(t, name)
      local output = by[name]
      if not output then
        error(("%s has no output '%s'%s"):format(node._task.name, tostring(name),
          require "mlua.text".did_you_mean(tostring(name), names)), 2)
      end
      local value = M.load(store, node, output, state.paths)
      rawset(t, name, value)
      return value
    end,
  })
end

local function input_of(store, node, states)
  local edges = node._inputs
  if node._shape == "none" then return nil end
  if node._shape == "one" then
    return M.result(store, edges[1].node, states[edges[1].node])
  end
  local input, lazy = {}, {}
  for _, edge in ipairs(edges) do
    if node._shape == "named" and edge.node._task.outputs.single then
      lazy[edge.key] = edge -- loaded when it is asked for, too
    else
      input[edge.key] = M.result(store, edge.node, states[edge.node])
    end
  end
  if node._shape == "list" then return input end
  return setmetatable(input, { __index = function(t, key)
    local later = lazy[key]
    if not later then
      local names = {}
      for _, one in ipairs(edges) do names[#names + 1] = one.key end
      error(("%s requires nothing as '%s'%s"):format(node._task.name, tostring(key),
        require "mlua.text".did_you_mean(tostring(key), names)), 2)
    end
    local value = M.result(store, later.node, states[later.node])
    rawset(t, key, value)
    return value
  end })
end

-- -- outputs -----------------------------------------------------------------------------------

-- A node with the place of its task, for messages.
local function where(node) return ("%s (%s)"):format(tostring(node), node._task.place) end

-- A path where the task wrote a file or folder itself, or nil.
local function written_path(work, name)
  return work.paths and work.paths[name]
end

local function format_for(node, name, declared, value)
  if declared then return assert(formats.get(declared)) end
  local format, why = formats.of(value)
  if not format then wrong("%s: output '%s': %s", where(node), name, why) end
  return format
end

-- A folder of the user's own stays where it is.
local function copy_folder(from, to)
  return process.run { "cp", "-R", "--", from, to }
end

local function save(work, name, declared, value)
  local node, store = work.node, work.store
  local path = written_path(work, name)
  if value == nil and path then value = path end
  if value == nil then wrong("%s: output '%s' is nil", where(node), name) end
  local format = format_for(node, name, declared, value)
  if format.memory then
    work.in_memory[name] = value
    return outputs.line(name, "memory", work.id, 0)
  end
  local problem = format.check and format.check(value)
  if problem then wrong("%s: output '%s': %s", where(node), name, problem) end
  local to, ok, why = path, true, nil
  if not to or to ~= value then
    to, why = store:scratch()
    if not to then wrong("%s: output '%s': %s", where(node), name, why) end
    if format.folder then ok, why = copy_folder(value, to)
    else ok, why = format.save(value, to) end
  end
  if not ok then wrong("%s: output '%s': %s", where(node), name, tostring(why)) end
  local digest, size
  if format.folder then digest, size = store:adopt_folder(to)
  else digest, size = store:adopt(to) end
  if not digest then wrong("%s: output '%s': %s", where(node), name, size) end
  return outputs.line(name, format.name, digest, size)
end

-- What run returned, and what it saved itself, against what the task declares.
local function collect(work, returned)
  local node, declared = work.node, work.node._task.outputs
  local values = work.saved
  if declared.single then
    if values.output == nil then values.output = returned end
  elseif returned ~= nil then
    if type(returned) ~= "table" then
      wrong("%s: run: expected a table of outputs, got %s", where(node), check.what(returned))
    end
    for name, value in pairs(returned) do values[name] = value end
  end
  local expected, names, text = {}, {}, {}
  for i, output in ipairs(declared) do expected[output[1]], names[i] = true, output[1] end
  for name in pairs(values) do
    if not expected[name] then
      wrong("%s: run gave an output '%s' that is not declared%s", where(node), tostring(name),
        require "mlua.text".did_you_mean(tostring(name), names))
    end
  end
  for _, name in ipairs(names) do
    if values[name] == nil and not written_path(work, name) then
      wrong("%s: run gave no output '%s'", where(node), name)
    end
  end
  for i, output in ipairs(declared) do
    text[i] = save(work, output[1], output[2], values[output[1]])
  end
  return table.concat(text)
end

-- Into the folders of the task's runs (mlua.engine.state).
local function keep_in_runs(work, text)
  for _, dir in ipairs(work.runs or {}) do
    require "mlua.run.outputs".keep(dir, outputs.parse(text), work.store)
  end
end

-- -- the run itself ----------------------------------------------------------------------------

local function parameters_of(node)
  local all = {}
  for _, entry in ipairs(node._task:parameters().list) do
    if node._values[entry.name] ~= nil then all[entry.name] = node._values[entry.name] end
  end
  return all
end

--- Run a node whose inputs are there, and write its outputs.
-- @tparam Node node
-- @tparam string id     its identity
-- @tparam table states  of its inputs
-- @tparam Store store
-- @treturn ?table  a row for Store:record; or nil and the failure: message, trace
function M.run(node, id, states, store)
  local class = node._task
  local outer = running
  local work = { node = node, id = id, store = store, saved = {}, in_memory = {},
                 states = states }
  work.outer, running = outer, work
  local began, clock = process.now(), core.C.ml_clock()
  local seed, stream = core.C.ml_seed_set(), core.C.ml_set_stream(0) -- of draws that name none
  local text
  local ok, why = xpcall(function()
    if class.on_start then class.on_start(node) end
    local input = input_of(store, node, states)
    local stage = require "mlua.store".stage
    local run = class.body -- tracebacks name it so
    local returned = run(node, input)
    if stage then stage "writing" end
    text = collect(work, returned)
    keep_in_runs(work, text)
    if stage then stage "running" end
  end, trace.handler)
  running = outer
  core.C.ml_seed(seed)
  core.C.ml_set_stream(stream)
  local seconds = core.C.ml_clock() - clock
  if not ok then
    local failure = type(why) ~= "table" and { message = tostring(why) } -- no memory for a trace
      or fail.is_user(why) and { message = why.user_error, user = true } or why
    return nil, failure
  end
  if next(work.in_memory) then plans.memory[id] = work.in_memory end
  local facts = require "mlua.task.identity".facts_of(class)
  local values, counted = parameters_of(node), {}
  for _, entry in ipairs(facts.counted) do
    counted[entry.name] = require "mlua.task.identity".counted_text(entry,
      node._values[entry.name], store, node)
  end
  local inputs = {}
  for i, edge in ipairs(node._inputs) do
    local text_of = plans.given(states[edge.node].text)
    inputs[i] = { tostring(edge.key), edge.node._task.name, hash.sha256(text_of) }
  end
  for i, found in ipairs(work.found or {}) do
    text = text .. outputs.line(found.task .. "#" .. i, "found", found.digest, 0)
  end
  return {
    id = id, task = class.name, time = began, seconds = seconds, outputs = text,
    parts = facts.parts,
    detail = { code = facts.digest, params = values, counted = counted, inputs = inputs,
               meta = work.meta, found = work.found },
  }
end

--- Call what a task wants called after it ended; a mistake there undoes nothing.
-- @tparam Node node
-- @tparam ?table failure  nil: it went well
-- @treturn ?string  what went wrong in it
function M.call_back(node, failure)
  local class = node._task
  local f = failure and class.on_failure or not failure and class.on_success
  if not f then return nil end
  local ok, why = xpcall(f, trace.handler, node, failure and failure.message)
  if ok then return nil end
  local name = failure and "on_failure" or "on_success"
  return ("%s: %s: %s"):format(tostring(node), name, type(why) == "table"
    and (why.trace or why.message or why.user_error) or tostring(why))
end

--- Compute what a node keeps in memory, and what it needs for that; for children, and the prompt.
-- @treturn string  its identity
function M.make_in_memory(node, store)
  local known = running and running.states[node] -- what the run knows may not be recorded yet
  if known and known.id then
    local row, failure = M.run(node, known.id, running.states, store)
    if not row then error(failure, 0) end
    return known.id
  end
  local plan = plans.new({ node }, store, { inside = true })
  for _, each in ipairs(plan.order) do
    local state = plan.states[each]
    if (state.status == "needed" or state.status == "memory") and not plans.memory[state.id] then
      local row, failure = M.run(each, state.id, plan.states, store)
      if not row then error(failure.trace or failure.message, 0) end
    elseif state.status ~= "ready" and state.status ~= "memory" then
      fail.run("%s has to run first", tostring(each))
    end
  end
  return plan.states[node].id
end

-- -- methods within run ------------------------------------------------------------------------

--- Whether a task's run function is at work.
-- @treturn boolean
function M.at_work() return running ~= nil end

--- What the run function that is at work knows: node, id, store; nil where none is.
-- @treturn ?table
function M.current() return running end

local function at_work(self, name)
  if not running or running.node ~= self then
    error(("%s: only within its own run"):format(name), 3)
  end
  return running
end

--- Save an output before run ends; what run returns adds to these.
-- @tparam string name
-- @param value
function Node:save(name, value)
  at_work(self, "save").saved[name] = value
end

--- A path to write an output of the format file or folder at, in place of returning it.
-- @tparam string name
-- @treturn string
function Node:path(name)
  local work = at_work(self, "path")
  work.paths = work.paths or {}
  work.paths[name] = work.paths[name] or assert(work.store:scratch())
  return work.paths[name]
end

--- Keep a fact about this result beside it: `node:record().meta` has them.
-- @tparam string key
-- @param value  what JSON can hold
function Node:note(key, value)
  local work = at_work(self, "note")
  local ok, why = pcall(require "mlua.json".encode, { [key] = value })
  if not ok then core.bad(2, "note", "%s", why:gsub("^[^:]*:%d+: ", "")) end
  work.meta = work.meta or {}
  work.meta[key] = value
end

--- The outputs of another task, found out about while this one runs; it runs if it has to. When it
-- would give something else, this one runs again.
-- @tparam Task class
-- @tparam ?table given
-- @return its outputs, as requires hands them over
-- @raise where it is at work already: a cycle, with its path
function Node:require(class, given)
  local work = at_work(self, "require")
  local of = node_module.task_of(class)
  if of then class, given = of, class._values end
  local node = self:clone(class, given)
  local recorded, problem = work.store:flush() -- what this run has made is there for all
  if not recorded then wrong("%s", problem) end
  local plan = plans.new({ node }, work.store, { inside = true })
  for _, each in ipairs(plan.order) do
    local at, path = work, { tostring(each) }
    while at do
      table.insert(path, 1, tostring(at.node))
      if at.node == each then
        wrong("a cycle of tasks, found while they run: %s", table.concat(path, " → "))
      end
      at = at.outer
    end
  end
  local outcome = require "mlua.flow.run".run(plan)
  if #outcome.failed > 0 then
    error(outcome.failed[1].failure.trace or outcome.failed[1].failure.message, 0)
  end
  local state = plan.states[node]
  work.found = work.found or {}
  local values = {}
  for name in pairs(given or {}) do values[name] = node._values[name] end
  table.insert(work.found, { task = class.name, values = values,
                             digest = hash.sha256(plans.given(state.text)) })
  return M.result(work.store, node, state)
end

return M
