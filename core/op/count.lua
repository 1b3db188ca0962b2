-- Counting and looking up values: core/op/count.c. ml.one_hot, ml.bincount, ml.histogram,
-- ml.bucketize (lua/mlua/tensor/order.lua and arrange.lua) work out the sizes.
local ALL = "f64|f32|i64|i32|u8"

local function values(...) return { values = { ... } } end

return {
  {
    name = "one_hot", doc = "1 at the id's place, from 0, of a new last axis; 0 elsewhere.",
    arg = { { "ids", "i64|i32|u8[...]" }, { "classes", "int" } },
    out = { "y", "i64", shape = "one_hot(ids, classes)" },
    tol = { f32 = 0 }, domain = { ids = { 0, 3 } },
    sweep = {
      { ids = { 5 }, classes = 4 }, { ids = { 2, 3 }, classes = 6 }, { ids = {}, classes = 4 },
      { ids = { 0 }, classes = 4 },
    },
  },
  {
    name = "bincount", doc = "How often each of 0 to bins - 1 is in x.",
    arg = { { "x", "i64|i32|u8[N]" }, { "bins", "int" } },
    out = { "y", "i64", shape = "bincount(bins)" },
    tol = { f32 = 0 }, domain = { x = { 0, 3 } },
    sweep = { { x = { 9 }, bins = 4 }, { x = { 300 }, bins = 7 }, { x = { 0 }, bins = 2 } },
  },
  {
    name = "histogram",
    doc = "How many of x, or how much of their weights, is in each bin between neighbouring edges, "
      .. "which rise: from one to below the next, of the last bin to the last edge itself.",
    arg = { { "x", "f64|f32[...]" }, { "edges", "x[E]" }, { "weights?", "x[...]" } },
    out = { "y", "x", shape = "histogram(x, edges, weights)" },
    tol = { f32 = 1e-5 },
    sweep = {
      { x = { 3, 50 }, edges = values(-1, -0.5, 0, 0.5, 1) },
      { x = { 99 }, edges = values(-0.75, -0.7, 0.1, 0.875), weights = { 99 } },
      { x = { 0 }, edges = values(-1, 1) },
    },
  },
  {
    name = "searchsorted",
    doc = "The first place, from 0, among the edges (which rise along their last axis) that is "
      .. "not below the value; with `right`, that is above it. Edges of one axis, or one row for "
      .. "each of values'.",
    arg = { { "edges", ALL .. "[...]" }, { "values", "edges[...]" }, { "right", "bool" } },
    out = { "y", "i64", shape = "search(edges, values)" },
    tol = { f32 = 0 },
    sweep = {
      { edges = values(-0.5, 0, 0.25, 0.75), values = { 3, 5 } },
      { edges = { values = { { -0.5, 0 }, { 0.25, 0.75 } } }, values = { 2, 9 }, right = true },
      { edges = values(-0.5, 0, 0.25, 0.75), values = {}, right = true },
      { edges = { 0 }, values = { 3 } },
    },
  },
}
