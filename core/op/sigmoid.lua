return {
  doc = "y = 1 / (1 + e^-x).",
  arg = { { "x", "f64|f32[...]" } },
  out = { "y", "x", shape = "like(x)" },
  cpu = "f32",
  grad = { x = "g * (y * (1 - y))" },
  tol = { f32 = 2e-6 },
  domain = { x = { -4, 4 } },
  sweep = { { x = { 3, 5 } }, { x = {} }, { x = { 0 } }, { x = { 2, 3, 17 } } },
}
