--- How good binary predictions are.
--
-- Predictions and labels come as tensors of any shape or as tables, as many of one as of the other:
-- predictions are probabilities, 0 to 1, labels are 0 and 1 (or false and true). NaN, a prediction
-- outside [0, 1] and any other label raise, with the row.
--
-- What is not defined is NaN: everything of no rows; AUC and normalised entropy of labels that are
-- all equal; calibration where none is 1.
-- @module mlua.metric
local check = require "mlua.check"
local ffi_metric = require "mlua.ffi.metric"

local metric = {}

--- Gathers rows batch by batch, for exact figures over all of them; 8 bytes a row.
--
--     local m = metric.binary()
--     for batch in batches do m:add(model(batch), batch.label) end
--     print(m:result().auc)
--
-- `m:add(prediction, label)` adds rows, all or (raising) none; `m:result()` gives a table of auc,
-- log_loss, accuracy, normalised_entropy, calibration, count, and the means predicted and observed;
-- `m:clear()` starts again.
-- @tparam[opt] table options  `threshold` = 0.5: predictions from it on count as 1 in the accuracy
-- @treturn Binary
function metric.binary(options)
  options = check.options(options, { threshold = "number" }, 1, "binary")
  return ffi_metric.binary(options.threshold or 0.5)
end

local function all(name, prediction, label, threshold)
  local m = ffi_metric.binary(threshold or 0.5)
  m:add(prediction, label, name)
  return m:result(false)
end

--- The share of rows where (prediction >= threshold) is the label.
-- @param prediction
-- @param label
-- @tparam[opt=0.5] number threshold
-- @treturn number
function metric.accuracy(prediction, label, threshold)
  check.type(threshold, 3, "accuracy", "threshold", "number|nil")
  local result = all("accuracy", prediction, label, threshold)
  return result.accuracy
end

--- The area under the ROC curve, exact: the share of pairs of a 1 and a 0 where the 1 is above; a
-- tie counts a half. Scores may be any numbers, infinities and logits included.
-- @param score
-- @param label
-- @treturn number
-- @source Mann & Whitney 1947; Hanley & McNeil 1982
function metric.auc(score, label)
  local result = ffi_metric.auc(score, label)
  return result
end

--- Mean of -ln(the probability given to what came), in nats. Predictions are kept within
-- [eps, 1 - eps], eps = 2^-23 for f32 tensors and 2^-52 for f64 and tables: a certain prediction
-- that was wrong costs 15.9 or 36.0.
-- @param prediction
-- @param label
-- @treturn number
function metric.log_loss(prediction, label)
  local result = all("log_loss", prediction, label)
  return result.log_loss
end

--- The log loss over that of always predicting these rows' base rate: below 1 is better than that.
-- @param prediction
-- @param label
-- @treturn number
-- @source He et al. 2014, Practical lessons from predicting clicks on ads at Facebook, section 3
function metric.normalised_entropy(prediction, label)
  local result = all("normalised_entropy", prediction, label)
  return result.normalised_entropy
end

--- Mean prediction over mean label: 1 is right on average, above 1 too high.
-- @param prediction
-- @param label
-- @treturn number
-- @source He et al. 2014, section 3
function metric.calibration(prediction, label)
  local result = all("calibration", prediction, label)
  return result.calibration
end

return metric
