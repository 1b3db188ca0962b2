--- The parameters of a task: its own, and all of those that what it requires has.
--
-- Equal names of equal types are one parameter, whose default is that of whoever is nearest; of
-- unequal types they are refused, with both places. What is pinned is not inherited.
-- @module mlua.task.params
local fail = require "mlua.fail"

local M = {}

-- What makes two parameters of one name the same: their kind, and for choices what may be chosen.
local function same_type(a, b)
  if a.kind ~= b.kind then return false end
  if not a.choices then return true end
  return table.concat(a.choices, "\0") == table.concat(b.choices, "\0")
end

local function described(entry)
  local kind = entry.param.kind.name
  if entry.param.choices then kind = kind .. " of " .. table.concat(entry.param.choices, ", ") end
  return ("%s (%s, %s)"):format(entry.owner.name, kind, entry.owner.place)
end

local function add(all, entry, class)
  local before = all.by[entry.name]
  if not before then
    all.list[#all.list + 1] = entry
    all.by[entry.name] = entry
  elseif before.param ~= entry.param then
    if not same_type(before.param, entry.param) then
      fail.usage("%s: task %s: parameter '%s' has two types, in %s and in %s; pin one with "
        .. "T:with { … } or tell them apart with T:apart \"name\"", class.place, class.name,
        entry.name, described(before), described(entry))
    end
    before.also = before.also or {}
    before.also[#before.also + 1] = entry.param -- whose bounds hold, too
  end
end

--- The merged parameters of a task.
-- @tparam Task class
-- @treturn table  list, in the order of their definition, of { name, param, owner (a task), own };
--   by: name → the same
function M.merge(class)
  local all = { list = {}, by = {} }
  for name, p in pairs(class.own) do
    add(all, { name = name, param = p, owner = class, own = true }, class)
  end
  local function inherit(from, pins, under)
    for _, entry in ipairs(from:parameters().list) do
      if pins[entry.name] == nil then
        add(all, { name = under and under .. "." .. entry.name or entry.name, param = entry.param,
                   owner = entry.owner, also = entry.also }, class)
      end
    end
  end
  for _, edge in ipairs(class.edges) do inherit(edge.task, edge.pins, edge.under) end
  for _, other in ipairs(class.inherits) do inherit(other, {}) end
  table.sort(all.list, function(a, b)
    if a.param.order ~= b.param.order then return a.param.order < b.param.order end
    return a.name < b.name
  end)
  return all
end

--- A value checked by all declarations of its name.
-- @tparam table entry
-- @param value
-- @return the value, or nil and a message
function M.check(entry, value)
  local checked, why = entry.param:check(value)
  for _, p in ipairs(checked ~= nil and entry.also or {}) do
    if checked ~= nil then checked, why = p:check(checked) end
  end
  return checked, why
end

return M
