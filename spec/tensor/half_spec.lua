-- bf16 and f16, stored and converted: every pattern of bits, rounding, files, Lua's tables.
local ml = require "mlua"
local files = require "spec.support.files"
local mistake = require "spec.support.mistake"
local numpy = require "spec.support.numpy"

local FORMATS = {
  bf16 = { fraction = 7, least = -126, largest = 2 ^ 127 * (2 - 2 ^ -7) },
  f16 = { fraction = 10, least = -14, largest = 65504 },
}

-- What a pattern of bits stands for, by IEEE 754, clause 3.4.
local function value_of(bits, format)
  local unit = 2 ^ format.fraction
  local sign = bits >= 0x8000 and -1 or 1
  local rest = bits % 0x8000
  local exponent, fraction = math.floor(rest / unit), rest % unit
  if exponent == 0x8000 / unit - 1 then return fraction == 0 and sign / 0 or 0 / 0 end
  if exponent == 0 then return sign * fraction / unit * 2 ^ format.least end
  return sign * (1 + fraction / unit) * 2 ^ (exponent - 1 + format.least)
end

-- v rounded once to the nearest value, of two the one with an even last bit.
local function rounded(v, format)
  if v ~= v or v == 0 or v - v ~= 0 then return v end
  if v < 0 then return -rounded(-v, format) end
  local _, e = math.frexp(v)
  local unit = 2 ^ (math.max(e - 1, format.least) - format.fraction)
  local q = v / unit
  local low = math.floor(q)
  if q - low > 0.5 or q - low == 0.5 and low % 2 == 1 then low = low + 1 end
  local result = low * unit
  return result > format.largest and 1 / 0 or result
end

local function same(a, b)
  return a == b and (a ~= 0 or 1 / a == 1 / b) or a ~= a and b ~= b
end

-- Values on, between and just beside those of the format, its ends and beyond.
local function probes(format)
  local list = { 0, -0.0, 1 / 0, -1 / 0, 0 / 0, 1e-60, -1e-60, 1e300, -1e300, 2 ^ -149, 3e38,
                 format.largest, format.largest * (1 + 2 ^ -(format.fraction + 2)), 65519.99,
                 65520 }
  local draws = ml.rand(4000, { dtype = "f64", seed = 7, stream = 1 }):totable()
  for k = 1, #draws, 2 do
    local e = math.floor(draws[k] * 50) + format.least - 12
    local v = value_of(math.floor(draws[k + 1] * 2 ^ format.fraction) + 2 ^ format.fraction,
      format) / 2 ^ format.least * 2 ^ e
    local half = 2 ^ (math.max(e, format.least) - format.fraction - 1)
    for _, beside in ipairs { 0, half, half * (1 + 2 ^ -40), half * (1 - 2 ^ -40), half / 3 } do
      list[#list + 1] = v + beside
      list[#list + 1] = -v - beside
    end
  end
  return list
end

for dtype, format in pairs(FORMATS) do
  describe(dtype, function()
    it("stands for what IEEE 754 says, in all 65536 patterns of bits", function()
      local t = ml.empty(65536, { dtype = dtype })
      local p = t:data()
      for k = 0, 65535 do p[k] = k end
      local f32, f64 = t:to("f32"):totable(), t:to("f64"):totable()
      local listed = t:totable()
      for k = 0, 65535 do
        local v = value_of(k, format)
        if not (same(v, f32[k + 1]) and same(v, f64[k + 1]) and same(v, listed[k + 1])) then
          assert.equal(("bits %x: %.17g"):format(k, v), f32[k + 1])
        end
      end
    end)

    it("comes back as it was from f32 and f64, NaN as NaN", function()
      local t = ml.empty(65536, { dtype = dtype })
      local p = t:data()
      for k = 0, 65535 do p[k] = k end
      for _, wide in ipairs { "f32", "f64" } do
        local back = t:to(wide):to(dtype)
        local q = back:data()
        for k = 0, 65535 do
          local v = value_of(k, format)
          if q[k] ~= k and not (v ~= v and same(v, value_of(q[k], format))) then
            assert.equal(k, q[k])
          end
        end
        assert.equal(65536, back:count())
      end
    end)

    it("rounds f64 once, to the nearest, ties to even", function()
      local list = probes(format)
      local got = ml.tensor(list, dtype):totable()
      for k, v in ipairs(list) do
        if not same(rounded(v, format), got[k]) then
          assert.equal(("%.17g as %.17g"):format(v, rounded(v, format)), got[k])
        end
      end
    end)

    it("rounds f32 the same, in rows with and without gaps", function()
      local wide = ml.tensor(probes(format)) -- f32
      local pairs_of = ml.zeros(wide:count(), 2)
      pairs_of["..., 2"] = wide
      local want, got = wide:totable(), wide:to(dtype):totable()
      local spaced = pairs_of["..., 2"]:to(dtype):totable()
      for k, v in ipairs(want) do
        if not (same(rounded(v, format), got[k]) and same(got[k], spaced[k])) then
          assert.equal(("%.17g as %.17g"):format(v, rounded(v, format)), got[k])
        end
      end
    end)

    it("is made, filled, set, read, copied and printed", function()
      local t = ml.full(1.5, 2, 2, { dtype = dtype })
      t:put(-2, 1, 2)
      t[2] = ml.tensor { 0.1, 1 / 0 }
      assert.equal(-2, t:at(1, 2))
      assert.equal(rounded(0.1, format), t[{ 2, 1 }]:item())
      assert.equal((" 1.5 -2.0\n 0.1  inf   [%s 2×2 cpu]"):format(dtype), tostring(t))
      assert.same({ { 1.5, -2 }, { rounded(0.1, format), 1 / 0 } }, t:clone():totable())
      assert.same({ { 1, -2 }, { 0, 2 ^ 31 - 1 } }, t:to("i32"):totable())
      assert.same({ 0, 1, 2 }, ml.arange(3, dtype):totable())
      assert.same({ true, false }, ml.tensor({ 0.5, 0 }, dtype):to("bool"):totable())
      assert.equal(0, ml.zeros({ dtype = dtype }):item())
    end)

    it("goes through a safetensors file, bit by bit", function()
      local folder = files.folder()
      local t = ml.tensor({ 1, -0.1, 0 / 0, 1 / 0, 2 ^ -20 }, dtype)
      assert.is_true(ml.safetensors.save(folder .. "/a", { t = t }))
      local back = assert(ml.safetensors.load(folder .. "/a")).t
      assert.equal(dtype, back:dtype())
      for k = 0, 4 do assert.equal(t:data()[k], back:data()[k]) end
      files.remove(folder)
    end)

    it("is drawn as f64 is, rounded", function()
      local o = { dtype = "f64", seed = 3, stream = 4 }
      local wide = ml.randn(50, o)
      o.dtype = dtype
      assert.same(wide:to(dtype):totable(), ml.randn(50, o):totable())
    end)
  end)
end

describe("16-bit floats", function()
  it("hold whole numbers up to 2^8 and 2^11 for arange", function()
    assert.equal(256, ml.arange(257, "bf16"):at(-1))
    assert.equal(2048, ml.arange(2049, "f16"):at(-1))
    assert.equal("arange: 258 numbers as 'bf16'", mistake(function() ml.arange(258, "bf16") end))
    assert.equal("arange: 2050 numbers as 'f16'", mistake(function() ml.arange(2050, "f16") end))
  end)

  it("convert into each other, through values that both hold or round", function()
    assert.same({ 1 / 0, 0, 1.5 }, ml.tensor({ 1e30, 1e-30, 1.5 }, "bf16"):to("f16"):totable())
    assert.same({ 65536, 1 }, ml.tensor({ 65504, 1.001 }, "f16"):to("bf16"):totable())
  end)
end)

describe("f16 and NumPy", function()
  it("agree on rounding and on files", function()
    local folder = files.folder()
    local list = probes(FORMATS.f16)
    assert(ml.npy.save(folder .. "/f64.npy", ml.tensor(list, "f64")))
    assert(ml.npy.save(folder .. "/f32.npy", ml.tensor(list)))
    assert(ml.npy.save(folder .. "/f16.npy", ml.tensor(list, "f16")))
    assert(ml.npy.save(folder .. "/from32.npy", ml.tensor(list):to("f16")))
    local out, why = numpy.run([[
np.seterr(all="ignore")
load = lambda name: np.load(sys.argv[1] + "/" + name + ".npy")
same = lambda a, b: a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
print(same(load("f64").astype(np.float16), load("f16")),
      same(load("f32").astype(np.float16), load("from32")))
np.save(sys.argv[1] + "/back.npy", np.array([1.5, -2, 65504], np.float16))
]], { folder })
    local back = out and ml.npy.load(folder .. "/back.npy")
    local shown = back and tostring(back)
    files.remove(folder)
    if not out then return pending(why) end
    assert.equal("True True\n", out)
    assert.equal("f16", back:dtype())
    assert.equal(" 1.50e+00 -2.00e+00  6.55e+04   [f16 3 cpu]", shown)
  end)
end)
