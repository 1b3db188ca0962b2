return {
  doc = "y = ln x.",
  arg = { { "x", "f64|f32[...]" } },
  out = { "y", "x", shape = "like(x)" },
  cpu = "f32",
  grad = { x = "g / x" },
  tol = { f32 = 2e-6 },
  domain = { x = { 0.2, 3 } },
  sweep = { { x = { 3, 5 } }, { x = {} }, { x = { 0 } }, { x = { 2, 3, 17 } } },
}
