-- Attention and dropout, by hand; the cases of the cards are swept elsewhere.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local near = require "spec.support.near"

local function flat(t) return t:contiguous():reshape(-1):totable() end
local attention = ml.op.scaled_dot_product_attention

describe("scaled_dot_product_attention", function()
  it("weighs values by the softmax of scores", function()
    -- scores 0 and ln 3 (scale 1): weights 1/4 and 3/4
    local q, k = ml.tensor { { 1 } }, ml.tensor { { 0 }, { math.log(3) } }
    near({ 0.25 * 8 + 0.75 * 4 }, flat(attention(q, k, ml.tensor { { 8 }, { 4 } })))
    -- scale 0: 1 / sqrt(E); here sqrt 4 halves 2 ln 3
    local q4 = ml.tensor { { 2, 0, 0, 0 } }
    local k4 = ml.tensor { { 0, 1, 1, 1 }, { math.log(3), 0, 0, 0 } }
    near({ 5 }, flat(attention(q4, k4, ml.tensor { { 8 }, { 4 } })))
  end)

  it("sees what the mask lets it see; a row that sees nothing gives zeros", function()
    local q, k, v = ml.zeros(2, 3), ml.zeros(2, 3), ml.tensor { { 2 }, { 4 } }
    local mask = ml.tensor { { false, true }, { false, false } }
    near({ 4, 0 }, flat(attention(q, k, v, mask)))
    near({ 2, 3 }, flat(attention(q, k, v, nil, true)))
    local qg = ml.ones(2, 3):requires_grad()
    attention(qg, k, v, mask):sum():backward()
    near({ 0, 0, 0, 0, 0, 0 }, flat(qg:grad()))
  end)

  it("has the same bits for any number of threads, with few and with many heads", function()
    local before = ml.threads()
    for _, heads in ipairs { 2, 9 } do
      local got = {}
      for n = 1, 2 do
        ml.threads(n)
        local t = {}
        for i = 1, 3 do
          t[i] = ml.randn(heads, 150, 16, { seed = 3, stream = i }):requires_grad()
        end
        local y = attention(t[1], t[2], t[3], nil, true, 0, 0.1, 5)
        y:backward(ml.randn(heads, 150, 16, { seed = 3, stream = 9 }))
        got[n] = { y:totable() }
        for i = 1, 3 do got[n][i + 1] = t[i]:grad():totable() end
      end
      assert.same(got[1], got[2])
    end
    ml.threads(before)
  end)

  it("names what does not fit", function()
    local q, k = ml.zeros(2, 3, 4), ml.zeros(2, 5, 4)
    assert.equal("bad argument #2 to 'scaled_dot_product_attention' (k: [2, 5, 3] does not fit q "
      .. "[2, 3, 4])", mistake(function() attention(q, ml.zeros(2, 5, 3), k) end))
    assert.equal("bad argument #3 to 'scaled_dot_product_attention' (v: [2, 4, 4] does not fit k "
      .. "[2, 5, 4])", mistake(function() attention(q, k, ml.zeros(2, 4, 4)) end))
    assert.equal("bad argument #4 to 'scaled_dot_product_attention' (mask: [4, 5] does not "
      .. "broadcast to [2, 3, 5])", mistake(function() attention(q, k, k, ml.zeros(4, 5)) end))
    assert.equal("bad argument #7 to 'scaled_dot_product_attention' (p: expected 0 to 1, got 2)",
      mistake(function() attention(q, k, k, nil, false, 0, 2) end))
    local y = attention(q, k, k, ml.zeros(3, 5):requires_grad()):sum()
    assert.equal("scaled_dot_product_attention: no gradient by the mask",
      mistake(function() y:backward() end))
  end)
end)

describe("dropout", function()
  it("drops with probability p, and scales the rest", function()
    local y = flat(ml.dropout(ml.ones(100000), 0.25, 7))
    local kept = 0
    for _, v in ipairs(y) do
      assert.is_true(v == 0 or math.abs(v - 4 / 3) < 1e-6)
      if v ~= 0 then kept = kept + 1 end
    end
    -- five standard deviations of a binomial of 100000 at 0.75: 685
    assert.is_true(math.abs(kept - 75000) < 685, "kept " .. kept)
  end)

  it("is named by seed, stream and draw, whatever the dtype, shape or number of threads", function()
    local function mask(seed, stream, draw, o)
      local x = ml.ones(o and o.sizes or { 70000 }, { dtype = o and o.dtype })
      local y = ml.dropout(x, 0.5, seed, stream, draw and ml.tensor({ draw }, "i64"))
      return flat(y:ne(0):to("u8"))
    end
    local first = mask(1, 2, 3)
    local before = ml.threads(ml.threads() == 1 and 2 or 1)
    assert.same(first, mask(1, 2, 3, { sizes = { 7, 10000 } }))
    assert.same(first, mask(1, 2, 3, { dtype = "f64" }))
    ml.threads(before)
    for _, other in ipairs { { 2, 2, 3 }, { 1, 3, 3 }, { 1, 2, 4 }, { 1, 2 } } do
      assert.is_not.same(first, mask(other[1], other[2], other[3]))
    end
  end)

  it("lets the gradient through where the value went through", function()
    local x = ml.zeros(1000):requires_grad() -- zeros: kept ones have a gradient all the same
    ml.dropout(x, 0.5, 9):sum():backward()
    assert.same(flat(ml.dropout(ml.ones(1000), 0.5, 9)), x:grad():totable())
  end)

  it("drops spans together", function()
    local y = ml.dropout(ml.ones(50, 20), 0.5, 3, 0, nil, 20):totable()
    local kept = 0
    for _, row in ipairs(y) do
      for _, v in ipairs(row) do assert.equal(row[1], v) end
      kept = kept + (row[1] ~= 0 and 1 or 0)
    end
    assert.is_true(kept > 10 and kept < 40)
  end)

  it("refuses what is no probability, and spans that do not fit", function()
    assert.equal("bad argument #2 to 'dropout' (p: expected 0 to 1, got -0.5)",
      mistake(function() ml.dropout(ml.ones(3), -0.5) end))
    assert.equal("bad argument #6 to 'dropout' (span: 2 does not divide 3 elements)",
      mistake(function() ml.dropout(ml.ones(3), 0.5, 0, 0, nil, 2) end))
  end)
end)
