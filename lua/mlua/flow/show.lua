--- A plan as text: the tree that --preview shows, DOT and Mermaid graphs, pictures.
-- @module mlua.flow.show
local format = require "mlua.ui.format"
local outputs = require "mlua.task.outputs"
local reason = require "mlua.flow.reason"
local text = require "mlua.text"

local M = {}

local MOST = 60 -- nodes that are shown one by one; beyond, tasks with their numbers of nodes

local SHOWN = 6 -- values of a task, where it has no more

local WORDS = { ready = "ready", run = "run", after = "run?", needed = "run", memory = "memory",
                absent = "absent" }

-- A task's own values, "batch=2 lr=0.1"; of many, those that count and are not defaults, and "…".
local function own_words(node)
  local words, changed = {}, {}
  for _, entry in ipairs(node._task:parameters().list) do
    local p, value = entry.param, node._values[entry.name]
    if entry.own and value ~= nil and not p.hidden then
      local word = entry.name .. "=" .. p:show(value)
      words[#words + 1] = word
      if p.significant and p:show(p.default) ~= p:show(value) then changed[#changed + 1] = word end
    end
  end
  if #words <= SHOWN then return table.concat(words, " ") end
  changed[#changed + 1] = "…"
  return table.concat(changed, " ")
end

local function size_of(state)
  local size = 0
  for _, output in ipairs(outputs.parse(state.text)) do size = size + output.size end
  return size
end

local function ago(time)
  local seconds = os.time() - time
  if seconds < 1 then return "just now" end
  return (seconds < 60 and ("%d s"):format(seconds) or format.duration(seconds)) .. " ago"
end

-- "12.4 MB, 3 min ago", or why it runs.
local function remark(plan, node)
  local state = plan.states[node]
  if state.status ~= "ready" then return reason.of(plan, node) end
  if node._task.external then return format.bytes(size_of(state)) .. ", made elsewhere" end
  local detail = plan.results and plan.results:detail(state.id)
  return format.bytes(size_of(state)) .. (detail and ", " .. ago(detail.time) or "")
end

-- Seconds that what has to run took the last time; the number of tasks that nobody knows it of.
local function estimate(plan)
  local known, total, unknown = {}, 0, 0
  for _, node in ipairs(plan.order) do
    local status, class = plan.states[node].status, node._task
    if status == "run" or status == "after" or status == "needed" then
      if known[class] == nil then
        local latest = plan.results and plan.results:latest(class.name, 1)[1]
        known[class] = latest and latest.seconds or false
      end
      if known[class] then total = total + known[class] else unknown = unknown + 1 end
    end
  end
  return total, unknown
end

local function summary(plan)
  local counts = plan:count()
  local runs = counts.run + counts.after + counts.needed
  local parts = {}
  if runs == 0 then
    parts[1] = "nothing to run"
  else
    parts[1] = ("%s to run"):format(format.count(runs))
    if counts.after > 0 then
      parts[1] = parts[1] .. (" (%s of them only if an input comes out otherwise)"):format(
        format.count(counts.after))
    end
  end
  parts[#parts + 1] = format.count(counts.ready) .. " ready"
  if counts.absent > 0 then parts[#parts + 1] = format.count(counts.absent) .. " absent" end
  local seconds, unknown = estimate(plan)
  if runs > 0 and unknown < runs then
    parts[#parts + 1] = "about " .. format.duration(seconds)
      .. (unknown > 0 and (", and %d not run before"):format(unknown) or "")
  end
  return table.concat(parts, ", ")
end

local function aligned(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for c = 1, #row - 1 do widths[c] = math.max(widths[c] or 0, text.width(row[c])) end
  end
  local lines = {}
  for i, row in ipairs(rows) do
    local cells = {}
    for c = 1, #row do
      cells[c] = c < #row and row[c] .. (" "):rep(widths[c] - text.width(row[c])) or row[c]
    end
    lines[i] = table.concat(cells, "  "):gsub("%s+$", "")
  end
  return lines
end

-- Every node once, under the first that needs it.
local function tree(plan)
  local rows, seen, inside = {}, {}, {}
  for _, node in ipairs(plan.order) do inside[node] = true end
  local stack = {}
  for i = #plan.list, 1, -1 do stack[#stack + 1] = { plan.list[i], "", "", true } end
  while #stack > 0 do
    local node, lead, below = unpack(table.remove(stack))
    if not seen[node] then
      seen[node] = true
      rows[#rows + 1] = { lead .. node._task.name, own_words(node), WORDS[plan.states[node].status],
                          remark(plan, node) }
      local fresh = {}
      for _, edge in ipairs(node._inputs) do
        if not seen[edge.node] and inside[edge.node] then
          local there = false
          for _, other in ipairs(fresh) do there = there or other == edge.node end
          if not there then fresh[#fresh + 1] = edge.node end
        end
      end
      for i = #fresh, 1, -1 do
        local last = i == #fresh
        stack[#stack + 1] = { fresh[i], below .. (last and "└─ " or "├─ "),
                              below .. (last and "   " or "│  ") }
      end
    end
  end
  return aligned(rows)
end

-- A line for each task: how many of its nodes are what, and why the first of them runs.
local function by_task(plan)
  local rows, of, order = {}, {}, {}
  for i = #plan.order, 1, -1 do
    local node = plan.order[i]
    local class, status = node._task, plan.states[node].status
    if not of[class] then
      of[class] = { n = 0 }
      order[#order + 1] = class
    end
    local group = of[class]
    group.n, group[status] = group.n + 1, (group[status] or 0) + 1
    if status ~= "ready" and not group.first then group.first = node end
  end
  for _, class in ipairs(order) do
    local group, parts = of[class], {}
    for _, status in ipairs { "run", "needed", "after", "absent", "ready", "memory" } do
      if group[status] then
        parts[#parts + 1] = format.count(group[status]) .. " " .. WORDS[status]
      end
    end
    rows[#rows + 1] = { class.name, "×" .. format.count(group.n), table.concat(parts, ", "),
                        group.first and reason.of(plan, group.first) or "" }
  end
  return aligned(rows)
end

local function notes(plan)
  local lines, seen = {}, {}
  for _, node in ipairs(plan.order) do
    local class = node._task
    if not seen[class] then
      seen[class] = true
      for _, note in ipairs(require "mlua.task.identity".facts_of(class).notes or {}) do
        lines[#lines + 1] = ("note: %s: %s"):format(class.name, note)
      end
    end
  end
  return lines
end

--- The tree, a note for what digests of code can't see, and a line that sums up.
-- @tparam Plan plan
-- @treturn string
function M.text(plan)
  local lines = #plan.order <= MOST and tree(plan) or by_task(plan)
  for _, line in ipairs(notes(plan)) do lines[#lines + 1] = line end
  lines[#lines + 1] = summary(plan)
  return table.concat(lines, "\n")
end
M.summary = summary

--- A node on one line, as the prompt shows it: task, parameters, status.
-- @tparam Node node
-- @treturn string
function M.node(node)
  local plan = require "mlua.flow.plan".new({ node }, require "mlua.flow".store())
  local status = WORDS[plan.states[node].status]
  return aligned({ { node._task.name, node:_words(true), status, remark(plan, node) } })[1]
end

--- The plan, printing as its text.
function M.printable(plan)
  local meta = getmetatable(plan)
  meta.__tostring = M.text
  return plan
end

-- -- graphs ------------------------------------------------------------------------------------

local COLOURS = { ready = "#d5e8d4", run = "#ffe6cc", after = "#fff2cc", needed = "#ffe6cc",
                  memory = "#f5f5f5", absent = "#f8cecc" }

local function quoted(s) return '"' .. s:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"' end

local function label(plan, node)
  local words = own_words(node)
  return node._task.name .. (words ~= "" and "\n" .. words or "") .. "\n"
    .. WORDS[plan.states[node].status]
end

local function each_edge(plan, f)
  local number, inside = {}, {}
  for i, node in ipairs(plan.order) do number[node], inside[node] = i, true end
  for _, node in ipairs(plan.order) do
    local seen = {}
    for _, edge in ipairs(node._inputs) do
      if inside[edge.node] and not seen[edge.node] then
        seen[edge.node] = true
        f(number[edge.node], number[node])
      end
    end
  end
end

--- The graph for graphviz.
-- @tparam Plan plan
-- @treturn string
function M.dot(plan)
  local lines = { "digraph flow {", "  rankdir = LR;",
                  "  node [shape = box, style = \"rounded,filled\", fontname = \"sans-serif\"];" }
  for i, node in ipairs(plan.order) do
    lines[#lines + 1] = ("  n%d [label = %s, fillcolor = %s];"):format(i, quoted(label(plan, node)),
      quoted(COLOURS[plan.states[node].status]))
  end
  each_edge(plan, function(a, b) lines[#lines + 1] = ("  n%d -> n%d;"):format(a, b) end)
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n")
end

local ENTITIES = { ["#"] = "#35;", ['"'] = "#quot;", ["<"] = "#lt;", [">"] = "#gt;",
                   ["&"] = "#amp;", ["\n"] = "<br/>" }

--- The graph for Mermaid.
-- @tparam Plan plan
-- @treturn string
function M.mermaid(plan)
  local lines = { "flowchart LR" }
  for i, node in ipairs(plan.order) do
    local words = label(plan, node):gsub("[#\"<>&\n]", ENTITIES)
    lines[#lines + 1] = ('  n%d["%s"]:::%s'):format(i, words, plan.states[node].status)
  end
  each_edge(plan, function(a, b) lines[#lines + 1] = ("  n%d --> n%d"):format(a, b) end)
  for _, status in ipairs { "ready", "run", "after", "needed", "memory", "absent" } do
    lines[#lines + 1] = ("  classDef %s fill:%s"):format(status, COLOURS[status])
  end
  return table.concat(lines, "\n")
end

--- A picture of the graph, by graphviz.
-- @tparam Plan plan
-- @tparam string path  ending in .png, .svg or .pdf
-- @treturn boolean  true; or nil, message
function M.picture(plan, path)
  local kind = path:match "%.(%a+)$"
  if kind ~= "png" and kind ~= "svg" and kind ~= "pdf" then
    return nil, path .. ": expected a name that ends in .png, .svg or .pdf"
  end
  local process = require "mlua.ffi.process"
  local ok, why = process.run({ "dot", "-T" .. kind, "-o", path }, M.dot(plan))
  if not ok then return nil, "graphviz: " .. why .. " (Debian's package graphviz has dot)" end
  return true
end

return M
