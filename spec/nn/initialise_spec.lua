-- First values: bounds, moments and names of draws.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local sweep = require "spec.support.sweep"
local init = ml.nn.initialise

local function moments(t)
  local x = t:detach():to("f64"):reshape(-1)
  local mean = x:mean():item()
  local sd = math.sqrt((x - mean):square():mean():item())
  local lo, hi = math.huge, -math.huge
  for _, v in ipairs(x:totable()) do lo, hi = math.min(lo, v), math.max(hi, v) end
  return { mean = mean, sd = sd, lo = lo, hi = hi }
end

-- Within 4 standard errors of the mean, and 2 % of the standard deviation.
local function expect(t, mean, sd)
  local m = moments(t)
  assert.is_true(math.abs(m.mean - mean) < 4 * sd / math.sqrt(t:count()), "mean " .. m.mean)
  assert.is_true(math.abs(m.sd / sd - 1) < 0.02, "sd " .. m.sd)
  return m
end

-- [60, 40, 3, 3]: fan_in 360, fan_out 540
local FAN_IN, FAN_OUT = 360, 540
local function weight(dtype) return ml.empty(60, 40, 3, 3, { dtype = dtype }) end
local DRAW = { seed = 5, stream = 7 }

local function with(o)
  for name, v in pairs(DRAW) do o[name] = v end
  return o
end

describe("nn.initialise", function()
  for _, dtype in ipairs { "f32", "f64" } do
    it("draws uniform and normal values, " .. dtype, function()
      local m = expect(init.uniform(weight(dtype), with { lo = -1, hi = 3 }), 1, 4 / math.sqrt(12))
      assert.is_true(m.lo >= -1 and m.hi < 3)
      expect(init.normal(weight(dtype), with { mean = 2, sd = 0.5 }), 2, 0.5)
    end)

    it("by Xavier's rule uses both fans, " .. dtype, function()
      local sd = 2 * math.sqrt(2 / (FAN_IN + FAN_OUT))
      expect(init.xavier_normal(weight(dtype), with { gain = 2 }), 0, sd)
      local m = expect(init.xavier_uniform(weight(dtype), with { gain = 2 }), 0, sd)
      assert.is_true(m.hi < sd * math.sqrt(3) and m.hi > 0.999 * sd * math.sqrt(3))
    end)

    it("by Kaiming's rule uses one, and the gain of the nonlinearity, " .. dtype, function()
      expect(init.kaiming_normal(weight(dtype), with {}), 0, math.sqrt(2 / FAN_IN))
      expect(init.kaiming_normal(weight(dtype), with { mode = "fan_out", nonlinearity = "tanh" }),
        0, 5 / 3 / math.sqrt(FAN_OUT))
      local sd = math.sqrt(2 / 1.25 / FAN_IN)
      local m = expect(init.kaiming_uniform(weight(dtype), with { slope = 0.5 }), 0, sd)
      assert.is_true(m.lo >= -sd * math.sqrt(3) - 1e-6)
    end)

    -- sd of a normal within ± 2: sqrt(1 - 2 · 2 φ(2) / (2 Φ(2) - 1)) = 0.879626
    it("cuts normal values off within their bounds, " .. dtype, function()
      local m = expect(init.trunc_normal(weight(dtype), DRAW), 0, 0.879626)
      assert.is_true(m.lo >= -2 and m.hi <= 2)
      expect(init.trunc_normal(weight(dtype), with { mean = 1, sd = 0.1, lo = 0.8, hi = 1.2 }), 1,
        0.0879626)
      -- far out: nearly exponential of rate 8 + 1 / 8 - …; its mean is φ(8) / (1 - Φ(8)) = 8.121
      m = moments(init.trunc_normal(weight(dtype), with { lo = 8, hi = 100 }))
      assert.is_true(m.lo >= 8 and m.hi < 11 and math.abs(m.mean - 8.1213) < 0.01)
    end)
  end

  it("truncates by the inverse of the distribution", function()
    -- Φ^-1(0.975) = 1.959963984540054, by any table
    local t = ml.tensor({ 0.025, 0.5, 0.975, 0.999 }, "f64")
    local core = require "mlua.ffi"
    core.check(core.C.ml_tensor_truncated_normal(t, 0, 1, -math.huge, math.huge))
    for i, want in ipairs { -1.959963984540054, 0, 1.959963984540054, 3.090232306167813 } do
      assert.is_true(math.abs(t:at(i) - want) < 1e-14 * 4, t:at(i))
    end
  end)

  it("gives the same values for the same seed and stream, others for others", function()
    local function draw(seed, stream)
      return init.trunc_normal(ml.empty(9), { seed = seed, stream = stream }):totable()
    end
    assert.same(draw(1, 2), draw(1, 2))
    assert.not_same(draw(1, 2), draw(1, 3))
    assert.not_same(draw(1, 2), draw(2, 2))
  end)

  it("writes into parameters and views in place", function()
    local l = ml.nn.Linear.new { inputs = 3, outputs = 2 }
    assert.equal(l.weight, init.constant(l.weight, { value = 0.5 }))
    assert.same({ { 0.5, 0.5, 0.5 }, { 0.5, 0.5, 0.5 } }, l.weight:detach():totable())
    local t = ml.zeros(2, 2)
    init.constant(t:select(2, 1), { value = 3 })
    init.uniform(t:select(2, 2), { lo = 5, hi = 6 })
    assert.equal(3, t:at(2, 1))
    assert.is_true(t:at(1, 2) >= 5 and t:at(2, 2) < 6)
    init.kaiming_uniform(ml.empty(0, 3))
  end)

  it("draws orthonormal rows, or columns, of any signs", function()
    if not sweep.have "lapack" then return pending("LAPACK is not installed") end
    for _, sizes in ipairs { { 3, 5 }, { 5, 3 }, { 4, 4 }, { 3, 2, 4 } } do
      local t = init.orthogonal(ml.empty(sizes, { dtype = "f64" }), { gain = 2, seed = 1,
        stream = 2 })
      local a = t:reshape(sizes[1], -1)
      if a:size(1) > a:size(2) then a = a:transpose() end
      local off = a:matmul(a:transpose()) - ml.eye(a:size(1), nil, { dtype = "f64" }) * 4
      assert.is_true(off:abs():max():item() < 1e-12)
    end
    local up = 0
    for k = 1, 400 do
      local t = init.orthogonal(ml.empty(2, 2), { seed = 1, stream = k })
      if t:at(1, 1) > 0 then up = up + 1 end
    end
    assert.is_true(up > 150 and up < 250, up) -- 200 +- 5 standard deviations of 10
    local l = ml.nn.Linear.new { inputs = 3, outputs = 2 }
    assert.equal(l.weight, init.orthogonal(l.weight))
    assert.same({ 0, 2 }, init.orthogonal(ml.empty(0, 2)):shape())
    assert.equal("bad argument #1 to 'orthogonal' (t: expected at least two axes, [outputs, "
      .. "inputs, …], got [3])", mistake(function() init.orthogonal(ml.empty(3)) end))
  end)

  it("knows the gains", function()
    for name, gain in pairs { linear = 1, sigmoid = 1, tanh = 5 / 3, relu = math.sqrt(2),
                              selu = 0.75, leaky_relu = math.sqrt(2 / 1.0001) } do
      assert.equal(gain, init.gain(name))
    end
  end)

  it("refuses mistakes with one line at the user's", function()
    local t = ml.empty(2, 2)
    for message, fn in pairs {
      ["bad argument #1 to 'uniform' (t: expected a tensor, got nil)"] =
        function() init.uniform() end,
      ["bad argument #1 to 'normal' (t: expected a floating-point tensor, got i64)"] =
        function() init.normal(ml.arange(3)) end,
      ["bad argument #2 to 'normal' (unknown option 'std', did you mean 'sd'?)"] =
        function() init.normal(t, { std = 1 }) end,
      ["bad argument #2 to 'normal' (sd: expected at least 0, got -1)"] =
        function() init.normal(t, { sd = -1 }) end,
      ["bad argument #2 to 'uniform' (hi: expected at least lo, 2, got 1)"] =
        function() init.uniform(t, { lo = 2 }) end,
      ["bad argument #2 to 'constant' (value: expected a number, got 'x')"] =
        function() init.constant(t, { value = "x" }) end,
      ["bad argument #1 to 'xavier_normal' (t: expected at least two axes, [outputs, inputs, " ..
        "…], got [3])"] = function() init.xavier_normal(ml.empty(3)) end,
      ["bad argument #2 to 'kaiming_normal' (mode: expected fan_in or fan_out, got 'fan_inn', " ..
        "did you mean 'fan_in'?)"] = function() init.kaiming_normal(t, { mode = "fan_inn" }) end,
      ["bad argument #1 to 'gain' (nonlinearity: expected leaky_relu, linear, relu, selu, " ..
        "sigmoid, tanh, got 'rely', did you mean 'relu'?)"] =
        function() init.kaiming_normal(t, { nonlinearity = "rely" }) end,
    } do
      local ok, got = pcall(fn)
      assert.is_false(ok)
      assert.equal(message, got:match("^[%w_/.]*initialise_spec%.lua:%d+: (.*)$"))
    end
  end)
end)
