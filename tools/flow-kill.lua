--- tools/flow-kill: what a flow keeps when it is killed, or when many processes run it at once.
--
--     tools/flow-kill 200           kill -9 at 200 random moments of spec/support/fifty.lua, a flow
--                                   of fifty tasks, with --jobs 2, each on a store of its own. The
--                                   next run must complete; no task whose row was there at the kill
--                                   may run again; results and objects must equal an undisturbed
--                                   run's byte for byte.
--     tools/flow-kill --race 50     eight processes on one store, started together, with --gc in a
--                                   loop beside them, 50 times: each task runs exactly once, all
--                                   end with status 0 and print the same.
--
-- Where a kill fell is what $MLUA_FLOW_STAGE told last (mlua.store.stage): running a task, writing
-- its outputs, renaming objects, or the manifest, the rows. Every other kill waits, from its random
-- moment on, for the stage that was met least. Status 1: a check failed, or a stage was not met.
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local hash = require "mlua.ffi.hash"
local json = require "mlua.json"
local ml = require "mlua"
local outputs = require "mlua.task.outputs"
local param = require "mlua.param"
local sqlite = require "mlua.ffi.sqlite"
local store_module = require "mlua.store"

package.path = arg[0]:match "^(.*)/[^/]*$" .. "/?.lua;" .. package.path
local trial = require "lib.trial"

local spec = param.spec({
  race = param.int { 0, min = 0, meta = "N", doc = "run eight processes at once, N times" },
  seed = param.int { os.time() % 100000, min = 0, doc = "of the moments" },
  keep = param.bool { doc = "keep the folder of stores" },
}, {
  config = false, name = "tools/flow-kill",
  doc = "Kills flows at random moments, or runs many at once.",
  arguments = { "KILLS", min = 0, max = 1 },
})

local options, rest = spec:main(arg)
local kills = rest[1] and tonumber(rest[1]) or 200
if kills % 1 ~= 0 or kills < 1 then fail.usage("KILLS: expected a whole number from 1") end
local PROCESSES = 8

local recipe, folder = trial.root .. "/spec/support/fifty.lua", trial.folder()
local failed, read, start, wait = trial.failed, trial.read, trial.start, trial.wait

local function place(name) return trial.place(folder, name) end

local function command(p, ...)
  return trial.command({ "MLUA_STORE=" .. p.store, "FIFTY_LOG=" .. p.log,
    "MLUA_FLOW_STAGE=" .. p.stage, "MLUA_THREADS=1" }, { recipe, ... })
end

-- What it prints as its result: the last line.
local function result_of(child) return child:said():match "([^\n]*)\n*$" end

-- The rows of a place: outputs by task. Read from a copy, so that the next run meets what was left.
local function rows_of(p)
  local copy = p.at .. "/copy.db"
  if not files.look(p.store .. "/results.db") then return {}, 0 end
  for _, ending in ipairs { "", "-wal", "-shm" } do
    os.remove(copy .. ending)
    local text = ending ~= "-shm" and read(p.store .. "/results.db" .. ending) or ""
    if text ~= "" then
      local file = assert(io.open(copy .. ending, "wb"))
      file:write(text)
      file:close()
    end
  end
  local db = assert(sqlite.open(copy))
  local select_rows = db:prepare "select task, outputs, detail from result join detail using (key)"
  local rows, n = {}, 0
  for _, row in ipairs(select_rows and assert(select_rows:all()) or {}) do
    local key = ("%s %d"):format(row[1], json.decode(row[3]).params.i or 1)
    rows[key], n = row[2], n + 1
  end
  db:close()
  return rows, n
end

local function lines_of(text)
  local counts, n = {}, 0
  for line in text:gmatch "[^\n]+" do
    counts[line], n = (counts[line] or 0) + 1, n + 1
  end
  return counts, n
end

-- What differs from an undisturbed run: rows, and the bytes of their objects; nil for nothing.
local function difference(p, wanted)
  local rows, n = rows_of(p)
  local store = store_module.open(p.store)
  local function whole(digest, path)
    local found = hash.file(path)
    if found ~= digest then return ("object %s is %s"):format(digest, found or "missing") end
  end
  for key, text in pairs(wanted.rows) do
    if rows[key] ~= text then
      return ("%s gave other outputs:\n%s"):format(key, rows[key] or "none")
    end
    for _, output in ipairs(outputs.parse(text)) do
      local problem = whole(output.digest, store:path(output.digest))
      if problem then return key .. ": " .. problem end
      if output.format == "folder" then
        for _, entry in ipairs(assert(store_module.listing(store:path(output.digest)))) do
          problem = whole(entry[1], store:path(entry[1]))
          if problem then return key .. ": " .. entry[3] .. ": " .. problem end
        end
      end
    end
  end
  if n ~= wanted.n then return ("%d rows, expected %d"):format(n, wanted.n) end
end

-- -- an undisturbed run ------------------------------------------------------------------------

local function undisturbed()
  local seconds, wanted = 0, nil
  for i = 1, 3 do
    local p = place("undisturbed" .. i)
    local before = ml.clock()
    local child = start(command(p, "--jobs", "2"))
    local ok, why = wait { child }
    fail.assert(ok, why)
    seconds = math.max(seconds, ml.clock() - before)
    local rows, n = rows_of(p)
    wanted = { rows = rows, n = n, result = result_of(child) }
  end
  wanted.seconds = seconds
  return wanted
end

-- -- kills -------------------------------------------------------------------------------------

local STAGES = { "running", "writing", "renaming", "manifest" }
local function stage_of(p)
  local text = read(p.stage)
  local first = text:sub(1, 1)
  if first == "m" then return "manifest" elseif first == "n" then return "renaming" end
  return text:find "w" and "writing" or "running"
end

local stages = trial.stages(STAGES)
local kept = 0 -- rows that were there at the kills

local function kill_once(i, wanted)
  local p = place("kill" .. i)
  local stage = trial.kill(command(p, "--jobs", "2"), wanted.seconds, stages,
    function() return stage_of(p) end, i % 2 == 0)
  local before, rows, n = read(p.log), rows_of(p)
  kept = kept + n
  local again = start(command(p, "--jobs", "2"))
  local ok, why = wait { again }
  local name = ("kill %d (%s, %d rows there)"):format(i, stage, n)
  if not ok then return failed(name, "the next run failed: " .. why) end
  if result_of(again) ~= wanted.result then
    failed(name, "the next run printed another result: " .. result_of(again))
  end
  for key in pairs(lines_of(read(p.log):sub(#before + 1))) do
    if rows[key] then failed(name, key .. " was finished, and ran again") end
  end
  local problem = difference(p, wanted)
  if problem then failed(name, problem) end
  if not options.keep then files.remove(p.at) end
end

local function kill_all()
  local wanted = undisturbed()
  for i = 1, kills do kill_once(i, wanted) end
  local words = stages.verdict()
  print(("%d kills: %s; %.1f of %d tasks were finished on average; %d failures (seed %d)"):format(
    kills, words, kept / kills, wanted.n, trial.failures, options.seed))
end

-- -- races -------------------------------------------------------------------------------------

-- Clears away in a loop until `stop` is there; says how often, and what went wrong.
local function collector(p)
  local loop = 'n=0; while [ ! -e "$1" ]; do n=$((n + 1)); shift 0; '
    .. '"$2" "$3" --gc >"$4" 2>&1 || { echo "--gc failed:"; cat "$4"; exit 1; }; done; echo "$n"'
  return start { "env", "MLUA_STORE=" .. p.store, "sh", "-c", loop, "sh", p.at .. "/stop",
                 trial.program, recipe, p.at .. "/gc" }
end

local function race_once(i, wanted)
  local p = place("race" .. i)
  local jobs, racing = i % 2 == 0 and "1" or "2", {}
  local cleaner = collector(p)
  for k = 1, PROCESSES do racing[k] = start(command(p, "--jobs", jobs)) end
  local name = ("race %d (--jobs %s)"):format(i, jobs)
  local ok, why = wait(racing)
  assert(io.open(p.at .. "/stop", "w")):close()
  local clean, unclean = wait { cleaner }
  if not clean then failed(name, unclean) end
  if not ok then return failed(name, "a process failed: " .. why) end
  for k = 1, PROCESSES do
    if result_of(racing[k]) ~= wanted.result then
      failed(name, "a process printed another result: " .. result_of(racing[k]))
    end
  end
  local counts, n = lines_of(read(p.log))
  for key in pairs(wanted.rows) do
    if counts[key] ~= 1 then failed(name, ("%s ran %d times"):format(key, counts[key] or 0)) end
  end
  if n ~= wanted.n then failed(name, ("%d runs of %d tasks"):format(n, wanted.n)) end
  local cleared = start(command(p, "--gc"))
  ok, why = wait { cleared }
  if not ok then failed(name, "--gc: " .. why) end
  local problem = difference(p, wanted)
  if problem then failed(name, problem) end
  if not options.keep then files.remove(p.at) end
  return tonumber(result_of(cleaner)) or 0
end

local function race_all()
  local wanted, collections = undisturbed(), 0
  for i = 1, options.race do collections = collections + (race_once(i, wanted) or 0) end
  print(("%d races of %d processes, %d collections beside them; %d failures"):format(options.race,
    PROCESSES, collections, trial.failures))
end

-- ----------------------------------------------------------------------------------------------

math.randomseed(options.seed)
local ok, problem = pcall(options.race > 0 and race_all or kill_all)
if options.keep then print("stores: " .. folder) else files.remove(folder) end
if not ok then error(problem, 0) end
if trial.failures > 0 then os.exit(1, true) end
