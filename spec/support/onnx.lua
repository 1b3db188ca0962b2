--- Runs graphs of ONNX nodes over mlua's operations: enough of opset 6 to 9 for test vectors.
--
-- A node's axes count from 0; attributes are those of the first versions (axes, pads and repeats as
-- attributes, "broadcast" with "axis"). A node type that stands on an operation of a name that
-- mlua does not have is reported by `lacks`, and comes alive with it.
-- @source ONNX operator schemas, github.com/onnx/onnx docs/Changelog.md
local ml = require "mlua"

local Tensor = require "mlua.tensor".Tensor

local onnx = {}

-- ONNX's type → { the function or method that it needs, inputs and attributes → outputs }.
local NODES = {}

local function node(name, needs, run) NODES[name] = { needs = needs, run = run } end

local function axis_of(x, axis) return axis < 0 and axis + x:dim() + 1 or axis + 1 end

-- ONNX's pads, beginnings then ends, as one number an axis: those of these graphs are the same.
local function padding(pads)
  local half, list = #(pads or {}) / 2, {}
  for i = 1, half do
    assert(pads[i] == pads[half + i], "pads that differ")
    list[i] = pads[i]
  end
  return list
end

-- A value of fewer axes, put at `axis` of x's: what "broadcast" meant before NumPy's rule.
local function placed(x, b, axis)
  local sizes = b:shape()
  while axis and #sizes < x:dim() - axis do sizes[#sizes + 1] = 1 end
  return b:reshape(sizes)
end

-- -- element by element --

for name, f in pairs { Exp = "exp", Selu = "selu", Sigmoid = "sigmoid", Softplus = "softplus",
                       Tanh = "tanh" } do
  node(name, f, function(_, x) return ml[f](x) end)
end

for name, f in pairs { Add = "add", Mul = "mul", Sub = "sub" } do
  node(name, f, function(a, x, b) return ml[f](x, placed(x, b, a.broadcast and a.axis)) end)
end

node("Clip", "clamp", function(a, x) return ml.clamp(x, a.min, a.max) end)
node("LeakyRelu", "leaky_relu", function(a, x) return ml.leaky_relu(x, a.alpha or 0.01) end)
node("Neg", "affine", function(_, x) return -x end)
node("PRelu", "prelu", function(_, x, slope) return ml.prelu(x, placed(x, slope, 1)) end)

-- -- along axes --

-- Before opset 13 all axes from `axis` on are one.
local function over_the_rest(f)
  return function(a, x)
    local axis = axis_of(x, a.axis or 1)
    local rest = axis < x:dim() and x:flatten(axis, -1) or x
    return ml[f](rest, axis):reshape(x:shape())
  end
end

node("LogSoftmax", "log_softmax", over_the_rest "log_softmax")
node("Softmax", "softmax", over_the_rest "softmax")

local function reduce(method)
  return function(a, x)
    table.sort(a.axes, function(p, q) return p > q end)
    for _, axis in ipairs(a.axes) do x = x[method](x, axis_of(x, axis), a.keepdims ~= 0) end
    return x
  end
end

node("ReduceMean", "sum", reduce "mean")
node("ReduceSum", "sum", reduce "sum")

-- -- shapes --

node("Flatten", "is_tensor", function(a, x)
  local axis, shape, first = a.axis or 1, x:shape(), 1
  for d = 1, axis do first = first * shape[d] end
  return x:reshape(first, x:count() / first)
end)

node("Slice", "is_tensor", function(a, x)
  for i, axis in ipairs(a.axes) do x = x:narrow(axis + 1, a.starts[i] + 1, a.ends[i]) end
  return x
end)

node("Split", "is_tensor", function(a, x)
  local axis = axis_of(x, a.axis or 0)
  local n = x:size(axis) / a.outputs
  local parts = {}
  for k = 1, a.outputs do parts[k] = x:narrow(axis, (k - 1) * n + 1, k * n) end
  return unpack(parts)
end)

node("Squeeze", "is_tensor", function(a, x)
  table.sort(a.axes, function(p, q) return p > q end)
  for _, axis in ipairs(a.axes) do x = x:squeeze(axis_of(x, axis)) end
  return x
end)

node("Transpose", "is_tensor", function(a, x)
  local order = {}
  for i, axis in ipairs(a.perm) do order[i] = axis + 1 end
  return x:permute(order)
end)

node("Unsqueeze", "is_tensor", function(a, x)
  for _, axis in ipairs(a.axes) do x = x:unsqueeze(axis + 1) end
  return x
end)

node("Gather", "index_select", function(a, x, ids)
  return ml.index_select(x, ids, axis_of(x, a.axis or 0))
end)

node("Pad", "pad", function(a, x)
  local pads, n = {}, x:dim() -- from the last axis, its beginning and its end
  for d = n, 1, -1 do
    pads[#pads + 1], pads[#pads + 2] = a.pads[d], a.pads[n + d]
  end
  while pads[#pads] == 0 and pads[#pads - 1] == 0 do pads[#pads], pads[#pads - 1] = nil, nil end
  return x:pad(pads, a.mode, a.value)
end)

node("Tile", "tile", function(_, x, repeats) return x:tile(repeats:totable()) end)

-- -- products, layers --

node("Constant", "is_tensor", function(a)
  local c, count = a.value, 1
  for _, size in ipairs(c.shape) do count = count * size end
  local dtype = ({ float32 = "f32", float64 = "f64", int64 = "i64" })[c.dtype]
  return ml.tensor(c.data, dtype):reshape(c.shape)
end)

node("Gemm", "matmul", function(a, x, w, c)
  local y = ml.matmul(x, w, a.transA == 1, a.transB == 1) * (a.alpha or 1)
  return y + c * (a.beta or 1)
end)

node("Conv", "conv", function(a, x, w, b)
  return ml.conv(x, w, b, { stride = a.strides, padding = padding(a.pads), dilation = a.dilations,
                            groups = a.group })
end)

node("ConvTranspose", "conv_transpose", function(a, x, w, b)
  return ml.conv_transpose(x, w, b, { stride = a.strides, padding = padding(a.pads),
    output_padding = a.output_padding, dilation = a.dilations, groups = a.group })
end)

node("AveragePool", "avg_pool", function(a, x)
  return ml.avg_pool(x, a.kernel_shape, { stride = a.strides, padding = padding(a.pads),
                                          count_include_pad = false })
end)

node("MaxPool", "max_pool", function(a, x)
  return ml.max_pool(x, a.kernel_shape, { stride = a.strides, padding = padding(a.pads) })
end)

node("BatchNormalization", "batch_norm_fixed", function(a, x, scale, bias, mean, var)
  return ml.batch_norm_fixed(x, mean, var, scale, bias, a.epsilon)
end)

node("InstanceNormalization", "group_norm", function(a, x, scale, bias)
  return ml.group_norm(x, x:size(2), scale, bias, a.epsilon)
end)

-- -- graphs --

--- The node types of a graph that mlua has no operation for, each with the name that it waits for.
-- @tparam table graph  nodes = { { op, ["in"], out, attr } … }
-- @treturn table
function onnx.lacks(graph)
  local list, seen = {}, {}
  for _, n in ipairs(graph.nodes) do
    local known = NODES[n.op]
    if not seen[n.op] and not (known and (ml[known.needs] or Tensor[known.needs])) then
      list[#list + 1] = known and ("%s (%s)"):format(n.op, known.needs) or n.op
    end
    seen[n.op] = true
  end
  return list
end

--- Why a graph cannot be run although all its nodes can: a constant that is not whole; or nil.
-- @tparam table graph
-- @treturn ?string
function onnx.damaged(graph)
  for _, n in ipairs(graph.nodes) do
    local value, count = n.attr.value, 1
    if n.op == "Constant" then
      for _, size in ipairs(value.shape) do count = count * size end
      if count ~= #value.data then
        return ("its constant has %d of %d values"):format(#value.data, count)
      end
    end
  end
end

--- Run a graph.
-- @tparam table graph
-- @tparam table values  tensors by name: inputs and initialisers
-- @treturn table  the tensors of the graph's outputs, by name
function onnx.run(graph, values)
  local known = setmetatable({}, { __index = values })
  for _, n in ipairs(graph.nodes) do
    local given, attr = {}, { outputs = #n.out }
    for name, v in pairs(n.attr) do attr[name] = v end
    for i, name in ipairs(n["in"]) do given[i] = known[name] end
    local made = { NODES[n.op].run(attr, unpack(given, 1, #n["in"])) }
    for i, name in ipairs(n.out) do known[name] = made[i] end
  end
  local outputs = {}
  for _, name in ipairs(graph.outputs) do outputs[name] = known[name] end
  return outputs
end

return onnx
