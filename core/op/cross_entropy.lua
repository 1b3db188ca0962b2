-- Losses by class: core/op/cross_entropy.c.
local input, weight = { "input", "f64|f32[...]" }, { "weight?", "input[...]" }
local reduction = { "reduction", "choice:mean|sum|none", "mean" }
local ignore = { "ignore_index", "int", -100 }

local function cases(smooth)
  return {
    { input = { 4, 3 }, target = { 4 }, reduction = "mean", ignore_index = -100,
      label_smoothing = 0 },
    { input = { 4, 3 }, target = { 4 }, weight = { 3 }, reduction = "mean", ignore_index = 1,
      label_smoothing = smooth },
    { input = { 3, 3, 5 }, target = { 3, 5 }, weight = { 3 }, reduction = "none", ignore_index = 2,
      label_smoothing = smooth },
    { input = { 2, 3, 2, 2 }, target = { 2, 2, 2 }, reduction = "sum", ignore_index = -100,
      label_smoothing = 0 },
    { input = { 3 }, target = { values = 1 }, reduction = "sum", ignore_index = -100,
      label_smoothing = smooth },
    { input = { 0, 3 }, target = { 0 }, reduction = "sum", ignore_index = -100,
      label_smoothing = 0 },
    { input = { 40, 700 }, target = { 40 }, weight = { 700 }, reduction = "mean",
      ignore_index = -100, label_smoothing = smooth, slow = true },
    { input = { 3, 40, 130 }, target = { 3, 130 }, weight = { 40 }, reduction = "mean",
      ignore_index = 2, label_smoothing = smooth, slow = true },
  }
end

local function with_probabilities(list)
  for _, c in ipairs {
    { input = { 4, 3 }, reduction = "mean", label_smoothing = 0 },
    { input = { 3, 3, 5 }, weight = { 3 }, reduction = "none", label_smoothing = 0.2 },
    { input = { 3 }, reduction = "sum", label_smoothing = 0.1 },
    { input = { 40, 300 }, weight = { 300 }, reduction = "mean", label_smoothing = 0.1,
      slow = true },
  } do
    c.target = { float = c.input }
    c.ignore_index = -100
    list[#list + 1] = c
  end
  return list
end

return {
  {
    name = "cross_entropy",
    doc = "-sum_c q_c ln softmax(x)_c at every position of x [C] or [N, C, …], q the target: ids "
      .. "from 0, or probabilities of x's shape; weight [C] by class, labels smoothed over all.",
    source = "PyTorch's cross_entropy; smoothing: Szegedy et al. 2015, arXiv:1512.00567, section 7",
    arg = { input, { "target", "i32|i64|f64|f32|bf16|f16[...]" }, weight, reduction, ignore,
            { "label_smoothing", "number", 0 } },
    out = { "y", "input", shape = 'classes("cross_entropy", input, target, weight, reduction)' },
    saved = { "z", "input", shape = "positions(input)" },
    grad = "cross_entropy_backward", mixed = "wide", constant = { target = true, weight = true },
    tol = { f32 = 1e-5 }, domain = { target = { 0, 2 }, weight = { 0.5, 2 } },
    sweep = with_probabilities(cases(0.1)),
  },
  {
    name = "nll_loss",
    doc = "-w x at the target's class, for log-probabilities x [C] or [N, C, …] and ids from 0.",
    arg = { input, { "target", "i32|i64[...]" }, weight, reduction, ignore },
    out = { "y", "input", shape = 'classes("nll_loss", input, target, weight, reduction)' },
    grad = "nll_loss_backward", mixed = "wide", constant = { target = true, weight = true },
    tol = { f32 = 1e-5 }, domain = { target = { 0, 2 }, weight = { 0.5, 2 } },
    sweep = cases(),
  },
}
