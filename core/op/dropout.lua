-- Dropout, and the count that names its draws: core/op/dropout.c.
return {
  {
    name = "dropout",
    doc = "x / (1 - p), but 0 with probability p, by Philox: element i's draw is named by (seed, "
      .. "stream, draw, i / span); `span` elements in a row go together.",
    source = "Srivastava et al. 2014, JMLR 15",
    arg = { { "x", "f64|f32[...]" }, { "p", "number", 0.5 }, { "seed", "int", 0 },
            { "stream", "int", 0 }, { "draw?", "i32|i64[...]" }, { "span", "int", 1 } },
    out = { "y", "x", shape = "like(x)" },
    cpu = "f32", grad = { x = "dropout(g, p, seed, stream, draw, span)" }, tol = { f32 = 1e-6 },
    sweep = {
      { x = { 3, 50 }, p = 0.5, seed = 3, stream = 1, span = 1 },
      { x = { 3, 5, 4 }, p = 0.3, seed = 3, stream = 2, draw = { values = 7 }, span = 4 },
      { x = { 70 }, p = 0, seed = 0, stream = 0, span = 1 },
      { x = { 7 }, p = 1, seed = 0, stream = 0, span = 1 },
      { x = { 0, 4 }, p = 0.5, seed = 0, stream = 0, span = 1 },
      { x = { 3, 40001 }, p = 0.1, seed = 1, stream = 0, span = 1, slow = true },
    },
  },
  {
    name = "count_up",
    doc = "The count so far; the count itself, an integer, goes up by 1 in place.",
    arg = { { "count", "state i32|i64[...]" } },
    out = { "y", "count", shape = "like(count)" },
    tol = { f32 = 0 },
    sweep = { { count = { values = { 4 } } }, { count = { 0 } } },
  },
}
