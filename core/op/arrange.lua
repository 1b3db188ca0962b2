-- What moves elements about: core/op/arrange.c. ml.pad, ml.flip, ml.roll, ml.tile and ml.tril
-- (lua/mlua/tensor/arrange.lua) are the forms that are pleasant to call.
local ALL = "f64|f32|bf16|f16|i64|i32|u8|bool"

local function triangle(name, doc)
  return {
    name = name, doc = doc,
    arg = { { "x", ALL .. "[...]" }, { "diagonal", "int", 0 } },
    out = { "y", "x", shape = ('matrices("%s", x)'):format(name) },
    grad = { x = name .. "(g, diagonal)" }, tol = { f32 = 0 },
    sweep = {
      { x = { 4, 4 }, diagonal = 0 },
      { x = { 3, 5 }, diagonal = 1 },
      { x = { 5, 3 }, diagonal = -2 },
      { x = { 2, 3, 17 }, diagonal = 4 },
      { x = { 2, 3 }, diagonal = -9 },
      { x = { 0, 4 }, diagonal = 0 },
    },
  }
end

local function pads(...) return { values = { ... } } end

return {
  {
    name = "pad",
    doc = "x with pads[1] elements more before and pads[2] after its last axis, pads[3], pads[4] "
      .. "of the one before it, and so on: value, or x's own; a negative count takes away.",
    source = "modes of torch.nn.functional.pad",
    arg = {
      { "x", ALL .. "[...]" }, { "pads", "i64|i32[P]" },
      { "mode", "choice:constant|reflect|replicate|circular", "constant" },
      { "value", "number", 0 },
    },
    out = { "y", "x", shape = "pad(x, pads, mode)" },
    grad = "pad_backward", tol = { f32 = 1e-6 },
    sweep = {
      { x = { 3, 5 }, pads = pads(1, 2), value = 1.5 },
      { x = { 3, 5 }, pads = pads(0, 0, 2, 1) },
      { x = { 2, 3, 4 }, pads = pads(1, 1, -1, 2) },
      { x = { 2, 3, 4 }, pads = pads(3, 2), mode = "reflect" },
      { x = { 2, 3, 4 }, pads = pads(2, 3), mode = "replicate" },
      { x = { 2, 3, 4 }, pads = pads(4, 2), mode = "circular" },
      { x = { 1, 2, 4, 3 }, pads = pads(1, 2, 3, 1), mode = "reflect" },
      { x = { 1, 2, 4, 3 }, pads = pads(1, 2, 3, 1), mode = "replicate" },
      { x = { 1, 2, 4, 3 }, pads = pads(1, 2, 3, 1), mode = "circular" },
      { x = { 0, 4 }, pads = pads(1, 1, 2, 0), value = -1 },
      { x = { 3, 4 }, pads = pads(-2, -2) },
    },
  },
  {
    name = "flip",
    doc = "x with axes turned round: axis d, from 1, where bit d - 1 of `axes` is set.",
    arg = { { "x", ALL .. "[...]" }, { "axes", "int" } },
    out = { "y", "x", shape = "flip(x, axes)" },
    grad = { x = "flip(g, axes)" }, tol = { f32 = 0 },
    sweep = {
      { x = { 5 }, axes = 1 }, { x = { 3, 5 }, axes = 1 }, { x = { 3, 5 }, axes = 2 },
      { x = { 2, 3, 17 }, axes = 5 }, { x = { 2, 3, 4 }, axes = 2 }, { x = { 0, 3 }, axes = 3 },
      { x = { 3, 5 }, axes = 0 },
    },
  },
  triangle("tril", "The lower triangles of matrices, up to a diagonal (0: the main one, 1: that "
    .. "above it); 0 elsewhere."),
  triangle("triu", "The upper triangles of matrices, from a diagonal (0: the main one, 1: that "
    .. "above it) on; 0 elsewhere."),
}
