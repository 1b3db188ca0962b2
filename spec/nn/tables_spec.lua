-- Collections of embedding tables.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local nn = ml.nn

local function ids(values) return ml.tensor(values, "i32") end

-- Row r of table t holds 100 t + 10 r, and 1 more.
local function tables(mode)
  local c = nn.TableCollection.new { rows = { 3, 2 }, dim = 2, mode = mode }
  for t, p in ipairs(c:parameters()) do
    for r = 0, p:size(1) - 1 do
      p:put(100 * t + 10 * r, r + 1, 1):put(100 * t + 10 * r + 1, r + 1, 2)
    end
  end
  return c
end

describe("TableCollection", function()
  it("looks up one id per table and sample, [T, B] to [B, T, dim]", function()
    assert.same({ { { 120, 121 }, { 200, 201 } }, { { 100, 101 }, { 210, 211 } } },
      tables():forward(ids { { 2, 0 }, { 0, 1 } }):totable())
  end)

  it("sums or averages bags; an empty bag is zeros", function()
    local bags, offsets = ids { 0, 2, 1, 1, 1 }, ids { 0, 2, 2, 3, 5 }
    assert.same({ { { 220, 222 }, { 210, 211 } }, { { 0, 0 }, { 420, 422 } } },
      tables():forward(bags, offsets):totable())
    assert.same({ { { 110, 111 }, { 210, 211 } }, { { 0, 0 }, { 210, 211 } } },
      tables("mean"):forward(bags, offsets):totable())
  end)

  it("weighs ids, and gives the weights their gradients", function()
    local w = ml.tensor({ 1, 2 }):requires_grad()
    local y = tables():forward(ids { 1, 0 }, ids { 0, 1, 2 }, w)
    assert.same({ { { 110, 111 }, { 400, 402 } } }, y:totable())
    y:sum():backward()
    assert.same({ 221, 401 }, w:grad():totable())
  end)

  it("gives each row the sum of the gradients of its uses", function()
    local c = tables()
    c:forward(ids { { 1, 1 }, { 0, 1 } }):sum():backward()
    assert.same({ { 0, 0 }, { 2, 2 }, { 0, 0 } }, c.tables.tensors[1]:grad():totable())
    assert.same({ { 1, 1 }, { 1, 1 } }, c.tables.tensors[2]:grad():totable())
  end)

  it("begins within the root of 1 / rows, table t from stream + t - 1", function()
    local c = nn.TableCollection.new { rows = { 4, 100 }, dim = 8, seed = 2, stream = 30 }
    for t, bound in ipairs { 0.5, 0.1 } do
      local p, most = c:parameters()[t], 0
      for i = 0, p:count() - 1 do most = math.max(most, math.abs(p:data()[i])) end
      assert.is_true(most <= bound and most > 0.8 * bound)
    end
    assert.same(ml.uniform(-0.1, 0.1, 100, 8, { seed = 2, stream = 31 }):totable(),
      c:parameters()[2]:totable())
  end)

  it("names ids and offsets that are out of range, and the layer", function()
    local c = tables()
    c._path = "tables"
    for message, fn in pairs {
      ["indices: id 2 at position 3 is outside table 2's 0 to 1"] =
        function() c:forward(ids { { 0, 0 }, { 0, 2 } }) end,
      ["indices: id -1 at position 0 is outside table 1's 0 to 2"] =
        function() c:forward(ids { { -1 }, { 0 } }) end,
      ["indices: expected a multiple of 2 tables, got 3"] =
        function() c:forward(ids { 0, 0, 0 }) end,
      ["offsets end at 1, but there are 2 ids"] =
        function() c:forward(ids { 0, 0 }, ids { 0, 1, 1 }) end,
      ["indices: expected i64 or i32, got f32"] =
        function() c:forward(ml.zeros(2)) end,
      ["indices: expected a tensor, got nil"] =
        function() c:forward() end,
    } do
      local position = message:match("^offsets") and 3 or 2
      assert.equal(("tables: bad argument #%d to 'embedding_bags' (%s)"):format(position, message),
        mistake(fn))
    end
  end)

  it("refuses tables that are not in row order, and weights of another dtype", function()
    local t = ml.tensor({ { 1, 2 }, { 3, 4 } }, "f64")
    local both = ml.tensor({ 0, 1 }, "i32")
    assert.error_matches(function() ml.embedding_bags({ t:transpose() }, both) end,
      "tables%[1%]: expected contiguous")
    assert.error_matches(function()
      ml.embedding_bags({ t }, both, nil, ml.ones(2))
    end, "weights: expected f64, got f32")
  end)

  it("refuses wrong options", function()
    for message, o in pairs {
      ["bad argument #1 to 'TableCollection' (rows: expected a list, got nil)"] = { dim = 2 },
      ["bad argument #1 to 'TableCollection' (rows: expected at least one table)"] =
        { rows = {}, dim = 2 },
      ["bad argument #1 to 'TableCollection' (rows[2]: expected at least 1, got 0)"] =
        { rows = { 3, 0 }, dim = 2 },
      ["bad argument #1 to 'TableCollection' (dim: expected an integer, got nil)"] =
        { rows = { 3 } },
      ["bad argument #1 to 'TableCollection' (mode: expected sum or mean, got 'max')"] =
        { rows = { 3 }, dim = 2, mode = "max" },
    } do
      assert.equal(message, mistake(function() nn.TableCollection.new(o) end))
    end
    assert.equal("bad argument #1 to 'TableCollection' (rows: expected a list, got nil)",
      mistake(function() nn.TableCollection.new() end))
  end)
end)
