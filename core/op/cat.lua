return {
  doc = "Tensors joined along one axis (from 1, negative from the end).",
  arg = { { "xs", "list f64|f32|bf16|f16|i64|i32|u8|bool[...]" }, { "axis", "int", 1 } },
  out = { "y", "xs", shape = "cat(xs, n_xs, axis)" },
  grad = "cat_backward", twice = "cat_twice",
  tol = { f32 = 1e-6 },
  sweep = {
    { xs = { { 3, 5 }, { 3, 2 } }, axis = 2 },
    { xs = { { 3, 5 }, { 1, 5 }, { 0, 5 } }, axis = 1 },
    { xs = { { 2, 3, 4 }, { 2, 1, 4 } }, axis = -2 },
    { xs = { { 4 } }, axis = 1 },
  },
}
