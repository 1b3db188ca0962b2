--- What layers say of inputs that do not fit: at the user's line, after the layer's path.
-- @module mlua.nn.inputs
local check = require "mlua.check"
local core = require "mlua.ffi"
local states = require "mlua.tensor.state"

local inputs = { shape_text = states.shape_text }

--- Raise bad argument #n to a class, at the line of whoever called a layer from outside.
function inputs.bad(n, class, format, ...)
  core.misuse(("bad argument #%d to '%s' (%s)"):format(n, class, format:format(...)))
end

--- What a value is: a tensor's sizes, or as messages show others.
function inputs.what(value)
  return core.is_tensor(value) and states.shape_text(value) or check.what(value)
end

--- Raise if a table of options of a forward holds a field that is not known, or of a wrong type.
-- @param o            a table, or nil
-- @tparam table known  name → type, or true for any
-- @tparam number n     which argument
-- @tparam string class
-- @treturn table       o, or an empty table
function inputs.fields(o, known, n, class)
  if o == nil then return {} end
  if type(o) ~= "table" then
    inputs.bad(n, class, "expected a table of options, got %s", check.what(o))
  end
  for field, value in pairs(o) do
    if not known[field] then
      local text = require "mlua.text"
      inputs.bad(n, class, "unknown option '%s'%s", tostring(field),
        text.did_you_mean(tostring(field), text.keys(known)))
    elseif known[field] ~= true and type(value) ~= known[field] then
      inputs.bad(n, class, "%s: expected a %s, got %s", field, known[field], check.what(value))
    end
  end
  return o
end

return inputs
