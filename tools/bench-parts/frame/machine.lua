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

--- f32 operations per second by all threads: the best that a linear layer of 512 or 1024 reaches.
function M.flops()
  if known.flops then return known.flops end
  known.flops = 0
  for _, n in ipairs { 512, 1024 } do
    local x, w = ml.full(0.5, n, n), ml.full(0.25, n, n)
    local seconds = best(30, function() ml.scope(ml.linear, x, w) end)
    known.flops = math.max(known.flops, 2 * n ^ 3 / seconds)
  end
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
    return compute, ("compute: %.4g MFLOP at the %.0f GFLOP/s of large products"):format(
      operations / 1e6, M.flops() / 1e9)
  end
  return memory, ("memory: %.4g MB at the %.1f GB/s of a copy"):format(bytes / 1e6,
    M.bandwidth() / 1e9)
end

return M
