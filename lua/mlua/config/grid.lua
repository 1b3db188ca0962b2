--- Several runs of one configuration: all combinations of `grid`, for each of `variants`.
-- @module mlua.config.grid
local config = require "mlua.config"
local spec_module = require "mlua.param.spec"

local M = {}

local MOST = 1e4 -- runs

-- The values that an axis of a file takes; nil after a mistake.
local function axis_of(reading, key, file)
  local at = reading:place(file, "grid." .. key.name, key.line, key.name)
  local holder, entry = spec_module.find(reading.values, key.name)
  if not holder then
    at:mistake(key.line, at.path, entry ~= "none" and entry or "unknown key"
      .. require "mlua.text".did_you_mean(key.name, require "mlua.text".keys(reading.spec.by)))
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
  return { name = key.name, list = list }
end

-- One value set in a copy of its own.
local function with(run, name, item)
  local copy = spec_module.clone(run.values)
  local holder, entry, part = spec_module.find(copy, name)
  if not holder then
    require "mlua.fail".usage("grid: %s%s", run.name and run.name .. ": " or "", entry)
  end
  assert(spec_module.set(holder, entry.name, item.value, item.from))
  if part then spec_module.mark(copy, part, item.from) end
  local word = ("%s=%s"):format(name, entry.param:show(item.value))
  return { values = copy, name = run.name and run.name .. " " .. word or word }
end

-- The base of all combinations: each variant, or the values themselves.
local function bases(reading)
  local list = {}
  for _, section in ipairs(reading.variants) do
    for _, key in ipairs(section.node.keys) do
      local copy = spec_module.clone(reading.values)
      local path = "variants." .. key.name
      for _, inner in ipairs(key.node.keys or {}) do
        if reading.spec.of_program[inner.name:gsub("-", "_")] then
          reading:place(section.file, path .. "." .. inner.name, inner.line):mistake(inner.line,
            path .. "." .. inner.name, "an option of the program, not of a run")
        end
      end
      if key.node.kind == "map" then
        reading:guarded(reading.walk, reading.spec, copy, key.node,
          { head = path .. ".", use = "", file = section.file })
      elseif key.node.kind ~= "null" then
        reading:place(section.file, path, key.line):mistake(key.line, path, "expected a section")
      end
      list[#list + 1] = { values = copy, name = key.name }
    end
  end
  return list[1] and list or { { values = reading.values } }
end

--- All runs that files and a command line ask for.
-- @tparam Reading reading
-- @tparam ?table axes  of the command line: { { name, list of { value, from } }, … }
-- @treturn ?table      list of { values, name }; nil where there is but one
-- @raise a usage error that tells all mistakes
function M.runs(reading, axes)
  local all = {}
  for _, section in ipairs(reading.grid) do
    for _, key in ipairs(section.node.keys) do
      local axis = axis_of(reading, key, section.file)
      for i = #all, 1, -1 do -- a later file's
        if axis and all[i].name == axis.name then table.remove(all, i) end
      end
      all[#all + 1] = axis
    end
  end
  for _, axis in ipairs(axes or {}) do all[#all + 1] = axis end
  for i, axis in ipairs(all) do axis.at = select(2, axis.name:gsub("%.", "")) * #all + i end
  table.sort(all, function(a, b) return a.at < b.at end) -- parts before their options
  local runs = bases(reading)
  local fail = require "mlua.fail"
  if #runs > MOST then fail.usage("variants: more than %d runs", MOST) end
  if reading.mistakes[1] then fail.usage("%s", table.concat(reading.mistakes, "\n")) end
  for _, axis in ipairs(all) do
    local more = {}
    if #runs * #axis.list > MOST then
      fail.usage("grid: more than %d runs", MOST)
    end
    for _, run in ipairs(runs) do
      for _, item in ipairs(axis.list) do more[#more + 1] = with(run, axis.name, item) end
    end
    runs = more
  end
  if #runs == 1 and not runs[1].name then return nil end
  for _, run in ipairs(runs) do reading:settle_in(run.values) end
  if reading.mistakes[1] then fail.usage("%s", table.concat(reading.mistakes, "\n")) end
  return runs
end

return M
