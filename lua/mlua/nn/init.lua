--- Layers.
-- @module mlua.nn
local linear = require "mlua.nn.linear"

local nn = { Module = require "mlua.nn.module", Linear = linear.Linear, MLP = linear.MLP }
local lazy = { TableCollection = "mlua.nn.tables", DLRM = "mlua.nn.dlrm",
               initialise = "mlua.nn.initialise" }

return setmetatable(nn, {
  __index = function(t, name)
    if not lazy[name] then return nil end
    local loaded = require(lazy[name])
    rawset(t, name, loaded)
    return loaded
  end,
})
