return {
  doc = "y = act(x w' + b): a fully connected layer with its activation.",
  arg = {
    { "x", "f64|f32[B,K]" }, { "w", "x[N,K]" }, { "b?", "x[N]" },
    { "act", "choice:none|relu|sigmoid", "none" },
  },
  out = { "y", "x", "[B,N]" },
  check = { "w", "x", "b" },
  cpu = "f32",
  keep = true,
  grad = "linear_backward",
  tol = { f32 = 1e-5 },
  sweep = {
    { x = { 3, 5 }, w = { 4, 5 }, b = { 4 } },
    { x = { 3, 5 }, w = { 4, 5 } },
    { x = { 2, 17 }, w = { 9, 17 }, b = { 9 }, act = "relu" },
    { x = { 1, 8 }, w = { 1, 8 }, b = { 1 }, act = "sigmoid" },
    { x = { 8, 33 }, w = { 6, 33 }, b = { 6 }, act = "sigmoid" },
    { x = { 0, 5 }, w = { 4, 5 }, b = { 4 }, act = "relu" },
    { x = { 300, 7 }, w = { 130, 7 }, b = { 130 }, act = "relu", slow = true },
    { x = { 16, 64 }, w = { 1, 64 }, b = { 1 }, act = "sigmoid" },
  },
}
