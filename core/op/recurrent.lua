-- Recurrent networks over whole sequences, in core/op/recurrent.c. The input's part of the
-- pre-activations, z, is a matrix product of its own, of all steps at once.
local float = "f64|f32[...]"
local w, b, h0 = { "w", "z[...]" }, { "b?", "z[...]" }, { "h0?", "z[...]" }
local reverse = { "reverse", "bool" }

-- Cases by the number of gates: z [T,B,GH], w [GH,H], b [GH], h0 [B,H].
local function cases(gates, more)
  local list = {}
  for i, c in ipairs {
    { 3, 2, 4, b = true, h0 = true }, { 4, 1, 3, reverse = true, h0 = true }, { 1, 3, 2 },
    { 2, 9, 5, b = true, h0 = true }, { 3, 17, 3, b = true, reverse = true },
    { 0, 2, 3, h0 = true }, { 2, 0, 3, b = true }, { 2, 7, 70, b = true, h0 = true, slow = true },
    { 3, 40, 33, b = true, h0 = true, slow = true },
    { 2, 7, 300, b = true, h0 = true, slow = true }, -- units in several cuts
  } do
    local t, n, h = c[1], c[2], c[3]
    local case = { z = { t, n, gates * h }, w = { gates * h, h }, b = c.b and { gates * h } or nil,
                   h0 = c.h0 and { n, h } or nil, c0 = c.h0 and { n, h } or nil,
                   reverse = c.reverse, slow = c.slow }
    for k, v in pairs(more and more(i) or {}) do case[k] = v end
    list[i] = case
  end
  return list
end

return {
  {
    name = "lstm",
    doc = "A layer of long short-term memory over a sequence, from the input's part z [T, B, 4 H] "
      .. "of the gates i, f, g, o, the recurrent weight w [4 H, H] and bias b [4 H], and the first "
      .. "state h0, c0 [B, H], else zeros: the states after every step, [2, T, B, H], h then c. "
      .. "reverse: from the last step to the first.",
    source = "Hochreiter & Schmidhuber 1997; gates as PyTorch's LSTM has them",
    arg = { { "z", float }, w, b, h0, { "c0?", "z[...]" }, reverse },
    out = { "y", "z", shape = 'recurrent("lstm", z, w, b, h0, c0, 4)' },
    saved = { "a", "z", shape = "recurrent_kept(z)" },
    cpu = "f32", keep = true, grad = "lstm_backward", tol = { f32 = 5e-6 }, sweep = cases(4),
  },
  {
    name = "gru",
    doc = "A layer of gated recurrent units over a sequence, from the input's part z [T, B, 3 H] "
      .. "of the gates r, z, n, the recurrent weight w [3 H, H] and bias b [3 H], and the first "
      .. "state h0 [B, H], else zeros: the state after every step, [T, B, H]. reverse: from the "
      .. "last step to the first.",
    source = "Cho et al. 2014, arXiv:1406.1078; gates as PyTorch's GRU has them",
    arg = { { "z", float }, w, b, h0, reverse },
    out = { "y", "z", shape = 'recurrent("gru", z, w, b, h0, NULL, 3)' },
    saved = { "a", "z", shape = "gru_kept(z)" },
    cpu = "f32", keep = true, grad = "gru_backward", tol = { f32 = 5e-6 }, sweep = cases(3),
  },
  {
    name = "rnn",
    doc = "A plain recurrent layer over a sequence, h = act(z + h w' + b), from the input's part z "
      .. "[T, B, H], w [H, H], b [H] and the first state h0 [B, H], else zeros: the state after "
      .. "every step, [T, B, H]. reverse: from the last step to the first.",
    source = "Elman 1990, Cognitive Science 14",
    arg = { { "z", float }, w, b, h0, { "act", "choice:tanh|relu", "tanh" }, reverse },
    out = { "y", "z", shape = 'recurrent("rnn", z, w, b, h0, NULL, 1)' },
    cpu = "f32", keep = true, grad = "rnn_backward", tol = { f32 = 5e-6 },
    sweep = cases(1, function(i) return { act = i % 2 == 0 and "relu" or "tanh" } end),
  },
}
