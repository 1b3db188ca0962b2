-- Unique values, histograms, counts, lookups: by hand, and beside PyTorch.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local torch = require "spec.support.torch"

local nan, huge = 0 / 0, math.huge

describe("unique", function()
  it("gives each value once, in order, where each was, and how often", function()
    local x = ml.tensor { { 3, 1, 3 }, { 2, 1, 3 } }
    local v, inverse, counts = x:unique { inverse = true, counts = true }
    assert.same({ 1, 2, 3 }, v:totable())
    assert.same({ { 2, 0, 2 }, { 1, 0, 2 } }, inverse:totable())
    assert.same({ 2, 1, 3 }, counts:totable())
    v, counts = ml.unique(x, { counts = true })
    assert.same({ 1, 2, 3 }, v:totable())
    assert.same({ 2, 1, 3 }, counts:totable())
    assert.equal(1, select("#", x:unique()))
  end)

  it("takes every dtype", function()
    for _, dtype in ipairs { "f64", "f32", "i64", "i32", "u8" } do
      local v, inverse = ml.tensor({ 7, 0, 7 }, dtype):unique { inverse = true }
      assert.same({ 0, 7 }, v:totable())
      assert.equal(dtype, v:dtype())
      assert.same({ 1, 0, 1 }, inverse:totable())
    end
    assert.same({ false, true }, ml.tensor({ true, false, true }):unique():totable())
  end)

  it("of nothing is nothing; 0 and -0 are one, each NaN is its own", function()
    local v, inverse, counts = ml.zeros(0, 2):unique { inverse = true, counts = true }
    assert.same({ 0 }, v:shape())
    assert.same({ 0, 2 }, inverse:shape())
    assert.same({ 0 }, counts:shape())
    assert.same({ 2 }, select(2, ml.tensor({ 0, -0.0 }):unique { counts = true }):totable())
    assert.equal(3, ml.tensor({ nan, 1, nan }):unique():count())
    assert.same({ 5 }, ml.tensor(5):unique():totable())
  end)

  it("refuses options that it does not know", function()
    assert.equal("bad argument #1 to 'unique' (unknown option 'count', did you mean 'counts'?)",
      mistake(function() ml.zeros(2):unique { count = true } end))
    assert.equal("bad argument #1 to 'unique' (counts: expected a boolean, got 1)",
      mistake(function() ml.zeros(2):unique { counts = 1 } end))
    assert.equal("bad argument #1 to 'unique' (expected a table of options, got true)",
      mistake(function() ml.zeros(2):unique(true) end))
  end)
end)

describe("unique along an axis", function()
  it("gives each slice once, ordered by its elements in turn", function()
    local x = ml.tensor { { 2, 1 }, { 1, 5 }, { 2, 0 }, { 1, 5 }, { -3, 9 } }
    local v, inverse, counts = x:unique { axis = 1, inverse = true, counts = true }
    assert.same({ { -3, 9 }, { 1, 5 }, { 2, 0 }, { 2, 1 } }, v:totable())
    assert.same({ 3, 1, 2, 1, 0 }, inverse:totable())
    assert.same({ 1, 2, 1, 1 }, counts:totable())
    assert.same(v:transpose():totable(), x:transpose():unique({ axis = -1 }):totable())
    assert.same(x:totable(), v[inverse]:totable())
  end)

  it("takes slices of several axes, of integers and bool, and none at all", function()
    local x = ml.tensor({ { { 1, 2 }, { 3, 4 } }, { { 0, 0 }, { 0, 0 } }, { { 1, 2 }, { 3, 4 } } },
      "i32")
    local v, counts = x:unique { axis = 1, counts = true }
    assert.same({ { { 0, 0 }, { 0, 0 } }, { { 1, 2 }, { 3, 4 } } }, v:totable())
    assert.same({ 1, 2 }, counts:totable())
    assert.same({ { false, true } }, ml.tensor({ { false, true }, { false, true } })
      :unique({ axis = 1 }):totable())
    assert.same({ 0, 2 }, ml.zeros(0, 2):unique({ axis = 1 }):shape())
    assert.same({ 1, 0 }, ml.zeros(3, 0):unique({ axis = 1 }):shape())
    assert.equal(2, ml.tensor({ { nan }, { nan } }):unique({ axis = 1 }):size(1))
    assert.equal("unique: axis 2 of a tensor of 1 axes",
      mistake(function() ml.zeros(2):unique { axis = 2 } end))
  end)

  it("agrees with PyTorch's, and so do runs of equal slices", function()
    local want = torch.run [[
x = (torch.arange(240) * 7919 % 3).reshape(20, 3, 4)
for axis in (0, 1, 2):
    result["unique %d" % axis] = list(torch.unique(x, dim=axis, return_inverse=True,
                                                   return_counts=True))
    result["runs %d" % axis] = list(torch.unique_consecutive(x.sort(0)[0], dim=axis,
                                                  return_inverse=True, return_counts=True))
result["runs"] = list(torch.unique_consecutive(x, return_inverse=True, return_counts=True))
]]
    if not want then return pending("python3-torch is not installed") end
    local x = ml.arange(240):mul(7919):remainder(3):reshape(20, 3, 4)
    local o = { inverse = true, counts = true }
    local function same(title, ...)
      for i, t in ipairs { ... } do assert.same(want[title][i], t:totable(), title) end
    end
    same("runs", x:unique_consecutive(o))
    for axis = 1, 3 do
      o.axis = axis
      same("unique " .. axis - 1, x:unique(o))
      same("runs " .. axis - 1, (x:sort(1)):unique_consecutive(o))
    end
  end)
end)

describe("unique_consecutive", function()
  it("leaves out what equals the element before it", function()
    local x = ml.tensor { 3, 3, 1, 1, 1, 3, nan, nan }
    local v, inverse, counts = x:unique_consecutive { inverse = true, counts = true }
    assert.same({ 3, 1, 3 }, v:narrow(1, 1, 3):totable())
    assert.same({ 0, 0, 1, 1, 1, 2, 3, 4 }, inverse:totable())
    assert.same({ 2, 3, 1, 1, 1 }, counts:totable())
    assert.same({ 0 }, ml.zeros(0):unique_consecutive():shape())
    assert.same({ { 1, 2 }, { 0, 0 } }, ml.tensor({ { 1, 2 }, { 1, 2 }, { 0, 0 } })
      :unique_consecutive({ axis = 1 }):totable())
  end)
end)

describe("histc and histogram", function()
  it("count between edges, the last edge included", function()
    local x = ml.tensor { 0, 0.5, 1, 1.5, 2, 3, -1, nan, huge }
    assert.same({ 2, 3 }, x:histc(2, 0, 2):totable())
    assert.same({ 1, 1, 2, 1 }, (ml.tensor({ 0, 1, 2, 3, 2 }):histc(4)):totable())
    assert.same({ 0, 2 }, ml.tensor({ 5, 5 }):histc(2):totable()) -- of 4 to 6: 5 begins the second
    assert.same({ 0, 0 }, ml.zeros(0):histc(2):totable())
    local y, edges = ml.tensor({ 1, 2, 1 }):histogram(ml.tensor { 0, 1, 2, 3 })
    assert.same({ 0, 2, 1 }, y:totable())
    assert.same({ 0, 1, 2, 3 }, edges:totable())
    assert.equal("f64", ml.arange(4):histc(2):dtype())
  end)

  it("sum weights, and divide by the whole for a density", function()
    local x, w = ml.tensor { 0.5, 1.5, 0.25 }, ml.tensor { 1, 2, 3 }
    assert.same({ 4, 2 }, (x:histogram(2, { range = { 0, 2 }, weight = w })):totable())
    local y = x:histogram(ml.tensor { 0, 1, 3 }, { density = true })
    assert.near(2 / 3, y:at(1), 1e-6)
    assert.near(1 / 6, y:at(2), 1e-6)
  end)

  it("find the bin by any edges, of which some may be equal", function()
    local x = ml.tensor({ 0, 1, 5, 5, 100, 1000 }, "f64")
    local edges = ml.tensor({ 0, 1, 5, 5, 6, 1000 }, "f64")
    assert.same({ 1, 1, 0, 2, 2 }, (x:histogram(edges)):totable())
  end)

  it("count a large tensor in pieces, the same for any number of threads", function()
    local x, before = ml.rand(400000, { seed = 1, stream = 0 }), ml.threads()
    ml.threads(1)
    local one = x:histc(7, 0, 1):totable()
    ml.threads(2)
    assert.same(one, x:histc(7, 0, 1):totable())
    ml.threads(before)
    local sum = 0
    for _, n in ipairs(one) do
      sum = sum + n
      assert.near(400000 / 7, n, 1000)
    end
    assert.equal(400000, sum)
  end)

  it("refuse edges that fall, and ranges without an end", function()
    assert.equal("bad argument #2 to 'histogram' (edges: they do not rise from position 1)",
      mistake(function() ml.zeros(2):histogram(ml.tensor { 0, 2, 1 }) end))
    assert.equal("bad argument #2 to 'histogram' (edges: expected at least 2, got 1)",
      mistake(function() ml.zeros(2):histogram(ml.tensor { 0 }) end))
    assert.equal("bad argument #3 to 'histogram' (weights: expected [2], got [3])",
      mistake(function() ml.zeros(2):histogram(2, { weight = ml.zeros(3) }) end))
    assert.equal("histc: expected a finite range that rises, got 3 to 1",
      mistake(function() ml.zeros(2):histc(2, 3, 1) end))
    assert.matches("finite range", mistake(function() ml.tensor({ 0, huge }):histc(2) end))
    assert.equal("bad argument #1 to 'histc' (bins: expected a whole number of at least 1, got 0)",
      mistake(function() ml.zeros(2):histc(0) end))
  end)
end)

describe("bincount", function()
  it("counts whole numbers, or sums their weights", function()
    local x = ml.tensor({ 1, 3, 1 }, "i32")
    assert.same({ 0, 2, 0, 1 }, x:bincount():totable())
    assert.same({ 0, 2, 0, 1, 0, 0 }, x:bincount(nil, 6):totable())
    assert.same({ 0, 5, 0, 2 }, x:bincount(ml.tensor { 1, 2, 4 }):totable())
    assert.same({ 0, 5, 0, 2 }, x:to("u8"):bincount(ml.tensor { 1, 2, 4 }):totable())
    assert.same({ 0 }, ml.zeros({ 0 }, { dtype = "i64" }):bincount():shape())
    assert.same({ 0, 0 }, ml.zeros({ 0 }, { dtype = "i64" }):bincount(nil, 2):totable())
  end)

  it("refuses negative ones, and other tensors", function()
    assert.equal("bad argument #1 to 'bincount' (x: -1 at position 1 is outside 0 to 2)",
      mistake(function() ml.tensor({ 2, -1 }, "i64"):bincount() end))
    assert.equal("bad argument #1 to 'bincount' (x: expected i64 or i32 or u8, got f32)",
      mistake(function() ml.zeros(2):bincount() end))
    assert.equal("bad argument #2 to 'bincount' (bins: expected at least 0, got -1)",
      mistake(function() ml.op.bincount(ml.zeros({ 0 }, { dtype = "i64" }), -1) end))
  end)
end)

describe("searchsorted and bucketize", function()
  local edges = ml.tensor { 1, 3, 3, 5 }

  it("find the first place that is not below a value, or that is above it", function()
    local v = ml.tensor { { 0, 1, 3 }, { 4, 9, nan } }
    assert.same({ { 0, 0, 1 }, { 3, 4, 4 } }, edges:searchsorted(v):totable())
    assert.same({ { 0, 1, 3 }, { 3, 4, 4 } }, edges:searchsorted(v, true):totable())
    assert.same({ { 0, 0, 1 }, { 3, 4, 4 } }, v:bucketize(edges):totable())
    assert.equal(2, ml.arange(4):searchsorted(ml.tensor(2, "i64")):item())
    assert.equal(0, ml.zeros(0):searchsorted(ml.tensor(2)):item())
  end)

  it("take a row of edges for each row of values", function()
    local rows = ml.tensor { { 1, 2 }, { 10, 20 } }
    assert.same({ { 2, 2 }, { 0, 1 } },
      rows:searchsorted(ml.tensor { { 3, 4 }, { 5, 15 } }):totable())
    assert.equal("bad argument #1 to 'searchsorted' (edges: [2, 2] is neither of one axis nor of a "
      .. "row for each of [3])", mistake(function() rows:searchsorted(ml.zeros(3)) end))
    assert.same({ { 1 }, { 0 } }, -- of another dtype: they meet in the wider one
      rows:searchsorted(ml.tensor({ { 2 }, { 10 } }, "i64")):totable())
  end)
end)

describe("counts beside PyTorch", function()
  local got = torch.run [[
g = torch.Generator().manual_seed(4)
x = (torch.randn(500, generator=g) * 4).round() / 2
result["x"] = x
v, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
result["unique"] = {"v": v, "inverse": inverse, "counts": counts}
result["histc"] = torch.histc(x, 11)
result["histc_range"] = torch.histc(x, 6, -1.5, 1.5)
h, e = torch.histogram(x, 9, range=(-3., 2.), weight=x.abs(), density=True)
result["histogram"] = h; result["edges"] = e
i = torch.randint(0, 9, (60,), generator=g)
result["i"] = i
result["bincount"] = torch.bincount(i, minlength=12)
result["weighted"] = torch.bincount(i, torch.arange(60.))
result["bucketize"] = torch.bucketize(x, torch.tensor([-2., -0.5, 0.5, 0.5, 1.]), right=True)
result["linspace"] = torch.linspace(-1.25, 3, 14)
]]
  if not got then
    pending("python3-torch is not installed")
    return
  end
  local x, i = ml.tensor(got.x), ml.tensor(got.i, "i64")

  local function near(want, y)
    local list = y:totable()
    assert.equal(#want, #list)
    for k = 1, #want do assert.near(want[k], list[k], 1e-6) end
  end

  it("has the same unique values, places and counts", function()
    local v, inverse, counts = x:unique { inverse = true, counts = true }
    assert.same(got.unique.v, v:totable())
    assert.same(got.unique.inverse, inverse:totable())
    assert.same(got.unique.counts, counts:totable())
  end)

  it("has the same histograms", function()
    assert.same(got.histc, x:histc(11):totable())
    assert.same(got.histc_range, x:histc(6, -1.5, 1.5):totable())
    local h, e = x:histogram(9, { range = { -3, 2 }, weight = x:abs(), density = true })
    near(got.histogram, h)
    near(got.edges, e)
  end)

  it("has the same counts, bins and lines", function()
    assert.same(got.bincount, i:bincount(nil, 12):totable())
    assert.same(got.weighted, i:bincount(ml.arange(60, "f32")):totable())
    assert.same(got.bucketize, x:bucketize(ml.tensor { -2, -0.5, 0.5, 0.5, 1 }, true):totable())
    near(got.linspace, ml.linspace(-1.25, 3, 14))
  end)
end)
