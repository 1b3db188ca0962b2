--- What this machine can do, measured once per run: the bounds that benches are held against.
-- @module frame.machine
local ml = require "mlua"

local M = {}

local function best(times, f)
  local seconds = math.huge
  for _ = 1, times do
    local begin = ml.clock()
    f()
    seconds = math.min(seconds, ml.clock() - begin)
  end
  return seconds
end

local known = {}

--- Bytes per second, read and written, of copying 256 MB by all threads.
function M.bandwidth()
  known.bandwidth = known.bandwidth or ml.scope(function()
    local n = 32 * 2 ^ 20
    local from, to = ml.zeros(n), ml.zeros(n)
    return 2 * 4 * n / best(5, function() to:copy(from) end)
  end)
  return known.bandwidth
end

--- f32 operations per second of a product of 1024 x 1024 matrices by all threads.
function M.flops()
  known.flops = known.flops or ml.no_grad(ml.scope, function()
    local n = 1024
    local a, b = ml.full(0.5, n, n), ml.full(0.25, n, n)
    return 2 * n ^ 3 / best(20, function() ml.scope(function() ml.matmul(a, b) end) end)
  end)
  return known.flops
end

--- The larger of the times that operations and bytes take, and what it is in words.
-- @tparam number operations
-- @tparam ?number bytes  to and from memory
-- @treturn number  seconds
-- @treturn string
function M.bound(operations, bytes)
  local compute = operations / M.flops()
  local memory = bytes and bytes / M.bandwidth() or 0
  if compute >= memory then
    return compute, ("compute: %.4g MFLOP at the %.0f GFLOP/s of sgemm 1024"):format(
      operations / 1e6, M.flops() / 1e9)
  end
  return memory, ("memory: %.4g MB at the %.1f GB/s of a copy"):format(bytes / 1e6,
    M.bandwidth() / 1e9)
end

return M
