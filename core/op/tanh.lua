return {
  doc = "y = tanh x.",
  arg = { { "x", "f64|f32[...]" } },
  out = { "y", "x", shape = "like(x)" },
  cpu = "f32",
  grad = { x = "g * (1 - y * y)" },
  tol = { f32 = 2e-6 },
  domain = { x = { -2, 2 } },
  sweep = { { x = { 3, 5 } }, { x = {} }, { x = { 0 } }, { x = { 2, 3, 17 } } },
}
