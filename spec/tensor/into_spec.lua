-- Results in memory that is there: ml.into and the methods that end in "_".
local ml = require "mlua"
local mistake = require "spec.support.mistake"

describe("ml.into", function()
  it("computes into a tensor's own memory", function()
    local t, a, b = ml.zeros(2, 2), ml.tensor { { 1, 2 }, { 3, 4 } }, ml.ones(2, 2)
    local before = t:data()
    assert.equal(t, ml.into(t, ml.add, a, b))
    assert.equal(before, t:data())
    assert.same({ { 2, 3 }, { 4, 5 } }, t:totable())
    ml.into(t, ml.matmul, a, b)
    assert.same({ { 3, 3 }, { 7, 7 } }, t:totable())
    ml.into(t, ml.add, a, 1)
    assert.same({ { 2, 3 }, { 4, 5 } }, t:totable())
  end)

  it("writes through a contiguous view of a larger tensor", function()
    local t = ml.zeros(3, 2)
    ml.into(t[2], ml.mul, ml.tensor { 1, 2 }, ml.tensor { 3, 4 })
    assert.same({ { 0, 0 }, { 3, 8 }, { 0, 0 } }, t:totable())
  end)

  it("takes a result that is computed in another dtype", function()
    local t = ml.zeros(2, { dtype = "bf16" })
    ml.into(t, ml.add, ml.tensor({ 1, 2 }, "bf16"), ml.tensor({ 1, 1 }, "u8"))
    assert.same({ 2, 3 }, t:totable())
    local wide = ml.zeros(2, { dtype = "f64" })
    ml.into(wide, ml.add, ml.ones(2), ml.ones(2, { dtype = "f64" }))
    assert.same({ 2, 2 }, wide:totable())
    ml.into(t, ml.cat, { ml.ones(1, { dtype = "bf16" }), ml.zeros(1, { dtype = "bf16" }) })
    assert.same({ 1, 0 }, t:totable())
  end)

  it("copies what a function of several operations returns", function()
    local t = ml.tensor { 1, 2 }
    ml.into(t, function(x) return (x + x) * x end, t)
    assert.same({ 2, 8 }, t:totable())
  end)

  it("makes no new tensor for an operation's result", function()
    local t, a = ml.zeros(1024, 1024), ml.ones(1024, 1024)
    collectgarbage()
    collectgarbage()
    local m = ml.memory()
    local rest = ml.empty(m.peak - m.live, { dtype = "u8" }) -- from here on any new block shows
    local peak = ml.memory().peak
    ml.into(t, ml.exp, a)
    assert.equal(peak, ml.memory().peak)
    assert.is_true(rest:count() >= 0)
    assert.near(math.exp(1), t:at(1, 1), 1e-6)
  end)

  it("leaves the next operation alone, also after a mistake", function()
    local t = ml.zeros(2)
    assert.equal("into: the result is f32 [3], the tensor f32 [2]",
      mistake(function() ml.into(t, ml.add, ml.ones(3), ml.ones(3)) end))
    local y = ml.ones(2) + 1
    assert.same({ 0, 0 }, t:totable())
    assert.same({ 2, 2 }, y:totable())
  end)

  for message, fn in pairs {
    ["into: the result would overwrite what it is computed from"] = function()
      local t = ml.ones(2, 2)
      ml.into(t, ml.matmul, t, t)
    end,
    ["into: the result is f64 [2], the tensor f32 [2]"] = function()
      ml.into(ml.ones(2), ml.add, ml.ones(2, { dtype = "f64" }), ml.ones(2))
    end,
    ["into: the result would be on the tape; compute it in ml.no_grad"] = function()
      ml.into(ml.ones(2), ml.add, ml.ones(2):requires_grad(), ml.ones(2))
    end,
    ["into: expected a contiguous tensor; assign with t[…] = value instead"] = function()
      ml.into(ml.ones(2, 2):transpose(), ml.add, ml.ones(2, 2), ml.ones(2, 2))
    end,
    ["into: the tensor is computed and on the tape; detach or clone it first"] = function()
      ml.into(ml.ones(2):requires_grad() * 2, ml.exp, ml.ones(2))
    end,
    ["bad argument #1 to 'into' (t: expected a tensor, got nil)"] = function() ml.into() end,
    ["bad argument #2 to 'into' (f: expected a function, got nil)"] = function()
      ml.into(ml.ones(2))
    end,
  } do
    it("refuses: " .. message, function() assert.equal(message, mistake(fn)) end)
  end

  it("refuses a part of itself at another place", function()
    local t = ml.ones(4)
    assert.equal("into: the result would overwrite what it is computed from",
      mistake(function() ml.into(t["2:3"], ml.exp, t["1:2"]) end))
  end)
end)

describe("methods that end in _", function()
  it("change the tensor itself, and return it", function()
    local t = ml.tensor { 1, 4, 9 }
    local before = t:data()
    assert.equal(t, t:sqrt_())
    assert.same({ 1, 2, 3 }, t:totable())
    t:add_(1):mul_(t):clamp_(0, 10)
    assert.same({ 4, 9, 10 }, t:totable())
    assert.equal(before, t:data())
    assert.same({ 0, 0, 0 }, t:zero_():totable())
  end)

  it("change a leaf where nothing is recorded, and a later backward sees that", function()
    local x = ml.tensor { 1, 2 }:requires_grad()
    local y = (x * x):sum()
    ml.no_grad(function() x:add_(1) end)
    assert.same({ 2, 3 }, x:totable())
    assert.equal("backward of mul: its input #1 was changed in place since",
      mistake(function() y:backward() end))
  end)

  it("have names that are checked", function()
    assert.equal("a tensor has no field 'ad_', did you mean 'add'?",
      mistake(function() ml.ones(2):ad_(1) end))
  end)
end)
