--- What string.dump says of a function, taken apart: LuaJIT 2.1's bytecode, format 2.
--
-- A stripped dump has no names of locals, no lines and no instruction that the compiler patched.
-- What still differs from one process to the next is put in one form: template tables are in the
-- order of a hash with a random seed, and two instructions of `for … in pairs(…)` are exchanged
-- for plainer ones where it turned out to call something else.
-- @module mlua.code.dump
local vmdef = require "jit.vmdef"

local byte, sub, concat = string.byte, string.sub, table.concat

local FORMAT = 2
local NAMES = [[
ISLT ISGE ISLE ISGT ISEQV ISNEV ISEQS ISNES ISEQN ISNEN ISEQP ISNEP ISTC ISFC IST ISF ISTYPE ISNUM
MOV NOT UNM LEN ADDVN SUBVN MULVN DIVVN MODVN ADDNV SUBNV MULNV DIVNV MODNV ADDVV SUBVV MULVV DIVVV
MODVV POW CAT KSTR KCDATA KSHORT KNUM KPRI KNIL UGET USETV USETS USETN USETP UCLO FNEW TNEW TDUP
GGET GSET TGETV TGETS TGETB TGETR TSETV TSETS TSETB TSETM TSETR CALLM CALL CALLMT CALLT ITERC ITERN
VARG ISNEXT RETM RET RET0 RET1 FORI JFORI FORL IFORL JFORL ITERL IITERL JITERL LOOP ILOOP JLOOP JMP
FUNCF IFUNCF JFUNCF FUNCV IFUNCV JFUNCV FUNCC FUNCCW]]

local dump = {}

jit.off(true, true) -- most functions are seen once: compiling this would take longer

--- The name of each instruction by its number.
dump.name = {}

--- The number of each instruction by its name.
dump.number = {}

local count = 0
for name in NAMES:gmatch("%u[%u%d]*") do
  dump.name[count], dump.number[name], count = name, count, count + 1
end

-- Whether this LuaJIT writes what is read here.
local function known()
  for n = 0, #vmdef.bcnames / 6 - 1 do
    local name = vmdef.bcnames:sub(n * 6 + 1, n * 6 + 6):match("^%u*%d?")
    if name ~= dump.name[n] then return false end
  end
  return #vmdef.bcnames / 6 == #dump.name + 1
    and string.dump(function() end, true):sub(1, 4) == "\27LJ" .. string.char(FORMAT)
end

if not known() then
  error("mlua.code reads the bytecode of LuaJIT 2.1.0-beta3 (97 instructions, format 2), "
    .. "and this is " .. jit.version, 0)
end

-- What is looked at before a function is followed: what jumps, and what is exchanged for what.
local JUMPS, INSTEAD = {}, {}

for name in ("JMP UCLO FORI FORL ITERL ISNEXT"):gmatch("%S+") do JUMPS[dump.number[name]] = true end
INSTEAD[dump.number.ISNEXT] = string.char(dump.number.JMP)
INSTEAD[dump.number.ITERN] = string.char(dump.number.ITERC)

-- -- reading --

-- A number in 7-bit groups, the lowest first, and the position after it.
local function number_at(s, at)
  local v, scale = 0, 1
  while true do
    local b = byte(s, at)
    at = at + 1
    if b < 128 then return v + b * scale, at end
    v, scale = v + (b - 128) * scale, scale * 128
  end
end

-- The position after one key or value of a template table.
local function after_item(s, at)
  local kind
  kind, at = number_at(s, at)
  if kind >= 5 then return at + kind - 5 end
  for _ = 3, kind do at = select(2, number_at(s, at)) end
  return at
end

-- A template table as text, its keys in order, and the position after it.
local function template_at(s, at)
  local start = at
  local array, hash
  array, at = number_at(s, at)
  hash, at = number_at(s, at)
  for _ = 1, array do at = after_item(s, at) end
  local list, keys = {}, at
  for i = 1, hash do
    local stop = after_item(s, after_item(s, at))
    list[i], at = sub(s, at, stop - 1), stop
  end
  table.sort(list)
  return sub(s, start, keys - 1) .. concat(list), at
end

-- The constants that are objects; a child is on top of the stack. Texts go to `out`, also what
-- precedes from `from` on; returns where the rest begins.
local function constants_at(s, at, from, n, proto, stack, out)
  for slot = n - 1, 0, -1 do
    local kind
    kind, at = number_at(s, at)
    if kind >= 5 then
      proto.strings[slot], at = sub(s, at, at + kind - 6), at + kind - 5
    elseif kind > 1 then
      for _ = 1, kind == 4 and 4 or 2 do at = select(2, number_at(s, at)) end
    else
      out[#out + 1] = sub(s, from, at - 1)
      if kind == 0 then -- where it finds its upvalues is this function's text
        local child = table.remove(stack)
        proto.children[slot], child.parent, child.slot = child, proto, slot
        out[#out + 1] = child.text .. child.shape
      else
        out[#out + 1], at = template_at(s, at)
      end
      from = at
    end
  end
  return from
end

-- The instructions as text, four bytes each: number, a, c, b. Where they jump to goes to proto,
-- "back" where a loop begins.
local function instructions_at(s, at, n, proto)
  local targets, from, pieces = {}, at, nil
  for pc = 1, n do
    local p = at + 4 * pc - 4
    local o = byte(s, p)
    if JUMPS[o] then
      local low, high = byte(s, p + 2, p + 3)
      local to = pc - 32767 + low + 256 * high
      targets[to] = to <= pc and "back" or targets[to] or "on"
    end
    if INSTEAD[o] then
      pieces = pieces or {}
      pieces[#pieces + 1] = sub(s, from, p - 1) .. INSTEAD[o]
      from = p + 1
    end
  end
  local code = sub(s, from, at + 4 * n - 1)
  if pieces then code = concat(pieces) .. code end
  proto.code, proto.n, proto.targets = code, n, targets
  return code
end

-- The upvalues: slot or index each, and where they are found; the same as text.
local function upvalues_at(s, at, n)
  local list, shape = {}, {}
  for i = 0, n - 1 do
    local low, high = byte(s, at + 2 * i, at + 2 * i + 1)
    list[i] = { index = low, here = high >= 128, constant = high % 128 >= 64 }
    shape[i + 1] = (high >= 128 and "l" or "u") .. low
  end
  return list, concat(shape)
end

-- The function from `at` to before `stop`. Its own upvalues' places are no part of its text.
local function proto_at(s, at, stop, stack)
  local start = at
  local kind, params, frame, upvalues = byte(s, at, at + 3)
  local objects, n
  objects, at = number_at(s, at + 4)
  n, at = number_at(s, select(2, number_at(s, at)))
  local proto = { params = params, frame = frame, vararg = kind % 4 >= 2, strings = {},
                  children = {} }
  local out = { sub(s, start, at - 1), instructions_at(s, at, n, proto) }
  at = at + 4 * n
  proto.upvalues, proto.shape = upvalues_at(s, at, upvalues)
  at = at + 2 * upvalues
  local rest = constants_at(s, at, at, objects, proto, stack, out)
  if rest > stop then error("mlua.code: a dump that does not read as expected") end
  out[#out + 1] = sub(s, rest, stop - 1)
  proto.text = concat(out)
  return proto
end

--- Take the dump of a Lua function apart.
-- @tparam string s  what string.dump(f, true) gives
-- @treturn table  code: n instructions of four bytes, number, a, c and b; targets of jumps; strings
--   and children by constant; upvalues from 0, each { index, here: a local of the function around
--   it, constant: never assigned again }; params; frame: registers; wide: slots between a function
--   and its arguments; text: all of it that makes a difference, the same in all processes
function dump.take(s)
  local flags, at = number_at(s, 5)
  local wide = flags % 16 >= 8 and 1 or 0 -- frames take two slots: what precedes arguments
  local stack = {}
  while true do
    local length
    length, at = number_at(s, at)
    if length == 0 then break end
    local proto = proto_at(s, at, at + length, stack)
    proto.wide = wide
    stack[#stack + 1], at = proto, at + length
  end
  return stack[#stack]
end

return dump
