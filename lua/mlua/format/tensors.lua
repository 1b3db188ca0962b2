--- The formats tensor, state and tensors: safetensors files.
--
-- A table of tensors comes back as it was: names of nested tables are joined by dots in the file
-- ("layer.weight"), and where there are any, or lists, the metadata's `mlua.tree` tells the nesting
-- as JSON. Files of others have none: they give a table by name. Values alone are saved: tensors
-- that asked for gradients no longer do.
-- @module mlua.format.tensors
local bytes = require "mlua.format.bytes"
local check = require "mlua.check"
local json = require "mlua.json"
local safetensors = require "mlua.safetensors"
local store = require "mlua.ffi.store"
local text = require "mlua.text"

local tensors = {}

local TREE = "mlua.tree"
local DEPTH = 90 -- within mlua.json's

local function path_of(prefix) return prefix == "" and "" or prefix:sub(1, -2) .. ": " end

-- -- tables of tensors as one table by name --

local function kind_of_keys(t, prefix)
  local list, map = 0, false
  for key in pairs(t) do
    if type(key) == "number" then list = list + 1 else map = true end
    if type(key) == "string" and not text.is_utf8(key) then
      return nil, path_of(prefix) .. "a name that is not UTF-8"
    elseif type(key) ~= "string" and type(key) ~= "number" then
      return nil, ("%sexpected names as keys, got %s"):format(path_of(prefix), check.what(key))
    end
  end
  if list > 0 and map then return nil, path_of(prefix) .. "both a list and a map" end
  for i = 1, list do
    if t[i] == nil then return nil, path_of(prefix) .. "a list with holes" end
  end
  return list > 0 and "list" or "map"
end

-- Puts all tensors of `value` into flat.tensors by their dotted names; the tree, as JSON has it.
local function flatten(value, prefix, flat, depth)
  if depth > DEPTH then return nil, ("deeper than %d levels"):format(DEPTH) end
  local kind, message = kind_of_keys(value, prefix)
  if not kind then return nil, message end
  local tree = kind == "list" and json.array() or {}
  flat.nested = flat.nested or depth > 0 or kind == "list"
  for key, item in pairs(value) do
    local name = prefix .. key
    if store.is_tensor(item) then
      if flat.tensors[name] or name == "__metadata__" then
        return nil, ("%s: two tensors, or a reserved word, under this name"):format(name)
      end
      flat.tensors[name], tree[key] = item, name
    elseif type(item) == "table" then
      tree[key], message = flatten(item, name .. ".", flat, depth + 1)
      if not tree[key] then return nil, message end
    else
      return nil, ("%s: expected a tensor, got %s"):format(name, check.what(item))
    end
  end
  return tree
end

local function save_table(value, path)
  local flat = { tensors = {}, nested = false }
  local tree, message = flatten(value, "", flat, 0)
  if not tree then return nil, message, bytes.FORMAT end
  return safetensors.save(path, flat.tensors, flat.nested and { [TREE] = json.encode(tree) } or nil,
    { durable = false })
end

local function check_table(value)
  if type(value) ~= "table" then return "expected a table of tensors, got " .. check.what(value) end
  local tree, message = flatten(value, "", { tensors = {} }, 0)
  return not tree and message or nil
end

-- The tree with tensors in the place of their names, each taken from `left` once.
local function grow(node, left)
  if type(node) == "string" then
    local t = left[node]
    left[node] = nil
    return t, ("%s: no tensor '%s', or twice"):format(TREE, node)
  end
  if type(node) ~= "table" then return nil, TREE .. ": expected names of tensors" end
  for key, item in pairs(node) do
    local value, message = grow(item, left)
    if not value then return nil, message end
    node[key] = value
  end
  return node
end

local function load_table(path)
  local flat, metadata, code = safetensors.load(path)
  if not flat then return nil, metadata, code end
  if not metadata[TREE] then return flat end
  local tree, message = json.decode(metadata[TREE], TREE)
  if type(tree) ~= "nil" then tree, message = grow(tree, flat) end
  local over = next(flat)
  if tree and over then message = ("%s: leaves out '%s'"):format(TREE, over) end
  if type(tree) ~= "table" or over then return nil, path .. ": " .. message, bytes.FORMAT end
  return tree
end

-- The number of tensors in a table, or nil where it holds anything else.
local function count_tensors(value, seen, depth)
  if seen[value] then return 0 end
  seen[value] = true
  local n = 0
  for _, item in pairs(value) do
    if store.is_tensor(item) then
      n = n + 1
    else
      local inner = type(item) == "table" and depth < DEPTH
        and count_tensors(item, seen, depth + 1)
      if not inner then return nil end
      n = n + inner
    end
  end
  return n
end

-- -- one tensor --

local function check_one(value)
  if not store.is_tensor(value) then return "expected a tensor, got " .. check.what(value) end
end

local function load_one(path)
  local flat, message, code = safetensors.load(path)
  if not flat then return nil, message, code end
  local name, t = next(flat)
  if not name or next(flat, name) then
    return nil, ("%s: expected one tensor, got %s"):format(path, name and "several" or "none"),
      bytes.FORMAT
  end
  return t
end

-- -- states --

-- The method that gives an object's state, or nil.
local function method(value)
  if type(value) ~= "table" then return nil end
  for _, name in ipairs { "state", "state_dict" } do
    local ok, f = pcall(function() return value[name] end)
    if ok and type(f) == "function" then return f end
  end
end

local function check_state(value)
  local f = method(value)
  if not f then return "expected a model or an optimiser, got " .. check.what(value) end
  local problem = check_table(f(value))
  return problem and ("its state: %s; a state of other values is saved as a table, by state()")
    :format(problem)
end

local function save_state(value, path) return save_table(method(value)(value), path) end

tensors.formats = {
  { "tensor", {
    doc = "One tensor, as safetensors.", extension = ".safetensors",
    takes = store.is_tensor, check = check_one, load = load_one,
    save = function(value, path) return save_table({ tensor = value }, path) end,
  } },
  { "state", {
    doc = "What a model or optimiser must remember; load gives the table that load_state takes.",
    extension = ".safetensors",
    takes = function(value) return method(value) ~= nil end,
    check = check_state, save = save_state, load = load_table,
  } },
  { "tensors", {
    doc = "A table of tensors by name, of such tables, or of lists, as safetensors.",
    extension = ".safetensors",
    takes = function(value)
      return type(value) == "table" and (count_tensors(value, {}, 0) or 0) > 0
    end,
    check = check_table, save = save_table, load = load_table,
  } },
}

return tensors
