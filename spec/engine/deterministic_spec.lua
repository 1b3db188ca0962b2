-- --deterministic: what a repetition would not give again is refused.
local files = require "spec.support.files"
local lfs = require "lfs"
local ml = require "mlua"
local process = require "spec.support.process"

describe("deterministic", function()
  after_each(function() ml.deterministic(false) end)

  it("refuses LuaJIT's own generator, whose state is in no checkpoint", function()
    assert.is_false(ml.deterministic(true))
    assert.error_matches(function() return math.random(3) end,
      "math.random: not with --deterministic: its state is in no checkpoint; ml.rand draws by seed "
      .. "and stream", 1, true)
    assert.error_matches(function() math.randomseed(1) end, "math.randomseed: not with")
    assert.is_true(ml.deterministic(false))
    assert.is_number(math.random())
  end)

  it("is an option of flows, which ends a training that draws so", function()
    local folder = files.folder()
    files.write(folder .. "/f.lua", [[
      local ml = require "mlua"
      return ml.flow(ml.task("Train", { outputs = "json", run = function()
        local m = ml.nn.Linear.new { inputs = 1, outputs = 1 }
        return ml.engine { model = m, optimizer = ml.optim.sgd(m, { lr = 0 }), quiet = true,
          train = ml.data.samples.loader({ x = ml.zeros(1, 1) }, {}),
          loss = function(b) return m(b.x):sum() * math.random() end }:fit()
      end }))]])
    local function run(...)
      return process.mlua({ "f.lua", ... }, { cwd = folder, env = { MLUA_STORE = "store" } })
    end
    local r = run "--deterministic"
    assert.equal(1, r.status)
    assert.matches("f%.lua:6: math%.random: not with %-%-deterministic", r.err)
    assert.equal(0, run().status)
    files.remove(folder)
  end)

  it("lets recipes of mlua's own train", function()
    local folder = files.folder()
    local r = process.mlua({ lfs.currentdir() .. "/recipes/mlp.lua", "--epochs", "2",
      "--deterministic" }, { cwd = folder, env = { MLUA_STORE = "store" } })
    assert.equal(0, r.status, r.err)
    files.remove(folder)
  end)
end)
