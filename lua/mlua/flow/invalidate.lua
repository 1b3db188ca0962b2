--- Forgetting results, and clearing away what no flow stands on.
-- @module mlua.flow.invalidate
local files = require "mlua.ffi.files"
local outputs = require "mlua.task.outputs"

local M = {}

-- All nodes that need one of `chosen`, or that these need.
local function widened(order, chosen, upstream, downstream)
  local all = {}
  for node in pairs(chosen) do all[node] = true end
  if downstream then
    for _, node in ipairs(order) do
      for _, edge in ipairs(node._inputs) do
        if all[edge.node] then all[node] = true end
      end
    end
  end
  if upstream then
    local up = {}
    for node in pairs(chosen) do up[node] = true end
    for i = #order, 1, -1 do
      for _, edge in ipairs(up[order[i]] and order[i]._inputs or {}) do up[edge.node] = true end
    end
    for node in pairs(up) do all[node] = true end
  end
  return all
end

--- See mlua.flow.invalidate.
function M.run(roots, store, options)
  local check = require "mlua.check"
  check.options(options, { tasks = "table", upstream = "boolean", downstream = "boolean",
                           all = "boolean", dry_run = "boolean" }, 2, "invalidate")
  local plan = require "mlua.flow.plan".new(roots, store)
  local chosen, names = {}, {}
  for _, node in ipairs(plan.order) do
    names[node._task.name] = true
    local wanted = options.tasks and options.tasks[node._task.name]
      or not options.tasks and plan.roots[node]
    if wanted or options.all then chosen[node] = true end
  end
  for name in pairs(options.tasks or {}) do
    if not names[name] then
      local text = require "mlua.text"
      require "mlua.fail".usage("no task '%s' in this flow%s", name,
        text.did_you_mean(name, text.keys(names)))
    end
  end
  local all, list, ids = widened(plan.order, chosen, options.upstream, options.downstream), {}, {}
  for _, node in ipairs(plan.order) do
    local state = plan.states[node]
    if all[node] and state.id and state.status == "ready" then
      list[#list + 1], ids[#ids + 1] = node, state.id
      if not options.dry_run then require "mlua.flow.plan".memory[state.id] = nil end
    end
  end
  if not options.dry_run and #ids > 0 and plan.results then
    assert(plan.results:remove(ids))
    require "mlua.run".forget(plan.store.dir .. "/runs", ids)
  end
  return list
end

-- -- collection --------------------------------------------------------------------------------

-- Objects that the rows name, those of folders, too.
local function named(store, rows)
  local keep = {}
  for _, row in ipairs(rows) do
    for _, output in ipairs(outputs.parse(row.outputs)) do
      if #output.digest == 64 and output.format ~= "found" then
        keep[output.digest] = true
        if output.format == "folder" then
          local entries = require "mlua.store".listing(store:path(output.digest))
          for _, entry in ipairs(entries or {}) do keep[entry[1]] = true end
        end
      end
    end
  end
  return keep
end

--- What could be cleared away: results that no remembered flow stands on, and objects that no
-- result names. A flow is remembered with its parameters, from each time it was run; one that was
-- broken off, with all that was made since it began.
-- @tparam Store store
-- @tparam ?number days  forget flows that were not run for so long
-- @tparam ?boolean all  keep all results
-- @treturn table  ids, flows (names), objects ({ path, size }), bytes
function M.garbage(store, days, all)
  local found = { ids = {}, flows = {}, objects = {}, bytes = 0 }
  local results = store:results()
  if not results then return found end
  local reached, since = {}, math.huge
  for _, flow in ipairs(assert(results:flows())) do
    if days and not all and os.time() - flow.time > days * 86400 then
      found.flows[#found.flows + 1] = flow.name
    else
      for _, id in ipairs(flow.ids) do reached[id] = true end
      since = math.min(since, flow.since or since)
    end
  end
  local kept = {}
  for _, row in ipairs(assert(results:every())) do
    local keep = all or reached[row.id] or row.time >= since
    if keep then kept[#kept + 1] = row else found.ids[#found.ids + 1] = row.id end
  end
  local keep = named(store, kept)
  for _, part in ipairs(files.list(store.dir .. "/objects") or {}) do
    for _, rest in ipairs(files.list(store.dir .. "/objects/" .. part) or {}) do
      if not keep[part .. rest] then
        local path = store.dir .. "/objects/" .. part .. "/" .. rest
        local size = files.size(path) or 0
        found.objects[#found.objects + 1] = { path, size, part .. rest }
        found.bytes = found.bytes + size
      end
    end
  end
  return found
end

local function clear_away(store, found)
  local results = store:results()
  for _, name in ipairs(found.flows) do results:remove_flow(name) end
  local ok, why = results:remove(found.ids) -- first, so that none names an object that is gone
  if not ok then return nil, why end
  for _, object in ipairs(found.objects) do
    ok, why = files.remove(object[1])
    if ok then ok, why = files.remove(store.dir .. "/folders/" .. object[3]) end
    if not ok then return nil, why end
  end
  return found
end

--- Clear it away. While a flow runs in the store, in any process, all results are kept, since it
-- may stand on them: then only objects go that no result names.
-- @tparam Store store
-- @tparam ?number days  as for `garbage`
-- @treturn table  what went, as `garbage` gives it; `in_use`, where a flow runs; or nil, message
function M.collect(store, days)
  if not store:exists() then return M.garbage(store, days) end
  return store:alone(function(unused)
    local found = M.garbage(store, days, not unused)
    found.in_use = not unused
    return clear_away(store, found)
  end)
end

return M
