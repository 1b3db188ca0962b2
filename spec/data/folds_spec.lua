-- Folds, and parts set aside, by samples and by groups.
local ml = require "mlua"
local folds = ml.data.folds

local function message_of(f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  return tostring(e)
end

-- How many of each test part, sorted.
local function sizes(list)
  local n = {}
  for f, fold in ipairs(list) do n[f] = #fold.test end
  table.sort(n)
  return n
end

local function assert_partition(n, list)
  local seen = {}
  for _, fold in ipairs(list) do
    local inside = {}
    for i, at in ipairs(fold.test) do
      assert.is_nil(seen[at])
      seen[at], inside[at] = true, true
      assert.is_true(i == 1 or fold.test[i - 1] < at)
    end
    assert.equal(n, #fold.train + #fold.test)
    for i, at in ipairs(fold.train) do
      assert.is_nil(inside[at])
      assert.is_true(at >= 1 and at <= n and (i == 1 or fold.train[i - 1] < at))
    end
  end
  for at = 1, n do assert.is_true(seen[at]) end
end

describe("folds", function()
  it("test each sample once, and differ by at most one in size", function()
    local list = folds(11, { k = 4, seed = 2 })
    assert_partition(11, list)
    assert.same({ 2, 3, 3, 3 }, sizes(list))
    assert.same(list, folds(11, { k = 4, seed = 2 }))
    assert.not_same(list, folds(11, { k = 4, seed = 3 }))
    assert.same({ 1, 1, 1 }, sizes(folds(3, { k = 3 }))) -- each alone
  end)

  it("have no group in two, and are as even as their sizes let them", function()
    -- Groups of 5, 3, 2, 2, 1 and 1: the greedy way gives 5, 3 + 1 + 1 and 2 + 2.
    local by = { "a", "a", "a", "a", "a", "b", "b", "b", "c", "c", "d", "d", "e", "f" }
    for seed = 1, 20 do
      local list = folds(14, { k = 3, seed = seed, by = by })
      assert_partition(14, list)
      assert.same({ 4, 5, 5 }, sizes(list))
      local fold_of = {}
      for f, fold in ipairs(list) do
        for _, at in ipairs(fold.test) do
          assert.is_true(fold_of[by[at]] == nil or fold_of[by[at]] == f)
          fold_of[by[at]] = f
        end
      end
    end
    assert.same(folds(4, { k = 2, by = { 1, 1, 2, 2 } }),
      folds(4, { k = 2, by = ml.tensor { 1, 1, 2, 2 } }))
  end)

  it("have as much of each class as the others", function()
    local classes = {}
    for i = 1, 23 do classes[i] = i <= 13 and "common" or i <= 20 and "some" or "rare" end
    for seed = 1, 20 do
      local list = folds(23, { k = 4, seed = seed, stratify = classes })
      assert_partition(23, list)
      assert.same({ 5, 6, 6, 6 }, sizes(list))
      for _, fold in ipairs(list) do
        local n = { common = 0, some = 0, rare = 0 }
        for _, at in ipairs(fold.test) do n[classes[at]] = n[classes[at]] + 1 end
        assert.is_true(n.common == 3 or n.common == 4) -- 13 of 4
        assert.is_true(n.some == 1 or n.some == 2)     -- 7 of 4
        assert.is_true(n.rare <= 1)                    -- 3 of 4
      end
    end
  end)

  it("spread classes over whole groups", function()
    -- Eight groups of two: four of sick, four of well. Two folds: two of each kind in each.
    local by, sick = {}, {}
    for i = 1, 16 do by[i], sick[i] = math.ceil(i / 2), i <= 8 end
    for seed = 1, 20 do
      for _, fold in ipairs(folds(16, { k = 2, seed = seed, by = by, stratify = sick })) do
        local n = 0
        for _, at in ipairs(fold.test) do n = n + (sick[at] and 1 or 0) end
        assert.same({ 8, 4 }, { #fold.test, n })
      end
    end
  end)

  it("say what cannot be", function()
    assert.equal("folds: k = 6, and there are 5 samples", message_of(folds, 5, { k = 6 }))
    assert.equal("folds: k = 3, and there are 2 groups",
      message_of(folds, 4, { k = 3, by = { 1, 1, 2, 2 } }))
    assert.matches("bad argument #2 to 'folds' (k: expected at least 2, got 1)",
      message_of(function() folds.split(5, { k = 1 }) end), 1, true)
    assert.matches("bad argument #2 to 'folds' (by: expected 5 values, got 2)",
      message_of(folds.split, 5, { k = 2, by = { 1, 2 } }), 1, true)
    assert.matches("unknown option 'group'",
      message_of(folds.split, 5, { k = 2, group = { 1, 2 } }), 1, true)
  end)
end)

describe("a part set aside", function()
  it("is a share of the samples, and leaves one to train", function()
    local parts = folds.holdout(10, { test = 0.25, seed = 1 })
    assert.same({ 3, 7 }, { #parts.test, #parts.train }) -- 2.5, rounded up
    local order = ml.permutation(10, { seed = 1, stream = 2 }):add(1):totable()
    for i = 1, 10 do
      assert.equal(order[i], i <= 3 and parts.test[i] or parts.train[i - 3])
    end
    parts = folds.holdout(2, { test = 0.9 })
    assert.same({ 1, 1 }, { #parts.test, #parts.train })
    parts = folds.holdout(100, { test = 0.001 })
    assert.same({ 1, 99 }, { #parts.test, #parts.train })
  end)

  it("has whole groups, and no more than brings it near its share", function()
    local by = {} -- one of sixty, ten of four
    for i = 1, 100 do by[i] = i <= 60 and 0 or math.ceil((i - 60) / 4) end
    for seed = 1, 20 do
      local parts = folds.holdout(100, { test = 0.2, seed = seed, by = by })
      local inside = {}
      for _, at in ipairs(parts.test) do inside[by[at]] = true end
      for _, at in ipairs(parts.train) do assert.is_nil(inside[by[at]]) end
      assert.same({ 20, 80 }, { #parts.test, #parts.train }) -- five groups of four
    end
  end)

  it("has the smallest group where all are too large", function()
    local by = { 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3 }
    for seed = 1, 9 do
      assert.equal(4, #folds.holdout(14, { test = 0.1, seed = seed, by = by }).test)
    end
  end)

  it("says what cannot be", function()
    assert.equal("holdout: 1 group, and one has to train and one to test",
      message_of(folds.holdout, 3, { test = 0.5, by = { 7, 7, 7 } }))
    assert.equal("holdout: 1 sample, and one has to train and one to test",
      message_of(folds.holdout, 1, { test = 0.5 }))
    assert.matches("bad argument #2 to 'holdout' (test: expected a share above 0 and below 1, "
      .. "got 1)", message_of(folds.holdout, 3, { test = 1 }), 1, true)
  end)
end)
