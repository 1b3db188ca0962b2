-- Recurrent layers by hand, their states, their mistakes; beside PyTorch in torch_spec.lua.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local nn = ml.nn

local function same(a, b, title)
  assert.same(a:shape(), b:shape(), title)
  assert.same(a:contiguous():totable(), b:contiguous():totable(), title)
end

-- Not to the bit: matrix products of few rows sum in another order.
local function near(a, b)
  assert.same(a:shape(), b:shape())
  assert.is_true((a - b):abs():sum():item() < 1e-5)
end

describe("recurrent layers", function()
  it("RNN adds up what it saw, by hand", function()
    local m = nn.RNN.new { inputs = 1, hidden = 1, activation = "relu", bias = false }
    m.weight_ih_l0:fill(1)
    m.weight_hh_l0:fill(2)
    local y, h = m(ml.tensor { { 1 }, { -1 }, { -3 } })
    assert.same({ { 1 }, { 1 }, { 0 } }, y:totable()) -- 1; -1 + 2; -3 + 2
    assert.same({ { 0 } }, h:totable())
  end)

  it("LSTM, by hand: all weights 0 but the biases of i, g and o", function()
    local m = nn.LSTM.new { inputs = 1, hidden = 1, dtype = "f64" }
    for _, p in ipairs(m:parameters()) do p:fill(0) end
    m.bias_ih_l0:copy(ml.tensor({ 100, 100, 0.5, 100 }, "f64")) -- i, f, o are 1
    local y, h, c = m(ml.zeros(3, 1, 1, { dtype = "f64" }))
    local g = math.tanh(0.5)
    for t = 1, 3 do
      assert.is_true(math.abs(y:at(t, 1, 1) - math.tanh(t * g)) < 1e-15)
    end
    assert.equal(y:at(3, 1, 1), h:item())
    assert.is_true(math.abs(c:item() - 3 * g) < 1e-15)
  end)

  it("GRU, by hand: an update gate of 1 keeps the state, one of 0 takes the new one", function()
    local m = nn.GRU.new { inputs = 1, hidden = 1 }
    for _, p in ipairs(m:parameters()) do p:fill(0) end
    m.bias_ih_l0:copy(ml.tensor { 0, 100, 3 })
    assert.equal(7, (m(ml.zeros(4, 1, 1), ml.full(7, 1, 1, 1))):at(4, 1, 1))
    m.bias_ih_l0:copy(ml.tensor { 100, -100, 0 })
    m.bias_hh_l0:copy(ml.tensor { 0, 0, 0.5 })
    local y = m(ml.zeros(4, 1, 1), ml.full(7, 1, 1, 1)) -- tanh(1 * 0.5)
    assert.is_true(math.abs(y:at(4, 1, 1) - math.tanh(0.5)) < 1e-6)
  end)

  for _, name in ipairs { "RNN", "GRU", "LSTM" } do
    local function make(o)
      o.inputs, o.hidden, o.seed, o.stream = 3, 5, 4, 2
      return nn[name].new(o)
    end

    it(name .. " goes on from the state that it returned", function()
      for _, batch in ipairs { 2, 11 } do
        local m, x = make { layers = 2 }, ml.randn(6, batch, 3, { seed = 1, stream = 1 })
        local y, h, c = m(x)
        local y1, h1, c1 = m(x:narrow(1, 1, 4))
        local y2, h2, c2 = m(x:narrow(1, 5, 6), h1, c1)
        near(y, ml.cat({ y1, y2 }, 1))
        near(h, h2)
        if c then near(c, c2) end
      end
    end)

    it(name .. " backwards sees the sequence turned round", function()
      local m, x = make { bidirectional = true }, ml.randn(4, 2, 3, { seed = 1, stream = 1 })
      local turned = make {}
      for _, p in ipairs(turned:named_parameters()) do
        p.tensor:copy(m[p.name .. "_reverse"])
      end
      local y, last = m(x), {}
      for t = 4, 1, -1 do last[#last + 1] = x:narrow(1, t, t) end
      local z = turned(ml.cat(last, 1))
      for t = 1, 4 do
        same(y:select(1, t):narrow(2, 6, 10), z:select(1, 5 - t))
      end
    end)

    it(name .. "'s cell is one step of it", function()
      local m, cell = make {}, nn[name .. "Cell"].new { inputs = 3, hidden = 5 }
      for _, p in ipairs(cell:named_parameters()) do p.tensor:copy(m[p.name .. "_l0"]) end
      local x, h, c = ml.randn(3, 2, 3, { seed = 1, stream = 1 }), nil, nil
      local y = m(x)
      for t = 1, 3 do
        h, c = cell(x:select(1, t), h, c)
        same(y:select(1, t), h)
      end
      assert.equal(name == "LSTM", c ~= nil)
    end)

    it(name .. " takes one sequence without a batch, and batches first", function()
      local m, x = make {}, ml.randn(4, 2, 3, { seed = 1, stream = 1 })
      local first = make { batch_first = true }
      local y, h, c = m(x)
      local z, k = first(x:transpose(1, 2))
      same(y:transpose(1, 2), z)
      same(h, k)
      local one, l, d = m(x:select(2, 2))
      same(y:select(2, 2), one)
      same(h:select(2, 2), l)
      if c then same(c:select(2, 2), d) end
    end)

    it(name .. " ends each sequence at its length, as if it were alone", function()
      for _, o in ipairs { {}, { layers = 2, bidirectional = true }, { batch_first = true } } do
        local m, lengths = make(o), { 2, 5, 1 }
        local x = ml.randn(5, 3, 3, { seed = 1, stream = 1 })
        local padded = x:clone()
        padded[{ { 3, 5 }, 1 }] = 0 / 0 -- what is behind an end counts for nothing
        padded[{ { 2, 5 }, 3 }] = 1e30
        padded:requires_grad()
        local all = (o.layers or 1) * (o.bidirectional and 2 or 1)
        local h0 = ml.randn(all, 3, 5, { seed = 1, stream = 2 })
        local c0 = name == "LSTM" and ml.randn(all, 3, 5, { seed = 1, stream = 3 }) or nil
        local function run(x_, h_, c_, options)
          if m.batch_first then x_ = x_:transpose(1, 2) end
          local y, h, c
          if name == "LSTM" then y, h, c = m(x_, h_, c_, options) else y, h = m(x_, h_, options) end
          return m.batch_first and y:transpose(1, 2) or y, h, c
        end
        local y, h, c = run(padded, h0, c0, { lengths = lengths })
        y:square():sum():add(h:sum()):backward()
        local weight, given = m.weight_hh_l0:grad():clone(), padded:grad()
        m:zero_grad()
        for b, n in ipairs(lengths) do
          local one = x:narrow(1, 1, n):narrow(2, b, b):clone():requires_grad()
          local y1, h1, c1 = run(one, h0:narrow(2, b, b), c0 and c0:narrow(2, b, b))
          near(y1, y:narrow(1, 1, n):narrow(2, b, b))
          near(h1, h:narrow(2, b, b))
          if c then near(c1, c:narrow(2, b, b)) end
          if n < 5 then
            assert.equal(0, y:narrow(1, n + 1, 5):narrow(2, b, b):abs():sum():item())
            assert.equal(0, given:narrow(1, n + 1, 5):narrow(2, b, b):abs():sum():item())
          end
          y1:square():sum():add(h1:sum()):backward()
          near(one:grad(), given:narrow(1, 1, n):narrow(2, b, b))
        end
        near(m.weight_hh_l0:grad(), weight)
      end
    end)

    it(name .. " takes lengths as a tensor, in a captured step too", function()
      local m, x = make {}, ml.randn(4, 2, 3, { seed = 1, stream = 1 })
      local function run(lengths, given)
        if name == "LSTM" then return (m(given, nil, nil, { lengths = lengths })) end
        return (m(given, nil, { lengths = lengths }))
      end
      local step = ml.capture(function(lengths) return run(lengths, x) end)
      for _, lengths in ipairs { { 4, 2 }, { 1, 3 } } do
        local want = run(lengths, x)
        same(want, run(ml.tensor(lengths, "i32"), x))
        same(want, step(ml.tensor(lengths, "i64")))
      end
    end)

    it(name .. " drops between layers in training only", function()
      local m, x = make { layers = 2, dropout = 0.5 }, ml.randn(4, 2, 3, { seed = 1, stream = 1 })
      local a, b = m(x), m(x)
      assert.is_true((a - b):abs():sum():item() > 0)
      m:eval()
      same((m(x)), (m(x)))
      assert.is_nil(make { dropout = 0.5 }.dropout)
    end)

    it(name .. " gives the same bits for any number of threads", function()
      local before = ml.threads()
      finally(function() ml.threads(before) end)
      for _, batch in ipairs { 3, 40 } do
        local all = {}
        for threads = 1, 2 do
          ml.threads(threads)
          local m = nn[name].new { inputs = 8, hidden = 96, seed = 1, stream = 1 }
          local y = m(ml.randn(5, batch, 8, { seed = 1, stream = 9 }))
          y:square():sum():backward()
          all[threads] = { y:contiguous():totable(), m.weight_hh_l0:grad():totable(),
                           m.bias_hh_l0:grad():totable() }
        end
        assert.same(all[1], all[2])
      end
    end)
  end

  it("begin within the root of 1 / hidden, the same for the same seed and stream", function()
    local o = { inputs = 3, hidden = 16, seed = 3, stream = 5 }
    local a, b = nn.LSTM.new(o), nn.LSTM.new(o)
    for _, p in ipairs(a:named_parameters()) do
      local most = 0
      for _, v in ipairs(p.tensor:reshape(-1):totable()) do most = math.max(most, math.abs(v)) end
      assert.is_true(most <= 0.25 and most > 0.2, p.name)
      same(p.tensor, b[p.name])
    end
    assert.same({ 64, 16 }, a.weight_hh_l0:shape())
  end)

  it("are known by their sizes", function()
    assert.equal("GRU 3 -> 4, 2 layers, both ways",
      tostring(nn.GRU.new { inputs = 3, hidden = 4, layers = 2, bidirectional = true }))
    assert.equal("LSTMCell 3 -> 4", tostring(nn.LSTMCell.new { inputs = 3, hidden = 4 }))
  end)

  it("refuse wrong options at their line", function()
    for message, fn in pairs {
      ["bad argument #1 to 'LSTM' (inputs: expected an integer, got nil)"] =
        function() nn.LSTM.new { hidden = 1 } end,
      ["bad argument #1 to 'GRU' (layers: expected at least 1, got 0)"] =
        function() nn.GRU.new { inputs = 1, hidden = 1, layers = 0 } end,
      ["bad argument #1 to 'RNN' (activation: expected tanh or relu, got 'gelu')"] =
        function() nn.RNN.new { inputs = 1, hidden = 1, activation = "gelu" } end,
      ["bad argument #1 to 'GRU' (unknown option 'activation')"] =
        function() nn.GRU.new { inputs = 1, hidden = 1, activation = "relu" } end,
      ["bad argument #1 to 'GRU' (dropout: expected 0 to 1, got 2)"] =
        function() nn.GRU.new { inputs = 1, hidden = 1, dropout = 2 } end,
    } do
      assert.equal(message, mistake(fn))
    end
  end)

  it("say what does not fit, with the layer's path", function()
    local m = nn.LSTM.new { inputs = 3, hidden = 4 }
    local chain = nn.Sequential.new { { "memory", m } }:name_paths()
    local first = nn.GRU.new { inputs = 3, hidden = 4, batch_first = true }
    local cell = nn.LSTMCell.new { inputs = 3, hidden = 4 }
    for message, fn in pairs {
      ["memory: bad argument #1 to 'LSTM' (x: expected [T, B, 3], got [5, 2, 4])"] =
        function() chain(ml.ones(5, 2, 4)) end,
      ["bad argument #1 to 'GRU' (x: expected [B, T, 3], got 3)"] = function() first(3) end,
      ["memory: bad argument #1 to 'LSTM' (x: expected at least one step, got none)"] =
        function() m(ml.ones(0, 2, 3)) end,
      ["memory: bad argument #2 to 'LSTM' (h0: expected [1, 2, 4], got [2, 4])"] =
        function() m(ml.ones(5, 2, 3), ml.ones(2, 4)) end,
      ["memory: bad argument #3 to 'LSTM' (c0: expected [1, 2, 4], got 1)"] =
        function() m(ml.ones(5, 2, 3), nil, 1) end,
      ["bad argument #3 to 'GRU' (expected a table of options, got a tensor)"] =
        function() first(ml.ones(2, 5, 3), nil, ml.ones(1, 2, 4)) end,
      ["bad argument #3 to 'GRUCell' (expected none, got [2, 4])"] = function()
        nn.GRUCell.new { inputs = 3, hidden = 4 }(ml.ones(2, 3), nil, ml.ones(2, 4))
      end,
      ["bad argument #3 to 'GRU' (unknown option 'length', did you mean 'lengths'?)"] =
        function() first(ml.ones(2, 5, 3), nil, { length = { 5, 5 } }) end,
      ["bad argument #3 to 'GRU' (lengths: expected 2 of them, got 1)"] =
        function() first(ml.ones(2, 5, 3), nil, { lengths = { 5 } }) end,
      ["bad argument #3 to 'GRU' (lengths: expected i64 or i32 [2], got f32 [2])"] =
        function() first(ml.ones(2, 5, 3), nil, { lengths = ml.ones(2) }) end,
      ["memory: bad argument #4 to 'LSTM' (lengths[2]: expected 1 to 5, got 6)"] =
        function() m(ml.ones(5, 2, 3), nil, nil, { lengths = { 1, 6 } }) end,
      ["memory: bad argument #4 to 'LSTM' (lengths[1]: expected 1 to 5, got 0)"] = function()
        m(ml.ones(5, 2, 3), nil, nil, { lengths = ml.tensor({ 0, 5 }, "i64") })
      end,
      ["bad argument #1 to 'LSTMCell' (x: expected [B, 3], got [3])"] =
        function() cell(ml.ones(3)) end,
      ["bad argument #2 to 'LSTMCell' (h: expected [2, 4], got [2, 3])"] =
        function() cell(ml.ones(2, 3), ml.ones(2, 3)) end,
      ["bad argument #2 to 'lstm' (w: expected [8, 2], got [8, 3])"] =
        function() ml.lstm(ml.ones(1, 1, 8), ml.ones(8, 3)) end,
      ["bad argument #1 to 'gru' (z: expected [T, B, 3 H], got [1, 1, 8])"] =
        function() ml.gru(ml.ones(1, 1, 8), ml.ones(8, 3)) end,
    } do
      assert.equal(message, mistake(fn))
    end
  end)
end)
