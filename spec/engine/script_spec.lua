-- Runs outside tasks, what a run keeps of its result, and what is done with it afterwards.
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local ml = require "mlua"
local process = require "spec.support.process"

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

-- A training of a line by 40 steps; `after` follows, with the engine e and the model m.
local function script(options, after)
  files.write(folder .. "/s.lua", ([[
    local ml = require "mlua"
    local m = ml.nn.Linear.new { inputs = 1, outputs = 1, seed = 1, stream = 0 }
    local x = ml.rand(80, 1, { seed = 1, stream = 1 })
    local function loader(options)
      return ml.data.samples.loader({ x = x, y = x * 3 + 1 }, options)
    end
    local o = { model = m, optimizer = ml.optim.sgd(m, { lr = 0.1 }), quiet = true, epochs = 4,
      train = loader { batch = 8, shuffle = true, seed = 2 }, report_every = 4,
      loss = function(b) return ml.mse(m(b.x), b.y) end,
      test = loader { batch = 80 }, predict = function(b) return m(b.x), b.y end,
      metrics = { "mse" }, test_every = 5,
    }
    for name, value in pairs { %s } do o[name] = value end
    local e = ml.engine(o)
    local r = e:fit()
    %s
    print(("%%a %%d"):format(m:state().weight:item(), r.steps))]]):format(options, after or ""))
end

local function run(env)
  return process.mlua({ "s.lua" }, { cwd = folder, env = env })
end

local function metrics(dir)
  local list = {}
  for line in io.lines(dir .. "/metrics.jsonl") do list[#list + 1] = json.decode(line) end
  return list
end

describe("a script outside any task", function()
  it("keeps its training in a folder that it names, and goes on with it", function()
    script 'run = "here", checkpoint = { steps = 3 }'
    local whole = run()
    assert.equal(0, whole.status, whole.err)
    files.remove(folder .. "/here")
    assert.equal(137, run({ MLUA_STORE_FAULT = "rename:24:KILL" }).status)
    local r = run()
    assert.matches("^mlua: here: goes on at step [1-9]", r.err)
    assert.equal(whole.out, r.out)
    assert.equal(files.read(folder .. "/s.lua"), files.read(folder .. "/here/source/s.lua"))
    local record = json.load(folder .. "/here/run.json")
    assert.equal(40, record.result.steps)
    assert.is_number(record.result.test.mse)
  end)

  it("is told that nothing would keep its checkpoints", function()
    script "checkpoint = { steps = 3 }"
    assert.matches("s.lua:%d+: bad argument #1 to 'engine' %(checkpoint: there is no run to keep",
      run().err)
  end)

  it("that adds to the metrics after the end is told that it has ended", function()
    script('run = "here"', 'e.run:report { kind = "mine" }')
    local r = run()
    assert.equal(1, r.status)
    assert.matches("mlua: here: this run has ended\n$", r.err)
  end)
end)

describe("the best weights", function()
  it("are the result where that is asked for", function()
    -- the worst is the best here: that of the first test
    script 'run = "here", checkpoint = { best = "mse", mode = "max", restore = true }'
    local weight = run().out:match "^(%S+) 40"
    local kept = ml.safetensors.load(folder .. "/here/checkpoints/000000000005.safetensors")
    assert.equal(weight, ("%a"):format(kept["model.weight"]:item()))
  end)
end)

describe("rates and waits", function()
  it("go on after an interruption as they were", function()
    script('run = "here", checkpoint = { steps = 6 }, hooks = { step = function() '
      .. 'local till = ml.clock() + 0.004; while ml.clock() < till do end end }')
    assert.equal(137, run({ MLUA_STORE_FAULT = "rename:16:KILL" }).status)
    assert.equal(0, run().status)
    local waited = 0
    for _, row in ipairs(metrics(folder .. "/here")) do
      if row.kind == "train" then
        assert.is_true(row.rate < 8 / 0.004, ("step %d: %g a second"):format(row.step, row.rate))
        assert.is_true(row.waited >= waited)
        waited = row.waited
      end
    end
  end)
end)

describe("a note of a task", function()
  it("that begins as those of runs do is no run's folder", function()
    files.write(folder .. "/f.lua", [[
      local ml = require "mlua"
      return ml.flow(ml.task("T", { outputs = "json", run = function(self)
        self:note("run time", "a moment")
        return { 1 }
      end }))]])
    assert.equal(0, process.mlua({ "f.lua" }, { cwd = folder, env = { MLUA_STORE = "s" } }).status)
    assert.is_nil(lfs.attributes(folder .. "/a moment"))
  end)
end)
