--- The functions and tables that a value reaches, and their digests.
--
-- A node's digest is that of its text and its kids' digests, so equal tables count alike whether
-- they are one or two. Nodes that reach each other (recursion, modules that functions index) form a
-- group: for each of them, the digest is the group's in the order in which it is met from there.
-- @module mlua.code.graph
local expand = require "mlua.code.expand"
local leaf = require "mlua.code.leaf"
local sha256 = require "mlua.ffi.hash".sha256

local graph = {}

jit.off(true, true) -- most functions are seen once: compiling this would take longer

local known    -- nodes of finished walks, by value
local current  -- the walk that goes on
local busy = {} -- objects whose digest is being asked for

--- Start afresh.
function graph.forget()
  known = setmetatable({}, { __mode = "k" })
  expand.forget()
  leaf.scan(true)
end

graph.forget()

-- -- digests --

local function digest_of(node, same, follow)
  local out, queue, number = {}, { node }, { [node] = 1 }
  local at = 1
  while queue[at] do
    local one = queue[at]
    out[#out + 1] = one.text
    for i, kid in ipairs(one.kids) do
      local text = not same(kid) and follow(kid)
      if not text then
        if not number[kid] then
          queue[#queue + 1] = kid
          number[kid] = #queue
        end
        text = "^" .. number[kid]
      end
      out[#out + 1] = "\n" .. i .. " " .. text
    end
    at = at + 1
  end
  return sha256(table.concat(out))
end

--- The digest of a node of a finished walk.
-- @tparam table node
-- @treturn string
function graph.digest(node)
  if not node.digest then
    local group = node.group
    node.digest = digest_of(node, function(kid) return group and kid.group == group end,
      graph.digest)
  end
  return node.digest
end

--- The digest of a function alone, with the values that it reads but not the functions it reaches.
-- @tparam table node
-- @treturn string
function graph.part(node)
  if #node.kids == 0 then return graph.digest(node) end
  if not node.part then
    node.part = digest_of(node, function(kid) return not kid.file and not kid.pure end,
      function(kid) return kid.file and "function" or graph.digest(kid) end)
  end
  return node.part
end

-- The nodes of a group are complete: those after `from` on the stack.
local function close(stack, from)
  local group = #stack > from and {} or nil
  local pure, silent = true, true -- no functions in it; and nothing to note
  for i = from, #stack do
    local node = stack[i]
    node.open, node.done, node.group = nil, true, group
    pure = pure and not node.file
    silent = silent and #node.notes == 0
    for _, kid in ipairs(node.kids) do
      if kid == node then node.group = node.group or {} end
      pure = pure and kid.pure ~= false
      silent = silent and kid.silent ~= false
    end
  end
  local first = stack[from]
  for i = #stack, from, -1 do
    stack[i].pure, stack[i].silent, stack[i] = pure, pure and silent, nil
  end
  graph.digest(first)
end

-- -- walks --

-- Tarjan's strongly connected components, without recursion: lists may be long.
local function visit(walk, root)
  local stack, frames, count = {}, {}, 0
  local function open(node)
    count = count + 1
    stack[#stack + 1], frames[#frames + 1] = node, node
    node.index, node.low, node.open, node.next = count, count, #stack, 0
    expand.node(walk, node, node.value)
    node.value = nil
  end
  open(root)
  while #frames > 0 do
    local node = frames[#frames]
    node.next = node.next + 1
    local kid = node.kids[node.next]
    if kid == nil then
      frames[#frames] = nil
      if node.low == node.index then close(stack, node.open) end
      local above = frames[#frames]
      if above then above.low = math.min(above.low, node.low) end
    elseif kid.open then node.low = math.min(node.low, kid.index)
    elseif not kid.done then open(kid)
    end
  end
end

-- Calls f(…) with an object marked as busy. What is found meanwhile may differ from what is found
-- elsewhere, and `walk.hits` says so.
local function guarded(walk, object, f, ...)
  if walk.texts[object] then return walk.texts[object] end
  if busy[object] then
    walk.hits[object] = true
    return "itself;"
  end
  busy[object] = true
  local ok, text = pcall(f, ...)
  busy[object], current = nil, walk
  if not ok then error(text, 0) end
  walk.hits[object], walk.met[object] = nil, true
  walk.texts[object] = text
  return text
end

-- Whether what is known may be used now: not where it holds a digest that is being computed.
local function usable(node)
  for object in pairs(busy) do
    if node.met[object] then return false end
  end
  return true
end

local function new_walk()
  local walk = { nodes = {}, texts = {}, hits = {}, met = {} }
  function walk.node(v)
    local node = walk.nodes[v] or known[v]
    if node and node.met and not usable(node) then node = nil end
    if node and node.met then
      for object in pairs(node.met) do walk.met[object] = true end
    end
    if not node then
      node = { value = v }
      walk.nodes[v] = node
    end
    return node
  end
  function walk.text(v)
    local meta = type(v) == "table" and debug.getmetatable(v)
    local digest = type(meta) == "table" and rawget(meta, "__digest")
    if not digest then return leaf.text(v) end
    return guarded(walk, v, function() return ("object %s;"):format(tostring(digest(v))) end)
  end
  function walk.key(v)
    return leaf.text(v) or guarded(walk, v, function() return graph.value(v) end)
  end
  return walk
end

--- The node of a function or table, all that it reaches visited.
-- @param v
-- @treturn table
function graph.node(v)
  if known[v] and usable(known[v]) then
    for object in pairs(current and known[v].met or {}) do current.met[object] = true end
    return known[v]
  end
  local outer, walk = current, new_walk()
  if not outer then leaf.scan() end
  current = walk
  local root = walk.node(v)
  local ok, err = pcall(visit, walk, root)
  current = outer
  if not ok then error(err, 0) end
  local lasting = next(walk.hits) == nil
  for value, node in pairs(walk.nodes) do
    node.met = walk.met
    if lasting then known[value] = node end
  end
  for object in pairs(outer and walk.met or {}) do outer.met[object] = true end
  for object in pairs(outer and walk.hits or {}) do outer.hits[object] = true end
  return root
end

--- The digest of any value.
-- @param v
-- @treturn string
function graph.value(v)
  local outer = current
  local walk = outer or new_walk()
  if not outer then leaf.scan() end
  current = walk
  local ok, text = pcall(walk.text, v)
  current = outer
  if not ok then error(text, 0) end
  return text and sha256(text) or graph.digest(graph.node(v))
end

return graph
