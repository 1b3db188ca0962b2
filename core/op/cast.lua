return {
  doc = "x converted to another dtype: to floats rounded to the nearest, of two the even one; to "
    .. "integers cut towards 0 and held within their range, NaN to 0; to bool, whether it is not "
    .. "0. The gradient is converted back; none goes through integers.",
  arg = {
    { "x", "f64|f32|bf16|f16|i64|i32|u8|bool[...]" },
    { "dtype", "choice:f64|f32|bf16|f16|i64|i32|u8|bool" }, -- in the order of mlua.h's enum
  },
  out = { "y", "dtype", shape = "like(x)" },
  promote = false,
  strided = true,
  grad = "cast_backward", twice = true,
  tol = { f32 = 0 },
  sweep = {
    { x = { 3, 5 }, dtype = "f64" },
    { x = {}, dtype = "f64" },
    { x = { 0, 2 }, dtype = "f64" },
  },
}
