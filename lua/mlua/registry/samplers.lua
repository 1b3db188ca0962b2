--- mlua's samplers. Each is built by (o, n, epoch [, weights]) and is the order in which an epoch,
-- from 0, goes through n samples: a list of positions from 1, as a loader's `order` gives it.
-- @module mlua.registry.samplers
local param = require "mlua.param"
local register = require "mlua.registry".register

local function seed()
  return param.int { 123, min = 0, max = 2 ^ 53, doc = "of the order, with the epoch's number" }
end

-- Ids from 0, of a tensor, as positions from 1.
local function positions(ids)
  local list = ids:totable()
  for i = 1, #list do list[i] = list[i] + 1 end
  return list
end

register("sampler", "sequential", { doc = "as samples stand" }, function(_, n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end)

register("sampler", "shuffled", {
  doc = "each sample once, in another order each epoch",
  seed = seed(),
}, function(o, n, epoch)
  local permutation = require "mlua.tensor.draw".functions.permutation
  return positions(permutation(n, { seed = o.seed, stream = epoch or 0 }))
end)

register("sampler", "weighted", {
  doc = "samples drawn in proportion to weights, which the caller gives",
  count = param.int { min = 1, doc = "how many an epoch has; unless set, as many as there are" },
  replacement = param.bool { true, doc = "a sample may come more than once" },
  seed = seed(),
}, function(o, n, epoch, weights)
  local core, tensor = require "mlua.ffi", require "mlua.tensor"
  if type(weights) == "table" then weights = tensor.of(weights, "f64") end
  if not core.is_tensor(weights) or weights:count() ~= n then
    core.bad(3, "weighted", "weights: expected %d numbers, got %s", n, tostring(weights))
  end
  return positions(weights:reshape(n):multinomial(o.count or n,
    { replacement = o.replacement, seed = o.seed, stream = epoch or 0 }))
end)
