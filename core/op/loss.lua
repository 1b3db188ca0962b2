-- Losses of an input and a target, element by element, averaged, summed or as they are: loss.c.
local T = "f64|f32[...]"
local input, target = { "input", T }, { "target", "input[...]" }
local weight = { "weight?", "input[...]" }
local reduction = { "reduction", "choice:mean|sum|none", "mean" }

local function copy(case, more)
  local c = {}
  for k, v in pairs(case) do c[k] = v end
  for k, v in pairs(more) do c[k] = v end
  return c
end

-- o: arg: more arguments; case, other: numbers of its cases; symmetric: it depends on x - t alone
local function loss(name, doc, o)
  local arg = { input, target }
  if o.weight then arg[#arg + 1] = weight end
  arg[#arg + 1] = o.reduction or reduction
  if o.pos_weight then arg[#arg + 1] = { "pos_weight?", "input[...]" } end
  for _, a in ipairs(o.arg or {}) do arg[#arg + 1] = a end
  local sweep = {
    copy({ input = { 6, 1 }, target = { 6, 1 }, reduction = "mean" }, o.case or {}),
    copy({ input = { 3, 5 }, target = { 3, 5 }, reduction = "sum" }, o.case or {}),
    copy({ input = { 3, 5 }, target = { 3, 5 }, reduction = "none" }, o.other or o.case or {}),
    copy({ input = { 0 }, target = { 0 }, reduction = "sum" }, o.case or {}),
    copy({ input = { 7, 5000 }, target = { 7, 5000 }, reduction = "sum", slow = true },
      o.other or o.case or {}),
  }
  if o.weight then
    sweep[#sweep + 1] = { input = { 7 }, target = { 7 }, weight = { 7 }, reduction = "mean" }
  end
  if o.pos_weight then
    sweep[#sweep + 1] = { input = { 4, 3 }, target = { 4, 3 }, pos_weight = { 3 },
                          reduction = "mean" }
    sweep[#sweep + 1] = { input = { 4, 3 }, target = { 4, 3 }, weight = { 4, 3 },
                          pos_weight = { 4, 3 }, reduction = "none" }
  end
  return {
    name = name, doc = doc, source = o.source, arg = arg,
    out = { "y", "input", shape = ('loss("%s", input, target, %s, %s, reduction)'):format(name,
      o.weight and "weight" or "NULL", o.pos_weight and "pos_weight" or "NULL") },
    grad = name .. "_backward", mixed = "wide",
    constant = { target = not o.symmetric, weight = true, pos_weight = true },
    tol = { f32 = 1e-5 }, domain = o.domain, sweep = sweep,
  }
end

local function domain(input_of, target_of)
  return { input = input_of, target = target_of, weight = { 0.5, 2 }, pos_weight = { 0.5, 3 } }
end

return {
  loss("bce", "Binary cross-entropy of probabilities: -w (t ln p + (1 - t) ln(1 - p)), "
    .. "logarithms not below -100.", { weight = true, domain = domain({ 0.1, 0.9 }, { 0, 1 }) }),
  loss("bce_logits", "Binary cross-entropy of logits: -w (q t ln s + (1 - t) ln(1 - s)), s their "
    .. "sigmoid, q = pos_weight (of the last axes).",
    { weight = true, pos_weight = true, domain = domain({ -3, 3 }, { 0, 1 }) }),
  loss("mse", "Squared error: w (x - t)^2.",
    { weight = true, symmetric = true, domain = domain({ -2, 2 }, { -2, 2 }) }),
  loss("l1", "Absolute error: |x - t|.",
    { symmetric = true, domain = domain({ -2, 2 }, { -2, 2 }) }),
  loss("huber", "d^2 / 2 up to d = |x - t| = delta, then delta (d - delta / 2).",
    { source = "Huber 1964", symmetric = true,
      arg = { { "delta", "number", 1 } }, case = { delta = 1 },
      other = { delta = 0.7 }, domain = domain({ -2, 2 }, { -2, 2 }) }),
  loss("smooth_l1", "d^2 / (2 beta) up to d = |x - t| = beta, then d - beta / 2.",
    { source = "Girshick 2015, arXiv:1504.08083", symmetric = true,
      arg = { { "beta", "number", 1 } },
      case = { beta = 1 }, other = { beta = 0.5 }, domain = domain({ -2, 2 }, { -2, 2 }) }),
  loss("hinge", "max(0, margin - t x), for targets -1 and 1.",
    { arg = { { "margin", "number", 1 } }, case = { margin = 1 },
      domain = domain({ -2, 2 }, { -1, 1 }) }),
  loss("hinge_embedding", "x where the target is 1, max(0, margin - x) where it is -1.",
    { arg = { { "margin", "number", 1 } }, case = { margin = 1 },
      other = { margin = 1.5 }, domain = domain({ 0, 2 }, { 1, 1 }) }),
  loss("kl_div", "Kullback-Leibler divergence of a target from log-probabilities: t (ln t - x); "
    .. "e^t (t - x) where the target is a logarithm, too. batchmean: the sum over the first size.",
    { reduction = { "reduction", "choice:mean|sum|none|batchmean", "mean" },
      arg = { { "log_target", "bool" } }, other = { log_target = true },
      domain = domain({ -3, -0.1 }, { 0.1, 0.9 }) }),
  loss("focal", "Focal loss of logits: bce_logits (1 - q)^gamma, q the probability given to the "
    .. "target; times alpha t + (1 - alpha)(1 - t) where alpha is not negative.",
    { source = "Lin et al. 2017, arXiv:1708.02002, eq. 5",
      arg = { { "alpha", "number", 0.25 }, { "gamma", "number", 2 } },
      case = { alpha = 0.25, gamma = 2 }, other = { alpha = -1, gamma = 1.5 },
      domain = domain({ -3, 3 }, { 0, 1 }) }),
}
