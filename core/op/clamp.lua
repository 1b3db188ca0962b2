return {
  doc = "y = x held within [lo, hi]; the gradient passes where lo <= x <= hi.",
  arg = { { "x", "f64|f32[...]" }, { "lo", "number" }, { "hi", "number" } },
  out = { "y", "x", shape = "like(x)" },
  grad = { x = "clamp_dx(g, x, lo, hi)" },
  tol = { f32 = 1e-6 },
  sweep = { { x = { 3, 5 }, lo = -0.5, hi = 0.25 }, { x = { 0 }, lo = 0, hi = 1 } },
}
