--- Flows that are killed, and flows that many processes run at once: tools/flow-kill's short form.
local files = require "spec.support.files"
local process = require "spec.support.process"

local function flow_kill(...)
  return process.run({ "tools/flow-kill", ... }, { env = { MLUA = process.program() },
                                                   timeout = 120 })
end

describe("a flow of fifty tasks", function()
  it("loses nothing that was finished when it is killed at any moment", function()
    local got = flow_kill("20", "--seed", "1")
    assert.equal(0, got.status, got.out .. got.err)
    local running, writing, renaming, manifest = got.out:match(
      "20 kills: (%d+) running, (%d+) writing, (%d+) renaming, (%d+) manifest")
    for _, n in ipairs { running, writing, renaming, manifest } do
      assert.is_true(tonumber(n) > 0)
    end
  end)

  it("runs each task once in eight processes, beside collections of garbage", function()
    local got = flow_kill("--race", "10")
    assert.equal(0, got.status, got.out .. got.err)
    assert.truthy(got.out:match "10 races of 8 processes, %d+ collections beside them; 0 failures")
  end)
end)

describe("a collection of garbage", function()
  local folder

  before_each(function() folder = files.folder() end)
  after_each(function() files.remove(folder) end)

  local function run(...)
    return process.mlua({ folder .. "/r.lua", ... }, { env = { MLUA_STORE = folder .. "/store" } })
  end

  local function recipe(second)
    files.write(folder .. "/r.lua", ([[
      local ml = require "mlua"
      local First = ml.task("First", { run = function() return { x = 1 } end })
      local Second = ml.task("Second", { requires = First, run = function(_, first) %s
        return first.x end })
      return ml.flow(Second)]]):format(second))
  end

  it("takes nothing that a running flow stands on", function()
    local command = ("%s %s/r.lua --gc >%s/gc 2>&1"):format(process.program(), folder, folder)
    recipe(("os.execute %q"):format(command))
    local got = run("--force", "Second")
    assert.equal("output: 1\n", got.out, got.err)
    assert.equal("a flow is running in this store: all results are kept until it has ended\n"
      .. "0 results and 0 objects of 0 B that no flow stands on: cleared away\n",
      files.read(folder .. "/gc"))
    assert.equal("nothing to run, 2 ready", run("--preview").out:match "([^\n]*)\n$")
  end)

  it("keeps what a flow had done that was broken off", function()
    recipe "error 'broken off'"
    assert.equal(1, run().status)
    local cleared = "0 results and 0 objects of 0 B that no flow stands on: cleared away\n"
    assert.equal(cleared, run("--gc").out)
    recipe ""
    local got = run()
    assert.equal("output: 1\n", got.out)
    assert.truthy(got.err:find("1/1  Second", 1, true), got.err)
    assert.equal(cleared, run("--gc").out)
  end)

  it("takes what no flow stands on once all have ended", function()
    recipe ""
    run()
    recipe "local more = 2"
    run()
    assert.matches("^1 results and 0 objects", run("--gc", "--dry-run").out)
    assert.matches("^1 results and 0 objects", run("--gc").out)
    assert.matches("^0 results and 0 objects", run("--gc").out)
  end)
end)

describe("a child of a run", function()
  it("does not wait for what a task left running", function()
    local folder = files.folder()
    local recipe = files.write(folder .. "/r.lua", [[
      local ml = require "mlua"
      return ml.flow(ml.task("T", { run = function() os.execute "sleep 20 &" return 1 end }))]])
    local began = os.time()
    local got = process.mlua({ recipe, "--jobs", "2" }, { env = { MLUA_STORE = folder .. "/s" } })
    files.remove(folder)
    assert.equal("output: 1\n", got.out)
    assert.is_true(os.time() - began < 15)
  end)
end)
