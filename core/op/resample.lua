return {
  doc = "One axis stretched or shrunk to `size` places: y[o] = x at o step (nearest, rounded "
    .. "down), (o + 1/2) step - 1/2 (linear, between two), or o step (corners, so).",
  source = "semantics of PyTorch's upsample; several axes, one after the other: ml.upsample",
  arg = {
    { "x", "f64|f32[...]" }, { "axis", "int" }, { "size", "int" }, { "step", "number" },
    { "mode", "choice:nearest|linear|corners" },
  },
  out = { "y", "x", shape = "resample(x, axis, size, step)" },
  cpu = "f32",
  grad = "resample_backward",
  tol = { f32 = 2e-6 },
  sweep = {
    { x = { 2, 3, 4 }, axis = 3, size = 7, step = 4 / 7, mode = "nearest" },
    { x = { 2, 3, 4 }, axis = 2, size = 7, step = 3 / 7, mode = "linear" },
    { x = { 2, 3, 4 }, axis = 3, size = 7, step = 4 / 7, mode = "linear" },
    { x = { 2, 5, 4 }, axis = -2, size = 3, step = 2, mode = "corners" },
    { x = { 2, 5 }, axis = 2, size = 2, step = 2.5, mode = "nearest" },
    { x = { 4, 0 }, axis = 1, size = 8, step = 0.5, mode = "linear" },
    { x = { 3, 50, 40 }, axis = 2, size = 100, step = 0.5, mode = "linear", slow = true },
    { x = { 300, 40 }, axis = 2, size = 80, step = 39 / 79, mode = "corners", slow = true },
  },
}
