-- The order of elements along an axis: core/op/sort.c. ml.sort and ml.topk give the values, too
-- (lua/mlua/tensor/order.lua).
local ALL = "f64|f32|i64|i32|u8|bool"

return {
  {
    name = "argsort",
    doc = "The positions, from 0, of the elements along the axis in rising order, or in falling "
      .. "order. Equal ones keep their order; NaN counts as the largest.",
    arg = { { "x", ALL .. "[...]" }, { "axis", "int", -1 }, { "descending", "bool" } },
    out = { "y", "i64", shape = 'along("argsort", x, axis)' },
    tol = { f32 = 0 },
    sweep = {
      { x = { 7 }, axis = 1 }, { x = { 3, 5 }, axis = -1, descending = true },
      { x = { 3, 5 }, axis = 1 }, { x = { 2, 3, 17 }, axis = 2, descending = true },
      { x = { 2, 300 }, axis = 2 }, { x = { 300, 2 }, axis = 1, descending = true },
      { x = { 0, 4 }, axis = 2 }, { x = { 4, 0 }, axis = 2 },
    },
  },
  {
    name = "topk_ids",
    doc = "The positions, from 0, of the k largest elements along the axis, the largest first; or "
      .. "of the smallest. Of equal ones the first come first; NaN counts as the largest.",
    arg = {
      { "x", ALL .. "[...]" }, { "k", "int" }, { "axis", "int", -1 }, { "smallest", "bool" },
    },
    out = { "y", "i64", shape = "topk(x, k, axis)" },
    tol = { f32 = 0 },
    sweep = {
      { x = { 7 }, k = 3, axis = 1 }, { x = { 3, 5 }, k = 5, axis = -1, smallest = true },
      { x = { 6, 5 }, k = 2, axis = 1 }, { x = { 2, 9, 4 }, k = 4, axis = 2, smallest = true },
      { x = { 2, 4000 }, k = 3, axis = 2 }, { x = { 3000, 2 }, k = 400, axis = 1 },
      { x = { 0, 4 }, k = 2, axis = 2 }, { x = { 3, 4 }, k = 0, axis = 2 },
    },
  },
}
