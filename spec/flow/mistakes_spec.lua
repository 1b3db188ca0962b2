-- Mistakes in recipes and on their command lines: one clear line each, with the place where there
-- is one, and an exit status that tells wrong usage (2) from what has failed (1).
local files = require "spec.support.files"
local process = require "spec.support.process"

describe("a mistake", function()
  local folder

  setup(function() folder = files.folder() end)
  teardown(function() files.remove(folder) end)

  local HEAD = 'local ml = require "mlua"\nlocal param = ml.param\n' -- the recipe is from line 3 on

  local function run(recipe, ...)
    files.write(folder .. "/r.lua", HEAD .. recipe)
    return process.mlua({ "r.lua", ... }, { cwd = folder, env = { MLUA_STORE = folder .. "/s" } })
  end

  local function says(status, line, recipe, ...)
    local got = run(recipe, ...)
    assert.equal("mlua: " .. line .. "\n", got.err)
    assert.equal("", got.out)
    assert.equal(status, got.status)
  end

  -- In a run function: the line of the failure, among those on how the run goes.
  local function fails(line, recipe, ...)
    local got = run(recipe, ...)
    local found
    for l in got.err:gmatch "[^\n]+" do found = found or l:match "^%w+ failed: .*" end
    assert.equal(line, found)
    assert.is_nil(got.err:find("traceback", 1, true))
    assert.is_nil(got.err:find("lua/mlua/", 1, true))
    assert.truthy(got.err:match "\nmlua: 1 of %d tasks failed; what is done is kept\n$")
    assert.equal("", got.out)
    assert.equal(1, got.status)
  end

  describe("on the command line", function()
    local recipe = [[
local Clicks = ml.task("Clicks", {
  params = { rows = param.int { 10, min = 1 }, seed = param.int { 1 } }, outputs = { "train" },
  run = function(self) return { train = { self.rows, self.seed } } end,
})
return ml.flow(ml.task("Train", {
  requires = { clicks = Clicks },
  params = { lr = param.number { 0.1, min = 0, max = 1 }, kind = param.choice { "dot", "cat" } },
  run = function(self, input) return self.lr * input.clicks.train[1] end,
}))
]]

    it("in an option's name says which one may have been meant", function()
      says(2, "unknown option '--rws', did you mean '--rows'?", recipe, "--rws", "2")
      says(2, "unknown option '--forc', did you mean '--force'?", recipe, "--forc", "Train")
      says(2, "unknown option '--zzzz'", recipe, "--zzzz")
    end)

    it("in the name of one task's option does so, though help does not list these", function()
      says(2, "unknown option '--Click.seed', did you mean '--Clicks.seed'?", recipe,
        "--Click.seed", "3")
      says(2, "unknown option '--clicks.sed', did you mean '--Clicks.seed'?", recipe,
        "--clicks.sed=3")
    end)

    it("in a value's type says what was expected", function()
      says(2, "--rows: expected an integer, got 'x'", recipe, "--rows", "x")
      says(2, "--Clicks.rows: expected an integer, got 'x'", recipe, "--Clicks.rows", "x")
      says(2, "--lr: expected a number, got 'fast'", recipe, "--lr", "fast")
      says(2, "--kind: expected dot or cat, got 'dat', did you mean 'dot'?", recipe,
        "--kind", "dat")
      says(2, "--rows: expected an integer, got nothing", recipe, "--rows")
      says(2, "unexpected argument 'more'", recipe, "more")
    end)

    it("in a value's range says the range", function()
      says(2, "--rows: 0 is out of range (at least 1)", recipe, "--rows", "0")
      says(2, "--Clicks.rows: 0 is out of range (at least 1)", recipe, "--Clicks.rows", "0")
      says(2, "--lr: 2 is out of range (0 to 1)", recipe, "--lr", "2")
    end)

    it("in the name of a task is found before anything runs", function()
      for _, option in ipairs { "--force", "--only", "--until", "--invalidate" } do
        says(2, option .. ": no task 'Trian' in this flow, did you mean 'Train'?", recipe, option,
          "Trian")
      end
    end)

    it("in a grid or in resources is found before anything runs, too", function()
      says(2, "--grid rows: expected NAME=VALUE,VALUE,…", recipe, "--grid", "rows")
      says(2, "--grid row=1,2: no parameter 'row', did you mean 'rows'?", recipe, "--grid",
        "row=1,2")
      says(2, "--grid rows=1,x: rows: expected an integer, got 'x'", recipe, "--grid", "rows=1,x")
      says(2, "--grid lr=1: 'lr' is there twice", recipe, "--grid", "lr=0", "--grid", "lr=1")
      says(2, "--resources gpu: expected NAME=AMOUNT, as gpu=2 or memory=16G", recipe,
        "--resources", "gpu")
    end)

    it("in a picture's name says which there are", function()
      says(1, "x.bmp: expected a name that ends in .png, .svg or .pdf", recipe, "--graph", "x.bmp")
    end)
  end)

  describe("in a recipe's graph", function()
    it("that is a cycle names the path", function()
      says(2, "r.lua:5: a cycle of tasks: B → A → B", [[
local A, B
A = ml.task("A", { requires = function() return B end, run = function() return 1 end })
B = ml.task("B", { requires = A, run = function() return 1 end })
return ml.flow(B)]])
    end)

    it("that has no end says how it begins", function()
      says(2, "r.lua:4: requirements without an end: A → A(i=1) → A(i=2) → …", [[
local A
A = ml.task("A", { params = { i = param.int { 0 } }, run = function() return 1 end,
  requires = function(self) return A { i = self.i + 1 } end })
return ml.flow(A)]])
    end)

    it("that has two tasks of one name says where both are", function()
      says(2, "two tasks are named 'B': r.lua:4 and r.lua:3", [[
local first = ml.task("B", { run = function() return 1 end })
return ml.flow(ml.task("B", { requires = first, run = function() return 1 end }))]])
    end)

    it("that has two types for one parameter says where both are", function()
      says(2, "r.lua:4: task B: parameter 'x' has two types, in B (number, r.lua:4) and in A "
        .. "(int, r.lua:3); pin one with T:with { … } or tell them apart with T:apart \"name\"", [[
local A = ml.task("A", { params = { x = param.int { 1 } }, run = function() return 1 end })
return ml.flow(ml.task("B", { requires = A, params = { x = param.number { 1 } },
  run = function() return 1 end }))]])
    end)

    it("that requires what is no task says so, however it is required", function()
      local function recipe(requires)
        return ('return ml.flow(ml.task("A", { requires = %s, run = function() end }))'):format(
          requires)
      end
      says(1, "r.lua:3: bad argument #2 to 'task' (A: requires: expected a task as 'x', got 3)",
        recipe "{ x = 3 }")
      says(1, "r.lua:3: bad argument #2 to 'task' (A: requires: expected a task as '1', got 'B')",
        recipe '{ "B" }')
      says(1, "r.lua:3: bad argument #2 to 'task' (requires: expected a table or function, "
        .. "got 'B')", recipe '"B"')
      says(2, "r.lua:3: task A: requires: expected tasks, got 3",
        recipe "function() return 3 end")
      says(2, "r.lua:3: task A: requires: expected tasks, got 'B'",
        recipe 'function() return { x = "B" } end')
    end)

    it("whose requires function fails is placed at the user's line, without mlua's", function()
      local got = run [[
local function part(i) error("no part " .. i) end
local A = ml.task("A", {
  requires = function() local p = part(1) return p end,
  run = function() return 1 end })
return ml.flow(A)]]
      assert.equal("mlua: task A: requires: r.lua:3: no part 1\nstack traceback:\n" ..
        "\tr.lua:3: in function 'part'\n\tr.lua:5: in function <r.lua:5>\n",
        (got.err:gsub("'require_function'", "<r.lua:5>")))
      assert.equal(1, got.status)
    end)

    it("that gives a required task an unknown parameter is placed", function()
      local A = 'local A = ml.task("A", { params = { rows = param.int { 1 } }, ' ..
        'run = function() return 1 end })\n'
      says(1, "r.lua:4: bad argument #2 to 'with' (A has no parameter 'row', did you mean 'rows'?)",
        A .. 'return ml.flow(ml.task("B", { requires = A:with { row = 2 }, run = print }))')
      says(2, "r.lua:5: A has no parameter 'row', did you mean 'rows'?",
        A .. 'return ml.flow(ml.task("B", { run = print,\n' ..
          '  requires = function() return { A { row = 2 } } end }))')
      says(2, "r.lua:4: A has no parameter 'row', did you mean 'rows'?", -- a tail call: the task
        A .. 'return ml.flow(ml.task("B", { run = print,\n' ..
          '  requires = function() return A { row = 2 } end }))')
    end)
  end)

  describe("in a task's definition", function()
    local function defines(message, definition)
      says(1, "r.lua:3: bad argument #" .. message, ("ml.task(%s)"):format(definition))
    end

    it("is placed at its line", function()
      defines("1 to 'task' (name: 'a b' is not a word)", '"a b", { run = print }')
      defines("2 to 'task' (unknown option 'require', did you mean 'requires'?)",
        '"A", { require = 3, run = print }')
      defines("2 to 'task' (A: expected either 'run' or 'external')", '"A", {}')
      defines("2 to 'task' (A: params: expected parameters by name, got 3 as 'x')",
        '"A", { params = { x = 3 }, run = print }')
      defines("2 to 'task' (A: outputs: no format 'jsn', did you mean 'json'?)",
        '"A", { outputs = { x = "jsn" }, run = print }')
      defines("2 to 'task' (A: outputs: 'x' is there twice)",
        '"A", { outputs = { "x", "x" }, run = print }')
      defines("2 to 'task' (A: resources: memory: expected an amount as 2 or '4G', got 'lots')",
        '"A", { resources = { memory = "lots" }, run = print }')
    end)

    it("a parameter named like a method is refused, whatever modules are loaded", function()
      for _, name in ipairs { "run", "save", "output", "clone", "require" } do
        defines(("2 to 'task' (A: params: '%s' is a method of every task)"):format(name),
          ('"A", { params = { %s = param.int { 1 } }, run = print }'):format(name))
      end
    end)

    it("a parameter named like an option of every flow is refused", function()
      says(2, "r.lua:3: parameter 'jobs' of A is an option of every flow",
        'return ml.flow(ml.task("A", { params = { jobs = param.int { 1 } }, run = print }))')
    end)
  end)

  describe("in what a recipe returns", function()
    it("is told where it is a task or a node", function()
      local A = 'local A = ml.task("A", { run = function() return 1 end })\n'
      local line = "r.lua: returns a task, where a recipe ends with: return ml.flow(A)"
      says(2, line, A .. "return A")
      says(2, line, A .. "return A()")
      says(1, "r.lua: ml.flow: expected a task, got a table", A .. "return ml.flow { A }")
      says(1, "r.lua:4: bad argument #1 to 'flow' (expected a task, got nil)",
        A .. "local f = ml.flow(nil) return f")
    end)

    it("is told by ml.flow.load", function()
      files.write(folder .. "/n.lua", "return { 1 }")
      says(1, "n.lua: expected it to return a flow, got a table", 'ml.flow.load "n.lua"')
      says(1, "gone.lua: No such file or directory", 'ml.flow.load "gone.lua"')
    end)
  end)

  describe("in a run function", function()
    local function task(body, outputs)
      return ('return ml.flow(ml.task("A", { outputs = %s,\n  run = function(self) %s end }))')
        :format(outputs or '{ "model", "metrics" }', body)
    end

    it("that gives other outputs than it declares names the output", function()
      fails("A failed: A (r.lua:3): run gave no output 'metrics'", task "return { model = 1 }")
      fails("A failed: A (r.lua:3): run gave an output 'metric' that is not declared, did you "
        .. "mean 'metrics'?", task "return { model = 1, metrics = 1, metric = 2 }")
      fails("A failed: A (r.lua:3): run gave an output 'modell' that is not declared, did you "
        .. "mean 'model'?", task 'self:save("modell", 1)')
      fails("A failed: A (r.lua:3): run: expected a table of outputs, got 3", task "return 3")
      fails("A failed: A (r.lua:3): run gave no output 'output'", task("", "nil"))
      fails("A failed: A (r.lua:3): output 'output': expected a string, got 3",
        task("return 3", '"text"'))
    end)

    it("in a field's name says which one may have been meant", function()
      local C = 'local C = ml.task("C", { params = { rows = param.int { 1 } }, ' ..
        'outputs = { "train" }, run = function() return { train = 1 } end })\n' ..
        'return ml.flow(ml.task("A", { requires = { clicks = C },\n' ..
        '  run = function(self, input) local x = %s return x end }))'
      fails("A failed: r.lua:5: A has no parameter 'row', did you mean 'rows'?",
        C:format "self.row")
      fails("A failed: r.lua:5: C has no output 'trian', did you mean 'train'?",
        C:format "input.clicks.trian")
      fails("A failed: r.lua:5: A requires nothing as 'click', did you mean 'clicks'?",
        C:format "input.click")
    end)

    it("is one line where one is enough, and else the user's calls alone", function()
      fails("A failed: r.lua:4: attempt to index local 'x' (a nil value)",
        task("local x return x.y", "nil"))
      local got = run [[
local function helper(x) return x.y end
return ml.flow(ml.task("A", { run = function() local y = helper(nil) return y end }))]]
      assert.truthy(got.err:find("A failed: r.lua:3: attempt to index local 'x' (a nil value)\n" ..
        "stack traceback:\n\tr.lua:3: in function 'helper'\n\tr.lua:4: in function 'run'\n" ..
        "all of it: ", 1, true), got.err)
    end)

    it("in a process of its own is told the same way", function()
      fails("A failed: A (r.lua:3): run gave no output 'metrics'", task "return { model = 1 }",
        "--jobs", "2")
      fails("A failed: r.lua:4: attempt to index local 'x' (a nil value)",
        task("local x return x.y", "nil"), "--jobs", "2")
      fails("A failed: took longer than its limit of 0.2 s",
        'return ml.flow(ml.task("A", { timeout = 0.2, run = function() while true do end end }))')
    end)

    it("is shown with the parameters, and kept in a file", function()
      local got = run('return ml.flow(ml.task("A", { params = { x = param.int { 7 } }, ' ..
        'run = function(self) error("no " .. self.x) end }))')
      local path = got.err:match "A failed: r.lua:3: no 7\nparameters: x=7\nall of it: ([^\n]+)\n"
      assert.equal("A failed: r.lua:3: no 7\nparameters: x=7\n", files.read(path))
    end)

    it("an external file that is not there is named", function()
      fails("C failed: data.csv: no such file (made elsewhere)", [[
local C = ml.task("C", { external = function() return "data.csv" end })
return ml.flow(ml.task("A", { requires = C, run = function() return 1 end }))]])
    end)
  end)
end)
