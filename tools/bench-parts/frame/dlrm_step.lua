--- One DLRM's training step at several batch sizes: what `dlrm` and `tiny` share.
-- @module frame.dlrm_step
local ml = require "mlua"
local DLRM = require "mlua.nn.dlrm"
local clicks_like = require "frame.clicks_like"
local machine = require "frame.machine"

local M = {}

-- Operations of a step (2 m n per sample and product; backward twice that, but no gradient by the
-- dense input), and bytes of embedding rows: read forward, read and written in the update; none
-- where the tables fit in the caches.
local function work(o, batch)
  local fields = #o.tables + 1
  local widths = { { unpack(o.bottom) }, { o.dim + fields * (fields - 1) / 2, unpack(o.top) } }
  local products = 0
  for _, w in ipairs(widths) do
    for i = 1, #w - 1 do products = products + w[i] * w[i + 1] end
  end
  products = products + fields * (fields - 1) / 2 * o.dim
  local operations = 2 * batch * (3 * products - o.bottom[1] * o.bottom[2])
  local size = 0
  for _, n in ipairs(o.tables) do size = size + 4 * n * o.dim end
  if size < 2 ^ 20 then return operations end
  local rows = batch * #o.tables * (o.lookups and (1 + o.lookups) / 2 or 1)
  return operations, 3 * rows * math.max(64, 4 * o.dim)
end

--- Measure o's training step.
-- @tparam Bench bench
-- @tparam table o  name; dim, tables; bottom, top, with input and output widths as the public
--   program has them; loss; lr; lookups; batches, a list of { batch, steps of a round, unit }
function M.run(bench, o)
  local model = DLRM.new {
    dense = o.bottom[1], tables = o.tables, dim = o.dim,
    bottom = { unpack(o.bottom, 2, #o.bottom - 1) },
    top = { unpack(o.top, 1, #o.top - 1) }, seed = 1,
  }
  local optimiser = ml.optim.sgd(model, { lr = o.lr })
  local criterion = o.loss == "bce" and ml.bce or ml.mse
  for _, case in ipairs(o.batches) do
    local batch, steps, unit = unpack(case)
    local path = ("%s/%s-%d.safetensors"):format(bench:folder(), o.name, batch)
    local batches = clicks_like.write(path, {
      steps = bench:total(steps), batch = batch, tables = o.tables, dense = o.bottom[1],
      lookups = o.lookups,
    })
    local b
    local function step()
      optimiser:step(criterion(model:forward(b.dense, b.ids, b.offsets), b.label))
    end
    local operations, bytes = work(o, batch)
    local bound, bound_by = machine.bound(operations, bytes)
    bench:measure {
      name = ("%s/B %d"):format(o.name, batch), unit = unit, steps = steps,
      ours = function(first, n)
        for k = first, first + n - 1 do
          b = batches[k % #batches + 1]
          ml.scope(step)
        end
      end,
      peer = { "dlrm", {
        data = path, dim = o.dim, tables = table.concat(o.tables, ","), loss = o.loss, lr = o.lr,
        bottom = table.concat(o.bottom, ","), top = table.concat(o.top, ","),
      } },
      bound = bound, bound_by = bound_by,
    }
    os.remove(path)
  end
end

return M
