--- What a function does with its upvalues, globals and parameters: a data flow over its bytecode.
--
-- Each register holds a set of paths: roots (an upvalue, a global, a parameter) followed by
-- constant keys, as in `helpers.scale`. Basic blocks are gone through until nothing changes; where
-- two meet, sets are joined. What is done with a path is noted on it, and is at most too much:
--
--   used      its value counts as a whole: { at, how }, the first place; computed, passed or value
--   tested    only whether it is nil, true or something else
--   stored    fields of it are assigned
--   methods   called on it as path:name(…), by name
--   called    as path("constant"): the results by that constant, paths of their own
--
-- @module mlua.code.flow
local dump = require "mlua.code.dump"
local effect = require "mlua.code.effect"

local flow = {}

local does, path, use, join = effect.does, effect.path, effect.use, effect.join

-- -- blocks --

-- How an instruction ends a block: "skip" goes on after the next or the next but one, "jump" goes to
-- its target, "fork" there or on, "stop" nowhere.
local ends = {}

for names, how in pairs {
  ["ISLT ISGE ISLE ISGT ISEQV ISNEV ISEQS ISNES ISEQN ISNEN ISEQP ISNEP ISTC ISFC IST ISF"] = "skip",
  ["JMP UCLO ISNEXT"] = "jump", ["FORI FORL ITERL"] = "fork",
  ["RETM RET RET0 RET1 CALLT CALLMT"] = "stop",
} do
  for name in names:gmatch("%S+") do ends[dump.number[name]] = how end
end

-- Calls f(pc) for every instruction that may follow the one at pc, which ends a block.
local function successors(proto, pc, how, f)
  if how == "skip" then
    f(pc + 1)
    f(pc + 2)
  elseif how ~= "stop" then
    if how == "fork" then f(pc + 1) end
    f(pc + 1 + proto.c[pc] + 256 * proto.b[pc] - 32768)
  end
end

local function leaders_of(proto)
  local leaders = {}
  for pc = 1, proto.n do
    local how = ends[proto.op[pc]]
    if how then successors(proto, pc, how, function(to) leaders[to] = true end) end
  end
  return leaders
end

-- Locals of proto that functions inside assign or see change: what is put there counts as used.
local function shared_of(proto)
  local shared
  for _, inner in pairs(proto.children) do
    for i = 0, #inner.upvalues do
      local up = inner.upvalues[i]
      if up and up.here and not up.constant then
        shared = shared or {}
        shared[up.index] = true
      end
    end
  end
  return shared
end

local function run(m, proto, first, base)
  local op, a, b, c = proto.op, proto.a, proto.b, proto.c
  local leaders, shared, frame = leaders_of(proto), shared_of(proto), proto.frame
  local entry, pending, waiting = { first }, { 1 }, { true }
  local r
  local function go(to)
    local known, changed = entry[to], false
    if not known then
      known, changed = {}, true
      for i = 0, frame do known[i] = r[i] end
      entry[to] = known
    else
      for i = 0, frame do
        local v = join(known[i], r[i], base + to)
        if v ~= known[i] then known[i], changed = v, true end
      end
    end
    if changed and not waiting[to] then
      pending[#pending + 1], waiting[to] = to, true
    end
  end
  while #pending > 0 do
    local pc, how = table.remove(pending)
    waiting[pc], r = nil, {}
    for i = 0, frame do r[i] = entry[pc][i] end
    repeat
      local o = op[pc]
      does[o](m, r, a[pc], b[pc], c[pc], base + pc)
      if shared and shared[a[pc]] then use(r[a[pc]], base + pc, "value") end
      how = ends[o]
      if how then
        successors(proto, pc, how, go)
      else
        pc = pc + 1
        if leaders[pc] then go(pc) end
      end
    until how or leaders[pc]
  end
  for i, v in pairs(first) do
    if shared and shared[i] then use(v, base, "value") end
  end
end

-- -- functions --

local PLACE = 2 ^ 24 -- instructions that a function has at most

local function walk(out, proto, upvalue, first)
  out.protos[#out.protos + 1] = proto
  local base = #out.protos * PLACE
  local m = {
    frame = proto.frame, wide = proto.wide, strings = proto.strings, children = proto.children,
    captured = {}, upvalue = upvalue, global = out.global, text = out.text,
  }
  run(m, proto, first, base)
  local slots = {}
  for slot in pairs(proto.children) do slots[#slots + 1] = slot end
  table.sort(slots)
  for _, slot in ipairs(slots) do
    local inner = proto.children[slot]
    local captured = m.captured[inner]
    if captured then walk(out, inner, function(i) return captured[i] end, {}) end
  end
end

local function by_key(paths, kind)
  return function(key)
    local p = paths[key]
    if not p then
      p = path(kind)
      paths[key], p.key = p, key
    end
    return p
  end
end

--- The paths of a function that mlua.code.dump took apart.
-- @tparam table proto
-- @tparam ?number n  follow the n-th parameter, too
-- @treturn table  upvalues (from 0), globals (by name) and parameter: the paths
function flow.paths(proto, n)
  local texts = {}
  local out = { protos = {}, upvalues = {}, globals = {} }
  out.global = by_key(out.globals, "global")
  function out.text(s)
    texts[s] = texts[s] or { text = s }
    return texts[s]
  end
  local first = {}
  if n then
    out.parameter = path("parameter")
    first[n - 1] = out.parameter
  end
  walk(out, proto, by_key(out.upvalues, "upvalue"), first)
  return out
end

--- The function and instruction that a path's `at` says.
-- @tparam table paths  what flow.paths returned
-- @tparam number at
-- @treturn table   the function, as mlua.code.dump has it
-- @treturn number  the instruction, from 1
function flow.place(paths, at)
  return paths.protos[math.floor(at / PLACE)], at % PLACE
end

return flow
