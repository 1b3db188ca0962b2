--- What a function or a table consists of: a text of its own, and the values that it reaches.
--
-- A node has `text`, `kids` (nodes), `labels` (how a reader knows each; from a table ".key"), and
-- `notes`. A function's text has its code and the plain values that it reads; "@" stands for a kid.
-- @module mlua.code.expand
local dump = require "mlua.code.dump"
local flow = require "mlua.code.flow"
local leaf = require "mlua.code.leaf"
local util = require "jit.util"

local expand = {}

jit.off(true, true) -- most functions are seen once: compiling this would take longer

local plain = leaf.plain

local parsed, followed = {}, {} -- by dump: closures of one function share them
local files = {}                -- functions of modules that are not loaded, by file

--- Drop what is remembered between calls.
function expand.forget() parsed, followed, files = {}, {}, {} end

local function code_of(f)
  local s = string.dump(f, true)
  local proto = parsed[s]
  if not proto then
    proto = dump.take(s)
    parsed[s], followed[s] = proto, flow.paths(proto)
  end
  return proto, followed[s]
end

--- The file of a function as messages name it.
-- @tparam table info  what leaf.info(f) says
-- @treturn string
function expand.file(info)
  return info.source:match("^[@=](.*)") or info.short_src
end

-- -- the parts of a node --

local function keep(node, v, label, kid)
  local out = node.out
  out[#out + 1] = "@"
  node.kids[#node.kids + 1], node.labels[#node.labels + 1] = kid, label
end

local function remark(node, label, text) -- a sentence, or one about what the label names
  node.notes[#node.notes + 1] = { label = label, text = text }
end

-- A value as a whole.
local function count(walk, node, v, label)
  local text, about = walk.text(v)
  if not text then return keep(node, v, label, walk.node(v)) end
  node.out[#node.out + 1] = text
  if about then remark(node, label, about) end
end

-- -- functions --

local HOW = { computed = "indexes it by a computed name", passed = "passes it on",
              value = "uses it as a value", method = "calls a method of it" }
local UNSEEN = {
  ["require"] = "modules required by computed names are not seen",
  ["load"] = "code compiled by load is not seen",
  ["loadstring"] = "code compiled by loadstring is not seen",
  ["loadfile"] = "code compiled by loadfile is not seen",
  ["dofile"] = "code run by dofile is not seen",
  ["getfenv"] = "what getfenv gives is not seen",
  ["setfenv"] = "what setfenv changes is not seen",
}

-- The line of an instruction of f, or of a function inside it.
local function place(f, paths, at)
  local proto, pc = flow.place(paths, at)
  local slots = {}
  while proto.parent do
    table.insert(slots, 1, proto.slot)
    proto = proto.parent
  end
  local at_proto = f
  for _, slot in ipairs(slots) do at_proto = util.funck(at_proto, -1 - slot) end
  return ("%s:%d"):format(expand.file(leaf.info(f)),
    util.funcinfo(at_proto, pc).currentline)
end

-- A field as reading it gives: by __index as well; true after it where __index is a function.
local function index(t, key)
  for _ = 1, 100 do
    local v = rawget(t, key)
    if v ~= nil then return v end
    local meta = debug.getmetatable(t)
    local next_table = type(meta) == "table" and rawget(meta, "__index")
    if type(next_table) == "function" then return nil, true end
    if type(next_table) ~= "table" then return nil end
    t = next_table
  end
end

local function numbers_first(a, b)
  if type(a) ~= type(b) then return type(a) == "number" end
  return a < b
end

local NONE = {}

local function in_order(keys)
  if not keys or not next(keys) then return NONE end
  local list = {}
  for key in next, keys do list[#list + 1] = key end
  if list[2] then table.sort(list, numbers_first) end
  return list
end

local function whole_of(p)
  if p.used then return p.used end
  local first
  for _, at in pairs(p.methods or {}) do first = first and first < at and first or at end
  return first and { at = first, how = "method" }
end

local follow

-- The module that require "name" gives, or its file, where it is not loaded.
local function follow_module(x, p, name)
  local node, trail = x.node, ("\nm%d:%s"):format(#name, name)
  local v, label = package.loaded[name], name:match("[^.]+$") or name
  if v ~= nil and v ~= true then return follow(x, p, v, trail, label) end
  local path, f = package.searchpath(name, package.path), package.preload[name]
  if path and leaf.own { source = "@" .. path, linedefined = 0 } then -- as if it were loaded
    node.out[#node.out + 1] = trail .. "=mlua " .. name .. ";"
    return
  end
  if not f and path then
    files[path] = files[path] or { loadfile(path) }
    f = files[path][1]
  end
  node.out[#node.out + 1] = trail .. "="
  if f then
    count(x.walk, node, f, label)
    remark(node, nil, ("module '%s' counts as a whole: %s"):format(name,
      v and "it returns nothing" or "it is not loaded yet"))
  else
    node.out[#node.out + 1] = "missing;"
    remark(node, nil, ("module '%s' %s"):format(name,
      path and "does not compile: " .. files[path][2] or "is not found"))
  end
end

local function follow_fields(x, p, v, trail, label)
  for _, key in ipairs(in_order(p.kids)) do
    local field, by_call = index(v, key)
    if by_call then
      x.node.out[#x.node.out + 1] = trail .. "="
      return count(x.walk, x.node, v, label)
    end
    local named = type(key) == "string"
    follow(x, p.kids[key], field, trail .. plain(key),
      label .. (named and "." .. key or "[" .. key .. "]"))
  end
end

-- What is done with a table by a path: nothing, its fields read, or all of it.
local function follow_table(x, p, v, trail, label)
  local whole, out = whole_of(p), x.node.out
  if v == x.globals or v == _G then
    if whole then
      out[#out + 1] = trail .. "=globals;"
      remark(x.node, nil, ("globals read by computed names are not seen (%s)"):format(
        place(x.f, x.paths, whole.at)))
    end
    return follow_fields(x, p, v, trail, label)
  end
  local meta = debug.getmetatable(v)
  if not whole and p.stored and meta and rawget(meta, "__newindex") then
    whole = { how = "stored" }
  end
  if whole or meta and rawget(meta, "__digest") or leaf.is_mlua(v) then
    out[#out + 1] = trail .. "="
    local module = leaf.module(v)
    if module and HOW[whole and whole.how] and not leaf.is_mlua(v) then
      remark(x.node, nil, ("module '%s' counts as a whole: %s %s"):format(module,
        place(x.f, x.paths, whole.at), HOW[whole.how]))
    end
    return count(x.walk, x.node, v, label)
  end
  if p.tested then out[#out + 1] = trail .. "=table;" end
  follow_fields(x, p, v, trail, label)
end

function follow(x, p, v, trail, label)
  local kind, out = type(v), x.node.out
  local builtin = leaf.builtin(v)
  if builtin == "require" then
    for _, name in ipairs(in_order(p.called)) do follow_module(x, p.called[name], name) end
  end
  if p.used and kind == "function" and UNSEEN[builtin] then
    remark(x.node, nil, ("%s (%s)"):format(UNSEEN[builtin], place(x.f, x.paths, p.used.at)))
  end
  if kind == "table" then return follow_table(x, p, v, trail, label) end
  if p.used or p.called or p.method or p.methods or next(p.kids)
    or p.tested and kind ~= "function" then
    out[#out + 1] = trail .. "="
    count(x.walk, x.node, v, label)
  elseif p.tested then
    out[#out + 1] = trail .. "=function;"
  end
end

local function expand_function(walk, node, f, info)
  local proto, paths = code_of(f)
  local x = { walk = walk, node = node, f = f, paths = paths, globals = debug.getfenv(f) }
  node.out[1] = ("function %d:%s"):format(#proto.text, proto.text)
  node.file, node.line = expand.file(info), info.linedefined
  for _, i in ipairs(in_order(paths.upvalues)) do
    local name, v = debug.getupvalue(f, i + 1)
    local p, label = paths.upvalues[i], name ~= "" and name or "upvalue " .. i + 1
    if p.assigned then -- state: what a run leaves behind is not what the code is
      node.out[#node.out + 1] = "\nu" .. i .. "=assigned;"
      remark(node, nil, ("the value of '%s' does not count: a function at %s:%d assigns it"):format(
        label, node.file, node.line))
    else
      follow(x, p, v, "\nu" .. i, label)
    end
  end
  for _, name in ipairs(in_order(paths.globals)) do
    local v, by_call = index(x.globals, name)
    if by_call then
      local there, value = pcall(function() return x.globals[name] end)
      if there then v = value end
    end
    follow(x, paths.globals[name], v, ("\ng%d:%s"):format(#name, name), name)
  end
end

local function is_own(f) return leaf.builtin(f) or leaf.own(leaf.info(f)) end

-- Whether a closure of mlua's was given the table: it is no object or module, and holds no function
-- of mlua's.
local function given(t)
  if debug.getmetatable(t) or leaf.module(t) then return false end
  for _, v in next, t do
    if type(v) == "function" and is_own(v) then return false end
  end
  return true
end

-- A closure that a function of mlua made: where it is written, and what it was made with; of an
-- object (a captured step's record) the functions that are not mlua's.
local function expand_own(walk, node, f, at)
  node.out[1] = "mlua " .. at .. ";"
  for i = 1, 255 do
    local name, v = debug.getupvalue(f, i)
    if not name then break end
    local kind = type(v)
    if kind == "table" and not given(v) then
      local held = {}
      for key, field in next, leaf.module(v) and NONE or v do
        if type(key) == "string" and type(field) == "function" and not is_own(field) then
          held[key] = field
        end
      end
      for _, key in ipairs(in_order(held)) do count(walk, node, held[key], name .. "." .. key) end
    elseif kind ~= "cdata" and kind ~= "userdata" then
      count(walk, node, v, name)
    end
  end
end

-- -- tables --

local function by_type_then_value(a, b)
  local s, t = type(a), type(b)
  if s ~= t then return s < t end
  if s == "boolean" then return a and not b end
  return a < b
end

local function expand_table(walk, node, t)
  local out, n = node.out, 0
  local meta = debug.getmetatable(t)
  out[1] = "table;"
  if type(meta) == "table" then
    local class = leaf.class(meta)
    out[2] = "meta="
    if class then out[3] = class .. ";" else count(walk, node, meta, "") end
    if rawget(meta, "__mode") then
      return remark(node, "", "is a weak table, of which only the metatable counts")
    end
  end
  while rawget(t, n + 1) ~= nil do
    n = n + 1
    count(walk, node, rawget(t, n), "[" .. n .. "]")
  end
  local keys, objects = {}, {}
  for key in next, t do
    if not plain(key) then objects[#objects + 1] = { key = key, text = walk.key(key) }
    elseif type(key) ~= "number" or key < 1 or key > n or key % 1 ~= 0 then keys[#keys + 1] = key
    end
  end
  table.sort(keys, by_type_then_value)
  for _, key in ipairs(keys) do
    out[#out + 1] = plain(key)
    local label = type(key) == "string" and "." .. key or "[" .. tostring(key) .. "]"
    count(walk, node, rawget(t, key), key == "__index" and "" or label)
  end
  table.sort(objects, function(a, b) return a.text < b.text end)
  for _, object in ipairs(objects) do
    out[#out + 1] = "key " .. object.text .. ";"
    count(walk, node, rawget(t, object.key), "[…]")
  end
end

--- Fill a node from a function or a table.
-- @tparam table walk  text(v), node(v) and key(v)
-- @tparam table node
-- @param v
function expand.node(walk, node, v)
  node.out, node.kids, node.labels, node.notes = {}, {}, {}, {}
  if type(v) == "table" then
    expand_table(walk, node, v)
  else
    local info = leaf.info(v)
    local at = leaf.own(info)
    if at then expand_own(walk, node, v, at) else expand_function(walk, node, v, info) end
  end
  node.text, node.out = table.concat(node.out), nil
end

return expand
