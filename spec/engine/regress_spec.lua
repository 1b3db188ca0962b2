-- tools/regress: recipes train as they did, and who differs is told.
local files = require "spec.support.files"
local json = require "mlua.json"
local process = require "spec.support.process"

local function regress(...)
  return process.run({ process.program(), "tools/regress.lua", ... }, { timeout = 300 })
end

describe("tools/regress", function()
  it("finds the short ones as they were", function()
    local r = regress()
    assert.equal(0, r.status, r.out .. r.err)
    assert.matches("\n9 figures, 0 differ\n$", r.out)
  end)

  it("tells what is better and what is worse, and what was not measured", function()
    local path = os.tmpname() .. ".json"
    local about = json.load "spec/support/regress/mlp.json"
    about.expected = {
      { kind = "train", step = 100, name = "loss", value = 0.2, tolerance = 0.01,
        better = "lower" },
      { kind = "test", step = 500, name = "accuracy", value = 0.9, tolerance = 0.01,
        better = "higher" },
      { kind = "test", step = 7, name = "accuracy", value = 0.9, tolerance = 0.01,
        better = "higher" },
    }
    files.write(path, json.encode(about))
    local r = regress(path)
    files.remove(path)
    assert.equal(1, r.status)
    assert.matches("train loss at step 100: 0.24%d+, expected 0.2: WORSE\n", r.out)
    assert.matches("test accuracy at step 500: 1, expected 0.9: better\n", r.out)
    assert.matches("test accuracy at step 7: was not measured\n3 figures, 3 differ\n$", r.out)
  end)
end)
