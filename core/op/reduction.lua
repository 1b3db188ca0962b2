-- Reductions along one axis (from 1, negative from the end), or over all where axis is 0; the axis
-- stays with size 1 where `keep`.
local function reduction(name, doc, o)
  local least = o.least or 0
  return {
    name = name, doc = doc,
    arg = { { "x", o.dtypes .. "[...]" }, { "axis", "int", 0 }, { "keep", "bool" } },
    out = { "y", o.out or "x", shape = ('reduce("%s", x, axis, keep, %d)'):format(name, least) },
    cpu = o.cpu ~= false and (o.cpu or o.dtypes) or nil, grad = o.grad, twice = o.twice,
    keep = o.keep, mixed = o.mixed, tol = { f32 = o.tol or 1e-6 }, domain = o.domain,
    sweep = {
      { x = { 3, 5 }, axis = 0 },
      { x = { 3, 5 }, axis = 1 },
      { x = { 3, 5 }, axis = -1, keep = true },
      { x = { 4, 0 }, axis = least > 0 and 1 or 2 },
      { x = { 2, 3, 17 }, axis = 2 },
      { x = { 2, 3, 17 }, axis = 0, keep = true },
      least == 0 and { x = { 0, 4 }, axis = 1 } or { x = { 1 }, axis = 1 },
      { x = {}, axis = 0 },
      { x = { 37, 21 }, axis = 2 }, -- four rows at once, and one left over
      { x = { 18, 5 }, axis = 2, keep = true },
      { x = { 2, 9, 300 }, axis = 2, slow = true },
      { x = { 2, 70000 }, axis = 2, slow = true },
    },
  }
end

local ALL = "f64|f32|i64|i32|u8"

return {
  reduction("sum", "The sum; of integers and bool in i64.",
    { dtypes = "f64|f32|i64", grad = "sum_backward", twice = true, tol = 1e-5,
      mixed = "wide" }),
  reduction("prod", "The product; of integers and bool in i64.",
    { dtypes = "f64|f32|i64", grad = "prod_backward", mixed = "wide", tol = 1e-5,
      domain = { x = { 0.5, 1.4 } } }),
  reduction("max", "The largest element; NaN where there is one. Equal ones share the gradient.",
    { dtypes = ALL .. "|bool", grad = "extreme_backward", keep = true, least = 1 }),
  reduction("min", "The smallest element; NaN where there is one. Equal ones share the gradient.",
    { dtypes = ALL .. "|bool", grad = "extreme_backward", keep = true, least = 1 }),
  reduction("argmax", "The position, from 0, of the first largest element along the axis.",
    { dtypes = ALL, cpu = "f32", out = "i64", least = 1, tol = 0 }),
  reduction("argmin", "The position, from 0, of the first smallest element along the axis.",
    { dtypes = ALL, cpu = "f32", out = "i64", least = 1, tol = 0 }),
  reduction("any", "Whether any element is true.", { dtypes = "bool", out = "bool" }),
  reduction("all", "Whether all elements are true.", { dtypes = "bool", out = "bool" }),
  reduction("count_nonzero", "The number of elements that are not 0.",
    { dtypes = ALL .. "|bool", out = "i64", tol = 0 }),
}
