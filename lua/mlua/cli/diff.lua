--- `mlua diff A B`: what two configurations say differently.
-- @module mlua.cli.diff
local config = require "mlua.config"
local diff = require "mlua.config.diff"
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local json = require "mlua.json"
local param = require "mlua.param"

local M = {}

local NAMES = { "config.yaml", "config.lua", "config.json" }
local DEEPEST, LARGEST = 64, 2 ^ 22 -- levels, bytes: those of other configuration files

-- -- reading -----------------------------------------------------------------------------------

-- The file that a path means; nil and a message.
local function find(path)
  local kind, why = files.look(path)
  if kind == "folder" then
    for _, name in ipairs(NAMES) do
      local inside = path:match "^(.-)/*$" .. "/" .. name
      if files.look(inside) then return inside end
    end
    return nil, path .. ": no config.yaml, config.lua or config.json in it"
  elseif kind ~= "file" then
    return nil, kind == nil and why or ("%s: %s"):format(path,
      kind and "not a regular file" or "no such file")
  end
  return path
end

-- A value without nulls; nil and what is wrong.
local function plain(value, depth)
  if type(value) ~= "table" then return value end
  if depth > DEEPEST then error("more than " .. DEEPEST .. " levels", 0) end
  local new, list = {}, value[1] ~= nil
  for key, each in (list and ipairs or pairs)(value) do
    if each ~= json.null then new[list and #new + 1 or key] = plain(each, depth + 1) end
  end
  return list and new[1] == nil and json.array(new) or new
end

-- The tree of a JSON file, and the recipe it names; nil and a message.
local function read_json(path)
  local kind, size = files.look(path)
  if kind ~= "file" then return nil, path .. ": not a regular file" end
  if size > LARGEST then return nil, ("%s: more than %d MB"):format(path, LARGEST / 2 ^ 20) end
  local document, problem = json.load(path)
  if problem then return nil, problem end
  if type(document) ~= "table" or document[1] ~= nil then
    return nil, path .. ': expected names with values, as {"lr": 0.1}'
  end
  local ok, tree = pcall(plain, document, 1)
  if not ok then return nil, path .. ": " .. tree end
  local recipe = tree.recipe
  for _, field in ipairs { "config", "options" } do
    local inner = tree[field]
    if type(inner) == "table" and inner[1] == nil then return inner, recipe or inner.recipe end
  end
  return tree, recipe
end

-- A tree and the recipe it names; nil and a message, a line for each mistake.
local function read(path)
  if path:find "%.json$" then return read_json(path) end
  local root, mistakes = config.read(path)
  if not root then return nil, table.concat(mistakes, "\n") end
  local tree = diff.tree(root)
  return tree, tree.recipe
end

-- -- the recipe --------------------------------------------------------------------------------

-- Where a recipe is that a file names, from where we are.
local function beside(path, recipe)
  if type(recipe) ~= "string" or recipe == "" then return nil end
  return require "mlua.config.project".recipe(path, recipe)
end

-- Whether two paths are one file, whatever its names.
local function one_file(a, b)
  local kind_a, _, stamp_a = files.look(a)
  local kind_b, _, stamp_b = files.look(b)
  return a == b or kind_a == "file" and kind_b == "file" and stamp_a == stamp_b
end

-- -- the command -------------------------------------------------------------------------------

-- Both of a pair that f(path) makes of paths; or an end with all that went wrong.
local function both(paths, f)
  local made, seconds, problems = {}, {}, {}
  for i = 1, 2 do
    made[i], seconds[i] = f(paths[i])
    if made[i] == nil and seconds[i] ~= problems[1] then problems[#problems + 1] = seconds[i] end
  end
  if problems[1] then fail.usage("%s", table.concat(problems, "\n")) end
  return made, seconds
end

local function trees(a, b, recipe, ignored)
  local paths = both({ a, b }, find)
  if not recipe then
    local made, named = both(paths, read)
    local one, other = beside(paths[1], named[1]), beside(paths[2], named[2])
    recipe = one and other and one_file(one, other) and one
    if not recipe then return unpack(made) end
  end
  local resolve = require "mlua.config.resolve"
  local spec, wanted = resolve.spec(recipe)
  if not spec then fail.usage("%s", wanted) end
  return unpack((both(paths, function(path)
    return resolve.tree(spec, wanted, path, ignored)
  end)))
end

--- Print the differences. Status: 0 there are none, 1 there are, 2 a file cannot be read.
-- @tparam {string,...} args
function M.main(args)
  local spec = param.spec({
    json = param.bool { doc = "one line of JSON, also where there is no difference" },
    ignore = param.strings { diff.IGNORED, meta = "NAME,…",
      doc = "names and sections that do not count, with a recipe its groups of options, too; "
        .. "* stands for any letters" },
    all = param.bool { doc = "ignore nothing" },
    recipe = param.file { literals = { "train" },
      doc = "compare what this recipe makes of the files, defaults included" },
  }, { name = "mlua diff", config = false, arguments = { "A", "B", min = 2, max = 2 },
    doc = "Print what two configurations say differently: files in YAML, Lua or JSON, or folders "
      .. "that have a config.yaml, config.lua or config.json. Files that name one recipe "
      .. "(recipe: PATH) are compared by what it makes of them. Status 0: no difference, 1: some, "
      .. "2: a mistake." })
  local o, rest = spec:main(args)
  if o.all and param.origin(o, "ignore") ~= "default" then
    fail.usage("diff: --all ignores nothing, but --ignore was given")
  end
  local ignored = o.all and {} or o.ignore
  local a, b = trees(rest[1], rest[2], o.recipe, ignored)
  local d = diff.of(a, b, { ignore = ignored })
  local written = io.stdout:write(o.json and diff.json(d) .. "\n" or diff.text(d))
    and io.stdout:flush()
  if not written then os.exit(2, true) end -- the program says why
  if not diff.empty(d) then os.exit(1, true) end
end

return M
