--- mlua's losses. Each is built by (o) and is a function
--
--     loss(prediction, label [, weight]) → a tensor of one element
--
-- of tensors. A weight has a number for each of the loss's elements, which it multiplies; a mean is
-- over all elements whatever their weights (of cross_entropy: all but the ignored ones). Where the
-- prediction is a table of tensors, as of an ensemble, its `mean` counts; `term` takes another
-- column, and `sum` adds up several losses and terms.
-- @module mlua.registry.losses
local check = require "mlua.check"
local param = require "mlua.param"
local registry = require "mlua.registry"
local register = registry.register

local function reduction(...)
  return param.choice { choices = { "mean", "sum", ... }, doc = "over the loss's elements" }
end

-- What is compared: tensors.
local function only(name, prediction, label)
  local column, core = require "mlua.nn.composite".column, require "mlua.ffi"
  prediction, label = column(prediction), column(label)
  for i, t in ipairs { prediction or false, label or false } do
    if not core.is_tensor(t) then
      local text = require "mlua.text"
      core.bad(i, name, "%s: expected a tensor, got %s", i == 1 and "prediction" or "label",
        type(t) == "table" and ("columns %s; a loss 'term' names one"):format(
          text.list(text.keys(t), "and")) or check.what(t))
    end
  end
  return prediction, label
end

-- Its elements times weights, reduced.
local function weighed(elements, weight, how)
  local op = require "mlua.op"
  local sum = op.sum(op.mul(elements, weight))
  return how == "sum" and sum or op.affine(sum, 1 / elements:count(), 0)
end

-- An operation that compares elements: options are its arguments after the reduction, in order. One
-- that takes no weights gives its elements.
local function plain(name, operation, takes_weight, options, order)
  options.reduction = reduction()
  registry.register_at(2, "loss", name, options, function(o)
    local op, arguments = require "mlua.op", {}
    for i, option in ipairs(order or {}) do arguments[i] = o[option] end
    return function(prediction, label, weight)
      prediction, label = only(name, prediction, label)
      if takes_weight then return op[operation](prediction, label, weight, o.reduction) end
      if not weight then
        return op[operation](prediction, label, o.reduction, unpack(arguments))
      end
      return weighed(op[operation](prediction, label, "none", unpack(arguments)), weight,
        o.reduction)
    end
  end)
end

plain("bce", "bce", true, { doc = "binary cross-entropy of probabilities" })
plain("mse", "mse", true, { doc = "squared error" })
plain("l1", "l1", false, { doc = "absolute error" })
plain("huber", "huber", false, {
  doc = "squared error, halved, up to delta, then a line",
  delta = param.number { 1, above = 0, doc = "where the line begins" },
}, { "delta" })
plain("smooth_l1", "smooth_l1", false, {
  doc = "squared error up to beta, then the absolute one, less beta / 2",
  beta = param.number { 1, above = 0, doc = "where the line begins" },
}, { "beta" })
plain("hinge", "hinge", false, {
  doc = "of scores, for labels -1 and 1: max(0, margin - label score)",
  margin = param.number { 1, doc = "from which a score is good enough" },
}, { "margin" })
plain("focal", "focal", false, {
  doc = "binary cross-entropy of logits, less for what is predicted well already",
  alpha = param.number { 0.25, max = 1, doc = "share of label 1; below 0: as they come" },
  gamma = param.number { 2, min = 0, doc = "how much less" },
}, { "alpha", "gamma" })

register("loss", "kl_div", {
  doc = "Kullback-Leibler divergence of the label's probabilities from predicted log-probabilities",
  log_target = param.bool { doc = "labels are logarithms, too" },
  reduction = reduction "batchmean",
}, function(o)
  local op = require "mlua.op"
  return function(prediction, label, weight)
    prediction, label = only("kl_div", prediction, label)
    if not weight then return op.kl_div(prediction, label, o.reduction, o.log_target) end
    local elements = op.mul(op.kl_div(prediction, label, "none", o.log_target), weight)
    local n = o.reduction == "mean" and elements:count()
      or o.reduction == "batchmean" and elements:size(1) or 1
    return op.affine(op.sum(elements), 1 / n, 0)
  end
end)

register("loss", "bce_logits", {
  doc = "binary cross-entropy of logits",
  positive = param.number { 1, above = 0, doc = "weight of what label 1 adds" },
  reduction = reduction(),
}, function(o)
  local op = require "mlua.op"
  return function(prediction, label, weight)
    prediction, label = only("bce_logits", prediction, label)
    local positive
    if o.positive ~= 1 then
      local axes = prediction:dim()
      positive = require "mlua.tensor".full(o.positive, axes > 0 and { prediction:size(-1) } or {},
        { dtype = prediction:dtype() })
    end
    return op.bce_logits(prediction, label, weight, o.reduction, positive)
  end
end)

register("loss", "weighted_bce", {
  doc = "binary cross-entropy of probabilities, weighted by label",
  weights = param.numbers { { 1, 1 }, length = 2, min = 0, doc = "of labels 0 and 1" },
  reduction = reduction(),
}, function(o)
  local op = require "mlua.op"
  local zero, one = o.weights[1], o.weights[2]
  return function(prediction, label, weight)
    prediction, label = only("weighted_bce", prediction, label)
    local by_label = op.affine(label, one - zero, zero)
    if weight then by_label = op.mul(by_label, weight) end
    return op.bce(prediction, label, by_label, o.reduction)
  end
end)

register("loss", "cross_entropy", {
  doc = "of logits [N, C, …], for labels that are classes, from 0, or probabilities of them",
  smoothing = param.number { 0, min = 0, max = 1,
    doc = "share of a label that is spread over all classes" },
  ignore = param.int { -100, doc = "a label whose element does not count" },
  reduction = reduction(),
}, function(o)
  local op = require "mlua.op"
  return function(prediction, label, weight)
    prediction, label = only("cross_entropy", prediction, label)
    if not weight then
      return op.cross_entropy(prediction, label, nil, o.reduction, o.ignore, o.smoothing)
    end
    local each = op.cross_entropy(prediction, label, nil, "none", o.ignore, o.smoothing)
    local sum = op.sum(op.mul(each, weight))
    if o.reduction == "sum" then return sum end
    if require "mlua.ffi".is_float[label:dtype()] then -- probabilities: none is ignored
      return op.affine(sum, 1 / each:count(), 0)
    end
    local ignored = require "mlua.tensor".full(o.ignore, {}, { dtype = label:dtype() })
    return op.div(sum, op.sum(op.ne(label, ignored):to(each:dtype())))
  end
end)

-- -- of several tensors ------------------------------------------------------------------------

-- The tensors that a prediction lists, as a siamese model's does.
local function listed(name, prediction, n)
  if type(prediction) ~= "table" or #prediction ~= n then
    require "mlua.ffi".bad(1, name, "prediction: expected a list of %d tensors, got %s", n,
      type(prediction) == "table" and tostring(#prediction) or check.what(prediction))
  end
  return unpack(prediction)
end

register("loss", "triplet", {
  doc = "of a siamese model's outputs for an anchor, one like it and one unlike it; takes no label",
  margin = param.number { 1, min = 0, doc = "by how much farther the unlike one should be" },
  p = param.number { 2, above = 0, doc = "of the norm that is the distance" },
  swap = param.bool { doc = "the unlike one's distance from either of the others, the lesser" },
  reduction = reduction(),
}, function(o)
  return function(prediction, _, weight)
    local a, b, c = listed("triplet", prediction, 3)
    local triplet = require "mlua.nn.functional".triplet_margin
    local how = { margin = o.margin, p = o.p, swap = o.swap,
                  reduction = weight and "none" or o.reduction }
    local loss = triplet(a, b, c, how)
    return weight and weighed(loss, weight, o.reduction) or loss
  end
end)

register("loss", "cosine_embedding", {
  doc = "of a siamese model's two outputs, for labels 1 (alike) and -1",
  margin = param.number { 0, min = -1, max = 1, doc = "cosine up to which unlike ones are fine" },
  reduction = reduction(),
}, function(o)
  return function(prediction, label, weight)
    local a, b = listed("cosine_embedding", prediction, 2)
    local loss = require "mlua.nn.functional".cosine_embedding(a, b, label,
      { margin = o.margin, reduction = weight and "none" or o.reduction })
    return weight and weighed(loss, weight, o.reduction) or loss
  end
end)

-- -- losses of losses --------------------------------------------------------------------------

-- A column of labels: by name of a table; of a tensor that is as wide as the prediction; or all.
local function label_column(label, name, prediction)
  local column, is_tensor = require "mlua.nn.composite".column, require "mlua.ffi".is_tensor
  if type(label) == "table" then return column(label, name, 2, "term") end
  local wide = is_tensor(prediction) and is_tensor(label) and label:dim() == prediction:dim()
    and label:dim() > 0 and label:size(-1) == prediction:size(-1)
  return wide and column(label, name, 2, "term") or label
end

register("loss", "term", {
  doc = "a loss of one column, times a weight",
  loss = param.loss { "bce", doc = "the loss" },
  weight = param.number { 1, doc = "what it is multiplied by" },
  column = param.string { "", doc = "of predictions, and of labels where they have columns: the "
    .. "name of an output, or a tensor's column, from 1; none: all" },
}, function(o)
  local loss = o.loss()
  return function(prediction, label, weight)
    if o.column ~= "" then
      label = label_column(label, o.column, prediction)
      prediction = require "mlua.nn.composite".column(prediction, o.column, 1, "term")
    end
    local y = loss(prediction, label, weight)
    return o.weight == 1 and y or require "mlua.op".affine(y, o.weight, 0)
  end
end)

register("loss", "sum", {
  doc = "losses and terms, added up",
  terms = param.losses { { "bce" }, length = { 1, math.huge }, doc = "what is added up" },
}, function(o)
  local terms = {}
  for i, part in ipairs(o.terms) do terms[i] = part() end
  return function(prediction, label, weight)
    local sum
    for _, term in ipairs(terms) do
      local y = term(prediction, label, weight)
      sum = sum and require "mlua.op".add(sum, y) or y
    end
    return sum
  end
end)
