--- What Tab offers: names, fields, methods, keywords, commands; file names inside strings.
-- @module mlua.repl.complete
local names = require "mlua.repl.names"

local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function",
                   "goto", "if", "in", "local", "nil", "not", "or", "repeat", "return", "then",
                   "true", "until", "while" }

-- What the end of a piece of Lua stands in: "string", "comment" or "code".
local function place(text)
  local quote, at = nil, 1
  while at <= #text do
    local c = text:sub(at, at)
    if quote then
      if c == "\\" then at = at + 1 elseif c == quote then quote = nil end
    elseif c == '"' or c == "'" then
      quote = c
    elseif text:sub(at, at + 1) == "--" then
      return "comment"
    end
    at = at + 1
  end
  return quote and "string" or "code"
end

-- Those of the list that begin with the word, and pass the test; private ones only when asked for.
local function matching(list, word, test)
  local out = {}
  for _, name in ipairs(list) do
    if name:sub(1, #word) == word and (word ~= "" or name:sub(1, 1) ~= "_")
      and (not test or test(name)) then
      out[#out + 1] = name
    end
  end
  return out
end

-- The name that ends a piece of code: "f(model.layers[2]" → "model.layers[2]".
local function last_name(code)
  local at = #code
  while at > 0 do
    local c = code:sub(at, at)
    if c == "]" then
      local open = code:sub(1, at):find("%[%s*%d+%s*%]$")
      if not open then return nil end
      at = open - 1
    elseif c:find("[%w_.:]") then
      at = at - 1
    else
      break
    end
  end
  return code:sub(at + 1)
end

--- The completions of a word.
-- @tparam string line   the line up to the cursor
-- @tparam number start  where its last word starts
-- @treturn table|boolean  a list of whole words; true where file names are wanted
return function(line, start)
  local before, word = line:sub(1, start - 1), line:sub(start)
  if before:find("^%s*%%load%s") then return true end
  if before:find("^%s*%%$") then
    return matching(require("mlua.repl.command").names(), word)
  end
  local where = place(before)
  if where == "string" then return true end
  if where == "comment" then return {} end
  local code, sign = before:match("^(.-)%s*([.:])%s*$")
  if code and code:sub(-1) ~= "." then
    local words = names.split(last_name(code) or "")
    local owner = words and names.resolve(words)
    if owner == nil then return {} end
    return matching(names.fields(owner), word, sign == ":" and function(name)
      return type(names.field(owner, name)) == "function"
    end)
  end
  local all = names.fields(_G)
  for _, keyword in ipairs(KEYWORDS) do all[#all + 1] = keyword end
  table.sort(all)
  return matching(all, word)
end
