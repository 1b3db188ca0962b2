--- Files read into the values of a spec, one after the other: what each key means.
--
-- A reading keeps what files name: macros, parts (under the registry's plural), and what is to be
-- known once all has been read, which are references, grids and variants.
-- @module mlua.config.reading
local alias = require "mlua.param.alias"
local config = require "mlua.config"
local reference = require "mlua.config.reference"
local spec_module = require "mlua.param.spec"
local text = require "mlua.text"

local Reading = {}
Reading.__index = Reading

local M = {}

local current -- whose named parts texts of the command line may name

local MOST = 1e4 -- parts made and names looked up, each use of a name counted
local DEEPEST = 40 -- parts within parts

local STOP = {} -- raised where a file asks for too much, which was told

--- Begin a reading.
-- @tparam Spec spec
-- @tparam Values values
-- @tparam ?table implied  gets what aliases stand for besides (mlua.param.alias)
-- @treturn Reading  `mistakes`, a list of lines, grows
function M.new(spec, values, implied)
  local self = setmetatable({
    spec = spec, values = values, mistakes = {}, macros = {}, definitions = {}, deferred = {},
    doubts = {}, grid = {}, variants = {}, spent = 0, depth = 0, implied = implied or {},
  }, Reading)
  current = self
  return self
end

-- -- where a value stands ----------------------------------------------------------------------

local function shown(node)
  if node.kind == "scalar" then
    return (node.quoted and "the string '%s'" or "'%s'"):format(text.clip(node.text, 40))
  end
  return node.kind == "null" and "nothing" or "a " .. (node.kind == "map" and "section" or "list")
end

-- Runs f(self, …), which STOP may end.
function Reading:guarded(f, ...)
  local ok, e = pcall(f, self, ...)
  if not ok and e ~= STOP then error(e, 0) end
end

-- Where a value stands, and what reads it may ask: file, key (path), line, and the key that it is
-- a value of in the end (use), where the path is one of a named part's; lenient: it is a project's
-- file.
local Place = {}
Place.__index = Place

function Reading:place(file, path, line, use, lenient)
  return setmetatable({
    reading = self, file = file, path = path, line = line, use = use or path, lenient = lenient,
  }, Place)
end

-- Notes a mistake, of a line (else the value's own) and a key.
function Place:mistake(line, key, message)
  local list = self.reading.mistakes
  local head = self.file and ("%s:%d: "):format(self.file, line or self.line or 1) or ""
  list[#list + 1] = head .. (key ~= "" and key .. ": " or "") .. message
end

-- Counts a part that is made or a name that is looked up.
function Place:spend()
  local reading = self.reading
  reading.spent = reading.spent + 1
  if reading.spent > MOST then
    self:mistake(nil, self.path, ("more than %d parts and names, each use counted"):format(MOST))
    error(STOP, 0)
  end
end

-- What files call a part of a registry by this name; and all such names.
function Place:definition(registry, name)
  local named = self.reading.definitions[registry.plural]
  return named and named[name]
end

function Place:names(registry)
  return text.keys(self.reading.definitions[registry.plural] or {})
end

-- The place of a definition that stands for the value here.
function Place:of(definition)
  return self.reading:place(definition.file, definition.path, definition.line, self.use,
    definition.lenient)
end

-- The node with macros filled in; nil after a mistake.
function Place:expanded(node) return reference.expanded(self.reading, node, self) end

-- Sets a part's options; whether all was well.
function Place:options(part, node)
  local reading = self.reading
  local before = #reading.mistakes
  if reading.depth >= DEEPEST then
    self:mistake(nil, self.path, ("more than %d parts within each other"):format(DEEPEST))
    error(STOP, 0)
  end
  reading.depth = reading.depth + 1
  reading:walk(part.component.spec, part.options, node, {
    head = self.path == "" and "" or self.path .. ".",
    use = self.use == "" and "" or self.use .. ".", file = self.file, part = part,
    of_project = self.lenient,
  })
  reading.depth = reading.depth - 1
  return #reading.mistakes == before
end

-- -- values ------------------------------------------------------------------------------------

-- A path of a project's file is beside it, wherever we are.
local function path_of(p, written, at)
  if not p.kind.of_files or not (at and at.lenient) or written == "" then return written end
  for _, literal in ipairs(p.literals or {}) do
    if written == literal then return written end
  end
  return require "mlua.config.project".beside(at.file, written)
end

local function of_list(p, node, at)
  local texts = {}
  for i, item in ipairs(node.items or {}) do
    if item.kind ~= "scalar" or p.kind.bare and item.quoted then
      return nil, ("expected %s, got %s"):format(p.kind.one or "a string", shown(item))
    end
    texts[i] = path_of(p, item.text, at)
  end
  return p.kind.parts(p, texts)
end

-- A list of parts; nil where there are mistakes, which were told.
function Reading:parts(p, node, at)
  if node.kind == "scalar" then
    local found, mistakes = config.node_of(node.text, true)
    if not found then
      at:mistake(at.line, at.path, mistakes[1])
      return nil
    end
    node = found
  end
  local items = node.kind == "list" and node.items or { node }
  local parts, before = {}, #self.mistakes
  for i, item in ipairs(node.kind == "null" and {} or items) do
    parts[i] = require "mlua.registry.part".of_node(p, item,
      self:place(at.file, ("%s.%d"):format(at.path, i), item.line or at.line,
        ("%s.%d"):format(at.use, i), at.lenient), false)
  end
  if #self.mistakes > before then return nil end
  local problem = require "mlua.registry.part".misfit(p, parts)
  if problem then return nil, problem end
  return parts
end

-- What a parameter makes of a node; nil and a message, or without one where mistakes were told;
-- true as third where it is to be found later.
function Reading:value_of(entry, node, at, before)
  local p = entry.param
  node = reference.expanded(self, node, at)
  if not node then return nil end
  local later = reference.is_template(node)
  for _, item in ipairs(node.kind == "list" and node.items or {}) do
    later = later or reference.is_template(item)
  end
  if later and not (p.kind.component and node.kind == "list") then return node, nil, true end
  if entry.convert and node.kind == "scalar" then return node.text end
  if p.kind.component == "one" then
    local found, mistakes = node, nil
    if node.kind == "scalar" then found, mistakes = config.node_of(node.text) end
    if not found then return nil, mistakes[1] end
    found.line = found.line or node.line
    return require "mlua.registry.part".of_node(p, found, at, before)
  elseif p.kind.component then
    return self:parts(p, node, at)
  end
  local empty = node.kind == "map" and not node.keys[1] -- in Lua, of a list as of a section
  if p.kind.parts and (node.kind == "list" or empty) then return of_list(p, node, at) end
  if node.kind ~= "scalar" or node.quoted and p.kind.bare then
    local wanted = p.choices and text.list(p.choices) or p.kind.parts and "a list"
      or p.kind.one or "a " .. p.kind.name
    return nil, ("expected %s, got %s%s"):format(wanted, shown(node), node.kind == "list"
      and self.spec.runs and not entry.param.registry and " (several runs: grid)" or "")
  end
  if p.kind.of_files and p.kind.parts and at.lenient and not node.text:find "^%s*%[" then
    local paths = p.kind.split(node.text)
    for i, path in ipairs(paths) do paths[i] = path_of(p, path, at) end
    return p.kind.parts(p, paths)
  end
  return p:read(path_of(p, node.text, at))
end

-- -- keys --------------------------------------------------------------------------------------

-- Names that stand below a prefix, without it: options, sections, what stands beside them.
local function names_below(spec, prefix)
  local names = {}
  local function add(name)
    if name:sub(1, #prefix) == prefix then names[#names + 1] = name:sub(#prefix + 1) end
  end
  for _, entry in ipairs(spec.list) do
    if not spec.of_line[entry.name] then add(entry.name) end
  end
  for _, section in ipairs(text.keys(spec.folded)) do add(spec.folded[section]) end
  if prefix == "" and spec.takes_files and spec:takes_files() then
    for _, name in ipairs { "macros", "recipe", spec.runs and "grid", spec.runs and "variants" } do
      if name then add(name) end
    end
    for _, registry in ipairs(require "mlua.registry".list()) do add(registry.plural) end
  end
  return names
end

-- One key and its value. `set` is alias.setter's.
function Reading:assign(entry, values, node, at, set)
  local name, p = entry.name, entry.param
  local from = at.file and ("%s:%d"):format(at.file, at.line) or "set"
  if node.kind == "null" and p.default == nil and not p.required then -- an earlier file's is unset
    return spec_module.put(values, name, nil, from, at.path)
  end
  local value, problem, later = self:value_of(entry, node, at, spec_module.before(values, entry))
  if later then
    self.deferred[#self.deferred + 1] = {
      entry = entry, values = values, node = value, at = at, from = from, set = set,
      mark = spec_module.mark(values, name, from, at.path),
    }
    return
  end
  local ok
  if value ~= nil then ok, problem = set(entry, value, from, at.path) end
  if ok or not problem then return end
  -- A mistake where nothing comes in its place.
  if p.kind.of_files and (node.kind == "scalar" or p.kind.parts) then
    self.doubts[#self.doubts + 1] = { values = values, name = name, at = at, problem = problem,
      mark = spec_module.mark(values, name, from, at.path) }
  else
    at:mistake(at.line, at.path, problem)
  end
end

-- Notes where a key of a file stands, and all keys below it; tells of one that was there already.
local function note_key(seen, name, at, node)
  name = spec_module.flag(name)
  if seen[name] then
    at:mistake(at.line, at.path, ("the same as %s in line %d"):format(unpack(seen[name])))
    return false
  end
  seen[name] = { at.path, at.line }
  local fresh = true
  for _, key in ipairs(node.kind == "map" and node.keys or {}) do
    local below = at.reading:place(at.file, at.path .. "." .. key.name, key.line)
    fresh = note_key(seen, name .. "." .. key.name, below, key.node) and fresh
  end
  return fresh
end

-- { mlp: … } may have meant { type: mlp, … }.
local function part_hint(part, name, hint)
  local named = hint == "" and part.component.registry:find(name)
  return named and (", did you mean 'type: %s'?"):format(name) or hint
end

-- Sets an option of a part, as model.width; or tells what is wrong with the name.
function Reading:assign_inner(values, name, key, at, how, hint)
  local inner, found, outer = spec_module.find(values, name, true)
  if inner then
    self:assign(found, inner, key.node, at, alias.setter(inner, {}))
    spec_module.mark(values, outer, ("%s:%d"):format(at.file, key.line), at.path)
  elseif not how.lenient or hint ~= "" or name ~= key.name then
    at:mistake(key.line, at.path, found ~= "none" and found:match ": (.*)$"
      or how.part and tostring(how.part.component) .. " takes no such key" .. part_hint(how.part,
        key.name, hint)
      or "unknown key" .. hint)
  end
end

-- Sets what a map says into values of a spec. `how`: head, the key's path before it; file; part,
-- whose options these are (its `type` was read already); lenient, as of Reading:files; implied, a
-- list that somebody else will apply.
function Reading:walk(spec, values, map, how)
  local seen, head, use, file = {}, how.head or "", how.use or how.head or "", how.file
  local implied, late = how.implied or {}, {}
  local set = alias.setter(values, implied)
  local function inner(name, key, at, prefix)
    -- Keys of a project's file may be other recipes'.
    local below = prefix == "" and not how.part and not how.lenient
    local hint = below and spec_module.meant_below(values, key.name) or ""
    if hint == "" then hint = text.did_you_mean(key.name, names_below(spec, prefix)) end
    self:assign_inner(values, name, key, at, how, hint)
  end
  local function go(node, prefix)
    for _, key in ipairs(node.keys) do
      local name = prefix .. key.name
      local flagged = spec_module.flag(name)
      local entry = spec.flags[flagged]
      local at = self:place(file, head .. name, key.line, use .. name,
        how.lenient or how.of_project)
      local section = spec.folded[flagged]
      local read = prefix == "" and (how.part and key.name == "type" or key.reserved)
      if not read and entry and spec.of_line[entry.name] then
        at:mistake(key.line, at.path, "an option of the command line alone")
      elseif not read and entry and entry.param.outer and entry.param.registry then
        if note_key(seen, entry.name, at, key.node) then
          late[#late + 1] = function() self:assign(entry, values, key.node, at, set) end
        end
      elseif not read and entry then
        local fresh = note_key(seen, entry.name, at, entry.param.registry and key.node or {})
        if fresh then self:assign(entry, values, key.node, at, set) end
      elseif not read and section and key.node.kind == "map" then
        go(key.node, section .. ".")
      elseif not read and section and key.node.kind ~= "null" then
        at:mistake(key.line, at.path, "expected a section, got " .. shown(key.node))
      elseif not read and not section then
        if select(2, spec_module.find(values, name)) == "none" then
          inner(name, key, at, prefix)
        elseif note_key(seen, name, at, key.node) then
          late[#late + 1] = function() inner(name, key, at, prefix) end
        end
      end
    end
  end
  go(map, "")
  for _, set_late in ipairs(late) do set_late() end -- of parts, which are all there now
  local problem = not how.implied and alias.apply(values, implied, function(name)
    return spec_module.origin(values, name) == "default"
  end)
  if problem then self:place(file, head, map.line):mistake(nil, head:sub(1, -2), problem) end
end

-- -- what stands beside the keys ---------------------------------------------------------------

-- The key's node, where the file has it and the spec does not; nil and a mistake of another kind.
function Reading:reserved(root, file, name, kind)
  local key = root.by[name]
  local own = self.spec.flags[name:gsub("_", "-")] or self.spec.sections[name]
  if own and own ~= true and self.spec.of_line[own.name] then own = nil end
  if not key or own and (kind ~= "map" or own == true or key.node.kind ~= "map") then return nil end
  for _, each in ipairs(root.keys) do
    if each.name == name then each.reserved = true end
  end
  if key.node.kind ~= kind then
    if key.node.kind ~= "null" then
      self:place(file, name, key.line):mistake(key.line, name, ("expected a %s, got %s"):format(
        kind == "map" and "section" or "word", shown(key.node)))
    end
    return nil
  end
  return key.node, key.line
end

-- Names that a file gives to parts and values; a later file's count.
function Reading:define(root, file, lenient)
  local macros = self:reserved(root, file, "macros", "map")
  for _, key in ipairs(macros and macros.keys or {}) do
    self.macros[key.name] = { node = key.node, file = file, line = key.line }
  end
  for _, registry in ipairs(require "mlua.registry".list()) do
    local section = root.by[registry.plural] and self:reserved(root, file, registry.plural, "map")
    for _, key in ipairs(section and section.keys or {}) do
      local component = registry:known(key.name)
      if component then
        self:place(file, registry.plural .. "." .. key.name, key.line):mistake(nil,
          registry.plural .. "." .. key.name, ("a %s of this name is registered at %s"):format(
            registry.name, component.place))
      end
      self.definitions[registry.plural] = self.definitions[registry.plural] or {}
      self.definitions[registry.plural][key.name] = {
        node = key.node, file = file, line = key.line, registry = registry, lenient = lenient,
        path = registry.plural .. "." .. key.name,
      }
    end
  end
end

-- Whether a file's `recipe:` is the script that reads it.
local function is_recipe(named, file, script)
  local project = require "mlua.config.project"
  return project.absolute(project.recipe(file, named)) == project.absolute(script)
end

-- Reads a file and what it names; its root, or nil.
function Reading:open(path, lenient)
  local root, problems = config.read(path)
  if not root then
    for _, problem in ipairs(problems) do self.mistakes[#self.mistakes + 1] = problem end
    return nil
  end
  local recipe, line = self:reserved(root, path, "recipe", "scalar")
  local own = recipe and self.spec.script
  if own and not is_recipe(recipe.text, path, own) then
    self:place(path, "recipe", line):mistake(line, "recipe",
      ("the file is for %s, not for %s"):format(recipe.text, own))
  end
  self:define(root, path, lenient)
  for _, what in ipairs { "grid", "variants" } do
    local node, at = self:reserved(root, path, what, "map")
    if node then self[what][#self[what] + 1] = { node = node, file = path, line = at } end
  end
  return root
end

--- Read files into the values, the later over the earlier; names of all hold in all.
-- @tparam {table,...} files  { path, lenient }; lenient, of a project: a key that is none of this
--   spec's is another recipe's, unless it is spelt like one
function Reading:files(files)
  local roots = {}
  self.paths = {}
  for i, file in ipairs(files) do self.paths[i] = file[1] end
  for i, file in ipairs(files) do roots[i] = self:open(file[1], file[2]) or false end
  for i, file in ipairs(files) do
    if roots[i] then
      self:guarded(self.walk, self.spec, self.values, roots[i],
        { file = file[1], lenient = file[2], implied = self.implied })
    end
  end
end

-- -- the end -----------------------------------------------------------------------------------

local function finish(self)
  reference.settle_all(self)
  for _, doubt in ipairs(self.doubts) do
    if spec_module.is_marked(doubt.values, doubt.name, doubt.mark) then
      doubt.at:mistake(nil, doubt.at.path, doubt.problem)
    end
  end
  self.doubts = {}
  for _, named in pairs(self.definitions) do
    for _, name in ipairs(text.keys(named)) do
      local definition = named[name]
      if not definition.used and not definition.lenient then
        local p = require "mlua.param"[definition.registry.name] {}
        local at = self:place(definition.file, definition.path, definition.line)
        definition.open = true
        require "mlua.registry.part".of_node(p, definition.node, at, false)
        definition.open = false
      end
    end
  end
  reference.settle_all(self)
end

--- Find what waited for the rest: references, then parts that nothing used, which are checked too.
function Reading:finish() self:guarded(finish) end

--- Find parts that are references, for options of theirs to be set; `finish` finds them again, in
-- case that what they refer to has changed.
function Reading:settle_parts()
  local before = #self.mistakes
  for _, waiting in ipairs(self.deferred) do
    if waiting.entry.param.registry then
      self:guarded(reference.settle, waiting)
      waiting.done, waiting.open = false, false
    end
  end
  for i = #self.mistakes, before + 1, -1 do self.mistakes[i] = nil end -- finish tells them
end

--- Whether files ask for several runs.
-- @treturn boolean
function Reading:has_runs() return (self.grid[1] or self.variants[1]) ~= nil end

--- Find references anew for a copy of the values, of which some are others now.
-- @tparam Values copy
function Reading:settle_in(copy)
  local values, waiting = self.values, self.deferred
  self.values, self.deferred = copy, {}
  for _, each in ipairs(waiting) do
    local holder, entry = spec_module.find(copy, each.at.use)
    if holder and entry == each.entry and spec_module.is_marked(holder, entry.name, each.mark) then
      self.deferred[#self.deferred + 1] = setmetatable({
        values = holder, open = false, done = false, set = alias.setter(holder, {}),
      }, { __index = each })
    end
  end
  self:guarded(reference.settle_all)
  self.values, self.deferred = values, waiting
end

--- What a command line's text says of a part, where files may have named some.
-- @tparam Param p
-- @tparam table node
-- @tparam ?Part before_it  the value so far
-- @treturn ?Part  or a list of parts; nil and a message
function M.part_of(p, node, before_it)
  local reading = current or M.new(spec_module.new({}), nil)
  local before, doubts = reading.mistakes, reading.doubts
  reading.mistakes, reading.doubts = {}, {}
  local at = reading:place(nil, "", nil)
  local value, problem
  reading:guarded(function()
    if p.kind.component == "one" then
      value = require "mlua.registry.part".of_node(p, node, at, before_it)
    else
      value, problem = reading:parts(p, node, at)
    end
  end)
  for _, doubt in ipairs(reading.doubts) do -- nothing comes in its place
    doubt.at:mistake(nil, doubt.at.path, doubt.problem)
  end
  local mistake = reading.mistakes[1] or problem
  reading.mistakes, reading.doubts = before, doubts
  if mistake then return nil, mistake end
  return value
end

--- A list that text gives as YAML has it: [1, 2].
-- @tparam Param p
-- @tparam string written
-- @treturn ?table  nil and a message
function M.list_of(p, written)
  local node, mistakes = config.node_of(written)
  if not node then return nil, mistakes[1] end
  if node.kind ~= "list" then return nil, "expected a list, got " .. shown(node) end
  return of_list(p, node)
end

--- Forget the reading whose names command lines could use.
function M.close() current = nil end

return M
