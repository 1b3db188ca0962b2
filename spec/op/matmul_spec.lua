local ml = require "mlua"
local mistake = require "spec.support.mistake"

local function numbers(from, ...) -- from, from + 1, … in a shape
  local n = 1
  for _, s in ipairs { ... } do n = n * s end
  local list = {}
  for i = 1, n do list[i] = from + i - 1 end
  return ml.tensor(list):reshape(...)
end

-- |a - b| at most, all elements.
local function distance(a, b)
  return ml.max((a:to("f64") - b:to("f64")):abs(), 0):item()
end

local function raises(message, fn, ...)
  local ok, got = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(message, (got:gsub("^[^:]+:%d+: ", "")))
end

describe("matmul", function()
  it("is a number for two vectors, a vector where one of them is a matrix", function()
    local v, w = ml.tensor { 1, 2, 3 }, ml.tensor { 4, 5, 6 }
    assert.equal(32, v:matmul(w):item())
    assert.same({}, v:matmul(w):shape())
    local m = ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    assert.same({ 14, 32 }, m:matmul(v):totable())
    assert.same({ 9, 12, 15 }, ml.tensor({ 1, 2 }):matmul(m):totable())
  end)

  it("broadcasts the axes before the matrices", function()
    local y = numbers(0, 2, 1, 1, 2):matmul(numbers(0, 3, 2, 1))
    -- rows (0 1) and (2 3) times columns (0 1), (2 3), (4 5)
    assert.same({ { { { 1 } }, { { 3 } }, { { 5 } } }, { { { 3 } }, { { 13 } }, { { 23 } } } },
      y:totable())
  end)

  it("transposes the last two axes of a batch where asked, and leaves a vector alone", function()
    local a, b = numbers(1, 2, 3, 2), numbers(1, 2, 2, 3)
    assert.same(a:transpose(2, 3):matmul(b:transpose(2, 3)):totable(),
      a:matmul(b, true, true):totable())
    local v = ml.tensor { 1, 2 }
    assert.same(v:matmul(ml.tensor { { 1, 2 }, { 3, 4 } }):totable(),
      v:matmul(ml.tensor { { 1, 2 }, { 3, 4 } }, true):totable())
  end)

  it("gives zeros where there is nothing to sum, and nothing where there are no rows", function()
    assert.same({ { 0, 0 }, { 0, 0 } }, ml.zeros(2, 0):matmul(ml.zeros(0, 2)):totable())
    assert.equal(0, ml.zeros(0):matmul(ml.zeros(0)):item())
    assert.same({ 0, 2 }, ml.zeros(0, 3):matmul(ml.zeros(3, 2)):shape())
    assert.same({ 2, 0, 4 }, ml.zeros(2, 0, 3):matmul(ml.zeros(3, 4)):shape())
  end)

  it("reads inputs of any strides: reversed, broadcast, every other, a batch inside", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local x = ml.randn(70, 90, { seed = 1, dtype = dtype })
      local y = ml.randn(90, 80, { seed = 2, dtype = dtype })
      local plain = x:matmul(y)
      local cases = {
        { x:transpose():contiguous():transpose(), y },
        { x, y:transpose():contiguous():transpose() },
        { ml.cat({ x, x }, 2)[{ {}, "1:90" }], y },
        { x, ml.cat({ y, y }, 2)[{ {}, "1:80" }] },
      }
      for i, c in ipairs(cases) do
        assert.is_true(distance(plain, c[1]:matmul(c[2])) < 1e-4, dtype .. " case " .. i)
      end
      local every = x[{ {}, "1::2" }]
      assert.is_true(distance(every:contiguous():matmul(y[{ "1:45" }]),
        every:matmul(y[{ "1:45" }])) < 1e-4)
      local wide = ml.randn(1, 90, { seed = 3, dtype = dtype }):expand(70, 90)
      assert.is_true(distance(wide:contiguous():matmul(y), wide:matmul(y)) < 1e-4)
      local inside = ml.randn(9, 3, 8, { seed = 4, dtype = dtype }):permute(2, 1, 3) -- 3 x [9, 8]
      local other = ml.randn(8, 5, { seed = 5, dtype = dtype })
      assert.is_true(distance(inside:contiguous():matmul(other), inside:matmul(other)) < 1e-5)
    end
  end)

  it("has the same bits for any number of threads", function()
    local before = ml.threads()
    for _, s in ipairs { { 300, 301, 302 }, { 512, 512, 512 }, { 1, 3000, 700 }, { 2000, 1, 900 },
                         { 77, 640, 33 } } do
      for _, dtype in ipairs { "f32", "f64" } do
        local a = ml.randn(s[1], s[3], { seed = 1, dtype = dtype })
        local b = ml.randn(s[3], s[2], { seed = 2, dtype = dtype })
        ml.threads(1)
        local one = a:matmul(b)
        for _, n in ipairs { 2, 3 } do
          ml.threads(n)
          assert.equal(0, distance(one, a:matmul(b)))
        end
      end
    end
    ml.threads(before)
  end)

  it("refuses what does not fit, with both shapes", function()
    raises("bad argument #2 to 'matmul' (b: expected [3], got [2])", ml.matmul, ml.ones(3),
      ml.ones(2))
    raises("bad argument #2 to 'matmul' (b: expected [*, 3, *], got [2, 2, 3])", ml.matmul,
      ml.ones(2, 3), ml.ones(2, 2, 3))
    raises("bad argument #2 to 'matmul' (b: expected [*, *, 3], got [2, 3, 2])", ml.matmul,
      ml.ones(2, 3), ml.ones(2, 3, 2), false, true)
    raises("bad argument #1 to 'matmul' (a: expected at least one axis, got [])", ml.matmul,
      ml.ones(), ml.ones(2))
    raises("bad argument #2 to 'matmul' (b: axes before the matrix of [3, 2, 2] do not broadcast "
      .. "with those of [2, 2, 2])", ml.matmul, ml.ones(2, 2, 2), ml.ones(3, 2, 2))
  end)

  it("sums a gradient over the batch that a matrix was broadcast to", function()
    local w = ml.ones(2, 2):requires_grad()
    numbers(1, 3, 1, 2):matmul(w):sum():backward()
    assert.same({ { 9, 9 }, { 12, 12 } }, w:grad():totable())
  end)
end)

describe("products by name", function()
  local a, b = ml.tensor { { 1, 2 }, { 3, 4 } }, ml.tensor { { 0, 1 }, { 1, 0 } }

  it("mm, bmm, mv, dot, outer take what they say", function()
    assert.same({ { 2, 1 }, { 4, 3 } }, a:mm(b):totable())
    assert.same({ { { 2, 1 }, { 4, 3 } } }, a:unsqueeze(1):bmm(b:unsqueeze(1)):totable())
    assert.same({ 5, 11 }, a:mv(ml.tensor { 1, 2 }):totable())
    assert.equal(11, ml.dot(ml.tensor { 1, 2 }, ml.tensor { 3, 4 }):item())
    assert.same({ { 3, 4 }, { 6, 8 } }, ml.outer(ml.tensor { 1, 2 }, ml.tensor { 3, 4 }):totable())
    raises("bad argument #1 to 'mm' (a: expected 2 axes, got [2])", ml.mm, ml.ones(2), a)
    raises("bad argument #2 to 'bmm' (b: expected [3, 2, *], got [2, 2, 2])", ml.bmm,
      ml.ones(3, 2, 2), ml.ones(2, 2, 2))
    raises("bad argument #2 to 'dot' (b: expected 1 axis, got [2, 2])", ml.dot, ml.ones(2), a)
  end)

  it("addmm and baddbmm add a scaled tensor, whose values do not count where beta is 0", function()
    local nan = ml.tensor { 0 / 0, 1 }
    assert.same({ { 7, 4 }, { 11, 8 } }, ml.tensor({ 3, 2 }):addmm(a, b, 1, 2):totable())
    assert.same({ { 2, 1 }, { 4, 3 } }, nan:addmm(a, b, 0):totable())
    assert.same({ { { 12, 11 }, { 14, 13 } } },
      ml.tensor({ 5 }):baddbmm(a:unsqueeze(1), b:unsqueeze(1), 2):totable())
  end)

  it("kron, cross, diagonal and trace", function()
    assert.same({ { 0, 1, 0, 2 }, { 1, 0, 2, 0 }, { 0, 3, 0, 4 }, { 3, 0, 4, 0 } },
      a:kron(b):totable())
    assert.same({ -3, 6, -3 }, ml.tensor({ 1, 2, 3 }):cross(ml.tensor { 4, 5, 6 }):totable())
    assert.same({ { 0 }, { 0 }, { 1 } }, ml.tensor({ { 1 }, { 0 }, { 0 } })
      :cross(ml.tensor { { 0 }, { 1 }, { 0 } }, 1):totable())
    assert.same({ 1, 4 }, a:diagonal():totable())
    assert.equal(5, a:trace():item())
    local x = a:clone():requires_grad()
    x:trace():backward()
    assert.same({ { 1, 0 }, { 0, 1 } }, x:grad():totable())
  end)
end)

describe("norms", function()
  it("are of all elements or along an axis, for p = 1, 2, 3, inf, -inf and 0", function()
    local x = ml.tensor { { 3, -4 }, { 0, 12 } }
    assert.equal(13, x:norm():item())
    assert.same({ 5, 12 }, x:norm(2, 2):totable())
    assert.same({ { 7 }, { 12 } }, x:norm(1, -1, true):totable())
    assert.same({ 3, 12 }, x:norm(math.huge, 1):totable())
    assert.equal(0, x:norm(-math.huge):item())
    assert.equal(3, x:norm(0):item())
    assert.near((27 + 64) ^ (1 / 3), x:norm(3, 2):at(1), 1e-6)
    raises("bad argument #1 to 'norm' (p: expected a number, got 'two')", x.norm, x, "two")
    raises("norm: axis 3 of a tensor of 2 axes", x.norm, x, 2, 3)
    raises("bad argument #1 to 'norm' (x: expected at least one element, got none)", ml.norm,
      ml.zeros(0), math.huge)
  end)

  it("have a gradient of zero at zero, and NaN only where a NaN is", function()
    local x = ml.zeros(3):requires_grad()
    x:norm():backward()
    assert.same({ 0, 0, 0 }, x:grad():totable())
    local y = ml.tensor { 1, 0 / 0, 2 }
    for _, p in ipairs { 1, 2, math.huge, -math.huge } do
      local v = y:norm(p):item()
      assert.is_true(v ~= v)
    end
  end)

  it("norms of 16-bit floats are such floats; of integers there are none", function()
    local x = ml.tensor({ { 3, 4 }, { 5, 12 } }, "bf16")
    assert.same({ 5, 13 }, x:norm(2, 2):totable())
    assert.equal("bf16", x:norm(2, 2):dtype())
    assert.equal("f16", x:to("f16"):normalize():dtype())
    assert.equal("bad argument #1 to 'norm' (x: expected f64 or f32, got i64)",
      mistake(function() ml.arange(3):norm() end))
  end)

  it("std of equal elements is 0, with a gradient of 0, as PyTorch's", function()
    local x = ml.tensor({ { 3, 3 }, { 1, 5 } }, "f64"):requires_grad()
    local y = x:std(2)
    y:sum():backward() -- of 1, 5: std sqrt 8, d std / dx = (x - 3) / std
    assert.same({ 0, math.sqrt(8) }, y:totable())
    local g = x:grad():totable()
    assert.same({ 0, 0 }, g[1])
    assert.near(2 / math.sqrt(8), g[2][2], 1e-15)
  end)

  it("std, normalize, cosine_similarity, dist and cdist", function()
    local x = ml.tensor { { 3, 4 }, { 0, 2 } }
    assert.near(math.sqrt(0.5), x:std(2):at(1), 1e-6)
    assert.near(0.5, x:std(2, false, 0):at(1), 1e-6)
    assert.near(0.6, x:normalize():at(1, 1), 1e-6)
    assert.same({ { 0, 1 }, { 0, 0 } }, ml.tensor({ { 0, 7 }, { 0, 0 } }):normalize():totable())
    assert.near(0.8, x:cosine_similarity(ml.tensor { { 0, 1 }, { 0, 1 } }):at(1), 1e-6)
    assert.near(math.sqrt(13), ml.tensor({ 1, 2 }):dist(ml.tensor { 3, 5 }):item(), 1e-6)
    assert.same({ { 5, 0 } }, ml.tensor({ { 0, 0 } }):cdist(ml.tensor { { 3, 4 }, { 0, 0 } })
      :totable())
  end)
end)
