--- mlua's samplers. Each is built by (o, n, epoch, columns, seed) and is the order in which an
-- epoch, from 0, goes through n samples: a list of positions from 1, as a loader's `order` gives.
--
-- `columns` has what is known of the samples, by name: a table, or a function of the name; a column
-- is a list of n values, or a tensor. A loader (mlua.data.samples) gives those of its data set, and
-- its seed, which counts where the sampler names none. All random numbers are mlua.data.draws'.
-- @module mlua.registry.samplers
local check = require "mlua.check"
local fail = require "mlua.fail"
local param = require "mlua.param"
local register = require "mlua.registry".register

-- -- what samplers share -----------------------------------------------------------------------

local function seed()
  return param.int { min = 0, max = 2 ^ 53,
    doc = "of the order, with the epoch's number; unless set, the loader's, or 123" }
end

local function count()
  return param.int { min = 1, doc = "how many an epoch has; unless set, as many as there are" }
end

local function draws(o, epoch, given)
  return require "mlua.data.draws".of(o.seed or given or 123, epoch or 0)
end

-- The values of a column.
local function values_of(columns, name, n, sampler)
  local values
  if type(columns) == "function" then
    values = columns(name)
  else
    values = (columns or {})[name]
    if values == nil then
      local text = require "mlua.text"
      fail.run("sampler %s: no column '%s'%s", sampler, name,
        text.did_you_mean(name, text.keys(columns or {})))
    end
  end
  local list, problem = require "mlua.data.columns".list(values, n)
  return list or fail.run("sampler %s: column '%s': %s", sampler, name, problem)
end

local function groups_of(...)
  return require "mlua.data.columns".groups(values_of(...))
end

local function weight(value, name, sampler)
  if type(value) == "number" and value >= 0 and value < math.huge then return value end
  fail.run("sampler %s: column '%s': expected weights of at least 0, got %s", sampler, name,
    check.what(value))
end

-- -- orders ------------------------------------------------------------------------------------

register("sampler", "sequential", { doc = "as samples stand" }, function(_, n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end)

register("sampler", "shuffled", {
  doc = "each sample once, in another order each epoch",
  seed = seed(),
}, function(o, n, epoch, _, given) return draws(o, epoch, given):order(n) end)

register("sampler", "weighted", {
  doc = "samples drawn in proportion to weights",
  by = param.string { doc = "the column of weights; unless set, the caller gives them" },
  count = count(),
  replacement = param.bool { true, doc = "a sample may come more than once" },
  seed = seed(),
}, function(o, n, epoch, columns, given)
  local core, tensor = require "mlua.ffi", require "mlua.tensor"
  local weights = columns
  if o.by then
    weights = values_of(columns, o.by, n, "weighted")
    for i = 1, n do weight(weights[i], o.by, "weighted") end
  elseif type(weights) == "function" then
    fail.usage("sampler weighted: by: expected the column that has the weights")
  end
  if type(weights) == "table" then weights = tensor.of(weights, "f64") end
  if not core.is_tensor(weights) or weights:count() ~= n then
    core.bad(3, "weighted", "weights: expected %d numbers, got %s", n, tostring(weights))
  end
  return draws(o, epoch, given):weighted(weights:reshape(n), o.count or n, o.replacement)
end)

-- -- classes and groups ------------------------------------------------------------------------

-- Whole numbers in proportion to shares whose sum is `total`: rounded down, and the rest given to
-- those that lost most.
local function portions(shares, total)
  local sum, counts, lost, rest = 0, {}, {}, total
  for _, share in ipairs(shares) do sum = sum + share end
  for i, share in ipairs(shares) do
    counts[i] = math.floor(total * share / sum)
    rest, lost[i] = rest - counts[i], { i, total * share / sum - counts[i] }
  end
  table.sort(lost, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  for k = 1, rest do counts[lost[k][1]] = counts[lost[k][1]] + 1 end
  return counts
end

local function joined(lists)
  local all = {}
  for _, list in ipairs(lists) do
    for _, item in ipairs(list) do all[#all + 1] = item end
  end
  return all
end

register("sampler", "balanced", {
  doc = "each class as often as the others, or in shares; of a class, all before one comes again",
  by = param.string { "target", doc = "the column of classes" },
  shares = param.numbers { min = 0,
    doc = "of each class, in order: numbers by size, then words; unless set, equal ones" },
  count = count(),
  seed = seed(),
}, function(o, n, epoch, columns, given)
  local groups, words = groups_of(columns, o.by, n, "balanced")
  local shares, sum = o.shares, 0
  if not shares then
    shares = {}
    for i = 1, #groups do shares[i] = 1 end
  end
  for _, share in ipairs(shares) do sum = sum + share end
  if #shares ~= #groups or sum == 0 and n > 0 then
    fail.run("sampler balanced: shares: expected %d, not all 0 (%s), got %s", #groups,
      table.concat(words, ", ", 1, math.min(#words, 20)), table.concat(shares, ", "))
  end
  local drawn = draws(o, epoch, given)
  local all = joined(drawn:take(groups, portions(shares, n > 0 and o.count or n)))
  local order = drawn:order(#all)
  for i, at in ipairs(order) do order[i] = all[at] end
  return order
end)

register("sampler", "grouped", {
  doc = "samples of one group together; the groups in another order each epoch",
  by = param.string { required = true, doc = "the column of groups" },
  each = param.int { min = 1, doc = "how many of each group, again from its first where it has "
    .. "fewer; unless set, all: batches of p times as many hold p groups" },
  seed = seed(),
}, function(o, n, epoch, columns, given)
  local groups, counts = groups_of(columns, o.by, n, "grouped"), {}
  for i, group in ipairs(groups) do counts[i] = o.each or #group end
  local drawn, parts = draws(o, epoch, given), {}
  local taken = drawn:take(groups, counts)
  for i, at in ipairs(drawn:order(#groups)) do parts[i] = taken[at] end
  return joined(parts)
end)

-- -- groups of groups --------------------------------------------------------------------------

-- How much each of some groups (or samples, groups of one) weighs: `how` is uniform, size or a
-- column, which is the same throughout a group.
local function weights_of(how, groups, column)
  local weights = {}
  for i, group in ipairs(groups) do
    weights[i] = how == "uniform" and 1 or how == "size" and #group or nil
    if not weights[i] then
      local values = column(how)
      weights[i] = weight(values[group[1]], how, "nested")
      for _, at in ipairs(group) do
        if values[at] ~= weights[i] then
          fail.run("sampler nested: column '%s': expected one weight for a group, got %s and %s",
            how, check.what(weights[i]), check.what(values[at]))
        end
      end
    end
  end
  return weights
end

-- A node of the tree: what is below it, and the running sums of its weights.
local function tree_of(o, ids, level, column, name)
  local below, groups = {}, {}
  if level > #o.by then
    for i, id in ipairs(ids) do below[i], groups[i] = id, { id } end
  else
    local words
    groups, words = require "mlua.data.columns".groups(column(o.by[level]), ids)
    for i, group in ipairs(groups) do
      below[i] = tree_of(o, group, level + 1, column, ("%s '%s'"):format(o.by[level], words[i]))
    end
  end
  local sums, sum = {}, 0
  for i, each in ipairs(weights_of((o.weights or {})[level] or "uniform", groups, column)) do
    sum = sum + each
    sums[i] = sum
  end
  if sum == 0 then fail.run("sampler nested: all weights within %s are 0", name) end
  return { below = below, sums = sums }
end

-- What is below a node where its running sum first exceeds a share u of all.
local function picked(node, u)
  local sums = node.sums
  local low, high, wanted = 1, #sums, u * sums[#sums]
  while low < high do
    local middle = math.floor((low + high) / 2)
    if sums[middle] > wanted then high = middle else low = middle + 1 end
  end
  return node.below[low]
end

register("sampler", "nested", {
  doc = "draws a group, a group within it and so on, then a sample of the innermost",
  by = param.strings { required = true, length = { 1 },
    doc = "columns of groups, outermost first" },
  weights = param.strings { doc = "of the groups of each level, and at last of samples: uniform, "
    .. "size or a column; unless set, uniform" },
  count = count(),
  seed = seed(),
}, function(o, n, epoch, columns, given)
  if o.weights and #o.weights > #o.by + 1 then
    fail.usage("sampler nested: weights: expected at most %d, got %d", #o.by + 1, #o.weights)
  end
  local known, all = {}, {}
  local function column(name)
    known[name] = known[name] or values_of(columns, name, n, "nested")
    return known[name]
  end
  if n == 0 then return {} end
  for i = 1, n do all[i] = i end
  local root, levels, total = tree_of(o, all, 1, column, "the set"), #o.by + 1, o.count or n
  local numbers, list = draws(o, epoch, given):numbers(total * levels), {}
  for i = 1, total do
    local node = root
    for level = 1, levels do node = picked(node, numbers[(i - 1) * levels + level]) end
    list[i] = node
  end
  return list
end)
