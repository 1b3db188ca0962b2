-- Single elements by numbers (from 0) along an axis: core/op/gather.c.
local ALL = "f64|f32|bf16|f16|i64|i32|u8|bool"
local indices, axis = { "indices", "i32|i64[...]" }, { "axis", "int" }
local domain = { indices = { 0, 3 } }

local function scatter(name, doc, dtypes, cases)
  return {
    name = name, doc = doc,
    arg = { { "x", dtypes .. "[...]" }, indices, { "src", "x[...]" }, axis },
    out = { "y", "x", shape = ('gather("%s", x, indices, src, axis)'):format(name) },
    grad = name .. "_backward", tol = { f32 = 1e-6 }, domain = domain, sweep = cases,
  }
end

return {
  {
    name = "gather", doc = "y[.., i, ..] = x[.., indices[.., i, ..], ..] along the axis.",
    arg = { { "x", ALL .. "[...]" }, indices, axis },
    out = { "y", "x", shape = 'gather("gather", x, indices, NULL, axis)' },
    grad = "gather_backward", tol = { f32 = 0 }, domain = domain,
    sweep = {
      { x = { 4 }, indices = { 6 }, axis = 1 },
      { x = { 4, 3 }, indices = { 2, 3 }, axis = 1 },
      { x = { 3, 4 }, indices = { 2, 5 }, axis = -1 },
      { x = { 2, 4, 3 }, indices = { 2, 1, 2 }, axis = 2 },
      { x = { 4, 3 }, indices = { 0, 3 }, axis = 1 },
    },
  },
  scatter("scatter", "x with src[.., i, ..] put at indices[.., i, ..] along the axis; of equal "
    .. "indices the last one holds.", ALL, {
      -- indices without repeats: those that do repeat have no gradient to compare
      { x = { 4 }, indices = { values = { 2, 0, 3 } }, src = { 3 }, axis = 1 },
      { x = { 4, 2 }, indices = { values = { { 2, 0 }, { 1, 3 } } }, src = { 2, 2 }, axis = 1 },
    }),
  scatter("scatter_add", "x with src[.., i, ..] added at indices[.., i, ..] along the axis.",
    "f64|f32", {
      { x = { 4 }, indices = { 6 }, src = { 6 }, axis = 1 },
      { x = { 4, 3 }, indices = { 5, 2 }, src = { 5, 2 }, axis = 1 },
      { x = { 2, 4, 3 }, indices = { 2, 2, 3 }, src = { 2, 2, 3 }, axis = 2 },
    }),
}
