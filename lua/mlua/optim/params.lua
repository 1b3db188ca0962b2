--- What optimisers, averages and clipping take: a module, a list of tensors, or a list of
-- { name, tensor, module }, as `module:named_parameters()` gives it.
-- @module mlua.optim.params
local core = require "mlua.ffi"

local params = {}

--- The tensors of such a source, each once, as tied weights are.
-- @param source
-- @tparam string name   of the function, for messages
-- @tparam string label  what messages start with, "" for nothing
-- @treturn table        list of { tensor, name (else nil), module, key (core.key), position }
-- @treturn boolean      whether the source is a module
function params.each_once(source, name, label)
  if type(source) ~= "table" then
    core.bad(1, name, "%sexpected a module or a list of tensors, got %s", label, core.what(source))
  end
  local is_module, list, seen = type(source.named_parameters) == "function", {}, {}
  for i, p in ipairs(is_module and source:named_parameters() or source) do
    local e = core.is_tensor(p) and { tensor = p } or type(p) == "table" and p or {}
    if not core.is_tensor(e.tensor) then
      core.bad(1, name, "%s[%d]: expected a tensor, got %s", label, i, core.what(p))
    end
    local key = core.key(e.tensor)
    if not seen[key] then
      seen[key] = true
      list[#list + 1] = { tensor = e.tensor, name = e.name, module = e.module, key = key,
                          position = i }
    end
  end
  return list, is_module
end

return params
