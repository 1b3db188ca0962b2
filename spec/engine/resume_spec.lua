-- Runs of a training task: a fresh start, a restart and a fine-tuning, each with an empty, an
-- existing and a moved folder; signals; what is refused. The training is spec/support/training.lua.
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local TRAINING = lfs.currentdir() .. "/spec/support/training.lua"
local program = process.program()

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

-- { status, out, err, result } of the training with options.
local function train(...)
  local r = process.run({ program, TRAINING, "--json", ... },
    { cwd = folder, env = { MLUA_STORE = folder .. "/store", MLUA_THREADS = "1" } })
  local ok, document = pcall(json.decode, r.out:match "([^\n]*)\n*$" or "")
  r.result = ok and type(document) == "table" and json.encode(document.outputs) or nil
  return r
end

-- Names of the runs' folders.
local function runs()
  local list = {}
  for name in lfs.dir(folder .. "/store/runs/Train") do
    if not name:find "^%." then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function record(path) return json.load(path .. "/run.json") end

-- Starts a training that is killed before it has renamed its `n`th file: some steps are done.
local function interrupted(n, ...)
  local r = process.run({ program, TRAINING, "--json", ... }, { cwd = folder, env = {
    MLUA_STORE = folder .. "/store", MLUA_THREADS = "1",
    MLUA_STORE_FAULT = ("rename:%d:KILL"):format(n or 20),
  } })
  assert.equal(137, r.status)
end

-- What an undisturbed training gives, in a store of its own.
local function undisturbed(...)
  local own = files.folder()
  local before = folder
  folder = own
  local r = train(...)
  folder = before
  files.remove(own)
  assert.equal(0, r.status, r.err)
  return r.result
end

local function store(name) return folder .. "/store/runs/Train/" .. name end

describe("a fresh start", function()
  it("with no folder makes a run, and says in it all that it is", function()
    local r = train("--epochs", "1")
    assert.equal(0, r.status, r.err)
    local run = store(runs()[1])
    local about = record(run)
    assert.same({ "done", "Train", 1 }, { about.status, about.task, about.config.epochs })
    assert.truthy(about.name:find("-epochs=1", 1, true))
    assert.same({ "mlua", TRAINING, "--json", "--epochs", "1" }, about.command)
    for _, name in ipairs { "config.yaml", "log.txt", "metrics.jsonl", "first.safetensors" } do
      assert.is_true(files.exists(run .. "/" .. name), name)
    end
    assert.matches("epochs: 1 +# command line", files.read(run .. "/config.yaml"))
    assert.equal(r.result:match '"result":({.-})', json.encode(json.load(run
      .. "/outputs/result.json")))
    assert.truthy(require "mlua.safetensors".load(run .. "/outputs/model.safetensors"))
    local lines = files.read(run .. "/metrics.jsonl")
    local tested = json.decode(lines:match "([^\n]*)\n$") -- the weights as they are in the end
    assert.same({ 81, "test" }, { tested.step, tested.kind })
    local last = json.decode(lines:match '([^\n]*"train"[^\n]*)\n[^\n]*\n$')
    assert.same({ 81, 0 }, { last.step, last.epoch })
    for _, name in ipairs { "seconds", "rate", "bytes", "resident" } do
      assert.is_true(last[name] > 0, name)
    end
    assert.is_true(last.waited >= 0 and last.waited < last.seconds)
    assert.matches("^%d+%.%d+%.%d+$", about.versions.mlua)
    assert.matches("^LuaJIT 2%.1", about.versions.lua)
    for _, name in ipairs { "onednn", "sqlite", "glibc" } do
      assert.matches("^%d+%.%d+", about.versions[name])
    end
  end)

  it("beside an interrupted run of other parameters makes another", function()
    interrupted(nil, "--lr", "0.01")
    local r = train()
    assert.equal(undisturbed(), r.result)
    assert.equal(2, #runs())
    assert.matches("running", record(store(runs()[1])).status .. record(store(runs()[2])).status)
  end)

  it("is asked for by --new, and where the interrupted run is gone", function()
    interrupted()
    local r = train "--new"
    assert.equal(undisturbed(), r.result)
    assert.equal(2, #runs())
    files.remove(folder .. "/store/objects")
    files.remove(folder .. "/store/results.db")
    for _, name in ipairs(runs()) do files.remove(store(name)) end
    assert.equal(r.result, train().result)
    assert.equal(1, #runs())
  end)
end)

describe("a run's folder", function()
  it("is its owner's alone", function()
    train("--epochs", "1")
    for _, path in ipairs { folder .. "/store", store(runs()[1]) .. "/checkpoints" } do
      assert.equal("rwx------", lfs.attributes(path, "permissions"))
    end
  end)

  it("is not left behind where it could not be made", function()
    local refused = 0
    for n = 3, 5 do -- those of the lock, the index, the record
      files.remove(folder .. "/store")
      local r = process.run({ program, TRAINING, "--epochs", "1" }, { cwd = folder, env = {
        MLUA_STORE = folder .. "/store", MLUA_STORE_FAULT = ("open:%d:5"):format(n) } })
      if r.status ~= 0 then
        refused = refused + 1
        assert.matches("/.*: Input/output error", r.err)
      end
      assert.equal(0, train("--epochs", "1").status)
      assert.equal(1, #runs())
    end
    assert.is_true(refused >= 2)
  end)
end)

describe("a run's log", function()
  it("has what was asked for of each module, threads among them", function()
    files.write(folder .. "/log.yaml", "log_level: [warn, 'file:data=debug']\n")
    local r = train("--workers", "2", "--config", "log.yaml")
    assert.equal(0, r.status, r.err)
    local log = files.read(store(runs()[1]) .. "/log.txt")
    assert.matches("info  run: started\n", log)
    assert.matches("debug data%.loader %[worker %d%]: epoch 0: %d+ blocks of 8 batches", log)
    assert.matches("info  run: step 25: test AUC 0%.%d+", log)
    assert.is_nil(log:find("checkpoint", 1, true))
    assert.matches("info  run: done\n$", log)
  end)

  it("tells how a training failed", function()
    files.write(folder .. "/f.lua", [[
      local ml = require "mlua"
      return ml.flow(ml.task("Train", { outputs = "json", run = function()
        local m = ml.nn.Linear.new { inputs = 1, outputs = 1 }
        ml.engine { model = m, optimizer = ml.optim.sgd(m, { lr = 0 }), quiet = true,
          train = ml.data.samples.loader({ x = ml.zeros(1, 1) }, {}),
          loss = function() print "computing"; error "no loss" end }:fit()
      end }))]])
    assert.equal(1, process.run({ program, "f.lua" },
      { cwd = folder, env = { MLUA_STORE = folder .. "/store" } }).status)
    local log = files.read(store(runs()[1]) .. "/log.txt")
    assert.matches("info  output: computing\n[^\n]*error run: f%.lua:6: no loss\n  stack traceback",
      log)
    assert.matches("info  run: failed\n$", log)
    assert.equal("failed", record(store(runs()[1])).status)
  end)

  it("is not asked for levels that there are not", function()
    local r = train("--log-level", "engine=inof")
    assert.equal(2, r.status)
    assert.equal("mlua: --log-level: 'engine=inof': expected a level, one of off, error, warn, "
      .. "info, debug or trace, did you mean 'info'?\n", r.err)
  end)
end)

describe("a restart", function()
  it("in an empty folder that is named begins there", function()
    lfs.mkdir(folder .. "/mine")
    local r = train("--run", "mine")
    assert.equal(undisturbed(), r.result)
    assert.equal("done", record(folder .. "/mine").status)
    assert.is_false(files.exists(folder .. "/store/runs"))
  end)

  it("goes on with the run that was interrupted, and says so", function()
    interrupted()
    local r = train()
    assert.equal(undisturbed(), r.result)
    assert.equal(1, #runs())
    assert.equal(1, #record(store(runs()[1])).continued)
    assert.matches("goes on at step [1-9]", files.read(store(runs()[1]) .. "/log.txt"))
  end)

  it("finds a run that was moved: renamed beside the others, or named", function()
    interrupted()
    os.rename(store(runs()[1]), store "another-name")
    interrupted(12)
    assert.same({ "another-name" }, runs())
    os.rename(store "another-name", folder .. "/moved")
    local r = train("--run", "moved")
    assert.equal(undisturbed(), r.result)
    assert.equal(2, #record(folder .. "/moved").continued)
    assert.same({}, runs())
  end)
end)

describe("a fine-tuning", function()
  local function weights()
    local path = folder .. "/weights.safetensors"
    if not files.exists(path) then
      local own, before = files.folder(), folder
      folder = own
      assert.equal(0, train("--epochs", "1").status)
      os.rename(store(runs()[1]), before .. "/base")
      folder = before
      files.remove(own)
      files.write(path, files.read(folder .. "/base/checkpoints/000000000081.safetensors"))
    end
    return path
  end

  it("from a file begins a run of its own", function()
    local r = train("--init", weights())
    assert.equal(0, r.status, r.err)
    assert.not_equal(undisturbed(), r.result)
    assert.equal(1, #runs())
  end)

  it("from a run is the same as from its weights, beside an interrupted run", function()
    interrupted()
    local from_file = undisturbed("--init", weights())
    local r = train("--init", "base")
    assert.equal(from_file, r.result)
    assert.equal(2, #runs())
    interrupted(9, "--init", "base", "--lr", "0.02")
    r = train("--init", "base", "--lr", "0.02")
    assert.equal(undisturbed("--init", weights(), "--lr", "0.02"), r.result)
    assert.equal(3, #runs())
  end)

  it("from a run that has moved is the same result still", function()
    weights()
    local first = train("--init", "base")
    os.rename(folder .. "/base", folder .. "/elsewhere")
    local again = train("--init", "elsewhere")
    assert.equal(first.result, again.result)
    assert.equal(1, #runs())
  end)
end)

describe("a run's folder", function()
  it("of another configuration is refused, with what differs", function()
    interrupted(nil, "--lr", "0.01", "--run", "mine")
    local r = train("--run", "mine")
    assert.equal(1, r.status)
    assert.equal("mlua: Train: mine is a run of another configuration:\n~ lr: 0.01 → 0.05\n"
      .. "--new, or another folder, begins a new one\n", r.err:match "mlua: Train.*")
  end)

  it("is never overwritten", function()
    lfs.mkdir(folder .. "/mine")
    files.write(folder .. "/mine/notes.txt", "mine\n")
    assert.matches("mine: has files already, and is no run", train("--run", "mine").err, 1, true)
    files.write(folder .. "/mine/.lock", "") -- another program's
    assert.matches("mine: has files already, and is no run", train("--run", "mine").err, 1, true)
    assert.equal("mine\n", files.read(folder .. "/mine/notes.txt"))
    interrupted(nil, "--run", "other")
    assert.matches("other is a run already, which is never overwritten",
      train("--run", "other", "--new").err, 1, true)
  end)

  it("whose making was broken off is made again", function()
    lfs.mkdir(folder .. "/mine")
    for _, name in ipairs { ".lock", "config.yaml" } do
      files.write(folder .. "/mine/" .. name, "")
    end
    assert.equal(undisturbed(), train("--run", "mine").result)
    interrupted(2, "--lr", "0.02")
    assert.equal(undisturbed("--lr", "0.02"), train("--lr", "0.02").result)
    assert.equal(1, #runs())
  end)

  it("with none but damaged checkpoints is left as it is", function()
    interrupted(nil, "--run", "mine")
    local checkpoints = folder .. "/mine/checkpoints"
    for name in lfs.dir(checkpoints) do
      if name:find "json$" then files.write(checkpoints .. "/" .. name, "{}") end
    end
    local r = train("--run", "mine")
    assert.equal(1, r.status)
    assert.matches("mine: none of its checkpoints is whole; --new begins a new run", r.err, 1, true)
  end)

  it("is written to by one process at a time", function()
    interrupted(nil, "--run", "mine")
    local lock = assert(require "mlua.ffi.files".locks(folder .. "/mine/.lock"))
    assert.is_true(lock:take(require "mlua.ffi.hash".sha256 "run"))
    assert.matches("mine: another process has this run at work", train("--run", "mine").err, 1,
      true)
    lock:give(require "mlua.ffi.hash".sha256 "run")
  end)
end)

describe("a signal", function()
  for name, words in pairs { TERM = "SIGTERM", USR1 = "SIGUSR1", INT = "Ctrl%-C" } do
    it(name .. " ends training after a checkpoint, with status 75, and can go on", function()
      local command = ([[set -m; cd '%s'; export MLUA_STORE='%s/store' MLUA_THREADS=1
'%s' '%s' --json --rows 60000 >out 2>err & child=$!
while ! [ -s store/runs/Train/2*/metrics.jsonl ]; do sleep 0.01; done
kill -%s $child; wait $child; echo $?]]):format(folder, folder, program, TRAINING, name)
      local r = process.run { "bash", "-c", command }
      assert.equal("75\n", r.out)
      assert.matches("stopped by " .. words .. " at step %d+; the same command goes on",
        files.read(folder .. "/err"))
      assert.equal("stopped", record(store(runs()[1])).status)
      r = train("--rows", "60000")
      assert.equal(undisturbed("--rows", "60000"), r.result)
      assert.equal(1, #runs())
    end)
  end
end)

describe("a signal within a test", function()
  it("ends it, and it is done when the training goes on", function()
    local command = ([[cd '%s'; export MLUA_STORE='%s/store' MLUA_THREADS=1 MLUA_TRAIN_STAGE=stage
'%s' '%s' --json --rows 120000 >out 2>err & child=$!
while ! [ "$(head -c 1 stage 2>/dev/null)" = t ]; do :; done
kill -TERM $child; wait $child; echo $?]]):format(folder, folder, program, TRAINING)
    local r = process.run { "bash", "-c", command }
    assert.equal("75\n", r.out)
    r = train("--rows", "120000")
    assert.equal(undisturbed("--rows", "120000"), r.result)
  end)
end)

describe("a signal to a flow", function()
  it("of several jobs has each training make its checkpoint, and all go on", function()
    local words = "--json --rows 60000 --grid lr=0.05,0.01 --jobs 2"
    local command = ([[cd '%s'; export MLUA_STORE='%s/store' MLUA_THREADS=1
'%s' '%s' %s >out 2>err & child=$!
until [ $(cat store/runs/Train/2*/metrics.jsonl 2>/dev/null | grep -c '"step":5,') = 2 ]
do sleep 0.01; done
kill -TERM $child; wait $child; echo $?]]):format(folder, folder, program, TRAINING, words)
    local r = process.run { "bash", "-c", command }
    assert.equal("75\n", r.out)
    local said = files.read(folder .. "/err")
    for _, name in ipairs { "%(rows=60000%)", "lr=0.01%)" } do
      assert.matches(name .. ": mlua: stopped by SIGTERM at step %d+;", said)
    end
    assert.matches("interrupted with 0 of 2 tasks done; the next call goes on from there", said)
    for _, name in ipairs(runs()) do assert.equal("stopped", record(store(name)).status) end
    for _, lr in ipairs { "0.05", "0.01" } do
      assert.equal(undisturbed("--rows", "60000", "--lr", lr),
        train("--rows", "60000", "--lr", lr).result)
    end
    assert.equal(2, #runs())
  end)

  it("whose task makes no checkpoints ends it at once, to be started again", function()
    files.write(folder .. "/slow.lua", [[
      local ml = require "mlua"
      return ml.flow(ml.task("Slow", { run = function() while true do end end }))]])
    for _, jobs in ipairs { 1, 2 } do
      local command = ([[cd '%s'; export MLUA_STORE='%s/store'
'%s' slow.lua --jobs %d >out 2>err & child=$!
until grep -q Slow err 2>/dev/null; do sleep 0.01; done
sleep 0.1; kill -USR1 $child; wait $child; echo $?]]):format(folder, folder, program, jobs)
      local r = process.run({ "bash", "-c", command }, { timeout = 20 })
      assert.equal("75\n", r.out)
      assert.matches("interrupted with 0 of 1 tasks done", files.read(folder .. "/err"))
    end
  end)
end)

describe("a signal outside any task", function()
  it("ends a training that no run keeps, and the script with it", function()
    local script = [[
      local ml = require "mlua"
      local m = ml.nn.Linear.new { inputs = 1, outputs = 1 }
      print "begun"
      io.stdout:flush()
      ml.engine { model = m, optimizer = ml.optim.sgd(m, { lr = 0 }), quiet = true, epochs = 1e9,
        train = ml.data.samples.loader({ x = ml.zeros(1, 1) }, {}),
        loss = function(b) return m(b.x):sum() end }:fit()
      print "not reached"]]
    files.write(folder .. "/s.lua", script)
    local r = process.run({ "bash", "-c", ([[cd '%s'; '%s' s.lua >out 2>err & child=$!
until grep -q begun out 2>/dev/null; do sleep 0.01; done
sleep 0.1; kill -TERM $child; wait $child; echo $?]]):format(folder, program) }, { timeout = 20 })
    assert.equal("75\n", r.out)
    assert.equal("begun\n", files.read(folder .. "/out"))
    assert.matches("^mlua: stopped by SIGTERM at step %d+\n$", files.read(folder .. "/err"))
  end)
end)
