-- Element-wise operations of two or three tensors, broadcast as NumPy does: each a name, a
-- sentence, the value of an element, its gradients, and what differs from the rest.
local sweep = {
  { a = { 3, 5 }, b = { 3, 5 } },
  { a = { 3, 5 }, b = { 5 } },
  { a = { 4, 1 }, b = { 1, 7 } },
  { a = {}, b = { 2, 3 } },
  { a = { 0, 3 }, b = { 3 } },
  { a = { 2, 3, 17 }, b = { 3, 1 } },
}

local function binary(name, doc, each, grad, o)
  o = o or {}
  return {
    name = name, doc = doc,
    arg = { { "a", (o.dtypes or "f64|f32") .. "[...]" }, { "b", "a[...]" } },
    out = { "y", o.out or "a" }, each = each, each_int = o.each_int, grad = grad,
    mixed = o.mixed, tol = { f32 = o.tol or 1e-6 }, domain = o.domain, sweep = sweep,
  }
end

local ALL = "f64|f32|i64|i32|u8"
local POSITIVE = { 0.5, 2 }

local function compare(name, text, sign)
  return binary(name, "Whether a " .. text .. " b.", "a " .. sign .. " b", nil,
    { dtypes = ALL .. "|bool", out = "bool" })
end

local function logical(name, doc, each)
  return {
    name = name, doc = doc, arg = { { "a", "bool[...]" }, { "b", "bool[...]" } },
    out = { "y", "bool" }, each = each, tol = { f32 = 0 }, sweep = sweep,
  }
end

return {
  binary("add", "y = a + b.", "a + b", { a = "g", b = "g" }, { dtypes = ALL }),
  binary("sub", "y = a - b.", "a - b", { a = "g", b = "-g" }, { dtypes = ALL }),
  binary("mul", "y = a b.", "a * b", { a = "g * b", b = "g * a" }, { dtypes = ALL }),
  binary("div", "y = a / b.", "a / b", { a = "g / b", b = "-g * a / (b * b)" },
    { domain = { b = POSITIVE } }),
  binary("floor_divide", "y = a / b, rounded down; of integers, 0 where b is 0.", "floor(a / b)",
    nil, { dtypes = ALL, domain = { a = { -3, 3 }, b = { 1, 3 } }, tol = 0,
      each_int = "b == 0 ? 0 : b == -1 ? -a : a / b - (a % b != 0 && ((a < 0) != (b < 0)))" }),
  binary("remainder", "y = a - b floor(a / b), with the sign of b; of integers, 0 where b is 0.",
    "a - b * floor(a / b)", { a = "g", b = "-g * floor(a / b)" },
    { dtypes = ALL, domain = { a = { -3, 3 }, b = { 1, 3 } }, tol = 4e-6,
      each_int = "b == 0 || b == -1 ? 0 : a % b != 0 && (a < 0) != (b < 0) ? a % b + b : a % b" }),
  binary("pow", "y = a^b.", "pow(a, b)",
    { a = "b == 0 ? 0 : g * b * pow(a, b - 1.0)",
      b = "a == 0 && b >= 0 ? 0 : g * y * log(a)" },
    { domain = { a = POSITIVE, b = { -2, 2 } }, tol = 4e-6, mixed = "wide" }),
  binary("atan2", "y = the angle of the point (b, a), in radians.", "atan2(a, b)",
    { a = "g * b / (a * a + b * b)", b = "-g * a / (a * a + b * b)" },
    { domain = { b = POSITIVE }, tol = 2e-6 }),
  binary("hypot", "y = the square root of a^2 + b^2, without overflow.", "hypot(a, b)",
    { a = "g * a / y", b = "g * b / y" }, { domain = { b = POSITIVE } }),
  binary("maximum", "y = the larger of a and b; NaN where one is NaN. Of equal ones each has half "
    .. "of the gradient.", "a > b || a != a ? a : b",
    { a = "a > b ? g : a == b ? 0.5 * g : 0", b = "b > a ? g : a == b ? 0.5 * g : 0" },
    { dtypes = ALL, each_int = "a > b ? a : b" }),
  binary("minimum", "y = the smaller of a and b; NaN where one is NaN. Of equal ones each has half "
    .. "of the gradient.", "a < b || a != a ? a : b",
    { a = "a < b ? g : a == b ? 0.5 * g : 0", b = "b < a ? g : a == b ? 0.5 * g : 0" },
    { dtypes = ALL, each_int = "a < b ? a : b" }),
  binary("prelu", "y = a where a > 0, else b a: relu with slopes b, which may be learned.",
    "a > 0 ? a : b * a", { a = "a > 0 ? g : g * b", b = "a > 0 ? 0 : g * a" }),

  compare("eq", "equals", "=="), compare("ne", "differs from", "!="),
  compare("lt", "is below", "<"), compare("le", "is at most", "<="),
  compare("gt", "is above", ">"), compare("ge", "is at least", ">="),

  logical("logical_and", "Whether both are true.", "a && b"),
  logical("logical_or", "Whether one of them is true.", "a || b"),
  logical("logical_xor", "Whether just one of them is true.", "!a != !b"),
  {
    name = "logical_not", doc = "Whether x is false.", arg = { { "x", "bool[...]" } },
    out = { "y", "bool" }, each = "!x", tol = { f32 = 0 },
    sweep = { { x = { 3, 5 } }, { x = {} }, { x = { 0 } } },
  },
  {
    name = "where", doc = "y = a where the condition c holds, else b.",
    arg = { { "c", "bool[...]" }, { "a", "f64|f32|i64|i32|u8|bool[...]" }, { "b", "a[...]" } },
    out = { "y", "a" }, each = "c ? a : b",
    grad = { a = "c ? g : 0", b = "c ? 0 : g" }, tol = { f32 = 0 },
    sweep = {
      { c = { 3, 5 }, a = { 3, 5 }, b = { 3, 5 } },
      { c = { 3, 1 }, a = { 5 }, b = {} },
      { c = {}, a = { 2, 3, 17 }, b = { 3, 1 } },
      { c = { 0, 2 }, a = { 0, 2 }, b = { 2 } },
    },
  },
}
