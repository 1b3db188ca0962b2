--- The base of layers: named parameters, buffers, sub-modules, state, summary.
--
-- A module registers what it owns, in order; everything else is derived from that: the list of
-- parameters, the state dictionary, and the path that messages start with. It is in training mode
-- (`training`), or not: `model:eval()`.
-- @module mlua.nn.module
local core = require "mlua.ffi"
local check = require "mlua.check"
local profile = require "mlua.ffi.profile"
local states = require "mlua.tensor.state"

local shape_text = states.shape_text

local Module = {}
Module.__index = Module

local timed -- mlua.nn.timed, once there is a profile

--- A class of modules: `local Linear = module.class("Linear")`.
-- Calling an instance calls its `forward`; mistakes inside are named by the module's path.
-- @tparam string name  shown in summaries
-- @treturn table       the class: define `forward`; make instances with `class.create()`
function Module.class(name)
  local class = setmetatable({ class_name = name }, { __index = Module })
  class.__index = class
  class.__tostring = Module.__tostring
  class.__call = function(self, ...)
    if profile.on then
      timed = timed or require "mlua.nn.timed"
      return timed.forward(self, ...)
    end
    return self:forward(...)
  end
  --- An empty instance.
  function class.create()
    return setmetatable({ _parameters = {}, _buffers = {}, _children = {}, _names = {},
                          _path = nil, training = true }, class)
  end
  return class
end

local function add(self, method, list, name, value)
  check.arg_at(2, type(name) == "string" and not name:find("[%s%.]"), 1, method,
    "name: expected a word without dots, got %s", check.what(name))
  check.arg_at(2, not self._names[name], 1, method, "name: '%s' is there already", name)
  check.arg_at(2, self[name] == nil, 1, method, "name: '%s' is a field or method of %s", name,
    self.class_name)
  self._names[name] = true
  list[#list + 1] = { name = name, value = value }
  self[name] = value
  return value
end

--- Register a parameter: a leaf tensor that training changes. It outlives any scope.
-- @tparam string name
-- @tparam Tensor t  of floats
-- @treturn Tensor  t
function Module:parameter(name, t)
  check.arg(core.is_tensor(t), 2, "parameter", "t: expected a tensor, got %s", check.what(t))
  local dtype = t:dtype()
  check.arg(core.is_float[dtype], 2, "parameter", "t: expected a floating-point tensor, got %s",
    dtype)
  add(self, "parameter", self._parameters, name, t)
  core.keep(t):requires_grad()
  return t
end

--- Register a buffer: a tensor of any dtype that is part of the state, but that no optimiser
-- changes (running statistics, counts). It outlives any scope.
-- @tparam string name
-- @tparam Tensor t
-- @treturn Tensor  t
function Module:buffer(name, t)
  check.arg(core.is_tensor(t), 2, "buffer", "t: expected a tensor, got %s", check.what(t))
  add(self, "buffer", self._buffers, name, t)
  return core.keep(t)
end

--- Register a sub-module.
-- @tparam string name
-- @tparam Module module
-- @treturn Module
function Module:child(name, module)
  check.arg(type(module) == "table" and module.named_parameters, 2, "child",
    "module: expected a module, got %s", check.what(module))
  add(self, "child", self._children, name, module) -- no tail call: it is a level of mistakes
  return module
end

local function visit(self, prefix, list, parameters, buffers)
  for _, of in ipairs { parameters and self._parameters or {}, buffers and self._buffers or {} } do
    for _, p in ipairs(of) do
      list[#list + 1] = { name = prefix .. p.name, tensor = p.value, module = self }
    end
  end
  for _, c in ipairs(self._children) do
    visit(c.value, prefix .. c.name .. ".", list, parameters, buffers)
  end
  return list
end

--- All parameters with their dotted names, in order of registration.
-- @treturn table  list of { name, tensor, module }
function Module:named_parameters()
  return visit(self, "", {}, true, false)
end

--- All buffers, as `named_parameters`.
-- @treturn table  list of { name, tensor, module }
function Module:named_buffers()
  return visit(self, "", {}, false, true)
end

--- Let this module and all inside it train, or no longer: dropout, batch norm ask `training`.
-- @tparam[opt=true] boolean on
-- @treturn Module  itself
function Module:train(on)
  check.type(on, 1, "train", "on", "boolean|nil")
  self.training = on ~= false
  for _, c in ipairs(self._children) do c.value:train(self.training) end
  return self
end

--- No longer train: `train(false)`.
-- @treturn Module  itself
function Module:eval()
  self:train(false)
  return self
end

--- Call a function with every module inside, then with this one: `model:apply(init)`.
-- @tparam function f  takes a module
-- @treturn Module     itself
function Module:apply(f)
  check.arg(type(f) == "function", 1, "apply", "f: expected a function, got %s", check.what(f))
  for _, c in ipairs(self._children) do c.value:apply(f) end
  f(self)
  return self
end

--- Ask for no gradients by its parameters, or again for them: what is frozen is not trained.
-- @tparam[opt=true] boolean on
-- @treturn Module  itself
function Module:freeze(on)
  check.type(on, 1, "freeze", "on", "boolean|nil")
  for _, p in ipairs(self:named_parameters()) do p.tensor:requires_grad(on == false) end
  return self
end

-- The tensor that takes the place of t; `done`: by key, for all who share t.
local function converted(t, dtype, done)
  local key = core.key(t)
  if not done[key] then
    done[key] = t
    local is = t:dtype()
    if core.is_float[is] and is ~= dtype then
      local new = core.keep(t:detach():to(dtype))
      if core.info(t).requires_grad then new:requires_grad() end
      core.free(t)
      done[key] = new
    end
  end
  return done[key]
end

-- The modules inside that keep some dtypes in others, `stored_as`, or all the rest.
local function convert(self, dtype, done, stored_as)
  if (self.stored_as ~= nil) == stored_as then
    for _, list in ipairs { self._parameters, self._buffers } do
      for _, e in ipairs(list) do
        e.value = converted(e.value, stored_as and self.stored_as[dtype] or dtype, done)
        self[e.name] = e.value
      end
    end
    if self.rebind then self:rebind(dtype) end
  end
  for _, c in ipairs(self._children) do convert(c.value, dtype, done, stored_as) end
end

--- Convert parameters and buffers of floats. They become other tensors, and using the ones before
-- is an error: make optimisers, and averages, afterwards. Tables of embeddings stay f32 where bf16
-- or f16 is asked for. Optimisers move f32 and f64; 16 bits are for using a model that is trained.
-- @tparam string dtype  "f64", "f32", "bf16" or "f16"
-- @treturn Module  itself
function Module:to(dtype)
  check.arg(core.is_float[dtype], 1, "to", "dtype: expected f64, f32, bf16 or f16, got %s",
    check.what(dtype))
  core.no_capture "to: convert the module outside the step"
  local done = {}
  convert(self, dtype, done, true) -- first: who shares a tensor with these has it as they do
  convert(self, dtype, done, false)
  return self
end

local function modes(m, list)
  list[#list + 1] = { m, m.training }
  for _, c in ipairs(m._children) do modes(c.value, list) end
  return list
end

--- Call f with the module in evaluation; afterwards each of its parts is as it was.
-- @tparam function f
-- @return what f returns first
function Module:evaluating(f)
  local before = modes(self, {})
  self:eval()
  local ok, result = pcall(f)
  for _, each in ipairs(before) do each[1].training = each[2] end
  if not ok then error(result, 0) end
  return result
end

--- All parameters, as optimisers take them.
-- @treturn table  list of tensors
function Module:parameters()
  local list = {}
  for i, p in ipairs(self:named_parameters()) do list[i] = p.tensor end
  return list
end

--- The number of elements in all parameters.
function Module:size()
  local n = 0
  for _, p in ipairs(self:named_parameters()) do n = n + p.tensor:count() end
  return n
end

--- Its state: parameters and buffers by dotted name. The tensors are the module's own, not copies.
-- @treturn table
function Module:state()
  local state = {}
  for _, p in ipairs(visit(self, "", {}, true, true)) do state[p.name] = p.tensor end
  return state
end

--- Copy a state into the parameters and buffers: all or nothing.
-- @tparam table state  by dotted name; extra and missing names are mistakes
-- @return true, or nil and one line that names the first misfit
function Module:load_state(state)
  check.type(state, 1, "load_state", "state", "table")
  local ok, message = states.load(visit(self, "", {}, true, true), state, "state", "the model")
  return ok, message
end

--- Write parameters and buffers as safetensors.
-- @tparam string path
-- @tparam ?table metadata  strings by name
-- @return true, or nil and a message
function Module:save(path, metadata)
  check.type(path, 1, "save", "path", "string")
  return require("mlua.safetensors").save(path, self:state(), metadata)
end

--- Read what `save` wrote.
-- @tparam string path
-- @return true, or nil and a message
function Module:load(path)
  check.type(path, 1, "load", "path", "string")
  local state, message = require("mlua.safetensors").load(path)
  if not state then return nil, message end
  local ok
  ok, message = self:load_state(state)
  if not ok then return nil, path .. ": " .. message end
  return true
end

--- Forget all gradients.
function Module:zero_grad()
  for _, p in ipairs(self:named_parameters()) do p.tensor:zero_grad() end
end

--- Give every module the path that its messages start with: `model:name_paths()` once it is built.
-- @tparam ?string prefix
-- @treturn Module  itself
function Module:name_paths(prefix)
  for _, c in ipairs(self._children) do
    local path = (prefix and prefix .. "." or "") .. c.name
    c.value._path = path
    c.value:name_paths(path)
  end
  return self
end

--- One line per module with parameters: path, what it is, shapes, size; then the total.
-- @treturn string
function Module:summary()
  local rows, widths = {}, { 0, 0, 0 }
  local function walk(m, path)
    local shapes, n = {}, 0
    for _, p in ipairs(m._parameters) do
      shapes[#shapes + 1] = p.name .. " " .. shape_text(p.value)
      n = n + p.value:count()
    end
    if #shapes > 0 then
      local row = { path == "" and "." or path, m:describe(), table.concat(shapes, ", "), n }
      for i = 1, 3 do widths[i] = math.max(widths[i], #row[i]) end
      rows[#rows + 1] = row
    end
    for _, c in ipairs(m._children) do
      walk(c.value, path == "" and c.name or path .. "." .. c.name)
    end
  end
  walk(self, "")
  local lines, form = {}, ("%%-%ds  %%-%ds  %%-%ds  %%12d"):format(unpack(widths))
  for i, row in ipairs(rows) do lines[i] = form:format(unpack(row)) end
  lines[#lines + 1] = ("%d parameters"):format(self:size())
  return table.concat(lines, "\n")
end

--- What a summary calls it; classes add their sizes.
function Module:describe() return self.class_name end

function Module.__tostring(self)
  local lines = { self:describe() }
  for _, c in ipairs(self._children) do
    lines[#lines + 1] = "  (" .. c.name .. ") " .. tostring(c.value):gsub("\n", "\n  ")
  end
  return table.concat(lines, "\n")
end

return Module
