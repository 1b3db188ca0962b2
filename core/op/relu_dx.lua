return {
  doc = "The gradient of relu: g where y > 0, else 0.",
  arg = { { "g", "f64|f32[...]" }, { "y", "g[...]" } },
  out = { "dx", "g", shape = 'broadcast("relu_dx", g, y)' },
  cpu = "f32",
  strided = true,
  tol = { f32 = 1e-6 },
  sweep = { { g = { 3, 5 }, y = { 3, 5 } }, { g = { 0 }, y = { 0 } } },
}
