return {
  doc = "x summed to the shape of `like`, which broadcasts to x's: what undoes a broadcast.",
  arg = { { "x", "f64|f32[...]" }, { "like", "f64|f32|bf16|f16|i64|i32|u8|bool[...]" } },
  out = { "y", "x", shape = "like(like)" },
  cpu = "f32",
  strided = true,
  grad = { x = "expand(g, x)" },
  tol = { f32 = 1e-5 },
  sweep = {
    { x = { 3, 5 }, like = { 5 } },
    { x = { 3, 5 }, like = { 3, 1 } },
    { x = { 3, 5 }, like = {} },
    { x = { 3, 5 }, like = { 3, 5 } },
    { x = { 0, 5 }, like = { 5 } },
  },
}
