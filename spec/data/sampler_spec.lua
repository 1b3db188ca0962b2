-- Samplers by columns, and the one place where orders are drawn.
local draws = require "mlua.data.draws"
local files = require "spec.support.files"
local ml = require "mlua"

local function part(value) return ml.param.sampler { value }.default end

local function loader(set, sampler, options)
  local o = { batch = 4, sampler = sampler }
  for name, value in pairs(options or {}) do o[name] = value end
  return ml.data.samples.loader(set, o)
end

local function sorted(list)
  list = { unpack(list) }
  table.sort(list)
  return list
end

local function times(list, of)
  local n = {}
  for _, at in ipairs(list) do
    local key = of and of[at] or at
    n[key] = (n[key] or 0) + 1
  end
  return n
end

local function message_of(f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  return tostring(e)
end

local LABELS = { "cat", "cat", "cat", "cat", "cat", "cat", "dog", "dog", "eel" }

describe("a balanced sampler", function()
  it("has each class as often as the others", function()
    local balanced = part { "balanced", by = "label" }
    local list = balanced(9, 0, { label = LABELS })
    assert.same({ cat = 3, dog = 3, eel = 3 }, times(list, LABELS))
    assert.equal(3, times(list)[9]) -- the only eel
    for epoch = 0, 9 do -- ten samples: one more of the first class
      list = part { "balanced", by = "label", count = 10 }(9, epoch, { label = LABELS })
      assert.same({ cat = 4, dog = 3, eel = 3 }, times(list, LABELS))
    end
  end)

  it("takes all of a class before one comes again", function()
    local n = times(part { "balanced", by = "label", count = 24 }(9, 0, { label = LABELS }))
    assert.same({ 4, 4, 8 }, { n[7], n[8], n[9] })
    for at = 1, 6 do assert.is_true(n[at] == 1 or n[at] == 2) end -- eight of six cats
  end)

  it("has classes in given shares, in the order of numbers and words", function()
    local by_word = part { "balanced", by = "label", shares = { 1, 0, 3 }, count = 8 }
    assert.same({ cat = 2, eel = 6 }, times(by_word(9, 0, { label = LABELS }), LABELS))
    local ids = { 10, 9, 9, 10 } -- as numbers, 9 is before 10
    local by_number = part { "balanced", by = "id", shares = { 3, 1 } }
    assert.same({ [9] = 3, [10] = 1 }, times(by_number(4, 0, { id = ml.tensor(ids) }), ids))
    assert.equal("sampler balanced: shares: expected 3, not all 0 (cat, dog, eel), got 1, 2",
      message_of(part { "balanced", by = "label", shares = { 1, 2 } }, 9, 0, { label = LABELS }))
  end)
end)

describe("a grouped sampler", function()
  local site = { 1, 2, 3, 1, 2, 1, 2, 1 } -- four of 1, three of 2, one of 3

  it("keeps the samples of one group together", function()
    local list, runs = part { "grouped", by = "site" }(8, 0, { site = site }), {}
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, sorted(list))
    for i, at in ipairs(list) do
      if i == 1 or site[at] ~= site[list[i - 1]] then runs[#runs + 1] = site[at] end
    end
    assert.same({ 1, 2, 3 }, sorted(runs))
  end)

  it("gives batches of k samples of each of p groups", function()
    local sites = loader({ site = ml.tensor(site), id = ml.arange(8) },
      part { "grouped", by = "site", each = 2 }, { batch = 4 })
    local all = {}
    for b in sites:epoch(3) do
      local s, id = b.site:totable(), b.id:totable()
      for i = 1, #s, 2 do
        assert.equal(s[i], s[i + 1])
        assert.equal(s[i] == 3, id[i] == id[i + 1]) -- site 3 has one sample, which comes twice
        all[#all + 1] = s[i]
      end
    end
    assert.same({ 1, 2, 3 }, sorted(all))
  end)
end)

describe("a nested sampler", function()
  -- Site a has patients 1 and 2, with three samples and one; site b has patient 3, with two.
  local columns = {
    site = { "a", "a", "a", "a", "b", "b" }, patient = { 1, 1, 1, 2, 3, 3 },
    wide = { 1, 1, 1, 1, 3, 3 }, good = { 1, 0, 0, 1, 1, 1 },
  }

  local function shares(o)
    o[1], o.by, o.count = "nested", { "site", "patient" }, 40000
    local n, list = times(part(o)(6, 0, columns)), {}
    for at = 1, 6 do list[at] = (n[at] or 0) / 40000 end
    return list
  end

  local function near(wanted, got)
    for at = 1, 6 do -- four deviations of a share of 40000 draws are at most 0.01
      assert.is_true(math.abs(wanted[at] - got[at]) < 0.01, ("%d: %g"):format(at, got[at]))
    end
  end

  it("draws a group at each level, then a sample of it", function()
    near({ 1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 4, 1 / 4 }, shares {})
  end)

  it("weighs groups by size or by a column", function()
    local each = 1 / 6 -- by size at each level, it is as without groups
    near({ each, each, each, each, each, each }, shares { weights = { "size", "size" } })
    near({ 1 / 24, 1 / 24, 1 / 24, 1 / 8, 3 / 8, 3 / 8 }, shares { weights = { "wide" } })
    near({ 1 / 4, 0, 0, 1 / 4, 1 / 4, 1 / 4 },
      shares { weights = { "uniform", "uniform", "good" } })
  end)

  it("says which weights do not fit", function()
    local function mistake(weights, changed)
      local all = setmetatable(changed or {}, { __index = columns })
      return message_of(part { "nested", by = { "site", "patient" }, weights = weights }, 6, 0, all)
    end
    assert.equal("sampler nested: column 'good': expected one weight for a group, got 1 and 0",
      mistake { "good" })
    assert.equal("sampler nested: column 'wide': expected weights of at least 0, got -1",
      mistake({ "wide" }, { wide = { -1, -1, -1, -1, -1, -1 } }))
    assert.equal("sampler nested: all weights within patient '2' are 0",
      mistake({ "uniform", "uniform", "good" }, { good = { 1, 1, 1, 0, 1, 1 } }))
    assert.equal("sampler nested: weights: expected at most 3, got 4",
      mistake { "size", "size", "size", "size" })
  end)
end)

describe("a loader", function()
  it("gives samplers columns: its set's tensors and lists of words, others beside", function()
    local set = { id = ml.arange(9), label = LABELS }
    local by_list = loader(set, part { "balanced", by = "label" }):order(0)
    local numbers = { 1, 1, 1, 1, 1, 1, 2, 2, 3 }
    assert.same(by_list, loader({ y = ml.tensor(numbers) },
      part { "balanced", by = "y" }):order(0))
    assert.same(by_list, loader({ id = ml.arange(9) }, part { "balanced" },
      { columns = { target = LABELS } }):order(0))
    assert.same(by_list, loader({ n = 9, get = function(i) return { id = i } end,
      columns = function(name) return name == "target" and numbers or nil end },
      part { "balanced" }):order(0))
    local weighted = loader({ x = ml.arange(3), w = ml.tensor { 0, 1, 0 } },
      part { "weighted", by = "w" })
    assert.same({ 2, 2, 2 }, weighted:order(0))
  end)

  it("has lists of words in its batches", function()
    for b in loader({ id = ml.arange(9), label = LABELS }, function() return { 9, 1, 7 } end)
      :epoch(0) do
      assert.same({ { 8, 0, 6 }, { "eel", "cat", "dog" } }, { b.id:totable(), b.label })
    end
    for b in loader({ n = 2, get = function(i) return { label = LABELS[i + 5] } end }):epoch(0) do
      assert.same({ "cat", "dog" }, b.label)
    end
  end)

  it("says which column is not there, or does not fit", function()
    local set = { id = ml.arange(9), label = LABELS }
    local function mistake(sampler, columns)
      local l = loader(set, part(sampler), { columns = columns })
      return message_of(function() l:order(0) end)
    end
    assert.equal("sampler: no column 'labl', did you mean 'label'?",
      mistake { "balanced", by = "labl" })
    assert.equal("sampler balanced: column 'target': expected 9 values, got 2",
      mistake({ "balanced" }, { target = { 1, 2 } }))
    assert.equal("sampler balanced: column 'target': no number at position 2",
      mistake({ "balanced" }, { target = { 1, 0 / 0, 1, 1, 1, 1, 1, 1, 1 } }))
    assert.equal("sampler weighted: column 'label': expected weights of at least 0, got 'cat'",
      mistake { "weighted", by = "label" })
    assert.equal("sampler weighted: by: expected the column that has the weights",
      mistake { "weighted" })
  end)

  it("gives samplers its seed, unless they have one", function()
    local set = { id = ml.arange(50) }
    local function order(sampler, seed) return loader(set, sampler, { seed = seed }):order(2) end
    local shuffle = ml.data.samples.loader(set, { shuffle = true, seed = 7 }):order(2)
    assert.same(shuffle, order(part "shuffled", 7))
    assert.not_same(shuffle, order(part "shuffled", 8))
    assert.same(shuffle, order(part { "shuffled", seed = 7 }, 8))
    assert.same(part "shuffled"(50, 2), order(part "shuffled", 123))
  end)
end)

-- Everything that is drawn by (seed, epoch), with columns of its own.
local N = 24

local function columns()
  local all = { label = {}, site = {}, patient = {}, w = {} }
  for i = 1, N do
    all.label[i], all.site[i], all.patient[i] = LABELS[i % 9 + 1], i % 3, i % 7
    all.w[i] = i % 5 + 1
  end
  return all
end

local function all_orders(seed, epoch)
  local all, given = {}, columns()
  local function add(name, list) all[#all + 1] = name .. " " .. table.concat(list, " ") end
  for _, o in ipairs {
    { "shuffled" }, { "weighted", by = "w" }, { "weighted", by = "w", replacement = false },
    { "balanced", by = "label", count = 50 }, { "grouped", by = "site", each = 3 },
    { "nested", by = { "site", "patient" }, weights = { "size" } },
  } do
    o.seed = seed
    add(o[1], part(o)(N, epoch, given))
  end
  add("shuffle", ml.data.samples.loader({ id = ml.arange(N) }, { shuffle = true, seed = seed })
    :order(epoch))
  return all
end

local function all_splits(seed)
  local given, all = columns(), {}
  for _, o in ipairs { {}, { by = given.site }, { stratify = given.label } } do
    o.k, o.seed = 3, seed
    for _, fold in ipairs(ml.data.folds(N, o)) do all[#all + 1] = table.concat(fold.test, " ") end
  end
  local parts = ml.data.folds.holdout(N, { test = 0.3, seed = seed, by = given.patient })
  all[#all + 1] = table.concat(parts.test, " ") .. "," .. table.concat(parts.train, " ")
  return all
end

describe("draws", function()
  it("are the same for one seed and epoch: before, after, by any number of threads", function()
    local threads = ml.threads()
    local third = all_orders(5, 3)
    ml.threads(threads == 1 and 2 or 1)
    for epoch = 0, 4 do
      local again = all_orders(5, epoch)
      if epoch == 3 then assert.same(third, again) end
    end
    ml.threads(threads)
    local other_epoch, other_seed = all_orders(5, 4), all_orders(6, 3)
    for i, each in ipairs(third) do
      assert.not_equal(each, other_epoch[i])
      assert.not_equal(each, other_seed[i])
    end
  end)

  it("take nothing from the draws of others, and leave them as they were", function()
    ml.seed(4)
    math.randomseed(4)
    local before = { ml.rand(1):item(), math.random(), unpack(all_orders(5, 3)) }
    ml.seed(4)
    math.randomseed(4)
    all_orders(5, 2)
    all_splits(5)
    assert.same(before, { ml.rand(1):item(), math.random(), unpack(all_orders(5, 3)) })
  end)

  it("are all made in one place: where its seeds and epochs are held, nothing differs", function()
    local of = draws.of
    draws.of = function() return of(1, 0) end
    local ok, e = pcall(function()
      assert.same(all_orders(5, 3), all_orders(6, 4))
      assert.same(all_splits(5), all_splits(6))
    end)
    draws.of = of
    assert(ok, e)
    assert.not_same(all_splits(5), all_splits(6))
    local drawing = { "math%.random", "%f[%a]rand[nit]*%s*%(", "permutation", "multinomial",
      "bernoulli" }
    for _, path in ipairs { "data/columns", "data/folds", "data/rows", "data/samples",
      "registry/samplers" } do
      local text = files.read("lua/mlua/" .. path .. ".lua")
      for _, word in ipairs(drawing) do assert.is_nil(text:find(word), path .. ": " .. word) end
    end
  end)

  it("have a name each: the second of an epoch is not the first", function()
    local one = draws.of(1, 0)
    local first, second = one:order(40), one:order(40)
    assert.not_same(first, second)
    assert.not_same(second, draws.of(1, 1):order(40))
    assert.same(ml.permutation(40, { seed = 1, stream = 0 }):add(1):totable(), first)
    assert.same(ml.permutation(40, { seed = 1, stream = 2 ^ 32 }):add(1):totable(), second)
  end)

  it("take all of a list before one comes again, in an order that is uniform", function()
    local n = { 0, 0, 0, 0, 0, 0 }
    local lists, counts = {}, {}
    for i = 1, 6000 do lists[i], counts[i] = { 1, 2, 3 }, 3 end
    for _, t in ipairs(draws.of(9, 0):take(lists, counts)) do
      assert.same({ 1, 2, 3 }, sorted(t))
      local at = (t[1] - 1) * 2 + (t[2] > t[3] and 1 or 2)
      n[at] = n[at] + 1
    end
    for at = 1, 6 do -- 1000 of each order, with a deviation of 29
      assert.is_true(math.abs(n[at] - 1000) < 120, n[at])
    end
    assert.same({ { "a", "a", "a" }, {} }, draws.of(9, 0):take({ { "a" }, {} }, { 3, 0 }))
  end)
end)
