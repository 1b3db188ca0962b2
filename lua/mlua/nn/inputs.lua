--- What layers say of inputs that do not fit.
-- @module mlua.nn.inputs
local check = require "mlua.check"
local core = require "mlua.ffi"
local states = require "mlua.tensor.state"

local inputs = { shape_text = states.shape_text }

--- What a value is: a tensor's sizes, or as messages show others.
function inputs.what(value)
  return core.is_tensor(value) and states.shape_text(value) or check.what(value)
end

return inputs
