-- Loaders over samples of one's own.
local ml = require "mlua"
local samples = ml.data.samples

local function ids_of(loader, epoch, step)
  local list = {}
  for b in loader:epoch(epoch, step) do
    list[#list + 1] = table.concat(b.id:totable(), " ")
  end
  return list
end

local function counting(n) return { id = ml.arange(n) } end

describe("a loader of samples", function()
  it("has rows of tensors in batches, the last one short", function()
    local loader = samples.loader({ id = ml.arange(5), x = ml.arange(10):reshape(5, 2) },
      { batch = 2 })
    assert.same({ "0 1", "2 3", "4" }, ids_of(loader, 0))
    assert.same({ 5, 3 }, { loader:rows(), loader:steps() })
    local last
    for b in loader:epoch(0) do last = b end
    assert.same({ { { 8, 9 } }, 1, 2 }, { last.x:totable(), last.rows, last.step })
    assert.same({ "0 1", "2 3" }, ids_of(samples.loader(counting(5), { batch = 2,
      drop_last = true }), 0))
  end)

  it("asks a data set for its samples, and stacks them", function()
    local loader = samples.loader({ n = 3, get = function(i)
      return { id = i - 1, x = ml.full(i, 2), pair = { i, -i } }
    end }, { batch = 3 })
    for b in loader:epoch(0) do
      assert.same({ { 0, 1, 2 }, { { 1, 1 }, { 2, 2 }, { 3, 3 } }, { { 1, -1 }, { 2, -2 },
        { 3, -3 } } }, { b.id:totable(), b.x:totable(), b.pair:totable() })
    end
  end)

  it("shuffles by seed and epoch, and goes on in the middle of one", function()
    local loader = samples.loader(counting(9), { batch = 2, shuffle = true, seed = 3 })
    local first = ids_of(loader, 0)
    assert.not_same(first, ids_of(loader, 1))
    assert.same(first, ids_of(samples.loader(counting(9), { batch = 2, shuffle = true, seed = 3 }),
      0))
    assert.same({ first[4], first[5] }, ids_of(loader, 0, 3))
  end)

  it("takes a sampler: a function, or one of the registry", function()
    local loader = samples.loader(counting(4), { batch = 2, sampler = function(n, epoch)
      return { n, 1, epoch + 1 }
    end })
    assert.same({ "3 0", "2" }, ids_of(loader, 2))
    local part = ml.param.sampler { { "shuffled", seed = 9 } }:check { "shuffled", seed = 9 }
    loader = samples.loader(counting(6), { batch = 6, sampler = part })
    assert.equal(1, #ids_of(loader, 0))
  end)

  it("has as many batches in an epoch as its sampler says, wherever it begins", function()
    local function loader()
      return samples.loader(counting(9), { batch = 2, sampler = function(_, epoch)
        return epoch == 0 and { 1, 2 } or { 1, 2, 3, 4, 5, 6 }
      end })
    end
    assert.same({ 1, 3 }, { loader():steps(0), loader():steps(1) })
    assert.equal(3, #ids_of(loader(), 2))
  end)

  it("says which sample failed, and what is no data set", function()
    local loader = samples.loader({ n = 3, get = function(i)
      if i == 2 then error("cannot be read", 0) end
      return { id = i }
    end }, { batch = 1 })
    local ok, e = pcall(ids_of, loader, 0)
    assert.same({ false, "sample 1: cannot be read" }, { ok, tostring(e) })
    ok, e = pcall(samples.loader, { get = 3 })
    assert.is_false(ok)
    assert.matches("bad argument #1 to 'loader' (expected tensors by name, or n and get",
      tostring(e), 1, true)
    ok, e = pcall(samples.loader, { a = ml.zeros(3), b = ml.zeros(4) })
    assert.is_false(ok)
    assert.matches(": expected [34] rows as the others, got [34]", tostring(e))
  end)
end)
