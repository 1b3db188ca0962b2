return {
  doc = "y = scale x + shift.",
  arg = { { "x", "f64|f32|i64|i32|u8[...]" }, { "scale", "number" }, { "shift", "number", 0 } },
  out = { "y", "x", shape = "affine(x, scale, shift)" },
  cpu = "f32",
  grad = { x = "affine(g, scale, 0)" },
  tol = { f32 = 1e-6 },
  sweep = { { x = { 3, 5 }, scale = -1.5, shift = 2 }, { x = { 0 }, scale = 2, shift = 0 } },
}
