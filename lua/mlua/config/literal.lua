--- A Lua table as a tree of nodes that know their lines (mlua.config.yaml's), read and not run.
--
-- Taken are tables, strings, numbers, true, false, nil and comments; `return` may stand before the
-- table. Names, calls, operators and all else are refused: this is no program.
-- @module mlua.config.literal
local M = {}

local DEEPEST = 64 -- levels

local Reader = {}
Reader.__index = Reader

local function stop(self, message, ...)
  error({ line = self.line, message = message:format(...) }, 0)
end

-- Moves on behind what the pattern finds here, counting lines; what it caught, or nil.
function Reader:take(pattern)
  local from, to, caught = self.text:find("^" .. pattern, self.at)
  if not from then return nil end
  local _, lines = self.text:sub(from, to):gsub("\n", "")
  self.at, self.line = to + 1, self.line + lines
  return caught or self.text:sub(from, to)
end

-- What is in a long bracket that begins here, [[…]] or [=[…]=]; nil where there is none.
function Reader:long()
  local level = self.text:match("^%[(=*)%[", self.at)
  if not level then return nil end
  local line = self.line
  local inside = self:take("%[" .. level .. "%[\n?(.-)%]" .. level .. "%]")
  if not inside then
    self.line = line
    stop(self, "a long bracket that does not end")
  end
  return inside
end

function Reader:blanks()
  while true do
    self:take "%s+"
    if not self:take "%-%-" then return end
    if not self:long() then self:take "[^\n]*" end
  end
end

local ESCAPES = { a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v",
                  ["\\"] = "\\", ['"'] = '"', ["'"] = "'", ["\n"] = "\n" }

function Reader:string()
  local long = self:long()
  if long then return long end
  local quote = self:take "[\"']"
  if not quote then return nil end
  local parts = {}
  while true do
    local plain = self:take "[^\\\"'\n]+"
    if plain then parts[#parts + 1] = plain
    elseif self:take(quote) then return table.concat(parts)
    elseif self:take "\\" then
      local hex = self:take "x(%x%x)"
      local code = tonumber(hex or self:take "%d%d?%d?", hex and 16 or 10)
      local one = code and code < 256 and string.char(code) or not code and self:take "[^%d]"
      parts[#parts + 1] = one and (code and one or ESCAPES[one])
        or stop(self, "an escape that Lua does not have")
    else
      parts[#parts + 1] = self:take "[\"']" or stop(self, "a string that does not end")
    end
  end
end

local WORDS = { ["true"] = "scalar", ["false"] = "scalar", ["nil"] = "null" }

-- What stands here, in a few letters, for a message.
function Reader:here()
  local word = self.text:match("^[%w_.]+", self.at) or self.text:match("^[%z\1-\127]", self.at)
  return word and not word:find "[%c]" and ("'%s'"):format(word:sub(1, 20)) or "the end, or a sign"
end

function Reader:value()
  self:blanks()
  local line = self.line
  if self:take "{" then
    local node = self:table()
    node.line = line
    return node
  end
  local quoted = self:string()
  if quoted then return { kind = "scalar", text = quoted, quoted = true, line = line } end
  local number = self:take "%-?%s*%.?%d[%w_.]*[+-]?%d*"
  if number then
    number = number:gsub("%s", "")
    if not tonumber(number) or number:find "[xX]" then
      self.line = line
      stop(self, "'%s' is no decimal number", number)
    end
    return { kind = "scalar", text = number, line = line }
  end
  local word = self.text:match("^[%a_][%w_]*", self.at)
  local kind = WORDS[word]
  if not kind then
    stop(self, "expected a table, string, number, true or false, got %s: nothing is run here",
      self:here())
  end
  self:take "[%a_][%w_]*"
  return { kind = kind, text = word, line = line }
end

-- The key that stands here, with its =; nil for none.
function Reader:key()
  local name = self:take "([%a_][%w_]*)%s*=%f[^=]"
  if name then return name end
  if not self.text:find("^%[[^%[=]", self.at) then return nil end
  self:take "%["
  self:blanks()
  name = self:string() or stop(self, "a key has to be a word")
  self:blanks()
  if not self:take "%]%s*=" then stop(self, "expected ] = after a key, got %s", self:here()) end
  return name
end

function Reader:table()
  local node = { keys = {}, by = {}, items = {} }
  self.depth = self.depth + 1
  if self.depth > DEEPEST then stop(self, "more than %d levels", DEEPEST) end
  while true do
    self:blanks()
    if self:take "}" then break end
    local line = self.line
    local name = self:key()
    local value = self:value()
    if not name then node.items[#node.items + 1] = value
    elseif node.by[name] then
      self.line = line
      stop(self, "%s: twice, first in line %d", name, node.by[name].line)
    else
      node.by[name] = { line = line, node = value }
      node.keys[#node.keys + 1] = { name = name, node = value, line = line }
    end
    if node.items[1] and node.keys[1] then stop(self, "a table of names and of a list, both") end
    self:blanks()
    if not self:take "[,;]" and self.text:sub(self.at, self.at) ~= "}" then
      stop(self, "expected , or } in a table, got %s", self:here())
    end
  end
  self.depth = self.depth - 1
  node.kind = node.items[1] and "list" or "map"
  return node
end

--- Read a text.
-- @tparam string text
-- @treturn ?table  its node, a map; nil where there is a mistake
-- @treturn {table,...}  or else the mistake, in a list: { line, message }
function M.read(text)
  local self = setmetatable({ text = text, at = 1, line = 1, depth = 0 }, Reader)
  local ok, root = pcall(function()
    if text:sub(1, 1) == "\27" then stop(self, "bytecode is not taken") end
    self:blanks()
    self:take "return%f[^%w_]"
    local node = self:value()
    self:blanks()
    self:take ";"
    self:blanks()
    if self.at <= #text then stop(self, "more than one table: %s", self:here()) end
    if node.kind ~= "map" then
      self.line = node.line
      stop(self, "expected names with values, as { lr = 0.1 }")
    end
    return node
  end)
  if ok then return root end
  if type(root) ~= "table" then error(root, 0) end
  return nil, { root }
end

return M
