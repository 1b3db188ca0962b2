-- Tasks: parameters that are inherited, pinned, kept apart; requirements of every form.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local param = ml.param
local node_module = require "mlua.task.node"

local function numbers() return 1 end

local Clicks = ml.task("Clicks", {
  params = { rows = param.int { 1000, min = 1 }, seed = param.int { 1 } },
  outputs = { "train", "test" }, run = function() return { train = 1, test = 2 } end,
})
local Train = ml.task("Train", {
  requires = { clicks = Clicks }, params = { lr = param.number { 0.1, min = 0 } }, run = numbers,
})

-- "Train{lr=0.2} Clicks{seed=3}": the nodes of a graph with what is no default, in order.
local function graph(...)
  local words = {}
  for i, node in ipairs(node_module.graph { ... }) do
    words[i] = node._task.name .. "{" .. node:_words() .. "}"
  end
  return table.concat(words, " ")
end

describe("a task", function()
  it("inherits the parameters of all that it requires, down the graph", function()
    local Evaluate = ml.task("Evaluate", { requires = Train, run = numbers })
    local node = Evaluate { rows = 7, lr = 0.5 }
    assert.equal("Clicks{rows=7} Train{rows=7 lr=0.5} Evaluate{rows=7 lr=0.5}", graph(node))
    assert.same({ 7, 0.5, 1 }, { node.rows, node.lr, node.seed })
  end)

  it("takes groups of parameters, whose titles help shows", function()
    local Grouped = ml.task("Grouped", { run = numbers, params = {
      param.group "Rows" { rows = param.int { 5 } }, seed = param.int { 1 } } })
    assert.equal("Grouped{rows=7}", graph(Grouped { rows = 7 }))
    local by = Grouped:parameters().by
    assert.same({ "Rows", nil }, { by.rows.param.group, by.seed.param.group })
    assert.equal("bad argument #2 to 'task' (params: 'rows' is there twice)", mistake(function()
      ml.task("Twice", { run = numbers, params = {
        param.group "A" { rows = param.int { 5 } }, param.group "B" { rows = param.int { 5 } } } })
    end))
  end)

  it("loads no format that it names until there is a value for it", function()
    local script = [[
      local task = require "mlua.task"
      task("T", { outputs = { a = "csv", b = "state" }, run = function() return {} end })
      task("M", { outputs = "memory", run = function() return {} end })
      for name in pairs(package.loaded) do if name:find "^mlua.format%." then print(name) end end
      print(task.named "T".in_memory, task.named "M".in_memory)
    ]]
    local got = require "spec.support.process".mlua { "-e", script }
    assert.equal("false\ttrue\n", got.out, got.err)
  end)

  it("is one node for equal values, however it is reached", function()
    local Left = ml.task("Left", { requires = Clicks, run = numbers })
    local Right = ml.task("Right", { requires = Clicks, run = numbers })
    local Both = ml.task("Both", { requires = { Left, Right }, run = numbers })
    assert.equal("Clicks{} Left{} Right{} Both{}", graph(Both()))
    assert.equal(Train { lr = 1 }, Train { lr = 1 })
    assert.not_equal(Train { lr = 1 }, Train { lr = 2 })
  end)

  it("may pin a parameter of what it requires, which is then no longer open", function()
    local Pinned = ml.task("Pinned", {
      requires = { a = Clicks:with { seed = 5 }, b = Clicks }, run = numbers })
    assert.equal("Clicks{seed=5} Clicks{} Pinned{}", graph(Pinned()))
    assert.equal("Clicks{seed=5} Clicks{seed=9} Pinned{seed=9}", graph(Pinned { seed = 9 }))
    local Alone = ml.task("Alone", { requires = Clicks:with { seed = 5, rows = 2 }, run = numbers })
    assert.equal("bad argument #1 to 'Alone' (Alone has no parameter 'seed')",
      mistake(function() Alone { seed = 1 } end))
  end)

  it("may keep the parameters of a requirement apart under a name", function()
    local Two = ml.task("Two", {
      requires = { a = Clicks:apart "left", b = Clicks:apart "right" }, run = numbers })
    local node = Two { ["left.seed"] = 3, ["right.rows"] = 4 }
    assert.equal("Clicks{seed=3} Clicks{rows=4} Two{right.rows=4 left.seed=3}", graph(node))
    assert.same({ 3, 1 }, { node.left.seed, node.right.seed })
  end)

  it("takes a value for one task alone as Task.name, and for all as name", function()
    local Other = ml.task("Other", { params = { seed = param.int { 1 } }, run = numbers })
    local Top = ml.task("Top", { requires = { Clicks, Other }, run = numbers })
    assert.equal("Clicks{seed=3} Other{seed=3} Top{seed=3}", graph(Top { seed = 3 }))
    assert.equal("Clicks{seed=3} Other{} Top{}", graph(Top { ["Clicks.seed"] = 3 }))
  end)

  it("shares a name of one type, by the default of the nearest, and keeps all bounds", function()
    local Wide = ml.task("Wide", { params = { n = param.int { 5 } }, run = numbers })
    local Near = ml.task("Near", { requires = Wide, params = { n = param.int { 7, max = 9 } },
                                   run = numbers })
    assert.equal(7, Near().n)
    assert.equal(7, node_module.graph { Near() }[1].n)
    assert.equal("bad argument #1 to 'Near' (n: 10 is out of range (at most 9))",
      mistake(function() Near { n = 10 } end))
    local Far = ml.task("Far", { requires = Near, params = { n = param.int { 1 } }, run = numbers })
    assert.equal("bad argument #1 to 'Far' (n: 10 is out of range (at most 9))",
      mistake(function() Far { n = 10 } end))
  end)

  it("refuses one name of two types, with both places", function()
    local A = ml.task("A", { params = { size = param.int { 1 } }, run = numbers })
    local B = ml.task("B", { params = { size = param.string { "s" } }, run = numbers })
    local _, e = pcall(ml.task, "C", { requires = { A, B }, run = numbers })
    assert.matches("task C: parameter 'size' has two types, in A %(int, .*task_spec.lua:%d+%) "
      .. "and in B %(string, .*task_spec.lua:%d+%)", e.user_error)
    ml.task("D", { requires = { A, B:with { size = "x" } }, run = numbers })
  end)

  it("may find out what it requires from its parameters: many of one task, and a fan-in", function()
    local Part = ml.task("Part", { params = { i = param.int { 1 }, seed = param.int { 1 } },
                                   run = numbers })
    local All = ml.task("All", {
      inherits = { Part }, params = { n = param.int { 2 } }, run = numbers,
      requires = function(self)
        local list = {}
        for i = 1, self.n do list[i] = Part { i = i } end
        return list
      end })
    assert.equal("Part{seed=4} Part{i=2 seed=4} Part{i=3 seed=4} All{seed=4 n=3}",
      graph(All { n = 3, seed = 4 }))
    assert.equal("Part{} Part{i=2 seed=8} All{}",
      (graph(All { ["Part.seed"] = 8 }):gsub("Part{seed=8}", "Part{}")))
  end)

  it("clones another task with the parameters that both have", function()
    local node = Train { rows = 9, lr = 3 }
    assert.equal("Clicks{rows=9 seed=2}", graph(node:clone(Clicks, { seed = 2 })))
  end)

  it("names the path of a cycle", function()
    local Odd
    local Even = ml.task("Even", { params = { i = param.int { 0 } }, run = numbers,
                                   requires = function(self) return Odd { i = self.i } end })
    Odd = ml.task("Odd", { params = { i = param.int { 0 } }, run = numbers,
                           requires = function(self) return Even { i = self.i } end })
    local ok, e = pcall(node_module.graph, { Even { i = 3 } })
    assert.is_false(ok)
    assert.matches("task_spec.lua:%d+: a cycle of tasks: Even%(i=3%) → Odd%(i=3%) → Even%(i=3%)$",
      e.user_error)
  end)

  it("keeps the names of its methods to itself", function()
    assert.is_function(ml.flow.run)
    assert.is_function(require "mlua.task.work".run)
    for name in pairs(node_module.methods) do
      if name:sub(1, 1) ~= "_" then assert.is_true(node_module.reserved[name], name) end
    end
  end)

  it("may stand on thousands of others in a row", function()
    local Chain
    Chain = ml.task("Chain", { params = { i = param.int { 0 } }, run = numbers,
                               requires = function(self)
                                 if self.i > 0 then return Chain { i = self.i - 1 } end
                               end })
    assert.equal(20001, #node_module.graph { Chain { i = 20000 } })
  end)

  for message, fn in pairs {
    ["bad argument #1 to 'task' (name: 'a b' is not a word)"] = function()
      ml.task("a b", { run = numbers })
    end,
    ["bad argument #2 to 'task' (X: expected either 'run' or 'external')"] = function()
      ml.task("X", {})
    end,
    ["bad argument #2 to 'task' (unknown option 'requirs', did you mean 'requires'?)"] = function()
      ml.task("X", { run = numbers, requirs = Clicks })
    end,
    ["bad argument #2 to 'task' (X: requires: expected a task as 'a', got 3)"] = function()
      ml.task("X", { run = numbers, requires = { a = 3 } })
    end,
    ["bad argument #2 to 'task' (X: outputs: 'a b' is not a name)"] = function()
      ml.task("X", { run = numbers, outputs = { "a b" } })
    end,
    ["bad argument #2 to 'task' (X: params: 'output' is a method of every task)"] = function()
      ml.task("X", { run = numbers, params = { output = param.int { 1 } } })
    end,
    ["bad argument #2 to 'task' (X: resources: gpu: expected an amount as 2 or '4G', got 'x')"] =
      function() ml.task("X", { run = numbers, resources = { gpu = "x" } }) end,
    ["bad argument #2 to 'with' (Clicks has no parameter 'sed', did you mean 'seed'?)"] = function()
      Clicks:with { sed = 1 }
    end,
    ["bad argument #2 to 'with' (seed: expected an integer, got 'x')"] = function()
      Clicks:with { seed = "x" }
    end,
    ["bad argument #1 to 'Clicks' (Clicks has no parameter 'row', did you mean 'rows'?)"] =
      function() Clicks { row = 1 } end,
    ["bad argument #1 to 'Clicks' (rows: 0 is out of range (at least 1))"] = function()
      Clicks { rows = 0 }
    end,
    ["Clicks has no parameter 'row', did you mean 'rows'?"] = function() return Clicks().row end,
  } do
    it("refuses: " .. message, function() assert.equal(message, mistake(fn)) end)
  end
end)
