-- rule: compiles the expressions of backward rules into C calls of operations.
local format = string.format
local lines = require "opgen.lines"

-- Expressions: operations, + - * /, numbers and names; of element-wise rules also comparisons, &&
-- || and c ? a : b, as C has them.
local compile

local function parse(text)
  local at = 1
  local function peek() return text:match("^%s*(.)", at) end
  local function take(pattern)
    local s, e = text:match("^%s*(" .. pattern .. ")()", at)
    if s then at = e end
    return s
  end
  local sum, choice
  local function atom()
    if take("%(") then
      local e = choice()
      assert(take("%)"), text)
      return e
    end
    if take("%-") then return { "neg", atom() } end
    if take("!") then return { "call", "logical_not", atom() } end
    local number = take("[%d%.]+e%-?%d+") or take("[%d%.]+")
    if number then return { "number", number } end
    local name = assert(take("[%a_][%w_]*"), "cannot read " .. text)
    if not take("%(") then return { "name", name } end
    local call = { "call", name }
    while peek() ~= ")" do
      call[#call + 1] = choice()
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
  local COMPARE = { ["=="] = "eq", ["!="] = "ne", ["<="] = "le", [">="] = "ge", ["<"] = "lt",
                    [">"] = "gt" }
  local function comparison()
    local e = sum()
    local o = take("[=!<>]=") or take("[<>]")
    return o and { "call", COMPARE[o], e, sum() } or e
  end
  local function both()
    local e = comparison()
    while take("&&") do e = { "call", "logical_and", e, comparison() } end
    return e
  end
  local function either()
    local e = both()
    while take("||") do e = { "call", "logical_or", e, both() } end
    return e
  end
  function choice()
    local c = either()
    if not take("%?") then return c end
    local a = choice()
    assert(take(":"), text)
    return { "call", "where", c, a, choice() }
  end
  local e = choice()
  assert(not text:find("%S", at), "cannot read " .. text)
  return e
end

-- C's names of functions that are operations under another.
local NAMES = { fabs = "abs", rint = "round" }

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
    for i = 3, #e do
      local v, scalar = compile(e[i], env, put)
      if scalar and env.element_wise then -- all arguments are tensors
        env.temps = env.temps + 1
        put("    if (e == ML_OK) e = ml__number(&t[%d], %s, g);", env.temps - 1, v)
        v = format("t[%d]", env.temps - 1)
      end
      a[i - 2] = v
    end
    return temp(NAMES[e[2]] or e[2], "%s", table.concat(a, ", "))
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
  if e[1] == "div" and sa then
    return temp("affine", "%s, %s, 0", temp("reciprocal", "%s", b), a)
  end
  assert(not sa and not sb, "cannot compile a rule of " .. env.card)
  return temp(e[1], "%s, %s", a, b)
end

local function environment(card)
  local env = { card = card.name, temps = 0, names = { g = { text = "g" } } }
  for i, t in ipairs(card.tensors) do env.names[t.name] = { text = format("n->in[%d]", i - 1) } end
  for i, s in ipairs(card.scalars) do
    local field = s.kind == "number" and "d" or "i"
    env.names[s.name] = { text = format("n->scalar[%d].%s", i - 1, field), scalar = true }
  end
  return env
end

-- A function of the rules' compiled lines, with as many temporaries as they took.
local function write(name, env, body, put)
  put("%s(ml_node *n, ml_tensor *g, ml_tensor **gin) {", name)
  put("  ml_tensor *t[%d] = {0};", math.max(env.temps, 1))
  put("  ml_err e = ML_OK;")
  put("%s", table.concat(body, "\n"))
  put("  for (int i = 0; i < %d; i++) ml__unref(t[i]);", math.max(env.temps, 1))
  put("  return e;")
  put("}")
  put("")
end

local function backward(card, put)
  local body, bput = lines()
  local env = environment(card)
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
  write(format("static ml_err %s_backward", card.name), env, body, put)
end

-- The same gradients as recorded operations, for gradients of gradients: of rules that are
-- operations and of element-wise ones. The output is computed again: the one that was saved is off
-- the tape.
local function twice(card, rules, put)
  local body, bput = lines()
  local env = environment(card)
  env.element_wise = card.each ~= nil
  local y = card.result.name
  for _, rule in pairs(rules) do
    if (" " .. rule .. " "):match("[^%w_]" .. y .. "[^%w_(]") and not env.names[y] then
      local args = {}
      for _, a in ipairs(card.args) do args[#args + 1] = env.names[a.name].text end
      bput("  e = ml__op_%s(&t[0], %s);", card.name, table.concat(args, ", "))
      env.names[y], env.temps = { text = "t[0]" }, 1
    end
  end
  for i, a in ipairs(card.tensors) do
    local rule = rules[a.name]
    if rule then
      bput("  if (ml__wants(n->in[%d])) {", i - 1)
      local v, scalar = compile(parse(rule), env, bput)
      if scalar then
        bput("    if (e == ML_OK) e = ml__op_affine(&t[%d], g, 0, %s);", env.temps, v)
        v, env.temps = format("t[%d]", env.temps), env.temps + 1
      end
      bput("    if (e == ML_OK) e = ml__summed(&gin[%d], %s, n->in[%d]);", i - 1, v, i - 1)
      bput("  }")
    end
  end
  write(format("static ml_err %s_twice", card.name), env, body, put)
end

return { backward = backward, twice = twice }
