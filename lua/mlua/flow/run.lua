--- Running a plan: what has to run, in this process or in several, each result recorded.
--
-- One job runs tasks in this process; more, or a time limit, in children that are forked for each.
-- Whoever runs a task holds the lock of its identity until its result is recorded: another process
-- with the same task waits, and takes the result.
-- @module mlua.flow.run
local core = require "mlua.ffi"
local json = require "mlua.json"
local log = require "mlua.task.log"
local process = require "mlua.ffi.process"
local resources = require "mlua.task.resources"
local work = require "mlua.task.work"

local M = {}

local Run = {}
Run.__index = Run

local PATIENCE = 60 -- seconds that children have to come to an end, those that a signal asks to
local SHORT = 0.005 -- seconds: tasks this short are recorded in groups

local function clock() return core.C.ml_clock() end

-- -- order -------------------------------------------------------------------------------------

-- Puts a node in the list of its task's nodes that are ready, from `head` on in their order.
local function enqueue(run, node)
  local class = node._task
  local list = run.list_of[class]
  if not list then
    list = { class = class, head = 1 }
    run.list_of[class] = list
    run.lists[#run.lists + 1] = list
  end
  list[#list + 1] = node
  run.n_queued, run.turns = run.n_queued + 1, run.turns + 1
  run.turn[node] = run.turns
end

-- A node is ready when all it requires has its outputs known.
local function prepare(run)
  local plan = run.plan
  run.waits, run.needed_by = {}, {}
  for _, node in ipairs(plan.order) do
    local n, seen = 0, {}
    local status = plan.states[node].status
    if status == "run" or status == "after" or status == "needed" then
      run.total = run.total + 1
      for _, edge in ipairs(node._inputs) do
        local input = edge.node
        local theirs = plan.states[input].status
        if not seen[input] and theirs ~= "ready" and theirs ~= "memory" then
          seen[input], n = true, n + 1
          run.needed_by[input] = run.needed_by[input] or {}
          table.insert(run.needed_by[input], node)
        end
      end
      run.waits[node] = n
      if n == 0 then enqueue(run, node) end
    elseif status == "absent" then
      run:fail(node, { message = plan.states[node].why[2] .. " (made elsewhere)", final = true })
    end
  end
end

-- What a task takes of the machine is free; alone, it may take more than there is.
local function is_room(run, class)
  if run.n_children == 0 then return true end
  for name, amount in pairs(class.resources) do
    local left = resources.available(run.options.resources or {}, name) - (run.used[name] or 0)
    if amount > left then return false end
  end
  return true
end

-- The place of the first of a task's nodes that nobody else runs; nil for none.
local function first_free(run, list)
  for i = list.head, #list do
    local until_then = run.blocked[list[i]]
    if not until_then or until_then <= clock() then return i end
  end
end

-- The next node: of the highest priority, then the one that was ready first.
local function take_next(run)
  local best, at
  for _, list in ipairs(run.lists) do
    if is_room(run, list.class) then
      local i = first_free(run, list)
      local before = i and best
      if i and (not before or list.class.priority > best.class.priority
        or list.class.priority == best.class.priority and run.turn[list[i]] < run.turn[best[at]])
      then
        best, at = list, i
      end
    end
  end
  if not best then return nil end
  local node = best[at]
  for i = at, best.head + 1, -1 do best[i] = best[i - 1] end
  best[best.head], best.head = false, best.head + 1
  run.n_queued = run.n_queued - 1
  return node
end

local function queued(run) return run.n_queued > 0 end

local function use(run, node, sign)
  for name, amount in pairs(node._task.resources) do
    run.used[name] = (run.used[name] or 0) + sign * amount
  end
end

-- -- ends --------------------------------------------------------------------------------------

local function release(run, node)
  for _, next_node in ipairs(run.needed_by[node] or {}) do
    run.waits[next_node] = run.waits[next_node] - 1
    if run.waits[next_node] == 0 then enqueue(run, next_node) end
  end
end

-- The node's outputs are known: what needs them may go on.
function Run:finish(node, state, how, seconds)
  self.plan.states[node], self.plan.done[node] = state, true
  if state.id then self.made[state.id] = state end
  self.counts[how] = (self.counts[how] or 0) + 1
  if self.repairing[node] then self.repairing[node] = "done" end
  if self.on_event then self.on_event(how, node, seconds, self) end
  release(self, node)
end

local function call_back(run, node, failure)
  local problem = work.call_back(node, failure)
  if problem and run.on_event then run.on_event("callback", node, problem, run) end
end

function Run:fail(node, failure)
  local tries = self.tries[node] or 0
  if not failure.final then call_back(self, node, failure) end -- it has run
  if tries < node._task.retries and not failure.final then
    self.tries[node] = tries + 1
    if self.on_event then self.on_event("retry", node, failure, self) end
    enqueue(self, node)
    return
  end
  self.failed[#self.failed + 1] = { node = node, failure = failure }
  if self.on_event then self.on_event("failed", node, failure, self) end
  if not self.options.keep_going then self.stopping = true end
end

local function give_lock(run, id)
  if run.held[id] then
    run.held[id] = nil
    run.store.locks:give(id)
  end
end

-- What ran could not be recorded: its objects are not in the store, and nothing may stand on it.
local function lose(run, node, id, why, position)
  local plan = run.plan
  if plan.done[node] then run.counts.ran = run.counts.ran - 1 end
  plan.states[node], plan.done[node], run.made[id] = { status = "run", id = id }, nil, nil
  local failure = { message = why }
  run.failed[#run.failed + 1] = { node = node, failure = failure }
  if position == 1 and run.on_event then run.on_event("failed", node, failure, run) end
  if not run.options.keep_going then run.stopping = true end
end

local function record(run, node, row)
  local lost
  run.store:record(row, function(why, position)
    give_lock(run, row.id)
    lost = why
    if why then lose(run, node, row.id, why, position) end
  end)
  if not lost then
    call_back(run, node)
    run:finish(node, { status = "ready", id = row.id, text = row.outputs, fresh = true }, "ran",
      row.seconds)
  end
end

local function all_in_memory(text)
  for format in text:gmatch "[^\t\n]+\t([^\t\n]*)\t[^\t\n]*\t[^\t\n]*\n" do
    if format ~= "memory" then return false end
  end
  return true
end

local function ended(run, node, id, row, failure)
  if row then
    if all_in_memory(row.outputs) then
      call_back(run, node)
      run:finish(node, { status = "ready", id = id, text = row.outputs, fresh = true }, "ran",
        row.seconds)
    else
      record(run, node, row)
    end
    return
  end
  give_lock(run, id)
  if work.is_damaged(failure) and run:repair(node, failure) then return end
  run:fail(node, failure)
end

-- Puts a node off until an input is repaired.
local function await(run, node, input)
  run.waits[node] = 1
  table.insert(run.needed_by[input], node)
end

-- An input turned out to be damaged: who made it runs again, then this one. False where that was
-- done before, for this one.
function Run:repair(node, failure)
  local plan, made_by = self.plan, failure.node
  local repaired = self.repaired[node] or {}
  if repaired[made_by] then return false end
  self.repaired[node], repaired[made_by] = repaired, true
  if self.repairing[made_by] then -- another one found it, too
    if self.repairing[made_by] == "done" then
      enqueue(self, node)
    else
      await(self, node, made_by)
    end
    return true
  end
  local before = plan.states[made_by]
  if not before or made_by._task.external then return false end -- not this run's to make
  if self.on_event then self.on_event("damaged", made_by, failure, self) end
  if before.id then self.made[before.id] = nil end
  plan.states[made_by] = { status = "run", why = { "output", failure.output, failure.what } }
  self.repairing[made_by] = "waits"
  self.waits[made_by], self.waits[node] = 0, 1
  self.needed_by[made_by] = { node }
  self.total = self.total + 1
  enqueue(self, made_by)
  return true
end

-- -- starts ------------------------------------------------------------------------------------

local function in_this_process(run, node, id)
  local last = run.durations[node._task]
  if run.store.since and (run.store:due() or not last or last > SHORT) then
    run.store:flush()
    if run.stopping then return give_lock(run, id) end
  end
  local row, failure
  local said = log.of(function()
    row, failure = work.run(node, id, run.plan.states, run.store)
  end)
  if failure and said ~= "" and not work.is_damaged(failure) then failure.log = said end
  run.durations[node._task] = row and row.seconds or math.huge
  ended(run, node, id, row, failure)
end

local function in_a_child(run, node, id)
  local store, states = run.store, run.plan.states
  if next(store.known) then -- what waits would be renamed while the child looks for it
    store:flush()
    if run.stopping then return give_lock(run, id) end
  end
  use(run, node, 1)
  local ok, why = store:scratch() -- its folder is there before the fork
  local child
  if ok then
    child, why = process.start(function()
      local own
      core.C.ml_set_threads(math.max(1, math.floor(core.C.ml_threads() / run.options.jobs)))
      own, why = store:forked()
      if not own then error(why, 0) end
      local row, failure
      log.of(function() row, failure = work.run(node, id, states, store) end)
      if not row then
        return json.encode { message = failure.message, trace = failure.trace, user = failure.user,
          damaged = work.is_damaged(failure) and failure.node._key or nil, what = failure.what,
          output = failure.output }
      end
      row.parts = nil -- the parent has them
      return json.encode { row = row, written = store:written() }
    end, node._task.timeout ~= nil)
  end
  if not child then
    use(run, node, -1)
    return ended(run, node, id, nil, { message = why })
  end
  run.n_children = run.n_children + 1
  child.node, child.id, child.began = node, id, clock()
  run.children[#run.children + 1] = child
end

local function drop_child(run, child)
  use(run, child.node, -1)
  run.n_children = run.n_children - 1
  for i, other in ipairs(run.children) do
    if other == child then table.remove(run.children, i) break end
  end
end

local function child_ended(run, child, ok, why)
  drop_child(run, child)
  local said = child:said()
  if said == "" then said = nil end
  if ok and child:answer() == "" then ok, why = false, "it ended the program by itself" end
  local answer = ok and json.decode(child:answer())
  if answer and answer.row then
    run.store:take_over(answer.written)
    answer.row.parts = require "mlua.task.identity".facts_of(child.node._task).parts
    return ended(run, child.node, child.id, answer.row)
  end
  local failure = answer or { message = why }
  failure.log = said
  if failure.damaged then
    for _, node in ipairs(run.plan.order) do
      if node._key == failure.damaged then failure.node = node end
    end
    if failure.node then
      give_lock(run, child.id)
      if run:repair(child.node, failure) then return end
    end
  end
  ended(run, child.node, child.id, nil, failure)
end

-- Starts a node, or finds that it need not run: its inputs are known only now.
local function start(run, node)
  local plan = run.plan
  local there, judged = pcall(plan.judge, plan, node)
  if not there then -- a file that is a parameter is gone, say
    local why = type(judged) == "table" and judged.user_error or tostring(judged)
    return run:fail(node, { message = why, user = true, final = true })
  elseif judged.status == "ready" then
    return run:finish(node, judged, "same")
  elseif judged.status == "after" then
    if run.repairing[judged.why[2]] == "waits" then return await(run, node, judged.why[2]) end
    return run:fail(node, { message = "an input is missing", final = true })
  elseif judged.status == "absent" then
    return run:fail(node, { message = judged.why[2] .. " (made elsewhere)", final = true })
  end
  local id = judged.id
  if run.made[id] then return run:finish(node, run.made[id], "same") end
  if judged.status == "memory" or judged.status == "needed" then
    if run.options.jobs > 1 and not plan.roots[node] then -- children make it where they need it
      return run:finish(node, judged, "memory")
    end
    return in_this_process(run, node, id)
  end
  local only = run.options.only
  if only and not only[node._task.name] then
    return run:fail(node, { message = "has to run first, and --only leaves it out",
                            final = true })
  end
  local ok, why = run.store:prepare()
  if not ok then return run:fail(node, { message = why }) end
  if run.held[id] then -- another node of this run is the same
    run.blocked[node] = clock() + 0.005
    enqueue(run, node)
    return
  else
    local got
    got, why = run.store.locks:take(id)
    if got == nil then return run:fail(node, { message = why }) end
    if not got then -- another process runs it
      if not run.blocked[node] and run.on_event then run.on_event("waits", node, nil, run) end
      run.blocked[node] = clock() + 0.02
      enqueue(run, node)
      return
    end
    run.held[id] = true
    if run.blocked[node] or not (judged.why and judged.why[1] == "forced") then
      plan.results = run.store:results()
      judged = plan:judge(node) -- it may have come in between
      if judged.status == "ready" then
        give_lock(run, id)
        return run:finish(node, judged, "same")
      end
    end
  end
  plan.states[node] = judged
  if run.on_event then run.on_event("start", node, nil, run) end
  if run.options.jobs > 1 or node._task.timeout then return in_a_child(run, node, id) end
  in_this_process(run, node, id)
end

-- -- the loop ----------------------------------------------------------------------------------

-- A signal asked for an end: trainings make a checkpoint, other tasks are broken off.
local function stop_children(run, signal)
  run.stopping, run.stopped, run.patient_till = true, signal, clock() + PATIENCE
  for _, child in ipairs(run.children) do child:stop() end
end

local function look_after_children(run, seconds)
  process.wait(run.children, seconds)
  local signal = core.C.ml_stop_signal()
  if signal ~= 0 and not run.stopped then stop_children(run, signal) end
  local copy = { unpack(run.children) }
  for _, child in ipairs(copy) do
    local limit = child.node._task.timeout
    local ok, why = child:ended()
    if run.stopped and (ok == false or clock() > run.patient_till) then
      if ok == nil then child:kill() end
      drop_child(run, child)
    elseif ok ~= nil then
      child_ended(run, child, ok, why)
    elseif limit and clock() - child.began > limit then
      child:kill()
      child_ended(run, child, false, ("took longer than its limit of %g s"):format(limit))
    end
    if child.unseen ~= "" then
      if run.on_event and run.options.echo then run.on_event("said", child.node, child, run)
      else child.unseen = ""
      end
    end
  end
end

--- Run what a plan says has to run.
-- @tparam Plan plan
-- @tparam ?table options  jobs (1), keep_going, only (a set of names), resources (amounts by name),
--   on_event(what, node, detail, run), echo
-- @treturn table  ran, same (found unchanged), failed: a list of { node, failure }; seconds;
--   stopped, the number of a signal that ended it: with several jobs alone, one ends the process
function M.run(plan, options)
  options = options or {}
  options.jobs = options.jobs or 1
  local run = setmetatable({
    plan = plan, store = plan.store, options = options,
    counts = {}, failed = {}, tries = {}, blocked = {}, used = {}, held = {}, children = {},
    n_children = 0, n_queued = 0, turns = 0, turn = {}, list_of = {}, lists = {}, total = 0,
    durations = {}, repaired = {}, repairing = {},
    on_event = options.on_event, made = {}, began = clock(),
  }, Run)
  prepare(run)
  local several = options.jobs > 1
  if several then core.C.ml_stop_watch(true) end
  while true do
    while not run.stopping and run.n_children < options.jobs do
      local node = take_next(run)
      if not node then break end
      start(run, node)
      if several then look_after_children(run, 0) end
    end
    if run.n_children == 0 and (not queued(run) or run.stopping) then break end
    if run.store.since and (run.n_children == 0 or run.store:due()) then run.store:flush() end
    if run.n_children > 0 then look_after_children(run, run.store.since and 0.02 or 0.1)
    elseif queued(run) then process.sleep(0.005) end
  end
  run.store:flush()
  if several then core.C.ml_stop_watch(false) end
  for id in pairs(run.held) do give_lock(run, id) end
  run.ran, run.same = run.counts.ran or 0, run.counts.same or 0
  run.seconds = clock() - run.began
  return run
end

return M
