--- Whether two values are the same to the bit: NaN equals NaN, -0 does not equal 0; tensors by
-- dtype, shape and elements; tables by what is in them.
local ml = require "mlua"

local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "number" then return a ~= a and b ~= b or a == b and 1 / a == 1 / b end
  if ml.is_tensor(a) then
    return ml.is_tensor(b) and a:dtype() == b:dtype() and same(a:shape(), b:shape())
      and same(a:totable(), b:totable())
  end
  if type(a) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

return same
