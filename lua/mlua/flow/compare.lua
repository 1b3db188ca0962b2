--- Many nodes: grids of parameters, and their results side by side.
-- @module mlua.flow.compare
local check = require "mlua.check"
local json = require "mlua.json"

local M = {}

--- All combinations of values, the last name fastest.
-- @tparam Flow|Task what
-- @tparam table grid    name → list of values, or a list of { name, values }
-- @tparam ?table fixed
-- @treturn {Node,...}
function M.grid(what, grid, fixed)
  check.type(grid, 2, "grid", "grid", "table")
  local axes = {}
  if #grid > 0 then
    axes = grid
  else
    for name, values in pairs(grid) do axes[#axes + 1] = { name, values } end
    table.sort(axes, function(a, b) return a[1] < b[1] end)
  end
  local nodes = {}
  local function fill(i, given)
    if i > #axes then
      local copy = {}
      for name, value in pairs(given) do copy[name] = value end
      nodes[#nodes + 1] = what(copy)
      return
    end
    local name, values = axes[i][1], axes[i][2]
    check.arg_at(require "mlua.task.trace".level() or 1, type(values) == "table" and #values > 0,
      2, "grid", "%s: expected a list of values", tostring(name))
    for _, value in ipairs(values) do
      given[name] = value
      fill(i + 1, given)
    end
    given[name] = fixed and fixed[name] or nil
  end
  local given = {}
  for name, value in pairs(fixed or {}) do given[name] = value end
  fill(1, given)
  return nodes
end

-- Numbers in a value, by path: { auc = 0.8 } and 0.8 alone.
local function numbers(value, prefix, into)
  if type(value) == "number" then
    into[prefix == "" and "value" or prefix] = value
  elseif type(value) == "table" and getmetatable(value) == nil then
    for key, inner in pairs(value) do
      if type(key) == "string" then
        numbers(inner, prefix == "" and key or prefix .. "." .. key, into)
      end
    end
  end
  return into
end

local Comparison = {}
Comparison.__index = Comparison

-- The names of parameters that differ among the nodes.
local function varied(nodes)
  local value_text = require "mlua.task.node".value_text
  local names = {}
  for _, entry in ipairs(nodes[1]._task:parameters().list) do
    for _, node in ipairs(nodes) do
      if value_text(node._values[entry.name]) ~= value_text(nodes[1]._values[entry.name]) then
        names[#names + 1] = entry.name
        break
      end
    end
  end
  return names
end

--- See mlua.flow.compare.
-- @tparam {Node,...} nodes
-- @tparam ?string output     what is compared; else all outputs that hold numbers
-- @tparam ?{string,...} variants  the name of each, where configuration files name them
-- @treturn Comparison
function M.compare(nodes, output, variants)
  local parameters, columns, seen, rows = varied(nodes), {}, {}, {}
  local outputs = require "mlua.flow".outputs
  local names, lists = output and { output } or {}, {}
  for i, declared in ipairs(output and {} or nodes[1]._task.outputs) do
    if declared[2] ~= "memory" then names[i] = declared[1] end
  end
  for _, name in pairs(names) do lists[#lists + 1] = outputs(nodes, name) end
  for i, node in ipairs(nodes) do
    local found = {}
    for _, values in ipairs(lists) do
      if next(found) == nil then found = numbers(values[i], "", {}) end
    end
    for name in pairs(found) do
      if not seen[name] then
        seen[name] = true
        columns[#columns + 1] = name
      end
    end
    rows[i] = { node = node, values = found }
  end
  table.sort(columns)
  return setmetatable({
    parameters = parameters, columns = columns, rows = rows, variants = variants,
  }, Comparison)
end

-- The table's head and rows; exact: parameters that are numbers as such.
local function cells(self, exact)
  local head, body = { self.variants and "variant" }, {}
  local first = #head
  for _, name in ipairs(self.parameters) do head[#head + 1] = name end
  for _, name in ipairs(self.columns) do head[#head + 1] = name end
  for i, row in ipairs(self.rows) do
    local line = { self.variants and self.variants[i] }
    for c, name in ipairs(self.parameters) do
      local value = row.node._values[name]
      line[first + c] = value == nil and ""
        or exact and type(value) == "number" and value
        or row.node._task:parameters().by[name].param:show(value)
    end
    for c, name in ipairs(self.columns) do
      line[first + #self.parameters + c] = row.values[name]
    end
    body[i] = line
  end
  return head, body
end

--- The table for a terminal.
function Comparison:__tostring()
  local head, body = cells(self)
  return require "mlua.ui.table".render { head = head, rows = body, number = "%.5g",
    align = ("r"):rep(#head) }
end

--- The table as CSV, with a head.
-- @treturn string
function Comparison:csv()
  local line = require "mlua.format.rows".line
  local head, body = cells(self, true)
  local lines = { line(head, ",") }
  for i, row in ipairs(body) do
    for c = 1, #head do row[c] = row[c] == nil and "" or row[c] end
    lines[i + 1] = line(row, ",")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The table as JSON: a list of { params, values, variant }.
-- @treturn string
function Comparison:json()
  local list = {}
  for i, row in ipairs(self.rows) do
    local given = {}
    for _, name in ipairs(self.parameters) do given[name] = row.node._values[name] end
    list[i] = { params = given, values = row.values, variant = self.variants and self.variants[i] }
  end
  return json.encode(list)
end

return M
