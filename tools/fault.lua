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
local process = require "mlua.ffi.process"

local spec = param.spec({
  rounds = param.int { 200, min = 1, doc = "kills, or damages; io: faults drawn, else all" },
  seed = param.int { 1, min = 0, doc = "of moments and places" },
  keep = param.bool { doc = "keep the folder of runs" },
}, {
  config = false, name = "tools/fault", arguments = { "kill|flip|io", min = 1, max = 1 },
  doc = "Interrupts, damages and starves a small training.",
})

local options, rest = spec:main(arg)

local function interpreter()
  local i = 0
  while arg[i - 1] do i = i - 1 end
  return arg[i]
end

local root = arg[0]:match "^(.*)/[^/]*$" .. "/.."
local recipe, program = root .. "/spec/support/training.lua", interpreter()

local pipe = assert(io.popen "mktemp -d")
local folder = pipe:read "*l"
pipe:close()

local failures = 0
local function failed(what, message, ...)
  failures = failures + 1
  io.stdout:write(what, ": ", message:format(...), "\n")
  io.stdout:flush()
end

-- -- trainings ---------------------------------------------------------------------------------

local function place(name)
  local at = folder .. "/" .. name
  assert(files.make_folders(at))
  return { at = at, store = at .. "/store", stage = at .. "/stage" }
end

local function command(p, workers, words, environment)
  local list = { "env", "MLUA_STORE=" .. p.store, "MLUA_TRAIN_STAGE=" .. p.stage, "MLUA_THREADS=1" }
  for _, word in ipairs(environment or {}) do list[#list + 1] = word end
  for _, word in ipairs { program, recipe, "--json", "--workers", tostring(workers) } do
    list[#list + 1] = word
  end
  for _, word in ipairs(words) do list[#list + 1] = word end
  return list
end

local function start(arguments)
  return assert(process.start(function() process.become(arguments) end))
end

-- Waits: true or the reason of its end, and what it said.
local function wait(child)
  local ok, why
  repeat
    process.wait({ child }, 1)
    ok, why = child:ended()
  until ok ~= nil
  return ok or why, child:said()
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read "*a"
  file:close()
  return text
end

local function folders_of(p)
  local list = {}
  for _, name in ipairs(files.list(p.store .. "/runs/Train") or {}) do
    if not name:find "^%." then list[#list + 1] = p.store .. "/runs/Train/" .. name end
  end
  return list
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
  local runs, lines = folders_of(p), {}
  for line in read((runs[1] or "") .. "/metrics.jsonl"):gmatch "[^\n]+" do
    local row = json.decode(line)
    for _, name in ipairs { "seconds", "waited", "rate", "bytes", "resident" } do
      if type(row) == "table" then row[name] = nil end
    end
    lines[#lines + 1] = row and json.encode(row) or line
  end
  return result, table.concat(lines, "\n"), #runs
end

local function undisturbed(words)
  local p = place "undisturbed"
  local wanted = { seconds = 0 }
  for i = 1, 3 do
    files.remove(p.store)
    local before = ml.clock()
    local ok, said = wait(start(command(p, 2, words)))
    if ok ~= true then fail.run("the undisturbed run failed: %s", said) end
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
  local ok, said = wait(start(command(p, workers, words)))
  if ok ~= true then return failed(name, "the next run failed: %s\n%s", tostring(ok), said) end
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
  local wanted = undisturbed(words)
  local met = { start = 0 }
  for _, name in ipairs(STAGES) do met[name] = 0 end
  for i = 1, options.rounds do
    local p, workers = place("kill" .. i), WORKERS[i % 3 + 1]
    for _ = 1, 1 + i % 2 do -- some are interrupted twice
      local began, moment = ml.clock(), math.random() * wanted.seconds
      local child = start(command(p, workers, words))
      process.sleep(math.max(0, moment - (ml.clock() - began)))
      if i % 2 == 0 then
        local least = STAGES[1]
        for _, name in ipairs(STAGES) do
          if met[name] < met[least] then least = name end
        end
        while stage_of(p) ~= least and child:ended() == nil
          and ml.clock() - began < wanted.seconds * 1.5 do end
      end
      local ended = child:ended()
      child:kill()
      local stage = stage_of(p)
      if ended == nil then met[stage] = met[stage] + 1 end
    end
    finish(p, workers, words, wanted, ("kill %d (%d workers)"):format(i, workers))
    if not options.keep then files.remove(p.at) end
  end
  local shown = { ("%d start"):format(met.start) }
  for _, name in ipairs(STAGES) do
    shown[#shown + 1] = ("%d %s"):format(met[name], name)
    if met[name] == 0 then failed("stages", "no kill fell in a %s", name) end
  end
  return ("%d rounds, kills by stage: %s"):format(options.rounds, table.concat(shown, ", "))
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
    local child, began = start(command(p, workers, words)), ml.clock()
    local enough = 2 + math.random(0, 1)
    repeat -- until there are some checkpoints
      local run = folders_of(p)[1]
      local newest, n = nil, 0
      if run then newest, n = newest_of(run) end
    until newest and n >= enough or ml.clock() - began > wanted.seconds * 3
    child:kill()
    local run = folders_of(p)[1]
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
  return wait(start(command(p, 0, WORDS, { ("MLUA_STORE_FAULT=%s:%d:%s"):format(op, n, error) })))
end

-- How many calls of an operation a run has: a kill before one that does not come does nothing.
local function calls_of(op)
  local function reached(n)
    local p = place(("count-%s-%d"):format(op, n))
    local ok = faulty(p, op, n, "KILL")
    files.remove(p.at)
    return ok ~= true
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
  local ok, said = faulty(p, op, n, tostring(ERRORS[name]))
  local result, metrics = outcome(p, said)
  if ok == true then
    if result ~= wanted.result or metrics ~= wanted.metrics then
      failed(label, "it ended well with another result")
    end
  elseif not CAUSES[name] then
    failed(label, "a retry would have done:\n%s", said)
  elseif not ok:find "status 1" and not ok:find "exit.* 1" then
    failed(label, "it ended otherwise: %s\n%s", ok, said)
  elseif not said:find(CAUSES[name], 1, true) or not said:find("/", 1, true) then
    failed(label, "it says neither path nor cause:\n%s", said)
  else
    finish(p, 0, WORDS, wanted, label)
  end
  if not options.keep then files.remove(p.at) end
  return ok ~= true
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
print(("%s; %d failures (seed %d)"):format(words, failures, options.seed))
if failures > 0 then os.exit(1) end
