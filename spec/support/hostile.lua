--- Values that no operation expects, and the question whether a call stood them.
--
-- A call stands its arguments where it gives a result that can be read, or raises one line at the
-- caller's place that speaks of the mistake, and not of how mlua is made.
local core = require "mlua.ffi"
local ml = require "mlua"

local hostile = {}

local NAN, HUGE = 0 / 0, math.huge

-- -- values --

--- Handles of tensors that are not there: freed, of a scope that ended, made up.
function hostile.stale()
  local freed, gone = ml.ones(2, 3), nil
  core.free(freed)
  ml.scope(function() gone = ml.ones(2, 3) end)
  return { freed = freed, ["of an ended scope"] = gone, nothing = core.Ref(),
           ["made up"] = core.Ref(4000000000, 1), ["of another age"] = core.Ref(1, 4000000000) }
end

--- Numbers for axes, counts, positions and factors.
hostile.numbers = {
  0, -1, 1, 2, 7, 64, 100, 0.5, -0.5, NAN, HUGE, -HUGE, 1e300, -1e300, 1e-320, 2 ^ 31 - 1, 2 ^ 31,
  -2 ^ 31, 2 ^ 32 + 1, 2 ^ 40, 2 ^ 52, 2 ^ 53 - 1, -(2 ^ 53 - 1), 2 ^ 53, 2 ^ 63, -2 ^ 63,
}

--- A table that holds itself.
function hostile.cycle()
  local t = { true }
  t[2] = t
  return t
end

--- Values that are no tensor and no number.
function hostile.others()
  return {
    ["true"] = true, ["false"] = false, text = "text", empty = "", lines = "a\nb\0c",
    long = ("x"):rep(1e4), ["a list"] = { 1, 2 }, ["no list"] = { a = 1 },
    ["a hole"] = { 1, nil, 3 }, cycle = hostile.cycle(), ["a file"] = io.stdout,
    ["a function"] = function() end,
    ["a coroutine"] = coroutine.create(function() end), ["64 bits"] = 5LL,
    ["an odd table"] = setmetatable({}, { __index = function(t) return t end }),
    ["a callable"] = setmetatable({}, { __call = function() end }),
  }
end

--- One element seen 2^50 times: more than any memory holds.
function hostile.giant(dtype)
  return ml.ones(1, { dtype = dtype or "f32" }):expand(2 ^ 20, 2 ^ 30)
end

--- Tensors like x that differ from it in one way; they ask for gradients as x does.
function hostile.relatives(x)
  local leaf = x:info().requires_grad
  if leaf then x = x:detach() end
  local shape, list = x:shape(), {}
  local function add(name, t)
    if leaf and t:is_contiguous() and t:dtype():match "f%d" then t:requires_grad() end
    list[name] = t
  end
  for _, dtype in ipairs { "f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool" } do
    if dtype ~= x:dtype() then add(dtype, x:to(dtype)) end
  end
  add("one axis more", x:unsqueeze(1))
  add("8 axes", ml.zeros({ 1, 1, 1, 1, 1, 1, 1, 1 }, { dtype = x:dtype() }))
  add("no axes", ml.zeros({}, { dtype = x:dtype() }))
  add("no elements", ml.zeros({ 0 }, { dtype = x:dtype() }))
  add("a giant", hostile.giant(x:dtype()))
  for d = 1, #shape do
    local sizes = x:shape()
    sizes[d] = 0
    add("axis " .. d .. " of 0", ml.zeros(sizes, { dtype = x:dtype() }))
    sizes[d] = shape[d] + 1
    add("axis " .. d .. " longer", ml.zeros(sizes, { dtype = x:dtype() }))
    sizes[d] = 2 ^ 40
    add("axis " .. d .. " of 2^40", ml.zeros({}, { dtype = x:dtype() }):expand(sizes))
  end
  if #shape > 0 then add("one axis less", ml.zeros({ unpack(shape, 2) }, { dtype = x:dtype() })) end
  if #shape > 1 then add("transposed", x:transpose(1, #shape)) end
  local values = { 0, -1, 1, 255, 2 ^ 31 - 1, -2 ^ 31, 2 ^ 53, 2 ^ 62, -2 ^ 63 }
  if x:dtype():match "f%d" then values = { 0, -1, NAN, HUGE, -HUGE, 3e38, -3e38, 1e-45, 1e300 } end
  for _, v in ipairs(values) do
    add("all " .. v, ml.full(v, shape, { dtype = x:dtype() }))
  end
  return list
end

-- -- verdicts --

local INNER = { "attempt to", "cannot convert", "stack overflow", "ctype", "to '%?'", "lua/mlua/",
                "table index is", "nil value" }

-- What is wrong with an error's value; nil: nothing.
local function fault_of(message)
  if type(message) ~= "string" then return "an error of type " .. type(message) end
  local rest = message:match("^[%w_/.%-]*hostile[%w_]*_spec%.lua:%d+: (.*)$")
  if not rest then return "no place: " .. message end
  if rest:find("[\n%z]") then return "several lines: " .. rest end
  if #rest > 400 then return "too long: " .. rest:sub(1, 100) end
  for _, text in ipairs(INNER) do
    if rest:find(text) then return "not in the user's words: " .. rest end
  end
end

local function read(v)
  if not ml.is_tensor(v) then return end
  local n = v:count()
  tostring(v)
  if n <= 2 ^ 12 then v:totable() end
end

hostile.calls = 0

--- Why a call did not stand its arguments, or nil; whether it had a result, and the first one.
-- @tparam function call  made in a file hostile…_spec.lua
function hostile.verdict(call)
  hostile.calls = hostile.calls + 1
  local ok, result = pcall(call)
  if not ok then return fault_of(result), false, result end
  local readable, message = pcall(read, result)
  if not readable then return "a result that cannot be read: " .. tostring(message), true end
  return nil, true, result
end

return hostile
