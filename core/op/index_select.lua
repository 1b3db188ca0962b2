return {
  doc = "Slices of x along an axis by their numbers (from 0); the indices' axes take its place.",
  arg = {
    { "x", "f64|f32|bf16|f16|i64|i32|u8|bool[...]" }, { "indices", "i32|i64[...]" },
    { "axis", "int", 1 },
  },
  out = { "y", "x", shape = "select(x, indices, axis)" },
  grad = "index_select_backward",
  tol = { f32 = 1e-6 },
  domain = { indices = { 0, 3 } },
  sweep = {
    { x = { 4 }, indices = { 6 }, axis = 1 },
    { x = { 4, 3 }, indices = { 2, 5 }, axis = 1 },
    { x = { 4, 2 }, indices = { 0 }, axis = 1 },
    { x = { 2, 4, 3 }, indices = { 5 }, axis = 2 },
    { x = { 3, 4 }, indices = { 2, 2 }, axis = -1 },
  },
}
