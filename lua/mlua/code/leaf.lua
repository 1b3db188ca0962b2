--- Values whose digest needs no walk: numbers, strings, what Lua and mlua bring along, tensors.
-- @module mlua.code.leaf
local sha256 = require "mlua.ffi.hash".sha256

local leaf = {}

jit.off(true, true) -- most functions are seen once: compiling this would take longer

-- -- Lua's own --

local BUILTIN = {} -- functions, tables and files of Lua's libraries, by value

for _, library in ipairs { "bit", "coroutine", "debug", "ffi", "io", "jit", "math", "os", "package",
                           "string", "table", "_G" } do
  local t = package.loaded[library]
  if t then
    BUILTIN[t] = library
    for name, v in pairs(t) do
      local kind = type(v)
      if type(name) == "string" and (kind == "function" or kind == "userdata")
        or v == package.loaded or v == package.preload then
        BUILTIN[v] = library == "_G" and name or library .. "." .. name
      end
    end
  end
end

--- The name that a value of Lua's libraries has, "string.format"; nil for others.
function leaf.builtin(v) return BUILTIN[v] end

-- -- modules --

local modules = {}   -- names of tables that package.loaded has
local exported = {}  -- functions that mlua's modules have, the name of the field
local of_c = {}      -- other modules' functions in C

-- Folders of mlua's own Lua files: sources and what the build wrote.
local own = { debug.getinfo(1, "S").source:match("^(@.*/)code/leaf%.lua$") }
own[2] = "@" .. (package.searchpath("mlua.ffi.ops", package.path) or ""):match("^(.-)ffi/ops%.lua$")

local infos = setmetatable({}, { __mode = "k" })

--- What debug.getinfo(f, "S") says.
function leaf.info(f)
  local info = infos[f]
  if not info then
    info = debug.getinfo(f, "S")
    infos[f] = info
  end
  return info
end

--- A function's file and line where the file is one of mlua's, "tensor.lua:12"; else nil.
-- @tparam table info  what debug.getinfo(f, "S") says
-- @treturn ?string
function leaf.own(info)
  local source = info.source
  for i = 1, #own do
    if source:sub(1, #own[i]) == own[i] then
      return source:sub(#own[i] + 1) .. ":" .. info.linedefined
    end
  end
end

local function least(names, v, name)
  if not names[v] or name < names[v] then names[v] = name end
end

local function is_mlua(name) return name == "mlua" or name:sub(1, 5) == "mlua." end

local function scan_fields(name, t)
  local ours = is_mlua(name)
  for key, v in next, t do
    if type(key) == "string" and type(v) == "function" then
      least(ours and exported or of_c, v, ours and key or name .. "." .. key)
    end
  end
end

local scanned -- how many modules were loaded then

--- Look again at what is loaded, where there is more than before.
-- @tparam ?boolean again  in any case
function leaf.scan(again)
  local count = 0
  for _ in pairs(package.loaded) do count = count + 1 end
  if count == scanned and not again then return end
  scanned = count
  modules, exported, of_c = {}, {}, {}
  for name, t in pairs(package.loaded) do
    if type(t) == "table" and not BUILTIN[t] and type(name) == "string" then
      least(modules, t, name)
      scan_fields(name, t)
    elseif type(t) == "function" then
      of_c[t] = name
    end
  end
end

--- The name under which a table was required; nil for other tables.
function leaf.module(t) return modules[t] end

--- Whether a table is one of mlua's modules.
function leaf.is_mlua(t) return modules[t] ~= nil and is_mlua(modules[t]) end

--- The text of a metatable that is a class of mlua's; nil for others.
-- @tparam table t
-- @treturn ?string
function leaf.class(t)
  local first
  for key, v in next, t do
    if type(v) == "function" then
      local place = leaf.own(leaf.info(v))
      if not place then return nil end
      place = tostring(key) .. " " .. place
      first = first and first < place and first or place
    end
  end
  return first and "mlua " .. first
end

-- -- texts --

local function number(v)
  return v ~= v and "nan" or ("%.17g"):format(v)
end

--- A string, number, boolean or nil as text that no other value has.
-- @param v
-- @treturn ?string  nil for a value of another type
function leaf.plain(v)
  local kind = type(v)
  if kind == "string" then return "s" .. #v .. ":" .. v
  elseif kind == "number" then return "n" .. number(v) .. ";"
  elseif kind == "boolean" or kind == "nil" then return tostring(v) .. ";"
  end
end

local function tensor_text(v)
  local store = require "mlua.ffi.store"
  local dtype, shape, data, bytes, keep = store.tensor_bytes(v)
  local text = ("tensor %s %s %s;"):format(dtype, table.concat(shape, "x"), sha256(data, bytes))
  return keep and text
end

local function cdata_text(v)
  local core = package.loaded["mlua.ffi"]
  if core and core.is_tensor(v) then -- or the type of tensors, or one that was freed
    local there, text = pcall(tensor_text, v)
    if there then return text end
  end
  local shown, text = pcall(tostring, v)
  if shown and (text:match("^%-?%d+U?LL$") or text:match("^[^:]*%di$")
    or text:match("^ctype<") and not text:match("%a %d+")) then
    return "cdata " .. text .. ";"
  end
  return "cdata;", "is cdata other than a tensor, which counts by that alone"
end

local function function_text(f)
  local info = leaf.info(f)
  if info.what == "C" then return "function " .. (of_c[f] or "of C") .. ";" end
  local place = leaf.own(info)
  if place and exported[f] then return "mlua " .. exported[f] .. " " .. place .. ";" end
end

--- A value as text where no walk is needed: the same in all processes.
-- @param v
-- @treturn ?string  nil: a table or function to be walked
-- @treturn ?string  what to note about it, to follow its name
function leaf.text(v)
  local text = leaf.plain(v)
  if text then return text end
  if BUILTIN[v] then return "Lua " .. BUILTIN[v] .. ";" end
  local kind = type(v)
  if kind == "table" then return leaf.is_mlua(v) and "mlua " .. modules[v] .. ";" or nil
  elseif kind == "function" then return function_text(v)
  elseif kind == "cdata" then return cdata_text(v)
  elseif kind == "thread" then return "coroutine;", "is a coroutine, which counts by that alone"
  end
  return kind .. ";", "is userdata, which counts by that alone"
end

return leaf
