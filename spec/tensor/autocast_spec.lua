-- Mixed precision: which operations compute of 16-bit floats, and which in f32.
local ml = require "mlua"

local nn = ml.nn

local function bf16(t) return t:to "bf16" end

describe("autocast", function()
  local x, w = ml.randn(4, 8, { seed = 1, stream = 0 }), ml.randn(3, 8, { seed = 1, stream = 1 })

  it("computes products of rounded numbers, and rounds the result", function()
    local y = ml.autocast("bf16", function() return ml.linear(x, w) end)
    assert.equal("bf16", y:dtype())
    local want = bf16(ml.matmul(bf16(x):to "f32", bf16(w):to "f32", false, true))
    assert.same(want:to "f32":totable(), y:to "f32":totable())
    assert.equal("f32", ml.linear(x, w):dtype()) -- outside
  end)

  it("computes losses, sums and exponentials of 16-bit floats in f32", function()
    local y = bf16(x)
    local sum, loss, soft = ml.autocast("bf16", function()
      return ml.sum(y), ml.mse(y, ml.zeros(4, 8)), ml.softmax(y)
    end)
    assert.same({ "f32", "f32", "f32" }, { sum:dtype(), loss:dtype(), soft:dtype() })
    assert.equal(ml.sum(y:to "f32"):item(), sum:item())
    assert.equal(ml.mse(y:to "f32", ml.zeros(4, 8)):item(), loss:item())
    assert.equal("bf16", ml.sum(y):dtype()) -- outside
  end)

  it("leaves other operations, and f64, as they are", function()
    local y, z, d = ml.autocast("bf16", function()
      return ml.relu(bf16(x)), x + 1, ml.matmul(x:to "f64", w:to "f64", false, true)
    end)
    assert.same({ "bf16", "f32", "f64" }, { y:dtype(), z:dtype(), d:dtype() })
  end)

  it("gives weights, which stay f32, gradients in f32, also of a backward inside", function()
    local leaf = w:clone():requires_grad()
    local grads = {}
    for i, inside in ipairs { true, false } do
      leaf:zero_grad()
      local loss = ml.autocast("bf16", function()
        local l = ml.sum(ml.linear(x, leaf))
        if inside then l:backward() end
        return l
      end)
      if not inside then loss:backward() end
      grads[i] = leaf:grad():clone()
      assert.equal("f32", grads[i]:dtype())
    end
    assert.same(grads[1]:totable(), grads[2]:totable())
    for d = 1, 8 do -- the gradient of sum(x w') by w: the sums of x's columns, each rounded
      local want = 0
      for r = 1, 4 do want = want + bf16(x):to "f32":at(r, d) end
      assert.near(want, grads[1]:at(1, d), math.abs(want) * 2 ^ -8 + 1e-3)
    end
  end)

  it("is not on in gradients that Lua computes", function()
    local dtype
    local leaf = ml.randn(4, 4, { seed = 1, stream = 3 }):requires_grad()
    ml.autocast("bf16", function()
      local y = leaf * 2
      y:register_hook(function(g)
        dtype = ml.matmul(x, x, false, true):dtype()
        return g
      end)
      ml.sum(y):backward()
    end)
    assert.equal("f32", dtype)
  end)

  it("ends with its function, also where that fails", function()
    assert.error_matches(function()
      ml.autocast("bf16", function() error "stop" end)
    end, "stop")
    assert.equal("f32", ml.linear(x, w):dtype())
  end)

  it("takes bf16 or f16, and a function", function()
    assert.error_matches(function() ml.autocast("f32", print) end,
      "bad argument #1 to 'autocast' (dtype: expected bf16 or f16, got 'f32')", 1, true)
    assert.error_matches(function() ml.autocast("bf16", 1) end,
      "bad argument #2 to 'autocast' (expected a function, got 1)", 1, true)
  end)

  it("trains a convolution and attention to weights near those of f32", function()
    local function trained(precision)
      local conv = nn.Conv2d.new { inputs = 1, outputs = 2, kernel = 3, seed = 1,
        stream = 0 }
      local images = ml.randn(8, 1, 6, 6, { seed = 2, stream = 0 })
      local optimizer = ml.optim.sgd(conv, { lr = 0.1 })
      local function loss()
        local y = conv(images)
        local rows = y:reshape(8, 2, 16)
        return ml.mse(ml.scaled_dot_product_attention(rows, rows, rows), ml.zeros(8, 2, 16))
      end
      local first, last
      for _ = 1, 20 do
        local l = precision and ml.autocast(precision, loss) or loss()
        assert.equal("f32", l:dtype())
        first, last = first or l:item(), l:item()
        optimizer:step(l)
      end
      return first, last
    end
    local first, last = trained()
    local first16, last16 = trained "bf16"
    assert.is_true(last < 0.7 * first)
    assert.near(first, first16, 0.02 * first)
    assert.near(last, last16, 0.05 * first)
    assert.not_equal(last, last16)
  end)
end)
