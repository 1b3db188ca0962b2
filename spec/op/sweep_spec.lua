-- Every operation card, swept: CPU against reference, gradients against finite differences.
--
-- The cases are in the cards (`sweep`, `domain`, `tol`). An operation that has no case fails here,
-- so a new card cannot come without one.
local ml = require "mlua"

local sweep = require "spec.support.sweep"

local cards, draw, arguments, call = sweep.cards(), sweep.draw, sweep.arguments, sweep.call
local differentiable = sweep.differentiable

local function flat(t)
  if t:dtype() == "bool" then t = t:to("u8") end
  return t:clone():reshape(-1):totable()
end

-- max|a - b| over max|b|, at least 1 so that results near zero compare absolutely
local function distance(a, b)
  local worst, scale = 0, 1
  for i = 1, #b do
    worst, scale = math.max(worst, math.abs(a[i] - b[i])), math.max(scale, math.abs(b[i]))
    if a[i] ~= a[i] and b[i] == b[i] then return math.huge end
  end
  return worst / scale
end

local function with_reference(fn, ...)
  local before = ml.reference(true)
  local ok, a, b = pcall(fn, ...)
  ml.reference(before)
  if not ok then error(a, 0) end
  return a, b
end

-- The loss sum(y * c) for a fixed random c makes every output count differently.
local function loss_of(card, args)
  local y = call(card, args)
  local c = draw(y:shape(), "f32", nil, 999, false):to(y:dtype())
  return (y * c):sum()
end

local function gradients(card, args, floats)
  local leaves = {}
  for i, f in ipairs(floats) do
    leaves[i] = f.list[f.at]:clone():requires_grad()
    f.list[f.at] = leaves[i]
  end
  loss_of(card, args):backward()
  return leaves
end

local function each_case(card, fn)
  for n, case in ipairs(card.sweep) do fn(case, "case " .. n) end
end

describe("operation", function()
  for _, card in ipairs(cards) do
    describe(card.name, function()
      if card.needs and not sweep.have(card.needs) then
        pending(card.needs .. " is not installed")
        return
      end
      it("has cases, a tolerance and a sentence", function()
        assert.is_true(card.sweep and #card.sweep > 0 and card.tol ~= nil and card.doc ~= nil)
      end)

      it("computes on the CPU what the f64 reference computes, also for strided inputs", function()
        each_case(card, function(case, label)
          for _, strided in ipairs { false, true } do
            local args32 = arguments(card, case, "f32", strided)
            local args64 = {}
            for i = 1, #card.arg do -- the same values, widened
              local a = args32[i]
              if ml.is_tensor(a) then
                args64[i] = a:dtype() == "f32" and a:to("f64") or a
              elseif type(a) == "table" then
                args64[i] = {}
                for k, t in ipairs(a) do args64[i][k] = t:to("f64") end
              else
                args64[i] = a
              end
            end
            local got = call(card, args32)
            local want = with_reference(call, card, args64)
            assert.same(want:shape(), got:shape(), label)
            local d = distance(flat(got), flat(want))
            assert.is_true(d <= card.tol.f32,
              ("%s%s: differs by %g"):format(label, strided and " strided" or "", d))
          end
        end)
      end)

      if card.grad then
        it("has the gradient that finite differences give in f64", function()
          each_case(card, function(case, label)
            if case.slow then return end
            local args, floats = arguments(card, case, "f64", false)
            local wanted = {}
            for _, f in ipairs(floats) do
              if differentiable(card, f.name) then wanted[#wanted + 1] = f end
            end
            local leaves = gradients(card, args, wanted)
            for i, leaf in ipairs(leaves) do
              local grad = leaf:grad()
              local p, analytic, numeric = leaf:data(), grad and flat(grad) or {}, {}
              for k = 0, leaf:count() - 1 do
                local x, h = p[k], 1e-6
                local function at(v)
                  p[k] = v
                  return ml.no_grad(loss_of, card, args):item()
                end
                numeric[k + 1] = (at(x + h) - at(x - h)) / (2 * h)
                p[k] = x
              end
              if leaf:count() > 0 then
                assert.equal(#numeric, #analytic, label .. ": no gradient by " .. wanted[i].name)
                local d = distance(analytic, numeric)
                assert.is_true(d <= 1e-6,
                  ("%s: gradient by %s differs by %g"):format(label, wanted[i].name, d))
              end
            end
          end)
        end)

        it("has the same gradient on the CPU as by the reference", function()
          each_case(card, function(case, label)
            local function all(dtype)
              local args, floats = arguments(card, case, dtype, false)
              local wanted = {}
              for _, f in ipairs(floats) do
                if differentiable(card, f.name) then wanted[#wanted + 1] = f end
              end
              if dtype == "f64" then -- the f32 values, widened, so that both see the same numbers
                local _, from = arguments(card, case, "f32", false)
                for i, f in ipairs(floats) do f.list[f.at] = from[i].list[from[i].at]:to("f64") end
              end
              return gradients(card, args, wanted)
            end
            local got, want = all "f32", with_reference(all, "f64")
            for i = 1, #want do
              if want[i]:count() > 0 then
                local d = distance(flat(got[i]:grad()), flat(want[i]:grad()))
                assert.is_true(d <= 4 * card.tol.f32,
                  ("%s: gradient #%d differs by %g"):format(label, i, d))
              end
            end
          end)
        end)
      end
    end)
  end
end)
