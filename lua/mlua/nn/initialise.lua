--- First values of parameters, written into tensors that are there: `initialise.kaiming_normal(w)`.
--
-- Each takes the tensor and a table of options, and returns the tensor. Options of all that draw:
-- seed and stream, which name the draws, as `ml.rand` has them. A weight is [outputs, inputs, …];
-- what follows, a kernel's sizes, counts into both fans. Values are PyTorch's in distribution.
-- @module mlua.nn.initialise
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"
local text = require "mlua.text"

local bad, what = core.bad, core.what
local initialise = {}

-- Options by their defaults, of their types; seed and stream are known to all that draw.
local function options(name, t, given, defaults)
  if not tensor.is(t) then bad(1, name, "t: expected a tensor, got %s", what(t)) end
  local dtype = t:dtype()
  if not core.is_float[dtype] then
    bad(1, name, "t: expected a floating-point tensor, got %s", dtype)
  end
  local known, o = { seed = "number", stream = "number" }, {}
  for option, v in pairs(defaults) do known[option], o[option] = type(v), v end
  for option, v in pairs(core.options(given, known, 2, name)) do o[option] = v end
  return o
end

-- A tensor of draws, copied into t: t may be a view, and a leaf on the tape.
local function draw(t, from, a, b, o)
  local values = from(a, b, t:shape(), { dtype = t:dtype(), seed = o.seed, stream = o.stream })
  t:copy(values)
  core.free(values)
  return t
end

local function check_sd(name, o)
  if not (o.sd >= 0 and o.sd < math.huge) then
    bad(2, name, "sd: expected at least 0, got %s", what(o.sd))
  end
end

local function check_bounds(name, o)
  local ok = o.lo <= o.hi -- a NaN is not
  if not ok then
    bad(2, name, "hi: expected at least lo, %s, got %s", what(o.lo), what(o.hi))
  end
end

--- Uniform values in [lo, hi).
-- @tparam Tensor t
-- @tparam ?table o  lo (0), hi (1); seed, stream
-- @treturn Tensor   t
function initialise.uniform(t, o)
  o = options("uniform", t, o, { lo = 0, hi = 1 })
  check_bounds("uniform", o)
  return draw(t, tensor.uniform, o.lo, o.hi, o)
end

--- Normal values.
-- @tparam Tensor t
-- @tparam ?table o  mean (0), sd (1); seed, stream
-- @treturn Tensor   t
function initialise.normal(t, o)
  o = options("normal", t, o, { mean = 0, sd = 1 })
  check_sd("normal", o)
  return draw(t, tensor.normal, o.mean, o.sd, o)
end

--- Normal values within [lo, hi], as if those outside were drawn anew.
-- @tparam Tensor t
-- @tparam ?table o  mean (0), sd (1), lo (-2), hi (2): values, not multiples of sd; seed, stream
-- @treturn Tensor   t
function initialise.trunc_normal(t, o)
  o = options("trunc_normal", t, o, { mean = 0, sd = 1, lo = -2, hi = 2 })
  check_sd("trunc_normal", o)
  if o.sd == 0 then bad(2, "trunc_normal", "sd: expected above 0, got 0") end
  check_bounds("trunc_normal", o)
  local values = tensor.rand(t:shape(), { dtype = "f64", seed = o.seed, stream = o.stream })
  core.check(core.C.ml_tensor_truncated_normal(values, o.mean, o.sd, o.lo, o.hi))
  t:copy(values)
  core.free(values)
  return t
end

--- One value.
-- @tparam Tensor t
-- @tparam ?table o  value (0)
-- @treturn Tensor   t
function initialise.constant(t, o)
  o = options("constant", t, o, { value = 0 })
  return t:fill(o.value)
end

-- -- by the width of a layer --

local function fans(name, t)
  local shape = t:shape()
  if #shape < 2 then
    bad(1, name, "t: expected at least two axes, [outputs, inputs, …], got [%s]",
      table.concat(shape, ", "))
  end
  local kernel = 1
  for d = 3, #shape do kernel = kernel * shape[d] end
  return shape[2] * kernel, shape[1] * kernel
end

local GAINS = { linear = 1, sigmoid = 1, tanh = 5 / 3, relu = math.sqrt(2), selu = 3 / 4 }

--- By how much a layer's weights should be larger for the function that follows it.
-- @tparam string nonlinearity   linear, sigmoid, tanh, relu, leaky_relu or selu
-- @tparam[opt=0.01] number slope  of leaky_relu below zero
-- @treturn number
function initialise.gain(nonlinearity, slope)
  if nonlinearity == "leaky_relu" then return math.sqrt(2 / (1 + (slope or 0.01) ^ 2)) end
  if not GAINS[nonlinearity] then
    local known = text.keys(GAINS)
    known[#known + 1] = "leaky_relu"
    table.sort(known)
    bad(1, "gain", "nonlinearity: expected %s, got %s%s", table.concat(known, ", "),
      what(nonlinearity),
      type(nonlinearity) == "string" and text.did_you_mean(nonlinearity, known) or "")
  end
  return GAINS[nonlinearity]
end

-- Draws of mean 0 and a standard deviation.
local function draw_uniform(t, sd, o)
  return draw(t, tensor.uniform, -math.sqrt(3) * sd, math.sqrt(3) * sd, o)
end
local function draw_normal(t, sd, o) return draw(t, tensor.normal, 0, sd, o) end

local function xavier(name, t, o)
  o = options(name, t, o, { gain = 1 })
  local fan_in, fan_out = fans(name, t)
  return o.gain * math.sqrt(2 / math.max(1, fan_in + fan_out)), o
end

--- Uniform within ± gain sqrt(6 / (fan_in + fan_out)).
-- @tparam Tensor t  at least two axes
-- @tparam ?table o  gain (1); seed, stream
-- @treturn Tensor   t
-- @source Glorot & Bengio 2010
function initialise.xavier_uniform(t, o)
  return draw_uniform(t, xavier("xavier_uniform", t, o))
end

--- Normal, of standard deviation gain sqrt(2 / (fan_in + fan_out)).
-- @tparam Tensor t  at least two axes
-- @tparam ?table o  gain (1); seed, stream
-- @treturn Tensor   t
-- @source Glorot & Bengio 2010
function initialise.xavier_normal(t, o)
  return draw_normal(t, xavier("xavier_normal", t, o))
end

local function kaiming(name, t, o)
  o = options(name, t, o, { slope = 0, mode = "fan_in", nonlinearity = "leaky_relu" })
  local fan_in, fan_out = fans(name, t)
  if o.mode ~= "fan_in" and o.mode ~= "fan_out" then
    bad(2, name, "mode: expected fan_in or fan_out, got %s%s", what(o.mode),
      text.did_you_mean(o.mode, { "fan_in", "fan_out" }))
  end
  local fan = o.mode == "fan_in" and fan_in or fan_out
  return initialise.gain(o.nonlinearity, o.slope) / math.sqrt(math.max(1, fan)), o
end

--- Uniform within ± gain sqrt(3 / fan).
-- @tparam Tensor t  at least two axes
-- @tparam ?table o  mode "fan_in" or "fan_out" ("fan_in"); nonlinearity, as `gain` takes it
--   ("leaky_relu"), slope (0): that of leaky_relu; seed, stream
-- @treturn Tensor   t
-- @source He, Zhang, Ren, Sun 2015, arXiv:1502.01852
function initialise.kaiming_uniform(t, o)
  return draw_uniform(t, kaiming("kaiming_uniform", t, o))
end

--- Normal, of standard deviation gain / sqrt(fan).
-- @tparam Tensor t  at least two axes
-- @tparam ?table o  as `kaiming_uniform`
-- @treturn Tensor   t
-- @source He, Zhang, Ren, Sun 2015, arXiv:1502.01852
function initialise.kaiming_normal(t, o)
  return draw_normal(t, kaiming("kaiming_normal", t, o))
end

--- Rows that are orthonormal, or columns where there are more rows, times a gain; of more than two
-- axes, all but the first count as one. By QR, which needs LAPACK.
-- @tparam Tensor t  at least two axes
-- @tparam ?table o  gain (1); seed, stream
-- @treturn Tensor   t
-- @source Saxe, McClelland, Ganguli 2013, arXiv:1312.6120; uniform by the signs of R, as PyTorch
function initialise.orthogonal(t, o)
  o = options("orthogonal", t, o, { gain = 1 })
  fans("orthogonal", t)
  if t:count() == 0 then return t end
  local shape = t:shape()
  local rows, columns = shape[1], t:count() / shape[1]
  local q, r = require("mlua.linalg").qr(tensor.randn(math.max(rows, columns),
    math.min(rows, columns), { dtype = "f64", seed = o.seed, stream = o.stream }))
  q = q * tensor.where(r:diagonal():lt(0), -o.gain, o.gain):to "f64"
  if rows < columns then q = q:transpose() end
  t:copy(q:reshape(shape))
  return t
end

return initialise
