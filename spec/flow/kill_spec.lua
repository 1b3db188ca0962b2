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
