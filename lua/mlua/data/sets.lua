--- What a training asks of a data set, whatever it is: parts to train and to test on, what a model
-- takes of a batch, what the labels are.
--
-- A data set (of the registry's `datasets`, or a user's own) is one of
--
--     { train = part, test = part, … }    test may be missing; other parts are not used
--     part                                which trains
--
-- where a part is tensors by name, of as many rows; or `n` and `get(i)` (mlua.data.samples); or
-- what has `loader(self, options)` (batch, shuffle, seed, workers), as clicks have. Beside its
-- parts a data set may say, each as a field or as a method:
--
--     input      the names of the fields of a batch that are the model's arguments: { "x" }
--     label      the name of the field that is the label: "y"
--     kind       "classification" (labels are classes, from 0), "binary" (0 and 1, for models that
--                give probabilities) or "regression"; unless said, classes where `classes` is there
--                or labels are whole by dtype, else regression
--     classes    how many classes there are, or their words; unless said, the largest label and one
--     inputs     the width of the input; unless said, the last axis of the first of them
--     outputs    the width of the output; unless said, as many as classes; or that of the label
--     scale      { mean, deviation } that labels were scaled by: metrics are of labels as they were
--     columns    columns for samplers, by name
--     note       what is to be told to the user, or nil
--
-- Models are given all of this, with what else the data set has (`dense` and `tables` of clicks).
-- @module mlua.data.sets
local check = require "mlua.check"
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local text = require "mlua.text"

local M = {}

local Set = {}
Set.__index = Set

local KINDS = { "classification", "binary", "regression" }

-- A field, or what its method says.
local function said(set, field)
  local value = set[field]
  if type(value) == "function" then return value(set) end
  return value
end

local function is_samples(part)
  return type(part.loader) == "function" or type(part.get) == "function"
end

local function has_tensors(part)
  for _, value in pairs(part) do
    if core.is_tensor(value) then return true end
  end
  return false
end

local function is_part(part)
  return type(part) == "table" and (is_samples(part) or has_tensors(part))
end

local function rows_of(part)
  if type(part.rows) == "function" then return part:rows() end
  return part.n
end

-- A first sample, of what has no loader of its own: a field is a tensor whose first axis is one
-- row, or what get(1) has.
local function first_of(part, name)
  if type(part.loader) == "function" then return nil end
  if type(part.get) ~= "function" then return part[name], true end
  local ok, sample = pcall(part.get, 1)
  return ok and type(sample) == "table" and sample[name] or nil, false
end

-- How many values a row of a field has in its last axis; 1 of a number; nil: who knows.
local function width_of(part, name)
  local value, stacked = first_of(part, name)
  if type(value) == "number" then return 1 end
  if not core.is_tensor(value) then return type(value) == "table" and #value or nil end
  return value:dim() > (stacked and 1 or 0) and value:size(-1) or 1
end

local function is_whole(t)
  return core.is_tensor(t) and not core.is_float[t:dtype()]
end

local function refuse(name, format, ...) fail.run("dataset %s: " .. format, name, ...) end

-- How many classes there are, where that is said, or is to be seen of the labels.
local function classes_of(self, raw, label)
  local classes = said(raw, "classes")
  if type(classes) == "table" then return #classes end
  if classes ~= nil then
    if type(classes) ~= "number" or classes % 1 ~= 0 or classes < 1 then
      refuse(self.name, "classes: expected a number or a list of words, got %s",
        check.what(classes))
    end
    return classes
  end
  local labels, stacked = first_of(self.train, label)
  if not stacked or not is_whole(labels) or labels:count() == 0 then return nil end
  return core.op.max(labels):item() + 1
end

-- Its parts; whether what is given is nothing but tensors, which say nothing of themselves.
local function take_parts(self, raw)
  if is_part(raw) and not is_part(raw.train) then
    self.train = raw
    return not is_samples(raw)
  end
  self.train, self.test = raw.train, raw.test
  for _, part in ipairs { "train", self.test and "test" } do
    if not is_part(self[part]) then
      refuse(self.name, "%s: expected tensors by name, n and get(i), or a loader, got %s", part,
        check.what(self[part]))
    end
  end
  return false
end

local function kind_of(self)
  local kind = said(self.facts, "kind") or self.classes and "classification" or "regression"
  if kind == "classification" and not self.classes then
    refuse(self.name, "classes: expected how many there are, or their words")
  end
  for _, known in ipairs(KINDS) do
    if kind == known then return kind end
  end
  refuse(self.name, "kind: expected %s, got %s", text.list(KINDS), check.what(kind))
end

--- A data set as trainings know it.
-- @param raw           what a registered data set built
-- @tparam string name  its name, for messages
-- @treturn Set  fields: facts (the data set), name, train, test, input, label, kind, classes (how
--   many), inputs, outputs (of a label), scale
-- @raise a line where it has no rows, or is none
function M.of(raw, name)
  if type(raw) ~= "table" then refuse(name, "expected a data set, got %s", check.what(raw)) end
  local self = setmetatable({ name = name }, Set)
  self.facts = take_parts(self, raw) and {} or raw
  if rows_of(self.train) == 0 then refuse(name, "no rows to train on") end
  if self.test and rows_of(self.test) == 0 then self.test = nil end
  self.input, self.label = said(self.facts, "input") or "x", said(self.facts, "label") or "y"
  if type(self.input) == "string" then self.input = { self.input } end
  self.classes = classes_of(self, self.facts, self.label)
  self.kind = kind_of(self)
  self.scale, self.outputs = said(self.facts, "scale"), said(self.facts, "outputs")
  if self.kind ~= "classification" then
    self.outputs = self.outputs or width_of(self.train, self.label) or 1
  end
  self.inputs = said(self.facts, "inputs")
  if self.inputs == nil and said(self.facts, "dense") == nil then
    self.inputs = width_of(self.train, self.input[1])
  end
  return self
end

--- A registered data set, opened.
-- @tparam Part part  a value of param.dataset
-- @treturn Set
-- @raise a line on what is wrong
function M.open(part)
  local raw, why = part()
  if raw == nil then fail.run("dataset %s: %s", part.name, why or "nothing was built") end
  local self = M.of(raw, part.name)
  local note = type(self.facts.note) == "function" and said(self.facts, "note")
  if note then io.stderr:write("mlua: ", note, "\n") end
  return self
end

--- What models are given: all that the data set says, and more.
-- @tparam table more  seed, outputs
-- @treturn table
function Set:given(more)
  local given = { inputs = self.inputs }
  for name, value in pairs(more) do given[name] = value end
  return setmetatable(given, { __index = self.facts })
end

-- What samplers know by name: the columns, and the label as `target`.
local function columns_of(self, part)
  local columns = said(self.facts, "columns")
  if type(columns) == "function" then return columns end
  local all = {}
  for name, values in pairs(columns or {}) do all[name] = values end
  if all.target == nil and type(part.get) ~= "function" then all.target = part[self.label] end
  return all
end

--- A loader of a part.
-- @tparam string which   "train" or "test"
-- @tparam table options  batch, shuffle, seed, workers, sampler
-- @treturn Loader
function Set:loader(which, options)
  local part, o = self[which], {}
  for name, value in pairs(options) do o[name] = value end
  if type(part.loader) == "function" then
    if o.sampler then
      fail.run("sampler: dataset %s has orders of its own (shuffle)", self.name)
    end
    return fail.assert(part:loader(o))
  end
  o.workers, o.columns = nil, columns_of(self, part)
  return require "mlua.data.samples".loader(part, o)
end

--- What a model takes of a batch.
-- @tparam table batch
-- @return  its arguments, some of which may be nil
function Set:arguments(batch)
  local values, n = {}, #self.input
  for i, name in ipairs(self.input) do values[i] = batch[name] end
  if values[1] == nil then self:absent(self.input[1], batch, "input") end
  return unpack(values, 1, n)
end

--- The label of a batch.
-- @tparam table batch
function Set:labels(batch)
  local label = batch[self.label]
  if label == nil then self:absent(self.label, batch, "label") end
  return label
end

-- Says that a batch has no such field.
function Set:absent(field, batch, fact)
  local names = {}
  for _, name in ipairs(text.keys(batch)) do
    if name ~= "rows" and name ~= "epoch" and name ~= "step" then names[#names + 1] = name end
  end
  refuse(self.name, "batches have no '%s', but %s; its field '%s' says which", field,
    text.list(names, "and"), fact)
end

return M
