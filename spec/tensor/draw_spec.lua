-- Draws: named by seed and stream, by the probabilities asked for, the same for any threads.
local ml = require "mlua"
local mistake = require "spec.support.mistake"

local function threads_agree(f)
  local before = ml.threads()
  ml.threads(1)
  local one = f()
  ml.threads(2)
  assert.is_true(ml.op.all(one:eq(f())):item() == 1)
  ml.threads(before)
end

describe("bernoulli", function()
  it("is 1 as often as its probability says", function()
    local n = 100000
    local y = ml.bernoulli(0.3, n, { seed = 1, stream = 1 })
    assert.near(0.3, y:mean():item(), 0.006) -- 4 standard deviations of the mean
    assert.equal("f32", y:dtype())
    assert.equal(0, ml.bernoulli(0, 1000):sum():item())
    assert.equal(1000, ml.bernoulli(1, 1000):sum():item())
    local p = ml.tensor { { 0, 1 }, { 1, 0 } }
    assert.same(p:totable(), p:bernoulli():totable())
  end)

  it("is named by seed and stream, whatever the dtype", function()
    local name = { seed = 5, stream = 9 }
    local p = ml.rand(1000, name)
    assert.same(p:bernoulli(name):totable(), ml.bernoulli(p:to("f64"), name):totable())
    assert.is_false(pcall(assert.same, p:bernoulli(name):totable(),
      p:bernoulli({ seed = 5, stream = 10 }):totable()))
    ml.seed(4)
    local first = ml.bernoulli(0.5, 50):totable()
    assert.is_false(pcall(assert.same, first, ml.bernoulli(0.5, 50):totable()))
    ml.seed(4)
    assert.same(first, ml.bernoulli(0.5, 50):totable())
    assert.equal("bool", ml.bernoulli(0.5, 2, { dtype = "bool" }):dtype())
  end)

  it("follows Philox: element i is word i % 4 of counter i / 4, below p", function()
    -- Philox 4x32-10 of key 0, counter 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (Random123's vectors)
    local words = { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 }
    for i, word in ipairs(words) do
      local at = word / 2 ^ 32
      local name = { seed = 0, stream = 0 }
      assert.equal(0, ml.full(at, 4, { dtype = "f64" }):bernoulli(name):at(i))
      assert.equal(1, ml.full(at + 2 ^ -32, 4, { dtype = "f64" }):bernoulli(name):at(i))
    end
  end)

  it("is the same for any number of threads", function()
    threads_agree(function() return ml.bernoulli(0.5, 100001, { seed = 2, stream = 3 }) end)
  end)

  it("refuses what is no probability", function()
    assert.equal("bad argument #1 to 'bernoulli' (probs: expected a tensor or a number, 0 to 1, "
      .. "got 1.5)", mistake(function() ml.bernoulli(1.5, 2) end))
    assert.equal("bad argument #1 to 'bernoulli' (probs: expected probabilities of 0 to 1, got "
      .. "nan at position 1)", (mistake(function() ml.tensor({ 0, 0 / 0 }):bernoulli() end)
        :gsub("%-nan", "nan")))
    assert.equal("bernoulli: option seed: expected a whole number of at least 0, got -1",
      mistake(function() ml.tensor({ 0 }):bernoulli { seed = -1 } end))
    assert.equal("bernoulli: unknown option 'sed', did you mean 'seed'?",
      mistake(function() ml.tensor({ 0 }):bernoulli { sed = 1 } end))
  end)
end)

describe("randint", function()
  it("draws each number of [lo, hi) about as often as any other", function()
    local x = ml.randint(-2, 3, 50000, { seed = 1, stream = 1 })
    local v, counts = x:unique { counts = true }
    assert.same({ -2, -1, 0, 1, 2 }, v:totable())
    for _, n in ipairs(counts:totable()) do assert.near(10000, n, 360) end -- 4 deviations
  end)

  it("draws the same numbers in any dtype, and for any number of threads", function()
    local want = ml.randint(0, 200, 3, 5, { seed = 3, stream = 3 })
    assert.equal("i64", want:dtype())
    for _, dtype in ipairs { "i32", "u8", "f32", "f64" } do
      local got = ml.randint(0, 200, 3, 5, { seed = 3, stream = 3, dtype = dtype })
      assert.equal(dtype, got:dtype())
      assert.same(want:totable(), got:totable())
    end
    threads_agree(function() return ml.randint(0, 1000, 40001, { seed = 2, stream = 3 }) end)
    assert.same({ 0 }, ml.randint(0, 5, 0):shape())
    assert.same({ 7, 7 }, ml.randint(7, 8, 2):totable())
  end)

  it("refuses what there is not", function()
    assert.equal("bad argument #2 to 'randint' (hi: expected a whole number above 3, got 3)",
      mistake(function() ml.randint(3, 3, 2) end))
    assert.equal("randint: 0 to 256 as u8",
      mistake(function() ml.randint(0, 257, 2, { dtype = "u8" }) end))
    assert.equal("bad argument #1 to 'randint' (lo: expected a whole number, got 0.5)",
      mistake(function() ml.randint(0.5, 3, 2) end))
  end)
end)

describe("permutation", function()
  it("has each number once, in another order for another stream", function()
    local p = ml.permutation(1000, { seed = 1, stream = 1 })
    assert.same(ml.arange(1000):totable(), (p:sort()):totable())
    assert.is_false(pcall(assert.same, p:totable(),
      ml.permutation(1000, { seed = 1, stream = 2 }):totable()))
    assert.same(p:totable(), ml.permutation(1000, { seed = 1, stream = 1 }):totable())
    assert.same({ 0 }, ml.permutation(0):shape())
    assert.equal("bad argument #1 to 'permutation' (n: expected a whole number of at least 0, "
      .. "got -1)", mistake(function() ml.permutation(-1) end))
    assert.equal("permutation: unknown option 'dtype'",
      mistake(function() ml.permutation(3, { dtype = "i32" }) end))
  end)
end)

describe("multinomial", function()
  it("draws in proportion to weights, with replacement", function()
    local n = 100000
    local ids = ml.tensor({ 1, 0, 5, 4, 0 }):multinomial(n,
      { replacement = true, seed = 1, stream = 2 })
    local counts = ids:bincount(nil, 5):totable()
    assert.equal(0, counts[2])
    assert.equal(0, counts[5])
    for k, share in pairs { [1] = 0.1, [3] = 0.5, [4] = 0.4 } do
      assert.near(share * n, counts[k], 4 * math.sqrt(n * share * (1 - share)))
    end
  end)

  it("draws each once without, the first in proportion to the weights", function()
    local weights = ml.tensor({ 1, 2, 1 }):expand(20000, 3)
    local ids = weights:multinomial(3, { seed = 1, stream = 2 })
    assert.same({ 20000, 3 }, ids:shape())
    for r = 1, 20 do assert.same({ 0, 1, 2 }, (ids[r]:sort()):totable()) end
    local first = ids[{ {}, 1 }]:contiguous():bincount():totable()
    for k, share in ipairs { 0.25, 0.5, 0.25 } do
      assert.near(share * 20000, first[k], 4 * math.sqrt(20000 * share * (1 - share)))
    end
    -- the second, after 1: 0 and 2 alike; of all, 0 second is 1/2 * 1/2 + 1/4 * 1/3
    local second = ids[{ {}, 2 }]:contiguous():bincount():totable()
    assert.near((0.25 + 1 / 12) * 20000, second[1], 4 * math.sqrt(20000 * 2 / 9))
  end)

  it("is the same in f32 and f64, and goes on from ml.seed", function()
    local w, name = ml.rand(4, 50, { seed = 1, stream = 1 }), { seed = 3, stream = 4 }
    assert.same(w:multinomial(9, name):totable(), w:to("f64"):multinomial(9, name):totable())
    ml.seed(2)
    local a, b = w:multinomial(3):totable(), w:multinomial(3):totable()
    assert.is_false(pcall(assert.same, a, b))
    ml.seed(2)
    assert.same(a, w:multinomial(3):totable())
    assert.same({ 4, 0 }, w:multinomial(0):shape())
  end)

  it("refuses weights and numbers that cannot be", function()
    assert.equal("bad argument #2 to 'multinomial' (n: 3 of 2 weights above 0 in row 0)",
      mistake(function() ml.tensor({ 1, 0, 1 }):multinomial(3) end))
    assert.equal("bad argument #1 to 'multinomial' (weights: expected finite ones of at least 0 in "
      .. "row 1)", mistake(function() ml.tensor({ { 1, 1 }, { 1, -1 } }):multinomial(1) end))
    assert.equal("bad argument #2 to 'multinomial' (n: 1 of 0 weights above 0 in row 0)",
      mistake(function() ml.zeros(3):multinomial(1, { replacement = true }) end))
    assert.equal("bad argument #2 to 'multinomial' (n: expected at least 0, got -1)",
      mistake(function() ml.ones(3):multinomial(-1) end))
    assert.equal("bad argument #1 to 'multinomial' (weights: expected an axis)",
      mistake(function() ml.tensor(3):multinomial(1) end))
    assert.equal("multinomial: unknown option 'replace'",
      (mistake(function() ml.ones(3):multinomial(1, { replace = true }) end):gsub(",.*", "")))
  end)
end)
