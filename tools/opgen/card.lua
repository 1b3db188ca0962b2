-- card: reads an operation's card.
--
-- A file in core/op holds a card, or a list of cards with a `name` each. A card (docs/design.md,
-- "One table of operations"):
--   doc, source      a sentence; where the formula is from
--   arg              { name, type [, default] }: type is "f32|f64[B,K]" (dtypes and shape), "x[N]"
--                    (the dtype of argument x), "int", "number", "bool" or "choice:a|b". "[...]" is
--                    any shape; "name?" may be absent; "list x" a list of tensors; "state x" one
--                    that the operation writes into: contiguous, never on the tape
--   out              { name, dtype of [, "[B,N]"] }, or shape = "rule(args)": C's ml__shape_rule;
--                    the dtype is an argument's (a choice between dtypes, too), or named
--   saved            { name, dtype or dtype of, shape = "rule(args)" }: a second output, for the
--                    backward alone (saved[1]); NULL to implementations where none will come
--   promote          false: tensors of other dtypes than its own are refused, not converted first
--   mixed            in mixed precision: "low" computes what is f32 in 16 bits, "wide" what is of
--                    16 bits in f32, to a result in f32 (core/tensor/promote.c)
--   check            the order in which arguments are checked, where it is not their own: the first
--                    one to hold a size decides what the others are expected to have
--   each, each_int   the value of an element, for element-wise operations: opgen writes all their C
--                    (tools/opgen/each.lua), and grad's rules are such expressions, too
--   cpu              dtypes that the CPU implementation takes; the others go to the reference
--   native           16-bit dtypes that the CPU implementation takes as well, on machines that have
--                    instructions for them (core/op/gemm_native.h); elsewhere they are converted
--   strided          true: implementations take any strides; else inputs are made contiguous
--   grad             by argument, an expression over g, the arguments, the output and operations;
--                    or the name of a C function; absent: not differentiable
--   loose            C, over the arguments: an operand whose count may change between replays of a
--                    captured step, since nothing else depends on it; or NULL
--   constant         by argument: true where grad, a C function, has none by it
--   edges            why equal or infinite elements may give another result than the reference
--   twice            where grad is a C function: true if it is made of operations, or the same as
--                    expressions, or the name of a C function: for gradients of gradients
--   tol, sweep, domain    for the sweep (spec/op/sweep_spec.lua); needs: "lapack", of the machine

local each = require "opgen.each"

local M = {}

local DTYPE = { f64 = "ML_BIT_F64", f32 = "ML_BIT_F32", bf16 = "ML_BIT_BF16", f16 = "ML_BIT_F16",
                i64 = "ML_BIT_I64", i32 = "ML_BIT_I32", u8 = "ML_BIT_U8", bool = "ML_BIT_BOOL" }

--- Dtypes as C's bits: "f64|f32" to "ML_BIT_F64 | ML_BIT_F32".
function M.mask(dtypes)
  local bits = {}
  for d in dtypes:gmatch("[%w_]+") do bits[#bits + 1] = assert(DTYPE[d], "no dtype " .. d) end
  return table.concat(bits, " | ")
end

local function parse_arg(a)
  local r = { name = a[1], default = a[3] }
  if r.name:sub(-1) == "?" then r.name, r.optional = r.name:sub(1, -2), true end
  local t = a[2]
  if t == "int" or t == "number" or t == "bool" then
    r.kind = t
    return r
  end
  if t:match("^choice:") then
    r.kind, r.choices = "choice", {}
    for c in t:sub(8):gmatch("[^|]+") do r.choices[#r.choices + 1] = c end
    return r
  end
  if t:match("^list ") then r.list, t = true, t:sub(6) end
  if t:match("^state ") then r.state, t = true, t:sub(7) end
  local dtypes, shape = t:match("^([%w|]+)%[(.-)%]$")
  assert(dtypes, "argument " .. r.name .. ": cannot read type " .. t)
  r.kind = "tensor"
  if DTYPE[dtypes:match("^%w+")] then r.mask, r.dtypes = M.mask(dtypes), dtypes
  else r.like = dtypes end
  if shape ~= "..." then
    r.pattern, r.shape = shape, {}
    for s in shape:gmatch("[^,]+") do r.shape[#r.shape + 1] = s end
  end
  return r
end

--- The cards of a file: one, named as the file, or a list of several with names.
function M.read(path)
  local card = assert(loadfile(path))()
  if card[1] then return card end
  card.name = path:match("([%w_]+)%.lua$")
  return { card }
end

-- The tensors that meet in one dtype: the first that takes several floats, and those like it.
local function meeting(card)
  for _, t in ipairs(card.tensors) do
    if t.dtypes and t.dtypes:find("f32", 1, true) then
      local group = {}
      for _, u in ipairs(card.tensors) do
        if u == t or u.like == t.name then group[#group + 1] = u end
      end
      return group
    end
  end
end

-- A card with its arguments read: args, tensors, scalars, by_name, result.
local function complete(card, path)
  card.args, card.tensors, card.scalars, card.by_name = {}, {}, {}, {}
  for _, a in ipairs(card.arg) do
    local ok, r = pcall(parse_arg, a)
    assert(ok, path .. ": " .. tostring(r))
    card.args[#card.args + 1] = r
    r.position = #card.args
    card.by_name[r.name] = r
    local of = r.kind == "tensor" and card.tensors or card.scalars
    of[#of + 1] = r
  end
  local last = card.tensors[#card.tensors]
  for _, t in ipairs(card.tensors) do card.has_list = card.has_list or t.list end
  for i, t in ipairs(card.tensors) do assert(not t.list or i == 1 or t ~= last, path) end
  local o = card.out
  card.result = { name = o[1], like = o[2], rule = o.shape }
  if o[3] then
    card.result.shape = {}
    for s in o[3]:sub(2, -2):gmatch("[^,]+") do card.result.shape[#card.result.shape + 1] = s end
  end
  if card.each then each.complete(card) end
  if card.promote ~= false then card.meeting = meeting(card) end
  if card.native then card.meeting[1].native = " | ml__native_dtypes()" end
  return card
end

--- The cards of a file, with their arguments read.
function M.load(path)
  local cards = M.read(path)
  for _, card in ipairs(cards) do complete(card, path) end
  return cards
end

return M
