--- `mlua new NAME`: a small project in a new folder, which runs and passes its own spec at once.
-- @module mlua.cli.new
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local param = require "mlua.param"

local M = {}

-- -- what is written: { path, text }, where $NAME stands for the project's name --

local PROJECT = {
  { "README.md", [=[
# $NAME

    mlua recipe.lua                       run what is missing
    mlua recipe.lua --preview             what would run, and why
    mlua recipe.lua --help                all parameters
    mlua recipe.lua --grid lr=0.1,0.3     a run for each value, side by side
    busted                                the spec

`tasks.lua` has the tasks, `config.lua` the defaults of their parameters, `recipe.lua` the flow.
Results are in `.mlua`.
]=] },

  { "config.lua", [=[
--- Defaults of the parameters; what the command line says comes before them.
return {
  rows = 1000,
  noise = 0.1,
  seed = 1,
  lr = 0.3,
  epochs = 50,
}
]=] },

  { "tasks.lua", [=[
--- The tasks of $NAME: what makes its results, and of what.
local ml = require "mlua"
local config = require "config"

local nn, optim, param = ml.nn, ml.optim, ml.param

local tasks = {}

-- Points around the line y = 3 x + 1.
local function points(rows, noise, seed)
  local x = ml.rand(rows, 1, { seed = seed, stream = 0 }) * 2 - 1
  local y = x * 3 + 1 + ml.randn(rows, 1, { seed = seed, stream = 1 }) * noise
  return { x = x, y = y }
end

tasks.Points = ml.task("Points", {
  doc = "points around a line",
  params = {
    rows = param.int { config.rows, min = 1, doc = "points to train on" },
    noise = param.number { config.noise, min = 0, doc = "standard deviation around the line" },
    seed = param.int { config.seed, doc = "of all random numbers" },
  },
  outputs = { "train", "test" },
  run = function(self)
    return {
      train = points(self.rows, self.noise, self.seed),
      test = points(200, self.noise, self.seed + 1),
    }
  end,
})

tasks.Train = ml.task("Train", {
  doc = "a line through the points",
  requires = { points = tasks.Points }, -- whose parameters are Train's, too
  params = {
    lr = param.number { config.lr, min = 0, doc = "learning rate" },
    epochs = param.int { config.epochs, min = 0, doc = "passes over the points" },
  },
  outputs = { "model", "metrics" },
  run = function(self, input)
    local train, test = input.points.train, input.points.test
    local model = nn.Linear.new { inputs = 1, outputs = 1, seed = self.seed, stream = 2 }
    local opt = optim.sgd(model, { lr = self.lr })
    for _ = 1, self.epochs do
      ml.scope(function() opt:step(ml.mse(model(train.x), train.y)) end)
    end
    return { model = model, metrics = { mse = ml.mse(model(test.x), test.y):item() } }
  end,
})

return tasks
]=] },

  { "recipe.lua", [=[
--- The flow of $NAME.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
package.path = here .. "?.lua;" .. package.path

local ml = require "mlua"
local tasks = require "tasks"

return ml.flow(tasks.Train, { doc = "Points around a line, and a line through them." })
]=] },

  { "spec/recipe_spec.lua", [=[
local root = debug.getinfo(1, "S").source:match "^@(.*)spec/" or ""
local ml = require "mlua"

describe("$NAME", function()
  local flow, folder

  setup(function() -- results of the spec have a folder of their own
    folder = os.tmpname()
    os.remove(folder)
    ml.flow.store(folder)
    flow = ml.load(root .. "recipe.lua")
  end)
  teardown(function() os.execute("rm -r " .. folder) end)

  it("finds the line: its error is little more than the noise", function()
    local train = flow { rows = 500, noise = 0.1 }
    train:run()
    assert.is_true(train:output("metrics").mse < 1.5 * 0.1 ^ 2)
  end)

  it("runs nothing twice, and Train alone where only its parameters change", function()
    assert.equal(0, ml.run(flow { rows = 500, noise = 0.1 }).ran)
    assert.equal(1, ml.run(flow { rows = 500, noise = 0.1, epochs = 10 }).ran)
  end)
end)
]=] },

  { ".gitignore", [=[
# Results, and what holds for this machine alone.
.mlua/
mlua.local.yaml
]=] },

  { ".busted", [=[
return {
  _all = { lua = "mlua", ["auto-insulate"] = false, ROOT = { "spec" }, pattern = "_spec" },
}
]=] },
}

-- -- the command --

local function write(name)
  local lfs = require "lfs"
  local function make(path)
    local ok, why = lfs.mkdir(path)
    if not ok then fail.run("new: %s: %s", path, (why:lower())) end
  end
  make(name)
  make(name .. "/spec")
  make(name .. "/.mlua") -- here are its results, whatever folder above has some
  for _, file in ipairs(PROJECT) do
    local text = file[2]:gsub("%$NAME", name)
    fail.assert(require "mlua.ffi.store".put(name .. "/" .. file[1], text))
  end
end

--- Write the project.
-- @tparam {string,...} args  its name
function M.main(args)
  local spec = param.spec({}, { name = "mlua new", config = false,
    arguments = { "NAME", min = 1, max = 1 },
    doc = "Write a small project into a new folder: tasks, configuration, recipe and spec." })
  local _, rest = spec:main(args)
  local name = rest[1]
  if not name:find "^%a[%w_-]*$" or #name > 64 then
    fail.usage("new: %s is no name for a project: letters, digits, _ and -, first a letter, at "
      .. "most 64", require "mlua.repl.value".quote(name))
  end
  if files.look(name) then fail.run("new: %s is there already; nothing was written", name) end
  write(name)
  io.stdout:write(name, ": README.md, config.lua, tasks.lua, recipe.lua, spec/recipe_spec.lua\n",
    "cd ", name, " && mlua recipe.lua\n")
end

return M
