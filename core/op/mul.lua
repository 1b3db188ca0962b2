return {
  doc = "y = a * b, element by element, broadcast as NumPy does.",
  arg = { { "a", "f64|f32|i64|i32|u8[...]" }, { "b", "a[...]" } },
  out = { "y", "a", shape = 'broadcast("mul", a, b)' },
  cpu = "f32",
  strided = true,
  grad = { a = "sum_to(g * b, a)", b = "sum_to(g * a, b)" },
  tol = { f32 = 1e-6 },
  sweep = {
    { a = { 3, 5 }, b = { 3, 5 } },
    { a = { 3, 5 }, b = { 5 } },
    { a = { 4, 1 }, b = { 1, 7 } },
    { a = {}, b = { 2, 3 } },
    { a = { 0, 3 }, b = { 3 } },
    { a = { 2, 3, 17 }, b = { 3, 1 } },
  },
}
