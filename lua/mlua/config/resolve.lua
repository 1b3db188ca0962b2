--- The spec of a recipe, and values resolved by it, without running the recipe's work.
-- @module mlua.config.resolve
local check = require "mlua.check"
local spec_module = require "mlua.param.spec"

local M = {}

-- What stands for a flow's own options, which are no part of an experiment.
local function of_experiment(flow)
  local own = flow and require "mlua.flow.cli".options() or {}
  return function(entry)
    return not own[entry.name] and (not entry.param.hidden or entry.name:find(".", 1, true) ~= nil)
  end
end

-- Runs a recipe's file: the spec by which it reads its command line, or the flow that it returns;
-- nil and a message.
local function run_recipe(path)
  local files = require "mlua.ffi.files"
  if files.look(path) ~= "file" then
    return nil, ("%s: %s"):format(path, files.look(path) and "not a regular file" or "no such file")
  end
  local chunk, why = loadfile(path, "t")
  if not chunk then return nil, why end
  local before, found = spec_module.taken, nil
  spec_module.taken = function(spec)
    found = spec
    error(found, 0)
  end
  local ok, result = pcall(chunk, path)
  spec_module.taken = before
  if found and result == found then return { spec = found } end
  if not ok then
    return nil, tostring(type(result) == "table" and result.message or result)
  elseif require "mlua.flow".is(result) then
    return { flow = result }
  end
  return nil, ("%s: no recipe: it returns %s, and reads no command line by a spec"):format(path,
    check.what(result))
end

--- The spec that a recipe reads its command line by: a flow's, or the one whose `main` it calls.
-- @tparam string path       or a command that is a flow: "train"
-- @treturn ?Spec    nil where it has none, or fails
-- @treturn function|string  (entry) → whether it says anything of the experiment; or a message
-- @treturn ?Flow
function M.spec(path)
  local words, command = arg, require "mlua.config.project".command(path)
  arg = { [0] = path } -- luacheck: ignore
  local found, why
  if command then found = { flow = require(command) } else found, why = run_recipe(path) end
  local spec, flow
  if found then
    flow = found.flow
    spec = found.spec or require "mlua.flow.cli".spec(flow)
  end
  arg = words -- luacheck: ignore
  if not spec then return nil, why end
  spec.script = path
  return spec, of_experiment(flow), flow
end

--- What a recipe makes of a configuration file, defaults included.
-- @tparam Spec spec        M.spec's
-- @tparam function wanted  as well
-- @tparam string path
-- @tparam ?{string,...} ignored  groups that do not count; none: nor does what changes no result
-- @treturn ?table  a tree
-- @treturn ?string  or a message, of as many lines as there are mistakes
function M.tree(spec, wanted, path, ignored)
  local values, why, reading = spec:read({ "--config", path }, true)
  if not values then return nil, why end
  local all, groups = ignored and not ignored[1], {}
  for _, name in ipairs(ignored or {}) do groups[name:lower()] = true end
  local tree = spec_module.tree(values, function(entry)
    return wanted(entry) and (all or entry.param.significant
      and not groups[(entry.group or ""):lower()])
  end)
  for _, name in ipairs { "grid", "variants" } do -- as they were written
    for _, section in ipairs(reading[name]) do
      tree[name] = tree[name] or {}
      for key, value in pairs(require "mlua.config.diff".tree(section.node)) do
        tree[name][key] = value
      end
    end
  end
  return tree
end

return M
