--- Why a node has to run, in words: compared with the nearest of what was made before.
-- @module mlua.flow.reason
local code = require "mlua.code"
local identity = require "mlua.task.identity"
local hash = require "mlua.ffi.hash"

local M = {}

local MOST = 20 -- earlier results of a task that are looked at

local function short(text)
  if type(text) ~= "string" then text = tostring(text) end
  if text:find "^sha256 " then return text:sub(8, 15) .. "…" end
  return #text > 30 and text:sub(1, 27) .. "…" or text
end

-- Parameters that count whose text differs: { name, old, new }.
local function changed_params(plan, node, earlier)
  local list = {}
  for _, entry in ipairs(identity.facts_of(node._task).counted) do
    local now = identity.counted_text(entry, node._values[entry.name], plan.store, node)
    local before = earlier.counted and earlier.counted[entry.name]
    if before ~= now then list[#list + 1] = { entry.name, before, now, entry } end
  end
  return list
end

local function changed_inputs(plan, node, earlier)
  local list = {}
  for i, edge in ipairs(node._inputs) do
    local before = earlier.inputs and earlier.inputs[i]
    local text = plan.states[edge.node].text
    if not before or text and before[3] ~= hash.sha256(text) then
      list[#list + 1] = edge.node._task.name
    end
  end
  return list
end

-- How much of a task's code differs from an earlier result's: at least 1, less than 2.
local function code_distance(plan, earlier, facts)
  plan.distances = plan.distances or {}
  local key = earlier.code .. facts.digest
  if not plan.distances[key] then
    local before = plan.results:parts(earlier.code)
    local n = before and #code.changes(before, facts.parts) or math.huge
    plan.distances[key] = 2 - 1 / (n + 1)
  end
  return plan.distances[key]
end

-- The earlier result that differs least.
local function nearest(plan, node)
  local cache = plan.earlier or {}
  plan.earlier = cache
  local class = node._task
  cache[class] = cache[class] or plan.results and plan.results:latest(class.name, MOST) or {}
  local best, best_score
  for _, earlier in ipairs(cache[class]) do
    local score = #changed_params(plan, node, earlier) * 2 + #changed_inputs(plan, node, earlier)
    local facts = identity.facts_of(class)
    if earlier.code ~= facts.digest then score = score + code_distance(plan, earlier, facts) end
    if not best or score < best_score then best, best_score = earlier, score end
  end
  return best
end

-- Other files, or other contents of the same.
local function of_files(p, name, before, now, origin)
  local old, path = before and p:show(before) or "none", now ~= nil and p:show(now) or "none"
  if path == old then
    return ("%s: %s contents changed"):format(name,
      p.kind.name == "files" and "the files'" or "the file's")
  end
  return ("%s %s → %s%s"):format(name, short(old), short(path),
    origin and " (" .. origin .. ")" or "")
end

local function of_change(plan, node)
  local earlier = nearest(plan, node)
  if not earlier then return "never run" end
  local facts, parts = identity.facts_of(node._task), {}
  if earlier.code ~= facts.digest then
    local before = plan.results:parts(earlier.code)
    local changes = before and code.changes(before, facts.parts) or {}
    parts[1] = changes[1] or "its code changed"
    if #changes > 1 then parts[1] = parts[1] .. (" and %d more"):format(#changes - 1) end
  end
  for _, change in ipairs(changed_params(plan, node, earlier)) do
    local origin = node._origins[change[1]]
    if change[4].param.kind.contents then
      parts[#parts + 1] = of_files(change[4].param, change[1],
        earlier.params and earlier.params[change[1]], node._values[change[1]], origin)
    elseif change[4].param.registry then -- known by a digest of all that it does
      parts[#parts + 1] = ("%s → %s%s"):format(change[1],
        short(change[4].param:show(node._values[change[1]])),
        origin and " (" .. origin .. ")" or "")
    else
      parts[#parts + 1] = ("%s %s → %s%s"):format(change[1], short(change[2] or "none"),
        short(change[3]), origin and " (" .. origin .. ")" or "")
    end
  end
  for _, name in ipairs(changed_inputs(plan, node, earlier)) do
    parts[#parts + 1] = ("input %s changed"):format(name)
  end
  return parts[1] and table.concat(parts, "; ") or "mlua's version changed"
end

--- A reason.
-- @tparam Plan plan
-- @tparam Node node
-- @treturn string
function M.of(plan, node)
  local why = plan.states[node].why
  local what = why and why[1]
  if what == "new" then return of_change(plan, node) end
  if what == "forced" then return "forced" end
  if what == "output" then return ("output %s is %s"):format(why[2], why[3]) end
  if what == "found" then return ("%s, found while it ran, changed"):format(why[2]) end
  if what == "input" then return ("after %s"):format(why[2]._task.name) end
  if what == "memory" then
    return why[2] and ("in memory, for %s"):format(why[2]._task.name) or "kept in memory only"
  end
  if what == "external" then return why[2] or "made elsewhere" end
  return ""
end

return M
