--- Linear algebra of the last two axes; the axes before them are a batch. By LAPACK, in double
-- (f32 is converted there and back); where LAPACK is not installed, each function says so.
-- With gradients, but where noted.
-- @module mlua.linalg
local core = require "mlua.ffi"

local create = require "mlua.tensor.create"
local product = require "mlua.tensor.product"
local views = require "mlua.tensor.view"

local op, bad, is_tensor = core.op, core.bad, core.is_tensor
local shape_of, shape_text, view = views.shape_of, views.shape_text, views.view

local linalg = {}

local function matrix(t, i, name, label)
  if not is_tensor(t) then core.bad_argument(i, name, label, "a tensor", t) end
  local shape = shape_of(t)
  if #shape < 2 then
    bad(i, name, "%s: expected matrices, [..., M, N], got %s", label, shape_text(shape))
  end
  return shape
end

-- Views of the parts of a row of results for each matrix: lists of sizes in order.
local function parts(t, ...)
  local shape, stride = views.layout(t)
  local batch, list, offset = #shape - 1, {}, 0
  for i, sizes in ipairs { ... } do
    local s, st, step, count = {}, {}, 1, 1
    for d = 1, batch do s[d], st[d] = shape[d], stride[d] end
    for d = #sizes, 1, -1 do
      s[batch + d], st[batch + d] = sizes[d], step
      step, count = step * math.max(sizes[d], 1), count * sizes[d]
    end
    list[i] = view(t, s, st, offset)
    offset = offset + count
  end
  return unpack(list)
end

--- L, lower triangular, with L L' = a. The symmetric part of a is taken.
-- @tparam Tensor a  [..., N, N], positive definite
-- @treturn Tensor   [..., N, N]
-- @raise one line where a matrix is not positive definite
function linalg.cholesky(a) return op.cholesky(a) end

-- The batch axes of a and b broadcast together.
local function broadcast(a, b, name)
  local p, q = matrix(a, 1, name, "a"), matrix(b, 2, name, "b")
  local n = math.max(#p, #q)
  local to_a, to_b = {}, {}
  for d = 1, n do
    local s, t = p[d - (n - #p)] or 1, q[d - (n - #q)] or 1
    if d > n - 2 then
      to_a[d], to_b[d] = s, t
    elseif s ~= t and s ~= 1 and t ~= 1 then
      bad(2, name, "b: axes before the matrix of %s do not broadcast with those of %s",
        shape_text(q), shape_text(p))
    else
      to_a[d] = s == 1 and t or s
      to_b[d] = to_a[d]
    end
  end
  return views.expand_to(a, to_a, name), views.expand_to(b, to_b, name)
end

-- f(a, b) for b a matrix, or a vector that becomes one column.
local function with_columns(name, a, b, f)
  if is_tensor(b) and b:dim() == 1 then
    return f(broadcast(a, b:unsqueeze(2), name)):squeeze(-1)
  end
  return f(broadcast(a, b, name))
end

--- x with a x = b.
-- @tparam Tensor a  [..., N, N]
-- @tparam Tensor b  [..., N, K], batch axes broadcast; or [N]
-- @treturn Tensor   [..., N, K] or [..., N]
-- @raise one line where a matrix is singular
function linalg.solve(a, b) return with_columns("solve", a, b, op.solve) end

--- x with a x = b for triangular a; the other triangle is not looked at.
-- @tparam Tensor a  [..., N, N]
-- @tparam Tensor b  as `solve`
-- @tparam[opt=false] boolean upper
-- @treturn Tensor
function linalg.solve_triangular(a, b, upper)
  return with_columns("solve_triangular", a, b, function(p, q)
    return op.solve_triangular(p, q, upper)
  end)
end

--- The identity matrix.
local function eye(n, dtype)
  local t = create.zeros(n, n, { dtype = dtype })
  t:diagonal():fill(1)
  return t
end

--- The inverse: `solve(a, b)` is faster and more accurate than `inv(a):matmul(b)`.
-- @tparam Tensor a  [..., N, N]
-- @treturn Tensor
-- @raise one line where a matrix is singular
function linalg.inv(a)
  local shape = matrix(a, 1, "inv", "a")
  if shape[#shape] ~= shape[#shape - 1] then
    bad(1, "inv", "a: expected square matrices, [..., N, N], got %s", shape_text(shape))
  end
  return op.solve(a, views.expand_to(eye(shape[#shape], a:dtype()), shape, "inv"))
end

--- The determinant. Its gradient needs a matrix that is not singular.
-- @tparam Tensor a  [..., N, N]
-- @treturn Tensor   [...]
function linalg.det(a) return op.det(a) end

--- The determinant's sign, and the logarithm of its size: of large matrices, whose determinants
-- no number holds.
-- @tparam Tensor a  [..., N, N]
-- @treturn Tensor   sign [...]: 1, -1, or 0 of a singular matrix
-- @treturn Tensor   log |det a| [...]
function linalg.slogdet(a) return parts(op.linalg_slogdet(a), {}, {}) end

--- Q R = a: Q of orthonormal columns, R upper triangular. Gradients where M >= N.
-- @tparam Tensor a  [..., M, N]; K = min(M, N)
-- @treturn Tensor   Q [..., M, K]
-- @treturn Tensor   R [..., K, N]
function linalg.qr(a)
  local shape = matrix(a, 1, "qr", "a")
  local m, n = shape[#shape - 1], shape[#shape]
  local k = math.min(m, n)
  return parts(op.linalg_qr(a), { m, k }, { k, n })
end

--- Eigenvalues, rising, and eigenvectors of symmetric matrices: a V = V diag(w). The symmetric part
-- of a is taken; the largest element of each eigenvector is positive.
-- @tparam Tensor a  [..., N, N]
-- @treturn Tensor   w [..., N]
-- @treturn Tensor   V [..., N, N], an eigenvector in each column
function linalg.eigh(a)
  local shape = matrix(a, 1, "eigh", "a")
  local n = shape[#shape]
  return parts(op.linalg_eigh(a), { n }, { n, n })
end

--- Singular values: U diag(S) V' = a; the largest element of each column of U is positive.
-- @tparam Tensor a  [..., M, N]; K = min(M, N)
-- @treturn Tensor   U [..., M, K], of orthonormal columns
-- @treturn Tensor   S [..., K], falling
-- @treturn Tensor   V' [..., K, N], of orthonormal rows
function linalg.svd(a)
  local shape = matrix(a, 1, "svd", "a")
  local m, n = shape[#shape - 1], shape[#shape]
  local k = math.min(m, n)
  return parts(op.linalg_svd(a), { m, k }, { k }, { k, n })
end

--- The x that makes |a x - b| least, for matrices of at least as many rows as columns, which are
-- independent: by QR.
-- @tparam Tensor a  [..., M, N], M >= N
-- @tparam Tensor b  [..., M, K], batch axes broadcast; or [M]
-- @treturn Tensor   [..., N, K] or [..., N]
function linalg.lstsq(a, b)
  local shape = matrix(a, 1, "lstsq", "a")
  if shape[#shape - 1] < shape[#shape] then
    bad(1, "lstsq", "a: expected at least as many rows as columns, got %s", shape_text(shape))
  end
  return with_columns("lstsq", a, b, function(p, q)
    local orthonormal, r = linalg.qr(p)
    return op.solve_triangular(r, op.matmul(orthonormal, q, true), true)
  end)
end

-- As the methods of tensors.
for _, name in ipairs { "norm", "cross" } do linalg[name] = product.methods[name] end

return linalg
