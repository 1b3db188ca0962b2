-- Linear algebra of the last two axes, by LAPACK, computed in double; mlua.linalg puts the user's
-- functions on top. Several results come as one row of numbers for each matrix, in the order named.
local function card(name, doc, o)
  o.name, o.doc, o.needs = name, doc, "lapack"
  o.cpu, o.tol = "f64|f32", { f32 = o.tol or 1e-5 }
  return o
end

local SQUARE = { "a", "f64|f32[...]" }
-- diagonal: what the sweep adds to the diagonals of what it draws: far from singular
local function square(n, ...) return { n, n, diagonal = 4, ... } end

return {
  card("cholesky", "The lower triangle L with L L' = a, for a's symmetric part; which is positive "
    .. "definite.", {
    arg = { SQUARE }, out = { "y", "a", shape = 'square("cholesky", a)' },
    grad = "cholesky_backward", keep = true,
    sweep = { { a = square(1) }, { a = square(4) }, { a = { 3, 3, 3, diagonal = 4 } },
              { a = square(0) }, { a = { 0, 3, 3 } } },
  }),
  card("solve", "x of a x = b, or of a' x = b where ta: a [..., N, N], b [..., N, K].", {
    arg = { SQUARE, { "b", "a[...]" }, { "ta", "bool" } },
    out = { "y", "b", shape = 'system("solve", a, b)' },
    grad = "solve_backward", keep = true,
    sweep = { { a = square(1), b = { 1, 1 } }, { a = square(4), b = { 4, 3 } },
              { a = square(4), b = { 4, 3 }, ta = true },
              { a = { 2, 3, 3, diagonal = 4 }, b = { 2, 3, 2 } },
              { a = { 4, 4 }, b = { 4, 3 } }, -- rows exchanged
              { a = square(0), b = { 0, 2 } }, { a = square(3), b = { 3, 0 } } },
  }),
  card("solve_triangular", "x of a x = b for a lower (or upper) triangular, the rest of a ignored; "
    .. "of a' x = b where ta.", {
    arg = { SQUARE, { "b", "a[...]" }, { "upper", "bool" }, { "ta", "bool" } },
    out = { "y", "b", shape = 'system("solve_triangular", a, b)' },
    grad = "solve_triangular_backward", keep = true,
    sweep = { { a = square(4), b = { 4, 3 } }, { a = square(4), b = { 4, 3 }, upper = true },
              { a = square(4), b = { 4, 3 }, ta = true },
              { a = { 2, 3, 3, diagonal = 4 }, b = { 2, 3, 2 }, upper = true, ta = true },
              { a = square(0), b = { 0, 2 } } },
  }),
  card("det", "The determinant.", {
    arg = { SQUARE }, out = { "y", "a", shape = 'packed("det", a)' },
    grad = "det_backward", keep = true,
    sweep = { { a = square(1) }, { a = square(4) }, { a = { 2, 3, 3, diagonal = 4 } },
              { a = square(0) }, { a = { 0, 2, 2 } } },
  }),
  card("linalg_slogdet", "The determinant's sign, and the logarithm of its size.", {
    arg = { SQUARE }, out = { "y", "a", shape = 'packed("slogdet", a)' },
    grad = "slogdet_backward", keep = true,
    sweep = { { a = square(1) }, { a = square(4) }, { a = { 2, 3, 3, diagonal = -4 } },
              { a = square(0) } },
  }),
  card("linalg_qr", "Q [M, K] and R [K, N] with Q R = a, K = min(M, N): R upper triangular, Q of "
    .. "orthonormal columns.", {
    arg = { SQUARE }, out = { "y", "a", shape = 'packed("qr", a)' },
    grad = "qr_backward", keep = true,
    sweep = { { a = square(1) }, { a = square(4) }, { a = { 2, 5, 3, diagonal = 2 } },
              { a = { 3, 0 } } },
  }),
  card("linalg_eigh", "The eigenvalues of a's symmetric part, rising, and its eigenvectors as the "
    .. "columns of a matrix; the largest element of each is positive.", {
    arg = { SQUARE }, out = { "y", "a", shape = 'packed("eigh", a)' },
    grad = "eigh_backward", keep = true,
    sweep = { { a = square(1) }, { a = square(4) }, { a = { 2, 3, 3 } }, { a = square(0) } },
  }),
  card("linalg_svd", "U [M, K], S [K], falling, and V' [K, N] with U diag(S) V' = a, "
    .. "K = min(M, N); the largest element of each column of U is positive.", {
    arg = { SQUARE }, out = { "y", "a", shape = 'packed("svd", a)' },
    grad = "svd_backward", keep = true, edges = "equal singular values leave their vectors free",
    sweep = { { a = square(1) }, { a = square(3) }, { a = { 2, 4, 3 } }, { a = { 2, 3, 4 } },
              { a = { 7, 2 } }, { a = { 2, 7 } }, { a = { 3, 0 } } },
  }),
}
