return {
  doc = "y = the square root of x.",
  arg = { { "x", "f64|f32[...]" } },
  out = { "y", "x", shape = "like(x)" },
  cpu = "f32",
  grad = { x = "g / y * 0.5" },
  tol = { f32 = 1e-6 },
  domain = { x = { 0.2, 3 } },
  sweep = { { x = { 3, 5 } }, { x = {} }, { x = { 0 } }, { x = { 2, 3, 17 } } },
}
