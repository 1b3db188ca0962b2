--- Batches of random clicks for DLRM, and the same on disk for the peer.
--
-- Every step has a batch of its own; ids are uniform over the whole tables.
-- @module frame.clicks_like
local ml = require "mlua"

local M = {}

-- Whole numbers 0 to n - 1 in `count` places from `at` on.
local function draw(ids, at, count, n, stream)
  if count == 0 then return end
  local x = ml.uniform(0, n, count, { dtype = "f64", seed = 7, stream = stream })
  ids:narrow(1, at + 1, at + count):copy(x)
end

--- Batches, and the file that tools/peers/dlrm.py reads.
-- @tparam string path
-- @tparam table o  steps, batch, tables (rows of each), dense (width); lookups: most ids of a bag,
--   whose lengths are then 1 to lookups (default: one id each, and no offsets)
-- @treturn {table,...}  dense, ids, offsets (nil for one id each), label
function M.write(path, o)
  local steps, batch, n_tables = o.steps, o.batch, #o.tables
  local bags = n_tables * batch
  local dense = ml.rand(steps, batch, o.dense, { seed = 7, stream = 1 })
  local label = ml.rand(steps, batch, 1, { seed = 7, stream = 2 }):to("f32")
  local lengths = ml.ones(steps, n_tables, batch, { dtype = "i64" })
  if o.lookups then
    lengths:copy(ml.uniform(1, o.lookups + 1, steps, n_tables, batch,
      { dtype = "f64", seed = 7, stream = 3 }))
  end
  local length, total = lengths:data(), 0
  for i = 0, steps * bags - 1 do total = total + tonumber(length[i]) end
  local ids = ml.empty(total, { dtype = "i64" })
  local batches, at = {}, 0
  for k = 1, steps do
    local first, offsets = at, nil
    local starts = ml.empty(bags + 1, { dtype = "i64" })
    local to = starts:data()
    for t = 1, n_tables do
      local from = at
      for b = 0, batch - 1 do
        to[(t - 1) * batch + b] = at - first
        at = at + tonumber(length[(k - 1) * bags + (t - 1) * batch + b])
      end
      draw(ids, from, at - from, o.tables[t], 100 + k * n_tables + t)
    end
    to[bags] = at - first
    if o.lookups then offsets = starts end
    batches[k] = {
      dense = dense:select(1, k), label = label:select(1, k), offsets = offsets,
      ids = ids:narrow(1, first + 1, at),
    }
  end
  local d = label:data()
  for i = 0, steps * batch - 1 do d[i] = d[i] < 0.25 and 1 or 0 end
  assert(ml.safetensors.save(path, { dense = dense, label = label, lengths = lengths, ids = ids }))
  return batches
end

return M
