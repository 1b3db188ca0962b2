-- Element-wise operations of one tensor: each a name, a sentence, the value of an element, its
-- gradient times g, and what differs from the rest.
local sweep = { { x = { 3, 5 } }, { x = {} }, { x = { 0 } }, { x = { 2, 3, 17 } } }

-- In mixed precision computed in f32: what loses its last digits in 16 bits (PyTorch's autocast has
-- the same ones).
local WIDE = {}
for _, name in ipairs { "acos", "acosh", "asin", "atanh", "cosh", "sinh", "tan", "exp", "exp2",
  "expm1", "log", "log2", "log10", "log1p", "reciprocal", "rsqrt", "softplus" } do
  WIDE[name] = "wide"
end

local function unary(name, doc, each, grad, o)
  o = o or {}
  local cases = {}
  for i, case in ipairs(sweep) do
    cases[i] = { x = case.x }
    for k, v in pairs(o.case or {}) do cases[i][k] = v end
  end
  cases[#cases + 1] = o.another
  local arg = { { "x", (o.dtypes or "f64|f32") .. "[...]" } }
  for _, a in ipairs(o.arg or {}) do arg[#arg + 1] = a end
  return {
    name = name, doc = doc, arg = arg, out = { "y", o.out or "x", shape = o.shape },
    each = each, each_int = o.each_int, mixed = WIDE[name], grad = grad and { x = grad },
    source = o.source,
    tol = { f32 = o.tol or 2e-6 }, domain = { x = o.domain or { -2, 2 } }, sweep = cases,
  }
end

local POSITIVE, ALL = { 0.2, 3 }, "f64|f32|i64|i32|u8"
local SQRT_2_PI = "0.7978845608028654" -- sqrt(2 / pi)

return {
  unary("abs", "y = |x|; the gradient at 0 is 0.", "fabs(x)",
    "x > 0 ? g : x < 0 ? -g : 0", { dtypes = ALL, each_int = "x < 0 ? -x : x" }),
  unary("sign", "y = -1, 0 or 1, as x is below, at or above 0; NaN stays.",
    "x > 0 ? 1.0 : x < 0 ? -1.0 : x", "0",
    { dtypes = ALL, each_int = "(x > 0) - (x < 0)" }),
  unary("square", "y = x^2.", "x * x", "g * 2.0 * x", { dtypes = ALL, tol = 1e-6 }),
  unary("reciprocal", "y = 1 / x.", "1.0 / x", "-g * y * y", { domain = POSITIVE }),
  unary("sqrt", "y = the square root of x.", "sqrt(x)", "g / y * 0.5", { domain = POSITIVE }),
  unary("rsqrt", "y = 1 / the square root of x.", "1.0 / sqrt(x)", "-0.5 * g * y / x",
    { domain = POSITIVE }),
  unary("exp", "y = e^x.", "exp(x)", "g * y"),
  unary("exp2", "y = 2^x.", "exp2(x)", "g * y * 0.6931471805599453"),
  unary("expm1", "y = e^x - 1, exact also near 0.", "expm1(x)", "g * (y + 1.0)"),
  unary("log", "y = ln x.", "log(x)", "g / x", { domain = POSITIVE }),
  unary("log2", "y = the logarithm of x to base 2.", "log2(x)", "g / (x * 0.6931471805599453)",
    { domain = POSITIVE }),
  unary("log10", "y = the logarithm of x to base 10.", "log10(x)",
    "g / (x * 2.302585092994046)", { domain = POSITIVE }),
  unary("log1p", "y = ln(1 + x), exact also near 0.", "log1p(x)", "g / (1.0 + x)",
    { domain = { -0.5, 2 } }),
  unary("sin", "y = sin x, x in radians.", "sin(x)", "g * cos(x)"),
  unary("cos", "y = cos x, x in radians.", "cos(x)", "-g * sin(x)"),
  unary("tan", "y = tan x, x in radians.", "tan(x)", "g * (1.0 + y * y)", { domain = { -1, 1 } }),
  unary("asin", "y = arcsin x, in radians.", "asin(x)", "g / sqrt(1.0 - x * x)",
    { domain = { -0.9, 0.9 } }),
  unary("acos", "y = arccos x, in radians.", "acos(x)", "-g / sqrt(1.0 - x * x)",
    { domain = { -0.9, 0.9 } }),
  unary("atan", "y = arctan x, in radians.", "atan(x)", "g / (1.0 + x * x)"),
  unary("sinh", "y = sinh x.", "sinh(x)", "g * cosh(x)", { tol = 4e-6 }),
  unary("cosh", "y = cosh x.", "cosh(x)", "g * sinh(x)", { tol = 4e-6 }),
  unary("tanh", "y = tanh x.", "tanh(x)", "g * (1.0 - y * y)"),
  unary("asinh", "y = arsinh x.", "asinh(x)", "g / sqrt(x * x + 1.0)"),
  unary("acosh", "y = arcosh x.", "acosh(x)", "g / sqrt(x * x - 1.0)", { domain = { 1.2, 3 } }),
  unary("atanh", "y = artanh x.", "atanh(x)", "g / (1.0 - x * x)", { domain = { -0.9, 0.9 } }),
  unary("erf", "y = erf x, the error function.", "erf(x)",
    "g * 1.1283791670955126 * exp(-x * x)"),
  unary("erfc", "y = 1 - erf x, exact also for large x.", "erfc(x)",
    "-g * 1.1283791670955126 * exp(-x * x)"),
  unary("floor", "y = the whole number at or below x.", "floor(x)", "0"),
  unary("ceil", "y = the whole number at or above x.", "ceil(x)", "0"),
  unary("round", "y = the whole number nearest to x, of two the even one.", "rint(x)", "0"),
  unary("trunc", "y = x without its fraction.", "trunc(x)", "0"),
  unary("frac", "y = the fraction of x, with its sign.", "x - trunc(x)", "g"),

  unary("relu", "y = max(x, 0); the gradient at 0 is 0.", "x < 0 ? 0 : x", "y > 0 ? g : 0"),
  unary("leaky_relu", "y = x where x > 0, else slope x.", "x > 0 ? x : slope * x",
    "x > 0 ? g : slope * g", { arg = { { "slope", "number", 0.01 } }, case = { slope = 0.1 } }),
  unary("elu", "y = x where x > 0, else alpha (e^x - 1).", "x > 0 ? x : alpha * expm1(x)",
    "x > 0 ? g : g * alpha * exp(x)",
    { arg = { { "alpha", "number", 1 } }, case = { alpha = 1.5 },
      source = "Clevert et al. 2016, arXiv 1511.07289" }),
  unary("selu", "y = 1.0507 x where x > 0, else 1.0507 * 1.6733 (e^x - 1).",
    "x > 0 ? 1.0507009873554805 * x : 1.7580993408473766 * expm1(x)",
    "x > 0 ? 1.0507009873554805 * g : 1.7580993408473766 * exp(x) * g",
    { source = "Klambauer et al. 2017, arXiv 1706.02515" }),
  unary("gelu", "y = x Phi(x), Phi the normal distribution's.",
    "0.5 * x * (1.0 + erf(x * 0.7071067811865476))",
    "g * (0.5 * (1.0 + erf(x * 0.7071067811865476)) + x * 0.3989422804014327 * exp(-0.5 * x * x))",
    { source = "Hendrycks & Gimpel 2016, arXiv 1606.08415" }),
  unary("gelu_tanh", "gelu by its approximation with tanh.",
    "0.5 * x * (1.0 + tanh(" .. SQRT_2_PI .. " * (x + 0.044715 * x * x * x)))",
    "g * (0.5 * (1.0 + tanh(" .. SQRT_2_PI .. " * (x + 0.044715 * x * x * x))) + 0.5 * x * (1.0 - "
      .. "tanh(" .. SQRT_2_PI .. " * (x + 0.044715 * x * x * x)) * "
      .. "tanh(" .. SQRT_2_PI .. " * (x + 0.044715 * x * x * x))) * "
      .. SQRT_2_PI .. " * (1.0 + 0.134145 * x * x))",
    { source = "Hendrycks & Gimpel 2016, arXiv 1606.08415" }),
  unary("sigmoid", "y = 1 / (1 + e^-x).", "1.0 / (1.0 + exp(-x))", "g * (y * (1.0 - y))",
    { domain = { -4, 4 } }),
  unary("log_sigmoid", "y = ln(1 / (1 + e^-x)).",
    "x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x))", "g / (1.0 + exp(x))", { domain = { -4, 4 } }),
  unary("silu", "y = x sigmoid(x).", "x / (1.0 + exp(-x))",
    "g * (1.0 + x * (1.0 - 1.0 / (1.0 + exp(-x)))) / (1.0 + exp(-x))"),
  unary("softplus", "y = ln(1 + e^(beta x)) / beta; x itself where beta x > threshold.",
    "beta * x > threshold ? x : log1p(exp(beta * x)) / beta",
    "beta * x > threshold ? g : g / (1.0 + exp(-beta * x))",
    { arg = { { "beta", "number", 1 }, { "threshold", "number", 20 } },
      case = { beta = 1.5, threshold = 20 },
      another = { x = { 3, 5 }, beta = 2, threshold = 1 } }),
  unary("softsign", "y = x / (1 + |x|).", "x / (1.0 + fabs(x))",
    "g / ((1.0 + fabs(x)) * (1.0 + fabs(x)))"),
  unary("hard_sigmoid", "y = x / 6 + 1/2, held within [0, 1].",
    "x <= -3.0 ? 0.0 : x >= 3.0 ? 1.0 : x / 6.0 + 0.5",
    "x > -3.0 && x < 3.0 ? g / 6.0 : 0", { domain = { -4, 4 } }),
  unary("hard_swish", "y = x hard_sigmoid(x).",
    "x <= -3.0 ? x * 0.0 : x >= 3.0 ? x : x * (x / 6.0 + 0.5)",
    "x <= -3.0 ? 0 : x >= 3.0 ? g : g * (x / 3.0 + 0.5)",
    { domain = { -4, 4 }, source = "Howard et al. 2019, arXiv 1905.02244" }),
  unary("hard_shrink", "y = x where |x| > lambda, else 0.", "fabs(x) > lambda ? x : x * 0.0",
    "fabs(x) > lambda ? g : 0", { arg = { { "lambda", "number", 0.5 } },
      case = { lambda = 0.5 } }),
  unary("clamp", "y = x held within [lo, hi]; the gradient passes where lo <= x <= hi.",
    "x < lo ? lo : x > hi ? hi : x", "x >= lo && x <= hi ? g : 0",
    { arg = { { "lo", "number" }, { "hi", "number" } }, case = { lo = -0.5, hi = 0.25 } }),
  unary("affine", "y = scale x + shift.", "x * scale + shift", "g * scale",
    { dtypes = ALL, arg = { { "scale", "number" }, { "shift", "number", 0 } },
      shape = "affine(x, scale, shift)", case = { scale = -1.5, shift = 2 } }),

  unary("isnan", "Whether x is NaN.", "x != x", nil, { out = "bool" }),
  unary("isinf", "Whether x is infinite.", "fabs(x) == HUGE_VAL", nil, { out = "bool" }),
  unary("isfinite", "Whether x is neither infinite nor NaN.", "fabs(x) < HUGE_VAL", nil,
    { out = "bool" }),
}
