-- What goes along an axis (from 1, negative from the end), in core/op/softmax.c.
local cases = {
  { x = { 3, 5 }, axis = -1 }, { x = { 3, 5 }, axis = 1 }, { x = { 2, 3, 17 }, axis = 2 },
  { x = { 0, 4 }, axis = 2 }, { x = { 7 }, axis = 1 }, { x = { 2, 1500 }, axis = 2, slow = true },
}

local function along(name, doc, axis, o)
  return {
    name = name, doc = doc, arg = { { "x", "f64|f32[...]" }, { "axis", "int", axis } },
    out = { "y", "x", shape = ('along("%s", x, axis)'):format(name) },
    cpu = "f32", mixed = "wide", grad = name .. "_backward", twice = o.twice, keep = o.keep,
    tol = { f32 = o.tol }, sweep = cases,
  }
end

local function to_one(name, doc, o)
  return {
    name = name, doc = doc,
    arg = { { "x", "f64|f32[...]" }, { "axis", "int", 0 }, { "keep", "bool" }, o.arg },
    out = { "y", "x", shape = ('reduce("%s", x, axis, keep, %d)'):format(name, o.least) },
    cpu = "f32", mixed = "wide", grad = name .. "_backward", keep = true, tol = { f32 = 1e-5 },
    sweep = {
      { x = { 3, 5 }, axis = 0, correction = 1 },
      { x = { 3, 5 }, axis = 1, correction = 0 },
      { x = { 2, 3, 17 }, axis = 2, keep = true, correction = 1 },
      { x = { 4, 0 }, axis = 1, correction = 1 },
      { x = { 2, 1500 }, axis = 2, correction = 1, slow = true },
    },
  }
end

return {
  along("softmax", "y = e^x / sum e^x along the axis.", -1,
    { keep = true, tol = 2e-6, twice = { x = "y * (g - sum(g * y, axis, 1))" } }),
  along("log_softmax", "y = x - ln sum e^x along the axis.", -1,
    { keep = true, tol = 4e-6, twice = { x = "g - exp(y) * sum(g, axis, 1)" } }),
  along("cumsum", "The sums of all elements up to each one along the axis.", 1, { tol = 1e-5 }),
  to_one("logsumexp", "ln sum e^x along the axis, without overflow.", { least = 1 }),
  to_one("var", "The variance along the axis: sum (x - mean)^2 / (n - correction).",
    { least = 1, arg = { "correction", "number", 1 } }),
}
