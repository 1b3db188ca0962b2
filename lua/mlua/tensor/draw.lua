--- Draws by probabilities: Bernoulli's, permutations, ids by weights. Options seed and stream name
-- them, as those of `ml.rand`; without, they go on from `ml.seed`.
-- @module mlua.tensor.draw
local core = require "mlua.ffi"

local create = require "mlua.tensor.create"

local C, op, is_tensor, bad_argument = core.C, core.op, core.is_tensor, core.bad_argument
local is_whole = create.is_whole

local draw = { methods = {}, functions = {} }

-- Seed and stream of a table of options that may hold `more`, too.
local function name_draw(name, options, more)
  local o = options == nil and {} or options
  if type(o) ~= "table" then bad_argument(2, name, "options", "a table", o) end
  local named = {}
  for k, v in pairs(o) do
    if not (more and more[k] and type(v) == more[k]) then named[k] = v end
  end
  if named.dtype then core.misuse(name .. ": unknown option 'dtype'") end
  return create.name_draw(name, create.check_options(named, name))
end

--- 1 with a probability, else 0: of a tensor of probabilities, its shape and dtype; or of one
-- number, `bernoulli(0.3, 2, 3, { dtype = "bool" })`.
-- @tparam Tensor|number probs
-- @param ...  of a number, sizes; options: seed, stream, of a number dtype ("f32")
-- @treturn Tensor
function draw.functions.bernoulli(probs, ...)
  if is_tensor(probs) then return op.bernoulli(probs:detach(), name_draw("bernoulli", (...))) end
  if not (type(probs) == "number" and probs >= 0 and probs <= 1) then
    bad_argument(1, "bernoulli", "probs", "a tensor or a number, 0 to 1", probs)
  end
  local sizes, o = create.sizes_and_options("bernoulli", ...)
  local dtype = o.dtype or "f32"
  local same = create.full(probs, sizes, { dtype = dtype == "f64" and "f64" or "f32" })
  return op.bernoulli(same, create.name_draw("bernoulli", o)):to(dtype)
end

draw.methods.bernoulli = draw.functions.bernoulli

--- The numbers from 0 to n - 1 in an order drawn at random.
-- @tparam number n
-- @tparam ?table options  seed, stream
-- @treturn Tensor  i64
function draw.functions.permutation(n, options)
  if not is_whole(n) or n < 0 then
    bad_argument(1, "permutation", "n", "a whole number of at least 0", n)
  end
  local t = create.new({ n }, "i64")
  C.ml_permutation(core.pointer(t), n, name_draw("permutation", options))
  core.info(t) -- a use after the last write: nothing collects it before
  return t
end

local MULTINOMIAL = { replacement = "boolean" }

--- Ids, from 0, drawn in proportion to its elements along the last axis.
-- @tparam number n  how many of each row
-- @tparam ?table options  replacement: whether an id may be drawn again; seed, stream
-- @treturn Tensor  i64, its shape with n as the last size; without replacement in the order drawn
function draw.methods:multinomial(n, options)
  core.info(self)
  local seed, stream = name_draw("multinomial", options, MULTINOMIAL)
  return op.multinomial(self:detach(), n, options and options.replacement, seed, stream)
end

return draw
