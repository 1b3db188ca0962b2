--- Convolutions as layers: Conv1d, Conv2d, Conv3d and ConvTranspose1d to ConvTranspose3d.
-- @module mlua.nn.conv
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"
local window = require "mlua.tensor.window"

local OPTIONS = {
  inputs = "number", outputs = "number", kernel = "number|table", stride = "number|table",
  padding = "number|table|string", dilation = "number|table", groups = "number", bias = "boolean",
  dtype = "string", seed = "number", stream = "number",
}

local function text_of(v)
  if type(v) ~= "table" then return tostring(v) end
  local list = {}
  for i, e in ipairs(v) do list[i] = text_of(e) end
  return "(" .. table.concat(list, ", ") .. ")"
end

-- Its parameters: both uniform within 1 / sqrt(fan in), as PyTorch draws them.
local function draw(self, o, shape)
  local fan = 1
  for i = 2, #shape do fan = fan * shape[i] end
  local bound = fan > 0 and 1 / math.sqrt(fan) or 0
  local function uniform(stream, sizes)
    return tensor.uniform(-bound, bound, sizes, { dtype = o.dtype, seed = o.seed, stream = stream })
  end
  self:parameter("weight", uniform(o.stream and 2 * o.stream, shape))
  if o.bias ~= false then
    self:parameter("bias", uniform(o.stream and 2 * o.stream + 1, { self.outputs }))
  end
end

local function describe(self)
  local o, parts = self.options, {}
  for _, name in ipairs { "stride", "padding", "output_padding", "dilation", "groups" } do
    if o[name] then parts[#parts + 1] = ", " .. name .. " " .. text_of(o[name]) end
  end
  return ("%s %d -> %d, kernel %s%s"):format(self.class_name, self.inputs, self.outputs,
    text_of(self.kernel), table.concat(parts))
end

local function class(name, axes, transposed)
  local Conv = Module.class(name)
  local compute = transposed and tensor.conv_transpose or tensor.conv
  local known = {}
  for option, kind in pairs(OPTIONS) do known[option] = kind end
  if transposed then known.output_padding, known.padding = "number|table", "number|table" end

  function Conv.new(o)
    check.options(o, known, 1, name)
    o = o or {}
    local self = Conv.create()
    self.inputs = check.int(o.inputs, 1, name, "inputs", 1)
    self.outputs = check.int(o.outputs, 1, name, "outputs", 1)
    local groups = check.int(o.groups or 1, 1, name, "groups", 1)
    check.arg(self.inputs % groups == 0 and self.outputs % groups == 0, 1, name,
      "groups: expected a divisor of inputs and outputs, got %d", groups)
    check.arg(o.kernel ~= nil, 1, name, "kernel: expected a number or a list, got nil")
    local kernel = { window.numbers(o.kernel, axes, nil, nil, 1, name, "kernel") }
    for i = 1, axes do check.int(kernel[i], 1, name, "kernel", 1) end
    self.kernel = o.kernel
    self.options = { stride = o.stride, padding = o.padding, dilation = o.dilation,
                     groups = o.groups, output_padding = o.output_padding }
    local shape = transposed and { self.inputs, self.outputs / groups }
      or { self.outputs, self.inputs / groups }
    for i = 1, axes do shape[i + 2] = kernel[i] end
    draw(self, o, shape)
    return self
  end

  function Conv:forward(x)
    if self._path then core.set_context(self._path) end
    if core.info(x).ndim ~= axes + 2 then
      core.bad(1, transposed and "conv_transpose" or "conv", "x: expected %d axes, got %s",
        axes + 2, core.info(x).ndim)
    end
    local y = compute(x, self.weight, self.bias, self.options)
    core.set_context(nil)
    return y
  end

  Conv.describe = describe
  return Conv
end

--- y = conv(x, weight, bias): see `ml.conv`. Conv1d and Conv3d likewise, over one and three axes.
-- Weight and bias are uniform within 1 / sqrt(inputs / groups * the kernel's size), as PyTorch has
-- them.
-- @function Conv2d.new
-- @tparam table o  inputs, outputs: channels; kernel: a number, or a list of one for each axis;
--   stride, padding, dilation, groups as `ml.conv` takes them; bias (true); dtype ("f32"); seed and
--   stream, which name the draws
-- @treturn Conv2d  weight [outputs, inputs / groups, kernel…], bias [outputs]

--- y = conv_transpose(x, weight, bias): see `ml.conv_transpose`. Likewise over one and three axes.
-- @function ConvTranspose2d.new
-- @tparam table o  as Conv2d, and output_padding
-- @treturn ConvTranspose2d  weight [inputs, outputs / groups, kernel…], bias [outputs]
return {
  Conv1d = class("Conv1d", 1), Conv2d = class("Conv2d", 2), Conv3d = class("Conv3d", 3),
  ConvTranspose1d = class("ConvTranspose1d", 1, true),
  ConvTranspose2d = class("ConvTranspose2d", 2, true),
  ConvTranspose3d = class("ConvTranspose3d", 3, true),
}
