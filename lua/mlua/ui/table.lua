--- A table of text: columns aligned, widths by what is in them.
-- @module mlua.ui.table
local check = require "mlua.check"
local text = require "mlua.text"

local M = {}

local function pad(s, width, right)
  local space = (" "):rep(width - text.width(s))
  return right and space .. s or s .. space
end

--- Render rows of cells.
--
--     print(ui_table.render { head = { "", "test", "planted" }, rows = { { "AUC", 0.81, 0.83 } } })
--
-- @tparam table t  fields: rows, lists of cells (strings, numbers as given by `number`, nil for
--   none); head, a list of cells; align, one letter per column, "l" or "r" (default: the first
--   left, the others right); number, a format for numbers (default "%.4f"); gap, spaces between
-- @treturn string  without a newline at its end
function M.render(t)
  check.options(t, { rows = "table", head = "table", align = "string", number = "string",
    gap = "number" }, 1, "table.render")
  local number, gap = t.number or "%.4f", (" "):rep(t.gap or 3)
  local grid, widths = {}, {}
  local columns = t.head and #t.head or 0
  for _, row in ipairs(t.rows) do
    for c in pairs(row) do columns = math.max(columns, c) end
  end
  local function add(row)
    local cells = {}
    for c = 1, columns do
      local value = row[c]
      local cell = value == nil and "" or type(value) == "number" and number:format(value)
        or tostring(value)
      cells[c] = cell
      widths[c] = math.max(widths[c] or 0, text.width(cell))
    end
    grid[#grid + 1] = cells
  end
  if t.head then add(t.head) end
  for _, row in ipairs(t.rows) do add(row) end
  local align = t.align or "l" .. ("r"):rep(columns - 1)
  local lines = {}
  for i, cells in ipairs(grid) do
    for c = 1, columns do
      cells[c] = pad(cells[c], widths[c], align:sub(c, c) == "r")
    end
    lines[i] = table.concat(cells, gap):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

return M
