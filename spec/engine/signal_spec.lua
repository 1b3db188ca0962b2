-- Signals that come twice, or while a checkpoint is on its way to a slow disk. The training is
-- spec/support/samples_training.lua; single signals are in resume_spec.lua.
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local TRAINING = lfs.currentdir() .. "/spec/support/samples_training.lua"

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

-- Waits until the background has been at a checkpoint's sync for 0.3 seconds.
local SYNCING = [[n=0; while [ $n -lt 6 ]; do
if [ "$(head -c 2 stage 2>/dev/null | tail -c 1)" = n ]; then n=$((n+1)); else n=0; fi
sleep 0.05; done; ]]

-- Starts the training with variables, then shell words that may name it as $child; its status,
-- seconds from then to its end, and what it said on standard error.
local function interrupt(variables, words)
  local r = process.run { "bash", "-c", ([[cd '%s'; export MLUA_STORE=$PWD/store MLUA_THREADS=1
export MLUA_TRAIN_STAGE=stage %s; set -m
'%s' '%s' --json --run run --every 5 >out 2>err & child=$!
%s began=$(date +%%s%%N)
wait $child; echo $? $((($(date +%%s%%N) - began) / 1000000))]]):format(folder, variables,
    process.program(), TRAINING, words) }
  local status, milliseconds = r.out:match "(%d+) (%d+)\n$"
  return tonumber(status), tonumber(milliseconds) / 1000, files.read(folder .. "/err")
end

local function outputs_of(text)
  return json.encode(json.decode(text:match "([^\n]*)\n*$").outputs)
end

-- Whether the same command goes on, and to the bits of a training of its own.
local function goes_on(at)
  local function run(store, name)
    return process.run({ process.program(), TRAINING, "--json", "--run", name, "--every", "5" },
      { cwd = folder, env = { MLUA_STORE = folder .. "/" .. store, MLUA_THREADS = "1" } })
  end
  local r = run("store", "run")
  assert.equal(0, r.status, r.err)
  assert.matches("goes on at step " .. at .. "\n", r.err)
  assert.equal(outputs_of(run("other-store", "other").out), outputs_of(r.out))
end

describe("SIGTERM", function()
  it("that comes again changes nothing: one checkpoint, status 75", function()
    local status, _, err = interrupt("MLUA_STORE_FAULT=fsync:17:SLOW",
      SYNCING .. "kill -TERM $child; sleep 0.2; kill -TERM $child; kill -USR1 $child;")
    assert.equal(75, status, err)
    assert.matches("stopped by SIGTERM at step %d+; the same command goes on\n", err)
    goes_on "[1-9]%d*"
  end)

  it("while a checkpoint is being written waits for it, and makes one of its own", function()
    local status, seconds, err = interrupt("MLUA_STORE_FAULT=fsync:17:SLOW",
      SYNCING .. "kill -TERM $child;")
    assert.equal(75, status, err)
    assert.is_true(seconds > 0.5, "the disk was slow for two seconds") -- 1.7, less what is late
    local step = err:match "stopped by SIGTERM at step (%d+); the same command goes on\n"
    goes_on(step)
  end)

  it("waits no longer than its grace, and the checkpoint before is whole", function()
    local status, seconds, err = interrupt("GRACE=0.3 MLUA_STORE_FAULT=fsync:17:SLOW",
      SYNCING .. "kill -TERM $child;")
    assert.equal(75, status, err)
    assert.is_true(seconds < 1.2, seconds)
    local step = err:match("stopped by SIGTERM at step (%d+); the same command goes on; "
      .. "not durable after 0.3 s\n")
    local before
    for name in lfs.dir(folder .. "/run/checkpoints") do
      local found = tonumber(name:match "^(%d+)%.json$")
      before = found and math.max(before or 0, found) or before
    end
    assert.is_true(before < tonumber(step))
    goes_on(tostring(before))
  end)
end)

describe("Ctrl-C", function()
  it("twice ends a step that takes long at once, and the training goes on later", function()
    files.write(folder .. "/slow", "")
    local status, seconds, err = interrupt("SLOW=slow",
      "until [ -s slow ]; do sleep 0.01; done; kill -INT $child; sleep 0.3; kill -INT $child;")
    assert.equal(130, status, err)
    assert.is_true(seconds < 5, seconds) -- the step takes 20
    os.remove(folder .. "/slow")
    goes_on "%d+"
  end)

  it("once lets that step come to its end", function()
    files.write(folder .. "/slow", "")
    local status, _, err = interrupt("SLOW=slow",
      "until [ -s slow ]; do sleep 0.01; done; kill -INT $child; sleep 0.3; kill -0 $child && "
      .. "touch waits; kill -INT $child;")
    assert.equal(130, status, err)
    assert.is_true(files.exists(folder .. "/waits"))
  end)
end)
