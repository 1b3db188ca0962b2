--- Batches of sequences that differ in length: [T, B, …], each padded behind its end.
-- @module mlua.nn.padded
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"
local views = require "mlua.tensor.view"

local op, bad, is_tensor = core.op, core.bad, core.is_tensor

local Padded = {}
Padded.__index = Padded

-- Lengths as i64 [B], each 1 to t. Those of tensors are read, but not inside a captured step.
local function checked(lengths, t, b, n, class)
  local list, at = lengths, "lengths[%d]: expected 1 to %d, got %s"
  if is_tensor(lengths) then
    local dtype = lengths:dtype()
    if dtype ~= "i64" and dtype ~= "i32" or lengths:dim() ~= 1 or lengths:size(1) ~= b then
      bad(n, class, "lengths: expected i64 or i32 [%d], got %s [%s]", b, dtype,
        table.concat(lengths:shape(), ", "))
    end
    if core.recording then return lengths:to "i64" end
    list = lengths:totable()
  elseif type(lengths) ~= "table" or #lengths ~= b then
    bad(n, class, "lengths: expected %d of them, got %s", b,
      type(lengths) == "table" and #lengths or core.what(lengths))
  end
  for i = 1, b do
    local v = list[i]
    if type(v) ~= "number" or v % 1 ~= 0 or v < 1 or v > t then
      bad(n, class, at, i, t, core.what(v))
    end
  end
  return is_tensor(lengths) and lengths:to "i64" or tensor.of(lengths, "i64")
end

--- What the lengths of a batch ask for.
-- @param lengths     a list, or i64 or i32 [B]: each 1 to t
-- @tparam number t   the steps of the longest
-- @tparam number b   the size of the batch
-- @tparam number n   which argument, for messages
-- @tparam string class
-- @treturn Padded
local function new(lengths, t, b, n, class)
  local ends = checked(lengths, t, b, n, class):reshape(1, b)
  local step = tensor.arange(t):reshape(t, 1)
  local before = op.lt(step, ends) -- [T, B]
  local last = op.affine(ends, 1, -1)
  return setmetatable({ within = before:unsqueeze(3), at_end = last,
                        turned_ids = op.where(before, op.sub(last, step), step) }, Padded)
end

-- Steps of x [T, B, F] by ids [n, B], [n, B, F].
local function steps(x, ids)
  local shape = { ids:size(1), x:size(2), x:size(3) }
  return op.gather(x, views.expand_to(ids:unsqueeze(3), shape, "gather"), 1)
end

--- x with zeros behind the ends. What was there counts nowhere, NaN included.
-- @tparam Tensor x  [T, B, F]
-- @treturn Tensor
function Padded:cleared(x) return tensor.where(self.within, x, 0) end

--- The last step of each sequence.
-- @tparam Tensor x  [T, B, F]
-- @treturn Tensor   [1, B, F]
function Padded:last(x) return steps(x, self.at_end) end

--- Each sequence from its end to its beginning, the padding where it was; twice is once.
-- @tparam Tensor x  [T, B, F]
-- @treturn Tensor
function Padded:turned(x) return steps(x, self.turned_ids) end

return new
