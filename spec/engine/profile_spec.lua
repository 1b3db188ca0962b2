-- `--profile` of a flow: what it prints, where the trace is, and that nothing else is another.
-- The training is spec/support/training.lua.
local files = require "spec.support.files"
local hash = require "mlua.ffi.hash"
local json = require "mlua.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local TRAINING = lfs.currentdir() .. "/spec/support/training.lua"
local program = process.program()

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

local function run(store, script, ...)
  return process.run({ program, script, "--json", ... },
    { cwd = folder, env = { MLUA_STORE = folder .. "/" .. store, MLUA_THREADS = "1" } })
end

local function train(store, ...) return run(store, TRAINING, "--rows", "2000", ...) end

-- The folder of a store's only run.
local function run_of(store)
  local found
  for name in lfs.dir(folder .. "/" .. store .. "/runs/Train") do
    if not name:find "^%." then
      assert.is_nil(found)
      found = folder .. "/" .. store .. "/runs/Train/" .. name
    end
  end
  return found
end

-- Digests of the tensors of a run's checkpoints, by file.
local function digests(dir)
  local all = {}
  for name in lfs.dir(dir .. "/checkpoints") do
    if name:find "%.safetensors$" then all[name] = hash.file(dir .. "/checkpoints/" .. name) end
  end
  return all
end

describe("--profile", function()
  it("prints tables to standard error and leaves a trace in the run's folder", function()
    local r = train("a", "--profile", "--workers", "2")
    assert.equal(0, r.status, r.err)
    for _, name in ipairs { "linear backward", "adam update", "Net.top.1 Linear", "step", "test",
                            "loader: wait", "checkpoint: copy", "checkpoint: write" } do
      assert.is_truthy(r.err:find("\n" .. name .. "  ", 1, true), name)
    end
    local _, lines = r.out:gsub("\n", "")
    assert.equal(1, lines)
    local path = run_of "a" .. "/profile.json"
    assert.is_truthy(r.err:find("mlua: trace: " .. path .. "\n", 1, true))
    local steps, threads = 0, {}
    for _, e in ipairs(json.decode(files.read(path)).traceEvents) do
      if e.name == "step" then steps = steps + 1 end
      if e.name == "thread_name" then threads[e.args.name] = true end
    end
    assert.equal(json.decode(r.out).outputs.result.steps, steps)
    assert.is_true(threads.training and threads["checkpoint 1"])
  end)

  it("gives the bits of a training without it, and is no other one", function()
    local plain, profiled = train "a", train("b", "--profile")
    assert.equal(0, profiled.status, profiled.err)
    assert.same(json.decode(plain.out).outputs, json.decode(profiled.out).outputs)
    local found = digests(run_of "b")
    assert.is_not_nil(next(found))
    assert.same(digests(run_of "a"), found)
    assert.equal(json.load(run_of "a" .. "/run.json").identity,
      json.load(run_of "b" .. "/run.json").identity)
  end)

  it("says where the result is there and nothing runs", function()
    train "a"
    local r = train("a", "--profile")
    assert.equal(0, r.status)
    assert.is_truthy(r.err:find("mlua: all is there: nothing was run to be profiled\n", 1, true))
    assert.is_false(files.exists(run_of "a" .. "/profile.json"))
  end)

  it("reports a training that a signal ends, too", function()
    local script = files.write(folder .. "/stopped.lua", ([[
      local ml = require "mlua"
      local flow = dofile %q
      local engine = require "mlua.engine"
      local step = 0
      local new = engine.new
      function engine.new(o)
        o.hooks = { step = function()
          step = step + 1
          if step == 7 then os.execute("kill -TERM $PPID") end
        end }
        return new(o)
      end
      return flow
    ]]):format(TRAINING))
    local r = run("a", script, "--profile")
    assert.equal(75, r.status, r.err)
    assert.is_truthy(r.err:find("mlua: trace: " .. run_of "a" .. "/profile.json", 1, true), r.err)
    assert.is_truthy(r.err:find "\nstep +7 ")
  end)

  it("is of all tasks that ran where none trains", function()
    local script = files.write(folder .. "/sum.lua", [[
      local ml = require "mlua"
      local Sum = ml.task("Sum", { outputs = "json",
        run = function() return { ml.ones(3):sum():item() } end })
      return ml.flow(Sum, { doc = "A sum." })
    ]])
    local r = run("a", script, "--profile")
    assert.equal(0, r.status, r.err)
    assert.is_truthy(r.err:find "\nsum +1 ")
    assert.is_truthy(r.err:find("mlua: trace: profile.json\n", 1, true))
    assert.is_true(files.exists(folder .. "/profile.json"))
  end)

  it("is of a training in a process of its own, as a limit of time asks for", function()
    local script = files.write(folder .. "/child.lua", [[
      local ml = require "mlua"
      local Train = ml.task("Train", { outputs = "json", timeout = 100, run = function()
        local model = ml.nn.MLP.new { sizes = { 4, 4, 1 }, seed = 1 }
        local set = { x = ml.ones(64, 4), y = ml.ones(64, 1) }
        local engine = ml.engine {
          model = model, optimizer = ml.optim.sgd(model, { lr = 0.1 }), quiet = true,
          train = ml.data.samples.loader(set, { batch = 8 }),
          loss = function(b) return ml.mse(model(b.x), b.y) end,
        }
        return { engine:fit().steps }
      end })
      return ml.flow(Train, { doc = "In a child." })
    ]])
    local r = run("a", script, "--profile")
    assert.equal(0, r.status, r.err)
    assert.is_truthy(r.err:find "step +8 ", r.err)
    assert.is_truthy(r.err:find("mlua: trace: " .. run_of "a" .. "/profile.json", 1, true), r.err)
  end)

  it("is for tasks in this process, one at a time", function()
    local r = train("a", "--profile", "--jobs", "2")
    assert.equal(2, r.status)
    assert.is_truthy(r.err:find("--profile: one job at a time, without --jobs", 1, true))
  end)
end)
