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

  -- 2000 ages, 1 to 2000, whose values at some rows are others; and y, their halves.
  local function ages(others)
    local rows = { columns = { "age", "y" } }
    for i = 1, 2000 do rows[i] = { others[i] == nil and i or others[i], i / 2 } end
    return rows
  end

  it("have no column of numbers with single values that are none, unless that is wanted",
    function()
      local advice = "; give missing = mean for the mean of the training rows, or words = age to "
        .. "take all as words"
      for shown, value in pairs { ["'?'"] = "?", ["''"] = "", nan = 0 / 0, inf = math.huge } do
        assert.equal("column 'age': 1 of 2000 values is no number (" .. shown .. " in row 501)"
          .. advice, message_of(labelled.of, ages { [501] = value }))
      end
      assert.equal("column 'age': 2 of 2000 values are no numbers (the first is 'old' in row 3)"
        .. advice, message_of(labelled.of, ages { [3] = "old", [7] = "?" }))
      local rows = { columns = { "age", "x", "y" }, { 1, 1, 1 }, { 2, 2, 2 }, { "?", 3, 3 } }
      assert.same({ "x" }, labelled.of(rows, { without = { "age" }, test = 0 }).names)
    end)

  it("have the mean of the training rows in place of what is no number", function()
    local rows, others, filled = { columns = { "x", "y" } }, { "?", "", 0 / 0, math.huge }, 0
    for i = 1, 40 do rows[i] = { i % 10 == 0 and others[i / 10] or i * i, i + 0.5 } end
    local set = labelled.of(rows, { missing = "mean", folds = 2, fold = 1 })
    for _, part in ipairs { "train", "test" } do
      local x = set[part].x:totable()
      local y = (set[part].y * set.scale.deviation + set.scale.mean):totable()
      for i, row in ipairs(x) do
        if math.floor(y[i]) % 10 == 0 then -- at the mean of the training rows, which is 0 now
          filled = filled + 1
          assert.near(0, row[1], 1e-7)
        else
          assert.is_true(math.abs(row[1]) > 1e-3)
        end
      end
    end
    assert.equal(4, filled)
    assert.same({ "?", 10.5 }, rows[10])
    assert.error_matches(function() labelled.of(rows, { missing = "median" }) end,
      "missing: expected refuse or mean, got 'median'", 1, true)
  end)

  it("take columns as words that have numbers, or mostly", function()
    local rows = { columns = { "size", "ward", "y" }, { 38, 1, 0.5 }, { 40, 2, 1.5 },
                   { "XL", 1, 2.5 } }
    local set = labelled.of(rows, { words = { "size", "ward" }, test = 0 })
    assert.same({ "size=38", "size=40", "size=XL", "ward=1", "ward=2" }, set.names)
    assert.same({ "38", "40", "XL" },
      labelled.of(rows, { words = { "size" }, target = "size", test = 0 }).classes)
    -- Half of it are no numbers: words without being asked.
    assert.same({ "a=1", "a=x" }, labelled.of({ columns = { "a", "y" }, { 1, 1.5 }, { "x", 2.5 } },
      { test = 0 }).names)
    assert.equal("rows: no column 'wards', did you mean 'ward'?",
      message_of(labelled.of, rows, { words = { "wards" } }))
  end)

  it("need a target in each row", function()
    local function refused(values, options)
      local rows = { columns = { "x", "y" } }
      for i, value in ipairs(values) do rows[i] = { i, value } end
      return message_of(labelled.of, rows, options)
    end
    local none = "column 'y': no value in row 3, and each row needs its target"
    for _, value in ipairs { "", " ", 0 / 0 } do
      assert.equal(none, refused { "a", "b", value, "a" })
      assert.equal(none, refused { 1, 2, value, 4 })
      assert.equal(none, refused({ 1, 2, value, 4 }, { words = { "y" }, missing = "mean" }))
    end
    assert.equal("column 'y': 1 of 4 values is no number ('?' in row 3); give words = y to take "
      .. "all as classes", refused { 1, 2, "?", 4 })
    assert.equal("column 'y': 1 of 4 values is no number ('?' in row 3); regression needs numbers",
      refused({ 1, 2, "?", 4 }, { kind = "regression", missing = "mean" }))
    assert.same({ "1", "2", "?" }, labelled.of({ columns = { "x", "y" }, { 1, 1 }, { 2, 2 },
      { 3, "?" } }, { kind = "classification", test = 0 }).classes)
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
