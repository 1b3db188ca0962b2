--- A captured training step beside the plain one: DLRM at batch 2, the recipe's default model and
-- the Criteo Kaggle model. The ratio is plain over replayed, in turn in one process.
local ml = require "mlua"
local DLRM = require "mlua.nn.dlrm"
local clicks_like = require "frame.clicks_like"

local MODELS = {
  { name = "default model", dense = 4, tables = { 4, 3, 2 }, dim = 2, bottom = { 3 },
    top = { 4, 2 }, lookups = 10, loss = "mse", unit = "µs", steps = 2000 },
  { name = "Kaggle model", dense = 13, dim = 16, bottom = { 512, 256, 64 }, top = { 512, 256 },
    tables = { 1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194,
      27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572 },
    loss = "bce", unit = "µs", steps = 400 },
}

local function run(bench)
  for _, m in ipairs(MODELS) do
    local path = ("%s/capture-%d.safetensors"):format(bench:folder(), #m.tables)
    local batches = clicks_like.write(path, { steps = 256, batch = 2, tables = m.tables,
      dense = m.dense, lookups = m.lookups })
    os.remove(path)
    local model = DLRM.new { dense = m.dense, tables = m.tables, dim = m.dim, bottom = m.bottom,
      top = m.top, seed = 1 }
    local optimiser, criterion = ml.optim.sgd(model, { lr = 0.01 }), ml[m.loss]
    local function plain(b)
      local loss = criterion(model:forward(b.dense, b.ids, b.offsets), b.label)
      optimiser:step(loss)
      return loss
    end
    local captured = ml.capture(plain)
    local function all(step, first, n)
      for k = first, first + n - 1 do ml.scope(step, batches[k % #batches + 1]) end
    end
    local k = 0
    bench:measure {
      name = "capture/" .. m.name .. ", B 2", unit = m.unit, steps = m.steps,
      ours = function(first, n) all(captured, first, n) end,
      always = true, peer_version = "the plain step",
      peer_run = function()
        local begin = ml.clock()
        all(plain, k, m.steps)
        k = k + m.steps
        return (ml.clock() - begin) / m.steps
      end,
    }
  end
end

return {
  doc = "a captured DLRM step at batch 2 beside the plain one; the peer is the plain step",
  run = run,
}
