--- An ordered set of parameters under names, and sets of values for them that know their origins.
--
-- Names are words joined by dots; `_` and `-` are one letter on the command line. Values are read
-- by field (`o.batch`, `o.model.dim`, `o["model.dim"]`): an unknown field raises.
-- @module mlua.param.spec
local check = require "mlua.check"
local param = require "mlua.param"
local text = require "mlua.text"

local M = {}

local Spec = {}
Spec.__index = Spec

local function flag(name)
  return name:find("_", 1, true) and (name:gsub("_", "-")) or name
end

--- A name as it is on the command line, where `_` and `-` are one letter.
-- @tparam string name
-- @treturn string
function M.flag(name) return flag(name) end

-- -- building ----------------------------------------------------------------------------------

local function claim(spec, name, entry, level)
  local key = flag(name)
  check.arg_at(level, name:find("^[%a][%w_.%-]*$"), 1, "param.spec", "'%s' is not a name", name)
  check.arg_at(level, not spec.flags[key], 1, "param.spec", "'%s' is declared twice", name)
  spec.flags[key] = entry
end

local function collect(into, entries, prefix, group)
  for key, value in pairs(entries) do
    local name = key
    if type(key) == "number" and type(value) == "table" and not param.is(value)
      and not value.group then
      name, value = value[1], value[2]
    end
    if type(value) == "table" and value.group and value.entries then
      collect(into, value.entries, prefix, value.group)
    elseif param.is(value) then
      into[#into + 1] = {
        name = prefix .. tostring(name), param = value, group = group or value.group,
      }
    elseif type(value) == "table" then
      -- Another spec, or a plain table, under a name: a section.
      collect(into, value.source or value, prefix .. tostring(name) .. ".", group or tostring(name))
    else
      check.arg_at(4, false, 1, "param.spec", "%s: expected a parameter, got %s", tostring(name),
        check.what(value))
    end
  end
end

-- What nothing else has the name of: model.type for a part's name, and options by their group,
-- as training.lr.
local function name_also(spec)
  local function also(name, entry)
    if not spec.flags[flag(name)] then
      spec.flags[flag(name)] = entry
      spec.also[#spec.also + 1] = { name, entry }
    end
  end
  for _, entry in ipairs(spec.list) do
    if entry.param.kind.component == "one" then also(entry.name .. ".type", entry) end
    local title = entry.group
    local name = title and title:find "^%a[%w _-]*$" and title:lower():gsub("[ -]", "_")
    if name and not spec.by[name] and not entry.name:find(name .. ".", 1, true)
      and (spec.groups[name] or not spec.flags[flag(name)] and not spec.folded[flag(name)]) then
      also(name .. "." .. entry.name, entry)
      if not spec.groups[name] then
        spec.groups[name], spec.folded[flag(name)] = {}, name
      end
      table.insert(spec.groups[name], entry)
    end
  end
end

function M.new(entries, info)
  check.arg_at(2, type(entries) == "table", 1, "param.spec", "expected a table, got %s",
    check.what(entries))
  info = info or {}
  local spec = setmetatable({
    list = {}, by = {}, flags = {}, shorts = {}, sections = {}, folded = {}, source = entries,
    name = info.name, doc = info.doc, arguments = info.arguments, notes = info.notes,
    config = info.config, runs = info.runs, of_program = info.of_program or {},
    of_line = info.of_line or {}, also = {}, groups = {},
    script = info.script or arg and arg[0], project = info.project,
  }, Spec)
  collect(spec.list, entries, "")
  table.sort(spec.list, function(a, b) return a.param.order < b.param.order end)
  for _, entry in ipairs(spec.list) do
    spec.by[entry.name] = entry
    claim(spec, entry.name, entry, 2)
    for dot in entry.name:gmatch("()%.") do
      local section = entry.name:sub(1, dot - 1)
      spec.sections[section], spec.folded[flag(section)] = true, section
    end
    entry.aliases = {}
    for key, value in pairs(entry.param.alias or {}) do
      local alias = type(key) == "number" and value or key
      local target = setmetatable({
        alias = alias, convert = type(key) ~= "number" and value or nil,
      }, { __index = entry })
      claim(spec, alias, target, 2)
      entry.aliases[#entry.aliases + 1] = alias
    end
    table.sort(entry.aliases)
    if entry.param.short then spec.shorts[entry.param.short] = entry end
  end
  name_also(spec)
  return spec
end

-- -- values ------------------------------------------------------------------------------------

local origins = setmetatable({}, { __mode = "k" })
local specs = setmetatable({}, { __mode = "k" })

local function names(spec)
  local list = {}
  for i, entry in ipairs(spec.list) do list[i] = entry.name end
  return list
end

local function unknown(spec, name, level)
  error(("no option '%s'%s"):format(tostring(name), text.did_you_mean(tostring(name), names(spec))),
    level + 1)
end

-- A view of values under a dotted prefix.
local function section(values, spec, prefix)
  return setmetatable({}, {
    __index = function(_, key)
      local name = prefix .. "." .. tostring(key)
      if spec.by[name] then return rawget(values, name) end
      if spec.sections[name] then return section(values, spec, name) end
      unknown(spec, name, 2)
    end,
    __newindex = function(_, key) unknown(spec, prefix .. "." .. tostring(key), 2) end,
  })
end

local function metatable(spec)
  if not spec.values_meta then
    spec.values_meta = {
      __tree = M.tree,
      __index = function(values, name)
        if spec.by[name] then return nil end -- declared, optional, not set
        if spec.sections[name] then return section(values, spec, name) end
        unknown(spec, name, 2)
      end,
      __newindex = function(values, name, value)
        if not spec.by[name] then unknown(spec, name, 2) end
        rawset(values, name, value)
      end,
    }
  end
  return spec.values_meta
end

--- Values with every default.
-- @treturn Values
function Spec:defaults()
  local values = setmetatable({}, metatable(self))
  local from = {}
  for _, entry in ipairs(self.list) do
    local value = entry.param.default
    if type(value) == "table" then
      value = entry.param.registry and entry.param:check(value) or { unpack(value) }
    end
    rawset(values, entry.name, value)
    from[entry.name] = { "default" }
  end
  origins[values], specs[values] = from, self
  return values
end

--- Set a value that its parameter has read or checked already: no copy of it is made.
-- @tparam Values values
-- @tparam string name
-- @param value
-- @tparam ?string from
-- @tparam ?string written
function M.put(values, name, value, from, written)
  rawset(values, name, value)
  origins[values][name] = { from or "set", written }
end

local function try(values, name, value, from, written)
  local checked, problem = specs[values].by[name].param:check(value)
  if checked == nil then return nil, problem end
  M.put(values, name, checked, from, written)
  return true
end

--- The parameter of a name.
-- @tparam Values values
-- @tparam string name
-- @treturn ?Param
function M.parameter(values, name)
  local entry = specs[values].by[name]
  return entry and entry.param
end

--- Set what was read for an entry; what an alias makes of its text is still to be checked.
-- @tparam Values values
-- @tparam table entry
-- @param value
-- @tparam string from
-- @tparam ?string written
-- @return true, or nil and a message without the name
function M.take(values, entry, value, from, written)
  if entry.convert then return try(values, entry.name, value, from, written) end
  M.put(values, entry.name, value, from, written)
  return true
end

function M.set(values, name, value, from, written)
  if not specs[values].by[name] then
    return nil, ("no option '%s'%s"):format(name,
      text.did_you_mean(name, names(specs[values])))
  end
  local ok, problem = try(values, name, value, from, written)
  return ok, problem and ("%s: %s"):format(name, problem)
end

--- Values as a tree: names joined by dots are tables within tables, a part its type and options.
-- @tparam Values values
-- @tparam ?function wanted  (entry) → whether it is in there
-- @treturn table
function M.tree(values, wanted)
  local tree = {}
  for _, entry in ipairs(specs[values].list) do
    local value = rawget(values, entry.name)
    if value ~= nil and (not wanted or wanted(entry)) then
      local into, rest = tree, entry.name
      for head, more in function() return rest:match "^([^.]+)%.(.+)$" end do
        into[head] = into[head] or {}
        into, rest = into[head], more
      end
      local component = entry.param.kind.component
      if component == "one" then
        value = value:tree(wanted)
      elseif component then
        local list = {}
        for i, part in ipairs(value) do list[i] = part:tree(wanted) end
        value = list
      end
      into[rest] = value
    end
  end
  return tree
end

--- Values of their own, equal to others, with their origins.
-- @tparam Values values
-- @treturn Values
function M.clone(values)
  local spec = specs[values]
  local copy = spec:defaults()
  for _, entry in ipairs(spec.list) do
    local value = rawget(values, entry.name)
    if type(value) == "table" then value = entry.param:check(value) end
    M.inherit(copy, values, entry.name, value)
  end
  return copy
end

--- Note where a value is from that is to be found later, or of which a part was set.
-- @tparam Values values
-- @tparam string name
-- @tparam string from
-- @tparam ?string written
-- @tparam ?table mark  an earlier one, to be it again
-- @treturn table  which `is_marked` knows again, in copies too
function M.mark(values, name, from, written, mark)
  origins[values][name] = mark or { from, written }
  return origins[values][name]
end

--- Whether a value has had no other origin since.
function M.is_marked(values, name, mark) return origins[values][name] == mark end

--- Take over a value, which is the copy's own already, with its origin.
function M.inherit(copy, values, name, value)
  rawset(copy, name, value)
  origins[copy][name] = origins[values][name]
end

local MOST_MEANT = 3 -- names in a message

--- Where an option of this name stands below others, as ", did you mean 'model.dim'?"; or "".
-- @tparam Values values
-- @tparam string word
-- @tparam[opt=""] string prefix  put before the names, as "--"
-- @treturn string
function M.meant_below(values, word, prefix)
  local list, wanted = {}, "." .. flag(word)
  local function add(name)
    if flag(name):sub(-#wanted) == wanted and #list < MOST_MEANT then
      list[#list + 1] = ("'%s%s'"):format(prefix or "", name:gsub("_", prefix and "-" or "_"))
    end
  end
  for _, entry in ipairs(specs[values].list) do
    if not entry.param.hidden then add(entry.name) end
    local part = entry.param.kind.component == "one" and M.before(values, entry)
    for _, inner in ipairs(part and part.component.spec.list or {}) do
      add(entry.name .. "." .. inner.name)
    end
  end
  return list[1] and (", did you mean %s?"):format(text.list(list)) or ""
end

--- What a name stands for in values: also an option of a part, as model.dim.
-- @tparam Values values
-- @tparam string name
-- @treturn ?Values  those that hold it; nil where there is none
-- @treturn table|string  its entry; or a message
-- @treturn ?string  the entry of `values` itself that holds it, where it is a part's
-- @tparam ?boolean own  to be set: a task that has no part of its own gets one like the others'
function M.find(values, name, own)
  local spec = specs[values]
  local entry = spec.flags[flag(name)]
  if entry then return values, entry end
  for at in name:gmatch "()%." do
    local head, rest = name:sub(1, at - 1), name:sub(at + 1)
    entry = spec.flags[flag(head)]
    if entry and entry.param.registry then
      local part = M.before(values, entry)
      if own and part ~= nil and rawget(values, entry.name) == nil then
        part = entry.param:check(part)
        M.put(values, entry.name, part, "default")
      end
      if entry.param.kind.component == "list" then
        local i = tonumber(rest:match "^%d+")
        rest = rest:match "^%d+%.(.+)$"
        if not i or not rest or not part or not part[i] then
          return nil, ("%s: expected a position and an option, as %s.1.NAME"):format(name, head)
        end
        part = part[i]
      end
      if not part then return nil, ("%s: no %s is chosen"):format(head, head) end
      local inner, found = M.find(part.options, rest, own)
      if not inner and not found:find ":" then
        found = ("%s: %s takes no '%s'%s"):format(name, tostring(part.component), rest,
          text.did_you_mean(rest, names(specs[part.options])))
      end
      return inner, found, entry.name
    end
  end
  return nil, "none"
end

function M.origin(values, name)
  local origin = origins[values][name]
  if not origin then unknown(specs[values], name, 2) end
  return origin[1], origin[2]
end

--- Say where the options of a part are from that nothing was said of.
-- @tparam Part|{Part,...} value
-- @tparam string from
-- @tparam ?string written
function M.tell(value, from, written)
  for _, part in ipairs(value.options and { value } or value) do
    for name, origin in pairs(origins[part.options]) do
      if origin[1] == "set" then origin[1], origin[2] = from, written end -- it stays marked
      local inner = rawget(part.options, name)
      if inner ~= nil and specs[part.options].by[name].param.registry then
        M.tell(inner, from, written)
      end
    end
  end
end

-- What comes before what: files, variables, the command line.
local function rank(from)
  if from == "default" then return 0 end
  if from == "command line" or from == "--grid" then return 3 end
  return from:find "^MLUA_" and 2 or 1
end

--- Values of one task alone give way to what was said later of all: `--epochs 8` to a file's
-- `Train: {epochs: 5}`.
-- @tparam Values values
function M.settle_scopes(values)
  local from = origins[values]
  for _, entry in ipairs(specs[values].list) do
    local outer = entry.param.outer
    if outer and rank(from[outer][1]) > rank(from[entry.name][1]) then
      M.put(values, entry.name, nil, "default")
    end
  end
end

--- The value that a key changes: of one task alone, at first that of all.
-- @tparam Values values
-- @tparam table entry
function M.before(values, entry)
  local value, outer = rawget(values, entry.name), entry.param.outer
  if value == nil and outer then value = rawget(values, outer) end
  return value
end

--- Whether a copy's value is from where the original's is.
-- @tparam Values copy
-- @tparam Values values
-- @tparam string name
-- @treturn boolean
function M.is_inherited(copy, values, name)
  return origins[copy][name] == origins[values][name]
end

--- The required values that are still missing, also of parts.
-- @tparam Values values
-- @treturn {string,...}
function M.missing(values)
  local list = {}
  for _, entry in ipairs(specs[values].list) do
    local value = rawget(values, entry.name)
    if entry.param.required and value == nil then list[#list + 1] = entry.name end
    if value ~= nil and entry.param.registry then
      for i, part in ipairs(value.options and { value } or value) do
        for _, inner in ipairs(M.missing(part.options)) do
          list[#list + 1] = entry.name .. (value.options and "." or "." .. i .. ".") .. inner
        end
      end
    end
  end
  return list
end

--- Values from a table, for use from Lua: `spec:values { batch = 2 }`; the rest are defaults.
-- @tparam ?table given
-- @treturn Values
-- @raise bad argument #1 where a field is unknown, of the wrong type or out of range
function Spec:values(given)
  check.arg(given == nil or type(given) == "table", 1, "values", "expected a table, got %s",
    check.what(given))
  local values = self:defaults()
  for name, value in pairs(given or {}) do
    local ok, problem = M.set(values, name, value, "set")
    check.arg(ok, 1, "values", "%s", problem)
  end
  local absent = M.missing(values)[1]
  check.arg(not absent, 1, "values", "%s: required", absent)
  return values
end

-- -- the command line --------------------------------------------------------------------------

--- Whether a name is one of the spec's, as `o` would take it.
-- @tparam string name
-- @treturn ?Param
function Spec:param(name)
  return self.by[name] and self.by[name].param
end

--- Whether `--config FILE` gives it values: not where it says no, or has an option of that name.
-- @treturn boolean
function Spec:takes_files()
  return self.config ~= false and not self.flags.config
end

--- Read a command line: `--name value`, `--name=value`, `--flag`, `--no-flag`, `-s value`, `--`.
-- @tparam {string,...} args
-- @tparam ?boolean incomplete  required values may be missing
-- @treturn ?Values  nil on a mistake, or for help
-- @return  the arguments that are no options; or a message; or "help"
-- @treturn ?Reading  of files, where there were some
function Spec:read(args, incomplete)
  return require("mlua.param.cli").read(self, args, incomplete)
end

--- The text of --help.
-- @tparam ?number width  columns; the terminal's, or 100
-- @treturn string
function Spec:help(width)
  return require("mlua.param.help").render(self, width)
end

--- Read a script's command line; print help, or end the script with one line on a mistake.
-- @tparam {string,...} args  as `arg`
-- @treturn Values
-- @treturn {string,...}      arguments that are no options
-- @treturn ?Reading          of files, where there were some
function Spec:main(args)
  if M.taken then M.taken(self) end -- somebody wants the spec alone (mlua.config.resolve)
  local values, rest, reading = self:read(args)
  if values and reading and reading:has_runs() and not self.runs then
    require "mlua.fail".usage "grid, variants: this recipe runs once; a flow takes them"
  end
  if values then return values, rest, reading end
  if rest == "help" then
    io.stdout:write(self:help())
    io.stdout:flush()
    os.exit(0, true)
  end
  require("mlua.fail").usage("%s", rest)
end

--- Every name with its value as text and its origin, in order: what a run was given.
-- @tparam Values values
-- @tparam ?boolean changed  only those that are not defaults
-- @treturn {{name=string,text=string,from=string},...}
function Spec:describe(values, changed)
  local rows = {}
  for _, entry in ipairs(self.list) do
    local from = origins[values][entry.name][1]
    if not changed or from ~= "default" then
      rows[#rows + 1] = {
        name = entry.name, text = entry.param:show(rawget(values, entry.name)), from = from,
      }
    end
  end
  return rows
end

return M
