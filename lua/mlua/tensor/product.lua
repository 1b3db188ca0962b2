--- Products of vectors and matrices, norms and distances: compositions of operations, recorded and
-- differentiable as these are.
-- @module mlua.tensor.product
local core = require "mlua.ffi"

local create = require "mlua.tensor.create"
local views = require "mlua.tensor.view"

local op, misuse, bad_argument, is_tensor = core.op, core.misuse, core.bad_argument, core.is_tensor
local shape_of, shape_text, axis_in = views.shape_of, views.shape_text, views.axis_in

local product = { methods = {} }
local methods = product.methods

-- -- what they share --

-- A tensor of n axes (any number where nil), or a mistake; returns its shape.
local function shaped(t, i, name, label, n)
  if not is_tensor(t) then bad_argument(i, name, label, "a tensor", t) end
  local shape = shape_of(t)
  if n and #shape ~= n then
    core.bad(i, name, "%s: expected %d %s, got %s", label, n, n == 1 and "axis" or "axes",
      shape_text(shape))
  end
  return shape
end

-- The shapes of two tensors, of m and n axes.
local function two(name, a, m, b, n)
  return shaped(a, 1, name, "a", m), shaped(b, 2, name, "b", n)
end

local function number_or(value, default, i, name, label)
  if value == nil then return default end
  if type(value) ~= "number" then bad_argument(i, name, label, "a number", value) end
  return value
end

local function mismatch(name, a, b)
  core.bad(2, name, "b: expected %s, got %s", a, shape_text(b))
end

-- -- products --

--- The product of two matrices, and nothing else.
function methods.mm(a, b)
  two("mm", a, 2, b, 2)
  return op.matmul(a, b)
end

--- The products of two batches of matrices [B, M, K] and [B, K, N], of as many each.
function methods.bmm(a, b)
  local p, q = two("bmm", a, 3, b, 3)
  if p[1] ~= q[1] or p[3] ~= q[2] then
    mismatch("bmm", ("[%d, %d, *]"):format(p[1], p[3]), q)
  end
  return op.matmul(a, b)
end

--- A matrix times a vector.
function methods.mv(a, b)
  two("mv", a, 2, b, 1)
  return op.matmul(a, b)
end

--- The product of two vectors, a number.
function methods.dot(a, b)
  two("dot", a, 1, b, 1)
  return op.matmul(a, b)
end

--- Every element of one vector times every one of another: [M], [N] to [M, N].
function methods.outer(a, b)
  two("outer", a, 1, b, 1)
  return op.mul(a:unsqueeze(2), b:unsqueeze(1))
end

local function added(name, axes)
  return function(c, a, b, beta, alpha)
    shaped(c, 1, name, "c")
    shaped(a, 2, name, "a", axes)
    shaped(b, 3, name, "b", axes)
    beta, alpha = number_or(beta, 1, 4, name, "beta"), number_or(alpha, 1, 5, name, "alpha")
    local y = methods[axes == 2 and "mm" or "bmm"](a, b)
    if alpha ~= 1 then y = op.affine(y, alpha, 0) end
    if beta == 0 then return y end
    return op.add(beta == 1 and c or op.affine(c, beta, 0), y)
  end
end

--- beta c + alpha a b for matrices; c broadcasts. Where beta is 0, c's values do not count.
-- @function addmm
-- @tparam Tensor c
-- @tparam Tensor a
-- @tparam Tensor b
-- @tparam[opt=1] number beta
-- @tparam[opt=1] number alpha
methods.addmm = added("addmm", 2)

--- The same for batches of matrices.
-- @function baddbmm
methods.baddbmm = added("baddbmm", 3)

--- The Kronecker product: every element of a times all of b.
function methods.kron(a, b)
  local p, q = two("kron", a, nil, b, nil)
  local n, wide_a, wide_b, sizes = math.max(#p, #q), {}, {}, {}
  for d = 1, n do
    local i, j = d - (n - #p), d - (n - #q)
    local s, t = p[i] or 1, q[j] or 1
    wide_a[2 * d - 1], wide_a[2 * d], wide_b[2 * d - 1], wide_b[2 * d] = s, 1, 1, t
    sizes[d] = s * t
  end
  if 2 * n > 8 then misuse(("kron: at most 4 axes, got %d"):format(n)) end
  return op.mul(a:reshape(wide_a), b:reshape(wide_b)):reshape(sizes)
end

--- The cross product of vectors of 3 along an axis, the last one unless said; others broadcast.
function methods.cross(a, b, axis)
  local p, q = two("cross", a, nil, b, nil)
  axis = axis or -1
  local d, e = axis_in(#p, axis, "cross", 3), axis_in(#q, axis, "cross", 3)
  if p[d] ~= 3 or q[e] ~= 3 then
    misuse(("cross: expected 3 along axis %d, got %s and %s"):format(axis, shape_text(p),
      shape_text(q)))
  end
  local function part(t, at, i) return t:narrow(at, i, i) end
  local list = {}
  for i = 1, 3 do
    local j, k = i % 3 + 1, (i + 1) % 3 + 1
    list[i] = op.sub(op.mul(part(a, d, j), part(b, e, k)), op.mul(part(a, d, k), part(b, e, j)))
  end
  return op.cat(list, math.max(#p, #q) - (#p - d))
end

--- The sum of a matrix's diagonal.
function methods:trace()
  shaped(self, 1, "trace", "x", 2)
  return op.sum(self:diagonal(), 0)
end

-- -- norms and distances --

--- The p-norm of vectors along an axis, or of all elements as one vector: (sum |x|^p)^(1/p);
-- the largest |x| for p = inf, the smallest for -inf, how many are not 0 for p = 0. Its gradient
-- at a vector of zeros is zero where p > 1.
-- @tparam[opt=2] number p
-- @tparam ?number axis
-- @tparam[opt=false] boolean keep  the axis, with size 1
-- @source the definitions of torch.linalg.vector_norm
function methods:norm(p, axis, keep)
  local shape = shaped(self, 1, "norm", "x")
  p = number_or(p, 2, 1, "norm", "p")
  if p ~= p then misuse "norm: p is not a number" end
  local a = axis and axis_in(#shape, axis, "norm", 2) or 0
  return op.norm(self, p, a, keep)
end

--- The standard deviation along an axis, or of all elements. Its gradient where all are equal is 0.
-- @tparam ?number axis
-- @tparam[opt=false] boolean keep
-- @tparam[opt=1] number correction  taken from the count: 1 for a sample, 0 for all there is
function methods:std(axis, keep, correction)
  shaped(self, 1, "std", "x")
  local v = op.var(self, axis or 0, keep, number_or(correction, 1, 3, "std", "correction"))
  if not core.info(v).requires_grad then return op.sqrt(v) end
  local function number(n) return create.full(n, {}, { dtype = v:dtype() }) end
  local flat = op.eq(v:detach(), number(0)) -- where the root has no slope
  return op.where(flat, number(0), op.sqrt(op.where(flat, number(1), v)))
end

--- x / max(norm of x along an axis, eps): vectors of length 1.
-- @tparam[opt=2] number p
-- @tparam[opt=-1] number axis
-- @tparam[opt=1e-12] number eps
function methods:normalize(p, axis, eps)
  local n = methods.norm(self, p, axis or -1, true)
  return op.div(self, op.clamp(n, number_or(eps, 1e-12, 3, "normalize", "eps"), math.huge))
end

--- The cosine of the angle between vectors along an axis: a b / (max(|a|, eps) max(|b|, eps)).
-- @tparam Tensor a
-- @tparam Tensor b
-- @tparam[opt=-1] number axis
-- @tparam[opt=1e-8] number eps
function methods.cosine_similarity(a, b, axis, eps)
  two("cosine_similarity", a, nil, b, nil)
  axis, eps = axis or -1, number_or(eps, 1e-8, 4, "cosine_similarity", "eps")
  local function length(t) return op.clamp(methods.norm(t, 2, axis, true), eps, math.huge) end
  return op.sum(op.mul(op.div(a, length(a)), op.div(b, length(b))), axis)
end

--- The p-norm of a - b, all elements as one vector.
function methods.dist(a, b, p)
  two("dist", a, nil, b, nil)
  return methods.norm(op.sub(a, b), p)
end

--- The p-norms of the differences of all rows of a, [..., M, D], and all of b, [..., N, D]:
-- [..., M, N]. Takes M N D elements of memory, batch aside.
function methods.cdist(a, b, p)
  local s, t = two("cdist", a, nil, b, nil)
  if #s < 2 or #t < 2 or s[#s] ~= t[#t] then
    misuse(("cdist: expected rows of one length, got %s and %s"):format(shape_text(s),
      shape_text(t)))
  end
  return methods.norm(op.sub(a:unsqueeze(-2), b:unsqueeze(-3)), p, -1)
end

return product
