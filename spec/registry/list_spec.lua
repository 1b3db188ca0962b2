-- `mlua list`: what is registered, for people and for programs.
local files = require "spec.support.files"
local json = require "mlua.json"
local process = require "spec.support.process"
local registry = require "mlua.registry"

local folder

setup(function() folder = files.folder() end)
teardown(function() files.remove(folder) end)

local function list(...)
  return process.mlua({ "list", ... }, { cwd = folder, env = { COLUMNS = "100" } })
end

-- What is written; nothing went wrong.
local function shown(...)
  local got = list(...)
  assert.equal("", got.err)
  assert.equal(0, got.status)
  return got.out
end

local function refused(status, message, ...)
  local got = list(...)
  assert.same({ "", "mlua: " .. message .. "\n", status }, { got.out, got.err, got.status })
end

describe("mlua list", function()
  it("shows each registry with how many parts it has, and their names", function()
    local out = shown()
    assert.truthy(out:find("\nmetrics       4   accuracy, binary, mae, mse\n", 1, true), out)
    local kinds = {}
    for kind in ("\n" .. out):gmatch "\n(%l+)" do kinds[#kinds + 1] = kind end
    assert.same({ "models", "losses", "optimizers", "schedules", "metrics", "transforms",
      "datasets", "samplers", "formats" }, kinds)
  end)

  it("shows the parts of one kind with what each option takes", function()
    local out = shown "samplers"
    assert.truthy(out:find "^balanced: each class as [^\n]+\n  mlua/registry/samplers.lua:%d+\n")
    assert.truthy(out:find([[
  count         int            how many an epoch has; unless set, as many as there are (at least 1)
  replacement   bool     yes   a sample may come more than once
]], 1, true), out)
    assert.equal(out, shown "sampler")
  end)

  it("shows one part, its lines no wider than the terminal", function()
    local out = shown("losses", "term")
    assert.truthy(out:find("^term: a loss of one column, times a weight\n"), out)
    assert.truthy(out:find("\n  loss     loss     bce    the loss (one of `mlua list losses`)\n", 1,
      true), out)
    out = shown("schedules", "cosine")
    assert.truthy(out:find("\n  steps    int      required   till", 1, true), out)
    for each in shown "models":gmatch "[^\n]+" do
      assert.is_true(require "mlua.text".width(each) <= 100, each)
    end
  end)

  it("tells programs all of it as JSON", function()
    local all = assert(json.decode(shown "--json"))
    for _, each in ipairs(registry.list()) do
      if each.own then assert.is_true(#all[each.plural] > 0, each.plural) end -- not other specs'
    end
    local one = assert(json.decode(shown("optimizers", "adam", "--json")))
    assert.same({ "optimizers" }, require "mlua.text".keys(one))
    assert.equal(1, #one.optimizers)
    local adam = one.optimizers[1]
    assert.truthy(adam.place:find "^mlua/registry/optimizers.lua:%d+$")
    assert.same({ name = "lr", type = "number", default = 1e-3, range = "at least 0",
      doc = "learning rate" }, adam.options[1])
    assert.same({ 0.9, 0.999 }, adam.options[2].default)
    assert.equal(false, adam.options[5].default)
    local ensemble = assert(json.decode(shown("models", "ensemble", "--json"))).models[1]
    assert.same({ "mlp", "mlp" }, ensemble.options[1].default)
    local cosine = assert(json.decode(shown("schedules", "cosine", "--json"))).schedules[1]
    assert.is_true(cosine.options[1].required)
    assert.is_nil(cosine.options[1].default)
  end)

  it("shows a recipe's own parts, and where they are registered", function()
    local path = files.write(folder .. "/recipe.lua", [[
local ml = require "mlua"
require "mlua.registry".new("tokenizer", "tokenizers", "from text to ids")
ml.model("own", { doc = "mine", width = ml.param.int { 64, min = 1, doc = "of it" } }, print)
require "mlua.registry".register("tokenizer", "words", { doc = "by spaces" }, print)
return ml.flow(ml.task("T", { outputs = { "x" }, run = function() return { x = 1 } end }))
]])
    local want = "own: mine\n  recipe.lua:3\n  width   int   64   of it (at least 1)\n"
    assert.equal(want, shown("recipe.lua", "models", "own"))
    assert.equal(want, shown("--recipe", "recipe.lua", "models", "own"))
    assert.truthy(shown("recipe.lua"):find("\ntokenizers    1   words\n", 1, true))
    assert.equal("words: by spaces\n  recipe.lua:4\n", shown("recipe.lua", "tokenizers"))
    refused(2, "list: two recipes: " .. path .. " and recipe.lua", "--recipe", path, "recipe.lua")
  end)

  it("refuses a recipe that is none with one line", function()
    files.write(folder .. "/none.lua", "return 3")
    refused(1, "list: none.lua: no recipe: it returns 3, and reads no command line by a spec",
      "none.lua")
    files.write(folder .. "/broken.lua", "local x = nil\nreturn x.y")
    refused(1, "list: broken.lua:2: attempt to index local 'x' (a nil value)", "broken.lua")
    refused(1, "list: nowhere.lua: no such file", "nowhere.lua", "models")
    files.write(folder .. "/twice.lua",
      "local ml = require 'mlua'\nml.loss('mse', {}, print)")
    local got = list "twice.lua"
    assert.equal(1, got.status)
    assert.truthy(got.err:find("^mlua: list: twice.lua:2: bad argument #1 to 'loss' %(name: 'mse' "
      .. "is registered at [^\n]*losses.lua:%d+ already, and again at twice.lua:2%)\n$"), got.err)
  end)

  it("suggests the name that was meant", function()
    refused(2, "list: no registry of 'modles', did you mean 'models'?", "modles")
    refused(2, "list: no model 'mpl', did you mean 'mlp'?", "models", "mpl")
    refused(2, "list: no registry of 'zzz'", "zzz")
    refused(2, "unexpected argument 'c'", "models", "mlp", "c")
    refused(2, "unknown option '--jsn', did you mean '--json'?", "--jsn")
  end)

  it("has help", function()
    assert.truthy(shown("--help"):find("usage: mlua list [options] [RECIPE.lua] [KIND [NAME]]\n", 1,
      true))
  end)
end)
