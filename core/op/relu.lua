return {
  doc = "y = max(x, 0); the gradient at 0 is 0.",
  arg = { { "x", "f64|f32[...]" } },
  out = { "y", "x", shape = "like(x)" },
  cpu = "f32",
  grad = { x = "relu_dx(g, y)" },
  tol = { f32 = 1e-6 },
  domain = { x = { -2, 2 } },
  sweep = { { x = { 3, 5 } }, { x = {} }, { x = { 0 } }, { x = { 2, 3, 17 } } },
}
