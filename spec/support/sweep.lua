--- The cases of the operation cards, as arguments: for specs that go over all operations.
local ml = require "mlua"

local sweep = {}

local root = debug.getinfo(1, "S").source:match("^@(.*)spec/support/") or ""

--- All cards, by name, with their `name`.
function sweep.cards()
  local cards = {}
  local listing = io.popen("ls " .. root .. "core/op/*.lua")
  for path in listing:lines() do
    local read = assert(loadfile(path))()
    if read[1] then -- a list of cards with names
      for _, card in ipairs(read) do cards[#cards + 1] = card end
    else
      read.name = path:match("([%w_]+)%.lua$")
      cards[#cards + 1] = read
    end
  end
  listing:close()
  return cards
end

--- Whether this machine has what a card `needs`: "lapack".
function sweep.have(needs)
  assert(needs == "lapack")
  local ok, message = pcall(ml.op.det, ml.ones(1, 1))
  assert(ok or message:find("needs LAPACK", 1, true), message)
  return ok
end

-- Elements of matrices of this shape: a value on the diagonals, 0 elsewhere.
local function diagonal(shape, value)
  local n, m, list, count = shape[#shape], shape[#shape - 1], {}, 1
  for i = 1, #shape do count = count * shape[i] end
  for i = 0, count - 1 do list[i + 1] = math.floor(i / n) % m == i % n and value or 0 end
  return list
end

--- Values for one tensor argument. Every one is drawn anew, by case and argument.
function sweep.draw(shape, dtype, domain, stream, strided)
  local lo, hi = -1, 1
  if domain then lo, hi = domain[1], domain[2] end
  local sizes = {}
  for i = 1, #shape do sizes[i] = shape[i] end
  -- strided: the last two axes drawn the other way round, then transposed back
  local flip = strided and #shape >= 2
  if flip then sizes[#sizes], sizes[#sizes - 1] = sizes[#sizes - 1], sizes[#sizes] end
  local t
  if dtype == "i32" or dtype == "i64" then
    t = ml.uniform(lo, hi + 1, sizes, { dtype = "f64", seed = 7, stream = stream }):to(dtype)
  else
    t = ml.uniform(lo, hi, sizes, { dtype = dtype, seed = 7, stream = stream })
  end
  if shape.diagonal then
    t = t + ml.tensor(diagonal(sizes, shape.diagonal), dtype):reshape(sizes)
  end
  return flip and t:transpose(-1, -2) or t
end
local draw = sweep.draw

local function is_float(spec) return spec:match("f64") or spec:match("^%w+%[") end

--- Arguments of a case in the card's order; which of them are tensors of the swept dtype.
function sweep.arguments(card, case, dtype, strided)
  local args, floats = {}, {}
  for i, a in ipairs(card.arg) do
    local spec, name = a[2]:gsub("^state ", ""), a[1]:gsub("%?$", "")
    local v, domain = case[name], card.domain and card.domain[name]
    if spec:match("^list ") then
      local list = {}
      for k, shape in ipairs(v) do
        list[k] = draw(shape, dtype, domain, 100 * i + k, false)
        floats[#floats + 1] = { list = list, at = k, name = name }
      end
      args[i] = list
    elseif spec:match("%[") and v and v.bool then
      args[i] = draw(v.bool, "i32", { 0, 1 }, 100 * i, false):to("bool")
    elseif spec:match("%[") and v and v.float then -- where integers would do, too
      args[i] = draw(v.float, dtype, { 0, 1 }, 100 * i, strided)
      floats[#floats + 1] = { list = args, at = i, name = name }
    elseif spec:match("%[") and v then
      local integer, truth = spec:match("^i%d") ~= nil, spec:match("^bool%[")
      if truth then
        args[i] = draw(v, "i32", { 0, 1 }, 100 * i, false):to("bool")
      elseif v.values then
        args[i] = ml.tensor(v.values, integer and "i32" or dtype)
      else
        args[i] = draw(v, integer and "i32" or dtype, domain, 100 * i, strided and not integer)
      end
      if not integer and not truth and is_float(a[2]) then
        floats[#floats + 1] = { list = args, at = i, name = name }
      end
    else
      args[i] = v
    end
  end
  return args, floats
end

--- The operation of a card; what it writes into is a copy, so that every call finds the same.
function sweep.call(card, args)
  local given = {}
  for i, a in ipairs(card.arg) do
    given[i] = a[2]:match("^state ") and args[i] and args[i]:clone() or args[i]
  end
  return ml.op[card.name](unpack(given, 1, #card.arg))
end

--- Whether a card has a gradient by the argument.
function sweep.differentiable(card, name)
  if not card.grad then return false end
  if card.constant and card.constant[name] then return false end
  for _, a in ipairs(card.arg) do
    if a[1]:gsub("%?$", "") == name and a[2]:match("^state ") then return false end
  end
  if type(card.grad) == "table" then return card.grad[name] ~= nil end
  return true
end

return sweep
