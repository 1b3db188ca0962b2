local float = "f64|f32[...]"

return {
  {
    name = "scaled_dot_product_attention",
    doc = "dropout(softmax(scale q k' + mask)) v, rows of q [.., L, E] seeing those of k "
      .. "[.., S, E] and v [.., S, V]; mask broadcasts to [.., L, S], added, or bool, true where a "
      .. "row sees a column; causal: row l sees columns up to l. scale 0: 1 / sqrt(E). A row that "
      .. "sees nothing gives zeros.",
    source = "Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Dao et al. 2022",
    arg = {
      { "q", float }, { "k", "q[...]" }, { "v", "q[...]" },
      { "mask?", "bool|f64|f32|bf16|f16[...]" },
      { "causal", "bool" }, { "scale", "number", 0 }, { "p", "number", 0 },
      { "seed", "int", 0 }, { "stream", "int", 0 }, { "draw?", "i32|i64[...]" },
    },
    out = { "y", "q", shape = "attention(q, k, v, mask)" },
    saved = { "z", "q", shape = "attention_rows(q)" },
    mixed = "low",
    edges = "an infinite v times a probability that dropout made 0",
    strided = true, keep = true, grad = "attention_backward", constant = { mask = true },
    tol = { f32 = 5e-6 },
    sweep = {
      { q = { 3, 4 }, k = { 5, 4 }, v = { 5, 2 }, scale = 0, p = 0 },
      { q = { 2, 3, 4 }, k = { 2, 5, 4 }, v = { 2, 5, 4 }, mask = { 3, 5 }, scale = 0.7, p = 0 },
      { q = { 2, 2, 4, 3 }, k = { 2, 2, 4, 3 }, v = { 2, 2, 4, 3 }, causal = true, scale = 0,
        p = 0 },
      { q = { 2, 3, 4, 3 }, k = { 2, 3, 6, 3 }, v = { 2, 3, 6, 3 }, mask = { 2, 1, 1, 6 },
        scale = 0, p = 0 },
      { q = { 3, 4 }, k = { 5, 4 }, v = { 5, 2 }, mask = { bool = { 3, 5 } }, scale = 0, p = 0 },
      { q = { 2, 3, 4 }, k = { 2, 5, 4 }, v = { 2, 5, 4 }, scale = 0, p = 0.3, seed = 2,
        stream = 1 },
      { q = { 2, 0, 4 }, k = { 2, 5, 4 }, v = { 2, 5, 4 }, scale = 0, p = 0 },
      { q = { 2, 70, 16 }, k = { 2, 300, 16 }, v = { 2, 300, 8 }, scale = 0, p = 0, slow = true },
      { q = { 9, 130, 8 }, k = { 9, 130, 8 }, v = { 9, 130, 8 }, causal = true, scale = 0, p = 0.2,
        seed = 2, slow = true },
      { q = { 1, 300, 8 }, k = { 1, 300, 8 }, v = { 1, 300, 8 }, mask = { bool = { 300, 300 } },
        scale = 0, p = 0.2, seed = 2, slow = true },
    },
  },
}
