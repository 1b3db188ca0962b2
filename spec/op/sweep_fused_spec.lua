-- Updates fused into a backward: each optimiser's step by a loss moves the parameters exactly as
-- far as the gradient alone, followed by the step, does.
local ml = require "mlua"
local step = require "spec.support.step"
local sweep = require "spec.support.sweep"

local OPTIMISERS = { sgd = { lr = 0.5 }, adagrad = { lr = 0.5 }, rwsadagrad = { lr = 0.5 } }
local PARAMETERS = { embedding_bags = "tables", linear = "w" } -- cards whose backward updates

local function card_of(name)
  for _, card in ipairs(sweep.cards()) do
    if card.name == name then return card end
  end
end

-- The parameters after two steps, by a loss that is new for each.
local function trained(card, case, name, fused)
  local args, floats = sweep.arguments(card, case, "f32", false)
  local list = {}
  for _, f in ipairs(floats) do
    if f.name:match "^%w+" == PARAMETERS[card.name] then
      local t = f.list[f.at]:contiguous():clone():requires_grad()
      f.list[f.at] = t
      list[#list + 1] = t
    end
  end
  local opt = ml.optim[name](list, OPTIMISERS[name])
  for k = 1, 2 do
    local y = sweep.call(card, args)
    local loss = (y * sweep.draw(y:shape(), "f32", nil, 900 + k, false)):sum()
    step(opt, loss, fused)
  end
  return list
end

for card_name in pairs(PARAMETERS) do
  local card = card_of(card_name)
  for name in pairs(OPTIMISERS) do
    describe(card_name .. ", fused with " .. name, function()
      for n, case in ipairs(card.sweep) do
        it("is the gradient, then the step: case " .. n, function()
          local apart, fused = trained(card, case, name, false), trained(card, case, name, true)
          assert.is_true(#apart > 0)
          for k, want in ipairs(apart) do
            local off = want:numel() == 0 and 0 or (want - fused[k]):abs():max():item()
            assert.is_true(off <= 1e-5, ("parameter %d differs by %g"):format(k, off))
          end
        end)
      end
    end)
  end
end
