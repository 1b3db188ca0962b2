--- What each instruction does with paths: the transfer functions of mlua.code.flow.
-- @module mlua.code.effect
local dump = require "mlua.code.dump"

local effect = {}

jit.off(true, true) -- most functions are seen once: compiling this would take longer

local DEEPEST, MOST = 8, 16 -- longer paths and larger sets count as used

-- -- paths and sets of them --

function effect.path(root, parent, key)
  return { root = root, parent = parent, key = key, depth = parent and parent.depth + 1 or 0,
           kids = {} }
end

local function mark(p, at, how)
  if p.text then return end
  local used = p.used
  if not used then p.used = { at = at, how = how }
  elseif at < used.at then used.at, used.how = at, how
  end
end

--- The value in a register is needed as a whole.
local function use(v, at, how)
  if not v then return
  elseif not v.set then mark(v, at, how)
  else
    for i = 1, #v do mark(v[i], at, how) end
  end
end

local function note(v, name)
  if not v then return end
  if not v.set then v[name] = true return end
  for i = 1, #v do v[i][name] = true end
end

--- The union of two values: nil, a path, or a set of some.
local function join(v, w, at)
  if v == w or not w then return v end
  if not v then return w end
  if v.set and not w.set and v.set[w] then return v end
  local all = { set = {} }
  for _, part in ipairs { v, w } do
    for i = 1, part.set and #part or 1 do
      local p = part.set and part[i] or part
      if not all.set[p] then all.set[p], all[#all + 1] = true, p end
    end
  end
  if v.set and #all == #v then return v end
  if #all > MOST then use(all, at, "value") end
  return #all <= MOST and all or v
end

local function child(p, key, at)
  if p.text then return nil end
  if p.depth >= DEEPEST then mark(p, at, "value") return nil end
  local kid = p.kids[key]
  if not kid then
    kid = effect.path(p.root, p, key)
    p.kids[key] = kid
  end
  return kid
end

local function field(v, key, at)
  if not v then return nil end
  if not v.set then return child(v, key, at) end
  local all
  for i = 1, #v do all = join(all, child(v[i], key, at), at) end
  return all
end

-- -- instructions --

--- By the number of the instruction: (m, r, a, b, c, at), m the function's state, r its registers.
local does = {}
effect.does = does

local function each(names, f)
  for name in names:gmatch("%S+") do does[dump.number[name]] = f end
end

local function clear(r, from, to)
  for i = from, to do
    if r[i] then r[i] = nil end
  end
end

-- A call with arguments in the registers first to last.
local function call(m, r, a, first, last, at)
  local f, result = r[a], nil
  local object = first <= last and r[first]
  if f and object and not f.set and f.parent == object then
    object.methods = object.methods or {}
    object.methods[f.key], f.method = at, true
    first = first + 1
  elseif f and object and not f.set and not f.parent and first == last and object.text then
    f.called = f.called or {}
    result = f.called[object.text]
    if not result then
      result = effect.path(f.root, f, object.text)
      f.called[object.text] = result
    end
  else
    use(f, at, "passed")
  end
  for i = first, last do use(r[i], at, "passed") end
  clear(r, a, m.frame)
  return result
end

each("ISLT ISGE ISLE ISGT ISEQV ISNEV", function(_, r, a, b, c, at)
  use(r[a], at, "value")
  use(r[c + 256 * b], at, "value")
end)
each("ISEQS ISNES ISEQN ISNEN ISTYPE ISNUM GSET RET1", function(_, r, a, _, _, at)
  use(r[a], at, "value")
end)
each("USETV", function(m, r, a, b, c, at)
  use(r[c + 256 * b], at, "value")
  note(m.upvalue(a), "assigned")
end)
each("USETS USETN USETP", function(m, _, a) note(m.upvalue(a), "assigned") end)
each("ISEQP ISNEP", function(_, r, a) note(r[a], "tested") end)
each("IST ISF", function(_, r, _, b, c) note(r[c + 256 * b], "tested") end)
each("ISTC ISFC", function(_, r, a, b, c, at)
  local v = r[c + 256 * b]
  note(v, "tested")
  r[a] = join(r[a], v, at)
end)
each("MOV", function(_, r, a, b, c) r[a] = r[c + 256 * b] end)
each("NOT", function(_, r, a, b, c)
  note(r[c + 256 * b], "tested")
  r[a] = nil
end)
each("UNM LEN", function(_, r, a, b, c, at)
  use(r[c + 256 * b], at, "value")
  r[a] = nil
end)
each("ADDVN SUBVN MULVN DIVVN MODVN ADDNV SUBNV MULNV DIVNV MODNV", function(_, r, a, b, _, at)
  use(r[b], at, "value")
  r[a] = nil
end)
each("ADDVV SUBVV MULVV DIVVV MODVV POW", function(_, r, a, b, c, at)
  use(r[b], at, "value")
  use(r[c], at, "value")
  r[a] = nil
end)
each("CAT", function(_, r, a, b, c, at)
  for i = b, c do use(r[i], at, "value") end
  r[a] = nil
end)
each("KSTR", function(m, r, a, b, c) r[a] = m.text(m.strings[c + 256 * b]) end)
each("KCDATA KSHORT KNUM KPRI TNEW TDUP", function(_, r, a) r[a] = nil end)
each("KNIL", function(_, r, a, b, c) clear(r, a, c + 256 * b) end)
each("UGET", function(m, r, a, b, c) r[a] = m.upvalue(c + 256 * b) end)
each("UCLO ISNEXT RET0 LOOP JMP", function() end)
each("FNEW", function(m, r, a, b, c, at)
  local proto = m.children[c + 256 * b]
  local captured = m.captured[proto] or {}
  m.captured[proto], r[a] = captured, nil
  for i = 0, #proto.upvalues do
    local up = proto.upvalues[i]
    if up and not up.here then captured[i] = m.upvalue(up.index)
    elseif up and up.constant then captured[i] = join(captured[i], r[up.index], at)
    end
  end
end)
each("GGET", function(m, r, a, b, c) r[a] = m.global(m.strings[c + 256 * b]) end)
each("TGETV TGETR", function(_, r, a, b, c, at)
  use(r[b], at, "computed")
  use(r[c], at, "value")
  r[a] = nil
end)
each("TGETS", function(m, r, a, b, c, at) r[a] = field(r[b], m.strings[c], at) end)
each("TGETB", function(_, r, a, b, c, at) r[a] = field(r[b], c, at) end)
each("TSETV TSETR", function(_, r, a, b, c, at)
  use(r[a], at, "value")
  use(r[c], at, "value")
  note(r[b], "stored")
end)
each("TSETS TSETB", function(_, r, a, b, _, at)
  use(r[a], at, "value")
  note(r[b], "stored")
end)
each("TSETM", function(_, r, a, _, _, at)
  use(r[a], at, "value")
  note(r[a - 1], "stored")
end)
each("CALL", function(m, r, a, _, c, at)
  r[a] = call(m, r, a, a + 1 + m.wide, a + m.wide + c - 1, at)
end)
each("CALLM", function(m, r, a, _, c, at) -- what the call before has returned lies after the others
  r[a] = call(m, r, a, a + 1 + m.wide, a + m.wide + c + 1, at)
end)
each("CALLT", function(m, r, a, b, c, at)
  use(call(m, r, a, a + 1 + m.wide, a + m.wide + c + 256 * b - 1, at), at, "value")
end)
each("CALLMT", function(m, r, a, b, c, at)
  use(call(m, r, a, a + 1 + m.wide, a + m.wide + c + 256 * b + 1, at), at, "value")
end)
each("ITERC ITERN", function(m, r, a, _, _, at)
  for i = a - 3, a - 1 do use(r[i], at, "passed") end
  clear(r, a, m.frame)
end)
each("VARG", function(m, r, a, b) clear(r, a, b == 0 and m.frame or a + b - 2) end)
each("RETM", function(_, r, a, b, c, at)
  for i = a, a + c + 256 * b do use(r[i], at, "value") end
end)
each("RET", function(_, r, a, b, c, at)
  for i = a, a + c + 256 * b - 2 do use(r[i], at, "value") end
end)
each("FORI FORL", function(_, r, a, _, _, at)
  for i = a, a + 2 do use(r[i], at, "value") end
  r[a + 3] = nil
end)
each("ITERL", function(_, r, a) r[a - 1] = r[a] end)

effect.use, effect.join = use, join

return effect
