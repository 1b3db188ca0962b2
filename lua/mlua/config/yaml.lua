--- YAML as a tree of nodes that know their lines, without a guess at types.
--
-- A scalar stays the text that it is: `no` is not false, `1e3` no number and 2026-11-21 no date
-- until a parameter reads it so. Of YAML's means, those that could build anything else are refused:
-- tags, several documents, keys that are no text; and what would hide a mistake: a key twice, an
-- alias within its own anchor. libyaml parses (mlua.ffi.yaml).
--
-- A node: { kind = "map", "list", "scalar" or "null", line }, with `keys`, a list of { name, node,
-- line }, and `by`, name → node; `items`, a list of nodes; or `text` and `quoted`.
-- @module mlua.config.yaml
local M = {}

local DEEPEST = 64 -- levels
local MOST = 1e5 -- nodes, aliases counted each time

local Reader = {}
Reader.__index = Reader

-- A mistake that ends the reading; others are noted, and reading goes on.
local function stop(line, message, ...) error({ line = line, message = message:format(...) }, 0) end

function Reader:note(line, message, ...)
  self.mistakes[#self.mistakes + 1] = { line = line, message = message:format(...) }
end

-- The next event's kind; libyaml's own mistakes end the reading.
function Reader:event()
  local kind, line, what = self.parser:next()
  if kind then return kind end
  local hint = ""
  if what:find "cannot start any token" then
    hint = " (a tab, or one of @ ` %)"
  elseif what:find "^mapping values are not allowed" then
    hint = " (a space is missing behind a colon, here or in the line before, or quotes around one)"
  elseif what:find "expected ',' or" and self.parser:text_of(line):find("${", 1, true) then
    hint = " (within {} and [], ${…} stands in quotes)"
  end
  stop(line, "%s%s", what, hint)
end

-- Counts a node and, of an alias, all below it.
function Reader:count(size, line)
  self.nodes = self.nodes + size
  if self.nodes > MOST then stop(line, "more than %d values, aliases counted each time", MOST) end
end

function Reader:scalar()
  local text, quoted = self.parser.text, self.parser.quoted
  local null = not quoted and (text == "" or text == "~" or text:lower() == "null")
  return { kind = null and "null" or "scalar", text = text, quoted = quoted }
end

function Reader:list()
  local node = { kind = "list", items = {}, size = 1 }
  while true do
    local event = self:event()
    if event == "list end" then return node end
    local item = self:node(event)
    node.items[#node.items + 1] = item
    node.size = node.size + (item.size or 1)
  end
end

function Reader:map()
  local node = { kind = "map", keys = {}, by = {}, size = 1 }
  while true do
    local event = self:event()
    if event == "map end" then return node end
    local line = self.parser.line
    local key = self:node(event)
    local value = self:node(self:event())
    node.size = node.size + (value.size or 1)
    local name = key.text
    if key.kind ~= "scalar" then
      self:note(line, "a key has to be a word")
    elseif name == "<<" then
      self:note(line, "<< (merge) is not taken: name the values")
    elseif node.by[name] then
      self:note(line, "%s: twice, first in line %d", name, node.by[name].line)
    else
      node.by[name] = { line = line, node = value }
      node.keys[#node.keys + 1] = { name = name, node = value, line = line }
    end
  end
end

-- The node that an event begins.
function Reader:node(event)
  local parser = self.parser
  local line, anchor = parser.line, parser.anchor
  if event == "alias" then
    local node = self.anchors[anchor]
    if node == false then stop(line, "*%s: an alias within its own anchor", anchor) end
    if not node then stop(line, "*%s: no such anchor", anchor) end
    self:count(node.size or 1, line)
    return node
  end
  if parser.tag then self:note(line, "tags (%s) are not taken", parser.tag) end
  self.depth = self.depth + 1
  if self.depth > DEEPEST then stop(line, "more than %d levels", DEEPEST) end
  if anchor then self.anchors[anchor] = false end
  local node = self[event](self)
  node.line = line
  if anchor then self.anchors[anchor] = node end
  self.depth = self.depth - 1
  self:count(1, line)
  return node
end

local function document(self)
  local root
  while true do
    local event = self:event()
    if event == "end" then return root end
    if event == "document" and root then
      stop(self.parser.line, "a second document; one file holds one")
    elseif event ~= "document" then
      root = self:node(event)
    end
  end
end

--- Read a text.
-- @tparam string text
-- @treturn ?table  its node, a map; nil where there are mistakes
-- @treturn {table,...}  or else all mistakes that could be found: { line, message }
function M.read(text)
  local parser, missing = require "mlua.ffi.yaml".parser(text)
  if not parser then return nil, { { line = 1, message = missing } } end
  local self = setmetatable({ parser = parser, mistakes = {}, anchors = {}, depth = 0, nodes = 0 },
    Reader)
  local ok, root = pcall(document, self)
  if not ok then
    if type(root) ~= "table" then error(root, 0) end
    self.mistakes[#self.mistakes + 1] = root
  elseif root and root.kind ~= "map" and root.kind ~= "null" then
    self:note(root.line, "expected names with values, as `lr: 0.1`")
  end
  if self.mistakes[1] then return nil, self.mistakes end
  if not root or root.kind == "null" then root = { kind = "map", keys = {}, by = {}, line = 1 } end
  return root
end

return M
