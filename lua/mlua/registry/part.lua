--- Parameters whose values are registered parts: a name and the options that go with it.
--
--     model = param.model { "mlp" }             --model mlp --model.width 32
--     parts = param.models { { "mlp", "mlp" } } a list of them
--
-- A value is a part: `part.name`, `part.options` (values, as of any spec) and `part(…)`, which
-- builds it with what the caller gives. As text it is its name, or {type: mlp, width: 32} where
-- options differ from their defaults; that is how configuration files write it, too.
-- @module mlua.registry.part
local check = require "mlua.check"
local hash = require "mlua.ffi.hash"
local param = require "mlua.param"
local spec_module = require "mlua.param.spec"
local text = require "mlua.text"

local M = {}

local Part = {}
Part.__index = Part

--- Whether a value is a part.
function M.is(value) return getmetatable(value) == Part end

local function new(component)
  return setmetatable({
    component = component, name = component.name, options = component.spec:defaults(),
  }, Part)
end

--- Build it: what its registered function makes of its options and what is given.
function Part:__call(...) return self.component.build(self.options, ...) end

function Part:__tostring() return M.show(self) end

--- Its type and options as a plain table.
-- @tparam ?function wanted  (entry) → whether an option is in there
-- @treturn table
function Part:tree(wanted)
  local tree = spec_module.tree(self.options, wanted)
  tree.type = self.name
  return tree
end

Part.__json, Part.__tree = Part.tree, Part.tree

-- In identities of results: all options, and what the function does.
function Part:__text()
  local words = { self.component.registry.name, self.name,
                  require "mlua.code".digest(self.component.build, self.name).digest }
  for _, entry in ipairs(self.component.spec.list) do
    if entry.param.significant then
      local value = rawget(self.options, entry.name)
      local counted = require "mlua.task.node".value_text
      words[#words + 1] = entry.name .. "=" .. (value == nil and "-" or counted(value))
    end
  end
  return hash.sha256(table.concat(words, "\n"))
end

-- -- as text -----------------------------------------------------------------------------------

--- Text as a scalar that YAML reads back as it, in flow collections, too.
function M.quoted(s)
  s = s:gsub("%${", "$${")
  if s:find "^%-?[%w_./][%w_./+ -]*$" and not s:find " $" and s:lower() ~= "null" then return s end
  if not s:find "%c" then return "'" .. s:gsub("'", "''") .. "'" end
  return '"' .. s:gsub('[%c"\\]', function(c) return ("\\x%02x"):format(c:byte()) end) .. '"'
end

--- A value of a parameter in YAML's flow style.
-- @tparam Param p
-- @param value
-- @treturn string
function M.flow(p, value)
  if M.is(value) then return M.show(value) end
  if type(value) == "boolean" then return tostring(value) end
  if type(value) ~= "table" then return M.quoted(p:show(value)) end
  local texts = {}
  for i, item in ipairs(p.registry and value or p.kind.texts(p, value)) do
    texts[i] = p.registry and M.show(item) or M.quoted(item)
  end
  return "[" .. table.concat(texts, ", ") .. "]"
end

--- A part as text: its name, or {type: NAME, option: value, …}.
-- @tparam Part part
-- @treturn string
function M.show(part)
  local words = { "type: " .. part.name }
  for _, entry in ipairs(part.component.spec.list) do
    local p, value = entry.param, rawget(part.options, entry.name)
    if value ~= nil and (p.default == nil or p:show(value) ~= p:show(p.default)) then
      words[#words + 1] = entry.name .. ": " .. M.flow(p, value)
    end
  end
  return words[2] and "{" .. table.concat(words, ", ") .. "}" or part.name
end

-- -- from nodes of a file ----------------------------------------------------------------------

-- A part by the name that a file or a registry gives it. `at` tells mistakes (mlua.config).
local function named(p, name, at, line, path)
  at:spend()
  local definition = at:definition(p.registry, name)
  if definition then
    if definition.open then
      at:mistake(line, path, ("'%s' refers to itself"):format(name))
      return nil
    end
    definition.open, definition.used = true, true
    local part = M.of_node(p, definition.node, at:of(definition), false)
    definition.open = false
    return part
  end
  local component, hint = p.registry:find(name)
  if component then return new(component) end
  local near = text.nearest(name, at:names(p.registry))
  at:mistake(line, path, ("no %s '%s'%s"):format(p.registry.name, name,
    near and (", did you mean '%s'?"):format(near) or hint))
end

--- What a node says of a part: a name, or a map of `type` and options.
-- @tparam Param p
-- @tparam table node
-- @tparam table at     where it stands (a place of mlua.config.reading)
-- @tparam ?Part before  the value so far, whose options a map without `type` changes; false: none
-- @treturn ?Part  nil where there are mistakes, which `at.mistake` was told
function M.of_node(p, node, at, before)
  local line, path = node.line or at.line, at.path
  if node.kind == "scalar" then return named(p, node.text, at, line, path) end
  if node.kind ~= "map" then
    at:mistake(line, path, ("expected the name of a %s, or its type and options, got %s"):format(
      p.registry.name, node.kind == "null" and "nothing" or "a list"))
    return nil
  end
  local given, part = node.by.type, before or before == nil and p.default
  local word = given and at:expanded(given.node)
  if given and not (word and word.kind == "scalar") then
    at:mistake(given.line, path .. ".type", ("expected the name of a %s"):format(p.registry.name))
    return nil
  elseif given then
    part = named(p, word.text, at, given.line, path .. ".type")
  else
    part = part and M.copy(part)
    if not part then
      at:mistake(line, path, "expected 'type', which names the " .. p.registry.name)
    end
  end
  if not part then return nil end
  return at:options(part, node) and part or nil
end

--- A part of its own, equal to another.
function M.copy(part)
  local copy = new(part.component)
  for _, entry in ipairs(part.component.spec.list) do
    local value = rawget(part.options, entry.name)
    if type(value) == "table" then value = entry.param:check(value) end
    spec_module.inherit(copy.options, part.options, entry.name, value)
  end
  return copy
end

-- -- from Lua and text -------------------------------------------------------------------------

local function check_part(p, value)
  if M.is(value) then
    if value.component.registry ~= p.registry then
      return nil, ("expected a %s, got %s"):format(p.registry.name, tostring(value.component))
    end
    return M.copy(value)
  end
  local name, given = value, nil
  if type(value) == "table" then name, given = value.type or value[1], value end
  if type(name) ~= "string" then
    return nil, ("expected the name of a %s, or its type and options, got %s"):format(
      p.registry.name, check.what(value))
  end
  local component, hint = p.registry:find(name)
  if not component then return nil, ("no %s '%s'%s"):format(p.registry.name, name, hint) end
  local part = new(component)
  for key, each in pairs(given or {}) do
    if key ~= "type" and key ~= 1 then
      local ok, problem = spec_module.set(part.options, tostring(key), each, "set")
      if not ok then return nil, problem end
    end
  end
  return part
end

-- Text is a file's, of one value: what files name is known here, too.
local function read_part(p, written, before, list)
  local node, mistakes = require "mlua.config".node_of(written, list)
  if not node then return nil, mistakes[1] end
  return require "mlua.config.reading".part_of(p, node, before)
end

--- What is wrong with the length of a list of parts, or nil.
function M.misfit(p, parts)
  local lowest, highest = unpack(p.length or {})
  if lowest and (#parts < lowest or #parts > (highest or math.huge)) then
    return ("expected %s %s, got %d"):format(
      lowest == highest and lowest or "at least " .. lowest, p.registry.plural, #parts)
  end
end

local function each_of(p, value)
  if type(value) ~= "table" then
    return nil, ("expected a list of %s, got %s"):format(p.registry.plural, check.what(value))
  end
  local parts = {}
  for i, item in ipairs(value) do
    local part, problem = check_part(p, item)
    if not part then return nil, ("%d: %s"):format(i, problem) end
    parts[i] = part
  end
  local problem = M.misfit(p, parts)
  if problem then return nil, problem end
  return parts
end

local function choices(p) return "one of `mlua list " .. p.registry.plural .. "`" end

--- Define the kinds of parameter that take one of a registry's parts, and a list of them.
-- @tparam Registry registry
function M.kinds(registry)
  local function build(p) p.registry = registry end
  param.kind(registry.name, {
    meta = registry.name:upper(), one = "the name of a " .. registry.name, component = "one",
    build = build, read = read_part, check = check_part, range = choices,
    show = function(_, part) return M.show(part) end,
  })
  param.kind(registry.plural, {
    meta = registry.name:upper() .. ",…", component = "list", fields = { length = "table" },
    one = "a list of " .. registry.plural, range = choices,
    build = build, check = each_of,
    read = function(p, written) return read_part(p, written, nil, true) end,
    show = function(p, parts) return #parts == 0 and "" or M.flow(p, parts) end,
  })
end

return M
