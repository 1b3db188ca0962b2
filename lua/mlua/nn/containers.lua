--- Modules made of modules: chains, lists, dictionaries; and functions as modules.
-- @module mlua.nn.containers
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"

local bad = core.bad

local Lambda = Module.class "Lambda"

--- A function as a module without parameters.
-- @tparam function f
-- @tparam[opt] string name  shown in place of "Lambda"
-- @treturn Lambda
function Lambda.new(f, name)
  check.arg(type(f) == "function", 1, "Lambda", "f: expected a function, got %s", check.what(f))
  check.type(name, 2, "Lambda", "name", "string|nil")
  local self = Lambda.create()
  self.f, self.name = f, name
  return self
end

function Lambda:forward(...) return self.f(...) end
function Lambda:describe() return self.name or "Lambda" end

local Identity = Module.class "Identity"

--- What it is given, unchanged.
-- @treturn Identity
function Identity.new() return Identity.create() end
function Identity:forward(...) return ... end

-- -- members --

local function is_module(m) return type(m) == "table" and m.named_parameters ~= nil end

-- A module, or a function made one; `label` says where it was given.
local function member(value, n, class, label)
  if type(value) == "function" then return Lambda.new(value) end
  if not is_module(value) then
    bad(n, class, "%s: expected a module or a function, got %s", label, check.what(value))
  end
  return value
end

local function check_name(self, name, n, class, label)
  if type(name) ~= "string" or name:find "[%s%.]" then
    bad(n, class, "%s: expected a word without dots, got %s", label, check.what(name))
  end
  if self[name] ~= nil then
    bad(n, class, "%s: '%s' is there already, or a method", label, name)
  end
end

-- Puts a member last, by its number and, where that differs, by its name.
local function push(self, module, name)
  local at = #self + 1
  self:child(name or tostring(at), module)
  self[at] = module
end

local function fill(self, list, class)
  if type(list) ~= "table" or is_module(list) then
    bad(1, class, "expected a list of modules, got %s", check.what(list))
  end
  for i, m in ipairs(list) do
    local name
    if type(m) == "table" and not is_module(m) then -- { name, module }
      name, m = m[1], m[2]
      check_name(self, name, 1, class, ("[%d]"):format(i))
    end
    push(self, member(m, 1, class, ("[%d]"):format(i)), name)
  end
  return self
end

-- Appends one more; a class's `append`.
local function append(self, module, name)
  if name ~= nil then check_name(self, name, 2, "append", "name") end
  push(self, member(module, 1, "append", "module"), name)
  return self
end

-- -- chains --

local Sequential = Module.class "Sequential"

--- A chain: each takes what the one before gives. `m[i]` is its i-th module, `#m` their number.
-- @tparam table list  modules, functions, or { name, module }; else they are called "1", "2", …
-- @treturn Sequential
function Sequential.new(list) return (fill(Sequential.create(), list, "Sequential")) end

--- One more at the end.
-- @function Sequential:append
-- @tparam Module|function module
-- @tparam ?string name
-- @treturn Sequential  itself
Sequential.append = append

--- @param x    for the first module
-- @param ...  for the first, too
-- @return what the last one gives, the first value of each that is not the last
function Sequential:forward(x, ...)
  local n = #self
  if n == 0 then return x, ... end
  if n == 1 then return self[1](x, ...) end
  x = self[1](x, ...)
  for i = 2, n - 1 do x = self[i](x) end
  return self[n](x)
end

-- -- lists and dictionaries --

local function no_forward(self)
  core.misuse(("%s has no forward: call its members"):format(self.class_name))
end

local ModuleList = Module.class "ModuleList"

--- Modules in a list, each registered: `list[i]`, `#list`, `ipairs(list)`.
-- @tparam ?table list  modules, functions or { name, module }
-- @treturn ModuleList
function ModuleList.new(list) return (fill(ModuleList.create(), list or {}, "ModuleList")) end

--- One more at the end.
-- @function ModuleList:append
-- @tparam Module|function module
-- @treturn ModuleList  itself
ModuleList.append, ModuleList.forward = append, no_forward

local ModuleDict = Module.class "ModuleDict"

--- Modules by name, each registered: `dict.name`.
-- @tparam ?table members  modules by name, taken in the order of their names; or a list of
--   { name, module }, in its own
-- @treturn ModuleDict
function ModuleDict.new(members)
  members = members or {}
  if type(members) ~= "table" or is_module(members) then
    bad(1, "ModuleDict", "expected modules by name, got %s", check.what(members))
  end
  local self, pairs_of = ModuleDict.create(), {}
  if #members > 0 then
    pairs_of = members
  else
    for name, m in pairs(members) do pairs_of[#pairs_of + 1] = { name, m } end
    table.sort(pairs_of, function(a, b) return tostring(a[1]) < tostring(b[1]) end)
  end
  for i, p in ipairs(pairs_of) do
    if type(p) ~= "table" or is_module(p) then
      bad(1, "ModuleDict", "[%d]: expected { name, module }, got %s", i, check.what(p))
    end
    check_name(self, p[1], 1, "ModuleDict", "name")
    self:child(p[1], member(p[2], 1, "ModuleDict", p[1]))
  end
  return self
end

--- One more, by a new name.
-- @tparam string name
-- @tparam Module|function module
-- @treturn ModuleDict  itself
function ModuleDict:set(name, module)
  check_name(self, name, 1, "set", "name")
  self:child(name, member(module, 2, "set", "module"))
  return self
end

--- Its members in order: `for name, module in dict:items() do`.
function ModuleDict:items()
  local i = 0
  return function()
    i = i + 1
    local c = self._children[i]
    if c then return c.name, c.value end
  end
end
ModuleDict.forward = no_forward

return { Sequential = Sequential, ModuleList = ModuleList, ModuleDict = ModuleDict,
         Lambda = Lambda, Identity = Identity }
