--- Several runs of one configuration: all combinations of `grid`, for each of `variants`.
-- @module mlua.config.grid
local alias = require "mlua.param.alias"
local config = require "mlua.config"
local fail = require "mlua.fail"
local spec_module = require "mlua.param.spec"
local text = require "mlua.text"

local M = {}

local MOST = 1e4 -- runs

-- The values that an axis of a file takes; nil after a mistake.
local function axis_of(reading, key, file)
  local at = reading:place(file, "grid." .. key.name, key.line, key.name)
  local holder, entry, part = spec_module.find(reading.values, key.name, true)
  if not holder then
    at:mistake(key.line, at.path, entry ~= "none" and entry or "unknown key"
      .. text.did_you_mean(key.name, text.keys(reading.spec.by)))
    return nil
  end
  if reading.spec.of_program[entry.name] then
    at:mistake(key.line, at.path, "an option of the program, not of a run")
    return nil
  elseif entry.convert then
    at:mistake(key.line, at.path, "a spelling of another program; expected '" .. entry.name .. "'")
    return nil
  end
  local node = key.node
  if node.kind == "scalar" then node = config.node_of(node.text, true) end
  if node.kind ~= "list" or not node.items[1] then
    at:mistake(key.line, at.path, "expected a list of values")
    return nil
  end
  local list = {}
  for i, item in ipairs(node.items) do
    local place = reading:place(file, at.path, item.line or key.line, key.name)
    local waiting = #reading.deferred
    local value, problem, later = reading:value_of(entry, item, place,
      rawget(holder, entry.name))
    if later or #reading.deferred > waiting then
      value, problem = nil, "expected values, got a reference"
    end
    if value == nil and problem then place:mistake(nil, at.path, problem) end
    list[i] = { value = value, from = ("%s:%d"):format(file, item.line or key.line) }
  end
  return { name = part and key.name or entry.name, list = list }
end

-- One value set in a copy of its own.
local function with(run, name, item)
  local copy = spec_module.clone(run.values)
  local holder, entry, part = spec_module.find(copy, name, true)
  if not holder then
    fail.usage("grid: %s%s", run.name and run.name .. ": " or "", entry)
  end
  assert(spec_module.set(holder, entry.name, item.value, item.from))
  if part then spec_module.mark(copy, part, item.from) end
  local word = ("%s=%s"):format(name, entry.param:show(item.value))
  return {
    values = copy, name = run.name and run.name .. " " .. word or word, variant = run.variant,
  }
end

-- The command line comes after variants, too.
local function say_again(reading, copy, name)
  for _, said in ipairs(reading.said or {}) do
    local path, value, written = unpack(said)
    local holder, entry, part = spec_module.find(copy, path, true)
    if not holder then return ("variants.%s: %s: %s"):format(name, written, entry) end
    if type(value) == "table" then value = entry.param:check(value) end
    spec_module.put(holder, entry.name, value, "command line", written)
    if part then spec_module.mark(copy, part, "command line", written) end
  end
end

-- Sets what a variant says in its copy.
local function fill(reading, copy, key, file)
  local path = "variants." .. key.name
  if key.node.kind == "map" then
    local mistakes = #reading.mistakes
    for _, inner in ipairs(key.node.keys) do
      if reading.spec.of_program[inner.name:gsub("-", "_")] then
        reading:place(file, path .. "." .. inner.name, inner.line):mistake(nil,
          path .. "." .. inner.name, "an option of the program, not of a run")
      end
    end
    local implied = {}
    reading:guarded(reading.walk, reading.spec, copy, key.node,
      { head = path .. ".", use = "", file = file, implied = implied })
    local problem = alias.apply(copy, implied, function(name)
      return spec_module.is_inherited(copy, reading.values, name)
    end)
    problem = problem or say_again(reading, copy, key.name)
    if problem and #reading.mistakes == mistakes then
      reading:place(file, path, key.line):mistake(nil, "", problem)
    end
  elseif key.node.kind ~= "null" then
    reading:place(file, path, key.line):mistake(nil, path, "expected a section")
  end
end

-- The base of all combinations: each variant, or the values themselves. One of the same name in a
-- later file adds to it.
local function bases(reading)
  local list, by = {}, {}
  for _, section in ipairs(reading.variants) do
    for _, key in ipairs(section.node.keys) do
      local run = by[key.name]
      if not run then
        if #list == MOST then
          reading:place(section.file, "variants", key.line):mistake(nil, "variants",
            ("more than %d runs"):format(MOST))
          return list
        end
        run = {
          values = spec_module.clone(reading.values), name = key.name, variant = key.name,
        }
        list[#list + 1], by[key.name] = run, run
      end
      fill(reading, run.values, key, section.file)
    end
  end
  for _, run in ipairs(list) do reading:settle_in(run.values) end
  return list[1] and list or { { values = reading.values } }
end

-- The axes of files; a later file's counts, and what the command line says instead.
local function axes_of(reading)
  local all, said = {}, {}
  for _, each in ipairs(reading.said or {}) do said[each[1]] = true end
  for _, section in ipairs(reading.grid) do
    for _, key in ipairs(section.node.keys) do
      local axis = axis_of(reading, key, section.file)
      if axis and said[axis.name] then axis = nil end
      for i = #all, 1, -1 do
        if axis and all[i].name == axis.name then table.remove(all, i) end
      end
      all[#all + 1] = axis
    end
  end
  return all
end

--- Read what files say of grids and variants, whose mistakes are noted with the others.
-- @tparam Reading reading
function M.prepare(reading)
  reading.prepared = { axes = axes_of(reading), bases = bases(reading) }
end

-- -- of a command line -------------------------------------------------------------------------

--- The arguments without `--grid NAME=VALUES`, which may come several times; and what those say.
-- @tparam {string,...} args
-- @treturn {string,...}
-- @treturn {string,...}
-- @raise a usage error
function M.take(args)
  local rest, grids, i = {}, {}, 1
  while i <= #args do
    local word = args[i]
    local given = word:match "^%-%-grid=(.*)$"
    if word == "--grid" then
      given, i = args[i + 1], i + 1
      if not given then fail.usage("--grid: expected NAME=VALUE,VALUE,…, got nothing") end
    end
    if given then grids[#grids + 1] = given else rest[#rest + 1] = word end
    i = i + 1
  end
  return rest, grids
end

-- What stands between semicolons, or else commas, outside of brackets and quotes.
local function pieces(list)
  local plain = list:gsub("'[^']*'", function(s) return ("x"):rep(#s) end)
  for _, pair in ipairs { "%b{}", "%b[]" } do
    plain = plain:gsub(pair, function(s) return ("x"):rep(#s) end)
  end
  local separator = plain:find(";", 1, true) and ";" or ","
  local found, from = {}, 1
  for at in (plain .. separator):gmatch("()" .. separator) do
    found[#found + 1] = list:sub(from, at - 1)
    from = at + 1
  end
  return found
end

local function axis_of_line(spec, values, written, seen)
  local name, list = written:match "^([^=]+)=(.+)$"
  if not name then fail.usage("--grid %s: expected NAME=VALUE,VALUE,…", written) end
  local holder, entry, part = spec_module.find(values, name, true)
  if not holder or spec.of_program[entry.name] and not part then
    fail.usage("--grid %s: no parameter '%s'%s", written, name,
      text.did_you_mean(name, text.keys(spec.by)))
  end
  local full = part and name or entry.name
  if seen[full] then fail.usage("--grid %s: '%s' is there twice", written, full) end
  seen[full] = true
  local items = {}
  for _, value in ipairs(pieces(list)) do
    local checked, why = entry.param:read(value, rawget(holder, entry.name))
    if checked == nil then fail.usage("--grid %s: %s: %s", written, name, why) end
    items[#items + 1] = { value = checked, from = "--grid" }
  end
  return { name = full, list = items }
end

-- Those of the variants that --variant names; all where it names none.
local function chosen(bases_, names)
  if not names[1] then return bases_ end
  local by, list, known = {}, {}, {}
  for i, run in ipairs(bases_) do
    by[run.name or false], known[i] = run, run.name
  end
  for i, name in ipairs(names) do
    list[i] = by[name] or fail.usage("--variant %s: no such variant%s", name,
      text.did_you_mean(name, known))
  end
  return list
end

--- All runs that files and a command line ask for.
-- @tparam Spec spec
-- @tparam Values values
-- @tparam ?Reading reading    of files
-- @tparam ?{string,...} grids  M.take's
-- @treturn {table,...}        { values, name, variant }; the name is nil where there is but one
-- @raise a usage error
function M.runs(spec, values, reading, grids)
  local names = spec.by.variant and values.variant or {}
  if not (grids and grids[1]) and not (reading and reading:has_runs()) and not names[1] then
    return { { values = values } }
  end
  reading = reading or require "mlua.config.reading".new(spec, values)
  if not reading.prepared then M.prepare(reading) end
  local all, seen = {}, {}
  for _, axis in ipairs(reading.prepared.axes) do all[#all + 1] = axis end
  for _, written in ipairs(grids or {}) do
    all[#all + 1] = axis_of_line(spec, values, written, seen)
  end
  for i, axis in ipairs(all) do axis.at = select(2, axis.name:gsub("%.", "")) * #all + i end
  table.sort(all, function(a, b) return a.at < b.at end) -- parts before their options
  local runs = chosen(reading.prepared.bases, names)
  for _, axis in ipairs(all) do
    local more = {}
    if #runs * #axis.list > MOST then fail.usage("grid: more than %d runs", MOST) end
    for _, run in ipairs(runs) do
      for _, item in ipairs(axis.list) do more[#more + 1] = with(run, axis.name, item) end
    end
    runs = more
  end
  for _, run in ipairs(runs[1].name and runs or {}) do
    reading:settle_in(run.values)
    spec_module.settle_scopes(run.values)
  end
  if reading.mistakes[1] then fail.usage("%s", table.concat(reading.mistakes, "\n")) end
  return runs
end

return M
