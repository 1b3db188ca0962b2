--- YAML as a tree of nodes that know their lines, without a guess at types.
--
-- A scalar stays the text that it is: `no` is not false, `1e3` no number and 2026-11-21 no date
-- until a parameter reads it so. Of YAML's means, those that could build anything else are refused:
-- tags, several documents, keys that are no text; and what would hide a mistake: a key twice, an
-- alias within its own anchor. libyaml parses (Debian's lua-yaml).
--
-- A node: { kind = "map", "list", "scalar" or "null", line }, with `keys`, a list of { name, node,
-- line }, and `by`, name → node; `items`, a list of nodes; or `text` and `quoted`.
-- @module mlua.config.yaml
local M = {}

local DEEPEST = 64 -- levels
local MOST = 1e5 -- nodes, aliases counted each time

local function library()
  local ok, yaml = pcall(require, "yaml")
  if ok then return yaml end
  return nil, "reading YAML needs lua-yaml (apt-get install lua-yaml)"
end

local Reader = {}
Reader.__index = Reader

-- A mistake that ends the reading; others are noted, and reading goes on.
local function stop(line, message, ...) error({ line = line, message = message:format(...) }, 0) end

function Reader:note(line, message, ...)
  self.mistakes[#self.mistakes + 1] = { line = line, message = message:format(...) }
end

-- The first line that has what no text may have.
local function odd_line(text)
  local at = 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    at = at + 1
    if line:find "[%z\1-\8\11-\31\127]" or not require "mlua.text".is_utf8(line) then return at end
  end
  return 1
end

-- libyaml's "did not find … at document: 1, line: 2, column: 1\nwhile … at line: 1, column: 4":
-- lines from 1, columns from 0.
local function described(problem, text)
  local what, line = tostring(problem):match "^(.-) at document: %d+, line: (%d+)"
  if not what then what, line = tostring(problem):match "^(.-) at line: (%d+)" end
  if not what then
    return odd_line(text), (tostring(problem):match "^[^\n]*":gsub(" at document: %d+$", ""))
  end
  if what:find "cannot start any token" then what = what .. " (a tab, or one of @ ` %)" end
  return tonumber(line), what
end

function Reader:event() return self.next() end -- raises libyaml's mistakes, which M.read tells

local function line_of(event) return event.start_mark.line + 1 end

-- Counts a node and, of an alias, all below it.
function Reader:count(size, line)
  self.nodes = self.nodes + size
  if self.nodes > MOST then stop(line, "more than %d values, aliases counted each time", MOST) end
end

function Reader:scalar(event)
  local quoted = event.style ~= "PLAIN"
  local text = event.value
  local null = not quoted and (text == "" or text == "~" or text:lower() == "null")
  return { kind = null and "null" or "scalar", text = text, quoted = quoted }
end

function Reader:list()
  local node = { kind = "list", items = {}, size = 1 }
  while true do
    local event = self:event()
    if event.type == "SEQUENCE_END" then return node end
    local item = self:node(event)
    node.items[#node.items + 1] = item
    node.size = node.size + (item.size or 1)
  end
end

function Reader:map()
  local node = { kind = "map", keys = {}, by = {}, size = 1 }
  while true do
    local event = self:event()
    if event.type == "MAPPING_END" then return node end
    local line = line_of(event)
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

local BEGIN = { SCALAR = "scalar", SEQUENCE_START = "list", MAPPING_START = "map" }

-- The node that an event begins.
function Reader:node(event)
  local line = line_of(event)
  if event.type == "ALIAS" then
    local node = self.anchors[event.anchor]
    if node == false then stop(line, "*%s: an alias within its own anchor", event.anchor) end
    if not node then stop(line, "*%s: no such anchor", event.anchor) end
    self:count(node.size or 1, line)
    return node
  end
  if event.tag then self:note(line, "tags (%s) are not taken", event.tag) end
  self.depth = self.depth + 1
  if self.depth > DEEPEST then stop(line, "more than %d levels", DEEPEST) end
  if event.anchor then self.anchors[event.anchor] = false end
  local node = self[BEGIN[event.type]](self, event)
  node.line = line
  if event.anchor then self.anchors[event.anchor] = node end
  self.depth = self.depth - 1
  self:count(1, line)
  return node
end

local function document(self)
  local root
  while true do
    local event = self:event()
    if not event or event.type == "STREAM_END" then return root end
    if BEGIN[event.type] or event.type == "ALIAS" then root = self:node(event)
    elseif event.type == "DOCUMENT_START" and root then
      stop(line_of(event), "a second document; one file holds one")
    end
  end
end

--- Read a text.
-- @tparam string text
-- @treturn ?table  its node, a map; nil where there are mistakes
-- @treturn {table,...}  or else all mistakes that could be found: { line, message }
function M.read(text)
  local yaml, missing = library()
  if not yaml then return nil, { { line = 1, message = missing } } end
  local self = setmetatable({
    text = text, mistakes = {}, anchors = {}, depth = 0, nodes = 0,
  }, Reader)
  local ok, root = pcall(function()
    self.next = yaml.parser(text)
    return document(self)
  end)
  if not ok then
    if type(root) ~= "table" then
      local line, what = described(root, text)
      root = { line = line, message = what }
    end
    self.mistakes[#self.mistakes + 1] = root
  elseif root and root.kind ~= "map" and root.kind ~= "null" then
    self:note(root.line, "expected names with values, as `lr: 0.1`")
  end
  if self.mistakes[1] then return nil, self.mistakes end
  if not root or root.kind == "null" then root = { kind = "map", keys = {}, by = {}, line = 1 } end
  return root
end

return M
