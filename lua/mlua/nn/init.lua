--- Layers.
-- @module mlua.nn
local linear = require "mlua.nn.linear"

local nn = { Module = require "mlua.nn.module", Linear = linear.Linear, MLP = linear.MLP }
local lazy = { TableCollection = "mlua.nn.tables", DLRM = "mlua.nn.dlrm",
               initialise = "mlua.nn.initialise" }
local several = { -- classes of a module
  ["mlua.nn.conv"] = { "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d",
                       "ConvTranspose3d" },
  ["mlua.nn.pool"] = { "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "Upsample",
                       "Flatten" },
}
for module, names in pairs(several) do
  for _, name in ipairs(names) do lazy[name] = module end
end

return setmetatable(nn, {
  __index = function(t, name)
    if not lazy[name] then return nil end
    local loaded = require(lazy[name])
    if several[lazy[name]] then loaded = loaded[name] end
    rawset(t, name, loaded)
    return loaded
  end,
})
