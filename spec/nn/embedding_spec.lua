local ml = require "mlua"
local nn = ml.nn
local mistake = require "spec.support.mistake"
local torch = require "spec.support.torch"

local function ids(t) return ml.tensor(t, "i64") end

-- Row r holds 10 r and 10 r + 1.
local function numbered(m)
  for r = 0, m.rows - 1 do m.weight:put(10 * r, r + 1, 1):put(10 * r + 1, r + 1, 2) end
  return m
end

describe("nn.Embedding", function()
  it("looks up rows by ids of any shape", function()
    local m = numbered(nn.Embedding.new { rows = 4, dim = 2 })
    assert.same({ { { 20, 21 }, { 0, 1 } } }, m(ids { { 2, 0 } }):totable())
    assert.same({ 30, 31 }, m(ids(3)):totable())
    assert.same({ 0, 2 }, m(ids {}):shape())
  end)

  it("gives a row the gradients of its uses, the padding none", function()
    local m = nn.Embedding.new { rows = 3, dim = 2, padding = 1 }
    assert.same({ 0, 0 }, m.weight:totable()[2])
    m(ids { { 0, 0, 1 }, { 2, 1, 0 } }):sum():backward()
    assert.same({ { 3, 3 }, { 0, 0 }, { 1, 1 } }, m.weight:grad():totable())
  end)

  it("is updated in one pass with its optimiser, the padding left alone", function()
    for _, optimiser in ipairs { "sgd", "adagrad", "adam" } do
      local function train(fused)
        local m = nn.Embedding.new { rows = 5, dim = 3, padding = 2, seed = 1, stream = 1 }
        local opt = ml.optim[optimiser](m:parameters(), { lr = 0.1 })
        for _ = 1, 3 do
          local loss = m(ids { { 0, 2, 4 }, { 4, 0, 2 } }):square():sum()
          if fused then
            opt:step(loss)
          else
            m:zero_grad()
            loss:backward()
            opt:step()
          end
        end
        return m.weight:totable()
      end
      local fused, plain = train(true), train(false)
      assert.same({ 0, 0, 0 }, fused[3])
      for r = 1, 5 do
        for d = 1, 3 do assert.is_true(math.abs(fused[r][d] - plain[r][d]) < 1e-6, optimiser) end
      end
    end
  end)

  it("names ids outside the table, and wrong options", function()
    local m = nn.Embedding.new { rows = 3, dim = 2 }
    m._path = "words"
    assert.equal("words: bad argument #2 to 'embedding_bags' (indices: id 3 at position 1 is "
      .. "outside table 1's 0 to 2)", mistake(function() m(ids { 0, 3 }) end))
    assert.equal("bad argument #1 to 'Embedding' (padding: expected 0 to 2, got 3)",
      mistake(function() nn.Embedding.new { rows = 3, dim = 2, padding = 3 } end))
    assert.equal("bad argument #1 to 'Embedding' (dim: expected an integer, got nil)",
      mistake(function() nn.Embedding.new { rows = 3 } end))
    assert.equal("Embedding 3 x 2", tostring(m))
  end)
end)

describe("nn.EmbeddingBag", function()
  local function bag(mode, padding)
    return numbered(nn.EmbeddingBag.new { rows = 4, dim = 2, mode = mode, padding = padding })
  end

  it("sums, averages, or takes the largest", function()
    local bags = ids { { 1, 2 }, { 3, 0 } }
    assert.same({ { 30, 32 }, { 30, 32 } }, bag("sum")(bags):totable())
    assert.same({ { 15, 16 }, { 15, 16 } }, bag()(bags):totable())
    assert.same({ { 20, 21 }, { 30, 31 } }, bag("max")(bags):totable())
  end)

  it("takes bags of different sizes by offsets; an empty one is zeros", function()
    local flat, offsets = ids { 1, 2, 3 }, ids { 0, 2, 2, 3 }
    assert.same({ { 15, 16 }, { 0, 0 }, { 30, 31 } }, bag("mean")(flat, offsets):totable())
    assert.same({ { 20, 21 }, { 0, 0 }, { 30, 31 } }, bag("max")(flat, offsets):totable())
  end)

  it("leaves the padding out of its bags", function()
    local bags = ids { { 1, 3 }, { 3, 3 } }
    assert.same({ { 10, 11 }, { 0, 0 } }, bag("mean", 3)(bags):totable())
    assert.same({ { 10, 11 }, { 0, 0 } }, bag("max", 3)(bags):totable())
    assert.same({ { 10, 11 }, { 0, 0 } }, bag("sum", 3)(bags):totable())
  end)

  it("gives the gradient of a largest element to the row it is from", function()
    local m = bag("max")
    m.weight:put(50, 1, 2) -- row 0: 0, 50
    m(ids { { 0, 1, 1 } }):backward(ml.tensor { { 2, 3 } })
    assert.same({ { 0, 3 }, { 2, 0 }, { 0, 0 }, { 0, 0 } }, m.weight:grad():totable())
  end)

  it("refuses weights with max, and ids that are no bags", function()
    assert.equal("bad argument #4 to 'embedding_bags' (weights: not with mode max)",
      mistake(function() bag("max")(ids { { 1 } }, nil, ml.ones(1)) end))
    assert.equal("bad argument #1 to 'EmbeddingBag' (ids: expected [B, L], or offsets, got 1 axes)",
      mistake(function() bag()(ids { 1 }) end))
    assert.equal("bad argument #1 to 'EmbeddingBag' (mode: expected sum, mean or max, got 'min')",
      mistake(function() nn.EmbeddingBag.new { rows = 1, dim = 1, mode = "min" } end))
  end)

  it("has PyTorch's values and gradients, with padding", function()
    local want = torch.run [==[
w = torch.sin(torch.arange(28.) * 1.3).reshape(7, 4)
ids = torch.tensor([[1, 5, 2], [2, 2, 6], [0, 2, 1], [2, 2, 2]])
for mode in ["sum", "mean", "max"]:
    m = torch.nn.EmbeddingBag(7, 4, mode=mode, padding_idx=2)
    m.weight.data.copy_(w)
    y = m(ids)
    (y * torch.cos(torch.arange(16.)).reshape(4, 4)).sum().backward()
    result[mode] = [y.detach(), m.weight.grad]
]==]
    if not want then return pending("python3-torch is not installed") end
    for mode, values in pairs(want) do
      local m = nn.EmbeddingBag.new { rows = 7, dim = 4, mode = mode, padding = 2 }
      m.weight:detach():copy(ml.arange(28, "f32"):affine(1.3, 0):sin():reshape(7, 4))
      local y = m(ids { { 1, 5, 2 }, { 2, 2, 6 }, { 0, 2, 1 }, { 2, 2, 2 } })
      y:backward(ml.arange(16, "f32"):cos():reshape(4, 4):clone())
      for i, t in ipairs { y:totable(), m.weight:grad():totable() } do
        for r, row in ipairs(values[i]) do
          for d, v in ipairs(row) do assert.is_true(math.abs(v - t[r][d]) < 2e-6, mode) end
        end
      end
    end
  end)
end)
