--- Recurrent layers: RNN, LSTM, GRU, of several layers, in one direction or both; and their cells.
--
-- Parameters are laid out and named as PyTorch's (weight_ih_l0, …, _reverse): states carry over.
-- The input's product of all steps is one matrix product, the rest one operation a layer and
-- direction (op.rnn, op.lstm, op.gru).
-- @module mlua.nn.recurrent
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local fit = require "mlua.nn.inputs"
local new_padded = require "mlua.nn.padded"
local tensor = require "mlua.tensor"

local op, is_tensor = core.op, core.is_tensor
local bad, what = core.bad, fit.what
local classes = {}
local OPTIONS = { lengths = true } -- of a forward

-- A tensor of these sizes, or nil.
local function check_state(t, n, class, label, ...)
  if t == nil then return end
  local want = "[" .. table.concat({ ... }, ", ") .. "]"
  if what(t) ~= want then bad(n, class, "%s: expected %s, got %s", label, want, what(t)) end
end

-- Gates by kind, and what one operation makes of a sequence: the states h [T, B, H], and c.
local KINDS = {
  RNN = { gates = 1, run = function(self, z, w, b, h, _, reverse)
    return op.rnn(z, w, b, h, self.activation, reverse)
  end },
  GRU = { gates = 3, run = function(_, z, w, b, h, _, reverse)
    return op.gru(z, w, b, h, reverse)
  end },
  LSTM = { gates = 4, run = function(_, z, w, b, h, c, reverse)
    local y = op.lstm(z, w, b, h, c, reverse)
    return y:select(1, 1), y:select(1, 2)
  end },
}

local function known_options(class, more)
  local known = { inputs = "number", hidden = "number", bias = "boolean", dtype = "string",
                  seed = "number", stream = "number" }
  for k, v in pairs(more) do known[k] = v end
  if class:match "^RNN" then known.activation = "string" end
  return known
end

local function set_sizes(self, o, class)
  check.arg_at(2, o.activation == nil or o.activation == "tanh" or o.activation == "relu", 1, class,
    "activation: expected tanh or relu, got %s", check.what(o.activation))
  for _, key in ipairs { "inputs", "hidden" } do
    self[key] = check.int_at(2, o[key], 1, class, key, 1)
  end
  self.activation = o.activation or "tanh"
end

-- The parameters of one layer and direction, U(-1/sqrt(H), 1/sqrt(H)).
local function add_weights(self, o, gates, inputs, suffix, stream)
  local bound, wide = 1 / math.sqrt(self.hidden), gates * self.hidden
  local function draw(name, i, ...)
    local sizes = { ... }
    sizes[#sizes + 1] = { dtype = o.dtype, seed = o.seed, stream = stream and stream + i }
    self:parameter(name .. suffix, tensor.uniform(-bound, bound, unpack(sizes)))
  end
  draw("weight_ih", 0, wide, inputs)
  draw("weight_hh", 1, wide, self.hidden)
  if o.bias == false then return end
  draw("bias_ih", 2, wide)
  draw("bias_hh", 3, wide)
end

-- The input's part of the gates for [T, B, inputs].
local function input_part(self, x, suffix)
  local t, n = x:size(1), x:size(2)
  local w = self["weight_ih" .. suffix]
  local z = op.linear(x:reshape(t * n, x:size(3)), w, self["bias_ih" .. suffix])
  return z:reshape(t, n, w:size(1))
end

-- -- layers --

local function layer_class(name)
  local kind, Class = KINDS[name], Module.class(name)
  local has_c = name == "LSTM"
  local known = known_options(name, { layers = "number", batch_first = "boolean",
                                      dropout = "number", bidirectional = "boolean" })

  function Class.new(o)
    o = check.options(o, known, 1, name)
    local self = Class.create()
    set_sizes(self, o, name)
    self.layers = check.int(o.layers or 1, 1, name, "layers", 1)
    self.directions = o.bidirectional and 2 or 1
    self.batch_first = o.batch_first or false
    local p = o.dropout or 0
    check.arg(p >= 0 and p <= 1, 1, name, "dropout: expected 0 to 1, got %s", p)
    for l = 1, self.layers do
      local inputs = l == 1 and self.inputs or self.directions * self.hidden
      for d = 1, self.directions do
        local at = self.directions * (l - 1) + d - 1
        add_weights(self, o, kind.gates, inputs, ("_l%d%s"):format(l - 1, d == 2 and "_reverse"
          or ""), o.stream and 1024 * o.stream + 4 * at)
      end
    end
    if p > 0 and self.layers > 1 then
      self:child("dropout", require("mlua.nn.dropout").new { p = p, seed = o.seed,
        stream = o.stream and 1024 * o.stream + 1023 })
    end
    return self
  end

  -- x as [T, B, inputs], and how the user has it.
  local function steps_first(self, x)
    local n = is_tensor(x) and core.info(x).ndim
    if n ~= 2 and n ~= 3 or x:size(-1) ~= self.inputs then
      bad(1, name, "x: expected [%s, %d], got %s", self.batch_first and "B, T" or "T, B",
        self.inputs, what(x))
    end
    if n == 2 then return x:unsqueeze(2), true end
    return self.batch_first and x:transpose(1, 2) or x, false
  end

  -- One layer in one direction: all states, the last one, and the last c. Padded sequences are
  -- turned round for the way back, so that each begins at its end.
  local function pass(self, x, suffix, back, h0, c0, padded)
    local turn = padded and back
    local h, c = kind.run(self, input_part(self, turn and padded:turned(x) or x, suffix),
      self["weight_hh" .. suffix], self["bias_hh" .. suffix], h0, c0, back and not turn)
    if padded then
      local last, last_c = padded:last(h), c and padded:last(c)
      return padded:cleared(turn and padded:turned(h) or h), last, last_c
    end
    local last = back and 1 or x:size(1)
    return h, h:narrow(1, last, last), c and c:narrow(1, last, last)
  end

  function Class:forward(x, h0, c0, o)
    core.set_context(self._path)
    local single
    x, single = steps_first(self, x)
    local t, n, all = x:size(1), x:size(2), self.layers * self.directions
    if t == 0 then bad(1, name, "x: expected at least one step, got none") end
    local at = has_c and 4 or 3
    if not has_c then c0, o = nil, c0 end
    o = core.options(o, OPTIONS, at, name)
    if single then
      h0, c0 = is_tensor(h0) and h0:unsqueeze(2) or h0, is_tensor(c0) and c0:unsqueeze(2) or c0
    end
    check_state(h0, 2, name, "h0", all, n, self.hidden)
    check_state(c0, 3, name, "c0", all, n, self.hidden)
    local padded = o.lengths ~= nil and new_padded(o.lengths, t, n, at, name) or nil
    if padded then x = padded:cleared(x) end
    local hs, cs = {}, {}
    for l = 1, self.layers do
      if l > 1 and self.dropout then
        x = self.dropout(x)
        core.set_context(self._path)
      end
      local out = {}
      for d = 1, self.directions do
        local i = #hs + 1
        out[d], hs[i], cs[i] = pass(self, x, ("_l%d%s"):format(l - 1, d == 2 and "_reverse" or ""),
          d == 2, h0 and h0:select(1, i), c0 and c0:select(1, i), padded)
      end
      x = #out == 1 and out[1] or op.cat(out, 3)
    end
    local function joined(list)
      if #list == 0 then return nil end
      local y = #list == 1 and list[1] or op.cat(list, 1)
      return single and y:squeeze(2) or y
    end
    if single then x = x:squeeze(2) elseif self.batch_first then x = x:transpose(1, 2) end
    local h, c = joined(hs), joined(cs)
    core.set_context(nil)
    return x, h, c
  end

  function Class:describe()
    return ("%s %d -> %d%s%s"):format(name, self.inputs, self.hidden,
      self.layers > 1 and (", %d layers"):format(self.layers) or "",
      self.directions == 2 and ", both ways" or "")
  end
  classes[name] = Class
end

--- Plain recurrence, h = act(x w_ih' + b_ih + h w_hh' + b_hh).
-- @function RNN.new
-- @tparam table o  inputs; hidden: the size of the state; layers (1), each taking the one before's
--   states; bidirectional (false): a second one goes from the end, results side by side;
--   batch_first (false): x is [B, T, inputs]; dropout (0), between layers in training; activation
--   "tanh" or "relu" ("tanh"); bias (true); dtype ("f32"); seed and stream, which name the draws
-- @treturn RNN
-- @source Elman 1990, Cognitive Science 14

--- @function RNN:forward
-- @tparam Tensor x  [T, B, inputs], [B, T, inputs] where batch_first; or one sequence [T, inputs]
-- @tparam ?Tensor h0  [layers * directions, B, hidden]; zeros where absent
-- @tparam ?table o    lengths: of each sequence, a list or i64 [B], 1 to T each; those that are
--   shorter than x end there: what x holds behind counts for nothing, results there are 0, the
--   last h is that of the last step, and backwards begins there. All T steps are computed all the
--   same. As PyTorch's packed sequences, in any order of lengths.
-- @treturn Tensor  h after every step, [T, B, directions * hidden], or as x has them
-- @treturn Tensor  h after the last, [layers * directions, B, hidden]
layer_class "RNN"

--- Gated recurrent units; options, arguments and results as RNN's, without activation.
-- @function GRU.new
-- @source Cho et al. 2014, arXiv:1406.1078
layer_class "GRU"

--- Long short-term memory; options as RNN's, without activation. `y, h, c = lstm(x, h0, c0, o)`.
-- @function LSTM.new
-- @source Hochreiter & Schmidhuber 1997, Neural Computation 9
layer_class "LSTM"

-- -- cells --

local function cell_class(name)
  local kind, Class = KINDS[name], Module.class(name .. "Cell")
  local class = name .. "Cell"
  local known = known_options(class, {})

  function Class.new(o)
    o = check.options(o, known, 1, class)
    local self = Class.create()
    set_sizes(self, o, class)
    add_weights(self, o, kind.gates, self.inputs, "", o.stream and 1024 * o.stream)
    return self
  end

  function Class:forward(x, h, c)
    core.set_context(self._path)
    if not is_tensor(x) or core.info(x).ndim ~= 2 or x:size(2) ~= self.inputs then
      bad(1, class, "x: expected [B, %d], got %s", self.inputs, what(x))
    end
    check_state(h, 2, class, "h", x:size(1), self.hidden)
    if name ~= "LSTM" and c ~= nil then bad(3, class, "expected none, got %s", what(c)) end
    check_state(c, 3, class, "c", x:size(1), self.hidden)
    local h1, c1 = kind.run(self, input_part(self, x:unsqueeze(1), ""), self.weight_hh,
      self.bias_hh, h, c)
    core.set_context(nil)
    return h1:select(1, 1), c1 and c1:select(1, 1)
  end

  function Class:describe() return ("%s %d -> %d"):format(class, self.inputs, self.hidden) end
  classes[class] = Class
end

--- One step of RNN: `h = cell(x, h)`, x [B, inputs], h [B, hidden] or nil for zeros.
-- @function RNNCell.new
-- @tparam table o  inputs, hidden, activation, bias, dtype, seed, stream
cell_class "RNN"

--- One step of GRU: `h = cell(x, h)`.
-- @function GRUCell.new
cell_class "GRU"

--- One step of LSTM: `h, c = cell(x, h, c)`.
-- @function LSTMCell.new
cell_class "LSTM"

return classes
