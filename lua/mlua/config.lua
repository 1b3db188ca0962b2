--- Configuration files: values for the parameters of a spec, with the lines they came from.
--
--     # big.yaml                       mlua recipe.lua --config big.yaml --lr 0.2
--     lr: 0.05
--     top: [1024, 512]                 a list, or the text that the option takes: 1024-512
--     Clicks:                          a section: the option --Clicks.seed
--       seed: 3
--
-- A file that ends in .lua holds the same as a table: { lr = 0.05, Clicks = { seed = 3 } }; it is
-- read, not run. A key is an option's name, or another spelling of it; a section joins names by
-- dots. A value is read by its parameter, which alone knows its type. All mistakes are told at
-- once, each with its file, line and key.
-- @module mlua.config
local files = require "mlua.ffi.files"
local text = require "mlua.text"

local M = {}

local LARGEST = 2 ^ 22 -- bytes of a file

-- -- reading -----------------------------------------------------------------------------------

--- Read a file.
-- @tparam string path
-- @treturn ?table  a node, as mlua.config.yaml describes it; nil where there are mistakes
-- @treturn {string,...}  or else all mistakes, as "FILE:LINE: …"
function M.read(path)
  local kind, size = files.look(path)
  if kind ~= "file" then
    return nil, { ("%s: %s"):format(path, kind and "not a regular file" or "no such file") }
  elseif size > LARGEST then
    return nil, { ("%s: more than %d MB"):format(path, LARGEST / 2 ^ 20) }
  end
  local file, why = io.open(path, "rb")
  if not file then return nil, { why } end
  local bytes = file:read "*a"
  file:close()
  local reader = path:find "%.lua$" and "literal" or "yaml"
  local root, mistakes = require("mlua.config." .. reader).read(bytes)
  if root then return root end
  for i, mistake in ipairs(mistakes) do
    mistakes[i] = ("%s:%d: %s"):format(path, mistake.line, mistake.message)
  end
  return nil, mistakes
end

-- -- values ------------------------------------------------------------------------------------

local function shown(node)
  if node.kind == "scalar" then
    return (node.quoted and "the string '%s'" or "'%s'"):format(text.clip(node.text, 40))
  end
  return node.kind == "null" and "nothing" or "a " .. (node.kind == "map" and "section" or "list")
end

local function of_list(p, node)
  local texts = {}
  for i, item in ipairs(node.items or {}) do
    if item.kind ~= "scalar" or p.kind.bare and item.quoted then
      return nil, ("expected %s, got %s"):format(p.kind.one or "a string", shown(item))
    end
    texts[i] = item.text
  end
  return p.kind.parts(p, texts)
end

-- What a parameter makes of a node; nil and a message.
local function value_of(entry, node)
  local p = entry.param
  if entry.convert and node.kind == "scalar" then return node.text end
  local empty = node.kind == "map" and not node.keys[1] -- in Lua, of a list as of a section
  if p.kind.parts and (node.kind == "list" or empty) then return of_list(p, node) end
  if node.kind ~= "scalar" or node.quoted and p.kind.bare then
    local wanted = p.choices and text.list(p.choices) or p.kind.parts and "a list"
      or p.kind.one or "a " .. p.kind.name
    return nil, ("expected %s, got %s"):format(wanted, shown(node))
  end
  return p:read(node.text)
end

-- Names that stand below a prefix, without it.
local function names_below(spec, prefix)
  local names = {}
  for _, entry in ipairs(spec.list) do
    if entry.name:sub(1, #prefix) == prefix then names[#names + 1] = entry.name:sub(#prefix + 1) end
  end
  return names
end

--- Set what a file says.
-- @tparam Spec spec
-- @tparam table root  a file's node
-- @tparam string path  of the file
-- @tparam function set  (entry, value, from, written) → true, or nil and a message
-- @treturn {string,...}  all mistakes
function M.apply(spec, root, path, set)
  local mistakes, seen = {}, {}
  local function mistake(line, name, message)
    mistakes[#mistakes + 1] = ("%s:%d: %s: %s"):format(path, line, name, message)
  end
  local function walk(map, prefix)
    for _, key in ipairs(map.keys) do
      local name, node = prefix .. key.name, key.node
      local entry = spec.flags[name:gsub("_", "-")]
      if entry and seen[entry.name] then
        mistake(key.line, name, ("the same as %s in line %d"):format(unpack(seen[entry.name])))
      elseif entry then
        seen[entry.name] = { name, key.line }
        local value, problem = value_of(entry, node)
        local ok
        if value ~= nil then
          ok, problem = set(entry, value, ("%s:%d"):format(path, key.line), name)
        end
        if value == nil or not ok then mistake(key.line, name, problem) end
      elseif spec.sections[name] and node.kind == "map" then
        walk(node, name .. ".")
      elseif spec.sections[name] and node.kind ~= "null" then
        mistake(key.line, name, "expected a section, got " .. shown(node))
      elseif not spec.sections[name] then
        mistake(key.line, name,
          "unknown key" .. text.did_you_mean(key.name, names_below(spec, prefix)))
      end
    end
  end
  walk(root, "")
  return mistakes
end

return M
