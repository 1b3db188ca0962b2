-- Flows at the prompt: functions of ml, nodes as values, completion and help.
local files = require "spec.support.files"
local process = require "spec.support.process"

local RECIPE = [[
local ml = require "mlua"
local param = ml.param
local Clicks = ml.task("Clicks", {
  params = { rows = param.int { 10, min = 1 } }, outputs = { "train" },
  run = function(self) return { train = { self.rows } } end,
})
return ml.flow(ml.task("Train", {
  requires = { clicks = Clicks }, params = { lr = param.number { 0.1, min = 0 } },
  run = function(self, input) return { loss = self.lr * input.clicks.train[1] } end,
}))
]]

describe("a flow at the prompt", function()
  local folder

  setup(function()
    folder = files.folder()
    files.write(folder .. "/r.lua", RECIPE)
  end)
  teardown(function() files.remove(folder) end)
  before_each(function() files.remove(folder .. "/.mlua") end)

  local function prompt(lines)
    local got = process.mlua({ "-i" },
      { cwd = folder, stdin = lines, env = { MLUA_STORE = ".mlua" } })
    return got.out, got.err
  end

  it("is loaded, called, run and compared as the guide shows it", function()
    local out, err = prompt [[
r = ml.load "r.lua"
r
a, b = r { lr = 0.2 }, r { lr = 0.3 }
ml.preview { a, b }
x = ml.run { a, b }
x.ran, x.same
ml.run({ a, b }).ran
ml.compare({ a, b }, "output")
a:output()
#ml.invalidate(a)
ml.run(a).ran
#ml.grid(r, { lr = { 1, 2, 3 } })
]]
    assert.equal("", err)
    assert.equal([[
flow of Train
Train      lr=0.2   run?  after Clicks
└─ Clicks  rows=10  run   never run
Train      lr=0.3   run?  after Clicks
3 to run (2 of them only if an input comes out otherwise), 0 ready
3	0
0
 lr   loss
0.2      2
0.3      3
{ loss = 2 }
1
1
3
]], out)
  end)

  it("shows a node as its task, parameters and status", function()
    local out = prompt [[
r = ml.load "r.lua"
a = r { lr = 0.2 }
a
{ a }
tostring(a)
a:run()
]]
    assert.equal([[
Train  rows=10 lr=0.2  run?  after Clicks
{ Train  rows=10 lr=0.2  run?  after Clicks }
"Train(lr=0.2)"
]], (out:gsub("[^\n]*\n$", "", 1)))
    assert.truthy(out:match "\nTrain  rows=10 lr=0.2  ready  11 B, [%w ]+\n$", out)
  end)

  it("shows a node that has no status by its name", function() -- a cycle, say
    local out = prompt [[
A = ml.task("A", { requires = function() return A end, run = print })
A()
]]
    assert.equal("A\n", out)
  end)

  it("completes a node's parameters and methods", function()
    local out = prompt [[
a = ml.load "r.lua" { lr = 0.2 }
require("mlua.repl.complete")("a:", 3)
require("mlua.repl.complete")("a.r", 3)
require("mlua.repl.complete")("ml.invalid", 4)
require("mlua.repl.complete")("ml.compar", 4)
]]
    assert.equal([[
{
  "clone", "id", "invalidate", "note", "output", "params", "path", "preview", "record", "require",
  "run", "save"
}
{ "record", "require", "rows", "run" }
{ "invalidate" }
{ "compare" }
]], out)
  end)

  it("has its help from the comments", function()
    local out = prompt [[
a = ml.load "r.lua" {}
? ml.task
? ml.run
? a:output
? ml.flow
]]
    for _, part in ipairs { "ml.task   module mlua.task\n  Tasks: what makes a result",
      "ml.run(nodes, options) ", "  Run what has to run for some nodes.\n", "a:output(name) ",
      "ml.flow   module mlua.flow\n  Flows: graphs of tasks" } do
      assert.truthy(out:find(part, 1, true), part)
    end
  end)

  it("says what is wrong on one line", function()
    local _, err = prompt [[
r = ml.load "r.lua"
r { lrr = 2 }
r { lr = -1 }
ml.run(3)
r {}:output()
ml.load "gone.lua"
]]
    assert.equal([[
stdin:1: bad argument #1 to 'Train' (Train has no parameter 'lrr', did you mean 'lr'?)
stdin:1: bad argument #1 to 'Train' (lr: -1 is out of range (at least 0))
stdin:1: bad argument #1 to 'run' (expected a node or a list of them, got 3)
Train has not run yet, or not since what it stands on changed: node:run() first
gone.lua: No such file or directory
]], err)
  end)
end)
