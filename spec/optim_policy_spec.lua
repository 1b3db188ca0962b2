local optim = require "mlua.optim"

describe("optim.policy", function()
  local function rates(o, last)
    local policy, list = optim.policy(o), {}
    for k = 1, last do list[k] = policy(k) end
    return list
  end

  local function near(wanted, got)
    assert.equal(#wanted, #got)
    for i = 1, #wanted do assert.is_true(math.abs(wanted[i] - got[i]) < 1e-12, "step " .. i) end
  end

  it("keeps the rate where neither warm-up nor decay is asked for", function()
    near({ 0.5, 0.5, 0.5 }, rates({ lr = 0.5 }, 3))
  end)

  it("rises linearly from lr / w and is lr from step w on", function()
    near({ 0.1, 0.2, 0.3, 0.4, 0.4 }, rates({ lr = 0.4, warmup = 4 }, 5))
  end)

  it("falls as the square of what is left of the decay, and stays at its last rate", function()
    -- d = 2, n = 4: k = 2..5 leave 4, 3, 2, 1 quarters; after that the last, 1/16
    near({ 1.6, 1.6, 0.9, 0.4, 0.1, 0.1, 0.1 },
      rates({ lr = 1.6, decay_start = 2, decay_steps = 4 }, 7))
  end)

  it("holds the last rate of the warm-up until the decay starts", function()
    near({ 0.5, 0.5, 0.5, 1, 0.25, 0.25 },
      rates({ lr = 1, warmup = 2, decay_start = 4, decay_steps = 2 }, 6))
  end)

  it("never falls below 1e-7", function()
    assert.equal(1e-7, optim.policy { lr = 1e-6, decay_start = 1, decay_steps = 100 }(1000))
  end)

  it("refuses a decay that starts within the warm-up", function()
    assert.error_matches(function() optim.policy { lr = 1, warmup = 5, decay_start = 3 } end,
      "decay_start: expected at least warmup, 5, got 3", 1, true)
  end)
end)
