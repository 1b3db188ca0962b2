-- rule: compiles the expressions of backward rules into C calls of operations.
local format = string.format
local lines = require "opgen.lines"

-- Expressions: operations, + - * /, numbers and names.
local compile

local function parse(text)
  local at = 1
  local function peek() return text:match("^%s*(.)", at) end
  local function take(pattern)
    local s, e = text:match("^%s*(" .. pattern .. ")()", at)
    if s then at = e end
    return s
  end
  local sum
  local function atom()
    if take("%(") then
      local e = sum()
      assert(take("%)"), text)
      return e
    end
    if take("%-") then return { "neg", atom() } end
    local number = take("[%d%.]+e?%-?%d*")
    if number then return { "number", number } end
    local name = assert(take("[%a_][%w_]*"), "cannot read " .. text)
    if not take("%(") then return { "name", name } end
    local call = { "call", name }
    while peek() ~= ")" do
      call[#call + 1] = sum()
      take(",")
    end
    take("%)")
    return call
  end
  local function product()
    local e = atom()
    while true do
      local o = take("[*/]")
      if not o then return e end
      e = { o == "*" and "mul" or "div", e, atom() }
    end
  end
  function sum()
    local e = product()
    while true do
      local o = take("[+-]")
      if not o then return e end
      e = { o == "+" and "add" or "sub", e, product() }
    end
  end
  return sum()
end

local SIGN = { mul = "*", div = "/", add = "+", sub = "-" }

-- Emits C for an expression; returns the C text of its value and whether it is a scalar.
function compile(e, env, put)
  local function temp(call, ...)
    env.temps = env.temps + 1
    local t = format("t[%d]", env.temps - 1)
    put("    if (e == ML_OK) e = ml__op_%s(&%s, %s);", call, t, format(...))
    return t
  end
  if e[1] == "number" then return e[2], true end
  if e[1] == "name" then
    local v = assert(env.names[e[2]], "no name " .. e[2] .. " in a rule of " .. env.card)
    return v.text, v.scalar
  end
  if e[1] == "neg" then
    local a, s = compile(e[2], env, put)
    if s then return "-" .. a, true end
    return temp("affine", "%s, -1, 0", a)
  end
  if e[1] == "call" then
    local a = {}
    for i = 3, #e do a[#a + 1] = (compile(e[i], env, put)) end
    return temp(e[2], "%s", table.concat(a, ", "))
  end
  local a, sa = compile(e[2], env, put)
  local b, sb = compile(e[3], env, put)
  if sa and sb then return format("(%s %s %s)", a, SIGN[e[1]], b), true end
  local x, s = sa and b or a, sa and a or b -- where one is a scalar: the tensor, and the scalar
  if e[1] == "mul" and (sa or sb) then return temp("affine", "%s, %s, 0", x, s) end
  if e[1] == "add" and (sa or sb) then return temp("affine", "%s, 1, %s", x, s) end
  if e[1] == "sub" and sb then return temp("affine", "%s, 1, -(%s)", a, b) end
  if e[1] == "sub" and sa then return temp("affine", "%s, -1, %s", b, a) end
  if e[1] == "div" and sb then return temp("affine", "%s, 1.0 / (%s), 0", a, b) end
  assert(not sa and not sb, "cannot compile a rule of " .. env.card)
  return temp(e[1], "%s, %s", a, b)
end

local function backward(card, put)
  local body, bput = lines()
  local env = { card = card.name, temps = 0, names = { g = { text = "g" } } }
  for i, t in ipairs(card.tensors) do env.names[t.name] = { text = format("n->in[%d]", i - 1) } end
  for i, s in ipairs(card.scalars) do
    local field = s.kind == "number" and "d" or "i"
    env.names[s.name] = { text = format("n->scalar[%d].%s", i - 1, field), scalar = true }
  end
  env.names[card.result.name] = { text = "n->saved[0]" }
  for i, t in ipairs(card.tensors) do
    local rule = card.grad[t.name]
    if rule then
      bput("  if (ml__wants(n->in[%d])) {", i - 1)
      local v = compile(parse(rule), env, bput)
      bput("    if (e == ML_OK) gin[%d] = ml__ref(%s);", i - 1, v)
      bput("  }")
    end
  end
  put("static ml_err %s_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {", card.name)
  put("  ml_tensor *t[%d] = {0};", math.max(env.temps, 1))
  put("  ml_err e = ML_OK;")
  put("%s", table.concat(body, "\n"))
  put("  for (int i = 0; i < %d; i++) ml__unref(t[i]);", math.max(env.temps, 1))
  put("  return e;")
  put("}")
  put("")
end

return { backward = backward }
