--- mlua's metrics. Each is built by (o) and gathers rows batch by batch:
--
--     m:add(prediction, label)    tensors, or tensors by name: then a column, or an ensemble's mean
--     m:result()                  numbers by name; those of no rows are NaN
--     m:clear()                   forgets all rows
-- @module mlua.registry.metrics
local param = require "mlua.param"
local registry = require "mlua.registry"

local function column()
  return param.string { "", doc = "of predictions, and of labels where they have columns; none: "
    .. "all, or an ensemble's mean" }
end

-- A label may be one tensor for all columns.
local function columns(o, prediction, label)
  local pick = require "mlua.nn.composite".column
  return pick(prediction, o.column, 1, "add"),
    type(label) == "table" and label.mean == nil and o.column == "" and label
    or type(label) == "table" and pick(label, o.column, 2, "add") or label
end

registry.register("metric", "binary", {
  doc = "of probabilities: auc, log_loss, accuracy, normalised_entropy, calibration (mlua.metric)",
  threshold = param.number { 0.5, min = 0, max = 1, doc = "predictions from it on count as 1" },
  column = column(),
}, function(o)
  local binary = require "mlua.metric".binary { threshold = o.threshold }
  local m = {}
  function m.add(_, prediction, label) return binary:add(columns(o, prediction, label)) end
  function m.result(_) return binary:result() end
  function m.clear(_) binary:clear() end
  return m
end)

-- The mean over all elements of what `sum_of` adds up for a batch: the sum, and of how many.
local function mean(name, doc, options, sum_of)
  options.doc, options.column = doc, column()
  registry.register_at(2, "metric", name, options, function(o)
    local sum, count = 0, 0
    local m = {}
    function m.add(_, prediction, label)
      local p, y = columns(o, prediction, label)
      local more, n = sum_of(p, y, o)
      sum, count = sum + more:item(), count + n
    end
    function m.result(_) return { [name] = count > 0 and sum / count or 0 / 0, count = count } end
    function m.clear(_) sum, count = 0, 0 end
    return m
  end)
end

mean("mse", "mean squared error", {}, function(p, y)
  return require "mlua.op".mse(p, y, nil, "sum"), p:count()
end)
mean("mae", "mean absolute error", {}, function(p, y)
  return require "mlua.op".l1(p, y, "sum"), p:count()
end)
mean("accuracy", "share of rows whose largest score, of the last axis, is at the label, from 0", {},
  function(p, y)
    local op = require "mlua.op"
    local best = op.argmax(p, -1)
    return op.sum(op.eq(best, y:to(best:dtype()):reshape(best:shape())):to "f64"), best:count()
  end)
