--- Normalisation layers: over the last axes, over groups of channels, over the batch.
-- @module mlua.nn.norm
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local functional = require "mlua.nn.functional"
local inputs = require "mlua.nn.inputs"
local tensor = require "mlua.tensor"

local op, set_context = core.op, core.set_context

-- Calls f with the layer's path before its messages.
local function within(self, f, ...)
  set_context(self._path)
  local y = f(...)
  set_context(nil)
  return y
end

local function check_eps(o, class)
  check.arg_at(2, o.eps == nil or o.eps >= 0, 1, class, "eps: expected at least 0, got %s", o.eps)
  return o.eps or 1e-5
end

local function check_momentum(o, class)
  local m = o.momentum or 0.1
  check.arg_at(2, m >= 0 and m <= 1, 1, class, "momentum: expected 0 to 1, got %s", m)
  return m
end

local function add_running(self, o)
  self:buffer("running_mean", tensor.zeros(o.channels, { dtype = o.dtype }))
  self:buffer("running_var", tensor.ones(o.channels, { dtype = o.dtype }))
end

-- weight 1 and bias 0 of these sizes, as far as the options ask for them.
local function affine(self, o, sizes, by_default)
  local on = by_default
  if o.affine ~= nil then on = o.affine end
  if not on then return end
  local options = { dtype = o.dtype }
  self:parameter("weight", tensor.ones(sizes, options))
  if o.bias ~= false then self:parameter("bias", tensor.zeros(sizes, options)) end
end

-- Sizes of last axes: a number, or a list.
local function sizes_of(shape, class)
  local sizes = type(shape) == "number" and { shape } or shape
  check.arg_at(2, type(sizes) == "table" and #sizes > 0, 1, class,
    "shape: expected a size or a list of sizes, got %s", check.what(shape))
  for i, n in ipairs(sizes) do
    check.int_at(2, n, 1, class, ("shape[%d]"):format(i), 1)
  end
  return sizes
end

-- -- over the last axes --

local LayerNorm = Module.class "LayerNorm"

--- (x - mean) / sqrt(var + eps) * weight + bias over the last axes, `op.layer_norm`.
-- @tparam table o  shape: their size, or a list of sizes; eps (1e-5); affine (true): weight and
--   bias; bias (true); dtype ("f32")
-- @treturn LayerNorm
-- @source Ba, Kiros, Hinton 2016, arXiv:1607.06450
function LayerNorm.new(o)
  o = check.options(o, { shape = "number|table", eps = "number", affine = "boolean",
                         bias = "boolean", dtype = "string" }, 1, "LayerNorm")
  local sizes, self = sizes_of(o.shape, "LayerNorm"), LayerNorm.create()
  self.sizes, self.eps = sizes, check_eps(o, "LayerNorm")
  affine(self, o, sizes, true)
  return self
end

-- Whether x ends in these sizes.
local function check_last(self, x, class)
  local ok, n = core.is_tensor(x), #self.sizes
  if ok then
    local i = core.info(x)
    ok = i.ndim >= n
    for d = 1, n do ok = ok and i.shape[i.ndim - n + d - 1] == self.sizes[d] end
  end
  if not ok then
    set_context(self._path)
    core.bad(1, class, "x: expected [*, %s], got %s", table.concat(self.sizes, ", "),
      inputs.what(x))
  end
end

--- @tparam Tensor x  [*, shape…]
-- @treturn Tensor    of x's shape
-- @raise bad argument #1 where x does not end in the layer's sizes
function LayerNorm:forward(x)
  check_last(self, x, "LayerNorm")
  return within(self, op.layer_norm, x, self.weight, self.bias, #self.sizes, self.eps)
end

local function describe_last(self)
  return ("%s %s"):format(self.class_name, table.concat(self.sizes, " x "))
end
LayerNorm.describe = describe_last

local RMSNorm = Module.class "RMSNorm"

--- x / sqrt(mean(x^2) + eps) * weight over the last axes, `op.rms_norm`.
-- @tparam table o  shape, eps (1e-5), affine (true), dtype ("f32"), as `LayerNorm`
-- @treturn RMSNorm
-- @source Zhang & Sennrich 2019, arXiv:1910.07467
function RMSNorm.new(o)
  o = check.options(o, { shape = "number|table", eps = "number", affine = "boolean",
                         dtype = "string" }, 1, "RMSNorm")
  local sizes, self = sizes_of(o.shape, "RMSNorm"), RMSNorm.create()
  self.sizes, self.eps = sizes, check_eps(o, "RMSNorm")
  affine(self, { affine = o.affine, dtype = o.dtype, bias = false }, sizes, true)
  return self
end

--- @tparam Tensor x  [*, shape…]
-- @treturn Tensor    of x's shape
-- @raise bad argument #1 where x does not end in the layer's sizes
function RMSNorm:forward(x)
  check_last(self, x, "RMSNorm")
  return within(self, op.rms_norm, x, self.weight, #self.sizes, self.eps)
end
RMSNorm.describe = describe_last

-- -- by channel --

local function describe_channels(self)
  return ("%s %d"):format(self.class_name, self.channels)
end

local BatchNorm = Module.class "BatchNorm"

--- (x - mean) / sqrt(var + eps) * weight + bias by channel, over the batch and all spatial axes.
-- In training by the batch's own statistics, which also move the running ones; else by the running
-- ones. `op.batch_norm`, `op.batch_norm_fixed`.
-- @tparam table o  channels; eps (1e-5); momentum (0.1): the part of the new in the running
--   statistics; affine (true); running (true): false has none and always takes the batch's; bias;
--   dtype ("f32")
-- @treturn BatchNorm  buffers running_mean, running_var
-- @source Ioffe & Szegedy 2015, arXiv:1502.03167; running statistics as PyTorch's
function BatchNorm.new(o)
  o = check.options(o, { channels = "number", eps = "number", momentum = "number",
                         affine = "boolean", bias = "boolean", running = "boolean",
                         dtype = "string" }, 1, "BatchNorm")
  check.int(o.channels, 1, "BatchNorm", "channels", 1)
  local self = BatchNorm.create()
  self.channels, self.eps = o.channels, check_eps(o, "BatchNorm")
  self.momentum = check_momentum(o, "BatchNorm")
  affine(self, o, { o.channels }, true)
  if o.running ~= false then add_running(self, o) end
  return self
end

--- @tparam Tensor x  [N, channels, …]
-- @treturn Tensor    of x's shape
-- @raise bad argument to 'batch_norm' where the channels differ, or have one value each
function BatchNorm:forward(x)
  local mean, var = self.running_mean, self.running_var
  if mean and not self.training then
    return within(self, op.batch_norm_fixed, x, mean, var, self.weight, self.bias, self.eps)
  end
  return within(self, op.batch_norm, x, self.weight, self.bias, mean, var, self.momentum, self.eps)
end
BatchNorm.describe = describe_channels

local GroupNorm = Module.class "GroupNorm"

--- Normalisation over groups of channels of each sample, `op.group_norm`.
-- @tparam table o  groups; channels, a multiple of them; eps (1e-5); affine (true); bias; dtype
-- @treturn GroupNorm
-- @source Wu & He 2018, arXiv:1803.08494
function GroupNorm.new(o)
  o = check.options(o, { groups = "number", channels = "number", eps = "number",
                         affine = "boolean", bias = "boolean", dtype = "string" }, 1, "GroupNorm")
  check.int(o.groups, 1, "GroupNorm", "groups", 1)
  check.int(o.channels, 1, "GroupNorm", "channels", 1)
  check.arg(o.channels % o.groups == 0, 1, "GroupNorm",
    "channels: expected a multiple of %d groups, got %d", o.groups, o.channels)
  local self = GroupNorm.create()
  self.groups, self.channels, self.eps = o.groups, o.channels, check_eps(o, "GroupNorm")
  affine(self, o, { o.channels }, true)
  return self
end

--- @tparam Tensor x  [N, channels, …]
-- @treturn Tensor    of x's shape
function GroupNorm:forward(x)
  return within(self, op.group_norm, x, self.groups, self.weight, self.bias, self.eps)
end

function GroupNorm:describe()
  return ("GroupNorm %d, %d groups"):format(self.channels, self.groups)
end

local InstanceNorm = Module.class "InstanceNorm"

--- Normalisation of each channel of each sample, `op.group_norm` with a group per channel. With
-- running statistics, those of the samples' means and variances, averaged, move in training, and
-- take their place when it no longer trains, as in `BatchNorm`.
-- @tparam table o  channels; eps (1e-5); affine (false); bias; running (false); momentum (0.1): the
--   part of the new in the running statistics; dtype ("f32")
-- @treturn InstanceNorm  buffers running_mean, running_var, where it has them
-- @source Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022; running statistics as PyTorch's
function InstanceNorm.new(o)
  o = check.options(o, { channels = "number", eps = "number", affine = "boolean",
                         bias = "boolean", running = "boolean", momentum = "number",
                         dtype = "string" }, 1, "InstanceNorm")
  check.int(o.channels, 1, "InstanceNorm", "channels", 1)
  local self = InstanceNorm.create()
  self.channels, self.eps = o.channels, check_eps(o, "InstanceNorm")
  self.momentum = check_momentum(o, "InstanceNorm")
  affine(self, o, { o.channels }, false)
  if o.running then add_running(self, o) end
  return self
end

-- running += momentum (of this batch - running): means, and unbiased variances, over the samples.
local function move(self, x)
  local n, c = x:size(1), x:size(2)
  local each = functional.channel_size(x)
  if each < 2 then
    core.bad(1, "InstanceNorm", "x: expected more than one value per channel and sample when "
      .. "training, got %s", inputs.what(x))
  end
  if n == 0 then return end
  local rows = x:detach():reshape(n, c, each)
  for of, now in pairs { running_mean = rows:mean(3), running_var = op.var(rows, 3) } do
    local old = self[of]
    old:copy(op.affine(old, 1 - self.momentum, 0) + op.affine(now:mean(1), self.momentum, 0))
  end
end

--- @tparam Tensor x  [N, channels, …]
-- @treturn Tensor    of x's shape
-- @raise bad argument where the channels differ, or, with running statistics, have one value each
function InstanceNorm:forward(x)
  local mean, var = self.running_mean, self.running_var
  if mean then
    set_context(self._path)
    if not core.is_tensor(x) or x:dim() < 2 or x:size(2) ~= self.channels then
      core.bad(1, "InstanceNorm", "x: expected [N, %d, …], got %s", self.channels, inputs.what(x))
    end
    if not self.training then
      return within(self, op.batch_norm_fixed, x, mean, var, self.weight, self.bias, self.eps)
    end
    move(self, x)
  end
  return within(self, op.group_norm, x, self.channels, self.weight, self.bias, self.eps)
end
InstanceNorm.describe = describe_channels

return { LayerNorm = LayerNorm, RMSNorm = RMSNorm, BatchNorm = BatchNorm, GroupNorm = GroupNorm,
         InstanceNorm = InstanceNorm }
