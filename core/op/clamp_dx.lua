return {
  doc = "The gradient of clamp: g where lo <= x <= hi, else 0.",
  arg = { { "g", "f64|f32[...]" }, { "x", "g[...]" }, { "lo", "number" }, { "hi", "number" } },
  out = { "dx", "g", shape = 'same("clamp_dx", g, "x", x)' },
  tol = { f32 = 1e-6 },
  sweep = { { g = { 3, 5 }, x = { 3, 5 }, lo = -0.5, hi = 0.25 } },
}
