-- The identity of a result is the same whatever else a process has loaded or done before, and so
-- are the methods of a node.
local files = require "spec.support.files"
local process = require "spec.support.process"

describe("an identity", function()
  it("does not depend on which modules have added their methods to tasks", function()
    local folder = files.folder()
    -- `self:save` is a method that mlua.task.work adds; were it taken for a field, all parameters
    -- would count, those of Clicks that Train does not read, too.
    local recipe = [[
local ml = require "mlua"
local param = ml.param
local Clicks = ml.task("Clicks", { params = { rows = param.int { 3 } },
  run = function() return 1 end })
local Train = ml.task("Train", { requires = Clicks,
  run = function(self) self:save("output", 1) end })
Clicks():run()
print(Train():id(), Train { rows = 4 }:id())]]
    local function ids(first)
      files.write(folder .. "/r.lua", first .. recipe)
      local got = process.mlua({ "r.lua" }, { cwd = folder,
        env = { MLUA_STORE = folder .. "/" .. #first } })
      assert.equal("", got.err)
      return got.out:match "^(%x+)\t(.*)\n$"
    end
    local early = ids 'require "mlua.task.work" '
    local late = ids ''
    assert.equal(64, #early)
    assert.equal(early, late)
    files.remove(folder)
  end)

  it("needs no more than the definition of a task before a node runs", function()
    local folder = files.folder()
    local got = process.mlua({ "-e", 'local ml = require "mlua" '
      .. 'local A = ml.task("A", { run = function() return 3 end }) print(A():run():output())' },
      { env = { MLUA_STORE = folder .. "/s" } })
    assert.equal("3\n", got.out .. got.err)
    files.remove(folder)
  end)
end)
