-- The sweep's edges, for every card: f64 by its own kernels, integers against f64, equal elements,
-- zeros, infinities and NaN, and elements at the ends of what integers hold.
local ml = require "mlua"
local sweep = require "spec.support.sweep"

local arguments, call = sweep.arguments, sweep.call

local function flat(t)
  if t:dtype() == "bool" then t = t:to("u8") end
  return t:reshape(-1):totable()
end

local function by_reference(card, args)
  ml.reference(true)
  local ok, y = pcall(call, card, args)
  ml.reference(false)
  return ok, y
end

-- The dtypes that the swept arguments take.
local function takes(card, dtype)
  local any = false
  for _, a in ipairs(card.arg) do
    local dtypes = "|" .. a[2]:gsub("^list ", ""):gsub("%[.*", "") .. "|"
    if dtypes:find("|f32|", 1, true) then
      any = true
      if not dtypes:find("|" .. dtype .. "|", 1, true) then return false end
    end
  end
  return any
end

-- Arguments of a case whose swept tensors are made by fn from those of the sweep.
local function made(card, case, dtype, fn)
  local args, floats = arguments(card, case, dtype, false)
  for k, f in ipairs(floats) do f.list[f.at] = fn(f.list[f.at], k) end
  return args, floats
end

-- Elements of t with every n-th replaced by the values in turn.
local function sprinkled(t, n, values)
  t = t:clone()
  local v, k = t:reshape(-1), 0
  for i = 1, v:count(), n do
    v:put(values[k % #values + 1], i)
    k = k + 1
  end
  return t
end

-- loose: an infinity may be NaN to the other, as where one multiplies it with a padding's 0.
local function same(a, b, tolerance, loose)
  if loose and a - a ~= 0 and b - b ~= 0 then return true end
  if a ~= a or b ~= b then return a ~= a and b ~= b end
  return a == b or math.abs(a - b) <= tolerance * math.max(1, math.abs(b))
end

-- The reference's result and the CPU's: both fail, or agree in every element.
local function agree(card, args, tolerance, label, loose)
  local ok, y = pcall(call, card, args)
  local ref_ok, want = by_reference(card, args)
  assert.equal(ref_ok, ok, label .. ": one of the two fails: " .. tostring(ok and want or y))
  if not ok then return end
  local a, b = flat(y), flat(want)
  for i = 1, #b do
    if not same(a[i], b[i], tolerance, loose) then
      error(("%s: element %d: %.17g, and %.17g by the reference"):format(label, i, a[i], b[i]), 0)
    end
  end
end

local function each_case(card, fn)
  for n, case in ipairs(card.sweep) do
    if not case.slow then fn(case, "case " .. n) end
  end
end

local HUGE, NAN = math.huge, 0 / 0
-- Integers of which f64 holds every product.
local SMALL = {
  i64 = { 7, -7, -1, 0, 1, 3, -3, -2 ^ 31, 2 ^ 31 - 1, 2, -2 }, u8 = { 7, 0, 1, 255, 3, 254, 2 },
}
SMALL.i32 = SMALL.i64

-- The list begun further along, and in longer steps, by its number: all pairs come up.
local function turned(list, k)
  local other = {}
  for i = 1, #list do other[i] = list[(i * (2 * k - 1) + 3 * k) % #list + 1] end
  return other
end

-- A case with whole numbers.
local function whole(case)
  local other = {}
  for k, v in pairs(case) do other[k] = type(v) == "number" and math.floor(v) or v end
  return other
end

local LIMITS = { i64 = { -2 ^ 62, 2 ^ 62 }, i32 = { -2 ^ 31, 2 ^ 31 - 1 }, u8 = { 0, 255 } }

describe("at the edges,", function()
  for _, card in ipairs(sweep.cards()) do
    describe(card.name, function()
      it("computes f64 as the reference does", function()
        each_case(card, function(case, label)
          agree(card, (arguments(card, case, "f64", true)), 1e-12, label)
        end)
      end)

      local function at_the_edges()
        each_case(card, function(case, label)
          for name, fn in pairs {
            ties = function(t) return t:round() end,
            infinities = function(t) return sprinkled(t, 3, { HUGE, 0, -HUGE, -0.0 }) end,
            NaN = function(t) return sprinkled(t, 4, { NAN, HUGE }) end,
          } do
            local args = made(card, case, "f32", fn)
            local sums = not card.each -- of products, or a difference of infinities
            agree(card, args, card.tol.f32, label .. " with " .. name, sums)
          end
        end)
      end
      if not card.edges then -- else it says why its results may differ there
        it("treats equal elements, zeros, infinities and NaN as the reference does", at_the_edges)
      end

      for dtype, limits in pairs(LIMITS) do
        if takes(card, dtype) then
          it("computes " .. dtype .. " as f64 where that holds the result", function()
            each_case(card, function(case, label)
              case = whole(case)
              local function drawn(t, k) return (2 * t + k % 2):to(dtype) end
              local function chosen(t, k)
                return sprinkled(t:to(dtype), 1, turned(SMALL[dtype], k))
              end
              for _, narrow in ipairs { drawn, card.each and chosen } do
                local got = flat(call(card, (made(card, case, "f64", narrow))))
                local ok, want = by_reference(card, (made(card, case, "f64", function(t, k)
                  return narrow(t, k):to "f64"
                end)))
                assert.is_true(ok)
                for i, w in ipairs(flat(want)) do
                  if w >= limits[1] and w <= limits[2] then
                    assert.equal(w, got[i], ("%s: element %d"):format(label, i))
                  end
                end
              end
            end)
          end)

          if card.each then
            it("wraps and divides at the ends of " .. dtype .. " as the reference", function()
              each_case(card, function(case, label)
                local ends = { limits[1], limits[2], -1, 0, 1, limits[1] + 1, limits[2] - 1, 2 }
                agree(card, (made(card, whole(case), "f64", function(t, k)
                  return sprinkled(t:to(dtype), 1, turned(ends, k))
                end)), 0, label)
              end)
            end)
          end
        end
      end
    end)
  end
end)

-- Not a card's case: which labels are ignored, and that what lies beside them is no number.
describe("cross_entropy of samples that are ignored", function()
  it("has no gradient, also where their logits are no numbers", function()
    local ids = ml.tensor({ { 0, -1, 2, -1, 1, 0, -1, 2 } }, { dtype = "i64" })
    local x = ml.randn({ 1, 3, 8 }, { seed = 1 })
    for _, at in ipairs { 2, 4, 7 } do
      x[{ 1, 1, at }], x[{ 1, 2, at }], x[{ 1, 3, at }] = 0 / 0, math.huge, -math.huge
    end
    x = x:requires_grad()
    ml.cross_entropy(x, ids, nil, "mean", -1):backward()
    local g = x:grad():totable()[1]
    for class = 1, 3 do
      for at = 1, 8 do
        local there = g[class][at]
        assert.equal(at == 2 or at == 4 or at == 7, there == 0, ("%d, %d"):format(class, at))
        assert.is_true(there == there)
      end
    end
  end)
end)

-- A card's expression at equal elements is the same to the reference and to the kernel: what it is
-- has to be said.
describe("maximum and minimum of equal elements", function()
  it("give each half of the gradient", function()
    local given = ml.tensor { 3, -5, 7, 0.5 }
    for _, name in ipairs { "maximum", "minimum" } do
      local a = ml.tensor({ 2, 4, 2, 0 }):requires_grad()
      local b = ml.tensor({ 2, 1, 8, 0 }):requires_grad()
      ml[name](a, b):backward(given)
      local first, second = { 1.5, -5, 0, 0.25 }, { 1.5, 0, 7, 0.25 }
      if name == "minimum" then
        first, second = { 1.5, 0, 7, 0.25 }, { 1.5, -5, 0, 0.25 }
      end
      assert.same(first, a:grad():totable(), name)
      assert.same(second, b:grad():totable(), name)
    end
  end)
end)

-- The sweep compares results; what a card changes in place is a state.
describe("batch_norm's running statistics", function()
  it("move by the momentum toward the batch's mean and unbiased variance", function()
    local x = ml.tensor { { 1, 10 }, { 3, 14 }, { 5, 18 } } -- means 3, 14; variances 4, 16
    local mean, var = ml.tensor { 1, -2 }, ml.tensor { 2, 8 }
    ml.op.batch_norm(x, ml.tensor { 1, 1 }, ml.tensor { 0, 0 }, mean, var, 0.25, 1e-5)
    assert.same({ 1.5, 2 }, mean:totable())
    assert.same({ 2.5, 10 }, var:totable())
  end)
end)

describe("max_pool where a window has no number", function()
  it("gives that element the gradient", function()
    local x = ml.tensor({ { { 1, 0 / 0, 5, 2, 7, 1 } } }):requires_grad()
    ml.max_pool(x, 3, { stride = 1 }):backward(ml.tensor { { { 1, 2, 4, 8 } } })
    assert.same({ { { 0, 3, 0, 0, 12, 0 } } }, x:grad():totable())
  end)
end)
