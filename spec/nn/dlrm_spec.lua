local ml = require "mlua"
local DLRM = require "mlua.nn.dlrm"
local optim = require "mlua.optim"

local ROWS = { 4, 300, 1000, 7 }

local function new(o)
  local all = { tables = ROWS, dense = 3, dim = 4, bottom = { 6 }, top = { 5 }, seed = 1 }
  for name, value in pairs(o or {}) do all[name] = value end
  return DLRM.new(all)
end

-- One id per bag; and the same with offsets, among bags of 0 to 3 ids.
local DENSE = { { 0.5, -1, 2 }, { 1, 0, 0 }, { -2, 1, 0.25 } }
local IDS = { { 0, 3, 2 }, { 299, 17, 17 }, { 999, 0, 4 }, { 6, 1, 6 } }
local BAGS = { 0, 3, 1, 2, 299, 17, 17, 18, 999, 0, 4, 6, 6, 1 }
local OFFSETS = { 0, 1, 2, 4, 5, 5, 8, 10, 11, 11, 12, 12, 14 }

local VARIANTS = {
  { "plain" }, { "cat", interaction = "cat" }, { "itself", itself = true },
  { "sigmoid", activation = "sigmoid" }, { "threshold", loss_threshold = 0.01 },
  { "qr mult", qr = {} }, { "qr add", qr = { operation = "add" } },
  { "qr concat", qr = { operation = "concat" } }, { "qr of all", qr = { threshold = 0 } },
  { "md", md = {} }, { "md of all", md = { threshold = 0, temperature = 0.5, round = true } },
  { "pooling", pooling = "learned" },
}

local function variant(v, more)
  local o = {}
  for name, value in pairs(v) do if name ~= 1 then o[name] = value end end
  for name, value in pairs(more or {}) do o[name] = value end
  return new(o)
end

describe("nn.dlrm", function()
  local dense, ids = ml.tensor(DENSE), ml.tensor(IDS, "i32")
  local bags, offsets = ml.tensor(BAGS, "i32"), ml.tensor(OFFSETS, "i32")

  for _, v in ipairs(VARIANTS) do
    it("gives probabilities for single ids and for bags: " .. v[1], function()
      local model = variant(v)
      for _, p in ipairs { model(dense, ids), model(dense, bags, offsets) } do
        assert.same({ 3, 1 }, p:shape())
        for b = 1, 3 do assert.is_true(p:at(b, 1) > 0 and p:at(b, 1) < 1) end
      end
    end)

    it("takes one id per bag and bags of one id for the same: " .. v[1], function()
      local model, one_each = variant(v), {}
      for i = 0, 12 do one_each[i + 1] = i end
      local a = model(dense, ids)
      local b = model(dense, ids:reshape(12), ml.tensor(one_each, "i32"))
      assert.same(a:totable(), b:totable())
    end)

    it("learns three rows by heart: " .. v[1], function()
      local model, label = variant(v), ml.tensor { { 0 }, { 1 }, { 0 } }
      local opt = optim.adagrad(model, { lr = 0.1 })
      local first, last
      for _ = 1, 300 do
        last = ml.scope(function()
          local loss = ml.bce(model(dense, bags, offsets), label)
          opt:step(loss)
          return loss:item()
        end)
        first = first or last
      end
      assert.is_true(last < 0.6 * first, ("%g to %g"):format(first, last))
    end)

    it("has gradients that finite differences confirm: " .. v[1], function()
      local model, label = variant(v, { dtype = "f64" }), ml.tensor({ { 0 }, { 1 }, { 0 } }, "f64")
      local x = dense:to "f64"
      local function loss() return ml.bce(model(x, bags, offsets), label) end
      loss():backward()
      local checked = 0
      for _, p in ipairs(model:named_parameters()) do
        local t, g = p.tensor, p.tensor:grad()
        if g then
          local n, flat, slope = t:count(), t:data(), g:contiguous()
          for _, at in ipairs { 0, math.floor(n / 2), n - 1 } do
            local before, h = flat[at], 1e-6
            flat[at] = before + h
            local above = ml.no_grad(loss):item()
            flat[at] = before - h
            local below = ml.no_grad(loss):item()
            flat[at] = before
            local measured = (above - below) / (2 * h)
            assert.is_true(math.abs(measured - slope:data()[at]) < 1e-7 + 1e-5 * math.abs(measured),
              ("%s[%d]: %g, measured %g"):format(p.name, at, slope:data()[at], measured))
            checked = checked + 1
          end
        end
      end
      assert.is_true(checked >= 20, checked)
    end)
  end

  it("is the sum of what its parts say", function()
    -- dim 1, no hidden layers: x = relu(w d + b), e = row; top sees [x, x e].
    local model = DLRM.new { tables = { 2 }, dense = 1, dim = 1 }
    local state = model:state()
    state["bottom.1.weight"]:fill(2)
    state["bottom.1.bias"]:fill(1)
    state["tables.1"]:copy(ml.tensor { { 3 }, { -0.5 } })
    state["top.1.weight"]:copy(ml.tensor { { 0.25, 0.5 } })
    state["top.1.bias"]:fill(-1)
    local p = model(ml.tensor { { 1 }, { -3 } }, ml.tensor({ { 1, 0 } }, "i32"))
    -- d = 1: x = 3, e = -0.5: 0.75 - 0.75 - 1 = -1;  d = -3: x = 0: -1
    assert.is_true(math.abs(p:at(1, 1) - 1 / (1 + math.exp(1))) < 1e-7)
    assert.is_true(math.abs(p:at(2, 1) - 1 / (1 + math.exp(1))) < 1e-7)
  end)

  it("combines quotient and remainder rows", function()
    for operation, expected in pairs {
      mult = { 10, 40 }, add = { 7, 14 }, concat = { 5, 2 },
    } do
      local model = DLRM.new { tables = { 10 }, dense = 1, dim = 2,
        qr = { threshold = 4, collisions = 4, operation = operation } }
      local state = model:state()
      assert.same({ 3, operation == "concat" and 1 or 2 }, state["quotients.1"]:shape())
      assert.same({ 4, operation == "concat" and 1 or 2 }, state["remainders.1"]:shape())
      state["quotients.1"]:fill(0)
      state["remainders.1"]:fill(0)
      -- id 9 = 2 * 4 + 1
      if operation == "concat" then
        state["quotients.1"]:put(5, 3, 1)
        state["remainders.1"]:put(2, 2, 1)
      else
        for d, v in ipairs { 5, 10 } do state["quotients.1"]:put(v, 3, d) end
        for d, v in ipairs { 2, 4 } do state["remainders.1"]:put(v, 2, d) end
      end
      assert.same({ { expected } }, model:lookup(ml.tensor({ { 9 } }, "i32")):totable())
    end
  end)

  it("gives the smallest table the full width and larger ones less", function()
    -- 16 (3/n)^0.3: 16, 8.28, 4.15, 2.08; n = 1e9: 0.04, at least 1
    assert.same({ 16, 8, 4, 2, 1 },
      DLRM.mixed_widths({ 3, 27, 270, 2700, 1e9 }, 16, 0.3))
    assert.same({ 2, 16, 16 }, DLRM.mixed_widths({ 2700, 3, 200 }, 16, 0.3, false, 200))
    assert.same({ 16, 16 }, DLRM.mixed_widths({ 3, 1000 }, 16, 0))
    -- 6 (1/8)^0.3 = 3.2 to 3, log2 3 = 1.58 to 2; 6 itself to 8, and no wider than 6
    assert.same({ 6, 4 }, DLRM.mixed_widths({ 1, 8 }, 6, 0.3, true))
  end)

  it("begins pooling weights at 1, which changes nothing", function()
    local plain, weighted = new(), new { pooling = "learned" }
    assert.same(plain(dense, bags, offsets):totable(), weighted(dense, bags, offsets):totable())
    assert.equal(plain:size() + 4 + 300 + 1000 + 7, weighted:size())
  end)

  it("names its state by layer, and takes it back", function()
    local a, b = new { seed = 1 }, new { seed = 2 }
    local names = {}
    for i, p in ipairs(a:named_parameters()) do names[i] = p.name end
    assert.same({ "tables.1", "tables.2", "tables.3", "tables.4", "bottom.1.weight",
      "bottom.1.bias", "bottom.2.weight", "bottom.2.bias", "top.1.weight", "top.1.bias",
      "top.2.weight", "top.2.bias" }, names)
    assert.is_true(b:load_state(a:state()))
    assert.same(a(dense, ids):totable(), b(dense, ids):totable())
  end)

  it("draws each part apart: a wider top MLP changes no table", function()
    local a, b = new(), new { top = { 50, 20 }, bottom = { 9 } }
    assert.same(a:state()["tables.4"]:totable(), b:state()["tables.4"]:totable())
  end)

  it("keeps predictions within the threshold", function()
    local model = new { loss_threshold = 0.4 }
    model:state()["top.2.bias"]:fill(50)
    assert.is_true(math.abs(model(dense, ids):at(1, 1) - 0.6) < 1e-7)
  end)

  it("counts the interaction's width as the public program does", function()
    local rows = {}
    for t = 1, 26 do rows[t] = 2 end
    local function width(o)
      return DLRM.new(o):state()["top.1.weight"]:size(2)
    end
    assert.equal(367, width { tables = rows, dim = 16 })
    assert.equal(394, width { tables = rows, dim = 16, itself = true })
    assert.equal(27 * 16, width { tables = rows, dim = 16, interaction = "cat" })
  end)

  it("names the table of an id that is out of range", function()
    for _, v in ipairs(VARIANTS) do
      local wrong = ml.tensor({ { 0, 3, 2 }, { 299, 17, 300 }, { 999, 0, 4 }, { 6, 1, 6 } }, "i32")
      assert.error_matches(function() variant(v)(dense, wrong) end, "id %d+")
    end
  end)

  it("refuses options that contradict each other", function()
    local function refuses(message, o)
      assert.error_matches(function() new(o) end, "bad argument #1 to 'DLRM' (" .. message .. ")",
        1, true)
    end
    refuses("qr and md exclude each other", { qr = {}, md = {} })
    refuses("pooling: weights do not go with qr", { qr = {}, pooling = "learned" })
    refuses("dim: expected an even number for qr's concat, got 5",
      { qr = { operation = "concat" }, dim = 5 })
    refuses("qr: unknown option 'colisions', did you mean 'collisions'?",
      { qr = { colisions = 2 } })
    refuses("interaction: expected dot or cat, got 'sum'", { interaction = "sum" })
    refuses("unknown option 'botom', did you mean 'bottom'?", { botom = {} })
    refuses("loss_threshold: expected 0 to below 0.5, got 0.5", { loss_threshold = 0.5 })
  end)
end)
