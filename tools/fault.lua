--- tools/fault: what a training keeps when it is killed, its checkpoints damaged, files refused.
--
--     tools/fault kill --rounds 200   kill -9 at 200 random moments of spec/support/training.lua,
--                                     with 0, 2 and 4 loader workers in turn; the same command
--                                     again, until it ends: weights and metrics must equal those of
--                                     an undisturbed run bit for bit (but for times and memory)
--     tools/fault flip --rounds 200   the same after a bit of the newest checkpoint was flipped, or
--                                     the checkpoint cut short, at 200 places; the damage must be
--                                     told where it was met
--     tools/fault io [--rounds N]     the Nth open, write, resize, fsync and rename of a run of 20
--                                     steps fails, for every N and cause: it succeeds where a retry
--                                     is right, else says path and cause with status 1; the next
--                                     run goes on, and gives the same
--
-- Where a kill fell is what $MLUA_TRAIN_STAGE told (mlua.engine.stage): a step, a test, or, in the
-- background, the write of a checkpoint, its rename, its record (the manifest). Every other round
-- waits, from its random moment on, for the stage that was met least. Its last line is the verdict;
-- status 1: a check failed, or a stage was not met.
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local json = require "mlua.json"
local ml = require "mlua"
local param = require "mlua.param"

package.path = arg[0]:match "^(.*)/[^/]*$" .. "/?.lua;" .. package.path
local trial = require "lib.trial"

local spec = param.spec({
  rounds = param.int { 200, min = 1, doc = "kills, or damages; io: faults drawn, else all" },
  seed = param.int { 1, min = 0, doc = "of moments and places" },
  keep = param.bool { doc = "keep the folder of runs" },
}, {
  config = false, name = "tools/fault", arguments = { "kill|flip|io", min = 1, max = 1 },
  doc = "Interrupts, damages and starves a small training.",
})

local options, rest = spec:main(arg)

local recipe, folder = trial.root .. "/spec/support/training.lua", trial.folder()
local failed, read = trial.failed, trial.read

local function place(name) return trial.place(folder, name) end

-- -- trainings ---------------------------------------------------------------------------------

local function command(p, workers, words, fault)
  return trial.command({ "MLUA_STORE=" .. p.store, "MLUA_TRAIN_STAGE=" .. p.stage,
    "MLUA_THREADS=1", fault and "MLUA_STORE_FAULT=" .. fault },
    { recipe, "--json", "--workers", tostring(workers), unpack(words) })
end

-- Whether it ended well, why not, and what it said.
local function train(...)
  local child = trial.start(command(...))
  local ok, why = trial.wait { child }
  return ok, why, child:said()
end

-- What has to be equal: the result's line, and the metrics without times and memory.
local function outcome(p, said)
  local result
  for line in said:gmatch "[^\n]+" do
    local ok, document = pcall(json.decode, line)
    if ok and type(document) == "table" and document.outputs then
      result = json.encode(document.outputs)
    end
  end
  local runs = trial.runs(p.store)
  local lines = runs[1] and trial.metrics(runs[1]) or {}
  for i, row in ipairs(lines) do
    if type(row) == "table" then
      for _, name in ipairs { "seconds", "waited", "rate", "bytes", "resident" } do
        row[name] = nil
      end
      lines[i] = json.encode(row)
    end
  end
  return result, table.concat(lines, "\n"), #runs
end

local function undisturbed(words)
  local p = place "undisturbed"
  local wanted = { seconds = 0 }
  for i = 1, 3 do
    files.remove(p.store)
    local before = ml.clock()
    local ok, why, said = train(p, 2, words)
    if not ok then fail.run("the undisturbed run failed: %s", why) end
    wanted.seconds = math.max(wanted.seconds, ml.clock() - before)
    local result, metrics = outcome(p, said)
    if i > 1 and (result ~= wanted.result or metrics ~= wanted.metrics) then
      fail.run "undisturbed runs differ from each other"
    end
    wanted.result, wanted.metrics = result, metrics
  end
  return wanted
end

-- The same command until it ends; whether all is as it has to be, and what it said.
local function finish(p, workers, words, wanted, name)
  local ok, why, said = train(p, workers, words)
  if not ok then return failed(name, "the next run failed: %s", why) end
  local result, metrics, runs = outcome(p, said)
  if result ~= wanted.result then
    failed(name, "another result:\n%s\n%s", tostring(result), wanted.result)
  elseif metrics ~= wanted.metrics then
    failed(name, "other metrics:\n%s\n-- expected --\n%s", metrics:sub(-300),
      wanted.metrics:sub(-300))
  elseif runs ~= 1 then
    failed(name, "%d runs where there should be one", runs)
  end
  return said
end

-- -- kills -------------------------------------------------------------------------------------

local WORKERS = { 0, 2, 4 }
local STAGES = { "step", "test", "write", "rename", "manifest" }

local function stage_of(p)
  local text = read(p.stage)
  local main, back = text:sub(1, 1), text:sub(2, 2)
  local behind = ({ w = "write", n = "rename", m = "manifest" })[back]
  return behind or main == "t" and "test" or main ~= "" and "step" or "start"
end

local function kill_all()
  local words = { "--rows", "40000" }
  local wanted, stages = undisturbed(words), trial.stages(STAGES)
  for i = 1, options.rounds do
    local p, workers = place("kill" .. i), WORKERS[i % 3 + 1]
    for _ = 1, 1 + i % 2 do -- some are interrupted twice
      trial.kill(command(p, workers, words), wanted.seconds, stages,
        function() return stage_of(p) end, i % 2 == 0)
    end
    finish(p, workers, words, wanted, ("kill %d (%d workers)"):format(i, workers))
    if not options.keep then files.remove(p.at) end
  end
  return ("%d rounds, kills by stage: %d start, %s"):format(options.rounds,
    stages.met.start or 0, stages.verdict())
end

-- -- damage ------------------------------------------------------------------------------------

local function newest_of(run)
  local names = {}
  for _, name in ipairs(files.list(run .. "/checkpoints") or {}) do
    if name:find "%.json$" then names[#names + 1] = name:match "^%d+" end
  end
  return names[#names], #names
end

local function overwrite(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- A bit flipped, or the end cut off, at a random place of a file.
local function damage(path)
  local text = read(path)
  local at = math.random(1, #text)
  if math.random() < 0.3 then
    overwrite(path, text:sub(1, at - 1))
    return ("%s cut to %d bytes"):format(path:match "[^/]*$", at - 1)
  end
  local bit = 2 ^ math.random(0, 7)
  local flipped = require "bit".bxor(text:byte(at), bit)
  overwrite(path, text:sub(1, at - 1) .. string.char(flipped) .. text:sub(at + 1))
  return ("%s: bit of byte %d"):format(path:match "[^/]*$", at)
end

local function flip_all()
  local words = { "--rows", "20000" }
  local wanted = undisturbed(words)
  local counts = { tensors = 0, record = 0 }
  for i = 1, options.rounds do
    local p, workers = place("flip" .. i), WORKERS[i % 3 + 1]
    local child, began = trial.start(command(p, workers, words)), ml.clock()
    local enough = 2 + math.random(0, 1)
    repeat -- until there are some checkpoints
      local run = trial.runs(p.store)[1]
      local newest, n = nil, 0
      if run then newest, n = newest_of(run) end
    until newest and n >= enough or ml.clock() - began > wanted.seconds * 3
    child:kill()
    local run = trial.runs(p.store)[1]
    local newest = run and newest_of(run)
    if not newest then
      failed("flip " .. i, "it had no checkpoint when it was killed")
    else
      local of_record = math.random() < 0.3
      local what = damage(("%s/checkpoints/%s.%s"):format(run, newest,
        of_record and "json" or "safetensors"))
      counts[of_record and "record" or "tensors"] = counts[of_record and "record" or "tensors"] + 1
      local said = finish(p, workers, words, wanted, ("flip %d (%s)"):format(i, what))
      if said and not said:find(newest, 1, true) then
        failed(("flip %d (%s)"):format(i, what), "nothing was said of it:\n%s", said)
      end
    end
    if not options.keep then files.remove(p.at) end
  end
  return ("%d damages: %d of tensors, %d of records"):format(options.rounds, counts.tensors,
    counts.record)
end

-- -- files that are refused --------------------------------------------------------------------

local ERRORS = { EIO = 5, ENOSPC = 28, EDQUOT = 122, EINTR = 4, short = 0 }
local CAUSES = { EIO = "Input/output error", ENOSPC = "No space left", EDQUOT = "quota exceeded" }

local WORDS = { "--rows", "3000", "--max-steps", "20", "--every", "5" }

local function faulty(p, op, n, error)
  return train(p, 0, WORDS, ("%s:%d:%s"):format(op, n, error))
end

-- How many calls of an operation a run has: a kill before one that does not come does nothing.
local function calls_of(op)
  local function reached(n)
    local p = place(("count-%s-%d"):format(op, n))
    local ok = faulty(p, op, n, "KILL")
    files.remove(p.at)
    return not ok
  end
  local low, high = 0, 1
  while reached(high) do low, high = high, high * 2 end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if reached(middle) then low = middle else high = middle end
  end
  return low
end

local function io_once(op, n, name, wanted)
  local p, label = place(("io-%s-%s-%d"):format(op, name, n)), ("%s %d, %s"):format(op, n, name)
  local ok, why, said = faulty(p, op, n, tostring(ERRORS[name]))
  local result, metrics = outcome(p, said)
  if ok then
    if result ~= wanted.result or metrics ~= wanted.metrics then
      failed(label, "it ended well with another result")
    end
  elseif not CAUSES[name] then
    failed(label, "a retry would have done:\n%s", said)
  elseif not why:find "^its process ended with status 1\n" then
    failed(label, "it ended otherwise: %s", why)
  elseif not said:find(CAUSES[name], 1, true) or not said:find("/", 1, true) then
    failed(label, "it says neither path nor cause:\n%s", said)
  else
    finish(p, 0, WORDS, wanted, label)
  end
  if not options.keep then files.remove(p.at) end
  return not ok
end

local function io_all()
  local wanted = undisturbed(WORDS)
  local told, parts, all = 0, {}, {}
  for _, op in ipairs { "open", "write", "resize", "fsync", "rename" } do
    local n = calls_of(op)
    parts[#parts + 1] = ("%d %s"):format(n, op)
    for i = 1, n do
      for _, name in ipairs { "EIO", "ENOSPC", "EDQUOT", "EINTR", op == "write" and "short" } do
        all[#all + 1] = { op, i, name }
      end
    end
  end
  if param.origin(options, "rounds") ~= "default" then
    for i = #all, 2, -1 do
      local k = math.random(i)
      all[i], all[k] = all[k], all[i]
    end
    for i = #all, options.rounds + 1, -1 do all[i] = nil end
  end
  for _, each in ipairs(all) do
    if io_once(each[1], each[2], each[3], wanted) then told = told + 1 end
  end
  return ("calls: %s; %d faults, %d told, the others did no harm"):format(table.concat(parts, ", "),
    #all, told)
end

-- -- the verdict -------------------------------------------------------------------------------

local commands = { kill = kill_all, flip = flip_all, io = io_all }
local run = commands[rest[1]] or fail.usage("expected kill, flip or io, got '%s'", rest[1])
math.randomseed(options.seed)
local words = run()
if not options.keep then files.remove(folder) else print("kept in " .. folder) end
print(("%s; %d failures (seed %d)"):format(words, trial.failures, options.seed))
if trial.failures > 0 then os.exit(1) end
