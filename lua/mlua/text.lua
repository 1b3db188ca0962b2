--- Helpers for messages: the nearest name to a misspelt one, wrapping, lists in words.
-- Pure Lua with no requirements, so that every floor may use it.
-- @module mlua.text
local text = {}

local byte, concat, min = string.byte, table.concat, math.min

--- Edits that turn one word into another: insertions, deletions, substitutions and swaps of
-- neighbours count one each, and no part is edited twice.
-- @tparam string a
-- @tparam string b
-- @treturn number
-- @source Damerau 1964 in the optimal string alignment form; Boytsov 2011, section 2.2.1
function text.distance(a, b)
  local n, m = #a, #b
  local before, last, this = {}, {}, {}
  for j = 0, m do last[j] = j end
  for i = 1, n do
    this[0] = i
    local x = byte(a, i)
    for j = 1, m do
      local y = byte(b, j)
      local d = min(last[j] + 1, this[j - 1] + 1, last[j - 1] + (x == y and 0 or 1))
      if i > 1 and j > 1 and x == byte(b, j - 1) and byte(a, i - 1) == y then
        d = min(d, before[j - 2] + 1)
      end
      this[j] = d
    end
    before, last, this = last, this, before
  end
  return last[m]
end

local function plain(word)
  return (word:lower():gsub("_", "-"))
end

--- The candidate that a misspelt word most likely meant.
-- Case and `_` against `-` cost nothing. A word within a third of its length (at least 1 edit, at
-- most 3) is near; failing that, the only candidate that the word begins, from 3 letters on.
-- @tparam string word
-- @tparam {string,...} candidates  the first of equally near ones wins
-- @treturn ?string                 nil where none is near
function text.nearest(word, candidates)
  local target = plain(word)
  local allowed = math.max(1, min(3, math.floor(#target / 3)))
  local best, best_distance
  for _, name in ipairs(candidates) do
    local other = plain(name)
    if math.abs(#other - #target) <= allowed then
      local d = text.distance(target, other)
      if d <= allowed and d < math.max(#target, #other) and (not best or d < best_distance) then
        best, best_distance = name, d
      end
    end
  end
  if best or #target < 3 then return best end
  for _, name in ipairs(candidates) do
    if plain(name):sub(1, #target) == target then
      if best then return nil end
      best = name
    end
  end
  return best
end

--- The end of a message about an unknown word: ", did you mean 'x'?", or an empty string.
-- @tparam string word
-- @tparam {string,...} candidates
-- @tparam[opt=""] string prefix  put before the candidate, as "--"
-- @treturn string
function text.did_you_mean(word, candidates, prefix)
  local name = text.nearest(word, candidates)
  return name and (", did you mean '%s%s'?"):format(prefix or "", name) or ""
end

--- The keys of a table, sorted, as strings.
-- @tparam table t
-- @treturn {string,...}
function text.keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  return keys
end

--- A list in words: "a", "a or b", "a, b or c".
-- @tparam {string,...} words
-- @tparam[opt="or"] string last  the word before the last one
-- @treturn string
function text.list(words, last)
  local n = #words
  if n < 2 then return words[1] or "" end
  return concat(words, ", ", 1, n - 1) .. " " .. (last or "or") .. " " .. words[n]
end

-- Its sequences beyond ASCII (The Unicode Standard, table 3-7).
local UTF8 = {
  "[\194-\223][\128-\191]", "\224[\160-\191][\128-\191]", "\237[\128-\159][\128-\191]",
  "[\225-\236\238\239][\128-\191][\128-\191]", "\240[\144-\191][\128-\191][\128-\191]",
  "[\241-\243][\128-\191][\128-\191][\128-\191]", "\244[\128-\143][\128-\191][\128-\191]",
}

--- Whether a string is well-formed UTF-8: shortest forms, no surrogates.
-- @tparam string s
-- @treturn boolean
function text.is_utf8(s)
  for _, sequence in ipairs(UTF8) do
    if not s:find("[\128-\255]") then return true end
    s = s:gsub(sequence, " ") -- not "": what stands on both sides stays apart
  end
  return not s:find("[\128-\255]")
end

--- How many columns a string takes, one per UTF-8 code point.
-- @tparam string s
-- @treturn number
function text.width(s)
  local _, continuation = s:gsub("[\128-\191]", "")
  return #s - continuation
end

--- The first columns of a string.
-- @tparam string s
-- @tparam number width
-- @treturn string
function text.clip(s, width)
  if #s <= width then return s end
  local columns = 0
  for at = 1, #s do
    local b = byte(s, at)
    if b < 128 or b > 191 then
      columns = columns + 1
      if columns > width then return s:sub(1, at - 1) end
    end
  end
  return s
end

--- Break a text into lines of at most `width` columns, at spaces; longer words stand alone.
-- @tparam string s
-- @tparam number width
-- @treturn {string,...}  at least one line
function text.wrap(s, width)
  local lines, line, columns = {}, {}, 0
  for word in s:gmatch("%S+") do
    local w = text.width(word)
    if columns > 0 and columns + 1 + w > width then
      lines[#lines + 1] = concat(line, " ")
      line, columns = {}, 0
    end
    line[#line + 1] = word
    columns = columns + (columns > 0 and 1 or 0) + w
  end
  lines[#lines + 1] = concat(line, " ")
  return lines
end

return text
