--- `mlua list`: the registered parts: models, losses, optimisers … and what options they take.
-- @module mlua.cli.list
local fail = require "mlua.fail"
local json = require "mlua.json"
local names = require "mlua.repl.names"
local param = require "mlua.param"
local registry = require "mlua.registry"
local text = require "mlua.text"
local ui_table = require "mlua.ui.table"

local M = {}

local GAP = 3

-- -- what there is -----------------------------------------------------------------------------

-- Where a part is registered: mlua's own by their path below lua/.
local function place_of(component)
  local own = names.own_path("@" .. component.place)
  return own and "mlua/" .. own or component.place
end

-- In words: "at least 1", "a, b or c"; nil where anything goes.
local function range_of(p)
  if p.choices then return text.list(p.choices) end
  return p:range()
end

local function default_of(p)
  if p.required then return "required" end
  if p.default == nil then return "" end
  local shown = p:show(p.default)
  return shown == "" and "none" or shown
end

-- -- as text -----------------------------------------------------------------------------------

-- Columns whose last one is broken into lines of `width` columns in all.
local function columns(rows, width, indent, align)
  local taken = #indent
  for c = 1, #align - 1 do
    local widest = 0
    for _, row in ipairs(rows) do widest = math.max(widest, text.width(row[c])) end
    taken = taken + widest + GAP
  end
  local last = math.max(width - taken, 24)
  local lines = {}
  for _, row in ipairs(rows) do
    for i, part in ipairs(text.wrap(row[#align], last)) do
      local line = {}
      for c = 1, #align - 1 do line[c] = i == 1 and row[c] or "" end
      line[#align] = part
      lines[#lines + 1] = line
    end
  end
  local shown = ui_table.render { rows = lines, align = align, gap = GAP }
  return indent .. shown:gsub("\n", "\n" .. indent)
end

local function option_row(entry)
  local p = entry.param
  local notes = { p.unit }
  notes[#notes + 1] = range_of(p)
  local doc = p.doc or ""
  if notes[1] then
    doc = doc .. (doc ~= "" and " " or "") .. "(" .. table.concat(notes, "; ") .. ")"
  end
  return { entry.name, p.kind.name, default_of(p), doc }
end

local function show_part(component, width)
  local lines = text.wrap(component.name .. (component.doc and ": " .. component.doc or ""), width)
  lines[#lines + 1] = "  " .. place_of(component)
  local rows = {}
  for _, entry in ipairs(component.spec.list) do
    if not entry.param.hidden then rows[#rows + 1] = option_row(entry) end
  end
  if rows[1] then lines[#lines + 1] = columns(rows, width, "  ", "llll") end
  return table.concat(lines, "\n")
end

local function show_all(width)
  local rows = {}
  for i, each in ipairs(registry.list()) do
    local parts = each:names()
    rows[i] = { each.plural, tostring(#parts), table.concat(parts, ", ") }
  end
  return columns(rows, width, "", "lrl")
end

-- -- as JSON -----------------------------------------------------------------------------------

local PLAIN = { number = true, boolean = true, string = true }

-- A default as JSON has it; parts as text.
local function plain(p, value)
  if PLAIN[type(value)] then return value end
  local list = type(value) == "table" and p.kind.component ~= "one" and json.array()
  if not list then return p:show(value) end
  for i, item in ipairs(value) do
    list[i] = PLAIN[type(item)] and item or tostring(item)
  end
  return list
end

local function describe(component)
  local options = json.array()
  for _, entry in ipairs(component.spec.list) do
    local p = entry.param
    options[#options + 1] = {
      name = entry.name, type = p.kind.name, doc = p.doc, unit = p.unit, choices = p.choices,
      range = not p.choices and range_of(p) or nil, required = p.required or nil,
      default = p.default ~= nil and plain(p, p.default) or nil,
    }
    if p.default == false then options[#options].default = false end
  end
  return { name = component.name, doc = component.doc, place = place_of(component),
           options = options }
end

-- -- the command -------------------------------------------------------------------------------

-- Run a recipe for the parts that it registers.
local function load_recipe(path)
  local spec, why = require "mlua.config.resolve".spec(path)
  if not spec then fail.run("list: %s", (why:match "^[^\n]*")) end
end

-- The registry and the part that words name.
local function find(plural, name)
  if not plural then return nil end
  local found, why = registry.get(plural)
  for _, each in ipairs(found and {} or registry.list()) do
    if each:find(plural) then
      why = ("%s, did you mean '%s %s'?"):format(why, each.plural, plural)
    end
  end
  if not found then fail.usage("list: %s", why) end
  if not name then return found end
  local component, hint = found:find(name)
  if not component then fail.usage("list: no %s '%s'%s", found.name, name, hint) end
  return found, component
end

-- The parts of a registry, or the one asked for.
local function parts_of(each, component)
  if component then return { component } end
  local list = {}
  for i, name in ipairs(each:names()) do list[i] = each:find(name) end
  return list
end

local function as_json(found, component)
  local all = {}
  for _, each in ipairs(found and { found } or registry.list()) do
    local list = json.array()
    for i, part in ipairs(parts_of(each, component)) do list[i] = describe(part) end
    all[each.plural] = list
  end
  return json.encode(all)
end

local function as_text(found, component, width)
  if not found then return show_all(width) end
  local shown = {}
  for i, part in ipairs(parts_of(found, component)) do shown[i] = show_part(part, width) end
  return shown[1] and table.concat(shown, "\n\n") or "no " .. found.plural
end

--- Print what is registered.
-- @tparam {string,...} args  a recipe, a registry, a part; all may be left out
function M.main(args)
  local spec = param.spec({
    json = param.bool { doc = "one line of JSON: parts by registry, with all that is known" },
    recipe = param.file { doc = "load this recipe first, for the parts that it registers" },
  }, { name = "mlua list", config = false, arguments = { "[RECIPE.lua] [KIND [NAME]]", max = 3 },
    doc = "Print the parts that recipes and configuration files may name: all of them by kind, "
      .. "those of one kind (models, losses, …) with their options, or one." })
  local o, rest = spec:main(args)
  local recipe = o.recipe
  if rest[1] and rest[1]:find "%.lua$" then
    if recipe then fail.usage("list: two recipes: %s and %s", recipe, rest[1]) end
    recipe = table.remove(rest, 1)
  end
  if rest[3] then fail.usage("unexpected argument '%s'", rest[3]) end
  if recipe then load_recipe(recipe) end
  local found, component = find(rest[1], rest[2])
  local out = o.json and as_json(found, component)
    or as_text(found, component, math.min(require "mlua.ffi.tty".width(), 120))
  io.stdout:write(out, "\n")
end

return M
