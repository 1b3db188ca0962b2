--- Making tensors: filled, drawn, from Lua's tables; and the checks that they share with views.
-- @module mlua.tensor.create
local core = require "mlua.ffi"
local misfit = require("mlua.check").misfit

local C, own, new_ref = core.C, core.own, core.new_ref
local misuse, check, bad_argument = core.misuse, core.check, core.bad_argument

local create = {}

--- Whether a value is a whole number that Lua holds exactly.
function create.is_whole(v)
  return type(v) == "number" and v % 1 == 0 and v > -2 ^ 53 and v < 2 ^ 53
end
local is_whole = create.is_whole

-- Raise unless every size is a whole number of at least 0.
local function check_sizes(sizes, n, op)
  for i = 1, n do
    if not is_whole(sizes[i]) or sizes[i] < 0 then
      bad_argument(i, op, "size", "a whole number of at least 0", sizes[i])
    end
  end
end
create.check_sizes = check_sizes

local OPTIONS = { dtype = "string", seed = "number", stream = "number" }

local function check_options(o, op)
  local message = misfit(o, OPTIONS)
  if message then misuse(op .. ": " .. message) end
  return o
end

create.check_options = check_options

-- Sizes given as f(2, 3, options), f({2, 3}, options), and the options.
local function sizes_and_options(op, ...)
  local n, first = select("#", ...), (...)
  local last, options = n > 0 and select(n, ...), nil
  if type(last) == "table" and not (n == 1 and (last[1] ~= nil or next(last) == nil)) then
    options, n = last, n - 1
  end
  local sizes = {}
  if type(first) == "table" and n == 1 then
    n = #first
    for i = 1, n do sizes[i] = first[i] end
  else
    for i = 1, n do sizes[i] = (select(i, ...)) end
  end
  check_sizes(sizes, n, op)
  return sizes, options and check_options(options, op) or {}
end
create.sizes_and_options = sizes_and_options

-- What an integer dtype holds exactly of Lua's numbers.
local RANGE = { i64 = { -2 ^ 53, 2 ^ 53 }, i32 = { -2 ^ 31, 2 ^ 31 - 1 }, u8 = { 0, 255 } }

local function dtype_number(name)
  return core.dtype_number[name] or misuse(("no dtype %s: expected f64, f32, bf16, f16, i64, " ..
    "i32, u8 or bool"):format(core.what(name)))
end
create.dtype_number = dtype_number

--- A tensor that is not initialised, of a list of sizes and a dtype ("f32").
function create.new(sizes, dtype)
  local t = new_ref()
  local s, n = core.sizes(sizes)
  check(C.ml_tensor_new(t, dtype_number(dtype or "f32"), n, s))
  return own(t)
end
local new = create.new

local function fill(op, value, ...)
  local sizes, o = sizes_and_options(op, ...)
  local t = new(sizes, o.dtype)
  check(C.ml_tensor_fill(t, value))
  return t
end

--- A tensor of zeros: `zeros(2, 3)`, `zeros({2, 3}, { dtype = "i64" })`.
-- @param ...  sizes, or a list of them, then options: dtype ("f32")
-- @treturn Tensor
function create.zeros(...) return fill("zeros", 0, ...) end

--- A tensor of ones, as `zeros`.
function create.ones(...) return fill("ones", 1, ...) end

--- A tensor of one value: `full(value, sizes…, options)`.
function create.full(value, ...)
  if type(value) ~= "number" then bad_argument(1, "full", "value", "a number", value) end
  return (fill("full", value, ...))
end

--- A tensor that is not initialised, as `zeros`.
function create.empty(...)
  local sizes, o = sizes_and_options("empty", ...)
  return new(sizes, o.dtype)
end

-- -- random values --

local NEXT = 0xffffffffffffffffULL -- ML_NEXT; a negative number is not the same in every trace

--- Seed the draws that name no stream of their own.
-- @tparam number n  from 0
function create.seed(n)
  if not is_whole(n) or n < 0 then
    bad_argument(1, "seed", "n", "a whole number of at least 0", n)
  end
  C.ml_seed(n)
end

--- The seed, and the next stream that no draw has had since it was set.
-- @treturn number
-- @treturn number
function create.next_stream()
  core.no_capture "such a draw would have the same name each time; use rand, randn or nn.Dropout"
  return tonumber(C.ml_seed_set()), tonumber(C.ml_next_stream())
end

local function check_names(op, o)
  for name, v in pairs { seed = o.seed, stream = o.stream } do
    if not is_whole(v) or v < 0 then
      misuse(("%s: option %s: expected a whole number of at least 0, got %s"):format(op, name,
        core.what(v)))
    end
  end
end

-- The seed and stream that options name, or the next ones.
local function name_draw(op, o)
  check_names(op, o)
  if o.seed and o.stream then return o.seed, o.stream end
  if o.stream then return tonumber(C.ml_seed_set()), o.stream end
  local seed, stream = create.next_stream()
  return o.seed or seed, stream
end
create.name_draw = name_draw

local function draw(op, labels, from, a, b, ...)
  if type(a) ~= "number" then bad_argument(1, op, labels[1], "a number", a) end
  if type(b) ~= "number" then bad_argument(2, op, labels[2], "a number", b) end
  local sizes, o = sizes_and_options(op, ...)
  local t = new(sizes, o.dtype)
  check_names(op, o)
  check(from(t, a, b, o.seed or NEXT, o.stream or NEXT))
  return t
end

local UNIFORM, NORMAL = { "lo", "hi" }, { "mean", "sd" }

--- Uniform values in [0, 1): `rand(2, 3, { seed = 1, stream = 2 })`; Philox draws named by both.
function create.rand(...) return draw("rand", UNIFORM, C.ml_tensor_uniform, 0, 1, ...) end

--- Standard normal values, as `rand`.
function create.randn(...) return draw("randn", NORMAL, C.ml_tensor_normal, 0, 1, ...) end

--- Uniform values in [lo, hi).
function create.uniform(lo, hi, ...)
  return draw("uniform", UNIFORM, C.ml_tensor_uniform, lo, hi, ...)
end

--- Normal values of a mean and a standard deviation.
function create.normal(mean, sd, ...)
  return draw("normal", NORMAL, C.ml_tensor_normal, mean, sd, ...)
end

--- Whole numbers of [lo, hi): `randint(0, 10, 2, 3)`; i64 where no dtype is named.
-- @tparam number lo
-- @tparam number hi  above lo
-- @param ...  sizes, options: dtype, seed, stream
function create.randint(lo, hi, ...)
  if not is_whole(lo) then bad_argument(1, "randint", "lo", "a whole number", lo) end
  if not (is_whole(hi) and hi > lo) then
    bad_argument(2, "randint", "hi", ("a whole number above %d"):format(lo), hi)
  end
  local sizes, o = sizes_and_options("randint", ...)
  local dtype = o.dtype or "i64"
  local range = RANGE[dtype]
  if dtype == "bool" or (range and (lo < range[1] or hi - 1 > range[2])) then
    misuse(("randint: %d to %d as %s"):format(lo, hi - 1, dtype))
  end
  local t = new(sizes, dtype)
  local s, k = name_draw("randint", o)
  check(C.ml_tensor_integers(t, lo, hi, s, k))
  return t
end

-- -- from Lua --

-- Below these, the 16-bit formats hold every whole number.
local WHOLE = { bf16 = 2 ^ 8, f16 = 2 ^ 11 }

-- A tensor's elements in another dtype, off the tape; the tensor is freed.
local function converted(t, dtype)
  local to = new_ref()
  local i = core.info(t)
  check(C.ml_tensor_new(to, dtype_number(dtype), i.ndim, i.shape))
  check(C.ml_tensor_copy(own(to), t))
  core.free(t)
  return to
end

-- from, from + step, … before to; i64 where from and step are whole.
local function from_to(from, to, step, dtype)
  for i, v in ipairs { from, to, step } do
    if type(v) ~= "number" or v - v ~= 0 then
      bad_argument(i, "arange", ({ "from", "to", "step" })[i], "a number", v)
    end
  end
  if step == 0 then misuse "arange: a step of 0" end
  local n = math.max(0, math.ceil((to - from) / step))
  if n > 2 ^ 53 then misuse(("arange: %.14g numbers"):format(n)) end
  dtype = dtype or from % 1 == 0 and step % 1 == 0 and "i64" or "f32"
  dtype_number(dtype)
  return core.op.cast(core.op.affine(create.arange(n, "f64"), step, from), dtype)
end

--- 0, 1, … n-1: `arange(n, dtype)`; or from, from + step, … as long as it is before to:
-- `arange(from, to, step, dtype)`, in i64 where from and step are whole, else f32.
-- @tparam number n
-- @tparam[opt="i64"] string dtype
function create.arange(n, dtype, ...)
  if type(dtype) == "number" then
    local step, of = ...
    if type(step) == "string" then step, of = nil, step end
    return from_to(n, dtype, step == nil and 1 or step, of)
  end
  dtype = dtype or "i64"
  if not is_whole(n) or n < 0 then
    bad_argument(1, "arange", "n", "a whole number of at least 0", n)
  end
  local range, whole = RANGE[dtype], WHOLE[dtype]
  if (range and n - 1 > range[2]) or (whole and n - 1 > whole)
    or not (range or whole or dtype == "f32" or dtype == "f64") then
    misuse(("arange: %d numbers as %s"):format(n, core.what(dtype)))
  end
  local t = new({ n }, whole and "f32" or dtype)
  local p = core.pointer(t)
  for i = 0, n - 1 do p[i] = i end
  core.written(t) -- a use after the last write: nothing collects it before
  return whole and converted(t, dtype) or t
end

-- Depth-first into nested lists; the first branch sets the shape, the others must agree.
local function measure(v, shape, level)
  if type(v) ~= "table" then return end
  if level > 8 then misuse("tensor: lists nested deeper than 8") end
  shape[level] = #v
  if #v > 0 then measure(v[1], shape, level + 1) end
end

-- "[2][1]: ", the first `levels` positions of a path.
local function path_text(path, levels)
  return levels == 0 and "" or "[" .. table.concat(path, "][", 1, levels) .. "]: "
end

local function refuse(path, levels, expected, v)
  misuse(("tensor: %sexpected %s, got %s"):format(path_text(path, levels), expected, core.what(v)))
end

-- `path` has the positions that lead to what is written; it becomes text for a message alone.
local function fill_from(v, shape, level, write, path)
  if level > #shape then return write(v, path) end
  local n = shape[level]
  if type(v) ~= "table" then refuse(path, level - 1, ("a list of %d"):format(n), v) end
  if #v ~= n then
    misuse(("tensor: %sexpected a list of %d, got %d"):format(path_text(path, level - 1), n, #v))
  end
  for i = 1, n do
    path[level] = i
    fill_from(v[i], shape, level + 1, write, path)
  end
end

local function all_boolean(v, level)
  if type(v) ~= "table" then return type(v) == "boolean" end
  for i = 1, #v do
    -- by the level: a list may hold itself
    if level == 8 or not all_boolean(v[i], level + 1) then return false end
  end
  return #v > 0
end

--- A tensor of a number or of nested lists of numbers: `tensor { {1, 2}, {3, 4} }`.
-- @param values
-- @tparam[opt] string dtype  else "bool" of true and false alone, "f32" of the rest
-- @treturn Tensor
-- @raise naming the entry where lists differ in length, hold something else, or hold a number that
--   an integer dtype does not have
function create.of(values, dtype)
  if type(dtype) == "table" then dtype = check_options(dtype, "tensor").dtype end
  local shape = {}
  measure(values, shape, 1)
  dtype = dtype or all_boolean(values, 0) and "bool" or "f32"
  local narrow = WHOLE[dtype] and true -- rounded once, from f64
  local t = new(shape, narrow and "f64" or dtype)
  local p, at, range = core.pointer(t), 0, RANGE[dtype]
  local is_bool = dtype == "bool"
  fill_from(values, shape, 1, function(v, path)
    if type(v) == "boolean" then v = v and 1 or 0 end
    if type(v) ~= "number" then refuse(path, #shape, "a number", v) end
    if range and not (v % 1 == 0 and v >= range[1] and v <= range[2]) then
      refuse(path, #shape, ("a whole number that %s holds"):format(dtype), v)
    end
    p[at] = is_bool and (v ~= 0 and 1 or 0) or v
    at = at + 1
  end, {})
  core.written(t)
  return narrow and converted(t, dtype) or t
end

--- A tensor over memory that somebody else owns and keeps alive.
-- @param pointer  cdata
-- @tparam string dtype
-- @tparam table shape
function create.wrap(pointer, dtype, shape)
  if type(pointer) ~= "cdata" or core.is_tensor(pointer) then
    bad_argument(1, "wrap", "pointer", "a pointer", pointer)
  end
  if type(shape) ~= "table" then bad_argument(3, "wrap", "shape", "a list of sizes", shape) end
  check_sizes(shape, #shape, "wrap")
  local t = new_ref()
  local s, n = core.sizes(shape)
  local ok, code = pcall(C.ml_tensor_wrap, t, pointer, dtype_number(dtype), n, s)
  if not ok then bad_argument(1, "wrap", "pointer", "a pointer", pointer) end
  check(code)
  return own(t)
end

return create
