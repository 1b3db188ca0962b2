-- gather by rows: every width of elements, both dtypes of ids, and ids that are outside.
local ml = require "mlua"
local mistake = require "spec.support.mistake"

describe("gather", function()
  local ids = { { 2, 0, 1 }, { 0, 0, 2 } }

  it("takes elements of any dtype along any axis", function()
    for _, dtype in ipairs { "f64", "f32", "bf16", "f16", "i64", "i32", "u8" } do
      local x = ml.tensor({ { 5, 6, 7 }, { 8, 9, 10 } }, dtype)
      for _, of in ipairs { "i64", "i32" } do
        local y = x:gather(ml.tensor(ids, of), 2)
        assert.equal(dtype, y:dtype())
        assert.same({ { 7, 5, 6 }, { 8, 8, 10 } }, y:totable())
        y = x:gather(ml.tensor({ { 1, 0, 1 } }, of), 1)
        assert.same({ { 8, 6, 10 } }, y:totable())
      end
    end
    assert.same({ { true } }, ml.tensor({ { false, true } }):gather(ml.tensor({ { 1 } }, "i64"), 2)
      :totable())
  end)

  it("sums gradients where an element is taken twice, in parts that no thread shares", function()
    for _, dtype in ipairs { "f64", "f32", "bf16" } do
      local x = ml.tensor({ { 5, 6, 7 }, { 8, 9, 10 } }, dtype):requires_grad()
      local w = ml.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, dtype);
      (x:gather(ml.tensor(ids, "i64"), 2) * w):sum():backward()
      assert.same({ { 2, 3, 1 }, { 9, 0, 6 } }, x:grad():totable())
    end
  end)

  it("is the same for any number of threads", function()
    local before, x = ml.threads(), ml.rand(300, 200, { seed = 1, stream = 1 })
    local at = ml.randint(0, 200, 300, 200, { seed = 1, stream = 2 })
    local function both(n)
      ml.threads(n)
      local leaf = x:clone():requires_grad()
      local y = leaf:gather(at, 2);
      (y * y):sum():backward()
      return y:detach(), leaf:grad()
    end
    local y1, g1 = both(1)
    local y2, g2 = both(2)
    ml.threads(before)
    assert.equal(1, ml.op.all(y1:eq(y2)):item())
    assert.equal(1, ml.op.all(g1:eq(g2)):item())
  end)

  it("names the id that is outside", function()
    assert.equal("bad argument #2 to 'gather' (indices: 3 at position 1 is outside 0 to 2)",
      mistake(function() ml.zeros(3):gather(ml.tensor({ 0, 3 }, "i64"), 1) end))
    assert.equal("bad argument #2 to 'gather' (indices: -1 at position 0 is outside 0 to 2)",
      mistake(function() ml.zeros(3):gather(ml.tensor({ -1 }, "i32"), 1) end))
    assert.equal("bad argument #2 to 'gather' (indices: 0 at position 0 is outside 0 to -1)",
      mistake(function() ml.zeros(0):gather(ml.tensor({ 0 }, "i32"), 1) end))
  end)
end)
