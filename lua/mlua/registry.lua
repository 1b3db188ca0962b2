--- Registries: models, losses, optimisers and other parts of an experiment, by name, each with a
-- specification of its options.
--
--     ml.model("mlp", {
--       doc   = "layers of one width",
--       width = param.int { 64, min = 1, doc = "of each layer" },
--     }, function(o, inputs) return MLP.new(inputs, o.width) end)
--
-- registers a model; a parameter `param.model { "mlp" }` takes its name, and its options under the
-- parameter's own: --model mlp --model.width 32 (mlua.registry.part). `mlua list models` shows all.
-- What mlua brings is registered in mlua.registry.NAME, read when the registry is first asked.
-- @module mlua.registry
local check = require "mlua.check"
local param = require "mlua.param"
local text = require "mlua.text"

local M = {}

-- Each registry's name, the name of several, and what it holds.
local KINDS = {
  { "model", "models", "from a batch to predictions" },
  { "loss", "losses", "from predictions and labels to what is made small" },
  { "optimizer", "optimizers", "updates of weights" },
  { "schedule", "schedules", "learning rates by step" },
  { "metric", "metrics", "what a test reports" },
  { "transform", "transforms", "changes to samples" },
  { "dataset", "datasets", "samples by position" },
  { "sampler", "samplers", "the order of samples" },
  { "format", "formats", "how outputs are written" },
}
local registries, by_plural, order = {}, {}, {}

local Registry = {}
Registry.__index = Registry

local Component = {}
Component.__index = Component
Component.__tostring = function(self) return self.registry.name .. " '" .. self.name .. "'" end

--- Add a registry of a new kind of part.
-- @tparam string name    of one: "tokenizer"; `param.tokenizer` then takes one, `param.tokenizers`
--   a list
-- @tparam string plural  of several: "tokenizers", the section of configuration files
-- @tparam ?string doc    what they do, in a few words
-- @treturn Registry
function M.new(name, plural, doc)
  check.type(name, 1, "registry.new", "name", "string")
  check.type(plural, 2, "registry.new", "plural", "string")
  for _, word in ipairs { name, plural } do
    check.arg(word:find "^%l[%w_]*$", 1, "registry.new", "'%s' is not a name", word)
  end
  check.arg(not registries[name] and not by_plural[plural], 1, "registry.new",
    "there is a registry of '%s'", plural)
  local registry = setmetatable({ name = name, plural = plural, doc = doc, all = {} }, Registry)
  registries[name], by_plural[plural] = registry, registry
  order[#order + 1] = registry
  require("mlua.registry.part").kinds(registry)
  return registry
end

-- mlua's own, read once.
local function fill(self)
  if self.filled then return end
  self.filled = true
  if self.own then require("mlua.registry." .. self.plural) end
end

local function place(level)
  local info = debug.getinfo(level + 1, "Sl")
  return ("%s:%d"):format(info.source:match "^@(.+)" or info.short_src, info.currentline)
end

--- Register a part.
-- @tparam string registry   its kind: "model", "loss", …
-- @tparam string name       a word
-- @tparam table options     name → parameter, as mlua.param.spec takes them; and doc, a sentence
-- @tparam function build    (o, …) → the part: o has the options' values, the rest is what
--   whoever uses it gives
-- @treturn Component
-- @raise bad argument #2 where the name is taken, with both places
function M.register(registry, name, options, build)
  return (M.register_at(2, registry, name, options, build)) -- no tail call: it is a level of places
end

function M.register_at(level, kind, name, options, build)
  local registry = registries[kind]
  if not registry then
    check.arg_at(level, false, 1, "register", "no registry of '%s'%s", tostring(kind),
      text.did_you_mean(tostring(kind), text.keys(registries)))
  end
  local label = registry.name
  check.arg_at(level, type(name) == "string" and name:find "^%a[%w_]*$", 1, label,
    "name: '%s' is not a word", tostring(name))
  check.arg_at(level, type(options) == "table", 2, label, "options: expected a table, got %s",
    check.what(options))
  check.arg_at(level, type(build) == "function", 3, label, "build: expected a function, got %s",
    check.what(build))
  local where = place(level + 1)
  fill(registry)
  local before = registry.all[name]
  check.arg_at(level, not before or before.place == where, 1, label,
    "name: '%s' is registered at %s already, and again at %s", name,
    before and before.place or "", where)
  local entries = {}
  for key, value in pairs(options) do
    if key ~= "doc" or param.is(value) then entries[key] = value end
  end
  check.arg_at(level, entries.type == nil, 2, label, "options: 'type' names the part itself")
  local component = setmetatable({
    registry = registry, name = name, build = build, place = where,
    doc = type(options.doc) == "string" and options.doc or nil, spec = param.spec(entries),
  }, Component)
  registry.all[name] = component
  return component
end

--- A registry by its name or the name of several; nil, a message.
-- @tparam string name
-- @treturn ?Registry
function M.get(name)
  local registry = registries[name] or by_plural[name]
  if registry then return registry end
  local names = {}
  for i, each in ipairs(order) do names[i] = each.plural end
  return nil, ("no registry of '%s'%s"):format(name, text.did_you_mean(name, names))
end

--- All registries, in order.
-- @treturn {Registry,...}
function M.list() return { unpack(order) } end

--- The names of a registry's parts, sorted.
-- @treturn {string,...}
function Registry:names()
  fill(self)
  return text.keys(self.all)
end

--- A part by name, or nil.
-- @tparam string name
-- @treturn ?Component
function Registry:known(name)
  fill(self)
  return self.all[name]
end

--- A part by name; nil and the end of a message where there is none.
-- @tparam string name
-- @treturn ?Component
function Registry:find(name)
  fill(self)
  local found = self.all[name]
  if found then return found end
  return nil, text.did_you_mean(name, self:names())
end

for _, kind in ipairs(KINDS) do M.new(unpack(kind)).own = true end

--- `ml.model(name, options, build)` is `register("model", …)`, and so on for all registries.
-- @tparam string kind
-- @treturn function
function M.registrar(kind)
  return function(name, options, build)
    return (M.register_at(2, kind, name, options, build))
  end
end

return M
