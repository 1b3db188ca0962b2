--- What a dotted name stands for, and which names may follow it, without running a user's code.
--
-- Fields are read raw. Of metatables, tables under __index are followed; a function there is called
-- only where it is one of mlua's own, which load a module on first use.
-- @module mlua.repl.names
local names = {}

local getmetatable = debug.getmetatable

-- The folders of mlua's modules: this file's, and that of the generated ones.
local roots
local function own_roots()
  if not roots then
    local generated = package.searchpath("mlua.ffi.cdef", package.path) or ""
    roots = { debug.getinfo(1, "S").source:match("^@(.*/)repl/"), generated:match("^(.*/)ffi/") }
  end
  return roots
end

--- The path of one of mlua's own source files from their folder on; nil for another's.
-- @tparam string source  as debug.getinfo has it, "@path"
-- @treturn ?string       "tensor/text.lua"
function names.own_path(source)
  for _, root in ipairs(own_roots()) do
    if source:sub(2, #root + 1) == root then return source:sub(#root + 2) end
  end
end

local function is_own(f)
  return type(f) == "function" and names.own_path(debug.getinfo(f, "S").source) ~= nil
end

--- Whether a value is a tensor; mlua is not loaded for the question.
function names.is_tensor(v)
  local core = package.loaded["mlua.ffi"]
  return type(v) == "cdata" and core ~= nil and core.is_tensor(v)
end

-- Where else a value's fields are: the table of methods, or a function of mlua's own; or nil.
local function index_of(v)
  if names.is_tensor(v) then return package.loaded["mlua.tensor"].Tensor end
  if type(v) == "cdata" then return nil end
  local meta = getmetatable(v)
  local index = type(meta) == "table" and rawget(meta, "__index")
  if type(index) == "table" or is_own(index) then return index end
end

--- A field of a value, or nil.
-- @param v
-- @param key
function names.field(v, key)
  if names.is_tensor(v) and type(key) == "string" and key:find("^%a[%w_]*_$") then
    local ok, method = pcall(function() return v[key] end) -- add_ is made when it is asked for
    return ok and method or nil
  end
  for _ = 1, 20 do
    if type(v) == "table" and rawget(v, key) ~= nil then return rawget(v, key) end
    local index = index_of(v)
    if type(index) == "function" then
      local ok, value = pcall(index, v, key)
      return ok and value or nil
    end
    if index == nil or index == v then return nil end
    v = index
  end
end

-- The names that a function of mlua's own would load: its table `lazy`.
local function lazy_names(f)
  for i = 1, 20 do
    local name, value = debug.getupvalue(f, i)
    if not name then return {} end
    if name == "lazy" and type(value) == "table" then return value end
  end
  return {}
end

-- Tables whose keys are the fields of a value whose metatable says so: a node's.
local function own_fields(v)
  local meta = getmetatable(v)
  local fields = type(meta) == "table" and rawget(meta, "__fields")
  if not is_own(fields) then return nil, nil end
  return fields(v)
end

--- The fields of a value that are names, sorted.
-- @param v
-- @treturn {string,...}
function names.fields(v)
  local seen, list = {}, {}
  local function add(t)
    for key in next, t do
      if type(key) == "string" and not seen[key] and key:find("^[%a_][%w_]*$") then
        seen[key] = true
        list[#list + 1] = key
      end
    end
  end
  for _ = 1, 20 do
    if type(v) == "table" then
      add(v)
      for _, fields in ipairs { own_fields(v) } do add(fields) end
    end
    local index = index_of(v)
    if type(index) == "function" then add(lazy_names(index)) end
    if type(index) ~= "table" or index == v then break end
    v = index
  end
  table.sort(list)
  return list
end

--- The words of a name: "model.layers[2]:forward" → { "model", "layers", 2, "forward" }.
-- @tparam string text
-- @treturn ?table  nil where it is anything else
function names.split(text)
  local first, rest = text:match("^%s*([%a_][%w_]*)(.*)$")
  if not first then return nil end
  local words = { first }
  while rest:find("%S") do
    local word, after = rest:match("^%s*[.:]%s*([%a_][%w_]*)(.*)$")
    if not word then
      word, after = rest:match("^%s*%[%s*(%d+)%s*%](.*)$")
      word = tonumber(word)
    end
    if not word then return nil end
    words[#words + 1], rest = word, after
  end
  return words
end

--- What a name stands for.
-- @tparam table words  as split gives them
-- @return the value, or nil, how many words were found
function names.resolve(words)
  local v = _G
  for i, word in ipairs(words) do
    local found = names.field(v, word)
    if found == nil then return nil, i - 1, v end
    v = found
  end
  return v, #words
end

return names
