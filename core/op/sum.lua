return {
  doc = "The sum over one axis (from 1, negative from the end), or over all where axis is 0.",
  arg = { { "x", "f64|f32|i64|i32[...]" }, { "axis", "int", 0 }, { "keep", "bool" } },
  out = { "y", "x", shape = "reduce(x, axis, keep)" },
  cpu = "f32",
  grad = "sum_backward",
  tol = { f32 = 1e-5 },
  sweep = {
    { x = { 3, 5 }, axis = 0 },
    { x = { 3, 5 }, axis = 1 },
    { x = { 3, 5 }, axis = -1, keep = true },
    { x = { 0, 4 }, axis = 1 },
    { x = {}, axis = 0 },
    { x = { 2, 3, 17 }, axis = 2 },
    { x = { 2, 3, 17 }, axis = 0, keep = true },
  },
}
