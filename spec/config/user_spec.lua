-- What a person who configures a recipe of their own runs into: which of two values counts, what a
-- flow's file may say, what is printed and read back.
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local folder
local program = process.program()

-- What a shell's command wrote, and its status.
local function shell(command)
  local pipe = io.popen(command .. "; printf '\\n%d' $?")
  local text = pipe:read "*a"
  pipe:close()
  local out, status = text:match "^(.*)\n(%d+)$"
  return out, tonumber(status)
end

local RECIPE = [[
local ml = require "mlua"
local param = ml.param
ml.model("wide", { doc = "one layer", width = param.int { 64, min = 1 } }, function(o) return o end)
local Points = ml.task("Points", {
  params = { param.group "Data" { rows = param.int { 100, min = 1 } } },
  outputs = "json", run = function(self) return { rows = self.rows } end,
})
local Train = ml.task("Train", {
  requires = { points = Points },
  params = {
    param.group "Training" { epochs = param.int { 20, min = 0 }, sizes = param.ints { { 3, 4 } } },
    model = param.model { "wide" }, optimizer = param.optimizer { "sgd" },
    shift = param.int { required = true, min = -10, max = 10 },
    log = param.int { 10, significant = false },
  },
  outputs = "json",
  run = function(self) return { value = self.epochs * 1000 + self.model.options.width } end,
})
return ml.flow(Train, { doc = "A small flow." })
]]

setup(function()
  folder = files.folder()
  files.write(folder .. "/recipe.lua", RECIPE)
end)
teardown(function() files.remove(folder) end)

-- Writes x.yaml; runs mlua in the folder with words, of which the shell sees quotes.
local function mlua(text, words, environment)
  if text then files.write(folder .. "/x.yaml", text) end
  return shell(("cd '%s' && %s '%s' %s 2>&1"):format(folder, environment or "", program, words))
end

local function shown(text, words, environment)
  local out = mlua(text, "config show recipe.lua --config x.yaml --json " .. (words or ""),
    environment)
  local ok, document = pcall(json.decode, out)
  return ok and document.config or out, ok and document.origins, ok and document.variants
end

describe("the command line", function()
  it("comes after what a file says of one task, of all runs, or of a variant", function()
    local config = shown("shift: 1\nTrain: {epochs: 5}\n", "--epochs 8")
    assert.equal(8, config.epochs)
    assert.is_nil(config.Train)
    local _, _, variants = shown("shift: 1\ngrid: {epochs: [1, 2]}\n", "--epochs 9")
    assert.is_nil(variants)
    _, _, variants = shown("shift: 1\nvariants: {a: {epochs: 3, shift: 2}}\n", "--epochs 9")
    assert.same({ { name = "a", config = { shift = 2 } } }, variants)
  end)

  it("changes a part as a file does, and says where each option is from", function()
    local text = "shift: 1\noptimizer: {type: adam, lr: 0.1}\n"
    for _, way in ipairs { { "--set 'optimizer={lr: 7}'" }, { "--optimizer '{lr: 7}'" },
      { "", "MLUA_OPTIMIZER='{lr: 7}'" } } do
      local config = shown(text, unpack(way))
      assert.same({ "adam", 7 }, { config.optimizer.type, config.optimizer.lr })
    end
    assert.equal("adam", shown("shift: 1\n", "--optimizer.type adam").optimizer.type)
    assert.truthy(mlua(text, "config show recipe.lua --config x.yaml --set 'optimizer={lr: 7}'")
      :find("lr: 7 +# command line"))
  end)

  it("takes lists as files have them, and grids of lists and parts", function()
    assert.same({ 1, 2 }, shown("shift: 1\n", "--sizes '[1, 2]'").sizes)
    local _, _, variants = shown("shift: 1\n", "--grid 'sizes=[1,2],[5]' "
      .. "--grid 'model={type: wide, width: 3},wide'")
    local names = {}
    for i, each in ipairs(variants) do names[i] = each.name end
    table.sort(names)
    assert.same({ "sizes=1,2 model=wide", "sizes=1,2 model={type: wide, width: 3}",
      "sizes=5 model=wide", "sizes=5 model={type: wide, width: 3}" }, names)
  end)

  it("tells all its mistakes, and all options that are missing", function()
    local out, status = mlua(nil, "config show recipe.lua --epoch 3 --rows x --sizes 1,y")
    assert.same({ "mlua: unknown option '--epoch', did you mean '--epochs'?\n"
      .. "--rows: expected an integer, got 'x'\n--sizes: expected an integer, got 'y'\n", 2 },
      { out, status })
  end)
end)

describe("a flow's file", function()
  it("may have keys in sections by their group, one task's parts like the others'", function()
    assert.equal(5, shown("shift: 1\ntraining: {epochs: 5}\n").epochs)
    assert.equal(6, shown("shift: 1\n", "--set training.epochs=6").epochs)
    local config = shown "shift: 1\noptimizer: {type: adam, lr: 0.1}\nTrain: {optimizer: {lr: 2}}\n"
    assert.same({ "adam", 2 }, { config.Train.optimizer.type, config.Train.optimizer.lr })
    assert.equal(8, shown("shift: 1\n", "--Train.model.width 8").Train.model.width)
  end)

  it("says nothing of what the program is to do now", function()
    for key, value in pairs { gc = "yes", preview = "yes", invalidate = "all", dot = "yes" } do
      assert.equal(("mlua: x.yaml:2: %s: an option of the command line alone\n"):format(key),
        (mlua(("shift: 1\n%s: %s\n"):format(key, value), "config check x.yaml recipe.lua")))
    end
    assert.equal("mlua: x.yaml:1: grid: expected a section, got 'a=1,2'\n",
      (mlua("grid: a=1,2\n", "config check x.yaml recipe.lua")))
    assert.equal("mlua: MLUA_GC: of the command line alone\n",
      (mlua("shift: 1\n", "recipe.lua --config x.yaml", "MLUA_GC=yes")))
    assert.equal("x.yaml: no mistakes; still required: shift\n",
      (mlua("jobs: 2\n", "config check x.yaml recipe.lua")))
  end)

  it("is refused a name that a registry has", function()
    assert.matches("x.yaml:2: models.wide: a model of this name is registered at recipe.lua:3",
      (mlua("shift: 1\nmodels: {wide: {type: wide, width: 5}}\n",
        "config check x.yaml recipe.lua")), 1, true)
  end)

  it("has hints for what is often meant", function()
    for text, hint in pairs {
      ["model: {wide: {width: 8}}"] = "model.wide: model 'wide' takes no such key, did you mean "
        .. "'type: wide'?",
      ["Trian: {epochs: 1}"] = "Trian: unknown key, did you mean 'Train'?",
      ["losess: {}"] = "losess: unknown key, did you mean 'losses'?",
      ["epochs: [1, 2]"] = "epochs: expected an integer, got a list (several runs: grid)",
      ["model: {type: wide, width: ${epochs}}"] = "(within {} and [], ${…} stands in quotes)",
      ["shift:1\nepochs: 2"] = "a space is missing behind a colon, here or in the line before",
      ["shift: 'x\nepochs: 2"] = "x.yaml:1: while scanning a quoted scalar",
    } do
      local out = mlua(text .. "\n", "config check x.yaml recipe.lua")
      assert.truthy(out:find(hint, 1, true), out)
    end
  end)
end)

describe("config show", function()
  it("prints runs that read back as they are", function()
    local text = "shift: 1\nvariants: {a: {epochs: 3}, b: {}}\ngrid: {model.width: [8, 64]}\n"
    local out = mlua(text, "config show recipe.lua --config x.yaml")
    local _, _, variants = shown(text)
    local _, _, again = shown(out)
    assert.equal(4, #variants)
    assert.same(variants, again)
    assert.same({ epochs = 3, model = { type = "wide", width = 8 } }, variants[1].config)
  end)

  it("runs the variants that are named", function()
    local text = "shift: 1\nvariants: {a: {epochs: 3}, b: {}}\n"
    local _, _, variants = shown(text, "--variant b")
    assert.same({ "b" }, { variants[1].name, variants[2] and variants[2].name })
    assert.equal("mlua: --variant c: no such variant\n",
      (mlua(text, "config show recipe.lua --config x.yaml --variant c")))
  end)
end)

describe("config template", function()
  it("can be checked where it was written, and once required values are filled in", function()
    files.write(folder .. "/part.lua", [[
local ml = require "mlua"
ml.model("mine", { opt = ml.param.optimizer { required = true } }, function(o) return o end)
return ml.flow(ml.task("T", { params = { m = ml.param.model { "mine" } }, outputs = "json",
  run = function() return 1 end }))
]])
    local out = mlua(nil, "config template part.lua > x.yaml; '" .. program
      .. "' config check x.yaml")
    assert.matches("x.yaml:%d+: m.opt: expected the name of", out)
    local text = files.read(folder .. "/x.yaml")
    assert.equal("x.yaml: no mistakes\n",
      (mlua(text:gsub("opt:", "opt: sgd"), "config check x.yaml")))
  end)
end)

describe("a project's file", function()
  it("has paths beside it, which count only where nothing else is said", function()
    lfs.mkdir(folder .. "/p")
    lfs.mkdir(folder .. "/p/in")
    files.write(folder .. "/p/recipe.lua", [[
local param = require "mlua".param
local o = param.spec { data = param.file { "none", literals = { "none" } } }:main(arg)
print(o.data)
]])
    files.write(folder .. "/p/mlua.yaml", "data: x.csv\n")
    files.write(folder .. "/p/x.csv", "1\n")
    files.write(folder .. "/p/in/y.csv", "1\n")
    local function of(where, words)
      return (shell(("cd '%s/p/%s' && '%s' %s 2>&1"):format(folder, where, program, words)))
    end
    assert.equal("x.csv\n", of(".", "recipe.lua"))
    assert.matches("/p/x.csv\n$", of("in", "../recipe.lua"))
    files.write(folder .. "/p/mlua.yaml", "data: gone.csv\n")
    assert.equal("y.csv\n", of("in", "../recipe.lua --data y.csv"))
    assert.matches("mlua.yaml:1: data: .*gone.csv", of(".", "recipe.lua"))
    files.remove(folder .. "/p/mlua.yaml")
  end)

  it("has each path of a list beside it, between commas, too", function()
    lfs.mkdir(folder .. "/q")
    lfs.mkdir(folder .. "/q/in")
    files.write(folder .. "/q/recipe.lua", [[
local param = require "mlua".param
local o = param.spec { data = param.files { { "none" }, literals = { "none" } } }:main(arg)
for i, path in ipairs(o.data) do print(i, path == "none" and path or path:match "/q/(.*)") end
]])
    files.write(folder .. "/q/x.csv", "1\n")
    files.write(folder .. "/q/y.csv", "1\n")
    for _, list in ipairs { "[x.csv, none, y.csv]", "x.csv, none,y.csv" } do
      files.write(folder .. "/q/mlua.yaml", "data: " .. list .. "\n")
      assert.equal("1\tx.csv\n2\tnone\n3\ty.csv\n",
        (shell(("cd '%s/q/in' && '%s' ../recipe.lua 2>&1"):format(folder, program))))
    end
    files.write(folder .. "/q/mlua.yaml", "data: [x.csv, gone.csv]\n")
    assert.matches("mlua.yaml:1: data: .*/q/gone.csv: No such file",
      (shell(("cd '%s/q/in' && '%s' ../recipe.lua 2>&1"):format(folder, program))))
    assert.equal("1\tnone\n", (shell(("cd '%s/q/in' && '%s' ../recipe.lua --data none 2>&1")
      :format(folder, program)))) -- which comes in place of the mistake
    files.remove(folder .. "/q/mlua.yaml")
  end)
end)

describe("diff", function()
  it("counts everything with --all, and leaves groups of the recipe out", function()
    files.write(folder .. "/y.yaml", "recipe: recipe.lua\nshift: 1\nlog: 50\nrows: 3\n")
    local text = "recipe: recipe.lua\nshift: 1\nlog: 5\n"
    assert.equal("~ log: 5 → 50\n~ rows: 100 → 3\n", (mlua(text, "diff x.yaml y.yaml --all")))
    assert.equal("~ rows: 100 → 3\n", (mlua(text, "diff x.yaml y.yaml")))
    assert.equal("", (mlua(text, "diff x.yaml y.yaml --ignore data")))
  end)

  it("compares tasks with their parameters, from Lua", function()
    files.write(folder .. "/d.lua", [[
local ml = require "mlua"
local flow = ml.load "recipe.lua"
local d = ml.config.diff.of(flow { shift = 1, log = 3 }, flow { shift = 1, epochs = 3,
  model = { "wide", width = 2 } })
io.write(ml.config.diff.text(d))
d = ml.config.diff.of(flow { shift = 1 }:params(), flow { shift = 2 }:params())
io.write(ml.config.diff.text(d))
]])
    assert.equal("~ epochs: 20 → 3\n~ model.width: 64 → 2\n~ shift: 1 → 2\n", (mlua(nil, "d.lua")))
  end)
end)
