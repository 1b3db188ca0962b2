--- Other spellings of options that also convert: what such a word means, for the option that it
-- stands for and for others. A spec's `alias = { name = function(text) … end }` says so.
-- @module mlua.param.alias
local spec_module = require "mlua.param.spec"

local M = {}

--- What a value means to its parameter.
-- @tparam table entry      a spec's, under the alias
-- @param value             text, where the alias converts
-- @tparam string written   as the user had it
-- @tparam table implied    gets { name, value, written, from } for each other option it stands for
-- @tparam string from
-- @return  nil where it stands for others alone, or, with a message, where it is wrong
-- @treturn ?string
function M.convert(entry, value, written, implied, from)
  if not entry.convert then return value end
  local converted, problem = entry.convert(value)
  if type(problem) == "table" then
    for name, other in pairs(problem) do implied[#implied + 1] = { name, other, written, from } end
    problem = nil
  end
  return converted, converted == nil and problem or nil
end

--- A function that sets entries of values: (entry, value, from, written) → true, or nil, a message.
-- @tparam Values values
-- @tparam table implied  as of `convert`
-- @treturn function
function M.setter(values, implied)
  return function(entry, value, from, written)
    local converted, problem = M.convert(entry, value, written, implied, from)
    if problem then return nil, problem end
    if converted == nil then return true end
    return spec_module.take(values, entry, converted, from, written)
  end
end

--- Set what aliases stand for besides their own option.
-- @tparam Values values
-- @tparam table implied
-- @tparam function weaker  (name, from) → whether the value so far gives way; else it has to be
--   equal, where `from` is as strong, and stays, where that is nil
-- @treturn ?string  a mistake
function M.apply(values, implied, weaker)
  for _, item in ipairs(implied) do
    local name, value, written, from = unpack(item)
    local p = spec_module.parameter(values, name)
    local gives_way = weaker(name, from)
    if gives_way then
      local ok, problem = spec_module.set(values, name, value, from, written)
      if not ok then return ("%s: %s"):format(written, problem) end
    elseif gives_way == false and p:show(rawget(values, name)) ~= p:show(value) then
      local _, other = spec_module.origin(values, name)
      return ("%s means --%s %s, but %s was given"):format(written, name:gsub("_", "-"),
        p:show(value), other or p:show(rawget(values, name)))
    end
  end
end

return M
