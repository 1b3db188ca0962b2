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

jit.off(true, true) -- most functions are seen once: compiling this would take longer

local byte = string.byte
local new_table = require "table.new"
local does, path, use, join = effect.does, effect.path, effect.use, effect.join

-- -- blocks --

-- Where an instruction goes other than on: "jump" to its target alone, "fork" there or on, "stop"
-- nowhere. A test is followed by a jump, which it may skip.
local ways, tests = {}, {}

local function each(names, f)
  for name in names:gmatch("%S+") do f(dump.number[name]) end
end

each("JMP UCLO ISNEXT", function(o) ways[o] = "jump" end)
each("FORI FORL ITERL", function(o) ways[o] = "fork" end)
each("RETM RET RET0 RET1 CALLT CALLMT", function(o) ways[o] = "stop" end)
each("ISLT ISGE ISLE ISGT ISEQV ISNEV ISEQS ISNES ISEQN ISNEN ISEQP ISNEP ISTC ISFC IST ISF",
  function(o) tests[o] = true end)

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

-- Joins the registers into what is known at an instruction: that, and whether it changed.
local function merge(entry, to, r, frame, at)
  local known, changed = entry[to], false
  if not known then
    known = new_table(frame + 1, 0)
    for i = 0, frame do
      local v = r[i]
      if v then known[i] = v end
    end
    entry[to] = known
    return known, true
  end
  for i = 0, frame do
    local w = r[i]
    if w then
      local v = known[i]
      if v ~= w then
        w = join(v, w, at)
        if v ~= w then known[i], changed = w, true end
      end
    end
  end
  return known, changed
end

local function run(m, proto, first, base)
  local code, targets, n = proto.code, proto.targets, proto.n
  local shared, frame = shared_of(proto), proto.frame
  local entry, waiting = { first }, { true }
  for i, v in pairs(first) do
    if shared and shared[i] then use(v, base, "value") end
  end
  local again
  repeat -- in the order of the code: only loops come back to what was seen
    again = nil
    for start = 1, n do
      if waiting[start] then
        local pc, r = start, entry[start]
        if targets[start] == "back" then
          r = merge({}, 1, r, frame)
        else
          entry[start] = nil -- what comes here again is another state, and may be followed alone
        end
        waiting[start] = nil
        local on
        repeat
          local o, a, c, b = byte(code, 4 * pc - 3, 4 * pc)
          does[o](m, r, a, b, c, base + pc)
          if shared and shared[a] then use(r[a], base + pc, "value") end
          local way = ways[o]
          on = not way or way == "fork" or way == "jump" and tests[byte(code, 4 * pc - 7)]
          pc = pc + 1
          if way and way ~= "stop" then
            local to = pc - 32768 + c + 256 * b
            if select(2, merge(entry, to, r, frame, base + to)) then
              waiting[to], again = true, again or to <= start
            end
          end
          if on and targets[pc] then
            on = false
            waiting[pc] = select(2, merge(entry, pc, r, frame, base + pc)) or waiting[pc]
          end
        until not on
      end
    end
  until not again
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
