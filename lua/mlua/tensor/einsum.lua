--- einsum: sums of products by named axes, contracted two at a time through matmul.
-- @module mlua.tensor.einsum
local core = require "mlua.ffi"

local views = require "mlua.tensor.view"

local op, bad, bad_argument, is_tensor = core.op, core.bad, core.bad_argument, core.is_tensor
local shape_of, shape_text = views.shape_of, views.shape_text
local view, layout = views.view, views.layout

-- Axes are named by letters; those of "..." by -1 (the last), -2, …
local function letters(text, equation)
  local list, at = {}, 1
  while at <= #text do
    local c = text:sub(at, at)
    if text:sub(at, at + 2) == "..." then
      list[#list + 1], at = "...", at + 3
    elseif c:match("%a") then
      list[#list + 1], at = c, at + 1
    else
      bad(1, "einsum", "expected letters, '...', ',' and '->', got %s in %s", core.what(c),
        core.what(equation))
    end
  end
  return list
end

local function parse(equation)
  local text = equation:gsub("%s", "")
  local left, right = text:match("^(.-)%->(.*)$")
  local inputs = {}
  for part in ((left or text) .. ","):gmatch("(.-),") do
    inputs[#inputs + 1] = letters(part, equation)
  end
  return inputs, right and letters(right, equation)
end

-- The letters of an operand as names of its axes, "..." opened into as many as it lacks.
local function named(list, ndim, position)
  local names, dots = {}, 0
  for _, c in ipairs(list) do if c == "..." then dots = dots + 1 end end
  local open = ndim - (#list - dots)
  if dots > 1 or open < 0 or (dots == 0 and open > 0) then
    bad(position, "einsum", "expected %s, got %d axes", dots > 1 and "'...' once"
      or (dots == 1 and "at least %d axes" or "%d axes"):format(#list - dots), ndim)
  end
  for _, c in ipairs(list) do
    if c == "..." then
      for d = -open, -1 do names[#names + 1] = d end
    else
      names[#names + 1] = c
    end
  end
  return names
end

-- A view in which every name comes once: of axes with one name, their diagonal.
local function diagonals(t, names, position)
  local shape, stride = layout(t)
  local at, list, sizes, steps = {}, {}, {}, {}
  for i, c in ipairs(names) do
    local k = at[c]
    if not k then
      k = #list + 1
      at[c], list[k], sizes[k], steps[k] = k, c, shape[i], stride[i]
    elseif sizes[k] ~= shape[i] then
      bad(position, "einsum", "axis %s: sizes %d and %d", c, sizes[k], shape[i])
    else
      steps[k] = steps[k] + stride[i]
    end
  end
  if #list == #names then return t, list end
  return view(t, sizes, steps, 0), list
end

local function set_of(list)
  local set = {}
  for i, c in ipairs(list) do set[c] = i end
  return set
end

-- Its axes in the order of `to`; those it lacks with size 1.
local function arranged(x, to)
  local shape, stride = layout(x.t)
  local sizes, steps, moved = {}, {}, #x.names ~= #to
  for i, c in ipairs(to) do
    local d = x.at[c]
    moved = moved or d ~= i
    sizes[i], steps[i] = d and shape[d] or 1, d and stride[d] or 1
  end
  if not moved then return x.t end
  return view(x.t, sizes, steps, 0)
end

-- Sums away the axes that nothing else needs.
local function summed(x, needed)
  local t, names = x.t, {}
  for d = #x.names, 1, -1 do
    if needed(x.names[d]) then table.insert(names, 1, x.names[d]) else t = op.sum(t, d) end
  end
  return { t = t, names = names, at = set_of(names) }
end

-- As matrices: axes [batch…, rows, columns], each of rows and columns one axis, by joining many.
local function as_matrices(x, batch, rows, columns, size)
  local order, sizes, whole = {}, {}, #rows == 1 and #columns == 1 and #batch <= 6
  local function product(list)
    local n = 1
    for _, c in ipairs(list) do n = n * size[c] end
    return n
  end
  for _, list in ipairs { batch, rows, columns } do
    for _, c in ipairs(list) do order[#order + 1] = c end
  end
  local t = arranged(x, order)
  if whole then return t end
  for _, c in ipairs(batch) do sizes[#sizes + 1] = size[c] end
  if #batch > 6 then sizes = { product(batch) } end
  sizes[#sizes + 1], sizes[#sizes + 2] = product(rows), product(columns)
  return t:reshape(sizes)
end

-- Broadcast along the axes of size 1 that are larger elsewhere.
local function widened(x, size)
  local shape, stride = layout(x.t)
  local changed = false
  for d, c in ipairs(x.names) do
    if shape[d] ~= size[c] then shape[d], stride[d], changed = size[c], 0, true end
  end
  if not changed then return x end
  return { t = view(x.t, shape, stride, 0), names = x.names, at = x.at }
end

local function contract(a, b, needed, size)
  a = summed(a, function(c) return b.at[c] or needed(c) end)
  b = summed(b, function(c) return a.at[c] or needed(c) end)
  local batch, rows, columns, inner, names = {}, {}, {}, {}, {}
  for _, c in ipairs(a.names) do
    local to = not b.at[c] and rows or needed(c) and batch or inner
    to[#to + 1] = c
  end
  for _, c in ipairs(b.names) do
    if not a.at[c] then columns[#columns + 1] = c end
  end
  for _, list in ipairs { batch, rows, columns } do
    for _, c in ipairs(list) do names[#names + 1] = c end
  end
  local t
  if #inner == 0 then -- nothing to sum: element by element
    t = op.mul(arranged(a, names), arranged(b, names))
  else
    local sizes = {}
    for i, c in ipairs(names) do sizes[i] = size[c] end
    t = op.matmul(as_matrices(widened(a, size), batch, rows, inner, size),
      as_matrices(widened(b, size), batch, inner, columns, size))
    t = t:reshape(sizes)
  end
  return { t = t, names = names, at = set_of(names) }
end

-- The names that come out, where the equation does not say: "..." and what comes once, sorted.
local function implied(operands, ellipsis)
  local count, out = {}, {}
  for _, names in ipairs(operands) do
    for _, c in ipairs(names) do count[c] = (count[c] or 0) + 1 end
  end
  for c, n in pairs(count) do
    if type(c) == "string" and n == 1 then out[#out + 1] = c end
  end
  table.sort(out)
  for d = -1, -ellipsis, -1 do table.insert(out, 1, d) end
  return out
end

local function checked_output(right, known, ellipsis)
  local out, seen = {}, {}
  for _, c in ipairs(right) do
    if seen[c] then bad(1, "einsum", "axis %s comes out twice", c) end
    seen[c] = true
    if c == "..." then
      for d = -ellipsis, -1 do out[#out + 1] = d end
    elseif not known[c] then
      bad(1, "einsum", "axis %s comes out, but in no tensor goes in", c)
    else
      out[#out + 1] = c
    end
  end
  return out
end

--- A sum of products, its axes named by letters: `einsum("bij,bjk->bik", x, y)`.
-- Each tensor's axes are named in turn; "..." stands for any number of them, which broadcast.
-- Names left out after "->" are summed over; without "->" all that come once are kept, in the order
-- of the alphabet. A name that one tensor has twice takes its diagonal. Sizes of 1 broadcast.
-- Tensors are contracted from the left, two at a time.
-- @tparam string equation
-- @tparam Tensor ...  floats; their dtypes meet as docs/tensors.md says
-- @treturn Tensor
-- @raise one line that names the axis, or the tensor, that does not fit
local function einsum(equation, ...)
  if type(equation) ~= "string" then
    bad_argument(1, "einsum", "equation", "a string", equation)
  end
  local inputs, right = parse(equation)
  local n = select("#", ...)
  if n ~= #inputs then
    bad(1, "einsum", "%s: expected %d tensors, got %d", core.what(equation), #inputs, n)
  end
  local list, given, size, ellipsis = {}, {}, {}, 0
  for i = 1, n do
    local t = (select(i, ...))
    if not is_tensor(t) then bad_argument(i + 1, "einsum", "operand", "a tensor", t) end
    given[i] = named(inputs[i], t:dim(), i + 1)
    local own, names = diagonals(t, given[i], i + 1)
    list[i] = { t = own, names = names, at = set_of(names) }
    for d, s in ipairs(shape_of(own)) do
      local c = names[d]
      if type(c) == "number" then ellipsis = math.max(ellipsis, -c) end
      if size[c] and size[c] ~= s and size[c] ~= 1 and s ~= 1 then
        bad(i + 1, "einsum", "axis %s: expected %d, got %s", type(c) == "number" and "..." or c,
          size[c], shape_text(shape_of(t)))
      end
      if not size[c] or size[c] == 1 then size[c] = s end
    end
  end
  local out = right and checked_output(right, size, ellipsis) or implied(given, ellipsis)
  local wanted = set_of(out)
  local x = list[1]
  for i = 2, n do
    x = contract(x, list[i], function(c)
      if wanted[c] then return true end
      for k = i + 1, n do if list[k].at[c] then return true end end
      return false
    end, size)
  end
  x = summed(x, function(c) return wanted[c] end)
  return arranged(x, out)
end

return einsum
