-- The pool of compute threads: every chunk of a region is done once, whoever comes late.
local ml = require "mlua"

describe("the pool of compute threads", function()
  local threads = ml.threads()
  after_each(function() ml.threads(threads) end)

  -- 2^17 elements make four chunks; one done twice or not at all would show. -> least, most
  local function increments(times)
    local x, one = ml.zeros(2 ^ 17), ml.ones(2 ^ 17)
    local function add() x:copy(x + one) end
    for _ = 1, times do ml.scope(add) end
    local data, least, most = x:data(), math.huge, -math.huge
    for i = 0, 2 ^ 17 - 1 do least, most = math.min(least, data[i]), math.max(most, data[i]) end
    return { least, most }
  end

  it("does each chunk once, over thousands of regions", function()
    ml.threads(2)
    assert.same({ 2000, 2000 }, increments(2000))
  end)

  it("follows a number of threads that changes, also beyond the machine's cores", function()
    for _, n in ipairs { 1, 4, 2, 16, 3, 1, 8 } do
      ml.threads(n)
      assert.equal(n, ml.threads())
      assert.same({ 50, 50 }, increments(50), n .. " threads")
    end
  end)

  it("wakes threads that have gone to sleep", function()
    ml.threads(4)
    for _ = 1, 5 do
      assert.same({ 3, 3 }, increments(3))
      os.execute "sleep 0.01" -- 30 times as long as they stay awake
    end
  end)

  it("gives the same bits for any number of threads", function()
    local x = ml.randn(700, 300, { seed = 3 })
    local w = ml.randn(200, 300, { seed = 4 })
    local function product()
      return ml.op.linear(x, w, ml.zeros(200), "relu"):sum():item()
    end
    ml.threads(1)
    local one = product()
    for _, n in ipairs { 2, 3, 8 } do
      ml.threads(n)
      assert.equal(one, product())
    end
  end)

  it("refuses less than one thread", function()
    assert.error_matches(function() ml.threads(0) end, "threads")
  end)
end)
