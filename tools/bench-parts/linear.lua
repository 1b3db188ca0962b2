--- relu(x wT + b) at the shapes of DLRM's layers and larger ones: for tuning.
local ml = require "mlua"
local machine = require "frame.machine"

local shapes = { -- batch, inputs, outputs
  { 2, 512, 256 }, { 2, 367, 512 }, { 128, 13, 512 }, { 128, 512, 256 }, { 128, 367, 512 },
  { 2048, 13, 512 }, { 2048, 512, 256 }, { 2048, 367, 512 }, { 2048, 256, 1 }, { 128, 1024, 1024 },
}

local function run(bench)
  for _, shape in ipairs(shapes) do
    local m, k, n = unpack(shape)
    local layer = ml.nn.Linear.new { inputs = k, outputs = n, activation = "relu", seed = 1 }
    local gradient = ml.randn(m, n, { seed = 2 })
    local inputs = {}
    for i = 1, 4 do inputs[i] = ml.randn(m, k, { seed = 3, stream = i }):requires_grad() end
    local operations = 2 * m * k * n
    local steps = math.max(4, math.min(500, math.floor(2e9 / operations)))
    local x
    local function forward() ml.no_grad(layer.forward, layer, x) end
    local function train()
      x:zero_grad()
      layer:zero_grad()
      layer:forward(x):backward(gradient)
    end
    for i, work in ipairs { "forward", "train" } do
      local bound, bound_by = machine.bound((2 * i - 1) * operations)
      bench:measure {
        name = ("linear/%s %dx%dx%d"):format(work, m, k, n), unit = "µs", steps = steps,
        bound = bound, bound_by = bound_by,
        ours = function(first, count)
          for j = first, first + count - 1 do
            x = inputs[j % 4 + 1]
            ml.scope(i == 1 and forward or train)
          end
        end,
        peer = { "linear", { m = m, k = k, n = n, work = work } },
      }
    end
  end
end

return {
  doc = "relu of a linear layer at ten shapes: forward, and forward with all gradients",
  run = run,
}
