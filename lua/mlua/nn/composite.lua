--- Models made of models: ensembles, tasks that share a trunk, twins, parts joined by a head.
--
--     local model = composite.Ensemble.new({ small, large }, { weights = { 1, 3 } })
--     local y = model(x)          -- { mean = …, ["1"] = …, ["2"] = … }
--
-- A part's parameters are below the part's place: "parts.1.weight", "heads.2.bias". A model may say
-- the width of what it gives as its field `outputs`; where all parts of a composite do, it does.
-- @module mlua.nn.composite
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local containers = require "mlua.nn.containers"
local core = require "mlua.ffi"
local text = require "mlua.text"

local bad, op = core.bad, core.op
local composite = {}

-- -- what models give: a tensor, or tensors by name --

--- One column of what a model gives, or of labels.
-- @param value          a tensor, or tensors by name or place, as an ensemble gives them
-- @tparam ?string name  of the column; a number is a tensor's column, too, counted from 1, which
--   keeps its axis; none or "" is an ensemble's mean, and else the value itself
-- @tparam[opt=1] number n           which argument `value` was
-- @tparam[opt="column"] string who  takes it, for messages
-- @treturn Tensor
function composite.column(value, name, n, who)
  n, who = n or 1, who or "column"
  if name == nil or name == "" then
    if type(value) == "table" and value.mean ~= nil then return value.mean end
    return value
  end
  local number = tonumber(name)
  if type(value) == "table" then
    local found = value[name]
    if found == nil and number then found = value[number] end
    if found == nil then
      bad(n, who, "no column '%s' in a table of %s%s", name, text.list(text.keys(value), "and"),
        text.did_you_mean(name, text.keys(value)))
    end
    return found
  end
  if not core.is_tensor(value) then
    bad(n, who, "expected a tensor or tensors by name, got %s", check.what(value))
  end
  local axes = core.info(value).ndim
  local last = axes > 0 and value:size(-1) or 0
  if not number or number % 1 ~= 0 or number < 1 or number > last then
    bad(n, who, "column '%s': expected 1 to %d, the columns of a tensor", name, last)
  end
  return value:narrow(-1, number, number)
end

-- -- members --

-- Registers a list of modules under a name.
local function list_of(self, name, modules, fewest, class, n)
  if type(modules) ~= "table" or modules.named_parameters or #modules < fewest then
    bad(n, class, "%s: expected at least %d modules, got %s", name, fewest,
      type(modules) == "table" and tostring(#modules) or check.what(modules))
  end
  return self:child(name, containers.ModuleList.new(modules))
end

-- The names of n outputs: those given, or "1", "2", …
local function names_of(given, n, n_arg, class, taken)
  local names, seen = {}, {}
  if given and #given > 0 and #given ~= n then
    bad(n_arg, class, "names: expected %d, got %d", n, #given)
  end
  for i = 1, n do
    local name = given and given[i] or tostring(i)
    if type(name) ~= "string" then
      bad(n_arg, class, "names: expected words, got %s", check.what(name))
    elseif name == taken then
      bad(n_arg, class, "names: '%s' is the name of all parts' mean", name)
    elseif seen[name] then
      bad(n_arg, class, "names: '%s' is there twice", name)
    end
    names[i], seen[name] = name, true
  end
  return names
end

-- The sum of the widths that modules say, or their one width; nil where one says none.
local function width_of(modules, sum)
  local width = sum and 0 or modules[1].outputs
  for _, m in ipairs(modules) do
    if not m.outputs or not sum and m.outputs ~= width then return nil end
    if sum then width = width + m.outputs end
  end
  return width
end

-- An input may be the arguments of a model that takes several, as a list.
local function call(module, input)
  if type(input) == "table" then return module(unpack(input)) end
  return module(input)
end

-- -- ensembles --

local Ensemble = Module.class "Ensemble"

--- Models that are all given the same, and the mean of what they give.
-- @tparam {Module,...} parts  at least 2
-- @tparam ?table o  weights: of each in the mean, at least 0, brought to a sum of 1 (all the same);
--   names: of their outputs ("1", "2", …)
-- @treturn Ensemble
function Ensemble.new(parts, o)
  o = check.options(o, { weights = "table", names = "table" }, 2, "Ensemble")
  local self = Ensemble.create()
  local n = #list_of(self, "parts", parts, 2, "Ensemble", 1)
  self.names = names_of(o.names, n, 2, "Ensemble", "mean")
  local weights, total = o.weights or {}, 0
  if #weights ~= 0 and #weights ~= n then
    bad(2, "Ensemble", "weights: expected %d, got %d", n, #weights)
  end
  self.weights = {}
  for i = 1, n do
    local w = weights[i] or 1
    if type(w) ~= "number" or not (w >= 0 and w < math.huge) then
      bad(2, "Ensemble", "weights[%d]: expected a number of at least 0, got %s", i, check.what(w))
    end
    self.weights[i], total = w, total + w
  end
  if total == 0 then bad(2, "Ensemble", "weights: all are 0") end
  self.total, self.outputs = total, width_of(self.parts)
  return self:name_paths()
end

--- @param ...     what each part takes
-- @treturn table  mean, and each part's tensor by its name; of a part that is an ensemble, its mean
function Ensemble:forward(...)
  local given, sum = {}, nil
  for i, part in ipairs(self.parts) do
    local y = composite.column(part(...))
    given[self.names[i]] = y
    local share = self.weights[i] == 1 and y or op.affine(y, self.weights[i], 0)
    sum = sum and op.add(sum, share) or share
  end
  given.mean = op.affine(sum, 1 / self.total, 0)
  return given
end

function Ensemble:describe() return ("Ensemble of %d"):format(#self.parts) end

-- -- tasks that share a trunk --

local MultiTask = Module.class "MultiTask"

--- A trunk, and heads that all take what it gives.
-- @tparam Module trunk
-- @tparam {Module,...} heads  at least 1
-- @tparam ?table o  names: of the heads' outputs ("1", "2", …)
-- @treturn MultiTask
function MultiTask.new(trunk, heads, o)
  o = check.options(o, { names = "table" }, 3, "MultiTask")
  local self = MultiTask.create()
  self:child("trunk", trunk)
  local n = #list_of(self, "heads", heads, 1, "MultiTask", 2)
  self.names = names_of(o.names, n, 3, "MultiTask")
  return self:name_paths()
end

--- @param ...     what the trunk takes
-- @treturn table  what each head gives, by its name
function MultiTask:forward(...)
  local shared, given = composite.column(self.trunk(...)), {}
  for i, head in ipairs(self.heads) do given[self.names[i]] = head(shared) end
  return given
end

function MultiTask:describe() return ("MultiTask of %d heads"):format(#self.heads) end

-- -- twins --

local Siamese = Module.class "Siamese"

-- As mlua.nn.functional's triplet_margin has it: no gradient of a root at 0.
local function norm(a, b, p) return op.norm(op.affine(op.sub(a, b), 1, 1e-6), p, -1) end

local DISTANCES = {
  none = false,
  euclidean = function(a, b) return norm(a, b, 2) end,
  manhattan = function(a, b) return norm(a, b, 1) end,
  cosine = function(a, b)
    return op.affine(require "mlua.nn.functional".cosine_similarity(a, b), -1, 1)
  end,
}

--- One model, with one set of weights, applied to each of several inputs.
-- @tparam Module part
-- @tparam ?table o  distance: "none", "euclidean", "manhattan" or "cosine" (1 - the cosine) of the
--   two outputs' last axes ("none")
-- @treturn Siamese
-- @source Bromley et al. 1993, Signature verification using a "Siamese" time delay neural network
function Siamese.new(part, o)
  o = check.options(o, { distance = "string" }, 2, "Siamese")
  local self = Siamese.create()
  self.distance = o.distance or "none"
  if DISTANCES[self.distance] == nil then
    bad(2, "Siamese", "distance: expected %s, got %s", text.list(text.keys(DISTANCES)),
      check.what(self.distance))
  end
  self:child("part", part)
  self.outputs = self.distance == "none" and part.outputs or nil
  return self:name_paths()
end

--- @param ...  inputs, each what the part takes, or a list where it takes several
-- @return a list of outputs; with a distance, a tensor of the two inputs' distances
-- @raise bad argument #3 where there are more than two of which a distance is asked
function Siamese:forward(...)
  local n, outputs = select("#", ...), {}
  local distance = DISTANCES[self.distance]
  if distance and n ~= 2 then
    bad(math.min(n + 1, 3), "Siamese", "expected two inputs, got %d", n)
  end
  for i = 1, n do outputs[i] = composite.column(call(self.part, (select(i, ...)))) end
  if not distance then return outputs end
  return distance(outputs[1], outputs[2])
end

function Siamese:describe()
  return "Siamese" .. (self.distance == "none" and "" or " " .. self.distance)
end

-- -- parts joined by a head --

local Conjoined = Module.class "Conjoined"

--- Models that take an input each; a head takes what they give, side by side.
-- @tparam {Module,...} parts  at least 2
-- @tparam Module head
-- @treturn Conjoined
function Conjoined.new(parts, head)
  local self = Conjoined.create()
  list_of(self, "parts", parts, 2, "Conjoined", 1)
  self:child("head", head)
  self.outputs = head.outputs
  return self:name_paths()
end

--- The width that a head of these parts takes; nil where a part does not say its own.
-- @tparam {Module,...} parts
-- @treturn ?number
function Conjoined.width(parts) return width_of(parts, true) end

--- @param ...  an input for each part: what it takes, or a list where it takes several
-- @return what the head gives
function Conjoined:forward(...)
  local n, outputs = select("#", ...), {}
  if n ~= #self.parts then
    bad(1, "Conjoined", "expected %d inputs, one for each part, got %d", #self.parts, n)
  end
  for i, part in ipairs(self.parts) do
    outputs[i] = composite.column(call(part, (select(i, ...))))
  end
  return self.head(op.cat(outputs, -1))
end

function Conjoined:describe() return ("Conjoined of %d"):format(#self.parts) end

composite.Ensemble, composite.MultiTask = Ensemble, MultiTask
composite.Siamese, composite.Conjoined = Siamese, Conjoined
return composite
