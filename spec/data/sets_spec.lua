-- mlua.data.labelled: rows as inputs and labels. mlua.data.sets: what a training asks of any set.
local ml = require "mlua"
local labelled, sets = ml.data.labelled, ml.data.sets

local function message_of(f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  return type(e) == "table" and e.user_error or e
end

local ROWS = { columns = { "id", "x", "color", "y" },
               { 1, 2, "red", 10 }, { 2, 4, "blue", 20 }, { 3, 6, "red", 30.5 } }

describe("labelled rows", function()
  it("are scaled numbers, and a column of 0 and 1 for each word", function()
    local set = labelled.of(ROWS, { test = 0, without = { "id" } })
    assert.same({ "x", "color=blue", "color=red" }, set.names)
    assert.same({ 3, "y", "regression" }, { set.inputs, set.target, set.kind })
    assert.is_nil(set.test)
    local x, far = set.train.x:totable(), math.sqrt(1.5) -- (6 - 4) / sqrt(8 / 3)
    for i, row in ipairs { { -far, 0, 1 }, { 0, 1, 0 }, { far, 0, 1 } } do
      for c = 1, 3 do assert.near(row[c], x[i][c], 1e-6) end
    end
    local y = set.train.y:totable()
    assert.near(20, y[2] * set.scale.deviation + set.scale.mean, 1e-5)
    assert.equal(set.columns.target, set.train.y)
  end)

  it("are classes of words, by their order, and of few whole numbers", function()
    local set = labelled.of(ROWS, { test = 0, target = "color" })
    assert.same({ "blue", "red" }, set.classes)
    assert.same({ 1, 0, 1 }, set.train.y:totable())
    assert.equal("i64", set.train.y:dtype())
    assert.same({ "1", "2", "3" }, labelled.of(ROWS, { test = 0, target = "id" }).classes)
  end)

  it("are told where there is nothing to learn from", function()
    assert.equal("rows: 1 rows; at least 2 are needed",
      message_of(labelled.of, { columns = { "a" }, { 1 } }))
    assert.equal("a.csv: no column but the target",
      message_of(labelled.of, { columns = { "a" }, { 1 }, { 2 } }, { where = "a.csv" }))
  end)
end)

describe("a data set", function()
  local x = ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

  it("of tensors is all for training, and its labels say what they are", function()
    local set = sets.of({ x = x, y = ml.tensor({ 0, 4 }, { dtype = "i64" }) }, "toy")
    assert.same({ "classification", 5, 3 }, { set.kind, set.classes, set.inputs })
    assert.is_nil(set.test)
    set = sets.of({ train = { x = x, y = ml.tensor { { 1, 2 }, { 3, 4 } } } }, "toy")
    assert.same({ "regression", 2, 3 }, { set.kind, set.outputs, set.inputs })
  end)

  it("tells models all that it says, and what is asked for", function()
    local set = sets.of({ train = { a = x, b = x }, input = { "a", "b" }, label = "b", dense = 3,
      tables = function(self) return { self.dense } end }, "toy")
    local given = set:given { seed = 9, outputs = 4 }
    assert.same({ 9, 4, 3, { 3 } }, { given.seed, given.outputs, given.dense, given:tables() })
    assert.is_nil(given.inputs) -- dense says it
    local first, second = set:arguments { a = 1, b = 2 }
    assert.same({ 1, 2 }, { first, second })
  end)

  it("gives its columns to samplers, and the label as target", function()
    local y = ml.tensor({ 1, 0 }, { dtype = "i64" })
    local set = sets.of({ train = { x = x, y = y }, columns = { w = { 5, 6 } } }, "toy")
    local seen
    set:loader("train", { batch = 2, sampler = function(_, _, column)
      seen = { column "w", column "target" }
      return { 1, 2 }
    end }):order(0)
    assert.same({ 5, 6 }, seen[1])
    assert.equal(y, seen[2])
  end)

  it("without rows, of no kind, or whose classes nobody knows is refused", function()
    local function get() return { x = 1, y = 1 } end
    assert.equal("dataset toy: no rows to train on",
      message_of(sets.of, { n = 0, get = get }, "toy"))
    assert.equal("dataset toy: kind: expected classification, binary or regression, got 'x'",
      message_of(sets.of, { n = 1, get = get, kind = "x" }, "toy"))
    assert.equal("dataset toy: classes: expected how many there are, or their words",
      message_of(sets.of, { n = 1, get = get, kind = "classification" }, "toy"))
    assert.equal("dataset toy: expected a data set, got 7", message_of(sets.of, 7, "toy"))
  end)
end)
