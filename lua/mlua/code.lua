--- Digests of Lua functions: equal as long as a function does the same, in every process.
--
--     local now = code.digest(run)
--     if now.digest ~= before.digest then
--       for _, line in ipairs(code.changes(before.parts, now.parts)) do print(line) end
--     end
--
-- A digest takes in the function's code, the values that it reads of its upvalues and of globals,
-- and the functions that it reaches, recursively: of a module those that are called, the module as
-- a whole only where it is passed on or indexed by a computed name. It does not see comments,
-- spaces, names of locals, or where a definition is. Lua's libraries and mlua's own functions count
-- by name. An object whose metatable has `__digest`, a function of the object, counts by what that
-- returns. docs/design.md, "Code digests", has the limits.
--
-- What is found is remembered until `code.forget()`: call that after values or modules changed.
-- @module mlua.code
local check = require "mlua.check"
local dump = require "mlua.code.dump"
local flow = require "mlua.code.flow"
local graph = require "mlua.code.graph"
local leaf = require "mlua.code.leaf"

local code = {}

local results = setmetatable({}, { __mode = "k" })
local sources = {} -- lines of files

--- Drop what is remembered.
function code.forget()
  results, sources = setmetatable({}, { __mode = "k" }), {}
  graph.forget()
end

-- -- names --

local function line_of(info)
  local file = info.source:match("^@(.*)")
  local lines = sources[info.source]
  if not lines then
    lines = {}
    local handle = file and io.open(file)
    local text = handle and handle:read("*a") or not file and info.source or ""
    if handle then handle:close() end
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do lines[#lines + 1] = line end
    sources[info.source] = lines
  end
  return lines[info.linedefined] or ""
end

-- The name that its definition gives a function.
local function name_of(f)
  local line = line_of(debug.getinfo(f, "S"))
  return line:match("function%s+([%w_.:]+)%s*%(") or line:match("([%w_.]+)%s*=%s*function%s*%(")
    or "function"
end

-- -- digests --

-- All nodes from one on that have something to say, each with the name of the first way to it.
local function each_node(root, name, f)
  local queue, names, at = { root }, { [root] = name }, 1
  while queue[at] do
    local node = queue[at]
    f(node, names[node])
    for i, kid in ipairs(node.kids) do
      if not names[kid] and not kid.silent then
        local label = node.labels[i]
        names[kid] = label:find("^[.%[]") and names[node] .. label
          or label == "" and names[node] or label
        queue[#queue + 1] = kid
      end
    end
    at = at + 1
  end
end

local function by_name(a, b)
  if a.name ~= b.name then return a.name < b.name end
  if a.file ~= b.file then return a.file < b.file end
  if a.line ~= b.line then return a.line < b.line end
  return a.digest < b.digest
end

local function survey(root, name)
  local parts, notes, said = {}, {}, {}
  each_node(root, name, function(node, called)
    if node.file then
      parts[#parts + 1] = { name = called, file = node.file, line = node.line,
                            digest = graph.part(node) }
    end
    for _, note in ipairs(node.notes) do
      local text = note.text
      if note.label then
        text = (node.file and note.label or called .. note.label) .. " " .. text
      end
      if not said[text] then said[text], notes[#notes + 1] = true, text end
    end
  end)
  table.sort(parts, by_name)
  return parts, notes
end

--- The digest of a function and of all that it reaches.
-- @tparam function f
-- @tparam ?string name  what its part is called; without it, what its definition calls it
-- @treturn table  `digest`: 64 hexadecimal digits; `parts`: { name, file, line, digest } for each
--   Lua function reached, in order; `notes`: sentences on what is not seen or counts as a whole
function code.digest(f, name)
  check.type(f, 1, "digest", "f", "function")
  check.type(name, 2, "digest", "name", "string|nil")
  if leaf.text(f) then return { digest = graph.value(f), parts = {}, notes = {} } end
  local node = graph.node(f)
  local result = results[f]
  if not result or result.node ~= node or result.name ~= name then
    local digest = graph.digest(node)
    local parts, notes = survey(node, name or name_of(f))
    result = { node = node, name = name,
               value = { digest = digest, parts = parts, notes = notes } }
    results[f] = result
  end
  return result.value
end

--- The digest of any value; tables by what they hold, whatever the order of their keys.
-- @param v
-- @treturn string  64 hexadecimal digits
function code.value_digest(v)
  return graph.value(v)
end

-- -- parameters --

--- The fields that a function reads of a parameter.
-- @tparam function f
-- @tparam number n        which parameter, from 1
-- @tparam ?table methods  names of methods that may be called on it: { log = true }
-- @treturn ?table  { name = true, … }; nil where the parameter goes elsewhere: it is passed on,
--   indexed by a computed name, compared, returned
function code.reads(f, n, methods)
  check.type(f, 1, "reads", "f", "function")
  check.int(n, 2, "reads", "n", 1)
  check.type(methods, 3, "reads", "methods", "table|nil")
  local proto = dump.take(string.dump(f, true))
  local names = {}
  if n > proto.params then return not proto.vararg and names or nil end
  local p = flow.paths(proto, n).parameter
  if p.used then return nil end
  for name in pairs(p.methods or {}) do
    if not (methods and methods[name]) then return nil end
  end
  for key, kid in pairs(p.kids) do
    if not kid.method or kid.used or kid.tested or next(kid.kids) then names[key] = true end
  end
  return names
end

-- -- changes --

local function place_of(part) return ("%s (%s:%d)"):format(part.name, part.file, part.line) end

-- Parts by name and file, each list in order.
local function grouped(parts)
  local groups = {}
  for _, part in ipairs(parts) do
    local key = part.name .. "\n" .. part.file
    groups[key] = groups[key] or {}
    table.insert(groups[key], part)
  end
  return groups
end

-- Takes out of both lists what is the same in both.
local function without_equal(old, new)
  local count, rest_old, rest_new = {}, {}, {}
  for _, part in ipairs(old) do count[part.digest] = (count[part.digest] or 0) + 1 end
  for _, part in ipairs(new) do
    if (count[part.digest] or 0) > 0 then count[part.digest] = count[part.digest] - 1
    else rest_new[#rest_new + 1] = part
    end
  end
  for i = #old, 1, -1 do
    local digest = old[i].digest
    if count[digest] > 0 then
      count[digest] = count[digest] - 1
      table.insert(rest_old, 1, old[i])
    end
  end
  return rest_old, rest_new
end

--- What differs between two lists of parts, as sentences.
-- @tparam {table,...} old_parts
-- @tparam {table,...} new_parts
-- @treturn {string,...}  "scale (recipes/x.lua:41) changed", "… is new", "… is gone", in order
function code.changes(old_parts, new_parts)
  check.type(old_parts, 1, "changes", "old_parts", "table")
  check.type(new_parts, 2, "changes", "new_parts", "table")
  local old, new = without_equal(old_parts, new_parts)
  local found, before = {}, grouped(old)
  table.sort(new, by_name)
  for _, part in ipairs(new) do
    local same = before[part.name .. "\n" .. part.file]
    local was = same and table.remove(same, 1)
    found[#found + 1] = { part = part, text = was and " changed" or " is new" }
  end
  for _, rest in pairs(before) do
    for _, part in ipairs(rest) do found[#found + 1] = { part = part, text = " is gone" } end
  end
  table.sort(found, function(a, b)
    if a.part ~= b.part and by_name(a.part, b.part) ~= by_name(b.part, a.part) then
      return by_name(a.part, b.part)
    end
    return a.text < b.text
  end)
  local sentences = {}
  for i, one in ipairs(found) do sentences[i] = place_of(one.part) .. one.text end
  return sentences
end

return code
