-- A hostile script cannot crash the process through the public API: every argument of every card,
-- and of every public function, is given what it does not expect. Each call has a result that can
-- be read, or raises one clear line at the caller's place; nothing is left behind.
local core = require "mlua.ffi"
local ml = require "mlua"
local hostile = require "spec.support.hostile"
local sweep = require "spec.support.sweep"

local C = core.C
local verdict = hostile.verdict

local function settle()
  jit.flush() -- a trace may hold a handle that was a constant to it
  for _ = 1, 4 do collectgarbage() end
end

local function leaves_nothing(fn)
  settle()
  local before = ml.memory()
  fn()
  settle()
  assert.equal(before.tensors, ml.memory().tensors)
  assert.equal(before.live, ml.memory().live)
  assert.equal(0, C.ml_scope_depth())
end

-- What is refused for its size is refused at once, and what is not is soon done.
local function limited(fn)
  ml.memory_limit(2 ^ 26)
  local ok, message = pcall(fn)
  ml.memory_limit(0)
  ml.reference(false)
  if not ok then error(message, 0) end
end

-- -- operations by card --

-- The first case of a card that has elements for every tensor it names.
local function plain_case(card)
  for _, case in ipairs(card.sweep) do
    local empty = case.slow
    for _, v in pairs(case) do
      if type(v) == "table" then
        for _, size in ipairs(type(v[1]) == "table" and v[1] or v) do empty = empty or size == 0 end
        empty = empty or (#v == 0 and not v.values)
      end
    end
    if not empty then return case end
  end
  return card.sweep[1]
end

local function with(list, i, v)
  local changed = { unpack(list, 1, 16) }
  changed[i] = v
  return changed
end

-- Calls visit(label, args) for every fault of every argument.
local function each_fault(card, args, visit)
  local n = #card.arg
  local function other_kinds(i, name, but)
    for label, v in pairs(hostile.others()) do
      if type(v) ~= but then visit(name .. " = " .. label, with(args, i, v)) end
    end
    visit(name .. " = nil", with(args, i, nil))
  end
  for i, a in ipairs(card.arg) do
    local name, kind = a[1]:gsub("%?$", ""), a[2]
    if kind:match "^list " then
      local list = args[i]
      local x = list[1]
      other_kinds(i, name)
      visit(name .. " = a tensor", with(args, i, x))
      visit(name .. " = {}", with(args, i, {}))
      visit(name .. " has a hole", with(args, i, { x, nil, x }))
      visit(name .. " has numbers", with(args, i, { x, 5 }))
      visit(name .. " has lists", with(args, i, { { x } }))
      visit(name .. " holds itself", with(args, i, hostile.cycle()))
      local many, most = {}, {}
      for k = 1, 1000 do many[k] = x end
      for k = 1, 2 ^ 20 + 1 do most[k] = x end
      visit(name .. " has x a thousand times", with(args, i, many))
      visit(name .. " has x a million times", with(args, i, most))
      for label, v in pairs(hostile.stale()) do
        visit(name .. " has one " .. label, with(args, i, { x, v }))
      end
      for label, v in pairs(hostile.relatives(x)) do
        visit(name .. " has one of " .. label, with(args, i, { v }))
        visit(name .. " has one more of " .. label, with(args, i, { x, v }))
      end
    elseif kind:match "%[" then
      other_kinds(i, name)
      visit(name .. " = a number", with(args, i, 5))
      for label, v in pairs(hostile.stale()) do visit(name .. " = " .. label, with(args, i, v)) end
      if args[i] then
        for label, v in pairs(hostile.relatives(args[i])) do
          if not (card.strided and not card.each and label:find "giant" or label:find "%^40") then
            visit(name .. " = " .. label, with(args, i, v))
          end
        end
        local same = { unpack(args, 1, 16) }
        for k = 1, n do
          if ml.is_tensor(args[k]) then same[k] = args[i] end
        end
        visit("all tensors = " .. name, same)
      end
    elseif kind == "bool" or kind:match "^choice:" then
      other_kinds(i, name, kind == "bool" and "boolean" or nil)
      visit(name .. " = 1", with(args, i, 1))
      visit(name .. " = true", with(args, i, true))
    else
      other_kinds(i, name)
      for _, v in ipairs(hostile.numbers) do visit(name .. " = " .. v, with(args, i, v)) end
    end
  end
  visit("nothing", {})
  visit("too many", { unpack(args, 1, n), [n + 1] = args[1], [n + 2] = {}, [n + 3] = "more" })
end

-- The faults that a card does not stand, one text each.
local function faults_of(card, tape)
  local op, n, faults, calls, good = ml.op[card.name], #card.arg + 3, {}, 0, 0
  local args, floats = sweep.arguments(card, plain_case(card), "f32", false)
  if tape then
    for _, f in ipairs(floats) do f.list[f.at] = f.list[f.at]:clone():requires_grad() end
  end
  each_fault(card, args, function(label, changed)
    local fault, ok, y = verdict(function()
      local result = op(unpack(changed, 1, n))
      return result
    end)
    if not fault and ok and y:info().requires_grad then
      fault = verdict(function() y:backward(ml.ones(y:shape(), { dtype = y:dtype() })) end)
    end
    calls, good = calls + 1, good + (ok and 1 or 0)
    if fault then faults[#faults + 1] = label .. ": " .. fault end
  end)
  table.sort(faults)
  return faults, calls, good
end

describe("a hostile script", function()
  local total = 0

  for _, card in ipairs(sweep.cards()) do
    it("gets a result or one clear line of " .. card.name, function()
      leaves_nothing(function()
        for _, way in ipairs { "plain", "tape", "reference" } do
          ml.reference(way == "reference")
          local faults, calls, good
          limited(function() faults, calls, good = faults_of(card, way == "tape") end)
          assert.same({}, faults)
          assert.is_true(calls > 20 and good > 0 and good < calls)
          total = total + calls
        end
      end)
    end)
  end

  it("was tried in at least 300 calls", function() assert.is_true(total >= 300) end)
end)

-- -- functions and methods by name --

-- Arguments of every kind, each new.
local function pool()
  local list = {}
  for _, v in ipairs(hostile.numbers) do list[#list + 1] = v end
  for _, values in ipairs { hostile.others(), hostile.stale() } do
    local labels = {}
    for label in pairs(values) do labels[#labels + 1] = label end
    table.sort(labels) -- the same draws in every run
    for _, label in ipairs(labels) do list[#list + 1] = values[label] end
  end
  for _, v in ipairs {
    ml.ones(2, 3), ml.ones(2, 3):requires_grad(), ml.ones(2, 3):requires_grad() * 2,
    ml.ones(3, 2):transpose(), ml.ones({}), ml.ones(0), ml.ones(2, 0), hostile.giant(),
    hostile.giant "i64",
    ml.ones({ 1, 1, 1, 1, 1, 1, 1, 1 }), ml.full(9e15, 2, 3, { dtype = "i64" }),
    ml.full(-1, 3, { dtype = "i32" }), ml.ones(2, 3, { dtype = "bool" }),
    ml.ones(2, 3, { dtype = "bf16" }), ml.full(0 / 0, 4),
    { ml.ones(2, 3), ml.ones(2, 3) }, { 2, 3 }, { -1, 0.5 }, { 2 ^ 40, 2 ^ 40 }, { 1e300 }, { {} },
    { dtype = "f32" }, { dtype = "f33" }, { dtype = 5 }, { seed = -1 }, { dim = 2 }, "f32", "f64",
    "2:1:0", "::", "...", ",", "new",
  } do
    list[#list + 1] = v
  end
  return list
end

local NOTHING = {}

-- Calls f with every value alone, with every value beside a tensor, and with what is drawn.
local function faults_of_function(f, name)
  local faults, values = {}, pool()
  values[#values + 1] = NOTHING
  local function try(...)
    local given, n = { ... }, select("#", ...)
    for i = 1, n do
      if given[i] == NOTHING then given[i] = nil end
    end
    local fault = verdict(function()
      local result = f(unpack(given, 1, n))
      return result
    end)
    if fault and #faults < 8 then
      local texts = {}
      for i = 1, n do texts[i] = tostring(given[i]):gsub("%s+", " "):sub(1, 40) end
      faults[#faults + 1] = ("%s(%s): %s"):format(name, table.concat(texts, ", "), fault)
    end
  end
  try()
  local x = ml.ones(2, 3)
  for _, v in ipairs(values) do
    try(v)
    try(x, v)
    try(v, x)
    try(x, 1, v)
  end
  for k = 1, 60 do
    local drawn = {}
    for i = 1, 4 do
      drawn[i] = values[1 + (k * 7919 + i * 104729 + k * i * 31) % #values]
    end
    try(unpack(drawn, 1, 1 + k % 4))
  end
  return faults
end

describe("a hostile script", function()
  local restore = ml.print_options()

  local function all_of(where, functions, but)
    local names = {}
    for name, f in pairs(functions) do
      if type(f) == "function" and not but[name] then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do
      it("gets a result or one clear line of " .. where .. name, function()
        leaves_nothing(function()
          local faults
          limited(function() faults = faults_of_function(functions[name], name) end)
          ml.print_options(restore)
          assert.same({}, faults)
        end)
      end)
    end
  end

  all_of("ml.", ml, { threads = true, memory_limit = true })
  all_of("a tensor's ", require "mlua.tensor".Tensor, {})
  all_of("ml.optim.", ml.optim, {})
end)
