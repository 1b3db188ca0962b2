--- trial: what tools that run the same program again and again share: places, processes, kills at
-- chosen moments, the metrics that trainings left, a count of what failed.
local files = require "mlua.ffi.files"
local json = require "mlua.json"
local ml = require "mlua"
local process = require "mlua.ffi.process"

local trial = { failures = 0 }

trial.root = arg[0]:match "^(.*)/[^/]*$" .. "/.."

do
  local i = 0
  while arg[i - 1] do i = i - 1 end
  trial.program = arg[i] -- the mlua that runs this
end

--- Say what went wrong, and count it.
function trial.failed(what, message, ...)
  trial.failures = trial.failures + 1
  io.stdout:write(what, ": ", select("#", ...) > 0 and message:format(...) or message, "\n")
  io.stdout:flush()
end

-- -- places ------------------------------------------------------------------------------------

--- A new folder for all places of a tool.
function trial.folder()
  local pipe = assert(io.popen "mktemp -d")
  local path = pipe:read "*l"
  pipe:close()
  return path
end

--- A place of one trial: its folder, its store, the files of its stage and its log.
function trial.place(folder, name)
  local at = folder .. "/" .. name
  assert(files.make_folders(at))
  return { at = at, store = at .. "/store", stage = at .. "/stage", log = at .. "/log" }
end

--- The bytes of a file; "" where there is none.
function trial.read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read "*a"
  file:close()
  return text
end

-- -- processes ---------------------------------------------------------------------------------

--- The command that runs the program with variables of the environment and words, lists both.
function trial.command(variables, words)
  local list = { "env", unpack(variables) }
  list[#list + 1] = trial.program
  for _, word in ipairs(words) do list[#list + 1] = word end
  return list
end

function trial.start(arguments)
  return assert(process.start(function() process.become(arguments) end))
end

--- Waits for all of them: true; or false, why the first that failed ended, and what it said.
function trial.wait(children)
  local running, problem = { unpack(children) }, nil
  while #running > 0 do
    process.wait(running, 1)
    for i = #running, 1, -1 do
      local ok, why = running[i]:ended()
      if ok ~= nil then
        if not ok then problem = problem or why .. "\n" .. running[i]:said() end
        table.remove(running, i)
      end
    end
  end
  return problem == nil, problem
end

-- -- kills -------------------------------------------------------------------------------------

--- Counts of stages in which kills fell; `kill` adds to them.
function trial.stages(names)
  local stages = { names = names, met = {} }
  for _, name in ipairs(names) do stages.met[name] = 0 end

  function stages.rarest()
    local best = names[1]
    for _, name in ipairs(names) do
      if stages.met[name] < stages.met[best] then best = name end
    end
    return best
  end

  --- "N name, …" of all; what was never met is a failure.
  function stages.verdict()
    local words = {}
    for i, name in ipairs(names) do
      words[i] = ("%d %s"):format(stages.met[name], name)
      if stages.met[name] == 0 then trial.failed("stages", "no kill fell in: %s", name) end
    end
    return table.concat(words, ", ")
  end
  return stages
end

--- Starts a command and kills it at a random moment within some seconds; or where it `waits`, from
-- that moment on when it comes to the stage that was met least.
-- @tparam function stage_of  → the name of the stage it is in
-- @treturn string            the stage that it was killed in
function trial.kill(arguments, seconds, stages, stage_of, waits)
  local began, moment = ml.clock(), math.random() * seconds
  local child = trial.start(arguments)
  process.sleep(math.max(0, moment - (ml.clock() - began)))
  local rarest = waits and stages.rarest()
  while waits and stage_of() ~= rarest and child:ended() == nil
    and ml.clock() - began < seconds * 1.5 do end
  local ended = child:ended()
  child:kill()
  local stage = stage_of()
  if ended == nil then stages.met[stage] = (stages.met[stage] or 0) + 1 end
  return stage
end

-- -- trainings ---------------------------------------------------------------------------------

--- The folders of the runs in a store.
function trial.runs(store)
  local list, folder = {}, store .. "/runs/Train"
  for _, name in ipairs(files.list(folder) or {}) do
    if not name:find "^%." then list[#list + 1] = folder .. "/" .. name end
  end
  return list
end

--- The lines of a run's metrics: tables, or, where one is torn, its text.
function trial.metrics(run)
  local list = {}
  for line in trial.read(run .. "/metrics.jsonl"):gmatch "[^\n]+" do
    local row = json.decode(line)
    list[#list + 1] = type(row) == "table" and row or line
  end
  return list
end

return trial
