-- What a result's identity must tell apart, what runs must not lose, and what they say.
local ml = require "mlua"
local files = require "spec.support.files"
local support = require "spec.support.flow"
local param, flow = ml.param, ml.flow

local count, counted = support.count, support.counted
local dir

before_each(function()
  support.open()
  dir = support.dir
end)
after_each(support.close)

local function message(fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  return type(e) == "table" and e.user_error or e
end

describe("an identity tells apart", function()
  local Base = ml.task("Base", { params = { lr = param.number { 0.1 } },
                                 run = function() return 1 end })

  it("what a run function with '…' for its arguments reads", function()
    local T = ml.task("T", { requires = Base, run = function(...)
      local self = ...
      return self.lr
    end })
    assert.same({ 0.1, 0.2 }, flow.outputs { T():run(), T { lr = 0.2 }:run() })
  end)

  it("draws by the seed that holds for all", function()
    local T = ml.task("T", { run = function() return ml.rand(1):item() end })
    local first = T():run():output()
    ml.seed(7)
    local second = T():run():output()
    ml.seed(0)
    assert.not_equal(first, second)
    assert.equal(first, T():run():output())
  end)

  it("no value from the word nil, and values that join to the same text", function()
    local T = ml.task("T", { params = { a = param.string {}, b = param.string {} },
                             run = function(self) return (self.a or "none") .. (self.b or "") end })
    assert.same({ "none", "nil" }, flow.outputs { T():run(), T { a = "nil" }:run() })
    local x, y = T { a = "x\31y", b = "z" }, T { a = "x", b = "y\31z" }
    assert.not_equal(x, y)
    assert.not_equal(x:id(), y:id())
  end)

  it("a parameter that counts for one of several that declare it", function()
    local function task(name, significant)
      return ml.task(name, { params = { w = param.int { 1, significant = significant } },
                             run = function() return 0 end })
    end
    local T = ml.task("T", { requires = { task("A", false), task("B", true) },
                             run = function(self) return self.w end })
    assert.same({ 1, 2 }, flow.outputs { T():run(), T { w = 2 }:run() })
  end)

  it("one requirement from a list of one", function()
    local function made(requires)
      return ml.task("T", { requires = requires, run = function(_, input) return { input } end })()
    end
    assert.same({ 1 }, made(Base):run():output())
    assert.same({ { 1 } }, made({ Base }):run():output())
  end)

  it("what formats of one's own write that are chosen by the value", function()
    local function made(ending)
      ml.format("marked", {
        takes = function(v) return ending and type(v) == "table" and v.marked ~= nil end,
        load = files.read,
        save = function(v, path) return files.write(path, v.marked .. ending) ~= nil end,
      })
      return ml.task("T", { run = function() return { marked = "a" } end })()
    end
    assert.equal("a!", made("!"):run():output())
    assert.equal("a?", made("?"):run():output())
    made(nil) -- which takes nothing
  end)

  it("files of one time that differ in size", function()
    local path = files.write(dir .. "/in", "abc")
    os.execute("touch -d '2020-01-01' " .. path)
    local T = ml.task("T", { params = { from = param.file {} },
                             run = function(self) return files.read(self.from) end })
    assert.equal("abc", T { from = path }:run():output())
    files.write(path, "abcd")
    os.execute("touch -d '2020-01-01' " .. path)
    assert.equal("abcd", T { from = path }:run():output())
  end)

  it("what changes at the prompt: functions of tasks found while running, requirements", function()
    local env = setmetatable({ k = 2, n = 1 }, { __index = _G })
    local body = setfenv(function(self) return self.i * k end, env) -- luacheck: ignore
    local Part = ml.task("Part", { params = { i = param.int { 1 } }, run = body })
    local Found = ml.task("Found", { run = function(self) return self:require(Part) end })
    assert.equal(2, Found():run():output())
    env.k = 3
    assert.equal(3, Found():run():output())
    local Many = ml.task("Many", {
      requires = setfenv(function()
        local list = {}
        for i = 1, rawget(env, "n") do list[i] = Part { i = i } end
        return list
      end, env),
      run = function(_, input) return #input end })
    assert.equal(1, Many():run():output())
    env.n = 4
    assert.equal(4, Many():run():output())
  end)
end)

describe("a run", function()
  it("draws the same numbers for a task whatever ran before it, and in any process", function()
    local T = ml.task("T", { params = { i = param.int { 1 } },
                             run = function() return ml.rand(2, { seed = 3 }):totable() end })
    local here = ml.rand(1):item()
    flow.run { T(), T { i = 2 } }
    flow.run({ T { i = 3 } }, { jobs = 2 })
    local a, b, c = unpack(flow.outputs { T(), T { i = 2 }, T { i = 3 } })
    assert.same(a, b)
    assert.same(a, c)
    assert.not_equal(here, ml.rand(1):item()) -- the prompt's own draws go on
  end)

  it("keeps an input beyond the scope in which it was first asked for", function()
    local Make = ml.task("Make", { outputs = { "x" }, run = function()
      return { x = ml.arange(4) }
    end })
    local T = ml.task("T", { requires = Make, run = function(_, input)
      local sum = 0
      for _ = 1, 3 do
        ml.scope(function() sum = sum + input.x:sum():item() end)
      end
      return sum
    end })
    assert.equal(18, T():run():output())
  end)

  it("records what is done where a file that is a parameter turns out to be gone", function()
    local A = ml.task("A", { run = function() count "A" return 1 end })
    local B = ml.task("B", { requires = A, params = { f = param.file {} },
                             run = function() return 2 end })
    local path = dir .. "/gone"
    assert.equal("B(f=" .. path .. "): B: f: " .. path .. ": no such file",
      message(flow.run, B { f = path }))
    pcall(flow.run, B { f = path })
    assert.same({ A = 1 }, counted())
  end)

  it("outlives callbacks that raise", function()
    local said = {}
    local function events(what, _, detail)
      if what == "callback" then said[#said + 1] = detail end
    end
    local T = ml.task("T", { run = function() count "T" return 1 end,
                             on_success = function() error "success" end })
    flow.run(T(), { on_event = events })
    flow.run(T(), { on_event = events })
    assert.same({ T = 1 }, counted())
    assert.matches("^T: on_success: .*correct_spec.lua:%d+: success", said[1])
    local Bad = ml.task("Bad", { run = function() error "run" end,
                                 on_failure = function() error "failure" end })
    assert.matches("^Bad: .*: run", message(flow.run, Bad(), { on_event = events }))
    assert.matches("^Bad: on_failure: .*: failure", said[2])
    local Start = ml.task("Start", { run = function() return 1 end,
                                     on_start = function() error "start" end })
    assert.matches("^Start: .*: start", message(flow.run, Start()))
  end)

  it("refuses notes that JSON can't hold, at once", function()
    local T = ml.task("T", { run = function(self) self:note("f", print) return 1 end })
    assert.matches("bad argument #2 to 'note'", message(flow.run, T()))
  end)

  it("names a cycle that is found while running, in any number of jobs", function()
    local B
    local A = ml.task("A", { run = function(self) return self:require(B) end })
    B = ml.task("B", { run = function(self) return self:require(A) end })
    for jobs = 1, 2 do
      assert.equal("A: a cycle of tasks, found while they run: A → B → A",
        message(flow.run, A(), { jobs = jobs }))
    end
  end)

  it("does not run another task behind its own back", function()
    local Part = ml.task("Part", { run = function() return 1 end })
    local T = ml.task("T", { run = function() return Part():run():output() end })
    assert.matches("run: within a task, self:require", message(flow.run, T()))
    local Right = ml.task("Right", { run = function(self) return self:require(Part()) end })
    assert.equal(1, Right():run():output())
  end)

  it("runs each of many small tasks once, in several jobs, and those found in between", function()
    local Part = ml.task("Part", { params = { i = param.int { 1 } }, run = function(self)
      count "Part"
      return { i = self.i }
    end })
    local Double = ml.task("Double", { params = { i = param.int { 1 } },
      requires = function(self) return Part { i = self.i } end,
      run = function(self, part)
        count "Double"
        return part.i + self:require(Part, { i = self.i % 3 + 1 }).i
      end })
    for jobs = 1, 2 do
      flow.store(dir .. "/store" .. jobs)
      local nodes = {}
      for i = 1, 20 do nodes[i] = Double { i = i } end
      flow.run(nodes, { jobs = jobs })
      assert.same({ Part = 20, Double = 20 }, counted())
    end
  end)

  it("leaves a folder of the user's own where it is", function()
    os.execute(("mkdir -p %s/own/sub"):format(dir))
    files.write(dir .. "/own/sub/a", "A")
    local T = ml.task("T", { outputs = { f = "folder" },
                             run = function() return { f = dir .. "/own" } end })
    assert.equal("A", files.read(T():run():output "f" .. "/sub/a"))
    assert.equal("A", files.read(dir .. "/own/sub/a"))
  end)

  it("gives up a task of a child that ends the program, and all that a time limit meets", function()
    local T = ml.task("T", { run = function() os.exit(0) end })
    assert.equal("T: it ended the program by itself", message(flow.run, T(), { jobs = 2 }))
    local Slow = ml.task("Slow", { timeout = 0.2, run = function()
      os.execute(("sleep 0.6; echo late > %s/late"):format(dir))
      return 1
    end })
    message(flow.run, Slow())
    require "mlua.ffi.process".sleep(0.8)
    assert.is_false(files.exists(dir .. "/late"))
  end)

  it("takes task names as a list or a set, and no others", function()
    local A = ml.task("A", { run = function() count "A" return 1 end })
    local B = ml.task("B", { requires = A, run = function() count "B" return 2 end })
    flow.run(B())
    flow.run(B(), { force = { "B" } })
    assert.same({ A = 1, B = 2 }, counted())
    assert.matches("force: no task 'C' in this flow", message(flow.run, B(), { force = { "C" } }))
    assert.matches("jobs: expected a whole number", message(flow.run, B(), { jobs = 0 }))
    flow.run(B(), { only = { "A" } })
    assert.same({}, counted())
  end)

  it("is kept by collections when it was run from Lua", function()
    local T = ml.task("T", { run = function() count "T" return 1 end })
    T():run()
    require "mlua.flow.invalidate".collect(flow.store())
    T():run()
    assert.same({ T = 1 }, counted())
  end)

  it("keeps a pin against a value for the task alone", function()
    local A = ml.task("A", { params = { seed = param.int { 1 } },
                             run = function(self) return self.seed end })
    local F = ml.task("F", { requires = A, run = function(_, a) return a end })
    local T = ml.task("T", { requires = { tr = F, te = F:with { seed = 99 } },
                             run = function(_, input) return { input.tr, input.te } end })
    assert.same({ 3, 99 }, T { ["A.seed"] = 3 }:run():output())
  end)
end)
