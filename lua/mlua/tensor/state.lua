--- State dictionaries, tensors by name: copied into their owners' tensors all or nothing.
-- @module mlua.tensor.state
local core = require "mlua.ffi"
local text = require "mlua.text"

local state = {}

local function shape_text(t)
  return "[" .. table.concat(t:shape(), ", ") .. "]"
end
state.shape_text = shape_text

-- What keeps `from` from being copied into `to`, or nil.
local function misfit(to, from)
  if not core.is_tensor(from) then return "expected a tensor, got " .. core.what(from) end
  local want, got = shape_text(to), shape_text(from)
  if want ~= got then return ("expected %s, got %s"):format(want, got) end
  want, got = to:dtype(), from:dtype()
  if want ~= got and (got == "bf16" or got == "f16") then
    return ("expected %s, got %s"):format(want, got)
  end
end

--- Copy every entry of a state, or none.
-- @tparam table own     list of { name, tensor }
-- @tparam table given   tensors by name: those of `own`, and no others
-- @tparam string label  what messages start with
-- @tparam string owner  whose tensors they are, for a name that it does not have
-- @return true, or nil and one line that names the first misfit
function state.load(own, given, label, owner)
  local known = {}
  for _, e in ipairs(own) do
    local t = given[e.name]
    if t == nil then return nil, ("%s: no '%s'"):format(label, e.name) end
    local message = misfit(e.tensor, t)
    if message then return nil, ("%s: '%s': %s"):format(label, e.name, message) end
    known[e.name] = true
  end
  for _, name in ipairs(text.keys(given)) do
    if not known[name] then
      return nil, ("%s: %s has no '%s'%s"):format(label, owner, name,
        text.did_you_mean(name, text.keys(known)))
    end
  end
  for _, e in ipairs(own) do e.tensor:copy(given[e.name]) end
  return true
end

return state
