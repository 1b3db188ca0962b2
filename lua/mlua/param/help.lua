--- The text of the option help: options grouped and aligned, wrapped to the terminal.
-- @module mlua.param.help
local text = require "mlua.text"

local M = {}

-- "dot|cat": a choice short enough to stand for itself.
local function listed(p)
  if p.kind.name == "choice" then
    local all = table.concat(p.choices, "|")
    return #all <= 16 and all or nil
  end
end

local function left_column(entry)
  local p = entry.param
  local name = "--" .. entry.name:gsub("_", "-")
  local left = (p.short and "-" .. p.short .. ", " or "") .. name
  if p.kind.name == "bool" then
    return p.default and left:gsub("%-%-", "--[no-]", 1) or left
  end
  return left .. " " .. (p.meta or listed(p) or p.kind.meta or p.kind.name:upper())
end

-- "what it is (unit; range; default)"
local function right_column(entry)
  local p = entry.param
  local notes = {}
  if p.unit then notes[#notes + 1] = p.unit end
  local range = p:range()
  if range and not listed(p) then notes[#notes + 1] = range end
  if p.required then
    notes[#notes + 1] = "required"
  elseif p.kind.name ~= "bool" and p.default ~= nil then
    local default = p:show(p.default)
    notes[#notes + 1] = "default " .. (default == "" and "none" or default)
  end
  local right = p.doc or ""
  if entry.aliases[1] then
    notes[#notes + 1] = "also --" .. table.concat(entry.aliases, ", --")
  end
  if notes[1] then
    right = right .. (right ~= "" and " " or "") .. "(" .. table.concat(notes, "; ") .. ")"
  end
  return right
end

local function terminal_width()
  local ok, tty = pcall(require, "mlua.ffi.tty")
  return ok and tty.width() or 100
end

-- An option with a number as its default, for examples; nil where there is none.
local function example_of(spec)
  for _, kind in ipairs { "number", "int" } do
    for _, entry in ipairs(spec.list) do
      local p = entry.param
      if p.kind.name == kind and p.default ~= nil and not p.hidden and not spec.of_line[entry.name]
      then
        return entry
      end
    end
  end
end

--- The whole text.
-- @tparam Spec spec
-- @tparam ?number width
-- @treturn string
function M.render(spec, width)
  width = math.max(40, math.min(width or terminal_width(), 120))
  local out = {}
  local function line(s) out[#out + 1] = s end
  local arguments = spec.arguments and " " .. table.concat(spec.arguments, " ") or ""
  line(("usage: %s [options]%s"):format(spec.name or "mlua script.lua", arguments))
  if spec.doc then
    line("")
    for _, l in ipairs(text.wrap(spec.doc, width)) do line(l) end
  end

  local groups, order, column = {}, {}, 0
  for _, entry in ipairs(spec.list) do
    if not entry.param.hidden then
      local title = entry.group or "Options"
      if not groups[title] then
        groups[title] = {}
        order[#order + 1] = title
      end
      local left = left_column(entry)
      table.insert(groups[title], { left, right_column(entry) })
      if text.width(left) <= 28 then column = math.max(column, text.width(left)) end
    end
  end
  order[#order + 1] = "Help"
  groups.Help = { { "-h, --help", "print this and end" } }
  if spec:takes_files() then
    local example, set, variable = example_of(spec), "", ""
    if example then
      local name, p = example.name, example.param
      set = (": --set %s=%s"):format(name, p:show(p.default))
      variable = (" (%s for --%s)"):format(require "mlua.param.cli".variable(name),
        (name:gsub("_", "-")))
    end
    table.insert(groups.Help, 1, { "--set NAME=VALUE", "an option by its name" .. set })
    table.insert(groups.Help, 1, { "--config FILE", "values from a file in YAML (several: the "
      .. "later wins); over them, variables" .. variable .. ", then options" })
  end
  column = math.max(column, 10) + 4

  for _, title in ipairs(order) do
    line("")
    line(title .. ":")
    for _, row in ipairs(groups[title]) do
      local left = "  " .. row[1]
      local lines = text.wrap(row[2], width - column)
      if text.width(left) + 2 > column then
        line(left)
        left = ""
      end
      for i, l in ipairs(lines) do
        local head = i == 1 and left or ""
        if l ~= "" then
          line(head .. (" "):rep(column - text.width(head)) .. l)
        elseif head ~= "" then
          line(head)
        end
      end
    end
  end
  for _, note in ipairs(spec.notes or {}) do
    line("")
    for _, l in ipairs(text.wrap(note, width)) do line(l) end
  end
  return table.concat(out, "\n") .. "\n"
end

return M
