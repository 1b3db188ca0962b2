--- Data: clicks, random rows, and loaders over them and over tensors in memory.
-- @module mlua.data
local modules = { clicks = true, loader = true, random = true }

return setmetatable({}, {
  __index = function(self, name)
    if not modules[name] then return nil end
    local module = require("mlua.data." .. name)
    rawset(self, name, module)
    return module
  end,
})
