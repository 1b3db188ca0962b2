return {
  doc = "Binary cross-entropy of logits: w (max(x, 0) - x t + ln(1 + e^-|x|)).",
  arg = {
    { "input", "f64|f32[...]" }, { "target", "input[...]" }, { "weight?", "input[...]" },
    { "reduction", "choice:mean|sum", "mean" },
  },
  out = { "y", "input", shape = 'loss("bce_logits", input, target, weight)' },
  grad = "bce_logits_backward",
  constant = { target = true, weight = true },
  tol = { f32 = 1e-5 },
  domain = { input = { -3, 3 }, target = { 0, 1 }, weight = { 0.5, 2 } },
  sweep = {
    { input = { 6, 1 }, target = { 6, 1 } },
    { input = { 3, 5 }, target = { 3, 5 }, reduction = "sum" },
    { input = { 7 }, target = { 7 }, weight = { 7 } },
    { input = { 0 }, target = { 0 }, reduction = "sum" },
  },
}
