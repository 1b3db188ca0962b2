local ml = require "mlua.tensor"
local clicks = require "mlua.data.clicks"
local loaders = require "mlua.data.loader"
local random = require "mlua.data.random"

describe("data.loader", function()
  -- Row r: dense r and r + 0.5, ids r mod 7 and r, label r mod 2.
  local function rows(n)
    local dense, ids, label = {}, {}, {}
    for r = 0, n - 1 do
      dense[r + 1], ids[r + 1], label[r + 1] = { r, r + 0.5 }, { r % 7, r }, r % 2
    end
    return { dense = ml.of(dense, "f32"), ids = ml.of(ids, "i32"), label = ml.of(label, "f32"),
             tables = { 7, n } }
  end
  local function load(n, options) return assert(loaders.rows(rows(n), options)) end

  local function content(batch)
    local all = { batch.rows }
    for _, name in ipairs { "dense", "ids", "label", "offsets" } do
      local tensor = batch[name]
      if tensor then
        all[#all + 1] = table.concat(tensor:shape(), "x")
        local flat = tensor:reshape(tensor:count()):totable()
        for i = 1, #flat do flat[i] = ("%.9g"):format(flat[i]) end
        all[#all + 1] = table.concat(flat, " ")
      end
    end
    return table.concat(all, "|")
  end
  local function all_of(loader, epoch, step)
    local all = {}
    for batch in loader:epoch(epoch, step) do all[#all + 1] = content(batch) end
    return all
  end

  it("gives dense by row, ids by table, labels in a column", function()
    local batch = load(5, { batch = 3 }):next()
    assert.same({ { 0, 0.5 }, { 1, 1.5 }, { 2, 2.5 } }, batch.dense:totable())
    assert.same({ { 0, 1, 2 }, { 0, 1, 2 } }, batch.ids:totable())
    assert.same({ { 0 }, { 1 }, { 0 } }, batch.label:totable())
    assert.equal("i32", batch.ids:dtype())
  end)

  it("ends an epoch with a shorter batch, unless it is to be dropped", function()
    local loader = load(5, { batch = 3 })
    assert.equal(2, loader:steps())
    loader:next()
    local batch = loader:next()
    assert.equal(2, batch.rows)
    assert.same({ { 3, 4 }, { 3, 4 } }, batch.ids:totable())
    assert.is_nil(loader:next())
    assert.is_nil(loader:next())
    loader = load(5, { batch = 3, drop_last = true })
    assert.equal(1, loader:steps())
    assert.equal(3, loader:rows())
    assert.equal(1, #all_of(loader, 0))
  end)

  it("gives one batch where all rows fit in it", function()
    local loader = load(5, { batch = 100 })
    assert.equal(1, loader:steps())
    assert.equal(5, loader:next().rows)
    assert.equal(0, load(5, { batch = 100, drop_last = true }):steps())
  end)

  it("shuffles by seed and epoch, and has every row once", function()
    for _, n in ipairs { 1, 2, 3, 4, 5, 17, 64, 1000 } do
      local loader = load(n, { batch = 8, shuffle = true, seed = 4 })
      for epoch = 0, 2 do
        local seen = {}
        for _, row in ipairs(loader:order(epoch)) do
          assert.is_true(row >= 1 and row <= n and not seen[row])
          seen[row] = true
        end
        assert.equal(n, #seen)
      end
    end
    local loader = load(100, { shuffle = true, seed = 4 })
    assert.are_not.same(loader:order(0), loader:order(1))
    assert.same(loader:order(1), load(100, { shuffle = true, seed = 4 }):order(1))
    assert.are_not.same(loader:order(0), load(100, { shuffle = true, seed = 5 }):order(0))
  end)

  it("puts every row at every place about equally often", function()
    local n, epochs = 6, 6000
    local loader, count = load(n, { shuffle = true, seed = 1 }), {}
    for place = 1, n * n do count[place] = 0 end
    for epoch = 1, epochs do
      for place, row in ipairs(loader:order(epoch)) do
        count[(place - 1) * n + row] = count[(place - 1) * n + row] + 1
      end
    end
    local chi2, expected = 0, epochs / n
    for place = 1, n * n do chi2 = chi2 + (count[place] - expected) ^ 2 / expected end
    -- n / (n - 1) times chi-squared with (n - 1)^2 degrees of freedom: 0.1 % are above
    assert.is_true(chi2 < 52.6 * 6 / 5, chi2)
  end)

  it("gives the same batches in the same order with 0, 1, 2 and 4 workers", function()
    for _, batch in ipairs { 1, 3, 64, 600 } do
      local options = { batch = batch, shuffle = true, seed = 9 }
      local want = { all_of(load(1000, options), 0), all_of(load(1000, options), 3) }
      for _, workers in ipairs { 1, 2, 4 } do
        options.workers = workers
        local loader = load(1000, options)
        assert.same(want[1], all_of(loader, 0))
        assert.same(want[2], all_of(loader, 3))
      end
    end
  end)

  it("goes on from where another stood", function()
    for workers = 0, 3, 3 do
      local options = { batch = 7, shuffle = true, workers = workers }
      local want = all_of(load(1000, options), 2)
      local first = load(1000, options)
      first:seek(2)
      for _ = 1, 100 do first:next() end
      local epoch, step = first:position()
      assert.same({ 2, 100 }, { epoch, step })
      local rest = all_of(load(1000, options), epoch, step)
      assert.same({ unpack(want, 101) }, rest)
      local second = load(1000, options)
      second:seek(first:position())
      assert.equal(want[101], content(second:next()))
      assert.same({ 2, 101 }, { second:position() })
    end
  end)

  it("may be left, sought and closed in the middle", function()
    for workers = 0, 4 do
      local loader = load(1000, { batch = 2, workers = workers })
      local batch
      for b in loader:epoch(0) do
        batch = b
        if b.step == 10 then break end
      end
      assert.equal(20, batch.dense:at(1, 1))
      for i = 1, 50 do loader:seek(i, i * 9) end
      assert.equal(900, loader:next().dense:at(1, 1))
      local dense = batch.dense
      loader:close()
      loader:close()
      assert.equal(900, dense:at(1, 1)) -- memory stays while a tensor shows it
      assert.has_error(function() loader:next() end)
    end
  end)

  it("shows each batch through the same tensors", function()
    local loader = load(1000, { batch = 10, workers = 1 })
    local first = loader:next()
    local dense = first.dense
    assert.equal(first, loader:next())
    assert.equal(dense:data(), loader:next().dense:data())
    assert.equal(20, dense:at(1, 1))
  end)

  it("outlives the scope that it was made in", function()
    local loader = ml.scope and ml.scope(function() return load(10, { batch = 5 }) end)
      or require("mlua.ffi").scope(function() return load(10, { batch = 5 }) end)
    assert.equal(5, loader:next().dense:size(1))
  end)

  it("reports an id outside its table from every number of workers, and does not hang", function()
    local bad = rows(100)
    bad.tables = { 7, 60 }
    for workers = 0, 3 do
      local loader = assert(loaders.rows(bad, { batch = 10, workers = workers }))
      for _ = 1, 6 do assert(loader:next()) end
      for _ = 1, 2 do
        local batch, message, code = loader:next()
        assert.is_nil(batch)
        assert.equal("row 61: id 60 of table 2: expected 0 to 59", message)
        assert.equal(-8, code)
      end
      loader:seek(0, 0)
      assert(loader:next())
    end
  end)

  it("lets no gradient go through a batch that a failure has overwritten", function()
    local ids = ml.zeros(8, 1, { dtype = "i32" })
    for i = 5, 8 do ids:put(50000000, i, 1) end
    local l = loaders.rows({ dense = ml.zeros(8, 1), ids = ids, label = ml.zeros(8),
      tables = { 10 } }, { batch = 4 })
    local table_ = ml.zeros(10, 16):requires_grad()
    local loss = require("mlua").embedding_bags({ table_ }, l:next().ids):sum()
    local batch, message = l:next()
    assert.is_nil(batch)
    assert.matches("row 5: id 50000000", message)
    assert.error_matches(function() loss:backward() end, "changed in place")
  end)

  it("refuses labels that are not one for each row", function()
    assert.error_matches(function()
      loaders.rows({ dense = ml.zeros(8, 1), ids = ml.zeros(8, 1, { dtype = "i32" }),
        label = ml.zeros(8, 0), tables = { 10 } }, { batch = 4 })
    end, "label: expected f32 %[8%]")
  end)

  it("leaves out a share of the rows labelled 0, and none of the others", function()
    local loader = load(1000, { batch = 1000, sub_sample = 0.9, shuffle = true })
    local order = loader:order(0)
    assert.equal(#order, loader:rows())
    local ones, zeros = 0, 0
    for _, row in ipairs(order) do
      if (row - 1) % 2 == 1 then ones = ones + 1 else zeros = zeros + 1 end
    end
    assert.equal(500, ones)
    assert.is_true(zeros > 20 and zeros < 90)
    local other = load(1000, { batch = 3, sub_sample = 0.9, shuffle = true, workers = 2 })
    assert.same(order, other:order(0))
  end)

  it("refuses options that it does not know or cannot have", function()
    local function raises(message, options)
      local ok, err = pcall(function() load(10, options) end)
      assert.is_false(ok)
      assert.matches("^%S*loader_spec%.lua:%d+: ", err)
      assert.equal("bad argument #2 to 'rows' (" .. message .. ")", (err:gsub("^%S*:%d+: ", "")))
    end
    raises("unknown option 'worker', did you mean 'workers'?", { worker = 1 })
    raises("batch: expected an integer from 1 to 2147483647, got 0", { batch = 0 })
    raises("workers: expected an integer from 0 to 256, got -1", { workers = -1 })
    raises("shuffle: expected a boolean, got 1", { shuffle = 1 })
    raises("sub_sample: expected a number from 0, below 1, got 1", { sub_sample = 1 })
  end)

  it("keeps memory flat over many batches", function()
    local core = require "mlua.ffi"
    local loader = load(1000, { batch = 2, workers = 1, shuffle = true })
    for epoch = 0, 2 do for _ in loader:epoch(epoch) do end end
    collectgarbage()
    local tensors = core.memory.tensors
    for epoch = 0, 20 do for _ in loader:epoch(epoch) do end end
    assert.equal(tensors, core.memory.tensors)
  end)

  describe("over random rows", function()
    local function open(more)
      local o = { rows = 100, n_dense = 3, tables = { 5, 1000 }, lookups = 4, seed = 7 }
      for k, v in pairs(more or {}) do o[k] = v end
      return random.open(o)
    end

    it("gives bags of 1 to so many ids, table by table, then row by row", function()
      local batch = assert(open():loader { batch = 10 }):next()
      local offsets, ids = batch.offsets:totable(), batch.ids:totable()
      assert.equal(21, #offsets)
      assert.equal(0, offsets[1])
      assert.equal(#ids, offsets[21])
      for bag = 1, 20 do
        local n = offsets[bag + 1] - offsets[bag]
        assert.is_true(n >= 1 and n <= 4)
        for i = offsets[bag] + 1, offsets[bag + 1] do
          assert.is_true(ids[i] >= 0 and ids[i] < (bag <= 10 and 5 or 1000))
        end
      end
      for _, row in ipairs(batch.dense:totable()) do
        for _, x in ipairs(row) do assert.is_true(x >= 0 and x < 1) end
      end
    end)

    it("gives bags all alike, and round labels, where that is asked", function()
      local batch = assert(open({ fixed = true, round_labels = true }):loader { batch = 7 }):next()
      for bag, offset in ipairs(batch.offsets:totable()) do assert.equal((bag - 1) * 4, offset) end
      assert.equal(56, batch.ids:size(1))
      for _, label in ipairs(batch.label:totable()) do
        assert.is_true(label[1] == 0 or label[1] == 1)
      end
    end)

    it("gives the same with any number of workers", function()
      local want = all_of(open():loader { batch = 9, shuffle = true }, 1)
      for workers = 1, 4, 3 do
        assert.same(want, all_of(open():loader { batch = 9, shuffle = true, workers = workers }, 1))
      end
    end)
  end)

  it("goes through click data in the same way", function()
    local set = assert(clicks.open("synthetic", { rows = 3000, cache = false }))
    local want = all_of(set.train:loader { batch = 100, shuffle = true }, 0)
    for workers = 1, 4 do
      local got = all_of(set.train:loader { batch = 100, shuffle = true, workers = workers }, 0)
      assert.same(want, got)
    end
    local batch = set.train:loader({ batch = 1 }):next()
    local label, dense, ids = set:row(1)
    assert.equal(label, batch.label:item())
    assert.same({ dense }, batch.dense:totable())
    for t = 1, 26 do assert.equal(ids[t], batch.ids:at(t, 1)) end
  end)
end)
