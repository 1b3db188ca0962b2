local clicks = require "mlua.data.clicks"
local files = require "spec.support.files"

describe("synthetic clicks", function()
  local function open(options)
    local o = { rows = 20000, cache = false }
    for k, v in pairs(options or {}) do o[k] = v end
    return assert(clicks.open("synthetic", o))
  end
  local function sample(set)
    local all = {}
    for r = 1, set:rows(), 97 do all[#all + 1] = { set:row(r) } end
    return all
  end

  it("are the same for the same seed and any number of threads, others for another", function()
    local want = sample(open({ seed = 5, threads = 1 }))
    assert.same(want, sample(open({ seed = 5, threads = 4 })))
    assert.are_not.same(want, sample(open({ seed = 6 })))
  end)

  it("have as many rows, dense values and tables as asked", function()
    local set = open({ rows = 4097, n_dense = 2, tables = { 3, 50 } })
    assert.equal(4097, set:rows())
    local _, dense, ids = set:row(4097)
    assert.equal(2, #dense)
    assert.equal(2, #ids)
    assert.same({ 3, 50 }, set:tables())
  end)

  it("show every word where the skew is 0, once in as many rows", function()
    local set = open({ rows = 1000, tables = { 1000, 10, 999, 1 }, skew = 0 })
    assert.same({ 1000, 10, 999, 1 }, set:tables())
  end)

  it("favour common words as the skew says: half of the rows have one of the first 1/8", function()
    local set = open({ tables = { 64 }, skew = 3 })
    local count = {}
    for id = 0, 63 do count[id] = 0 end
    for r = 1, set:rows() do
      local _, _, ids = set:row(r)
      count[ids[1]] = count[ids[1]] + 1
    end
    local list = {}
    for id = 0, 63 do list[id + 1] = count[id] end
    table.sort(list, function(a, b) return a > b end)
    local first = 0
    for i = 1, 8 do first = first + list[i] end
    assert.near(0.5, first / set:rows(), 0.02)
  end)

  it("keep the probability that drew each label, and it is calibrated", function()
    local set = open({ rows = 100000 })
    local part = set.all
    local planted = assert(part:planted()):totable()
    local label, mean = {}, 0
    for batch in part:loader({ batch = 4096 }):epoch(0) do
      for _, row in ipairs(batch.label:totable()) do label[#label + 1] = row[1] end
    end
    local ones = 0
    for i = 1, #label do
      mean, ones = mean + planted[i], ones + label[i]
    end
    assert.near(mean / #label, ones / #label, 0.006) -- four standard errors
    assert.is_true(ones / #label > 0.2 and ones / #label < 0.6)
  end)

  it("give the probabilities of a part in its order", function()
    local set = open({ rows = 700, split = "random" })
    local all, part = set.all:planted():totable(), set.test:planted():totable()
    for i, row in ipairs(set.test:loader():order(0)) do assert.equal(all[row], part[i]) end
  end)

  it("are none that a file has", function()
    local folder = files.folder()
    local set = open({ rows = 10 })
    assert(set:write(folder .. "/x.tsv"))
    local real = assert(clicks.open(folder .. "/x.tsv", { cache = false }))
    local planted, message = real.train:planted()
    files.remove(folder)
    assert.is_nil(planted)
    assert.matches("x%.tsv: has no planted probabilities$", message)
  end)

  it("read back from their text are the same, ids and all", function()
    local folder = files.folder()
    local set = open()
    assert(set:write(folder .. "/x.tsv"))
    local real = assert(clicks.open(folder .. "/x.tsv", { cache = false }))
    assert.same(sample(set), sample(real))
    assert.same(set:tables(), real:tables())
    files.remove(folder)
  end)

  it("are cached like a file", function()
    local folder = files.folder()
    assert.is_false(open({ cache = folder }):warm())
    local warm = open({ cache = folder })
    assert.is_true(warm:warm())
    assert.same(sample(open()), sample(warm))
    assert.is_false(open({ cache = folder, seed = 9 }):warm())
    files.remove(folder)
  end)
end)
