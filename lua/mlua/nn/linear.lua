--- A fully connected layer with its activation, and a chain of them.
-- @module mlua.nn.linear
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"
local text = require "mlua.text"

local linear, is_tensor = core.op.linear, core.is_tensor

local Linear = Module.class "Linear"

local ACTIVATIONS = { none = true, relu = true, sigmoid = true }

local function check_activation(name, class, option)
  if name == nil or ACTIVATIONS[name] then return end
  check.arg_at(2, false, 1, class, "%s: expected none, relu or sigmoid, got %s%s", option,
    check.what(name), text.did_you_mean(name, text.keys(ACTIVATIONS)))
end

--- y = act(x w' + b), w ~ N(0, sqrt(2 / (m + n))), b ~ N(0, sqrt(1 / m)), as the public DLRM has
-- it; the second number is the standard deviation.
-- @tparam table o  inputs n, outputs m; activation "none", "relu" or "sigmoid" ("none"); bias
--   (true); dtype ("f32"); seed and stream, which name the draws
-- @treturn Linear
-- @source facebookresearch/dlrm, dlrm_s_pytorch.py, create_mlp
function Linear.new(o)
  check.options(o, { inputs = "number", outputs = "number", activation = "string", bias = "boolean",
                     dtype = "string", seed = "number", stream = "number" }, 1, "Linear")
  o = o or {}
  local n = check.int(o.inputs, 1, "Linear", "inputs", 0)
  local m = check.int(o.outputs, 1, "Linear", "outputs", 1)
  check_activation(o.activation, "Linear", "activation")
  local self = Linear.create()
  self.inputs, self.outputs, self.activation = n, m, o.activation or "none"
  local function draw(sd, stream, ...)
    local sizes = { ... }
    sizes[#sizes + 1] = { dtype = o.dtype, seed = o.seed, stream = stream }
    return tensor.normal(0, sd, unpack(sizes))
  end
  self:parameter("weight", draw(math.sqrt(2 / (m + n)), o.stream and 2 * o.stream, m, n))
  if o.bias ~= false then
    self:parameter("bias", draw(math.sqrt(1 / m), o.stream and 2 * o.stream + 1, m))
  end
  return self
end

-- Of x [.., inputs] with any axes before.
local function over_last(self, x)
  local sizes = x:shape()
  local wide = table.remove(sizes)
  if wide ~= self.inputs then -- raises
    return linear(x, self.weight, self.bias, self.activation)
  end
  local rows = 1
  for d = 1, #sizes do rows = rows * sizes[d] end
  sizes[#sizes + 1] = self.outputs
  local y = linear(x:reshape(rows, wide), self.weight, self.bias, self.activation)
  return y:reshape(sizes)
end

--- @tparam Tensor x  [.., inputs]
-- @treturn Tensor    [.., outputs]
-- @raise bad argument #1 or #2 to 'linear' with the shapes, after the layer's path
function Linear:forward(x)
  if is_tensor(x) and core.info(x).ndim ~= 2 then
    core.set_context(self._path)
    local y = over_last(self, x)
    core.set_context(nil)
    return y
  end
  if not self._path then return linear(x, self.weight, self.bias, self.activation) end
  core.set_context(self._path)
  local y = linear(x, self.weight, self.bias, self.activation)
  core.set_context(nil)
  return y
end

function Linear:describe()
  return ("Linear %d -> %d%s"):format(self.inputs, self.outputs,
    self.activation == "none" and "" or " " .. self.activation)
end

local MLP = Module.class "MLP"

--- A chain of Linear layers: `MLP.new { sizes = {13, 64, 16}, last = "relu" }`.
-- @tparam table o  sizes: widths from input to output; activation between layers ("relu"), last
--   ("relu"): that of the last layer; bias; dtype; seed; stream: the first layer's
-- @treturn MLP     its layers are its children "1", "2", …
function MLP.new(o)
  check.options(o, { sizes = "table", activation = "string", last = "string", bias = "boolean",
                     dtype = "string", seed = "number", stream = "number" }, 1, "MLP")
  o = o or {}
  check_activation(o.activation, "MLP", "activation")
  check_activation(o.last, "MLP", "last")
  local sizes = o.sizes
  check.arg(type(sizes) == "table", 1, "MLP", "sizes: expected a list of widths, got %s",
    check.what(sizes))
  for i, n in ipairs(sizes) do check.int(n, 1, "MLP", "sizes[" .. i .. "]", i == 1 and 0 or 1) end
  check.arg(#sizes >= 2, 1, "MLP", "sizes: expected at least an input and an output width, got %d",
    #sizes)
  local self = MLP.create()
  self.layers = {}
  for i = 1, #sizes - 1 do
    local activation = i == #sizes - 1 and (o.last or "relu") or (o.activation or "relu")
    self.layers[i] = self:child(tostring(i), Linear.new {
      inputs = sizes[i], outputs = sizes[i + 1], activation = activation, bias = o.bias,
      dtype = o.dtype, seed = o.seed, stream = o.stream and o.stream + i - 1,
    })
  end
  return self
end

--- @tparam Tensor x  [B, sizes[1]]
-- @treturn Tensor    [B, sizes[#sizes]]
function MLP:forward(x)
  local layers = self.layers
  for i = 1, #layers do x = layers[i](x) end
  return x
end

return { Linear = Linear, MLP = MLP }
