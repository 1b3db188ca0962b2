--- Pools, resampling and flattening as layers, over as many spatial axes as x has.
-- @module mlua.nn.pool
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"

local SIZES = "number|table"

-- A layer without parameters; compute(x, options). `needs`: an option that must be there.
local function class(name, known, needs, compute)
  local Layer = Module.class(name)
  function Layer.new(o)
    check.options(o, known, 1, name)
    o = o or {}
    check.arg(not needs or o[needs] ~= nil, 1, name, "%s: expected a number or a list, got nil",
      needs)
    local self = Layer.create()
    self.options = {}
    for option, v in pairs(o) do
      if option ~= "kernel" then self.options[option] = v end
    end
    self.kernel = o.kernel
    return self
  end
  function Layer:forward(x)
    if self._path then core.set_context(self._path) end
    local y, more = compute(x, self)
    core.set_context(nil)
    return y, more
  end
  return Layer
end

--- @see mlua.tensor.pool
return {
  --- `ml.max_pool`: kernel; stride (the kernel), padding, dilation, ceil_mode, indices.
  MaxPool = class("MaxPool", {
    kernel = SIZES, stride = SIZES, padding = SIZES, dilation = SIZES, ceil_mode = "boolean",
    indices = "boolean",
  }, "kernel", function(x, layer) return tensor.max_pool(x, layer.kernel, layer.options) end),

  --- `ml.avg_pool`: kernel; stride (the kernel), padding, ceil_mode, count_include_pad (true).
  AvgPool = class("AvgPool", {
    kernel = SIZES, stride = SIZES, padding = SIZES, ceil_mode = "boolean",
    count_include_pad = "boolean",
  }, "kernel", function(x, layer) return tensor.avg_pool(x, layer.kernel, layer.options) end),

  --- `ml.adaptive_avg_pool`: size.
  AdaptiveAvgPool = class("AdaptiveAvgPool", { size = SIZES }, "size", function(x, layer)
    return tensor.adaptive_avg_pool(x, layer.options.size)
  end),

  --- `ml.adaptive_max_pool`: size.
  AdaptiveMaxPool = class("AdaptiveMaxPool", { size = SIZES }, "size", function(x, layer)
    return tensor.adaptive_max_pool(x, layer.options.size)
  end),

  --- `ml.upsample`: size or scale; mode, align_corners.
  Upsample = class("Upsample", {
    size = SIZES, scale = SIZES, mode = "string", align_corners = "boolean",
  }, nil, function(x, layer) return tensor.upsample(x, layer.options) end),

  --- `x:flatten(from, to)`: axes from (2) to (-1) become one.
  Flatten = class("Flatten", { from = "number", to = "number" }, nil, function(x, layer)
    return x:flatten(layer.options.from or 2, layer.options.to or -1)
  end),
}
