--- What a flow tells while it runs, and at its end.
-- @module mlua.flow.report
local fail = require "mlua.fail"
local json = require "mlua.json"

local M = {}

-- -- what is shown while it runs -----------------------------------------------------------------

local function failure_text(node, failure)
  local lines = { ("%s failed: %s"):format(tostring(node), failure.trace or failure.message) }
  local words = node:_words(true)
  if words ~= "" then lines[#lines + 1] = "parameters: " .. words end
  if failure.log then
    lines[#lines + 1] = "its last words:"
    local log = {}
    for line in failure.log:gmatch "[^\n]+" do log[#log + 1] = "  " .. line end
    for i = math.max(1, #log - 19), #log do lines[#lines + 1] = log[i] end
  end
  return table.concat(lines, "\n")
end

--- The line that a failure is where it is all that failed and the recipe says itself what is wrong
-- (mlua.fail); else nil.
-- @tparam table failed  of an outcome
-- @treturn ?string
function M.mistake(failed)
  local failure = #failed == 1 and failed[1].failure
  if not failure or not failure.user or failure.log then return nil end
  return ("%s: %s"):format(failed[1].node._task.name, failure.message)
end

--- What tells a terminal how a run goes, for run's on_event.
-- @tparam table o     the options: jobs
-- @tparam Plan plan
-- @tparam Store store
-- @treturn function
function M.events(o, plan, store)
  local format = require "mlua.ui.format"
  local shown, done, failures = 0, 0, 0
  local function say(line) io.stderr:write(line, "\n") end
  local function words(run)
    require "mlua.ffi.process".last_words(
      ("\nmlua: interrupted with %d of %d tasks done; the next call goes on from there\n"):format(
        done, run.total))
  end
  return function(what, node, detail, run)
    local name = tostring(node)
    if what == "start" then
      words(run)
      if run.total <= 100 then
        say(("%d/%d  %s  %s"):format(done + run.n_children + 1, run.total, name,
          require "mlua.flow.reason".of(plan, node)))
      end
    elseif what == "ran" or what == "same" then
      done = done + 1
      words(run)
      if what == "same" and run.total <= 100 then
        say(("%d/%d  %s  unchanged"):format(done, run.total, name))
      elseif run.total > 100 and run.began + shown < require "mlua.ffi".C.ml_clock() then
        shown = shown + 1
        say(("%s of %s tasks"):format(format.count(done), format.count(run.total)))
      elseif run.total <= 100 and o.jobs > 1 then
        say(("%d/%d  %s  done in %s"):format(done, run.total, name, format.duration(detail)))
      end
    elseif what == "waits" then
      say(("       %s  another process runs it: waiting"):format(name))
    elseif what == "retry" then
      say(("%s failed, and is tried again: %s"):format(name, detail.message))
    elseif what == "damaged" then
      say(detail.message .. ": it runs again")
    elseif what == "failed" and o.jobs == 1 and not o.keep_going and M.mistake(run.failed) then
      return -- it is the program's last line
    elseif what == "failed" then
      local whole = failure_text(node, detail)
      say(whole)
      local folder = store.dir .. "/failed"
      if require "mlua.ffi.files".make_folders(folder) then
        failures = failures + 1
        local path = ("%s/%s-%d-%d-%d.txt"):format(folder, node._task.name, os.time(),
          require "mlua.ffi.process".id(), failures)
        if require "mlua.ffi.store".put(path, whole .. "\n"
          .. (detail.log and "\n-- all that it wrote --\n" .. detail.log or "")) then
          say("all of it: " .. path)
        end
      end
    elseif what == "said" then
      local whole = detail.unseen:match "^.*\n" or ""
      for line in whole:gmatch "[^\n]+" do say(("%s: %s"):format(name, line)) end
      detail.unseen = detail.unseen:sub(#whole + 1)
    elseif what == "callback" then
      say(detail)
    end
  end
end

-- -- results -----------------------------------------------------------------------------------

local function brief(value)
  if type(value) == "table" and getmetatable(value) == nil then return json.encode(value) end
  return tostring(value)
end

local function value_of(node, state, output)
  return require "mlua.task.work".load(require "mlua.flow".store(), node, output,
    state.paths)
end

local function outputs_of(node, state)
  return require "mlua.task.work".result(require "mlua.flow".store(), node, state)
end

-- What a flow's last task gave, as text.
local function result_text(node, state)
  if node._task.report then return node._task.report(outputs_of(node, state), node) end
  local lines = {}
  for _, output in ipairs(require "mlua.task.outputs".parse(state.text)) do
    if output.format == "json" or output.format == "text" or output.format == "memory" then
      local words = brief(value_of(node, state, output))
      if #words > 400 then words = words:sub(1, 400) .. "…" end
      lines[#lines + 1] = output.name .. ": " .. words
    elseif output.format ~= "found" then
      lines[#lines + 1] = ("%s: %s, %s"):format(output.name, output.format,
        require "mlua.ui.format".bytes(output.size))
    end
  end
  return table.concat(lines, "\n")
end

local function result_json(node, state)
  if node._task.json then return node._task.json(outputs_of(node, state), node) end
  local result = { task = node._task.name, params = node:params(), id = state.id, outputs = {} }
  for _, output in ipairs(require "mlua.task.outputs".parse(state.text)) do
    if output.format == "json" then
      result.outputs[output.name] = value_of(node, state, output)
    elseif output.format ~= "found" then
      result.outputs[output.name] = { format = output.format, sha256 = output.digest,
                                      bytes = output.size }
    end
  end
  return result
end

--- Show what a flow gave, or how its variants compare.
-- @tparam Plan plan
-- @tparam {Node,...} nodes
-- @tparam table o  the options: json, compare, csv
-- @tparam ?{string,...} variants  names of nodes
function M.results(plan, nodes, o, variants)
  local out = o.json and io.stderr or io.stdout
  if #nodes == 1 then
    local state = plan.states[nodes[1]]
    out:write(result_text(nodes[1], state), "\n")
    if o.json then io.stdout:write(json.encode(result_json(nodes[1], state)), "\n") end
    return
  end
  local comparison = require "mlua.flow".compare(nodes, o.compare ~= "" and o.compare or nil,
    variants)
  out:write(tostring(comparison), "\n")
  if o.csv then fail.assert(require "mlua.ffi.store".put(o.csv, comparison:csv())) end
  if o.json then io.stdout:write(comparison:json(), "\n") end
end

return M
