local ml = require "mlua"
local sweep = require "spec.support.sweep"

local linalg = ml.linalg
local F64 = { dtype = "f64" }

local function f64(list) return ml.tensor(list, "f64") end

local function near(want, t, tolerance)
  local d = ml.max((f64(want) - t:detach()):abs(), 0):item()
  assert.is_true(d <= (tolerance or 1e-12), ("differs by %g: %s"):format(d, tostring(t)))
end

local function raises(message, fn, ...)
  local ok, got = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(message, (got:gsub("^[^:]+:%d+: ", "")))
end

describe("linalg", function()
  if not sweep.have "lapack" then
    pending("LAPACK is not installed")
    return
  end

  it("cholesky finds the lower triangle", function()
    near({ { 2, 0, 0 }, { 6, 1, 0 }, { -8, 5, 3 } }, -- a textbook matrix
      linalg.cholesky(f64 { { 4, 12, -16 }, { 12, 37, -43 }, { -16, -43, 98 } }))
    raises("cholesky: the matrix is not positive definite", linalg.cholesky,
      f64 { { 1, 2 }, { 2, 1 } })
    raises("cholesky: matrix 2 of 2 is not positive definite", linalg.cholesky,
      f64 { { { 1, 0 }, { 0, 1 } }, { { 0, 0 }, { 0, 1 } } })
    raises("cholesky: the matrix holds infinities or NaN", linalg.cholesky, f64 { { 0 / 0 } })
    raises("bad argument #1 to 'cholesky' (a: expected square matrices, [..., N, N], got [2, 3])",
      linalg.cholesky, ml.ones(2, 3))
  end)

  it("solve takes matrices, vectors and batches that broadcast", function()
    local a = f64 { { 2, 1 }, { 1, 3 } }
    near({ 1, 3 }, linalg.solve(a, f64 { 5, 10 }))
    near({ { 1, 0.6 }, { 3, -0.2 } }, linalg.solve(a, f64 { { 5, 1 }, { 10, 0 } }))
    assert.same({ 4, 2, 1 }, linalg.solve(a, ml.ones(4, 2, 1, F64)):shape())
    assert.same({ 4, 2, 1 }, linalg.solve(a:unsqueeze(1):expand(4, 2, 2), ml.ones(2, 1, F64))
      :shape())
    raises("solve: the matrix is singular", linalg.solve, f64 { { 1, 2 }, { 2, 4 } }, f64 { 1, 1 })
    raises("bad argument #2 to 'solve' (b: expected as many rows as a [2, 2], got [3, 1])",
      linalg.solve, a, ml.ones(3, 1, F64))
  end)

  it("solve_triangular leaves the other triangle unread", function()
    near({ 1, 2 }, linalg.solve_triangular(f64 { { 2, 99 }, { 1, 4 } }, f64 { 2, 9 }))
    near({ 1, 2 }, linalg.solve_triangular(f64 { { 2, 1 }, { 99, 4 } }, f64 { 4, 8 }, true))
  end)

  it("inv, det and slogdet", function()
    local a = f64 { { 1, 2 }, { 3, 4 } }
    near({ { -2, 1 }, { 1.5, -0.5 } }, linalg.inv(a))
    near({ -2, 24 }, linalg.det(ml.cat({ a:unsqueeze(1), f64 { { { 4, 0 }, { 0, 6 } } } }, 1)))
    local sign, size = linalg.slogdet(a)
    assert.equal(-1, sign:item())
    assert.near(math.log(2), size:item(), 1e-12)
    sign, size = linalg.slogdet(f64 { { 1, 2 }, { 2, 4 } })
    assert.equal(0, sign:item())
    assert.equal(-math.huge, size:item())
    assert.equal(1, linalg.det(ml.zeros(0, 0)):item())
  end)

  it("qr, eigh and svd give back the matrix", function()
    for _, s in ipairs { { 5, 3 }, { 3, 5 }, { 4, 4 }, { 1, 1 }, { 0, 3 } } do
      local a = ml.randn({ 2, s[1], s[2] }, { dtype = "f64", seed = 1 })
      local q, r = linalg.qr(a)
      local u, d, vt = linalg.svd(a)
      local k = math.min(s[1], s[2])
      assert.same({ 2, s[1], k }, q:shape())
      if k > 0 then
        local eye = ml.einsum("bki,bkj->bij", q, q)
        near({ { 0 } }, (q:matmul(r) - a):reshape(1, -1):norm():reshape(1, 1))
        near({ { 0 } }, ((u * d:unsqueeze(2)):matmul(vt) - a):norm():reshape(1, 1))
        near({ 2 * k }, ml.einsum("bii->", eye):reshape(1))
      end
    end
    local w, v = linalg.eigh(f64 { { 2, 1 }, { 1, 2 } })
    near({ 1, 3 }, w)
    near({ { math.sqrt(0.5), math.sqrt(0.5) }, { -math.sqrt(0.5), math.sqrt(0.5) } }, v)
    local _, d = linalg.svd(f64 { { 3, 0 }, { 0, -4 }, { 0, 0 } })
    near({ 4, 3 }, d)
  end)

  it("lstsq finds the line through points", function()
    local x = f64 { { 1, 0 }, { 1, 1 }, { 1, 2 } } -- y = 1 + 2 t, and one point off by 3
    near({ 1, 2 }, linalg.lstsq(x, f64 { 1, 3, 5 }))
    near({ 1.5, 0.5 }, linalg.lstsq(x, f64 { 1, 3, 2 }))
  end)

  it("computes in double for f32, too, and keeps the dtype", function()
    local a = ml.tensor { { 2, 1 }, { 1, 3 } }
    assert.equal("f32", linalg.inv(a):dtype())
    near({ { 0.6, -0.2 }, { -0.2, 0.4 } }, linalg.inv(a):to("f64"), 1e-7)
  end)

  it("has gradients through the results of several parts, and none for wide QR", function()
    local a = f64({ { 2, 1 }, { 0, 3 } }):requires_grad()
    local w = linalg.eigh(a)
    w:sum():backward() -- the trace
    near({ { 1, 0 }, { 0, 1 } }, a:grad())
    local b = f64({ { 1, 2 } }):requires_grad()
    local _, r = linalg.qr(b)
    raises("qr: the matrix has more columns than rows: no gradient", function()
      r:sum():backward()
    end)
    local c = f64({ { 1, 2 }, { 3, 4 } }):requires_grad()
    linalg.inv(c):sum():backward()
    -- d sum(inv c) = -(c^-T 1 1' c^-T): columns of inv c sum to -0.5 and 0.5, rows to -1 and 1
    near({ { -0.5, 0.5 }, { 0.5, -0.5 } }, c:grad())
  end)
end)
