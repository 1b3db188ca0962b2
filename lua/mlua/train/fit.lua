--- Whether a loss and metrics fit the labels of a data set, and how predictions meet labels.
-- @module mlua.train.fit
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local op = require "mlua.op"
local text = require "mlua.text"

local M = {}

local Fit = {}
Fit.__index = Fit

-- What labels losses take: classes; shares, from 0 to 1; or any numbers. Others see for themselves.
local TAKES = {
  cross_entropy = "classes",
  bce = "shares", weighted_bce = "shares", bce_logits = "shares", focal = "shares",
  mse = "numbers", l1 = "numbers", huber = "numbers", smooth_l1 = "numbers",
}
local OF_LOGITS = { bce_logits = true, focal = true }

local LOSS = { classification = "cross_entropy", binary = "bce", regression = "mse" }

-- The names of a loss, or of those that a sum is of.
local function names_of(loss, list)
  if loss.name == "sum" then
    for _, term in ipairs(loss.options.terms) do names_of(term, list) end
  elseif loss.name == "term" then
    names_of(loss.options.loss, list)
  else
    list[#list + 1] = loss.name
  end
  return list
end

-- What the labels of a data set are, in words.
local function described(set)
  if set.kind == "classification" then return ("%d classes"):format(set.classes) end
  return set.kind == "binary" and "0 and 1" or "numbers"
end

local function part_of(registry, name)
  return (assert(require "mlua.param"[registry] {}:check(name)))
end

-- Whether predictions are probabilities, or logits of which metrics are given those: of a data set
-- of 0 and 1 always (its models give them), else of a loss of shares.
local function of_probabilities(set, losses)
  for _, name in ipairs(losses) do
    if TAKES[name] == "shares" then return true end
  end
  return set.kind == "binary"
end

-- Refuses a loss that takes other labels; whether it is of one output.
local function check_loss(set, name)
  local takes, two = TAKES[name], set.kind == "classification" and set.classes == 2
  local fits = takes == nil
    or takes == "classes" and set.kind == "classification"
    or takes == "shares" and (set.kind == "binary" or two)
    or takes == "numbers" and (set.kind ~= "classification" or two)
  if not fits then
    fail.run("loss %s: takes %s, and the labels of dataset %s are %s", name,
      takes == "shares" and "labels of 0 and 1" or takes, set.name, described(set))
  end
  return takes == "shares" or takes == "numbers"
end

-- -- metrics -----------------------------------------------------------------------------------

-- Refuses a metric of mlua's that takes other predictions or labels, unless it is of a column.
local function check_metric(self, part)
  local name, set = part.name, self.set
  local of_column = part.component.spec.by.column and part.options.column ~= ""
  local needs
  if name == "accuracy" and not (set.kind == "classification" and not self.one) then
    needs = "a score for each class"
  elseif name == "binary" and not (self.one and self.probable and set.kind ~= "regression") then
    needs = "probabilities of labels 0 and 1"
  elseif (name == "mse" or name == "mae") and set.kind == "classification" and not self.one then
    needs = "numbers"
  end
  if needs and not of_column then
    fail.run("metric %s: takes %s, and the labels of dataset %s are %s%s", name, needs, set.name,
      described(set), set.kind == "classification" and ", with loss "
        .. text.list(self.losses, "and") or "")
  end
end

local function default_metrics(self)
  if self.set.kind == "regression" then return { "mse", "mae" } end
  return { not self.one and "accuracy" or self.probable and "binary" or "mse" }
end

-- Which of a metric's figures is meant where none is named.
local MAIN = { binary = "auc" }

-- Metrics of which less is better.
local LESS = { mse = true, mae = true, log_loss = true, normalised_entropy = true, loss = true,
               error = true, rmse = true }

--- Whether more of a figure is better, as the mode of stops and best checkpoints.
-- @tparam string figure
-- @treturn string  "max" or "min"
function M.mode(figure) return LESS[figure] and "min" or "max" end

--- Metrics that have seen nothing.
-- @treturn {Metric,...}
function Fit:new_metrics()
  local list = {}
  for i, part in ipairs(self.metrics) do list[i] = part() end
  return list
end

--- The figure of a test that is meant.
-- @tparam ?string name    none: the first metric's own
-- @tparam string option   that names it, for messages
-- @treturn string
function Fit:figure(name, option)
  local known = {}
  for i, metric in ipairs(self:new_metrics()) do
    local figures = metric:result()
    local main = MAIN[self.metrics[i].name] or self.metrics[i].name
    if not name and figures[main] then return main end
    for figure in pairs(figures) do known[figure] = true end
  end
  for _, loss in ipairs(self.tested) do known[loss] = true end
  if name and known[name] then return name end
  local names = text.keys(known)
  fail.run("%s: expected %s, got %s%s", option, text.list(names), name or "nothing",
    name and text.did_you_mean(name, names) or "")
end

-- -- predictions and labels --------------------------------------------------------------------

-- f of a prediction, or of each tensor of one that has several.
local function each(prediction, f)
  if core.is_tensor(prediction) then return f(prediction) end
  if type(prediction) ~= "table" then return prediction end
  local all = {}
  for name, value in pairs(prediction) do
    all[name] = core.is_tensor(value) and f(value) or value
  end
  return all
end

-- One output as the label is shaped: [n, 1] for labels [n], and the other way round.
local function shaped(p, label)
  local a, b = p:dim(), label:dim()
  if a == b + 1 and p:size(-1) == 1 or b == a + 1 and label:size(-1) == 1 then
    return p:reshape(unpack(label:shape()))
  end
  return p
end

-- A prediction and its label as losses and metrics take them.
local function meet(self, prediction, label)
  if not core.is_tensor(label) then return prediction, label end
  local whole = not core.is_float[label:dtype()]
  if self.one then
    if whole then label = label:to "f32" end
    return each(prediction, function(p) return shaped(p, label) end), label
  elseif self.set.kind == "classification" then
    if label:dim() > 1 and label:size(-1) == 1 then label = label:reshape(label:size(1)) end
    if not whole then label = label:to "i64" end
  end
  return prediction, label
end

--- The loss of a prediction.
-- @param prediction
-- @param label
-- @treturn Tensor  of one element, and what else the loss gives
function Fit:loss(prediction, label) return self.loss_of(meet(self, prediction, label)) end

--- What metrics take: probabilities where the loss takes logits, numbers in units of the labels
-- as they were before they were scaled.
-- @param prediction
-- @param label
-- @return both
function Fit:figures(prediction, label)
  local p, y = meet(self, prediction, label)
  local scale = self.set.scale
  if self.of_logits then p = each(p, op.sigmoid) end
  if scale and core.is_tensor(y) then
    local function unscaled(t) return op.affine(t, scale.deviation, scale.mean) end
    p, y = each(p, unscaled), unscaled(y)
  end
  return p, y
end

-- -- losses of tests ---------------------------------------------------------------------------

--- The loss of training and others, as an engine averages them over tests: "loss", and by name.
-- @tparam {Part,...} parts   other losses
-- @tparam function last      gives the prediction and label that the model gave last
-- @treturn table  name → function
function Fit:test_losses(parts, last)
  local function of(loss)
    return function() return (loss(meet(self, last()))) end
  end
  local all, figures = { loss = of(self.loss_of) }, {}
  for _, metric in ipairs(self:new_metrics()) do
    for name in pairs(metric:result()) do figures[name] = true end
  end
  for _, part in ipairs(parts) do
    if figures[part.name] then fail.run("losses: %s: a metric has this name", part.name) end
    for _, name in ipairs(names_of(part, {})) do
      if check_loss(self.set, name) ~= self.one and TAKES[name] then
        fail.run("losses: %s: takes %s, and loss %s does not", name, self.one and "classes"
          or "one output", text.list(self.losses, "and"))
      end
    end
    all[part.name] = of(part())
  end
  return all
end

--- What fits a data set, or the end of the script with what does not.
-- @tparam Set set              mlua.data.sets
-- @tparam ?Part loss           unless given, by the kind of labels
-- @tparam ?{Part,...} metrics  as well
-- @tparam ?{Part,...} tested   losses that tests average, too
-- @treturn Fit  fields: outputs, the width that a model should give
function M.new(set, loss, metrics, tested)
  loss = loss or part_of("loss", LOSS[set.kind])
  local self = setmetatable({ set = set, losses = names_of(loss, {}) }, Fit)
  local one, of_logits = true, true
  for _, name in ipairs(self.losses) do
    one = check_loss(set, name) and one
    of_logits = OF_LOGITS[name] and of_logits
  end
  self.one = one or set.kind ~= "classification"
  self.of_logits = self.one and of_logits
  self.probable = of_probabilities(set, self.losses)
  self.outputs = set.outputs or not self.one and set.classes or 1
  self.metrics = metrics or part_of("metrics", default_metrics(self))
  self.tested = { "loss" } -- losses that tests average
  for i, part in ipairs(tested or {}) do self.tested[i + 1] = part.name end
  for _, part in ipairs(self.metrics) do check_metric(self, part) end
  self.loss_of = loss()
  return self
end

return M
