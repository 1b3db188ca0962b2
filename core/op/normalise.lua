-- Normalisation: over the last axes, over groups of channels, over the batch (core/op/normalise.c).
local T = "f64|f32[...]"
local w, b = { "weight?", "x[...]" }, { "bias?", "x[...]" }
local state = "state f64|f32|bf16|f16[...]" -- running statistics stay as they are
local eps = { "eps", "number", 1e-5 }

return {
  {
    name = "layer_norm",
    doc = "(x - mean) / sqrt(var + eps) * weight + bias, over the last `axes` axes.",
    source = "Ba, Kiros, Hinton 2016, arXiv:1607.06450",
    arg = { { "x", T }, w, b, { "axes", "int", 1 }, eps },
    out = { "y", "x", shape = 'norm_last("layer_norm", x, weight, bias, axes, 4)' },
    saved = { "stats", "f64", shape = "row_stats(x, axes)" },
    cpu = "f32", mixed = "wide", grad = "layer_norm_backward", tol = { f32 = 2e-6 },
    sweep = {
      { x = { 3, 5 }, weight = { 5 }, bias = { 5 }, axes = 1, eps = 1e-5 },
      { x = { 3, 5 }, weight = { 5 }, axes = 1, eps = 1e-5 },
      { x = { 2, 3, 4 }, bias = { 3, 4 }, axes = 2, eps = 1e-2 },
      { x = { 2, 37 }, axes = 1, eps = 1e-5 },
      { x = { 0, 5 }, weight = { 5 }, bias = { 5 }, axes = 1, eps = 1e-5 },
      { x = { 300, 70 }, weight = { 70 }, bias = { 70 }, axes = 1, eps = 1e-5, slow = true },
    },
  },
  {
    name = "rms_norm",
    doc = "x / sqrt(mean(x^2) + eps) * weight, over the last `axes` axes.",
    source = "Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4",
    arg = { { "x", T }, w, { "axes", "int", 1 }, eps },
    out = { "y", "x", shape = 'norm_last("rms_norm", x, weight, NULL, axes, 3)' },
    saved = { "stats", "f64", shape = "row_stats(x, axes)" },
    cpu = "f32", mixed = "wide", grad = "rms_norm_backward", tol = { f32 = 2e-6 },
    sweep = {
      { x = { 3, 5 }, weight = { 5 }, axes = 1, eps = 1e-5 },
      { x = { 2, 3, 4 }, weight = { 3, 4 }, axes = 2, eps = 1e-2 },
      { x = { 2, 37 }, axes = 1, eps = 1e-5 },
      { x = { 0, 5 }, weight = { 5 }, axes = 1, eps = 1e-5 },
      { x = { 300, 70 }, weight = { 70 }, axes = 1, eps = 1e-5, slow = true },
    },
  },
  {
    name = "group_norm",
    doc = "(x - mean) / sqrt(var + eps) * weight + bias of x [N, C, …] over groups of channels of "
      .. "each sample; as many groups as channels make it instance norm.",
    source = "Wu & He 2018, arXiv:1803.08494",
    arg = { { "x", T }, { "groups", "int" }, w, b, eps },
    out = { "y", "x", shape = "group_norm(x, groups, weight, bias)" },
    saved = { "stats", "f64", shape = "stats(x->info.shape[0] * groups)" },
    cpu = "f32", mixed = "wide", grad = "group_norm_backward", tol = { f32 = 2e-6 },
    sweep = {
      { x = { 2, 6 }, groups = 2, weight = { 6 }, bias = { 6 }, eps = 1e-5 },
      { x = { 2, 4, 3 }, groups = 2, weight = { 4 }, bias = { 4 }, eps = 1e-5 },
      { x = { 2, 4, 5 }, groups = 4, weight = { 4 }, eps = 1e-3 },
      { x = { 2, 4, 5, 7 }, groups = 2, weight = { 4 }, bias = { 4 }, eps = 1e-5 },
      { x = { 1, 2, 3, 4, 3 }, groups = 1, eps = 1e-5 },
      { x = { 0, 4, 3 }, groups = 2, weight = { 4 }, bias = { 4 }, eps = 1e-5 },
      { x = { 9, 4, 6, 6 }, groups = 2, weight = { 4 }, bias = { 4 }, eps = 1e-5, slow = true },
      { x = { 70, 12, 3 }, groups = 4, weight = { 12 }, bias = { 12 }, eps = 1e-5, slow = true },
      { x = { 1, 2, 150, 120 }, groups = 1, weight = { 2 }, bias = { 2 }, eps = 1e-5, slow = true },
    },
  },
  {
    name = "batch_norm",
    doc = "(x - mean) / sqrt(var + eps) * weight + bias of x [N, C, …] by channel over the batch; "
      .. "mean and var, where given, move on by `momentum` towards the batch's.",
    source = "Ioffe & Szegedy 2015, arXiv:1502.03167; PyTorch's running statistics",
    arg = { { "x", T }, w, b, { "mean?", state }, { "var?", state },
            { "momentum", "number", 0.1 }, eps },
    out = { "y", "x", shape = "batch_norm(x, weight, bias, mean, var)" },
    saved = { "stats", "f64", shape = "stats(x->info.shape[1])" },
    cpu = "f32", grad = "batch_norm_backward", tol = { f32 = 2e-6 },
    sweep = {
      { x = { 5, 3 }, weight = { 3 }, bias = { 3 }, momentum = 0.1, eps = 1e-5 },
      { x = { 3, 2, 4 }, weight = { 2 }, bias = { 2 }, mean = { 2 }, var = { 2 }, momentum = 0.1,
        eps = 1e-5 },
      { x = { 2, 3, 5, 7 }, weight = { 3 }, bias = { 3 }, momentum = 0.1, eps = 1e-3 },
      { x = { 2, 3, 2, 3, 6 }, weight = { 3 }, momentum = 0.1, eps = 1e-5 },
      { x = { 0, 3, 4 }, weight = { 3 }, bias = { 3 }, momentum = 0.1, eps = 1e-5 },
      { x = { 4, 17, 6, 6 }, weight = { 17 }, bias = { 17 }, momentum = 0.1, eps = 1e-5,
        slow = true },
      { x = { 900, 40 }, weight = { 40 }, bias = { 40 }, momentum = 0.1, eps = 1e-5, slow = true },
      { x = { 2, 2, 150, 120 }, weight = { 2 }, bias = { 2 }, momentum = 0.1, eps = 1e-5,
        slow = true },
    },
  },
  {
    name = "batch_norm_fixed",
    doc = "(x - mean) / sqrt(var + eps) * weight + bias of x [N, C, …] by channel, with given mean "
      .. "and variance, which are constants to the gradient.",
    source = "Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 2",
    arg = { { "x", T }, { "mean", "x[...]" }, { "var", "x[...]" }, w, b, eps },
    out = { "y", "x", shape = "batch_norm_fixed(x, mean, var, weight, bias)" },
    saved = { "stats", "f64", shape = "stats(x->info.shape[1])" },
    cpu = "f32", grad = "batch_norm_fixed_backward", constant = { mean = true, var = true },
    tol = { f32 = 2e-6 }, domain = { var = { 0.5, 2 } },
    sweep = {
      { x = { 5, 3 }, mean = { 3 }, var = { 3 }, weight = { 3 }, bias = { 3 }, eps = 1e-5 },
      { x = { 2, 3, 5, 7 }, mean = { 3 }, var = { 3 }, weight = { 3 }, bias = { 3 }, eps = 1e-3 },
      { x = { 2, 17, 5, 7 }, mean = { 17 }, var = { 17 }, eps = 1e-3 },
      { x = { 0, 3, 4 }, mean = { 3 }, var = { 3 }, weight = { 3 }, bias = { 3 }, eps = 1e-5 },
    },
  },
}
