-- Draws by probabilities: core/op/draw.c. ml.bernoulli and ml.multinomial
-- (lua/mlua/tensor/draw.lua) name seed and stream as ml.rand does.
local named = { { "seed", "int" }, { "stream", "int" } }

return {
  {
    name = "bernoulli", doc = "1 with the probability, else 0.",
    arg = { { "probs", "f64|f32[...]" }, named[1], named[2] },
    out = { "y", "probs", shape = "like(probs)" },
    tol = { f32 = 0 }, domain = { probs = { 0, 1 } },
    sweep = {
      { probs = { 3, 50 }, seed = 1, stream = 2 }, { probs = {}, seed = 0, stream = 0 },
      { probs = { 0, 3 }, seed = 0, stream = 0 },
    },
  },
  {
    name = "multinomial",
    doc = "n ids for each row of weights (along the last axis), an id with a probability in "
      .. "proportion to its weight; without replacement each once, in the order drawn.",
    arg = {
      { "weights", "f64|f32[...]" }, { "n", "int" }, { "replacement", "bool" }, named[1], named[2],
    },
    out = { "y", "i64", shape = "multinomial(weights, n)" },
    source = "without replacement: Efraimidis & Spirakis 2006, Weighted random sampling with a "
      .. "reservoir",
    tol = { f32 = 0 }, domain = { weights = { 0.1, 2 } },
    sweep = {
      { weights = { 5 }, n = 4, seed = 1, stream = 0 },
      { weights = { 3, 7 }, n = 20, replacement = true, seed = 1, stream = 5 },
      { weights = { 3, 7 }, n = 7, seed = 1, stream = 9 },
      { weights = { 0, 7 }, n = 2, seed = 0, stream = 0 },
    },
  },
}
