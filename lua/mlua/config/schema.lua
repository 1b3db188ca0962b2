--- A JSON Schema of a recipe's configuration files, for editors that check and complete YAML.
--
-- It is of draft 2020-12 and uses only what draft-07 reads the same way, but for the name `$defs`,
-- which references reach in both. It describes YAML as editors read it (YAML 1.2: `no` is text,
-- 1e3 a number), and agrees with mlua.config.reading about types, ranges, choices, lengths and
-- keys. It cannot know what other files and the command line say, what `${…}` stands for, which
-- names a file gives to parts, and whether a word stood in quotes: there it takes what may be
-- right. Keys with a dot, other spellings and what is no part of an experiment are taken, too, by
-- patterns, which editors do not offer.
--
-- Of `$defs`: `model.mlp` has the options of the part mlp; `model-any` those of all models;
-- `model-options` is a map of options by its type; `model` is a name or such a map; `model-new`
-- is one that has to say its type.
-- @module mlua.config.schema
local json = require "mlua.json"
local text = require "mlua.text"
local values = require "mlua.config.schema.values"

local M = {}

local Builder = {}
Builder.__index = Builder

local any_of, name_pattern = values.any_of, values.name_pattern

local function ref(pointer) return { ["$ref"] = pointer } end

-- -- keys --------------------------------------------------------------------------------------

-- All names that a spec takes, other spellings with them, in order: { name, entry }.
local function spellings(spec)
  local list = {}
  for _, entry in ipairs(spec.list) do
    if not spec.of_line[entry.name] then
      list[#list + 1] = { entry.name, entry }
      for _, alias in ipairs(entry.aliases) do
        list[#list + 1] = { alias, spec.flags[alias:gsub("_", "-")] }
      end
    end
  end
  for _, each in ipairs(spec.also) do
    if not spec.of_line[each[2].name] then list[#list + 1] = each end
  end
  return list
end

-- A schema that stands in no map of its own, under a name of $defs that is free.
function Builder:keep(name, schema)
  while self.defs[name] do name = name .. "'" end
  self.defs[name] = schema
  return "#/$defs/" .. name
end

-- A reference to the texts of a pattern, each of which stands in $defs once.
function Builder:shared(pattern)
  if not self.patterns[pattern] then
    self.count = self.count + 1
    self.patterns[pattern] = self:keep("text." .. self.count, values.text(pattern))
  end
  return ref(self.patterns[pattern])
end

local function closed(properties, patterns)
  return {
    type = "object", properties = properties, additionalProperties = false,
    patternProperties = next(patterns) and patterns or nil,
  }
end

-- A schema, or nothing, which unsets a value that may be missing.
local function or_null(p, schema)
  if p.default ~= nil or p.required then return schema, "" end
  return { description = schema.description, anyOf = { schema, { type = "null" } } }, "/anyOf/0"
end

-- The map of the keys of a spec, at a place of the schema; `pointers` (name → where its values are
-- described) is filled.
function Builder:map(spec, pointer, pointers, wanted)
  local sections = {}
  local function lay(prefix, at)
    local properties = {}
    local schema = closed(properties, {})
    sections[#sections + 1] = { prefix = prefix, schema = schema, at = at }
    for _, entry in ipairs(spec.list) do
      local name = entry.name
      if name:sub(1, #prefix) == prefix then
        local rest = name:sub(#prefix + 1)
        local head = rest:match "^([^.]+)%."
        if head then
          local section = prefix .. head
          if not spec.flags[section:gsub("_", "-")] and not properties[head] then
            properties[head] = lay(section .. ".", at .. "/properties/" .. head)
            properties[head].type = { "object", "null" }
          end
        elseif (not wanted or wanted(entry)) and not spec.of_line[name] then
          local schema_of, inner = or_null(entry.param, values.of(entry.param, self))
          properties[rest] = schema_of
          pointers[name] = at .. "/properties/" .. rest .. inner
        end
      end
    end
    return schema
  end
  local root = lay("", pointer)
  local all = spellings(spec)
  for _, name in ipairs(text.keys(spec.groups)) do -- keys by their group
    local at = pointer .. "/properties/" .. name
    local schema = closed({}, {})
    schema.type = { "object", "null" }
    for _, entry in ipairs(spec.groups[name]) do
      if pointers[entry.name] then
        schema.properties[entry.name] = or_null(entry.param, ref(pointers[entry.name]))
      end
    end
    root.properties[name] = schema
    sections[#sections + 1] = { prefix = name .. ".", schema = schema, at = at }
  end
  for _, each in ipairs(all) do
    local name, entry = each[1], each[2]
    if not pointers[entry.name] then
      pointers[entry.name] = self:keep("own." .. entry.name, values.of(entry.param, self))
    end
    if entry.convert then
      pointers[name] = self:keep("own." .. name,
        { anyOf = { { type = values.SCALAR }, ref(pointers[entry.name]) } })
    else
      pointers[name] = pointers[entry.name]
    end
  end
  for _, section in ipairs(sections) do
    local patterns, n = {}, #section.prefix
    for _, each in ipairs(all) do
      local name, entry = each[1], each[2]
      if name:gsub("_", "-"):sub(1, n) == section.prefix:gsub("_", "-") then
        local rest = name:sub(n + 1)
        local own = section.schema.properties[rest]
        if not own or rest:find "[-_]" then
          patterns[("^%s%s$"):format(own and "(?!" .. rest:gsub("%.", "[.]") .. "$)" or "",
            name_pattern(rest))] = or_null(entry.param, ref(pointers[name]))
        end
        if entry.param.registry then self:inner(patterns, spec, name, rest, entry.param) end
      end
    end
    for _, other in ipairs(sections) do -- a section under a name with dots, or spelt otherwise
      local rest = other.prefix:sub(n + 1, -2)
      if other.prefix:sub(1, n) == section.prefix and rest:find "[._-]" then
        local own = section.schema.properties[rest]
        patterns[("^%s%s$"):format(own and "(?!" .. rest .. "$)" or "", name_pattern(rest))] =
          ref(other.at)
      end
    end
    section.schema.patternProperties = next(patterns) and patterns or nil
  end
  return root
end

-- -- parts -------------------------------------------------------------------------------------

-- A pattern of the options of parts within a registry's parts, as trunk.width; nil: there are none.
function Builder:within(registry)
  local found, steps, names = {}, {}, {}
  local function visit(each)
    for _, part_name in ipairs(each:names()) do
      for _, spelling in ipairs(spellings(each:find(part_name).spec)) do
        local name, p = name_pattern(spelling[1]), spelling[2].param
        if each ~= registry or found[each] then names[name] = true end
        if p.registry then
          steps[name .. "[.]" .. (p.kind.component == "list" and "[0-9]+[.]" or "")] = true
          if not found[p.registry] then
            found[p.registry] = true
            visit(p.registry)
          end
        end
      end
    end
  end
  visit(registry)
  if not next(steps) then return nil end
  return ("(?:%s)+(?:%s)$"):format(table.concat(text.keys(steps), "|"),
    table.concat(text.keys(names), "|"))
end

-- The options of a registry's parts, other spellings with them: `names`, sorted, and `places`,
-- where it stands what any part takes under a name.
function Builder:options(registry)
  if self.unions[registry] then return self.unions[registry] end
  self:registry(registry, "")
  local union, names = {}, {}
  for _, part_name in ipairs(registry:names()) do
    local pointers = self.pointers[registry.name .. "." .. part_name]
    for _, spelling in ipairs(spellings(registry:find(part_name).spec)) do
      local name = spelling[1]
      if not union[name] then union[name], names[#names + 1] = {}, name end
      table.insert(union[name], ref(pointers[name]))
    end
  end
  table.sort(names)
  local places = {}
  local options = { names = names, places = places }
  for _, name in ipairs(names) do
    places[name] = union[name][2] and self:keep(("%s-any.%s"):format(registry.name, name),
      any_of(union[name])) or union[name][1]["$ref"]
  end
  self.unions[registry] = options
  return options
end

-- Keys of options of parts, as model.width: added once all parts are known. `make`, place → schema.
-- Of those deeper down, as heads.1.trunk.width, the names alone are checked.
function Builder:inner(patterns, spec, full, rest, p, make)
  local head = "^" .. name_pattern(rest) .. "[.]"
    .. (p.kind.component == "list" and "[0-9]+[.]" or "")
  self.later[#self.later + 1] = function()
    local options = self:options(p.registry)
    for _, name in ipairs(options.names) do
      if not spec.flags[(full .. "." .. name):gsub("_", "-")] then
        patterns[head .. name_pattern(name) .. "$"] = (make or ref)(options.places[name])
      end
    end
    local deeper = self:within(p.registry)
    if deeper then patterns[head .. deeper] = true end
  end
end

-- A reference to what a registry's parts are in a file; `form` is "", "-new" or "-typed".
function Builder:registry(registry, form)
  local name, defs = registry.name, self.defs
  local place = "#/$defs/" .. name
  if defs[name] then return ref(place .. form) end
  local names = registry:names()
  local function named(last) -- the names that there are, for editors to offer, and others
    local list = { { type = "string" }, last }
    if names[1] then table.insert(list, 1, { enum = names }) end
    return { anyOf = list }
  end
  defs[name] = named(ref(place .. "-options"))
  defs[name .. "-typed"] = { allOf = { ref(place .. "-options") }, required = { "type" } }
  defs[name .. "-new"] = named(ref(place .. "-typed"))
  local any = closed({ type = { type = "string" } }, {})
  local branches, patterns = {}, {}
  for i, each in ipairs(names) do
    local spec, key = registry:find(each).spec, name .. "." .. each
    self.pointers[key] = {}
    local map = self:map(spec, "#/$defs/" .. key, self.pointers[key])
    map.description = registry:find(each).doc
    map.properties.type = { const = each }
    defs[key] = map
    branches[i] = {
      ["if"] = { properties = { type = { const = each } }, required = { "type" } },
      ["then"] = ref("#/$defs/" .. key),
    }
    for _, spelling in ipairs(spellings(spec)) do
      local p = spelling[2].param
      if p.registry then self:inner(patterns, { flags = {} }, spelling[1], spelling[1], p) end
    end
  end
  local other = { ["if"] = false, ["else"] = ref(place .. "-any") }
  if names[1] then
    other["if"] = { properties = { type = { enum = names } }, required = { "type" } }
  end
  branches[#branches + 1] = other
  defs[name .. "-options"] = {
    type = "object", properties = { type = named() }, allOf = branches,
  }
  defs[name .. "-any"] = any
  any.patternProperties = patterns
  self.later[#self.later + 1] = function() self:any_part(registry, any.properties, patterns) end
  return ref(place .. form)
end

-- Fills in the keys of all parts of a registry, where none is named, or one of the file's own.
function Builder:any_part(registry, properties, patterns)
  local options, sections = self:options(registry), {}
  for _, part_name in ipairs(registry:names()) do
    local key = registry.name .. "." .. part_name
    for name in pairs(registry:find(part_name).spec.sections) do
      if self.defs[key].properties[name] and not options.places[name] then
        sections[name] = sections[name] or {}
        table.insert(sections[name], ref("#/$defs/" .. key .. "/properties/" .. name))
      end
    end
  end
  for name, list in pairs(sections) do properties[name] = any_of(list) end
  for _, name in ipairs(options.names) do
    if not name:find(".", 1, true) then properties[name] = ref(options.places[name]) end
    if name:find "[-_.]" then
      patterns[("^%s%s$"):format(properties[name] and "(?!" .. name .. "$)" or "",
        name_pattern(name))] = ref(options.places[name])
    end
  end
end

-- -- files -------------------------------------------------------------------------------------

local function section(description, schema)
  schema.type, schema.description = { "object", "null" }, description
  return schema
end

-- A key that stands beside the spec's, unless the spec has it as a section, or takes a word there;
-- where an option has its name, a map is the key's, and all else the option's.
function Builder:reserve(root, name, schema)
  if self.spec.sections[name] then return end
  if self.spec.flags[name:gsub("_", "-")] then
    if name == "recipe" then return end
    schema = {
      anyOf = {
        { allOf = { ref(self.own[name]) }, ["not"] = { type = "object" } },
        schema,
      },
    }
  end
  root.properties[name] = schema
end

-- What `grid` takes: names in full, also of options of parts.
function Builder:grid(pointers)
  local axes = {}
  local places = {}
  local function axis(pointer) -- of an option of a part, where only the kind of one value is known
    local value = ref(pointer)
    places[pointer] = places[pointer] or ref(self:keep("axis." .. pointer:match "[^/]*$", {
      anyOf = { { type = "array", minItems = 1, items = value },
        { allOf = { value }, type = values.SCALAR }, values.text ",", ref "#/$defs/flow" },
    }))
    return places[pointer]
  end
  for _, each in ipairs(spellings(self.spec)) do
    local name, entry = each[1], each[2]
    axes["^" .. name_pattern(name) .. "$"] = values.axis(entry, pointers[name], self)
    if entry.param.registry then self:inner(axes, self.spec, name, name, entry.param, axis) end
  end
  self:settle()
  return closed({}, axes)
end

-- Does what waits till all parts are known; which may leave more of it.
function Builder:settle()
  local i = 1
  while self.later[i] do
    self.later[i]()
    i = i + 1
  end
  self.later = {}
end

--- The schema of the files that a recipe takes.
-- @tparam Spec spec
-- @tparam ?function wanted  (entry) → whether it says anything of the experiment: editors offer
--   these alone; the rest is taken and checked all the same
-- @treturn table  to be written by mlua.json
function M.of(spec, wanted)
  local self = setmetatable({
    spec = spec, pointers = {}, unions = {}, later = {}, own = {}, patterns = {}, count = 0,
    defs = {
      empty = { type = "object", maxProperties = 0 },
      flow = values.text("^" .. values.BLANK .. "\\["),
      reference = values.text "(?:^|[^$])[$][{]",
      truth = {
        anyOf = { { enum = { 0, 1 } },
          -- Not those that YAML reads as text only in quotes, where mlua refuses them.
          values.text("^(?!true$|True$|TRUE$|false$|False$|FALSE$)"
            .. values.any_case "(?:true|false|yes|no|on|off)" .. "$") },
      },
    },
  }, Builder)
  self.defs.reference.description = "${NAME}: the value of a macro or of another key"
  local pointers, definitions = {}, {}
  local root = self:map(spec, "#", pointers, wanted)
  local registries = require "mlua.registry".list()
  for _, registry in ipairs(registries) do
    definitions[registry.plural] = self:registry(registry, "-new")
  end
  self:settle()
  for name, schema in pairs(root.properties) do
    if definitions[name] or name == "macros" or name == "grid" or name == "variants" then
      pointers[name] = self:keep("own." .. name, schema)
    end
    self.own[name] = pointers[name] or "#/properties/" .. name
  end
  local variant = closed({}, {})
  for name in pairs(root.properties) do variant.properties[name] = ref(self.own[name]) end
  variant.patternProperties = root.patternProperties
  self.defs.variant = section(nil, variant)
  self:reserve(root, "grid", section("lists of values: a run for each of all combinations",
    self:grid(pointers)))
  self:reserve(root, "variants", section("runs by name, each with what it changes", {
    additionalProperties = ref "#/$defs/variant",
  }))
  self:reserve(root, "macros", section("values by name, used as ${NAME}", {}))
  self:reserve(root, "recipe", {
    type = { "string", "null" }, description = "the recipe that the file is for, beside it",
  })
  for _, registry in ipairs(registries) do
    self:reserve(root, registry.plural, section(registry.plural .. " under names of their own", {
      additionalProperties = definitions[registry.plural],
    }))
  end
  root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
  root["$defs"] = self.defs
  root.title, root.description = spec.script and spec.script:match "[^/]*$", spec.doc
  return root
end

--- The schema as JSON, its keys sorted.
-- @tparam Spec spec
-- @tparam ?function wanted  as of M.of
-- @treturn string
function M.text(spec, wanted) return json.encode(M.of(spec, wanted), { indent = 2 }) end

return M
