-- Attention and transformer blocks: by hand, masks, mistakes; beside PyTorch in torch_spec.lua.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local nn = ml.nn

local function near(a, b, tolerance)
  assert.same(a:shape(), b:shape())
  local worst = 0
  for _, v in ipairs((a - b):abs():reshape(-1):totable()) do worst = math.max(worst, v) end
  assert.is_true(worst <= (tolerance or 1e-6), ("differs by %g"):format(worst))
end

local function set(t, values) t:copy(ml.tensor(values)) end

describe("MultiheadAttention", function()
  it("with weights of 1 averages what it sees, by hand", function()
    local m = nn.MultiheadAttention.new { dim = 1, heads = 1 }
    set(m.in_proj_weight, { { 0 }, { 0 }, { 1 } }) -- all scores 0: the mean of the values
    set(m.out_proj.weight, { { 2 } })
    local x = ml.tensor { { { 1 } }, { { 3 } }, { { 8 } } } -- [3, 1, 1]
    near(ml.tensor { { { 8 } }, { { 8 } }, { { 8 } } }, m(x))
    near(ml.tensor { { { 2 } }, { { 4 } }, { { 8 } } }, m(x, nil, nil, { causal = true }))
    local keys = ml.tensor { { true, false, true } }
    near(ml.tensor { { { 9 } }, { { 9 } }, { { 9 } } }, m(x, nil, nil, { key_mask = keys }))
    near(ml.tensor { { { 2 } }, { { 2 } }, { { 9 } } },
      m(x, nil, nil, { key_mask = keys, causal = true }))
  end)

  it("gives a query that sees no key the bias alone, and its gradients are numbers", function()
    local m = nn.MultiheadAttention.new { dim = 2, heads = 2 }
    set(m.out_proj.bias, { 5, 6 })
    local x = ml.randn(3, 1, 2, { seed = 1, stream = 1 }):requires_grad()
    local y = m(x, nil, nil, { key_mask = ml.tensor { { false, false, false } } })
    near(ml.tensor { 5, 6 }, y[2][1])
    y:sum():backward()
    assert.equal(0, x:grad():isnan():to("i64"):sum():item())
  end)

  it("takes a mask that broadcasts over batch and heads, of truths or of floats", function()
    local m = nn.MultiheadAttention.new { dim = 4, heads = 2, batch_first = true }
    local x = ml.randn(2, 3, 4, { seed = 1, stream = 1 })
    local see = ml.tensor { { true, false, false }, { true, true, false }, { true, true, true } }
    local low = ml.where(see, 0, -math.huge)
    local y = m(x, nil, nil, { causal = true })
    near(y, m(x, nil, nil, { mask = see }))
    near(y, m(x, nil, nil, { mask = low }))
    near(y, m(x, nil, nil, { mask = see:unsqueeze(1):unsqueeze(1):expand(2, 2, 3, 3) }))
  end)

  it("drops parts of the attention in training only", function()
    local m = nn.MultiheadAttention.new { dim = 4, heads = 2, dropout = 0.5, seed = 1, stream = 1 }
    local x = ml.randn(5, 2, 4, { seed = 1, stream = 1 })
    assert.is_true((m(x) - m(x)):abs():sum():item() > 0)
    m:eval()
    near(m(x), m(x), 0)
  end)

  it("with rotary positions sees distances, not places", function()
    local m = nn.MultiheadAttention.new { dim = 8, heads = 2, rotary = true, batch_first = true,
                                          dtype = "f64" }
    local x = ml.randn(1, 6, 8, { dtype = "f64", seed = 1, stream = 1 })
    local function last_two(t) -- rows 5 and 6 see rows 3 to 6 alone
      local rows = {}
      for i = 1, t do
        rows[i] = {}
        for j = 1, t do rows[i][j] = j > t - 4 end
      end
      return m(x:narrow(2, 7 - t, 6), nil, nil, { mask = ml.tensor(rows) }):narrow(2, t - 1, t)
    end
    near(last_two(6), last_two(4), 1e-12)
  end)

  it("refuses wrong options and inputs at their line, with its path", function()
    local m = nn.MultiheadAttention.new { dim = 4, heads = 2 }
    nn.Sequential.new { { "see", m } }:name_paths()
    local x = ml.ones(3, 2, 4)
    for message, fn in pairs {
      ["bad argument #1 to 'MultiheadAttention' (heads: expected a divisor of dim, 4, got 3)"] =
        function() nn.MultiheadAttention.new { dim = 4, heads = 3 } end,
      ["bad argument #1 to 'MultiheadAttention' (dim: expected an integer, got nil)"] =
        function() nn.MultiheadAttention.new { heads = 3 } end,
      ["see: bad argument #1 to 'MultiheadAttention' (q: expected [L, B, 4], got [3, 2, 5])"] =
        function() m(ml.ones(3, 2, 5)) end,
      ["see: bad argument #2 to 'MultiheadAttention' (k: expected a batch of 2, as q, got 1)"] =
        function() m(x, ml.ones(3, 1, 4)) end,
      ["see: bad argument #3 to 'MultiheadAttention' (v: expected 3 rows in a batch of 2, as k, "
        .. "got 4 in 2)"] = function() m(x, x, ml.ones(4, 2, 4)) end,
      ["see: bad argument #4 to 'MultiheadAttention' (unknown option 'casual', did you mean "
        .. "'causal'?)"] = function() m(x, x, x, { casual = true }) end,
      ["see: bad argument #4 to 'MultiheadAttention' (key_mask: expected bool [2, 3], got bool "
        .. "[3])"] = function() m(x, x, x, { key_mask = ml.tensor { true, true, true } }) end,
      ["see: bad argument #4 to 'MultiheadAttention' (weights: expected mean or heads, "
        .. "got 'all')"] = function() m(x, x, x, { weights = "all" }) end,
      ["see: bad argument #4 to 'MultiheadAttention' (mask: expected a tensor, got 1)"] =
        function() m(x, x, x, { mask = 1 }) end,
    } do
      assert.equal(message, mistake(fn))
    end
  end)
end)

describe("weights of attention", function()
  local function make(o)
    o.dim, o.heads, o.seed, o.stream, o.batch_first = 8, 2, 1, 3, true
    return nn.MultiheadAttention.new(o)
  end
  local x = ml.randn(3, 4, 8, { seed = 1, stream = 1 })
  local k = ml.randn(3, 5, 8, { seed = 1, stream = 2 })
  local seen = ml.tensor { { true, false, true, true, true }, { false, false, false, false, false },
                           { true, true, false, true, true }, { false, true, true, true, false } }
  local key_mask = ml.ones(3, 5):to "bool"
  key_mask[1][2] = 0
  local masks = { {}, { causal = true }, { mask = seen }, { key_mask = key_mask },
    { mask = ml.randn(2, 4, 5, { seed = 1, stream = 5 }), causal = true, key_mask = key_mask } }

  it("come beside the same results, rows of 1 or, where nothing is seen, of 0", function()
    local m = make {}
    for i, o in ipairs(masks) do
      local want = m(x, k, k, o)
      local given = { weights = "heads" }
      for name, v in pairs(o) do given[name] = v end
      local y, w = m(x, k, k, given)
      near(want, y)
      assert.same({ 3, 2, 4, 5 }, w:shape())
      for b = 1, 3 do
        for l = 1, 4 do
          local blind = i == 3 and l == 2
          assert.near(blind and 0 or 1, w[b][1][l]:sum():item(), 1e-6)
        end
      end
      given.weights = "mean"
      local _, mean = m(x, k, k, given)
      near(w:mean(2), mean)
    end
    assert.equal(1, select("#", m(x, k, k)))
  end)

  it("have the gradients of the one operation, and its dropout", function()
    local grads = {}
    for n, weights in ipairs { "mean", false } do
      local m = make { dropout = 0.4 }
      local y = m(x, k, k, { mask = seen, weights = weights or nil })
      y:square():sum():backward()
      grads[n] = { y }
      for _, p in ipairs(m:parameters()) do table.insert(grads[n], p:grad()) end
    end
    for i = 1, #grads[1] do near(grads[1][i], grads[2][i], 1e-5) end
  end)

  it("hand a gradient to a mask of floats, as differences have it", function()
    local q, v = x:to("f64"), k:to("f64")
    local mask = ml.randn(4, 5, { dtype = "f64", seed = 1, stream = 6 }):requires_grad()
    local o = { mask = mask, causal = true }
    local function loss()
      return nn.functional.scaled_dot_product_attention(q, v, v, o):square():sum()
    end
    loss():backward()
    local g, e = mask:grad(), 1e-6
    o.mask = mask:detach()
    for i = 1, 4 do
      for j = 1, 5 do
        local at = mask:at(i, j)
        o.mask:put(at + e, i, j)
        local up = loss():item()
        o.mask:put(at - e, i, j)
        local slope = (up - loss():item()) / (2 * e)
        o.mask:put(at, i, j)
        assert.near(slope, g:at(i, j), 1e-6)
      end
    end
    local m, bias = make {}, ml.zeros(4, 4):requires_grad()
    m(x, nil, nil, { mask = bias }):square():sum():backward()
    assert.is_true(bias:grad():abs():sum():item() > 0)
  end)
end)

describe("encodings of positions", function()
  it("sinusoidal: sines and cosines of falling frequencies are added", function()
    local m = nn.SinusoidalEncoding.new { length = 5, dim = 4, batch_first = true }
    local y = m(ml.ones(2, 3, 4))
    near(ml.tensor { 1 + math.sin(2), 1 + math.cos(2), 1 + math.sin(0.02), 1 + math.cos(0.02) },
      y[2][3])
    assert.same({}, m:parameters())
    assert.equal("bad argument #1 to 'SinusoidalEncoding' (x: expected at most 5 positions, got 6)",
      mistake(function() m(ml.ones(1, 6, 4)) end))
  end)

  it("learned: a row for each position, which gets the gradients of its uses", function()
    local m = nn.LearnedEncoding.new { length = 3, dim = 2 }
    set(m.weight, { { 1, 2 }, { 3, 4 }, { 5, 6 } })
    local y = m(ml.zeros(2, 4, 2)) -- [L, B, dim]
    assert.same({ 3, 4 }, y[2][4]:totable())
    y:sum():backward()
    assert.same({ { 4, 4 }, { 4, 4 }, { 0, 0 } }, m.weight:grad():totable())
  end)

  it("rotary: pairs are turned by position times frequency, lengths stay", function()
    local m = nn.Rotary.new { dim = 2 }
    local y = m(ml.tensor { { 1, 0 }, { 1, 0 }, { 0, 2 } })
    near(ml.tensor { { 1, 0 }, { math.cos(1), math.sin(1) },
                     { -2 * math.sin(2), 2 * math.cos(2) } }, y)
    near(y:narrow(1, 2, 3), m(ml.tensor { { 1, 0 }, { 0, 2 } }, 1))
    assert.equal("bad argument #1 to 'Rotary' (dim: expected an even number, got 3)",
      mistake(function() nn.Rotary.new { dim = 3 } end))
  end)
end)

describe("transformer blocks", function()
  local function options(more)
    local o = { dim = 8, heads = 2, hidden = 16, dropout = 0, seed = 1, stream = 3 }
    for k, v in pairs(more or {}) do o[k] = v end
    return o
  end

  it("a stack is its layers, one after the other, then its norm", function()
    local m = nn.TransformerEncoder.new(options { layers = 2, norm_first = true })
    local x = ml.randn(3, 2, 8, { seed = 1, stream = 1 })
    near(m(x, { causal = true }), m.norm(m.layers[2](m.layers[1](x, { causal = true }),
      { causal = true })), 0)
    assert.is_nil(nn.TransformerEncoder.new(options { layers = 1 }).norm)
    assert.is_true((m.layers[1].linear1.weight - m.layers[2].linear1.weight):abs():sum():item() > 1)
  end)

  it("a causal encoder's rows do not depend on later ones", function()
    local m = nn.TransformerEncoder.new(options { layers = 2, batch_first = true, rotary = true })
    local x = ml.randn(2, 5, 8, { seed = 1, stream = 1 })
    near(m(x, { causal = true }):narrow(2, 1, 3), m(x:narrow(2, 1, 3), { causal = true }), 1e-5)
  end)

  it("a decoder sees its memory", function()
    local m = nn.TransformerDecoder.new(options { layers = 2 })
    local x, memory = ml.randn(3, 2, 8, { seed = 1, stream = 1 }), ml.randn(4, 2, 8,
      { seed = 1, stream = 2 }):requires_grad()
    local y = m(x, memory, { causal = true })
    assert.same({ 3, 2, 8 }, y:shape())
    y:square():sum():backward()
    assert.is_true(memory:grad():abs():sum():item() > 0)
  end)

  it("take an activation of one's own", function()
    local m = nn.TransformerEncoderLayer.new(options { activation = function(x) return x * 0 end })
    m.linear2.bias:fill(0)
    local x = ml.randn(3, 2, 8, { seed = 1, stream = 1 })
    near(m.norm2(m.norm1(x + m.self_attn(x))), m(x))
  end)

  it("drop in training only, and save what they counted", function()
    local m = nn.TransformerEncoder.new(options { layers = 1, dropout = 0.5 })
    local x = ml.randn(3, 2, 8, { seed = 1, stream = 1 })
    assert.is_true((m(x) - m(x)):abs():sum():item() > 0)
    local again = nn.TransformerEncoder.new(options { layers = 1, dropout = 0.5 })
    assert.is_true(again:load_state(m:state()))
    near(m(x), again(x), 0)
    m:eval()
    near(m(x), m(x), 0)
  end)

  it("refuse wrong options and inputs at their line", function()
    local m = nn.TransformerEncoder.new(options { layers = 1 }):name_paths()
    local d = nn.TransformerDecoder.new(options { layers = 1 })
    for message, fn in pairs {
      ["bad argument #1 to 'TransformerEncoderLayer' (activation: expected relu, gelu, silu or a "
        .. "function, got 'tanh')"] =
        function() nn.TransformerEncoderLayer.new(options { activation = "tanh" }) end,
      ["bad argument #1 to 'TransformerEncoder' (layers: expected an integer, got nil)"] =
        function() nn.TransformerEncoder.new(options()) end,
      ["bad argument #1 to 'TransformerDecoder' (heads: expected a divisor of dim, 8, got 3)"] =
        function() nn.TransformerDecoder.new(options { layers = 1, heads = 3 }) end,
      ["layers.1.self_attn: bad argument #1 to 'MultiheadAttention' (q: expected [L, B, 8], got "
        .. "[3, 8])"] = function() m(ml.ones(3, 8)) end,
      ["bad argument #3 to 'TransformerDecoderLayer' (unknown option 'memory')"] =
        function() d(ml.ones(3, 2, 8), ml.ones(3, 2, 8), { memory = 1 }) end,
    } do
      assert.equal(message, mistake(fn))
    end
  end)
end)
