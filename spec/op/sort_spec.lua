-- Sorting: order, stability and NaN by hand, every dtype and length against plain comparison, and
-- gradients.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local torch = require "spec.support.torch"

local nan, huge = 0 / 0, math.huge

-- The positions of a list's elements in order: equal ones as they were, NaN the largest.
local function plain_order(list, descending)
  local ids = {}
  for i = 1, #list do ids[i] = i end
  local function below(a, b)
    if a ~= a or b ~= b then return a == a and b ~= b end
    return a < b
  end
  table.sort(ids, function(i, j)
    local a, b = list[i], list[j]
    if descending then a, b = b, a end
    if below(a, b) then return true end
    return not below(b, a) and i < j
  end)
  for i = 1, #ids do ids[i] = ids[i] - 1 end
  return ids
end

describe("argsort", function()
  it("keeps equal elements in their order, rising and falling", function()
    local x = ml.tensor { 3, 1, 3, 2, 1 }
    assert.same({ 1, 4, 3, 0, 2 }, x:argsort():totable())
    assert.same({ 0, 2, 3, 1, 4 }, x:argsort(1, true):totable())
  end)

  it("counts NaN as the largest, and -0 as 0", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local x = ml.tensor({ 0, nan, -huge, -0.0, huge, -nan, 1 }, dtype)
      assert.same({ 2, 0, 3, 6, 4, 1, 5 }, x:argsort():totable())
      assert.same({ 1, 5, 4, 6, 0, 3, 2 }, x:argsort(-1, true):totable())
    end
  end)

  it("orders every dtype and any length as plain comparison does", function()
    for _, dtype in ipairs { "f64", "f32", "i64", "i32", "u8", "bool" } do
      for _, n in ipairs { 1, 2, 48, 49, 700 } do
        local lo = (dtype == "u8" or dtype == "bool") and 0 or -40
        local x = ml.randint(lo, dtype == "bool" and 2 or 41, n,
          { dtype = dtype == "bool" and "u8" or dtype, seed = 3, stream = n })
        if dtype:match("^f") then x = x * 1e3 end
        local list = x:totable()
        if dtype == "bool" then x = x:to("bool") end
        assert.same(plain_order(list), x:argsort():totable(), dtype .. " " .. n)
        assert.same(plain_order(list, true), x:argsort(1, true):totable(), dtype .. " " .. n)
      end
    end
  end)

  it("takes the ends of integers", function()
    local x = ml.tensor({ 0, -2 ^ 31, 2 ^ 31 - 1, -1 }, "i32")
    assert.same({ 1, 3, 0, 2 }, x:argsort():totable())
    x = ml.tensor({ 0, -2 ^ 53, 2 ^ 53, -1 }, "i64")
    assert.same({ 1, 3, 0, 2 }, x:argsort():totable())
  end)

  it("is the same for any number of threads", function()
    local before = ml.threads()
    local x = ml.randint(0, 9, 64, 1000, { dtype = "i32", seed = 1, stream = 1 })
    ml.threads(1)
    local one = x:argsort(1):totable()
    ml.threads(2)
    assert.same(one, x:argsort(1):totable())
    ml.threads(before)
  end)

  it("refuses an axis that is not there", function()
    assert.equal("argsort: axis 3 of a tensor of 2 axes",
      mistake(function() ml.zeros(2, 2):argsort(3) end))
    assert.equal("bad argument #2 to 'argsort' (descending: expected true or false, got 1)",
      mistake(function() ml.zeros(2):argsort(1, 1) end))
    assert.equal("bad argument #2 to 'argsort' (axis: expected 1 to 2 or negative, got 0)",
      mistake(function() ml.op.argsort(ml.zeros(2, 2), 0) end))
  end)
end)

describe("sort", function()
  it("gives values and positions along an axis", function()
    local v, ids = ml.tensor({ { 3, 1, 2 }, { 0, 5, 4 } }):sort()
    assert.same({ { 1, 2, 3 }, { 0, 4, 5 } }, v:totable())
    assert.same({ { 1, 2, 0 }, { 0, 2, 1 } }, ids:totable())
    v, ids = ml.tensor({ { 3, 1, 2 }, { 0, 5, 4 } }):sort(1, true)
    assert.same({ { 3, 5, 4 }, { 0, 1, 2 } }, v:totable())
    assert.same({ { 0, 1, 1 }, { 1, 0, 0 } }, ids:totable())
  end)

  it("of nothing is nothing", function()
    local v, ids = ml.zeros(0, 3):sort(1)
    assert.same({ 0, 3 }, v:shape())
    assert.equal("i64", ids:dtype())
  end)

  it("sends gradients back to where the values came from", function()
    local x = ml.tensor({ 3, 1, 2 }):requires_grad()
    local v = x:sort();
    (v * ml.tensor { 10, 20, 30 }):sum():backward()
    assert.same({ 30, 10, 20 }, x:grad():totable())
  end)
end)

describe("topk", function()
  it("gives the largest, the first of equal ones first, or the smallest", function()
    local x = ml.tensor { 1, 5, 3, 5, nan, 2 }
    local v, ids = x:topk(3)
    assert.same({ 4, 1, 3 }, ids:totable())
    assert.same({ 5, 5 }, v[{ { 2, 3 } }]:totable())
    v, ids = x:topk(2, 1, false)
    assert.same({ 1, 2 }, v:totable())
    assert.same({ 0, 5 }, ids:totable())
    assert.same({ 0 }, x:topk(0):shape())
  end)

  it("is the beginning of the whole order, of any length and k", function()
    for _, n in ipairs { 60, 600, 5000 } do
      for _, k in ipairs { 1, 7, 60 } do
        for _, falling in ipairs { false, true } do
          for _, dtype in ipairs { "i32", "i64" } do
            local x = ml.randint(0, 900, n, { dtype = dtype, seed = k, stream = n })
            local _, ids = x:topk(k, 1, falling)
            assert.same(x:argsort(1, falling)[{ { 1, k } }]:totable(), ids:totable())
            local rising = ml.arange(n, dtype) -- every element passes the bar of those before it
            _, ids = rising:topk(k, 1, true)
            assert.equal(n - 1, ids:at(1))
            assert.equal(n - k, ids:at(k))
          end
        end
      end
    end
  end)

  it("has gradients of the values", function()
    local x = ml.tensor({ { 1, 4, 2 }, { 9, 7, 8 } }):requires_grad()
    x:topk(2):sum():backward()
    assert.same({ { 0, 1, 1 }, { 1, 0, 1 } }, x:grad():totable())
  end)

  it("refuses more than there are", function()
    assert.equal("bad argument #1 to 'topk' (k: expected 0 to 3, got 4)",
      mistake(function() ml.zeros(3):topk(4) end))
    assert.equal("bad argument #2 to 'topk_ids' (k: expected 0 to 3, got -1)",
      mistake(function() ml.op.topk_ids(ml.zeros(3), -1) end))
  end)
end)

describe("kthvalue and median", function()
  it("count from the smallest, from 1", function()
    local x = ml.tensor { { 5, 1, 3 }, { 2, 2, 9 } }
    local v, ids = x:kthvalue(2)
    assert.same({ 3, 2 }, v:totable())
    assert.same({ 2, 1 }, ids:totable())
    assert.same({ { 5 }, { 9 } }, (x:kthvalue(3, 2, true)):totable())
    assert.equal("bad argument #1 to 'kthvalue' (k: expected 1 to 3, got 4)",
      mistake(function() x:kthvalue(4) end))
  end)

  it("the lower one of two in the middle, and NaN where there is one", function()
    assert.equal(2, ml.tensor({ 4, 1, 3, 2 }):median():item())
    local v, ids = ml.tensor({ { 1, nan, 0 }, { 5, 6, 4 } }):median(2)
    assert.is_true(v:at(1) ~= v:at(1))
    assert.equal(5, v:at(2))
    assert.same({ 1, 0 }, ids:totable())
    assert.equal(3, ml.tensor({ 7, 1, 3 }, "i64"):median():item())
    assert.equal("median: axis 1 is empty", mistake(function() ml.zeros(0):median() end))
  end)

  it("has the gradient of the one that it is", function()
    local x = ml.tensor({ 4, 1, 3, 2 }):requires_grad()
    x:median():backward()
    assert.same({ 0, 0, 0, 1 }, x:grad():totable())
  end)
end)

describe("order beside PyTorch", function()
  local got = torch.run [[
g = torch.Generator().manual_seed(1)
x = (torch.randn(3, 400, generator=g) * 8).round() / 4
x[0, 5] = float('nan'); x[1, 7] = float('inf'); x[2, 3] = -0.0
result["x"] = [[repr(float(v)) for v in row] for row in x]
for falling in (False, True):
    result["ids%d" % falling] = torch.sort(x, dim=1, descending=falling, stable=True)[1]
result["axis"] = torch.sort(x, dim=0, stable=True)[1]
y = x[1:, :40].clone().requires_grad_()
(torch.sort(y, dim=1, stable=True)[0] * torch.arange(40.)).sum().backward()
result["grad"] = y.grad
m = torch.randn(5, 9, generator=g)
result["m"] = m
result["median"], result["median_at"] = torch.median(m, 1)
result["third"] = torch.kthvalue(m, 3, 0)[0]
]]
  if not got then
    pending("python3-torch is not installed")
    return
  end
  for i, row in ipairs(got.x) do
    for k, v in ipairs(row) do got.x[i][k] = tonumber(v) end
  end
  local x = ml.tensor(got.x)

  it("is the same, with NaN, infinity and equal elements", function()
    assert.same(got.ids0, x:argsort(2):totable())
    assert.same(got.ids1, x:argsort(2, true):totable())
    assert.same(got.axis, x:argsort(1):totable())
    assert.same(got.ids0, x:to("f64"):argsort(2):totable())
  end)

  it("has the same gradient", function()
    local y = x[{ { 2, 3 }, { 1, 40 } }]:clone():requires_grad()
    local v = y:sort();
    (v * ml.arange(40, "f32")):sum():backward()
    assert.same(got.grad, y:grad():totable())
  end)

  it("has the same medians and k-th values", function()
    local m = ml.tensor(got.m)
    local v, at = m:median(2)
    assert.same(got.median, v:totable())
    assert.same(got.median_at, at:totable())
    assert.same(got.third, (m:kthvalue(3, 1)):totable())
  end)
end)
