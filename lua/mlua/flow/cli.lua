--- A flow at the shell: its parameters as options, and what to do with it.
-- @module mlua.flow.cli
local fail = require "mlua.fail"
local param = require "mlua.param"
local text = require "mlua.text"

local M = {}

-- What every flow takes.
local OPTIONS = param.group "Flow" {
  preview = param.bool { doc = "what would run, and why; run nothing" },
  jobs = param.int { 1, min = 1, max = 1024, doc = "tasks at once, each in a process" },
  force = param.strings { {}, meta = "TASK,…",
    doc = "run these though nothing changed; 'all'" },
  only = param.strings { {}, meta = "TASK,…", doc = "run these alone" },
  ["until"] = param.strings { {}, meta = "TASK,…", doc = "these and what they need" },
  keep_going = param.bool { doc = "after a failure, run what does not depend on it" },
  verify = param.bool { doc = "read all outputs, not only their sizes" },
  resources = param.strings { {}, meta = "NAME=N,…",
    doc = "what tasks may take together, as gpu=2,memory=16G" },
  grid = param.string { "", meta = "NAME=V,V,…",
    doc = "a run for each value; again for more names" },
  variant = param.strings { {}, meta = "NAME,…",
    doc = "these alone of the variants that a file has" },
  compare = param.string { "", meta = "OUTPUT", doc = "with --grid: what is compared" },
  csv = param.path { doc = "with --grid: the comparison as CSV, too" },
  invalidate = param.strings { {}, meta = "TASK,…",
    doc = "forget these results and all that stands on them; 'all'" },
  upstream = param.bool { doc = "with --invalidate: what they need, too" },
  dry_run = param.bool { doc = "with --invalidate or --gc: only say what would go" },
  gc = param.bool { doc = "clear away what no flow stands on" },
  older_than = param.number { 0, min = 0, unit = "days", meta = "DAYS",
    doc = "with --gc: and flows not run for so long" },
  dot = param.bool { doc = "the graph for graphviz" },
  mermaid = param.bool { doc = "the graph for Mermaid" },
  graph = param.path { doc = "a picture of the graph (.svg, .png, .pdf), by graphviz" },
  run = param.path { meta = "DIR", doc = "folder of the training's run: a new one, or one to go on "
    .. "with; unless set, it is found by what the task is" },
  new = param.bool { doc = "begin a new run, though one was interrupted" },
  log_level = param.strings { {}, meta = "[DEST:][MODULE=]LEVEL,…",
    doc = "what is said: error, warn, info, debug or trace, of all or of a module (engine, data, "
      .. "…); console: or file:, the runs' logs" },
  profile = param.bool { doc = "time the training (without one, all tasks): operations, layers, "
    .. "waits; a trace goes into its run's folder as profile.json" },
  deterministic = param.bool { doc = "refuse what a repetition would not give again, "
    .. "bit for bit; operations on the CPU always do" },
  store = param.path { doc = "folder of results; unless set, $MLUA_STORE or the nearest .mlua" },
  json = param.bool { doc = "one line of JSON on standard output; the rest to standard error" },
}

local ALONE = { help = true } -- their names, which no parameter of a task may have
local OF_LINE = {} -- and those that no file or variable may give
for name in pairs(OPTIONS.entries) do ALONE[name], OF_LINE[name] = true, true end
for _, name in ipairs {
  "jobs", "keep_going", "verify", "resources", "log_level", "deterministic", "store",
} do
  OF_LINE[name] = nil
end

-- Every task below one, by name; two of one name are refused.
local function tasks_below(class, all, list)
  if all[class.name] then
    if all[class.name] ~= class then
      fail.usage("two tasks are named '%s': %s and %s", class.name, all[class.name].place,
        class.place)
    end
    return
  end
  all[class.name] = class
  list[#list + 1] = class
  for _, edge in ipairs(class.edges) do tasks_below(edge.task, all, list) end
  for _, other in ipairs(class.inherits) do tasks_below(other, all, list) end
end

-- A parameter for one task alone: the same, without a default, and not in help.
local function single(p, name)
  local copy = setmetatable({}, getmetatable(p))
  for key, value in pairs(p) do copy[key] = value end
  copy.default, copy.hidden, copy.required, copy.alias, copy.short = nil, true, nil, nil, nil
  copy.outer = name
  return copy
end

-- Whether a parameter is given for one task alone, or may be in a file: --Clicks.seed 3,
-- --set Clicks.seed=3, --grid Clicks.seed=1,2, --config FILE.
local function is_single(args)
  local words = " " .. table.concat(args, " ")
  return words:find " %-%-%a[%w_-]*%." or words:find "%-%-grid[ =]%a[%w_-]*%."
    or words:find " %-%-set[ =]%a[%w_-]*%." or words:find " %-%-config[ =]"
end

-- Where `singles`, with all parameters under the names of their tasks, too.
local function spec_of(flow, singles)
  local project = require "mlua.config.project".files(arg and arg[0])
  singles = singles or project[1] ~= nil
  local groups, entries, by_owner, tasks, list = {}, {}, {}, {}, {}
  tasks_below(flow.task, tasks, list)
  for _, entry in ipairs(flow.task:parameters().list) do
    if ALONE[entry.name] then
      fail.usage("%s: parameter '%s' of %s is an option of every flow", entry.owner.place,
        entry.name, entry.owner.name)
    end
    local owner = entry.owner
    if not by_owner[owner] then
      by_owner[owner] = {}
      groups[#groups + 1] = owner
    end
    table.insert(by_owner[owner], { entry.name, entry.param })
  end
  table.sort(groups, function(a, b) -- by their first parameter
    return by_owner[a][1][2].order < by_owner[b][1][2].order
  end)
  for _, owner in ipairs(groups) do
    local plain, grouped, order = {}, {}, {}
    for _, pair in ipairs(by_owner[owner]) do
      local title = pair[2].group
      if title and not grouped[title] then
        grouped[title] = {}
        order[#order + 1] = title
      end
      table.insert(title and grouped[title] or plain, pair)
    end
    local title = owner.name .. (owner.doc and ": " .. owner.doc or "")
    if #plain > 0 then entries[#entries + 1] = param.group(title)(plain) end
    for _, name in ipairs(order) do entries[#entries + 1] = param.group(name)(grouped[name]) end
  end
  for _, class in ipairs(singles and {} or list) do -- a variable may be of a single task
    for _, entry in ipairs(class:parameters().list) do
      local name = (class.name .. "_" .. entry.name):upper():gsub("[.-]", "_")
      singles = singles or os.getenv("MLUA_" .. name)
    end
  end
  for _, class in ipairs(singles and #list > 1 and list or {}) do
    for _, entry in ipairs(class:parameters().list) do
      entries[#entries + 1] = { class.name .. "." .. entry.name, single(entry.param, entry.name) }
    end
  end
  entries[#entries + 1] = OPTIONS
  return param.spec(entries, {
    name = flow.info.name or "mlua " .. (arg and arg[0] or "RECIPE"), doc = flow.info.doc,
    runs = true, of_program = ALONE, of_line = OF_LINE, project = project,
  })
end

--- The options of every flow, by name: no parameters of tasks.
-- @treturn table
function M.options() return ALONE end

--- The spec of a flow's parameters, those of single tasks among them, and its options.
-- @tparam Flow flow
-- @treturn Spec
function M.spec(flow) return spec_of(flow, true) end

-- The node of a run's values.
local function node_of(flow, spec, run)
  local given, o = {}, run.values
  for _, entry in ipairs(spec.list) do
    local from = param.origin(o, entry.name)
    if not ALONE[entry.name] and from ~= "default" and rawget(o, entry.name) ~= nil then
      given[entry.name] = { value = rawget(o, entry.name), origin = from }
    end
  end
  local problem = flow.info.check and flow.info.check(o)
  if problem then fail.usage("%s", problem) end
  return flow(given)
end

local function set_of(list)
  if #list == 0 then return nil end
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

-- Names of tasks that options give must be there.
local function check_names(nodes, o)
  for _, option in ipairs { "force", "only", "until", "invalidate" } do
    local names = set_of(o[option]) or {}
    if option == "force" or option == "invalidate" then names.all = nil end
    local ok, why = require "mlua.flow".names(names, nodes)
    if not ok then fail.usage("--%s: %s", option, why) end
  end
end

local function resources_of(list)
  local all, amount = {}, require "mlua.task.resources".amount
  for _, item in ipairs(list) do
    local name, value = item:match "^([%w_]+)=(.+)$"
    local n = value and amount(tonumber(value) or value)
    if not n then
      fail.usage("--resources %s: expected NAME=AMOUNT, as gpu=2 or memory=16G", item)
    end
    all[name] = n
  end
  return all
end

-- -- actions -----------------------------------------------------------------------------------

local function do_invalidate(nodes, o)
  local options = { upstream = o.upstream, downstream = true,
                    dry_run = o.dry_run or o.preview }
  local set = set_of(o.invalidate)
  if set.all then options.all = true else options.tasks = set end
  local list = require "mlua.flow".invalidate(nodes, options)
  for _, node in ipairs(list) do io.stdout:write(tostring(node), "\n") end
  io.stdout:write(("%d result%s %s\n"):format(#list, #list == 1 and "" or "s",
    options.dry_run and "would be forgotten" or "forgotten"))
end

local function do_gc(o)
  local format = require "mlua.ui.format"
  local found = require "mlua.flow".gc { dry_run = o.dry_run,
                                         older_than = o.older_than > 0 and o.older_than or nil }
  if found.in_use then
    io.stderr:write "a flow is running in this store: all results are kept until it has ended\n"
  end
  io.stdout:write(("%d results and %d objects of %s that no flow stands on%s\n"):format(#found.ids,
    #found.objects, format.bytes(found.bytes), o.dry_run and "" or ": cleared away"))
end

-- Remembers that a flow began to run: a collection keeps all that was made since, and before, until
-- it has ended well. What a run that is broken off has done is kept so.
local function remember_start(nodes, plan, store)
  if not store:prepare() then return end -- the run says why
  local results = store:results()
  for _, node in ipairs(nodes) do
    local name = require "mlua.flow".name_of(node)
    local known, ids = results:flow_ids(name) or "", {}
    for id in known:gmatch(("%x"):rep(64)) do ids[#ids + 1] = id end
    for _, each in ipairs(plan.order) do
      local state = plan.states[each]
      if state.status == "ready" then ids[#ids + 1] = state.id end
    end
    results:add_flow(name, ids, tonumber(known:match "^since (%d+)") or os.time())
  end
end

-- Runs what a plan says has to run.
local function complete(plan, o, store)
  if plan:finished() then
    if o.profile then io.stderr:write "mlua: all is there: nothing was run to be profiled\n" end
    return
  end
  if o.profile then require "mlua.flow.profiled".start() end
  require "mlua.compiler".usual() -- for tasks
  local process = require "mlua.ffi.process"
  process.last_words "" -- until there are some: before a run of several jobs watches signals
  local outcome = require "mlua.flow.run".run(plan, {
    jobs = o.jobs, keep_going = o.keep_going, only = set_of(o.only), echo = true,
    resources = o.resources,
    on_event = require "mlua.flow.report".events(o, plan, store),
  })
  if outcome.stopped then process.stop(outcome.stopped) end -- with the last words of a run
  process.last_words(nil)
  if #outcome.failed > 0 then
    fail.run("%s", require "mlua.flow.report".mistake(outcome.failed)
      or ("%d of %d tasks failed; what is done is kept"):format(#outcome.failed, outcome.total))
  end
  if o.profile then require "mlua.flow.profiled".finish() end
end

-- Does what is to be done at the end, and shows the results. One that turns out to be damaged is
-- out of the store now, and runs again.
local function show_results(flow, plan, nodes, o, store, variants)
  local function attempt()
    require "mlua.flow".at_hand = plan -- what the recipe's functions ask their nodes about
    return xpcall(function()
      for _, node in ipairs(flow.info.done and nodes or {}) do flow.info.done(node) end
      require "mlua.flow.report".results(plan, nodes, o, variants)
    end, function(e)
      return type(e) == "table" and e or debug.traceback(e, 2)
    end)
  end
  local ok, e = attempt()
  while not ok and require "mlua.task.work".is_damaged(e) do
    plan = require "mlua.flow.plan".new(nodes, store)
    if plan:finished() then break end -- nothing is amiss with its bytes
    io.stderr:write(e.message, ": it runs again\n")
    complete(plan, o, store)
    ok, e = attempt()
  end
  if not ok then error(type(e) == "table" and e.message and fail.value(e.message) or e, 0) end
end

-- Trainings whose result is known, by the names of their tasks, but whose run `dir` is not: they
-- run again, for their run to be there; of another one's folder they say what differs.
local function not_there(plan, dir)
  local json, record = require "mlua.json", nil
  local path, tasks = dir:gsub("/+$", "") .. "/run.json", nil
  if require "mlua.ffi.files".look(path) == "file" then record = json.load(path) end
  for _, node in ipairs(plan.order) do
    local state = plan.states[node]
    local detail = state.status == "ready" and state.id and plan.results:detail(state.id)
    if detail and detail.meta and detail.meta.run then
      if type(record) == "table" and record.identity == state.id then return nil end
      tasks = tasks or { [node._task.name] = true } -- a folder is of one run
    end
  end
  return tasks
end

local function run(flow, nodes, o, variants)
  local store = require "mlua.flow".store()
  store:hold() -- to this program's end
  local force = set_of(o.force)
  local options = { force = force and (force.all or force), till = set_of(o["until"]),
                    only = set_of(o.only), verify = o.verify }
  local plan = require "mlua.flow.plan".new(nodes, store, options)
  if o.run and not force then
    options.force = not_there(plan, o.run)
    if options.force then plan = require "mlua.flow.plan".new(nodes, store, options) end
  end
  collectgarbage "restart"
  for option, form in pairs { preview = "text", dot = "dot", mermaid = "mermaid" } do
    if o[option] then return io.stdout:write(require "mlua.flow.show"[form](plan), "\n") end
  end
  if o.graph then return fail.assert(require "mlua.flow.show".picture(plan, o.graph)) end
  if not plan:finished() then remember_start(nodes, plan, store) end
  complete(plan, o, store)
  if not options.till and not options.only then
    require "mlua.flow".remember(plan, nodes)
    return show_results(flow, plan, nodes, o, store, variants)
  end
  for _, node in ipairs(plan.list) do -- the tasks that were asked for
    io.stdout:write(#plan.list > 1 and tostring(node) .. "\n" or "")
    require "mlua.flow.report".results(plan, { node }, o)
  end
end

-- Options that do nothing alone, and those that do not go together.
local function check_together(o, n_runs, class)
  local function given(name) return (param.origin(o, name)) ~= "default" end
  local function needs(name, met, what)
    if given(name) and not met then
      fail.usage("--%s: takes effect with %s only", name:gsub("_", "-"), what)
    end
  end
  needs("dry_run", #o.invalidate > 0 or o.gc, "--invalidate or --gc")
  needs("upstream", #o.invalidate > 0, "--invalidate")
  needs("older_than", o.gc, "--gc")
  needs("compare", n_runs > 0, "--grid")
  needs("csv", n_runs > 0, "--grid")
  if o.profile and o.jobs > 1 then fail.usage "--profile: one job at a time, without --jobs" end
  if o.store == "" then fail.usage "--store: expected a folder, got ''" end
  local names = {}
  for i, output in ipairs(class.outputs) do names[i] = output[1] end
  if o.compare ~= "" then
    for _, name in ipairs(names) do
      if name == o.compare then return end
    end
    fail.usage("--compare: %s has no output '%s'%s", class.name, o.compare,
      text.did_you_mean(o.compare, names))
  end
end

-- With --json, standard output is for the last line alone, whatever tasks print.
local function print_to_standard_error()
  io.output(io.stderr)
  print = function(...) -- luacheck: ignore
    local words = { ... }
    for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
    io.stderr:write(table.concat(words, "\t"), "\n")
  end
end

-- What trainings want to know of the command line for their runs (mlua.run).
local function ask_of_runs(o, args, spec, values, reading)
  local asked = {
    dir = o.run and o.run:gsub("/+$", "") or nil, new = o.new, profile = o.profile,
    script = arg and arg[0], command = { "mlua", arg and arg[0], unpack(args) }, files = {},
  }
  for _, path in ipairs(reading and reading.paths or {}) do asked.files[#asked.files + 1] = path end
  setmetatable(asked, { __index = function(_, name)
    if name ~= "yaml" then return nil end
    return require "mlua.config.print".values(spec, values, function(entry)
      return not ALONE[entry.name] and (not entry.param.hidden or entry.name:find(".", 1, true))
    end)
  end })
  M.asked = asked
end

--- What runs are asked for by the command line that is carried out.
M.asked = nil

--- Read a command line and do what it says.
-- @tparam Flow flow
-- @tparam {string,...} args
function M.main(flow, args)
  collectgarbage "stop" -- a graph is large and stays: until it is there, nothing is garbage
  require "mlua.compiler".rarely()
  local grid = require "mlua.config.grid"
  local rest, grids = grid.take(args)
  local spec = spec_of(flow, is_single(args))
  local o, _, reading = spec:main(rest)
  local runs = grid.runs(spec, o, reading, grids)
  check_together(o, #runs > 1 and #runs or #grids, flow.task)
  o.resources = resources_of(o.resources)
  if o.json then print_to_standard_error() end
  if o.deterministic then require "mlua.deterministic".set(true) end
  if o.log_level[1] then require "mlua.log".set(o.log_level, "--log-level") end
  if o.store then require "mlua.flow".store(o.store) end
  if o.gc then return do_gc(o) end
  if o.run and #runs > 1 then fail.usage "--run: one folder for several runs" end
  ask_of_runs(o, args, spec, runs[1].values, reading)
  local nodes, variants = {}, runs[1].variant and {}
  for i, each in ipairs(runs) do
    nodes[i] = node_of(flow, spec, each)
    if variants then variants[i] = each.variant end
  end
  check_names(nodes, o)
  if #o.invalidate > 0 then
    collectgarbage "restart"
    return do_invalidate(nodes, o)
  end
  run(flow, nodes, o, variants)
end

return M
