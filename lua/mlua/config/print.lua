--- Values and specs as YAML: what was resolved, with where each value came from, and a file to
-- start from.
-- @module mlua.config.print
local part = require "mlua.registry.part"
local spec_module = require "mlua.param.spec"
local text = require "mlua.text"

local M = {}

local WIDE = 88 -- columns

-- A line and what is said of it beside.
local function line(out, indent, words, note)
  local s = (" "):rep(indent) .. words
  if note then s = s .. (" "):rep(math.max(1, 40 - text.width(s))) .. " # " .. note end
  out[#out + 1] = s
end

-- -- resolved values ---------------------------------------------------------------------------

local print_values

-- A part below `head`, "model:" or "-": its name where nothing else is to be said.
local function print_part(out, indent, head, one, note)
  if #one.component.spec.list == 0 then return line(out, indent, head .. " " .. one.name, note) end
  if head:find "^%-" then
    line(out, indent, "- type: " .. one.name, note)
  else
    line(out, indent, head, note)
    line(out, indent + 2, "type: " .. one.name)
  end
  print_values(out, indent + 2, one.component.spec, one.options)
end

function print_values(out, indent, spec, values, wanted)
  local open = {}
  for _, entry in ipairs(spec.list) do
    local p, value = entry.param, rawget(values, entry.name)
    local unset = value == nil and spec_module.origin(values, entry.name) ~= "default"
    if (value ~= nil or unset) and (not wanted or wanted(entry)) then
      local depth, name = indent, entry.name
      local parts = {}
      for each in name:gmatch "[^.]+" do parts[#parts + 1] = each end
      for i = 1, #parts - 1 do
        local head = table.concat(parts, ".", 1, i)
        if open[i] ~= head then
          for k = i, #open do open[k] = nil end
          open[i] = head
          line(out, depth, parts[i] .. ":")
        end
        depth = depth + 2
      end
      for k = #parts, #open do open[k] = nil end
      local note = spec_module.origin(values, name)
      local head = parts[#parts] .. ":"
      if unset then
        line(out, depth, head .. " ~", note)
      elseif p.kind.component == "one" then
        print_part(out, depth, head, value, note)
      elseif p.kind.component and value[1] then
        line(out, depth, head, note)
        for _, one in ipairs(value) do print_part(out, depth + 2, "-", one) end
      else
        line(out, depth, head .. " " .. part.flow(p, value), note)
      end
    end
  end
end

-- Entries of one section stand together, in the order of the first.
local function gathered(spec)
  local first, list = {}, {}
  for i, entry in ipairs(spec.list) do
    local section = entry.name:match "^(.*)%." or ""
    if section ~= "" then first[section] = first[section] or i end
    list[i] = { entry = entry, at = first[section] or i, i = i }
  end
  table.sort(list, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.i < b.i
  end)
  for i, each in ipairs(list) do list[i] = each.entry end
  return setmetatable({ list = list }, { __index = spec })
end

-- Whether a value is shown of a run that the run's base has otherwise.
local function differing(spec, values, base, wanted)
  local list = {}
  for _, entry in ipairs(spec.list) do
    local value, other = rawget(values, entry.name), rawget(base, entry.name)
    if (not wanted or wanted(entry)) and (value == nil) ~= (other == nil)
      or entry.param:show(value) ~= entry.param:show(other) then
      list[#list + 1] = entry
    end
  end
  return setmetatable({ list = list }, { __index = spec })
end

--- Values as YAML that reads back as them, each with its origin as a comment.
-- @tparam Spec spec
-- @tparam Values values
-- @tparam ?function wanted  (entry) → whether it is shown
-- @tparam ?{table,...} runs  mlua.config.grid's: as variants, what each has that differs
-- @treturn string
function M.values(spec, values, wanted, runs)
  local out = {}
  print_values(out, 0, gathered(spec), values, wanted)
  if runs and runs[1].name then
    line(out, 0, "variants:")
    for _, run in ipairs(runs) do
      local one = differing(spec, run.values, values, wanted)
      line(out, 2, part.quoted(run.name) .. ":" .. (one.list[1] and "" or " {}"))
      print_values(out, 4, gathered(one), run.values)
    end
  end
  return table.concat(out, "\n") .. "\n"
end

--- The same as one line of JSON: { config, origins, variants }.
-- @tparam Spec spec
-- @tparam Values values
-- @tparam ?function wanted
-- @tparam ?{table,...} runs
-- @treturn string
function M.json(spec, values, wanted, runs)
  local all = { config = spec_module.tree(values, wanted), origins = {} }
  for _, entry in ipairs(spec.list) do
    if rawget(values, entry.name) ~= nil and (not wanted or wanted(entry)) then
      all.origins[entry.name] = spec_module.origin(values, entry.name)
    end
  end
  for i, run in ipairs(runs and runs[1].name and runs or {}) do
    all.variants = all.variants or {}
    local by = differing(spec, run.values, values, wanted).list
    for k, entry in ipairs(by) do by[k], by[entry] = nil, true end
    all.variants[i] = {
      name = run.name,
      config = spec_module.tree(run.values, function(entry)
        return by[entry] or spec.by[entry.name] ~= entry -- options of parts: all
      end),
    }
  end
  return require "mlua.json".encode(all) .. "\n"
end

-- -- a template --------------------------------------------------------------------------------

local function wrapped(out, indent, s)
  for _, l in ipairs(text.wrap(s, WIDE - indent - 2)) do
    out[#out + 1] = (" "):rep(indent) .. "# " .. l
  end
end

local function described(p)
  local notes = {}
  notes[1] = p.kind.name
  if p.unit then notes[#notes + 1] = p.unit end
  local range = p:range()
  if range then notes[#notes + 1] = range end
  if p.required then notes[#notes + 1] = "required" end
  local doc = p.doc and p.doc .. " " or ""
  return doc .. "(" .. table.concat(notes, "; ") .. ")"
end

-- Whether a key of a part has to be given.
local function needs_more(p)
  for _, entry in ipairs(p.kind.component == "one" and p.default
    and p.default.component.spec.list or {}) do
    if entry.param.required or needs_more(entry.param) then return true end
  end
  return false
end

local function template(out, spec, indent, wanted)
  local group, open = nil, {}
  for _, entry in ipairs(spec.list) do
    local p = entry.param
    if not p.hidden and (not wanted or wanted(entry)) then
      if entry.group and entry.group ~= group then
        group = entry.group
        out[#out + 1] = ""
        wrapped(out, indent, "-- " .. group .. " --")
      end
      local depth, parts = indent, {}
      for each in entry.name:gmatch "[^.]+" do parts[#parts + 1] = each end
      for i = 1, #parts - 1 do
        local head = table.concat(parts, ".", 1, i)
        if not open[head] then
          open[head] = true
          local needed = false -- a key below that has to be given
          for _, each in ipairs(spec.list) do
            needed = needed or (each.param.required or needs_more(each.param))
              and each.name:sub(1, #head + 1) == head .. "."
          end
          out[#out + 1] = (needed and "" or "#") .. (" "):rep(depth) .. parts[i] .. ":"
        end
        depth = depth + 2
      end
      wrapped(out, depth, described(p))
      local default, mark = p.default, (p.required or needs_more(p)) and "" or "#"
      local head = mark .. (" "):rep(depth) .. parts[#parts] .. ":"
      if p.kind.component == "one" and default and #default.component.spec.list > 0 then
        out[#out + 1] = head
        out[#out + 1] = mark .. (" "):rep(depth + 2) .. "type: " .. default.name
        template(out, gathered(default.component.spec), depth + 2)
      else
        out[#out + 1] = head .. (default ~= nil and " " .. part.flow(p, default) or "")
      end
    end
  end
end

--- A file of all keys with their defaults, described; each has a # before it but those required.
-- @tparam Spec spec
-- @tparam ?string recipe    its path, for the key of that name
-- @tparam ?function wanted  as of M.values
-- @treturn string
function M.template(spec, recipe, wanted)
  local out = {}
  if spec.doc then wrapped(out, 0, spec.doc) end
  if recipe then out[#out + 1] = "recipe: " .. recipe end
  template(out, gathered(spec), 0, wanted)
  return table.concat(out, "\n") .. "\n"
end

return M
