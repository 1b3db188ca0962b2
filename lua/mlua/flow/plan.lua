--- A plan: for each node of a graph, whether its result is there, and if not, why it has to run.
--
-- Nodes are looked at in the order in which they would run, each once. The identity of a node
-- stands on the contents of its inputs: below one that has to run nothing is known yet, and what
-- comes out equal ends it there.
-- @module mlua.flow.plan
local code = require "mlua.code"
local hash = require "mlua.ffi.hash"
local identity = require "mlua.task.identity"
local node_module = require "mlua.task.node"
local outputs = require "mlua.task.outputs"

local M = {}

local Plan = {}
Plan.__index = Plan

-- What nodes keep in memory only, by identity: for the life of this process.
M.memory = {}

local NONE = {}

-- Whether all objects are there, as the row says; the first that is not, and what it is.
local function whole(store, text, verify)
  if not verify and not next(store.known) and not text:find("\tfolder\t", 1, true) then
    local ok, line, what = store:look(text)
    if ok then return true end
    return false, outputs.parse(text)[line].name, what
  end
  for _, output in ipairs(outputs.parse(text)) do
    local name, format, digest = output.name, output.format, output.digest
    if format ~= "memory" and format ~= "found" then
      local ok, what = store:has(digest, output.size, verify)
      if not ok then return false, name, what end
      if format == "folder" then
        local path = store:path(digest)
        local entries = require "mlua.store".listing(path)
        if not entries then return false, name, "damaged" end
        for _, entry in ipairs(entries) do
          ok, what = store:has(entry[1], entry[2], verify)
          if not ok then return false, name .. "/" .. entry[3], what end
        end
      end
    end
  end
  return true
end

-- The name of a task that was required while a result was made, and that would give something else
-- now; nil for none. The lines "found" of the text hold the digests of what they gave.
local function found_changed(plan, node, id)
  local detail = plan.results:detail(id)
  for _, found in ipairs(detail and detail.found or {}) do
    local class = require "mlua.task".named(found.task)
    if not class then return found.task end
    local input = node:clone(class, found.values)
    plan.found = plan.found or setmetatable({ options = {}, done = {}, unseen = false,
      states = setmetatable({}, { __index = plan.states }) }, { __index = plan })
    for _, each in ipairs(plan.found.states[input] and {} or node_module.graph { input }) do
      if not plan.found.states[each] then
        plan.found.states[each] = Plan.judge(plan.found, each)
      end
    end
    local text = plan.found.states[input].text
    if not text or hash.sha256(M.given(text)) ~= found.digest then return found.task end
  end
end

--- What outputs give to those that need them, as text: not what was found while they were made.
-- @tparam ?string text
-- @treturn ?string
function M.given(text)
  if not text or not text:find("\tfound\t", 1, true) then return text end
  return (text:gsub("[^\n]*\tfound\t[^\n]*\n", ""))
end

-- The outputs of a node all of whose outputs live in memory: its identity stands for them.
local function memory_text(node, id)
  local text = {}
  for i, output in ipairs(node._task.outputs) do
    text[i] = outputs.line(output[1], "memory", id, 0)
  end
  return table.concat(text)
end

-- What an external task's files and folders hold; nil and why where one is not there.
local function external_text(node, store)
  local paths = node._task.external(node)
  if node._task.outputs.single and type(paths) == "string" then paths = { output = paths } end
  local text = {}
  for i, output in ipairs(node._task.outputs) do
    local path = type(paths) == "table" and paths[output[1]]
    if type(path) ~= "string" then
      require "mlua.fail".usage("%s: external: expected a path for '%s'", node._task.name,
        output[1])
    end
    local format = output[2]
    local folder = (format or "folder") == "folder"
      and require "mlua.ffi.files".look(path) == "folder"
    if format == "folder" and not folder then return nil, path .. ": no such folder" end
    local digest, size = store[folder and "folder_digest" or "file_digest"](store, path)
    if not digest then return nil, size end
    text[i] = outputs.line(output[1], folder and "folder" or format or "file", digest, size)
  end
  return table.concat(text), paths
end

local function forced(options, node)
  return options.force == true or options.force and options.force[node._task.name]
end

local MANY, AHEAD = 256, 1024 -- nodes whose objects are looked at together; by one thread

--- Judge one node whose inputs have been judged.
-- @treturn table  state: status ("ready", "memory", "run", "after", "absent"), id, text, why
function Plan:judge(node)
  local class, edges, states = node._task, node._inputs, self.states
  local inputs, waits = #edges > 0 and {} or NONE, nil
  for i = 1, #edges do
    local state = states[edges[i].node]
    if not state.text then waits = waits or edges[i].node end
    inputs[i] = M.given(state.text)
  end
  if class.external then
    local text, paths = external_text(node, self.store)
    if not text then return { status = "absent", why = { "external", paths } } end
    return { status = "ready", text = text, paths = paths }
  end
  if waits then return { status = "after", why = { "input", waits } } end
  local id = identity.of(node, inputs, self.store)
  local kept = class.in_memory and memory_text(node, id)
  if kept then
    local there = M.memory[id] ~= nil and not forced(self.options, node)
    return { status = there and "ready" or "memory", id = id, text = kept }
  end
  if self.options.force and forced(self.options, node) and not self.done[node] then
    return { status = "run", id = id, why = { "forced" } }
  end
  local results = self.results
  local text = results and results:get(id)
  if not text then return { status = "run", id = id, why = { "new" } } end
  local texts = self.unseen
  if texts and not text:find("\tfo", 1, true) then -- neither a folder nor what was found
    texts[#texts + 1] = text
    if #texts == AHEAD then
      self.looks[#self.looks + 1] = self.store:look_ahead(texts)
      self.unseen = {}
    end
    return { status = "ready", id = id, text = text }
  end
  local ok, name, what = whole(self.store, text, self.options.verify)
  if not ok then return { status = "run", id = id, why = { "output", name, what } } end
  if text:find("\tfound\t", 1, true) then
    local changed = found_changed(self, node, id)
    if changed then return { status = "run", id = id, why = { "found", changed } } end
  end
  return { status = "ready", id = id, text = text }
end

-- Nodes in memory run only where one that runs needs them.
local function need_memory(plan)
  for i = #plan.order, 1, -1 do
    local node = plan.order[i]
    local state = plan.states[node]
    local runs = state.status == "run" or state.status == "after" or state.status == "needed"
    if not runs and state.status == "memory" and plan.roots[node] then
      state.status, state.why, runs = "needed", { "memory" }, true
    end
    for _, edge in ipairs(runs and node._inputs or {}) do
      local input = plan.states[edge.node]
      if input.status == "memory" then input.status, input.why = "needed", { "memory", node } end
    end
  end
end

local function judge_all(plan)
  for _, node in ipairs(plan.order) do plan.states[node] = plan:judge(node) end
end

-- All nodes, whose objects are looked at meanwhile; whether all are there.
local function judge_ahead(plan)
  plan.unseen, plan.looks = {}, {}
  local ok, why = pcall(judge_all, plan)
  local there = plan.store:look_ahead(plan.unseen)()
  for _, look in ipairs(plan.looks) do there = look() and there end
  plan.unseen, plan.looks = nil, nil
  if not ok then error(why, 0) end
  return there
end

-- Values that were given for one task must have found it.
local function check_given(plan)
  for _, root in ipairs(plan.list) do
    local context = root._context
    for name in pairs(context.unused or {}) do
      if not (context.used and context.used[name]) then
        local names = {}
        for _, node in ipairs(plan.order) do
          for _, entry in ipairs(node._task:parameters().list) do
            names[#names + 1] = node._task.name .. "." .. entry.name
          end
        end
        require "mlua.fail".usage("%s: no task in this flow has this parameter open%s", name,
          require "mlua.text".did_you_mean(name, names))
      end
    end
  end
end

--- Make a plan.
-- @tparam {Node,...} roots
-- @tparam Store store
-- @tparam ?table options  force: true or a set of names; verify: read all outputs; only, till: a
--   set of names, and nothing that needs them; inside: within a run, whose digests of code stay
-- @treturn Plan  fields: order, states
function M.new(roots, store, options)
  local plan = setmetatable({ store = store, options = options or {}, states = {}, done = {},
                              roots = {}, list = roots, results = store:results() }, Plan)
  for _, root in ipairs(roots) do plan.roots[root] = true end
  if not plan.options.inside then -- functions may have been edited at the prompt
    code.forget()
    node_module.round = node_module.round + 1
  end
  plan.order = node_module.graph(roots)
  local till = plan.options.till or plan.options.only
  if till then
    local targets = {}
    for _, node in ipairs(plan.order) do
      if till[node._task.name] then targets[#targets + 1] = node end
    end
    plan.order, plan.list, plan.roots = node_module.graph(targets), targets, {}
    for _, root in ipairs(targets) do plan.roots[root] = true end
  end
  check_given(plan)
  if plan.results then plan.results.db:exec "begin" end
  store:defer(true)
  -- Objects of many nodes are looked at together; should one be missing, each by itself.
  local many = #plan.order > MANY and not plan.options.verify and not next(store.known)
  local ok, why = true, nil
  if many then ok, why = pcall(judge_ahead, plan) end
  if ok and not (many and why) then
    plan.states, plan.found = {}, nil
    ok, why = pcall(judge_all, plan)
  end
  if plan.results then plan.results.db:exec "commit" end
  store:defer(false)
  if not ok then error(why, 0) end
  need_memory(plan)
  return plan
end

--- Whether nothing has to run.
-- @treturn boolean
function Plan:finished()
  for _, node in ipairs(self.order) do
    local status = self.states[node].status
    if status ~= "ready" and status ~= "memory" then return false end
  end
  return true
end

--- How many nodes have each status.
-- @treturn table
function Plan:count()
  local counts = { ready = 0, memory = 0, needed = 0, run = 0, after = 0, absent = 0 }
  for _, node in ipairs(self.order) do
    local status = self.states[node].status
    counts[status] = counts[status] + 1
  end
  return counts
end

return M
