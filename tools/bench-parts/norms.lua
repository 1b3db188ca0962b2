--- Softmax, norms and cross-entropy on tensors larger than the caches, against a copy's bandwidth.
local ml = require "mlua"
local machine = require "frame.machine"

local ROWS, WIDTH = 8192, 2048 -- and as [64, 256, 32 x 32]
local IMAGES, CHANNELS, SIDE = 64, 256, 32
local STEPS = 4

-- Bytes an element moves: forward; and forward with backward, from a given gradient.
local cases = {
  { name = "softmax", forward = 8, train = 20, run = function(x) return ml.softmax(x, -1) end },
  { name = "log_softmax", forward = 8, train = 20,
    run = function(x) return ml.log_softmax(x, -1) end },
  { name = "layer_norm", forward = 8, train = 20, parameters = WIDTH,
    run = function(x, w, b) return ml.layer_norm(x, w, b) end },
  { name = "rms_norm", forward = 8, train = 20, parameters = WIDTH,
    run = function(x, w) return ml.rms_norm(x, w) end },
  { name = "batch_norm", forward = 12, train = 32, images = true, parameters = CHANNELS,
    run = function(x, w, b, mean, var) return ml.batch_norm(x, w, b, mean, var) end },
  { name = "group_norm", forward = 8, train = 20, images = true, parameters = CHANNELS,
    run = function(x, w, b) return ml.group_norm(x, 32, w, b) end },
  { name = "cross_entropy", forward = 4, train = 12, scalar = true,
    run = function(x, _, _, _, _, ids) return ml.cross_entropy(x, ids) end },
  { name = "dropout", forward = 8, train = 16,
    run = function(x) return ml.dropout(x, 0.1) end },
}

local function run(bench)
  local count = ROWS * WIDTH
  local gradient = ml.randn(ROWS, WIDTH, { seed = 1 })
  local ids = ml.uniform(0, WIDTH, ROWS, { seed = 2 }):to("i64")
  for _, case in ipairs(cases) do
    local sizes = case.images and { IMAGES, CHANNELS, SIDE, SIDE } or { ROWS, WIDTH }
    local x = ml.randn(sizes, { seed = 3 }):requires_grad()
    local n, g = case.parameters or 1, gradient:reshape(sizes)
    local w, b = ml.ones(n):requires_grad(), ml.zeros(n):requires_grad()
    local mean, var = ml.zeros(n), ml.ones(n)
    local function forward() ml.no_grad(case.run, x, w, b, mean, var, ids) end
    local function train()
      for _, t in ipairs { x, w, b } do t:zero_grad() end
      case.run(x, w, b, mean, var, ids):backward(not case.scalar and g or nil)
    end
    for i, work in ipairs { "forward", "train" } do
      local bound, bound_by = machine.bound(0, count * case[work])
      bench:measure {
        name = ("norms/%s %s"):format(case.name, work), unit = "ms", steps = STEPS,
        bound = bound, bound_by = bound_by,
        ours = function(_, steps)
          for _ = 1, steps do ml.scope(i == 1 and forward or train) end
        end,
        peer = { "norms", { name = case.name, work = work, rows = ROWS, width = WIDTH,
                            images = IMAGES, channels = CHANNELS, side = SIDE } },
      }
    end
  end
end

return {
  doc = "softmax, norms, cross-entropy and dropout of 64 MB: forward, and with gradients",
  run = run,
}
