-- Every operation card's cases give the same bits for any number of threads, and so do their
-- gradients: what "deterministic" means on the CPU.
local ffi = require "ffi"
local ml = require "mlua"

local sweep = require "spec.support.sweep"

local SIZES = { f64 = 8, f32 = 4, bf16 = 2, f16 = 2, i64 = 8, i32 = 4, u8 = 1, bool = 1 }

local function bits(t)
  t = t:clone():contiguous()
  return ffi.string(ffi.cast("const char *", t:data()), t:count() * SIZES[t:dtype()])
end

-- The bits of a case's result and of its gradients.
local function computed(card, case)
  return ml.scope(function()
    local args, floats = sweep.arguments(card, case, "f32", false)
    local leaves = {}
    for _, f in ipairs(floats) do
      if sweep.differentiable(card, f.name) then
        leaves[#leaves + 1] = f.list[f.at]:clone():requires_grad()
        f.list[f.at] = leaves[#leaves]
      end
    end
    local y = sweep.call(card, args)
    local parts = { bits(y:detach()) }
    if leaves[1] then
      y:backward(sweep.draw(y:shape(), "f32", nil, 999, false):to(y:dtype()))
      for _, leaf in ipairs(leaves) do
        parts[#parts + 1] = leaf:grad() and bits(leaf:grad()) or ""
      end
    end
    return table.concat(parts, "|")
  end)
end

describe("for any number of threads", function()
  local before = ml.threads()
  teardown(function() ml.threads(before) end)

  for _, card in ipairs(sweep.cards()) do
    if not card.needs or sweep.have(card.needs) then
      it(card.name .. " gives the same bits, and so do its gradients", function()
        for n, case in ipairs(card.sweep) do
          ml.threads(1)
          local alone = computed(card, case)
          for _, threads in ipairs { 2, 5 } do
            ml.threads(threads)
            assert.is_true(computed(card, case) == alone,
              ("case %d differs with %d threads"):format(n, threads))
          end
        end
      end)
    end
  end
end)
