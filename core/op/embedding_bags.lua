return {
  doc = "Sums, means or largest elements of table rows over bags of ids, for all tables in one "
    .. "call.",
  source = "semantics of PyTorch's EmbeddingBag (sum, mean, max, per_sample_weights)",
  arg = {
    { "tables", "list f64|f32[R_,D]" }, -- one per table, any number of rows
    { "indices", "i32|i64[...]" },      -- ids from 0, table by table, sample by sample
    { "offsets?", "i32|i64[O]" },       -- T*B starts of bags and the end; absent: one id per bag
    { "weights?", "tables[...]" },      -- per id
    { "mode", "choice:sum|mean|max", "sum" },
    { "padding", "int", -1 },           -- an id without gradient, left out of bags; -1: none
  },
  out = { "y", "tables", shape = "bags(tables, n_tables, indices, offsets, weights)" }, -- [B,T,D]
  cpu = "f32",
  loose = "offsets && !weights ? indices : NULL",
  promote = false, -- a table is large, and its rows are updated in place
  grad = "embedding_bags_backward",
  tol = { f32 = 1e-5 },
  domain = { indices = { 0, 2 } },
  sweep = {
    { tables = { { 3, 4 }, { 5, 4 } }, indices = { 2, 3 } },
    { tables = { { 3, 16 } }, indices = { 7 }, offsets = { values = { 0, 2, 2, 7 } } },
    { tables = { { 3, 16 } }, indices = { 7 }, offsets = { values = { 0, 2, 2, 7 } },
      mode = "mean" },
    { tables = { { 3, 5 }, { 4, 5 } }, indices = { 6 }, offsets = { values = { 0, 2, 3, 3, 6 } },
      weights = { 6 } },
    { tables = { { 3, 5 }, { 4, 5 } }, indices = { 6 }, offsets = { values = { 0, 2, 3, 3, 6 } },
      weights = { 6 }, mode = "mean" },
    { tables = { { 3, 16 }, { 4, 16 } }, indices = { 9 }, mode = "max",
      offsets = { values = { 0, 2, 2, 5, 9 } } },
    { tables = { { 3, 5 } }, indices = { 7 }, offsets = { values = { 0, 3, 4, 7 } }, padding = 1,
      weights = { 7 }, mode = "mean" },
    { tables = { { 3, 5 } }, indices = { 7 }, offsets = { values = { 0, 3, 4, 7 } }, padding = 2,
      mode = "max" },
    { tables = { { 3, 4 } }, indices = { 0 } },
    { tables = { { 3, 4 } }, indices = { 0 }, offsets = { values = { 0, 0, 0 } }, mode = "mean" },
  },
}
