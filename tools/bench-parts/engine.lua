--- What training through an engine costs: a step beside a bare loop's; a checkpoint of 1 GiB: what
-- training waits for it, beside a copy of the memory; its write, beside dd with fsync; its reading.
local checkpoint = require "mlua.checkpoint"
local ml = require "mlua"

local STEPS, GIGABYTE = 20000, 2 ^ 30

-- -- a step ------------------------------------------------------------------------------------

local function setting()
  local model = ml.nn.Linear.new { inputs = 8, outputs = 1, seed = 1, stream = 1 }
  local batch = { x = ml.randn(16, 8, { seed = 1, stream = 2 }),
                  y = ml.randn(16, 1, { seed = 1, stream = 3 }), rows = 16 }
  local loader = {}
  function loader.steps() return math.huge end
  function loader.epoch() return function() return batch end end
  local function loss(b) return ml.mse(model(b.x), b.y) end
  return model, ml.optim.sgd(model, { lr = 1e-6 }), loader, loss
end

local function through_engine(_, n)
  local model, optimizer, loader, loss = setting()
  local engine = ml.engine { model = model, optimizer = optimizer, train = loader, loss = loss,
    max_steps = n, run = false, quiet = true }
  local begin = ml.clock()
  engine:fit()
  return (ml.clock() - begin) / n
end

local function bare(_, n)
  local _, optimizer, loader, loss = setting()
  local total = 0
  local function step(b)
    local value = loss(b)
    optimizer:step(value)
    return value:item()
  end
  local begin, k = ml.clock(), 0
  for b in loader.epoch() do
    total = total + ml.scope(step, b)
    k = k + 1
    if k == n then break end
  end
  return (ml.clock() - begin) / n
end

-- -- a checkpoint ------------------------------------------------------------------------------

local function run(bench)
  bench:measure {
    name = "engine/step of a small model, and beside it a bare loop's", unit = "µs", steps = STEPS,
    ours = through_engine, always = true, peer_version = "a bare loop",
    peer_run = function() return bare(nil, STEPS) end,
  }
  local folder = bench:folder()
  local all = assert(checkpoint.open(folder .. "/checkpoints"))
  local t = ml.ones(GIGABYTE / 4)
  local copy = ml.empty(GIGABYTE / 4)
  local step = 0
  local function save()
    step = step + 1
    assert(all:save(step, { t = t }, {}))
  end
  local function wait()
    assert(all:wait())
    all:prune(1)
  end
  save() -- the buffer's pages are there from the second one on
  wait()
  bench:measure {
    name = "engine/wait for a checkpoint of 1 GiB, and beside it a copy", unit = "ms", steps = 1,
    ours = function()
      local begin = ml.clock()
      save()
      local seconds = ml.clock() - begin
      wait()
      return seconds
    end,
    always = true, peer_version = "a copy of the memory",
    peer_run = function()
      local begin = ml.clock()
      copy:copy(t)
      return ml.clock() - begin
    end,
  }
  bench:measure {
    name = "engine/1 GiB durable, and beside it dd with fsync", unit = "ms", steps = 1,
    ours = function()
      local begin = ml.clock()
      save()
      wait()
      return ml.clock() - begin
    end,
    always = true, peer_version = "dd conv=fsync",
    peer_run = function()
      local begin = ml.clock()
      os.execute(("dd if=/dev/zero of='%s/dd' bs=4M count=256 conv=fsync 2>/dev/null"):format(
        folder))
      local seconds = ml.clock() - begin
      os.remove(folder .. "/dd")
      return seconds
    end,
  }
  bench:measure {
    name = "engine/1 GiB that was verified before, to its first use", unit = "ms", steps = 1,
    ours = function()
      local begin = ml.clock()
      local found = assert(assert(checkpoint.open(folder .. "/checkpoints")):newest())
      assert(found.tensors.t:narrow(1, 1, 1):item() == 1)
      return ml.clock() - begin
    end,
  }
  bench:measure {
    name = "engine/1 GiB read and verified", unit = "ms", steps = 1,
    ours = function()
      os.remove(folder .. "/checkpoints/verified")
      local begin = ml.clock()
      assert(assert(checkpoint.open(folder .. "/checkpoints")):newest())
      return ml.clock() - begin
    end,
  }
end

return {
  doc = "steps through an engine, and a checkpoint of 1 GiB; peers are a bare loop, a copy and dd",
  run = run,
}
