--- Parts of a tensor: `t[…]` reads them and `t[…] = value` writes into them.
--
--     t[2]                      the second row, a view; of one axis: an element, of no axes
--     t[{ 2, -1 }]              one item per axis; the axes that have none are whole
--     t[{ {2, 5}, {} }]         rows 2 to 5, both included, whole: {from, to, step}, each optional
--     t[{ {nil, nil, -1} }]     the rows from the last to the first
--     t[{ "...", 1 }]           "..." stands for the axes between; "new" is a new one of size 1
--     t["2:5, ::2"]             the same in a string
--     t[ids]                    rows by an i64 or i32 tensor of ids, from 0 as in all data
--     t[mask]                   the elements (or rows) where a bool tensor is true
--     t[{ {}, ids }]            tensors as items; several are broadcast, and walked side by side
--
-- Positions count from 1, or from the end when negative; one outside is a mistake, as is an end
-- before its beginning (but for the empty range that ends just before it). Without tensors a part
-- is a view, and on the tape; with tensors it is a copy, and gradients flow back through it. Where
-- tensors among the items are side by side their axes stand in their place, else they come first.
-- @module mlua.tensor.index
local core = require "mlua.ffi"

local create = require "mlua.tensor.create"
local views = require "mlua.tensor.view"

local C, own, new_ref, is_tensor = core.C, core.own, core.new_ref, core.is_tensor
local misuse, check, is_whole = core.misuse, core.check, create.is_whole

local index = {}

local EXPECTED = "a position, {from, to, step}, '...', 'new' or a tensor"

-- -- items in a string --

--- Whether a key is a list of items in a string, and not the name of a field.
-- @tparam string key
-- @treturn boolean
function index.is_text(key)
  return key == "new" or key:find("^%s*[%d:.-]") ~= nil or key:find("[,:]") ~= nil
end

local function read_item(text)
  if text == "..." or text == "new" then return text end
  local function number(digits) return digits ~= "" and tonumber(digits) or nil end
  if text:find("^%-?%d+$") then return tonumber(text) end
  local from, to, step = (text .. "::"):match("^(%-?%d*)%s*:%s*(%-?%d*)%s*:%s*(%-?%d*):*$")
  if not from or not text:find(":", 1, true) or (" " .. from .. to .. step .. " "):find("%-%D") then
    misuse(("index: %s: expected a position, from:to:step, '...' or 'new'"):format(
      core.what(text)))
  end
  return { number(from), number(to), number(step) }
end

local parsed, parsed_n = {}, 0

local function parse(text)
  local items = parsed[text]
  if items then return items end
  items = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    items[#items + 1] = read_item(part:match "^%s*(.-)%s*$")
  end
  if parsed_n == 256 then parsed, parsed_n = {}, 0 end -- texts may be made up as a program runs
  parsed[text], parsed_n = items, parsed_n + 1
  return items
end

-- -- items --

-- A range along an axis of n: its first position from 0, how many, and the step.
local function range_in(n, item, axis)
  for k in pairs(item) do
    if k ~= 1 and k ~= 2 and k ~= 3 then
      misuse(("index: a range is {from, to, step}; it has no [%s]"):format(core.what(k)))
    end
  end
  local step = item[3] == nil and 1 or item[3]
  local from, to = item[1], item[2]
  local backward = type(step) == "number" and step < 0
  if from == nil then from = backward and n or 1 end
  if to == nil then to = backward and 1 or n end
  if not (is_whole(from) and is_whole(to) and is_whole(step)) then
    local wrong = not is_whole(from) and from or not is_whole(to) and to or step
    misuse(("index: axis %d: expected whole numbers {from, to, step}, got %s"):format(axis,
      core.what(wrong)))
  end
  if step == 0 then misuse(("index: axis %d: a step of 0"):format(axis)) end
  local lo, hi = from < 0 and from + n + 1 or from, to < 0 and to + n + 1 or to
  local low, high = lo, hi
  if step < 0 then low, high = hi, lo end
  if low < 1 or high > n or high < low - 1 then
    misuse(("index: %d to %d of %d along axis %d"):format(from, to, n, axis))
  end
  if high < low then return 0, 0, 1 end
  return lo - 1, math.floor((high - low) / math.abs(step)) + 1, step
end

-- The number of axes that an item takes.
local function axes_of(item, k)
  if type(item) == "number" or type(item) == "table" then return 1 end
  if item == "new" or item == "..." then return 0 end
  if not is_tensor(item) then
    misuse(("index: item %d: expected %s, got %s"):format(k, EXPECTED, core.what(item)))
  end
  local i = core.info(item)
  if i.dtype == C.ML_BOOL then
    if i.ndim == 0 then misuse "index: a mask of no axes" end
    return i.ndim
  elseif i.dtype ~= C.ML_I64 and i.dtype ~= C.ML_I32 then
    misuse(("index: expected ids of i64 or i32, or a bool mask, got %s"):format(
      core.dtypes[i.dtype]))
  end
  return 1
end

-- The items of a key as a list, how many, and how many axes they take; '...' is one.
local function items_of(key, ndim)
  local given = is_tensor(key) and { key } or type(key) == "number" and { key }
    or type(key) == "string" and parse(key) or key
  if type(given) ~= "table" then
    misuse(("index: expected %s, or a list of them, got %s"):format(EXPECTED, core.what(key)))
  end
  local items, n, taken, gaps = {}, 0, 0, 0
  for k in pairs(given) do
    if not is_whole(k) or k < 1 then
      misuse(("index: a list of items has no [%s]"):format(core.what(k)))
    end
    n = math.max(n, k)
  end
  if n > 64 then misuse(("index: %d items"):format(n)) end
  for k = 1, n do
    local item = given[k]
    if type(item) == "string" and item ~= "..." and item ~= "new" then item = read_item(item) end
    items[k] = item
    taken = taken + axes_of(item, k)
    if item == "..." then gaps = gaps + 1 end
  end
  if gaps > 1 then misuse "index: '...' twice" end
  if taken > ndim then
    misuse(("index: items for %d axes of a tensor of %d"):format(taken, ndim))
  end
  return items, n, taken
end

local function check_mask(mask, shape, d)
  local got, fits = views.shape_of(mask), true
  for k = 1, #got do fits = fits and got[k] == shape[d + k] end
  if fits then return end
  local want = {}
  for k = 1, #got do want[k] = shape[d + k] end
  misuse(("index: expected a mask of shape %s, got %s"):format(views.shape_text(want),
    views.shape_text(got)))
end

-- What a key asks for: the layout of a view (shape, stride, offset), and `picks`, the tensors in
-- the key: each with the axis of the view that it starts at and how many axes it counts.
local function resolve(t, key)
  local shape, stride = views.layout(t)
  local items, n, taken = items_of(key, #shape)
  local part = { shape = {}, stride = {}, offset = 0, picks = nil }
  local d = 0 -- axes of t that are done
  local function pass(count)
    for _ = 1, count do
      d = d + 1
      part.shape[#part.shape + 1], part.stride[#part.stride + 1] = shape[d], stride[d]
    end
  end
  for k = 1, n do
    local item = items[k]
    local at = #part.shape + 1
    if item == "..." then
      pass(#shape - taken)
    elseif item == "new" then
      part.shape[at], part.stride[at] = 1, 1
    elseif type(item) == "number" then
      d = d + 1
      part.offset = part.offset + views.position_in(shape[d], item, d, "index", k) * stride[d]
    elseif type(item) == "table" then
      d = d + 1
      local first, count, step = range_in(shape[d], item, d)
      part.shape[at] = count
      part.stride[at] = count > 1 and stride[d] * step or stride[d]
      part.offset = part.offset + first * stride[d]
    else
      local axes = axes_of(item, k)
      if core.info(item).dtype == C.ML_BOOL then check_mask(item, shape, d) end
      part.picks = part.picks or {}
      part.picks[#part.picks + 1] = { at = at, axes = axes, tensor = item }
      pass(axes)
    end
  end
  pass(#shape - d)
  return part
end

-- -- ids --

-- One tensor of ids for all picks, and whether it was made here.
local function ids_of(part)
  local list, sizes, made = {}, {}, {}
  for k, pick in ipairs(part.picks) do
    local ids = pick.tensor
    if core.info(ids).dtype == C.ML_BOOL then
      local out = new_ref()
      check(C.ml_mask_ids(out, ids))
      ids = own(out)
      made[#made + 1] = ids
    end
    sizes[k] = 1
    for d = pick.at, pick.at + pick.axes - 1 do sizes[k] = sizes[k] * part.shape[d] end
    list[k] = ids
  end
  if #list == 1 then return list[1], made[1] ~= nil end
  local out, refs = new_ref(), core.ref_list(list)
  check(C.ml_join_ids(out, refs.array, refs.n, (core.sizes(sizes))))
  for _, ids in ipairs(made) do core.free(ids) end
  return own(out), true
end

-- The view of a part with the picked axes first: it, how many they are, and how many axes stand
-- before them in the part where they are side by side (0 where they are not).
local function picked_first(t, part)
  local order, picked, before = {}, {}, part.picks[1].at - 1
  local next_at = before + 1
  for _, pick in ipairs(part.picks) do
    if pick.at ~= next_at then before = 0 end
    next_at = pick.at + pick.axes
    for d = pick.at, next_at - 1 do
      order[#order + 1] = d
      picked[d] = true
    end
  end
  local axes, shape, stride = #order, {}, {}
  for d = 1, #part.shape do
    if not picked[d] then order[#order + 1] = d end
  end
  for i, d in ipairs(order) do shape[i], stride[i] = part.shape[d], part.stride[d] end
  return views.view(t, shape, stride, part.offset), axes, before
end

-- The order of axes that puts those of n ids, which stand first of `total`, behind `before` others.
local function placed(n, total, before)
  local order = {}
  for d = 1, before do order[d] = n + d end
  for d = 1, n do order[before + d] = d end
  for d = n + before + 1, total do order[d] = d end
  return order
end

local function gather(t, part)
  local ids, made = ids_of(part)
  local v, axes, before = picked_first(t, part)
  local n, y = core.info(ids).ndim
  if core.info(v).requires_grad and C.ml_grad_enabled() then
    y = core.op.index_select(axes > 1 and v:flatten(1, axes) or v, ids)
  else
    local out = new_ref()
    check(C.ml_index_get(out, v, axes, ids))
    y = own(out)
  end
  core.free(v)
  if made then core.free(ids) end
  if before == 0 then return y end
  return views.reordered(y, placed(n, core.info(y).ndim, before))
end

-- -- the two that tensors have --

-- The layout of row k, and its offset.
local function row(t, k)
  local shape, stride = views.layout(t)
  if #shape == 0 then misuse "index: items for 1 axes of a tensor of 0" end
  local offset = views.position_in(shape[1], k, 1, "index", 1) * stride[1]
  table.remove(shape, 1)
  table.remove(stride, 1)
  return shape, stride, offset
end

-- The offset of the element that a list of plain positions names, or nil where it is another key.
local function element(t, key)
  local i = core.info(t)
  local n, offset = i.ndim, 0
  if n == 0 or #key ~= n then return nil end
  for d = 1, n do
    if type(key[d]) ~= "number" then return nil end
  end
  for d = 1, n do
    local p = views.position_in(tonumber(i.shape[d - 1]), key[d], d, "index", d)
    offset = offset + p * tonumber(i.stride[d - 1])
  end
  return offset
end

local NONE = {}

--- A part of a tensor.
-- @tparam Tensor t
-- @param key  see above
-- @treturn Tensor
-- @raise index: … for a position, range, mask or id that does not fit
function index.get(t, key)
  if type(key) == "number" then return views.view(t, row(t, key)) end
  local offset = type(key) == "table" and element(t, key)
  if offset then return views.view(t, NONE, NONE, offset) end
  local part = resolve(t, key)
  if part.picks then return gather(t, part) end
  return views.view(t, part.shape, part.stride, part.offset)
end

local function scatter(t, part, value)
  check(C.ml_tensor_writable(t))
  local ids, made = ids_of(part)
  local off = new_ref()
  check(C.ml_detach(off, t))
  local v, axes, before = picked_first(own(off), part)
  local src = is_tensor(value) and value or create.full(value, { dtype = t:dtype() })
  if before > 0 and core.info(src).ndim > 0 then
    local shape, n = views.shape_of(v), core.info(ids).ndim
    local want, back = {}, {}
    local ids_shape = views.shape_of(ids)
    for d = 1, before do want[d] = shape[axes + d] end
    for d = 1, n do want[before + d] = ids_shape[d] end
    for d = axes + before + 1, #shape do want[#want + 1] = shape[d] end
    src = views.expand_to(src, want, "index")
    for at, d in ipairs(placed(n, #want, before)) do back[d] = at end
    src = views.reordered(src, back)
  end
  check(C.ml_index_put(v, axes, ids, src))
  core.free(v)
  core.free(off)
  if made then core.free(ids) end
end

local function assign(t, value, shape, stride, offset)
  local s, n = core.sizes(shape)
  local st = core.sizes(stride)
  if type(value) == "number" then
    check(C.ml_tensor_assign(t, n, s, st, offset, nil, value))
  else
    check(C.ml_tensor_assign(t, n, s, st, offset, value, 0))
  end
end

--- Write into a part of a tensor.
-- @tparam Tensor t
-- @param key    as for `get`; of an id given twice, the last value stays
-- @param value  a number, true or false, or a tensor: broadcast and converted, off the tape
-- @raise index: …, also for a value that does not fit or is on the tape
function index.set(t, key, value)
  core.info(t)
  if type(value) == "boolean" then value = value and 1 or 0 end
  if is_tensor(value) then
    if core.info(value).requires_grad and C.ml_grad_enabled() then
      misuse "index: the value is on the tape; writing it has no gradient: detach() it first"
    end
  elseif type(value) ~= "number" then
    misuse(("index: expected a number or a tensor as the value, got %s"):format(core.what(value)))
  end
  if type(key) == "number" then return assign(t, value, row(t, key)) end
  local offset = type(key) == "table" and element(t, key)
  if offset then return assign(t, value, NONE, NONE, offset) end
  local part = resolve(t, key)
  if part.picks then return scatter(t, part, value) end
  assign(t, value, part.shape, part.stride, part.offset)
end

return index
