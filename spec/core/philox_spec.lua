-- Philox 4x32-10 and the draws named by (seed, stream, element).
local ffi = require "ffi"
local core = require "mlua.ffi"
local ml = require "mlua"

local words = ffi.new("uint32_t[4]")

local function philox(seed, stream, counter)
  core.C.ml_philox(seed, stream, counter, words)
  return ("%08x %08x %08x %08x"):format(words[0], words[1], words[2], words[3])
end

describe("philox", function()
  -- Random123's known answers, kat_vectors, philox 4x32 10: counter (4 words), key (2 words).
  -- Ours: counter low and high, stream low and high; key: the seed's halves.
  it("gives the published words for counter and key of zeros", function()
    assert.equal("6627e8d5 e169c58d bc57ac4c 9b00dbd8", philox(0, 0, 0))
  end)

  it("gives the published words for all ones", function()
    local ones = 0xffffffffffffffffULL
    assert.equal("408f276d 41c83b0e a20bc7c6 6d5451fd", philox(ones, ones, ones))
  end)

  it("gives the published words for the digits of pi", function()
    assert.equal("d16cfe09 94fdcceb 5001e420 24126ea1",
      philox(0x299f31d0a4093822ULL, 0x0370734413198a2eULL, 0x85a308d3243f6a88ULL))
  end)
end)

describe("uniform values", function()
  it("are, in f32, the upper 24 bits of word i % 4 of counter i / 4", function()
    local n = 4 * 37 + 3 -- more than a block of counters, and a rest
    local t = ml.rand(n, { seed = 5, stream = 9 })
    for i = 0, n - 1 do
      philox(5, 9, math.floor(i / 4))
      assert.equal(math.floor(words[i % 4] / 256) / 2 ^ 24, t:at(i + 1))
    end
  end)

  it("are, in f64, 53 bits of two words", function()
    local t = ml.rand(5, { seed = 5, stream = 9, dtype = "f64" })
    philox(5, 9, 1)
    local high, low = tonumber(words[2]), tonumber(words[3])
    assert.equal((high * 2 ^ 21 + math.floor(low / 2 ^ 11)) / 2 ^ 53, t:at(4))
  end)

  it("stay below the upper bound where rounding would reach it", function()
    -- f32 has two values there
    local t = ml.uniform(1, 1 + 2 ^ -22, 100000, { seed = 1, stream = 1 })
    local p, low, high = t:data(), 2, 0
    for i = 0, t:count() - 1 do low, high = math.min(low, p[i]), math.max(high, p[i]) end
    assert.equal(1, low)
    assert.equal(1 + 2 ^ -23, high)
  end)

  it("are all the bound where both bounds are one", function()
    assert.same({ 3, 3, 3, 3, 3 }, ml.uniform(3, 3, 5):totable())
  end)

  it("do not depend on the number of threads or on the length", function()
    local n, before = 3 * 65536 + 5, ml.threads()
    local function at(threads, count, draw)
      ml.threads(threads)
      return draw(count, { seed = 3, stream = 4 })
    end
    for _, draw in ipairs { ml.rand, ml.randn } do
      local a, b, c = at(1, n, draw), at(2, n, draw), at(1, 1001, draw)
      local p, q, r, differ = a:data(), b:data(), c:data(), 0
      for i = 0, n - 1 do
        if p[i] ~= q[i] or i < 1001 and p[i] ~= r[i] then differ = differ + 1 end
      end
      assert.equal(0, differ)
    end
    ml.threads(before)
  end)
end)

describe("normal values", function()
  it("are, in f32, Box and Muller's of pairs of words, to 1e-6", function()
    local n = 4 * 50
    local t = ml.normal(0, 1, n, { seed = 11, stream = 2 })
    local worst = 0
    for i = 0, n - 1, 2 do
      philox(11, 2, math.floor(i / 4))
      local a, b = tonumber(words[i % 4]), tonumber(words[i % 4 + 1])
      local u = (math.floor(a / 2) - math.floor(a / 2) % 2 + 1) / 2 ^ 31
      local radius, angle = math.sqrt(-2 * math.log(u)), 2 * math.pi * b / 2 ^ 32
      worst = math.max(worst, math.abs(radius * math.cos(angle) - t:at(i + 1)),
        math.abs(radius * math.sin(angle) - t:at(i + 2)))
    end
    assert.is_true(worst < 1e-6, "off by " .. worst)
  end)

  it("have the moments of a normal distribution", function()
    local n, sums = 400000, { 0, 0, 0, 0 }
    local p = ml.normal(2, 3, n, { seed = 8, stream = 1 })
    local v = p:data()
    for i = 0, n - 1 do
      local z = (v[i] - 2) / 3
      for k = 1, 4 do sums[k] = sums[k] + z ^ k / n end
    end
    assert.is_not_nil(p)
    for k, want in ipairs { 0, 1, 0, 3 } do -- standard errors: 0.0016, 0.0022, 0.0061, 0.0155
      assert.is_true(math.abs(sums[k] - want) < 5 * ({ 0.0016, 0.0022, 0.0061, 0.0155 })[k],
        ("moment %d: %g"):format(k, sums[k]))
    end
  end)
end)
