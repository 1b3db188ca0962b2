--- Activations as modules, made from one table: `nn.GELU.new()`, `nn.ELU.new { alpha = 0.5 }`.
--
-- Each computes an operation of mlua.op element by element, or along an axis; options and their
-- defaults are in the table below. PReLU alone has a parameter.
-- @module mlua.nn.activation
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local inputs = require "mlua.nn.inputs"
local tensor = require "mlua.tensor"

local op = core.op
local classes = {}

-- The halves of x along an axis.
local function halves(x, axis, class)
  if not core.is_tensor(x) then core.bad_argument(1, class, "x", "a tensor", x) end
  local n = x:size(axis)
  if n % 2 ~= 0 then
    core.bad(1, class, "x: expected an even size of axis %d, got %d", axis, n)
  end
  return x:narrow(axis, 1, n / 2), x:narrow(axis, n / 2 + 1, n)
end

-- { class, its options as { name, default }, …, what it computes of x and these }
local TABLE = {
  { "ReLU", op.relu },
  { "ReLU6", function(x) return op.clamp(x, 0, 6) end },
  { "LeakyReLU", { "slope", 0.01 }, op.leaky_relu },
  { "ELU", { "alpha", 1 }, op.elu },
  { "SELU", op.selu },
  { "GELU", { "approximate", "none" }, function(x, approximate)
    return (approximate == "tanh" and op.gelu_tanh or op.gelu)(x)
  end },
  { "SiLU", op.silu },
  { "Sigmoid", op.sigmoid },
  { "LogSigmoid", op.log_sigmoid },
  { "Tanh", op.tanh },
  { "Softplus", { "beta", 1 }, { "threshold", 20 }, op.softplus },
  { "Softsign", op.softsign },
  { "Hardsigmoid", op.hard_sigmoid },
  { "Hardswish", op.hard_swish },
  { "Hardshrink", { "lambda", 0.5 }, op.hard_shrink },
  { "Hardtanh", { "lo", -1 }, { "hi", 1 }, op.clamp },
  { "Softmax", { "axis", -1 }, op.softmax },
  { "LogSoftmax", { "axis", -1 }, op.log_softmax },
  -- Dauphin et al. 2016, arXiv:1612.08083; Shazeer 2020, arXiv:2002.05202
  { "GLU", { "axis", -1 }, function(x, axis)
    local a, b = halves(x, axis, "GLU")
    return op.mul(a, op.sigmoid(b))
  end },
  { "SwiGLU", { "axis", -1 }, function(x, axis)
    local a, b = halves(x, axis, "SwiGLU")
    return op.mul(op.silu(a), b)
  end },
}

local CHOICES = { approximate = { none = true, tanh = true } }

local function make(row)
  local name, f = row[1], row[#row]
  local Class, known, order = Module.class(name), {}, {}
  for i = 2, #row - 1 do
    order[i - 1], known[row[i][1]] = row[i], type(row[i][2])
  end
  function Class.new(o)
    o = check.options(o, known, 1, name)
    local self = Class.create()
    for _, option in ipairs(order) do
      local key, value = option[1], o[option[1]]
      if value == nil then value = option[2] end
      check.arg(not CHOICES[key] or CHOICES[key][value], 1, name,
        "%s: expected none or tanh, got %s", key, check.what(value))
      if key == "axis" then check.int(value, 1, name, "axis") end
      self[key] = value
    end
    return self
  end
  local first, second = order[1] and order[1][1], order[2] and order[2][1]
  function Class:forward(x)
    core.set_context(self._path)
    local y
    if second then y = f(x, self[first], self[second])
    elseif first then y = f(x, self[first])
    else y = f(x) end
    core.set_context(nil)
    return y
  end
  function Class:describe()
    local text = { name }
    for _, option in ipairs(order) do
      if self[option[1]] ~= option[2] then
        text[#text + 1] = option[1] .. " " .. tostring(self[option[1]])
      end
    end
    return table.concat(text, " ")
  end
  classes[name] = Class
end
for _, row in ipairs(TABLE) do make(row) end

local PReLU = Module.class "PReLU"

--- x where x > 0, else slope x, the slope learned: one for all, or one by channel.
-- @tparam ?table o  channels (1); slope (0.25), the first one; dtype ("f32")
-- @treturn PReLU    parameter weight [channels]
-- @source He et al. 2015, arXiv:1502.01852
function PReLU.new(o)
  o = check.options(o, { channels = "number", slope = "number", dtype = "string" }, 1, "PReLU")
  local self = PReLU.create()
  self.channels = check.int(o.channels or 1, 1, "PReLU", "channels", 1)
  self:parameter("weight", tensor.full(o.slope or 0.25, self.channels, { dtype = o.dtype }))
  return self
end

--- @tparam Tensor x  any shape, or with several channels [N, channels, …]
-- @treturn Tensor    of x's shape
function PReLU:forward(x)
  core.set_context(self._path)
  if not core.is_tensor(x) then core.bad_argument(1, "PReLU", "x", "a tensor", x) end
  local n, weight = core.info(x).ndim, self.weight
  if self.channels > 1 then
    if n < 2 or x:size(2) ~= self.channels then
      core.bad(1, "PReLU", "x: expected [N, %d, …], got %s", self.channels, inputs.what(x))
    end
    local sizes = { self.channels }
    for d = 2, n - 1 do sizes[d] = 1 end
    weight = weight:reshape(sizes)
  end
  local y = op.prelu(x, weight)
  core.set_context(nil)
  return y
end

function PReLU:describe()
  return self.channels > 1 and ("PReLU %d"):format(self.channels) or "PReLU"
end
classes.PReLU = PReLU

return classes
