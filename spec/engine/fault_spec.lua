-- tools/fault in short: kills, damages and refused files, each with its verdict. The long forms are
-- commands of their own: 200 rounds, and every call.
local process = require "spec.support.process"

local function verdict(...)
  local r = process.run({ process.program(), "tools/fault.lua", ... }, { timeout = 300 })
  return r.out:match "([^\n]*)\n$" or r.err, r.status, r.out
end

describe("a training", function()
  it("that is killed goes on with the same bits", function()
    local line, _, out = verdict("kill", "--rounds", "6", "--seed", "3")
    assert.is_nil(out:find "kill %d+ %(", out)
    assert.matches("^6 rounds, kills by stage: .* failures %(seed 3%)$", line)
  end)

  it("whose newest checkpoint is damaged goes on from the one before", function()
    local line, status, out = verdict("flip", "--rounds", "5", "--seed", "3")
    assert.equal(0, status, out)
    assert.matches("^5 damages: %d of tensors, %d of records; 0 failures %(seed 3%)$", line)
  end)

  it("whose files are refused says which and why, or does not care, and goes on", function()
    local line, status, out = verdict("io", "--rounds", "12", "--seed", "3")
    assert.equal(0, status, out)
    assert.matches("; 12 faults, %d+ told, the others did no harm; 0 failures %(seed 3%)$", line)
  end)
end)
