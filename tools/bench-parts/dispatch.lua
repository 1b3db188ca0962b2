--- What one small operation costs: x + y of a few elements, with and without a gradient.
local ml = require "mlua"

local SIZE, STEPS, IN_SCOPE = 4, 200000, 100

local function run(bench)
  local y = ml.ones(SIZE)
  local leaf = ml.ones(SIZE):requires_grad()
  local plain = ml.ones(SIZE)
  local add = ml.add

  local function burst(x)
    for _ = 1, IN_SCOPE do add(x, y) end
  end
  local function measure(name, work, x, body)
    bench:measure {
      name = "dispatch/" .. name, unit = "ns", steps = STEPS, ours = function(_, n) body(x, n) end,
      peer = { "dispatch", { size = SIZE, work = work } },
    }
  end
  -- As in a training step: a scope takes the results back.
  local function scoped(x, n)
    for _ = 1, n / IN_SCOPE do ml.scope(burst, x) end
  end
  -- Loose: every result carries a finaliser, and the collector takes it back.
  local function loose(x, n)
    for _ = 1, n do add(x, y) end
  end
  measure("add in a scope", "plain", plain, scoped)
  measure("add with gradient in a scope", "gradient", leaf, scoped)
  measure("add", "plain", plain, loose)
  measure("add with gradient", "gradient", leaf, loose)
  if jit.status() then
    jit.off()
    jit.flush()
    measure("add in a scope, interpreted", "plain", plain, scoped)
    jit.on()
  end
end

return {
  doc = "one small add: in a scope and loose, with and without gradient, compiled and interpreted",
  run = run,
}
