--- Embedding bags of a large model: forward; and forward, backward and the SGD update of the rows.
local ml = require "mlua"
local machine = require "frame.machine"

local TABLES, ROWS, DIM, LOOKUPS, BATCH = 8, 1000000, 64, 100, 2048
local STEPS = 2

local function run(bench)
  local per_table = BATCH * LOOKUPS
  local tables = ml.nn.TableCollection.new {
    rows = (function(t) for i = 1, TABLES do t[i] = ROWS end return t end) {}, dim = DIM, seed = 1,
  }
  local optimiser = ml.optim.sgd(tables, { lr = 0.1 })
  local steps = bench:total(STEPS)
  local ids = ml.empty(steps, TABLES, per_table, { dtype = "i64" })
  ml.scope(function()
    for k = 1, steps do
      ids:select(1, k):copy(ml.uniform(0, ROWS, TABLES, per_table,
        { dtype = "f64", seed = 7, stream = k }))
    end
  end)
  local gradient = ml.randn(BATCH, DIM, { seed = 7 })
  local path = bench:folder() .. "/ids.safetensors"
  assert(ml.safetensors.save(path, { ids = ids, gradient = gradient }))

  local batches = {}
  for k = 1, steps do batches[k] = ids:select(1, k):reshape(-1) end
  local offsets = ml.empty(TABLES * BATCH + 1, { dtype = "i64" })
  for i = 0, TABLES * BATCH do offsets:data()[i] = i * LOOKUPS end
  local of_all = gradient:unsqueeze(2):expand(BATCH, TABLES, DIM):contiguous()

  local rows = TABLES * per_table * DIM * 4
  local function measure(work, bytes, one)
    local bound, bound_by = machine.bound(0, bytes)
    bench:measure {
      name = "embedding_bags/" .. work, unit = "ms", steps = STEPS,
      bound = bound, bound_by = bound_by,
      ours = function(first, n)
        for k = first, first + n - 1 do ml.scope(one, batches[k % steps + 1]) end
      end,
      peer = { "embedding_bags", {
        data = path, rows = ROWS, dim = DIM, tables = TABLES, batch = BATCH, work = work,
      } },
    }
  end
  measure("forward", rows, function(b)
    ml.no_grad(tables.forward, tables, b, offsets)
  end)
  measure("train", 3 * rows, function(b)
    -- The sum of outputs times a constant: its gradient is that constant.
    optimiser:step((tables:forward(b, offsets) * of_all):sum())
  end)
end

return {
  doc = "embedding bags, 8 tables of 1 M x 64, 100 ids each, batch 2048: forward, and an SGD step",
  run = run,
}
