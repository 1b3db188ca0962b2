return {
  doc = "x broadcast to the shape of `like`.",
  arg = { { "x", "f64|f32[...]" }, { "like", "f64|f32|bf16|f16|i64|i32|u8|bool[...]" } },
  out = { "y", "x", shape = "like(like)" },
  strided = true,
  grad = { x = "sum_to(g, x)" },
  tol = { f32 = 1e-6 },
  sweep = {
    { x = { 5 }, like = { 3, 5 } },
    { x = {}, like = { 2, 2 } },
    { x = { 3, 1 }, like = { 3, 4 } },
  },
}
