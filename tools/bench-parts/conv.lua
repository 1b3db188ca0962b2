--- Convolutions of a ResNet at batch 16, forward and with all gradients, and its pools.
local ml = require "mlua"
local machine = require "frame.machine"

local BATCH = 16
local layers = { -- channels in, out; rows and columns; kernel; stride; groups
  { 3, 64, 224, 7, 2, 1 }, { 64, 64, 56, 3, 1, 1 }, { 64, 256, 56, 1, 1, 1 },
  { 128, 128, 28, 3, 1, 1 }, { 512, 128, 28, 1, 1, 1 }, { 256, 256, 14, 3, 1, 1 },
  { 512, 512, 7, 3, 1, 1 }, { 512, 2048, 7, 1, 1, 1 }, { 128, 128, 28, 3, 1, 128 },
}

local function layer(bench, c, o, size, kernel, stride, groups)
  local options = { stride = stride, padding = (kernel - 1) / 2, groups = groups }
  local w = ml.randn(o, c / groups, kernel, kernel, { seed = 1 }):requires_grad()
  local b = ml.randn(o, { seed = 2 }):requires_grad()
  local x = ml.randn(BATCH, c, size, size, { seed = 3 })
  if c > 3 then x:requires_grad() end -- a network's first layer needs no gradient by its input
  local g = ml.randn(BATCH, o, size / stride, size / stride, { seed = 4 })
  local operations = 2 * BATCH * o * c / groups * kernel ^ 2 * (size / stride) ^ 2
  local function forward() ml.no_grad(ml.conv, x, w, b, options) end
  local function train()
    x:zero_grad()
    w:zero_grad()
    b:zero_grad()
    ml.conv(x, w, b, options):backward(g)
  end
  for i, work in ipairs { "forward", "train" } do
    local bound, bound_by = machine.bound((i == 1 and 1 or c > 3 and 3 or 2) * operations)
    bench:measure {
      name = ("conv/%s %d-%d %dx%d, %dx%d%s%s"):format(work, c, o, kernel, kernel, size, size,
        stride > 1 and " / " .. stride or "", groups > 1 and " by channel" or ""),
      unit = "ms", steps = 4, bound = bound, bound_by = bound_by,
      ours = function(_, n)
        for _ = 1, n do ml.scope(i == 1 and forward or train) end
      end,
      peer = { "conv", { batch = BATCH, inputs = c, outputs = o, size = size, kernel = kernel,
                         stride = stride, groups = groups, work = work } },
    }
  end
end

local function pool(bench, name, f, options)
  local x = ml.randn(BATCH, 64, 112, 112, { seed = 5 }):requires_grad()
  local g = ml.randn(BATCH, 64, 56, 56, { seed = 6 })
  bench:measure {
    name = "conv/train " .. name .. ", 64 channels 112x112 / 2", unit = "ms", steps = 4,
    ours = function(_, n)
      for _ = 1, n do
        ml.scope(function()
          x:zero_grad()
          f(x, 3, options):backward(g)
        end)
      end
    end,
    peer = { "conv", { batch = BATCH, inputs = 64, outputs = 64, size = 112, kernel = 3, stride = 2,
                       groups = 1, work = name } },
  }
end

local function run(bench)
  for _, l in ipairs(layers) do layer(bench, unpack(l)) end
  pool(bench, "max_pool", ml.max_pool, { stride = 2, padding = 1 })
  pool(bench, "avg_pool", ml.avg_pool, { stride = 2, padding = 1 })
end

return {
  doc = "convolutions and pools of a ResNet at batch 16: forward, and forward with all gradients",
  run = run,
}
