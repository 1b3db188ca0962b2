--- mlua's transforms. Each is built by (o) and is a function from a sample to a sample.
--
-- A sample, or a batch, is a table of tensors and numbers by column ("dense", "ids", "label" of
-- mlua.data). What it is given stays as it is: the column is new in a copy of the table. A sample
-- that has no such column raises.
-- @module mlua.registry.transforms
local param = require "mlua.param"
local registry = require "mlua.registry"

local function bad(...) require "mlua.ffi".bad(1, ...) end

-- A transform of one column by f(value, o), which takes tensors, and numbers where `numbers` does.
local function of_column(name, default, options, f, numbers)
  options.column = param.string { default, doc = "what is changed" }
  registry.register_at(2, "transform", name, options, function(o)
    return function(sample)
      local check, core = require "mlua.check", require "mlua.ffi"
      if type(sample) ~= "table" then
        bad(name, "sample: expected a table, got %s", check.what(sample))
      end
      local value, changed = sample[o.column], {}
      if value == nil then
        local text = require "mlua.text"
        bad(name, "sample: no column '%s'%s", o.column,
          text.did_you_mean(o.column, text.keys(sample)))
      end
      for key, each in pairs(sample) do changed[key] = each end
      if core.is_tensor(value) then
        changed[o.column] = f(value, o)
      elseif numbers and type(value) == "number" then
        changed[o.column] = numbers(value, o)
      else
        bad(name, "%s: expected a tensor%s, got %s", o.column, numbers and " or a number" or "",
          check.what(value))
      end
      return changed
    end
  end)
end

-- A number for all, or one for each of the last axis.
local function numbers_as(list, like)
  if #list == 1 then return require "mlua.tensor".full(list[1], {}, { dtype = like:dtype() }) end
  return require "mlua.tensor".of(list, like:dtype())
end

of_column("normalize", "dense", {
  doc = "less a mean, over a standard deviation",
  mean = param.numbers { { 0 }, length = { 1, math.huge }, doc = "of all, or of each column" },
  std = param.numbers { { 1 }, above = 0, length = { 1, math.huge },
    doc = "of all, or of each column" },
}, function(x, o)
  local op = require "mlua.op"
  return op.div(op.sub(x, numbers_as(o.mean, x)), numbers_as(o.std, x))
end, function(x, o) return (x - o.mean[1]) / o.std[1] end)

of_column("log1p", "dense", { doc = "the logarithm of 1 + x" },
  function(x) return require "mlua.op".log1p(x) end,
  function(x)
    local u = 1 + x -- exact near 0: Kahan, as in Goldberg 1991, theorem 4
    return u == 1 and x or math.log(u) * x / (u - 1)
  end)

of_column("clamp", "dense", {
  doc = "no less than a lowest value, no more than a highest one",
  min = param.number { doc = "the lowest; unset: none" },
  max = param.number { doc = "the highest; unset: none" },
}, function(x, o)
  return require "mlua.op".clamp(x, o.min or -math.huge, o.max or math.huge)
end, function(x, o)
  return math.min(math.max(x, o.min or -math.huge), o.max or math.huge)
end)

of_column("onehot", "label", {
  doc = "1 at the place of an id, from 0, in a new last axis; 0 elsewhere",
  classes = param.int { 2, min = 1, doc = "places" },
}, function(x, o)
  local dtype = x:dtype()
  return require "mlua.op".one_hot(x:to "i64", o.classes):to(dtype)
end)

registry.register("transform", "chain", {
  doc = "transforms one after another",
  steps = param.transforms { {}, doc = "the transforms, in order" },
}, function(o)
  local steps = {}
  for i, part in ipairs(o.steps) do steps[i] = part() end
  return function(sample)
    for _, step in ipairs(steps) do sample = step(sample) end
    return sample
  end
end)
