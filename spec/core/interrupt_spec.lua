local core = require "mlua.ffi"
local ml = require "mlua"

describe("ml_interrupt", function()
  local C = core.C

  after_each(function() C.ml_interrupt(false) end)

  it("fails the next operation, and no more than that", function()
    local x = ml.ones(3)
    C.ml_interrupt(true)
    assert.error_matches(function() return x + 1 end, "interrupted!$")
    assert.same({ 2, 2, 2 }, (x + 1):totable())
  end)

  it("is not a bad argument, whichever argument is looked at first", function()
    local a, b = ml.ones(2, 3), ml.ones(3, 2)
    C.ml_interrupt(true)
    local _, message = pcall(a.matmul, a, b)
    assert.equal("interrupted!", message:match("[^ ]*$"))
    assert.falsy(message:find("argument", 1, true))
    C.ml_interrupt(true)
    assert.error_matches(function() return ml.cat({ a, a }, 1) end, "interrupted!$")
  end)

  it("can be taken back", function()
    local x = ml.ones(1)
    C.ml_interrupt(true)
    C.ml_interrupt(false)
    assert.equal(2, (x + 1):item())
  end)

  it("waits for an operation while tensors are made and freed", function()
    local list, x = {}, ml.ones(1)
    C.ml_interrupt(true)
    for i = 1, 3000 do list[i] = ml.empty(1) end
    for i = 1, 3000 do core.free(list[i]) end
    assert.error_matches(function() return x + 1 end, "interrupted!$")
    assert.equal(2, (x + 1):item())
  end)

  it("leaves a stale handle the error that it is", function()
    local x = ml.ones(1)
    core.free(x)
    assert.error_matches(function() return ml.op.add(x, x) end, "no longer there")
  end)
end)
