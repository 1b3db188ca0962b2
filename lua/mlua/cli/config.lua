--- `mlua config show|template|check|schema`: what a recipe is configured by.
-- @module mlua.cli.config
local fail = require "mlua.fail"

local M = {}

local USAGE = [[
usage: mlua config show RECIPE [options of the recipe]   the resolved configuration, with origins
       mlua config template RECIPE                       a commented file to start from
       mlua config check FILE [RECIPE]                   all mistakes of a configuration file
       mlua config schema RECIPE                         a JSON Schema of its files, for editors

RECIPE is a file, or `train`, what `mlua train` is configured by. A file's key `recipe:` says which
it is for, beside the file; else name the recipe. `show` prints YAML that reads back as the same
values and runs, each value with where it came from; with --json one line of JSON: config, origins,
and variants, what each run has that differs.
]]

local function spec_of(recipe)
  local spec, wanted, flow = require "mlua.config.resolve".spec(recipe)
  if not spec then fail.run("%s", wanted) end
  return spec, wanted, flow
end

local function needed(args, i, what, command)
  if not args[i] or args[i]:find "^%-" then fail.usage("config %s: expected %s", command, what) end
  return args[i]
end

local commands = {}

function commands.show(args)
  if args[1] == "--help" or args[1] == "-h" then return io.stdout:write(USAGE) end
  local recipe = needed(args, 1, "a recipe", "show")
  local rest, json = {}, false
  for i = 2, #args do
    if args[i] == "--json" then json = true else rest[#rest + 1] = args[i] end
  end
  local spec, wanted = spec_of(recipe)
  local grid = require "mlua.config.grid"
  local words, grids = grid.take(rest)
  if grids[1] and not spec.runs then fail.usage "--grid: this recipe runs once; a flow takes it" end
  local values, why, reading = spec:read(words)
  if why == "help" then return io.stdout:write(spec:help()) end
  if not values then fail.usage("%s", why) end
  local runs = grid.runs(spec, values, reading, grids)
  local print = require "mlua.config.print"
  io.stdout:write((json and print.json or print.values)(spec, values, wanted, runs))
end

function commands.template(args)
  local recipe = needed(args, 1, "a recipe", "template")
  local spec, wanted = spec_of(recipe)
  io.stdout:write(require "mlua.config.print".template(spec, recipe, wanted))
end

function commands.check(args)
  local path = needed(args, 1, "a file", "check")
  local recipe = args[2]
  if not recipe then
    local root, mistakes = require "mlua.config".read(path)
    if not root then fail.run("%s", table.concat(mistakes, "\n")) end
    local named = root.by.recipe and root.by.recipe.node.text
    if not named then
      fail.usage("config check %s: expected a recipe: the file names none (recipe: NAME.lua)", path)
    end
    recipe = require "mlua.config.project".recipe(path, named)
  end
  local spec, _, flow = spec_of(recipe)
  local of_project, args_of_file = false, { "--config", path }
  for _, each in ipairs(require "mlua.config.project".files(recipe)) do
    of_project = of_project or require "mlua.config.project".absolute(each)
      == require "mlua.config.project".absolute(path)
  end
  if of_project then args_of_file = {} end -- it is read for every recipe
  local values, why, reading = spec:read(args_of_file, true)
  if not values then fail.run("%s", why) end
  local missing = require "mlua.param.spec".missing(values)
  if not missing[1] then -- else what is left to options may matter
    for _, run in ipairs(require "mlua.config.grid".runs(spec, values, reading)) do
      local problem = flow and flow.info.check and flow.info.check(run.values)
      if problem then fail.run("%s: %s", path, problem) end
    end
  end
  io.stdout:write(path, ": no mistakes", missing[1] and "; still required: " or "",
    table.concat(missing, ", "), "\n")
end

function commands.schema(args)
  local recipe = needed(args, 1, "a recipe", "schema")
  local spec, wanted = spec_of(recipe)
  io.stdout:write(require "mlua.config.schema".text(spec, wanted), "\n")
end

--- Run the command.
-- @tparam {string,...} args
function M.main(args)
  local name = args[1]
  if name == "--help" or name == "-h" or not name then
    if not name then fail.usage "config: expected show, template, check or schema" end
    return io.stdout:write(USAGE)
  end
  local command = commands[name]
  if not command then
    fail.usage("config: expected show, template, check or schema, got '%s'%s", name,
      require "mlua.text".did_you_mean(name, require "mlua.text".keys(commands)))
  end
  for _, word in ipairs(args) do
    if name ~= "show" and (word == "--help" or word == "-h") then return io.stdout:write(USAGE) end
  end
  command({ unpack(args, 2) })
end

return M
