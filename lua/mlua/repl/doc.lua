--- Doc comments: found above a function's definition or at the head of a module, and taken apart.
--
-- A doc comment is LDoc's: it starts with three dashes and ends where the code starts. Files are
-- read when they are asked for; nothing is kept.
-- @module mlua.repl.doc
local doc = {}

local function lines_of(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local lines = {}
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

-- The comment's text without dashes: from its first line with three, down to the line `last`.
local function comment_above(lines, last)
  local first = last
  while first > 0 and lines[first]:find("^%s*%-%-") and not lines[first]:find("^%s*%-%-%-") do
    first = first - 1
  end
  if first < 1 or not lines[first]:find("^%s*%-%-%-") then return nil end
  local out = {}
  for i = first, last do out[#out + 1] = lines[i]:gsub("^%s*%-+ ?", "", 1) end
  return out
end

--- Take a comment apart.
-- @tparam {string,...} lines  without dashes
-- @treturn table  text: lines of the description; tags: list of { tag, rest, more lines… }
function doc.parse(lines)
  local parsed = { text = {}, tags = {} }
  local into = parsed.text
  for _, line in ipairs(lines) do
    local tag, rest = line:match("^@(%w+)%s?(.*)$")
    if line:find("^@%w+%[") then tag, rest = line:match("^@(%w+)(%[.*)$") end
    if tag then
      into = { tag = tag, rest }
      parsed.tags[#parsed.tags + 1] = into
    else
      into[#into + 1] = line
    end
  end
  return parsed
end

-- The parameters in a definition, of one line or more: "function optim.adam(model, o)".
local function parameters(lines, at)
  local text = table.concat(lines, " ", at, math.min(#lines, at + 5))
  return (text:match("function[^(]*(%b())") or "(...)"):gsub("%s+", " ")
end

-- A comment of its own for a function of this name: the one that says `@function name`.
local function named_comment(lines, name)
  for i, line in ipairs(lines) do
    if line:match("^%s*%-%- @function%s+([%w_]+)%s*$") == name then
      while lines[i + 1] and lines[i + 1]:find("^%s*%-%- ") do i = i + 1 end
      return doc.parse(comment_above(lines, i) or {})
    end
  end
end

--- The documentation of a function: that above its definition, or one by its name in that file.
-- @tparam function f
-- @tparam ?string name  "addmm"
-- @treturn ?table  as `parse`, and parameters, "(x, axis)"; nil where there is none
function doc.of_function(f, name)
  local info = debug.getinfo(f, "S")
  local lines = info.source:sub(1, 1) == "@" and lines_of(info.source:sub(2))
  if not lines or not lines[info.linedefined] then return nil end
  local op = lines[info.linedefined]:match("^function op%.([%w_]+)")
  if op then -- an operation's comment stands apart (tools/opgen)
    local folder = info.source:match("^@(.*)ops%.lua$")
    local parsed = named_comment(lines_of(folder .. "op_reference.lua") or {}, op)
    if parsed then parsed.parameters = parameters(lines, info.linedefined) end
    return parsed
  end
  local comment = comment_above(lines, info.linedefined - 1)
  local parsed = comment and doc.parse(comment) or name and named_comment(lines, name)
  if not parsed then return nil end
  parsed.parameters = parameters(lines, info.linedefined)
  return parsed
end

--- The documentation of a module: the comment at the head of its file.
-- @tparam string name  as require takes it
-- @treturn ?table
function doc.of_module(name)
  local path = package.searchpath(name, package.path)
  local lines = path and lines_of(path)
  if not lines then return nil end
  local last = 0
  while lines[last + 1] and lines[last + 1]:find("^%s*%-%-") do last = last + 1 end
  local comment = comment_above(lines, last)
  return comment and doc.parse(comment)
end

--- The first sentence of a documentation, on one line.
function doc.sentence(parsed)
  local text = table.concat(parsed.text, " "):gsub("%s+", " ")
  return text:match("^(.-[.:])%s+%u") or text:match("^(.-%.)$") or text
end

return doc
