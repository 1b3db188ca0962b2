--- The formats of mlua.format, mlua's and the user's own, as they are when the registry is asked.
--
-- Each is built by () and is the format: name, doc, extension, save, load. New ones are defined by
-- ml.format(name, definition), not by the registry.
-- @module mlua.registry.formats
local format = require "mlua.format"
local param = require "mlua.param"
local registry = require "mlua.registry"

local formats = registry.get "format"
local class = getmetatable(formats).__index
local Component -- a format's name may have a dash, which a part's may not

local function add(self, name)
  local function build() return format.get(name) end
  if not Component then
    Component = getmetatable(registry.register("format", name, {}, build))
    return self.all[name]
  end
  self.all[name] = setmetatable({ registry = self, name = name, build = build,
                                  spec = param.spec {} }, Component)
  return self.all[name]
end

local function refresh(self)
  for _, each in ipairs(format.list()) do
    local component = self.all[each.name] or add(self, each.name)
    component.doc, component.place = each.doc, format.get(each.name).place
  end
end

add(formats, "json")
refresh(formats)

-- Of this registry alone: formats may have been defined since.
function formats:names()
  refresh(self)
  return class.names(self)
end

function formats:find(name)
  refresh(self)
  return class.find(self, name)
end
