--- Element-wise operations, reductions and optimisers' steps on tensors larger than the caches,
-- against a copy's bandwidth.
local ml = require "mlua"
local machine = require "frame.machine"

local ROWS, WIDTH = 8192, 2048
local STEPS = 24 -- of some 5 ms: the first after a rest takes twice as long, on both sides

-- Bytes an element moves. into: the results go into memory that is there, as PyTorch's out=.
local cases = {
  { name = "add", bytes = 12, into = true, op = "add", two = true },
  { name = "mul by a row", bytes = 8, into = true, op = "mul", row = true },
  { name = "relu", bytes = 8, into = true, op = "relu" },
  { name = "exp", bytes = 8, into = true, op = "exp" },
  { name = "gelu", bytes = 8, into = true, op = "gelu" },
  { name = "sigmoid", bytes = 8, into = true, op = "sigmoid" },
  { name = "add to a new tensor", bytes = 12, two = true,
    run = function(x, y) return x + y end },
  { name = "sum", bytes = 4, run = function(x) return x:sum() end },
  { name = "sum of columns", bytes = 4, run = function(x) return x:sum(1) end },
  { name = "sum of rows", bytes = 4, run = function(x) return x:sum(2) end },
  { name = "max of rows", bytes = 4, run = function(x) return x:max(2) end },
  { name = "variance of rows", bytes = 4, run = function(x) return x:var(2) end },
  { name = "argmax of rows", bytes = 4, run = function(x) return x:argmax(2) end },
}

-- Bytes an element moves: weight, gradient and states read, weight and states written.
local optimisers = {
  { name = "sgd", bytes = 12, make = function(p) return ml.optim.sgd(p, { lr = 1e-3 }) end },
  { name = "momentum", bytes = 20,
    make = function(p) return ml.optim.sgd(p, { lr = 1e-3, momentum = 0.9 }) end },
  { name = "adam", bytes = 28, make = function(p) return ml.optim.adam(p, { lr = 1e-3 }) end },
  { name = "adamw", bytes = 28, make = function(p) return ml.optim.adamw(p, { lr = 1e-3 }) end },
}

local function run(bench)
  local count = ROWS * WIDTH
  local x, y = ml.randn(ROWS, WIDTH, { seed = 1 }), ml.randn(ROWS, WIDTH, { seed = 2 })
  local row, out = ml.randn(WIDTH, { seed = 3 }), ml.zeros(ROWS, WIDTH)
  local function measure(name, bytes, step)
    local bound, bound_by = machine.bound(0, count * bytes)
    bench:measure {
      name = "ops/" .. name, unit = "ms", steps = STEPS, bound = bound, bound_by = bound_by,
      ours = function(_, steps)
        for _ = 1, steps do ml.scope(step) end
      end,
      peer = { "ops", { name = (name:gsub(" ", "_")), rows = ROWS, width = WIDTH } },
    }
  end
  for _, case in ipairs(cases) do
    local other = case.two and y or case.row and row or nil
    local f = case.into and ml[case.op]
    measure(case.name, case.bytes, function()
      if f then ml.into(out, f, x, other) else case.run(x, other) end
    end)
  end
  for _, case in ipairs(optimisers) do
    local p = ml.zeros(ROWS, WIDTH):requires_grad()
    p:set_grad(y)
    local opt = case.make { p }
    measure(case.name, case.bytes, function() opt:step() end)
  end
end

return {
  doc = "element-wise operations, reductions and optimisers' steps of 64 MB, against bandwidth",
  run = run,
}
