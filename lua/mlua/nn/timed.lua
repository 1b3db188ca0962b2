--- Calls of layers as events of a profile, by path and class: "MLP.2 Linear".
--
-- The first module that is called is the root of those inside it, and its class begins their paths;
-- another root of its class has a number.
-- @module mlua.nn.timed
local profile = require "mlua.ffi.profile"

local M = {}

local MOST = 99 -- roots of a class with a name of their own: some programs make modules as they go

local number -- of the profile that these are of:
local labels, roots

local function name_inside(module, path)
  labels[module] = path .. " " .. module.class_name
  for _, child in ipairs(module._children) do
    if not labels[child.value] then name_inside(child.value, path .. "." .. child.name) end
  end
end

--- Name a module and all inside it, unless that was done.
-- @tparam Module module
-- @treturn string  what it is called
function M.name(module)
  if number ~= profile.number then
    number, labels, roots = profile.number, setmetatable({}, { __mode = "k" }), {}
  end
  if labels[module] then return labels[module] end
  local class = module.class_name
  roots[class] = math.min((roots[class] or 0) + 1, MOST)
  local path = class .. (roots[class] > 1 and roots[class] or "")
  name_inside(module, path)
  labels[module] = path
  return path
end

--- module:forward(...), as an event.
function M.forward(module, ...)
  return profile.call(profile.LAYER, M.name(module), module.forward, module, ...)
end

return M
