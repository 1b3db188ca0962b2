--- References between values of files: macros, which stand for a whole value, and ${name} within
-- texts, the value of another key wherever that was given. What refers to others waits in the
-- reading's `deferred` until all has been read.
-- @module mlua.config.reference
local config = require "mlua.config"
local spec_module = require "mlua.param.spec"
local text = require "mlua.text"

local M = {}

local LONGEST = 1e5 -- bytes of a text with references filled in

-- ${name} and $${, which is ${ itself; filled: its references are found, and what is left is text.
function M.is_template(node)
  return node.kind == "scalar" and not node.filled and node.text:find("${", 1, true) ~= nil
end

-- A node whose ${macro} is replaced by what the macro holds; nil after a mistake.
function M.expanded(self, node, at)
  if node.kind == "list" then
    local items, changed = {}, false
    for i, item in ipairs(node.items) do
      items[i] = M.expanded(self, item, at)
      if not items[i] then return nil end
      changed = changed or items[i] ~= item
    end
    return changed and { kind = "list", items = items, line = node.line } or node
  end
  if not M.is_template(node) then return node end
  local macro = self.macros[node.text:match "^%${([^}]*)}$"]
  if not macro then return node end
  at:spend()
  if macro.open then
    at:mistake(node.line, at.path, node.text .. ": refers to itself")
    return nil
  end
  macro.open = true
  local found = M.expanded(self, macro.node, at)
  macro.open = false
  return found and setmetatable({ line = node.line }, { __index = found })
end

local filled

-- The text that a name in ${…} stands for; nil and a message.
local function text_of(self, name, at)
  at:spend()
  local macro = self.macros[name]
  if macro then
    if macro.node.kind ~= "scalar" then return nil, "is no single value" end
    if macro.open then return nil, "refers to itself" end
    macro.open = true
    local found, why = filled(self, macro.node.text, at)
    macro.open = false
    return found, why
  end
  local values, entry = spec_module.find(self.values, name)
  if not values then
    return nil, "no such key or macro" .. text.did_you_mean(name, text.keys(self.spec.by or {}))
  end
  for _, waiting in ipairs(self.deferred) do
    if waiting.values == values and waiting.entry.name == entry.name then
      if waiting.open then return nil, "refers to itself" end
      M.settle(self, waiting)
    end
  end
  local value = rawget(values, entry.name)
  if value == nil then value = spec_module.before(values, entry) end
  if value == nil then return nil, "has no value" end
  return entry.param:show(value)
end

-- A text with every ${name} filled in; nil and a message.
function filled(self, template, at)
  local problem, length = nil, 0
  local out = template:gsub("%$%${", "\0"):gsub("%${([^}]*)}?", function(name)
    if problem then return "" end
    local found, why = text_of(self, name, at)
    if not found then problem = ("${%s}: %s"):format(name, why) end
    length = length + #(found or "")
    if length > LONGEST then problem = ("${%s}: more than %d bytes"):format(name, LONGEST) end
    return (found or ""):gsub("%${", "\0")
  end)
  if problem then return nil, problem end
  return (out:gsub("%z", "${"))
end

-- Finds a value that waits for others, once.
function M.settle(self, waiting)
  if waiting.done or waiting.open then return end
  waiting.open = true
  local entry, at = waiting.entry, waiting.at
  if spec_module.is_marked(waiting.values, entry.name, waiting.mark) then
    local function fill(node)
      if not M.is_template(node) then return node end
      local whole, problem = filled(self, node.text, at)
      if not whole then
        at:mistake(node.line, at.path, problem)
        return nil
      end
      if whole:find "^%s*[{[]" then return config.node_of(whole) end
      return { kind = "scalar", text = whole, line = node.line, filled = true }
    end
    local node = waiting.node
    local ready = fill(node)
    if node.kind == "list" then
      ready = { kind = "list", items = {}, line = node.line }
      for i, item in ipairs(node.items) do ready.items[i] = ready and fill(item) end
      if #ready.items < #node.items then ready = nil end
    end
    if ready then
      local value, problem = self:value_of(entry, ready, at, rawget(waiting.values, entry.name))
      local ok
      if value ~= nil then ok, problem = waiting.set(entry, value, waiting.from, at.path) end
      if ok then
        spec_module.mark(waiting.values, entry.name, waiting.from, at.path, waiting.mark)
      elseif problem then
        at:mistake(at.line, at.path, problem)
      end
    end
  end
  waiting.open, waiting.done = false, true
end

function M.settle_all(self)
  local i = 1
  while self.deferred[i] do
    M.settle(self, self.deferred[i])
    i = i + 1
  end
end

return M
