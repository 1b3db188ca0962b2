return {
  doc = "The matrix product of a and b, each transposed first where asked.",
  arg = { { "a", "f64|f32[M,K]" }, { "b", "a[P,Q]" }, { "ta", "bool" }, { "tb", "bool" } },
  out = { "y", "a", shape = "matmul(a, b, ta, tb)" },
  cpu = "f32",
  grad = "matmul_backward",
  tol = { f32 = 1e-5 },
  sweep = {
    { a = { 3, 5 }, b = { 5, 4 } },
    { a = { 5, 3 }, b = { 5, 4 }, ta = true },
    { a = { 3, 5 }, b = { 4, 5 }, tb = true },
    { a = { 5, 3 }, b = { 4, 5 }, ta = true, tb = true },
    { a = { 0, 5 }, b = { 5, 4 } },
    { a = { 3, 0 }, b = { 0, 4 } },
    { a = { 1, 33 }, b = { 33, 65 } },
  },
}
