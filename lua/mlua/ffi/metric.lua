--- Binary metrics over arrays, from core/base/metric.c.
-- @module mlua.ffi.metric
local ffi = require "ffi"
local check = require "mlua.check"
local lib = require "mlua.ffi"
local store = require "mlua.ffi.store"

local metric = {}

local C = lib.C

-- A pointer, a dtype, a count, and what keeps the pointer good.
local function array(x, position, name, label)
  if lib.is_tensor(x) then
    local dtype, _, data, _, keep = store.tensor_bytes(x)
    return data, lib.dtype_number[dtype], tonumber(lib.info(x).count), keep
  elseif type(x) ~= "table" then
    lib.bad(position, name, "%s: expected a tensor or a table, got %s", label, check.what(x))
  end
  local values = ffi.new("double[?]", math.max(#x, 1))
  for i = 1, #x do
    local v = x[i]
    if type(v) == "boolean" then v = v and 1 or 0 end
    if type(v) ~= "number" then
      lib.bad(position, name, "%s: expected numbers, got %s at %d", label, check.what(v), i)
    end
    values[i - 1] = v
  end
  return values, C.ML_F64, #x, values
end

-- Calls f(prediction, its dtype, label, its dtype, n). Errors name the public function and count
-- its arguments from the predictions, which are the `first`.
local function with_rows(prediction, label, name, first, f)
  local p, p_dtype, n, keep_p = array(prediction, first, name, "predictions")
  local y, y_dtype, m, keep_y = array(label, first + 1, name, "labels")
  if n ~= m then
    lib.bad(first + 1, name, "labels: expected %d, as many as predictions, got %d", n, m)
  end
  local code = f(p, p_dtype, y, y_dtype, n)
  if code ~= 0 and keep_p and keep_y then
    local message = ffi.string(C.ml_error())
    lib.bad(message:match("^label") and first + 1 or first, name, "%s", message)
  end
end

local Binary = {}
Binary.__index = Binary

--- A gatherer of predictions and labels.
-- @tparam number threshold
-- @treturn Binary
function metric.binary(threshold)
  local out = ffi.new("ml_binary *[1]")
  lib.check(C.ml_binary_new(out, threshold))
  return setmetatable({ handle = ffi.gc(out[0], C.ml_binary_free) }, Binary)
end

--- Add rows; all or, if one is wrong, none.
-- @param prediction  tensor or table
-- @param label       tensor or table
-- @tparam[opt="add"] string name  of the function that errors name
function Binary:add(prediction, label, name)
  with_rows(prediction, label, name or "add", name and 1 or 2, function(...)
    return C.ml_binary_add(self.handle, ...)
  end)
end

--- What was added, summed up.
-- @tparam[opt=true] boolean auc  false saves the sorting
-- @treturn table  auc, log_loss, accuracy, normalised_entropy, calibration, predicted, observed,
--   count
function Binary:result(auc)
  local r = ffi.new("ml_binary_result")
  lib.check(C.ml_binary_get(self.handle, r, auc ~= false))
  return { auc = r.auc, log_loss = r.log_loss, accuracy = r.accuracy,
           normalised_entropy = r.normalised_entropy, calibration = r.calibration,
           predicted = r.predicted, observed = r.observed, count = tonumber(r.count) }
end

--- Forget all rows; their memory stays for the next ones.
function Binary:clear()
  C.ml_binary_clear(self.handle)
end

--- The exact AUC of scores, which need not be probabilities.
-- @param score
-- @param label
-- @treturn number
function metric.auc(score, label)
  local out = ffi.new("double[1]")
  with_rows(score, label, "auc", 1, function(...) return C.ml_auc(out, ...) end)
  return out[0]
end

return metric
