--- What one small operation costs: x + y of a few elements, and a small layer with its backward.
--
-- "with gradient" is the sum computed and put on the tape; "and back" is that and its backward,
-- which adds to x's gradient. The layer is relu(x w' + b) of [4, 8] and [8, 8], summed, and the
-- backward that adds to the gradients of w and b.
local ml = require "mlua"

local SIZE, STEPS, IN_SCOPE = 4, 200000, 100

local function run(bench)
  local y = ml.ones(SIZE)
  local leaf = ml.ones(SIZE):requires_grad()
  local plain = ml.ones(SIZE)
  local add, linear = ml.add, ml.op.linear
  local gradient = ml.ones(SIZE)
  local x = ml.randn(4, 8, { seed = 1, stream = 1 })
  local w = ml.randn(8, 8, { seed = 1, stream = 2 }):requires_grad()
  local b = ml.randn(8, { seed = 1, stream = 3 }):requires_grad()

  local works = {
    plain = function() add(plain, y) end,
    gradient = function() add(leaf, y) end,
    back = function() add(leaf, y):backward(gradient) end,
    layer = function() linear(x, w, b, "relu"):sum():backward() end,
  }
  local function measure(name, work, way, steps)
    bench:measure {
      name = "dispatch/" .. name, unit = "ns", steps = steps or STEPS,
      ours = function(_, n) way(works[work], n) end,
      peer = { "dispatch", { size = SIZE, work = work } },
    }
  end
  local function burst(one)
    for _ = 1, IN_SCOPE do one() end
  end
  -- As in a training step: a scope takes the results back.
  local function scoped(one, n)
    for _ = 1, n / IN_SCOPE do ml.scope(burst, one) end
  end
  -- Loose: the collector takes every result back.
  local function loose(one, n)
    for _ = 1, n do one() end
  end
  for _, row in ipairs {
    { "add", "plain" }, { "add with gradient", "gradient" }, { "add and back", "back", 50000 },
    { "linear, relu, sum and back", "layer", 50000 },
  } do
    measure(row[1] .. " in a scope", row[2], scoped, row[3])
    measure(row[1], row[2], loose, row[3])
  end
  if jit.status() then
    jit.off()
    jit.flush()
    measure("add in a scope, interpreted", "plain", scoped)
    jit.on()
  end
end

return {
  doc = "one small add, one small layer: in a scope and loose, with and without gradient",
  run = run,
}
