return {
  doc = "Rows of x by number (from 0): y[i, ...] = x[indices[i], ...].",
  arg = { { "x", "f64|f32[...]" }, { "indices", "i32|i64[...]" } },
  out = { "y", "x", shape = "select(x, indices)" },
  grad = "index_select_backward",
  tol = { f32 = 1e-6 },
  domain = { indices = { 0, 3 } },
  sweep = {
    { x = { 4 }, indices = { 6 } },
    { x = { 4, 3 }, indices = { 2, 5 } },
    { x = { 4, 2 }, indices = { 0 } },
  },
}
