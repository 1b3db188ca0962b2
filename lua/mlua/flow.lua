--- Flows: graphs of tasks that run only what has changed.
--
--     local flow = ml.flow(Train)                   -- a recipe ends with: return ml.flow(Train)
--     local a, b = flow { lr = 0.1 }, flow { lr = 0.2 }
--     print(flow.preview { a, b })
--     flow.run { a, b }
--     a:output "model"
--
-- At the shell `mlua recipe.lua` reads the parameters of the flow's task, and of all below it, as
-- options (mlua.flow.cli).
-- @module mlua.flow
local check = require "mlua.check"
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local node_module = require "mlua.task.node"
local store_module = require "mlua.store"

local M = {}

local Flow = {}
Flow.__index = Flow

local Node = node_module.methods
local open_stores = {}

--- The store at hand: `$MLUA_STORE`, the nearest `.mlua`, or the one set.
-- @tparam ?string dir  set it
-- @treturn Store
function M.store(dir)
  if dir then M.dir = dir end
  local at = M.dir or store_module.find()
  if at:sub(1, 1) ~= "/" then at = require "lfs".currentdir() .. "/" .. at end
  open_stores[at] = open_stores[at] or store_module.open(at)
  return open_stores[at]
end

--- A flow, whose last task is given.
-- @tparam Task task
-- @tparam ?table info  name, for help; doc, a sentence; check(values) → a line where parameters
--   don't go together; done(node), called at the shell when all has run or was there
-- @treturn Flow
function M.new(task, info)
  if not require "mlua.task".is(task) then -- a recipe's `return ml.flow(x)` leaves no line behind
    local level = require "mlua.task.trace".level()
    if not level then
      fail.run("%s: ml.flow: expected a task, got %s", arg and arg[0] or "a script",
        check.what(task))
    end
    core.expect(false, 1, "flow", "expected a task, got %s", check.what(task))
  end
  info = core.options(info, { name = "string", doc = "string", check = "function",
                              done = "function" }, 2, "flow")
  return setmetatable({ task = task, info = info, place = task.place }, Flow)
end

--- Whether a value is a flow.
function M.is(value) return getmetatable(value) == Flow end

--- The flow's task with values: a node, with all that it requires.
function Flow:__call(values) return self.task(values) end

function Flow:__tostring() return "flow of " .. self.task.name end

--- What the program does with a script that returns a flow.
function Flow:__main(args) return require "mlua.flow.cli".main(self, args) end

--- The flow that a recipe returns.
-- @tparam string path
-- @treturn Flow
function M.load(path)
  check.type(path, 1, "load", "path", "string")
  local chunk, why = loadfile(path, "t") -- text: compiled code is not loaded
  if not chunk then fail.run("%s", (why:gsub("^cannot open ", ""))) end
  local flow = chunk(path)
  if not M.is(flow) then
    fail.run("%s: expected it to return a flow, got %s", path, check.what(flow))
  end
  return flow
end

-- -- many nodes --------------------------------------------------------------------------------

local function roots_of(nodes, name)
  local list = node_module.task_of(nodes) and { nodes } or nodes
  core.expect(type(list) == "table" and #list > 0, 1, name,
    "expected a node or a list of them, got %s", check.what(nodes))
  for i, node in ipairs(list) do
    core.expect(node_module.task_of(node), 1, name, "expected a node at %d, got %s", i,
      check.what(node))
  end
  return list
end

local RUN = { jobs = "number", force = "boolean|table", only = "table", till = "table",
              keep_going = "boolean", resources = "table", verify = "boolean",
              on_event = "function", echo = "boolean" }

--- Task names as a set, of a list or a set of them, all of these nodes' graph.
-- @tparam table given
-- @tparam {Node,...} nodes
-- @treturn ?table  nil where one is not of the graph, and a message
function M.names(given, nodes)
  local set, known = {}, {}
  for key, value in pairs(given) do
    if value then set[type(key) == "number" and value or key] = true end
  end
  if next(set) == nil then return set end
  for _, node in ipairs(node_module.graph(nodes)) do known[node._task.name] = true end
  for task in pairs(set) do
    if not known[task] then
      local text = require "mlua.text"
      return nil, ("no task '%s' in this flow%s"):format(tostring(task),
        text.did_you_mean(tostring(task), text.keys(known)))
    end
  end
  return set
end

local function names_of(given, nodes, option, name)
  if type(given) ~= "table" then return given or nil end
  local set, why = M.names(given, nodes)
  core.expect(set, 2, name, "%s: %s", option, why)
  return set
end

-- The options of a call, checked.
local function options_of(options, nodes, name)
  options = core.options(options, RUN, 2, name)
  local all = {}
  for key, value in pairs(options) do all[key] = value end
  for _, option in ipairs { "force", "only", "till" } do
    all[option] = names_of(all[option], nodes, option, name)
  end
  local jobs = all.jobs or 1
  core.expect(jobs >= 1 and jobs % 1 == 0, 2, name, "jobs: expected a whole number of at least 1, "
    .. "got %s", tostring(all.jobs))
  return all
end

--- The name under which a flow is remembered, for collections of garbage: the script's, and values.
-- @tparam Node node
-- @treturn string
function M.name_of(node)
  return ("%s\n%s"):format(arg and arg[0] or node._task.place, node._key)
end

--- Remember what a plan that has run stands on: no collection takes it away.
-- @tparam Plan plan
-- @tparam {Node,...} nodes
function M.remember(plan, nodes)
  local results = plan.store:results()
  if not results then return end
  local ids = {}
  for _, each in ipairs(plan.order) do ids[#ids + 1] = plan.states[each].id end
  for _, node in ipairs(nodes) do
    local name = M.name_of(node)
    if results:flow_ids(name) ~= table.concat(ids, "\n") then results:add_flow(name, ids) end
  end
end

--- What there is and what would run, and why.
-- @tparam Node|{Node,...} nodes
-- @tparam ?table options  force, till, verify: as for `run`
-- @treturn Plan  prints as the tree that --preview shows
function M.preview(nodes, options)
  local roots = roots_of(nodes, "preview")
  options = options_of(options, roots, "preview")
  local plan = require "mlua.flow.plan".new(roots, M.store(), options)
  return require "mlua.flow.show".printable(plan)
end

--- Run what has to run for some nodes.
-- @tparam Node|{Node,...} nodes
-- @tparam ?table options  jobs (1), force (true, or task names), only and till (task names: these
--   alone; these and what they need), keep_going, verify, resources (amounts that there are:
--   { gpu = 2 }), on_event
-- @treturn table  ran, same, seconds
-- @raise the first failure, with its traceback
function M.run(nodes, options)
  if require "mlua.task.work".at_work() then
    core.misuse "run: within a task, self:require(T, { … }) runs another, and counts it as an input"
  end
  local roots, store = roots_of(nodes, "run"), M.store()
  options = options_of(options, roots, "run")
  store:hold()
  local ok, outcome = pcall(function()
    local plan = require "mlua.flow.plan".new(roots, store, options)
    local done = require "mlua.flow.run".run(plan, options)
    if #done.failed == 0 and not options.till and not options.only then M.remember(plan, roots) end
    return done
  end)
  store:let_go()
  if not ok then error(outcome, 0) end
  local first = outcome.failed[1]
  if first then
    error(fail.value(("%s: %s"):format(tostring(first.node),
      first.failure.trace or first.failure.message)), 0)
  end
  return { ran = outcome.ran, same = outcome.same, seconds = outcome.seconds }
end

--- Forget results, so that their tasks run again.
-- @tparam Node|{Node,...} nodes  of the graphs at hand
-- @tparam ?table options  tasks: a set of names (else the nodes' own); upstream, downstream: also
--   all that these need, or all that needs them; all; dry_run
-- @treturn {Node,...}  whose results were there, and have been forgotten unless dry_run
function M.invalidate(nodes, options)
  local roots, all = roots_of(nodes, "invalidate"), {}
  for key, value in pairs(options or {}) do all[key] = value end
  all.tasks = names_of(all.tasks, roots, "tasks", "invalidate")
  return require "mlua.flow.invalidate".run(roots, M.store(), all)
end

local function state_of(plan, node)
  local state = plan.states[node]
  if state.status ~= "ready" and state.status ~= "needed" and state.status ~= "memory" then
    fail.run("%s has not run yet, or not since what it stands on changed: node:run() first",
      tostring(node))
  end
  return state
end

-- A plan that has these nodes: that of the program at its end, else a new one.
local function plan_of(nodes)
  local plan, there = M.at_hand, true
  for _, node in ipairs(plan and nodes or {}) do there = there and plan.states[node] ~= nil end
  return plan and there and plan or require "mlua.flow.plan".new(nodes, M.store())
end

-- The value of a node's output; its only one where no name is given.
local function value_of(plan, node, name)
  local declared = node._task.outputs
  if name == nil and #declared == 1 then name = declared[1][1] end
  local state = state_of(plan, node)
  for _, output in ipairs(require "mlua.task.outputs".parse(state.text)) do
    if output.name == name and output.format ~= "found" then
      return require "mlua.task.work".load(plan.store, node, output, state.paths)
    end
  end
  local names = {}
  for i, output in ipairs(declared) do names[i] = output[1] end
  core.bad(2, "output", "%s has no output '%s'%s", node._task.name, tostring(name),
    name and require "mlua.text".did_you_mean(tostring(name), names) or "")
end

--- An output of each of several nodes.
-- @tparam {Node,...} nodes  that have run
-- @tparam ?string name
-- @treturn {any,...}  in the same order
function M.outputs(nodes, name)
  local values, list = {}, roots_of(nodes, "outputs")
  local plan = plan_of(list)
  for i, node in ipairs(list) do values[i] = value_of(plan, node, name) end
  return values
end

--- The graph of some nodes as text for graphviz or Mermaid, or as a picture by graphviz.
-- @tparam Node|{Node,...} nodes
-- @tparam string form  "dot", "mermaid", or the picture's path (.svg, .png, .pdf)
-- @treturn string|boolean  the text; or true for a picture, else nil and a message
function M.graph(nodes, form)
  local plan, show = plan_of(roots_of(nodes, "graph")), require "mlua.flow.show"
  if form == "dot" or form == "mermaid" then return show[form](plan) end
  return show.picture(plan, form)
end

--- Clear away what no flow stands on that was run, or only say what that is.
-- @tparam ?table options  dry_run; older_than, days: flows not run for so long count as forgotten
-- @treturn table  ids of results, objects ({ path, bytes }), bytes; in_use: a flow runs, and
--   results were kept
function M.gc(options)
  options = core.options(options, { dry_run = "boolean", older_than = "number" }, 1, "gc")
  local invalidate = require "mlua.flow.invalidate"
  local clear = options.dry_run and invalidate.garbage or invalidate.collect
  return fail.assert(clear(M.store(), options.older_than))
end

--- Nodes for all combinations of values.
-- @tparam Flow|Task what
-- @tparam table grid    name → list of values
-- @tparam ?table fixed  name → value
-- @treturn {Node,...}
function M.grid(what, grid, fixed)
  return require "mlua.flow.compare".grid(what, grid, fixed)
end

--- An output of several nodes beside their parameters, as a table that prints; `:csv()`, `:json()`.
-- @tparam {Node,...} nodes
-- @tparam ?string output  a table of numbers or a number; the first such where none is named
-- @tparam ?{string,...} variants  a name for each node
-- @treturn Comparison
function M.compare(nodes, output, variants)
  return require "mlua.flow.compare".compare(roots_of(nodes, "compare"), output, variants)
end

-- -- single nodes ------------------------------------------------------------------------------

--- As flow.run of this node.
-- @treturn Node  itself
function Node:run(options)
  M.run(self, options)
  return self
end

--- As flow.preview of this node.
function Node:preview(options) return M.preview(self, options) end

--- As flow.invalidate of this node.
function Node:invalidate(options) return M.invalidate(self, options) end

--- An output of a node that has run.
-- @tparam ?string name  of the output; the only one where none is given
-- @return its value
-- @raise where it has not run, or has no such output
function Node:output(name) return value_of(plan_of { self }, self, name) end

--- What is known of a result: time, seconds, params, code, meta (what `self:note` kept).
-- @treturn table
function Node:record()
  local plan = plan_of { self }
  local state = state_of(plan, self)
  local detail = state.id and plan.store:results() and plan.store:results():detail(state.id) or {}
  detail.id = state.id
  return detail
end

--- The SHA-256 that a result is known by; nil where an input is not there yet.
-- @treturn ?string
function Node:id()
  return plan_of({ self }).states[self].id
end

return setmetatable(M, { __call = function(_, ...) return M.new(...) end })
