return {
  doc = "x followed by the dot products of every pair of {x, rows of e}, row by row of the "
    .. "triangle.",
  source = "Naumov et al. 2019, arXiv:1906.00091; "
    .. "order of facebookresearch/dlrm, interact_features",
  arg = { { "x", "f64|f32[B,D]" }, { "e", "x[B,T,D]" }, { "itself", "bool" } },
  out = { "y", "x", shape = "interaction(x, e, itself)" },
  cpu = "f32",
  grad = "dot_interaction_backward",
  tol = { f32 = 1e-5 },
  sweep = {
    { x = { 3, 4 }, e = { 3, 2, 4 } },
    { x = { 3, 4 }, e = { 3, 2, 4 }, itself = true },
    { x = { 2, 16 }, e = { 2, 26, 16 } },
    { x = { 1, 5 }, e = { 1, 1, 5 } },
    { x = { 0, 4 }, e = { 0, 2, 4 } },
    { x = { 2, 3 }, e = { 2, 9, 3 }, itself = true },
  },
}
