-- Losses and models by name, and those that are made of others.
local files = require "spec.support.files"
local mistake = require "spec.support.mistake"
local ml = require "mlua"
local near = require "spec.support.near"
local registry = require "mlua.registry"
local param = ml.param

local function loss(value) return assert(param.loss {}:check(value))() end
local function model(value, ...) return assert(param.model {}:check(value))(...) end

local p, y = ml.tensor { { 0.25 }, { 0.75 } }, ml.tensor { { 0 }, { 1 } }
local ln = math.log

describe("a loss by name", function()
  it("is the operation's", function()
    for _, name in ipairs { "bce", "bce_logits", "mse", "l1", "huber", "smooth_l1", "hinge",
                            "focal", "kl_div" } do
      assert.equal(ml.op[name](p, y):item(), loss(name)(p, y):item(), name)
    end
    assert.equal(ml.huber(p, y, "sum", 0.5):item(),
      loss { "huber", delta = 0.5, reduction = "sum" }(p, y):item())
    assert.equal(ml.kl_div(p, y, "batchmean", true):item(),
      loss { "kl_div", log_target = true, reduction = "batchmean" }(p, y):item())
    assert.equal(ml.focal(p, y, "mean", -1, 1):item(),
      loss { "focal", alpha = -1, gamma = 1 }(p, y):item())
    assert.equal(ml.bce_logits(p, y, nil, "mean", ml.tensor { 3 }):item(),
      loss { "bce_logits", positive = 3 }(p, y):item())
    local x, c = ml.tensor { { 1, 2, 0 }, { 0, 0, 3 } }, ml.tensor({ 1, 0 }, "i64")
    assert.equal(ml.cross_entropy(x, c, nil, "mean", 0, 0.1):item(),
      loss { "cross_entropy", ignore = 0, smoothing = 0.1 }(x, c):item())
  end)

  it("takes a weight for each element; the mean is over their number", function()
    local w = ml.tensor { { 2 }, { 0 } }
    near({ 0.0625, 0.25, 0.125 }, { loss "mse"(p, y, w):item(), loss "l1"(p, y, w):item(),
      loss { "mse", reduction = "sum" }(p, y, w):item() }) -- 2 · 0.25^2 / 2, 2 · 0.25 / 2
    near({ -2 * ln(0.75) / 2 }, { loss "bce"(p, y, w):item() })
    near({ loss "kl_div"(p, y):item() }, { loss "kl_div"(p, y, ml.ones(2, 1)):item() })
    local x, c = ml.zeros(3, 2), ml.tensor({ 1, 0, 1 }, "i64") -- ln 2 each, the second ignored
    near({ ln(2) * (1 + 3) / 2 }, { loss { "cross_entropy", ignore = 0 }(x, c,
      ml.tensor { 1, 2, 3 }):item() })
  end)

  it("weighs labels 0 and 1", function()
    local want = -(0.5 * ln(0.75) + 2 * ln(0.75)) / 2
    near({ want }, { loss { "weighted_bce", weights = { 0.5, 2 } }(p, y):item() })
    near({ ml.bce(p, y):item() }, { loss "weighted_bce"(p, y):item() })
  end)

  it("takes the mean of an ensemble's outputs", function()
    assert.equal(ml.bce(p, y):item(), loss "bce"({ mean = p, a = p * 0 }, y):item())
  end)

  it("says which columns there are, where none is the one", function()
    assert.equal("bad argument #1 to 'bce' (prediction: expected a tensor, got columns buy and "
      .. "click; a loss 'term' names one)",
      mistake(function() loss "bce"({ click = p, buy = p }, y) end))
  end)

  it("compares what a siamese model lists", function()
    local a, b, c = ml.tensor { { 0, 0 } }, ml.tensor { { 3, 4 } }, ml.tensor { { 0, 1 } }
    near({ 5 - 1 + 2 }, { loss { "triplet", margin = 2 }({ a, b, c }):item() }, 1e-5)
    local same, other = ml.tensor { { 1, 0 }, { 1, 0 } }, ml.tensor { { 1, 0 }, { 0, 1 } }
    near({ 0.5 }, { loss "cosine_embedding"({ same, other }, ml.tensor { 1, 1 }):item() }, 1e-5)
    assert.equal("bad argument #1 to 'triplet' (prediction: expected a list of 3 tensors, got 2)",
      mistake(function() loss "triplet"({ a, b }) end))
  end)
end)

describe("a sum of losses", function()
  local both = { click = p, buy = p * 0 + 0.5 }

  it("adds weighted terms, each of a column", function()
    local sum = loss { "sum", terms = {
      { "term", loss = "bce", column = "click" },
      { "term", loss = { "l1", reduction = "sum" }, weight = 3, column = "buy" },
    } }
    -- bce: -ln 0.75 twice, over 2; l1 to labels 0 and 1: 0.5 twice
    near({ -ln(0.75) + 3 }, { sum(both, y):item() })
    near({ -ln(0.75) + 3 * 1 }, { sum(both, { click = y, buy = y }):item() })
    near({ -ln(0.75) + 3 * 2 }, { sum(both, { click = y, buy = y * 2 - 0.5 }):item() })
  end)

  it("takes plain losses as terms of weight 1, of the prediction as it is", function()
    near({ 0.0625 + 0.25 }, { loss { "sum", terms = { "mse", "l1" } }(p, y):item() })
    assert.equal(ml.bce(p, y):item(), loss "sum"(p, y):item())
  end)

  it("takes columns of a tensor by number, and of labels that are as wide", function()
    local wide, labels = ml.tensor { { 1, 5 }, { 2, 7 } }, ml.tensor { { 0, 5 }, { 0, 6 } }
    local second = { "term", loss = "l1", column = "2" }
    near({ 0.5 }, { loss(second)(wide, labels):item() }) -- 0 and 1
    near({ 6 }, { loss(second)(wide, ml.zeros(2, 1)):item() })
    near({ 6 }, { loss(second)({ wide, ml.tensor { 5, 7 } }, ml.zeros(2)):item() })
    assert.equal("bad argument #1 to 'term' (column '3': expected 1 to 2, the columns of a tensor)",
      mistake(function() loss { "term", column = "3" }(wide, labels:narrow(2, 1, 1)) end))
  end)

  it("names a column that is not there", function()
    assert.equal("bad argument #1 to 'term' (no column 'clik' in a table of buy and click, did you "
      .. "mean 'click'?)", mistake(function() loss { "term", column = "clik" }(both, y) end))
  end)

  it("hands gradients back to each column, by its weight", function()
    local a = ml.tensor({ 1, 1 }):requires_grad()
    local b = ml.tensor({ 1, 1 }):requires_grad()
    local sum = loss { "sum", terms = { { "term", loss = "mse", column = "a" },
      { "term", loss = "mse", column = "b", weight = 3 } } }
    sum({ a = a, b = b }, ml.zeros(2)):backward()
    assert.same({ 1, 1 }, a:grad():totable()) -- 2 x / 2
    assert.same({ 3, 3 }, b:grad():totable())
  end)
end)

-- Fills all weights of a model with one number and its biases with 0.
local function fill(m, value)
  for _, each in ipairs(m:named_parameters()) do
    each.tensor:fill(each.name:find "weight" and value or 0)
  end
  return m
end
-- One layer without hidden ones: the sum of the inputs times what `fill` sets.
local SUM = { "mlp", widths = {} }

describe("a model by name", function()
  it("builds with its defaults, for a width or for data", function()
    local data = { dense = 5, tables = { 4, 3 } }
    for _, name in ipairs(registry.get("models"):names()) do
      if not name:find "^spec_" then
        local m = model(name, data, name == "conjoined" and data or nil) -- an input for each part
        assert.is_true(#m:parameters() > 0, name)
      end
    end
    assert.same({ 2, 1 }, model("mlp", 5)(ml.zeros(2, 5)):shape())
    local set = { dense = function() return 5 end } -- as data sets say it
    assert.same({ 2, 3 }, model({ "mlp", outputs = 3 }, set)(ml.zeros(2, 5)):shape())
    assert.equal("bad argument #1 to 'mlp' (inputs: neither its options nor the data say how wide "
      .. "the input is)", mistake(function() model("mlp") end))
    assert.equal("bad argument #1 to 'dlrm' (tables: the data do not say the rows of each)",
      mistake(function() model("dlrm", 5) end))
  end)

  it("mlp has the activations asked for", function()
    local m = fill(model({ "mlp", widths = { 1 }, activation = "tanh", last = "sigmoid" }, 1), 1)
    near({ 1 / (1 + math.exp(-0.76159416)) }, m(ml.ones(1, 1)):totable()[1])
    for _, activation in ipairs(registry.get("models"):find("mlp").spec.by.last.param.choices) do
      assert.same({ 1, 1 }, model({ "mlp", last = activation }, 2)(ml.zeros(1, 2)):shape())
    end
  end)

  it("has the same first weights by the same seed, and others by ml.seed's next draw", function()
    local data = { dense = 3, tables = { 4 } }
    for _, name in ipairs { "mlp", "dlrm" } do
      local function first(seed)
        return model({ name, seed = seed }, data):parameters()[1]:totable()
      end
      assert.same(first(7), first(7))
      assert.not_same(first(7), first(8))
      assert.not_same(first(), first())
    end
  end)
end)

describe("an ensemble", function()
  local function pair(o)
    local options = { "ensemble", parts = { SUM, SUM } }
    for key, value in pairs(o or {}) do options[key] = value end
    local m = model(options, 2)
    fill(m.parts[1], 1)
    fill(m.parts[2], 3)
    return m
  end
  local x = ml.tensor { { 1, 2 } } -- 3 by the first, 9 by the second

  it("gives the mean and each part's output", function()
    local out = pair()(x)
    assert.same({ { { 6 } }, { { 3 } }, { { 9 } } },
      { out.mean:totable(), out["1"]:totable(), out["2"]:totable() })
    assert.same(out.mean:totable(), pair():eval()(x).mean:totable())
  end)

  it("weighs its parts, whose outputs have names", function()
    local out = pair { weights = { 1, 2 }, names = { "a", "b" } }(x)
    near({ (3 + 2 * 9) / 3, 3, 9 }, { out.mean:item(), out.a:item(), out.b:item() })
  end)

  it("has parts that begin apart, though their options are the same", function()
    for _, kind in ipairs { "mlp", "dlrm" } do
      local m = model({ "ensemble", parts = { kind, kind } }, { dense = 3, tables = { 4 } })
      assert.not_same(m.parts[1]:parameters()[1]:totable(), m.parts[2]:parameters()[1]:totable())
    end
  end)

  it("takes the mean of an ensemble in it", function()
    local inner = { "ensemble", parts = { SUM, SUM } }
    local m = fill(model({ "ensemble", parts = { SUM, inner } }, 2), 1)
    assert.equal(3, m(x).mean:item())
    assert.equal(3, m(x)["2"]:item())
  end)

  it("trains, with names of its parts' parameters, and is saved and read", function()
    local m, path = pair(), os.tmpname()
    local opt = ml.optim.sgd(m, { lr = 0.1 })
    opt:step(loss "mse"(m(x), ml.tensor { { 0 } }))
    assert.not_same({ { 1, 1 } }, m:state()["parts.1.1.weight"]:totable())
    assert(m:save(path))
    local other = pair()
    assert(other:load(path))
    os.remove(path)
    assert.same(m(x).mean:totable(), other(x).mean:totable())
  end)

  it("refuses one part, weights of none, and names that say nothing", function()
    assert.equal("parts: expected at least 2 models, got 1",
      (select(2, param.model {}:check { "ensemble", parts = { "mlp" } })))
    assert.equal("bad argument #2 to 'Ensemble' (weights: expected 2, got 1)",
      mistake(function() pair { weights = { 1 } } end))
    assert.equal("bad argument #2 to 'Ensemble' (weights: all are 0)",
      mistake(function() pair { weights = { 0, 0 } } end))
    assert.equal("bad argument #2 to 'Ensemble' (names: 'mean' is the name of all parts' mean)",
      mistake(function() pair { names = { "a", "mean" } } end))
    assert.equal("bad argument #2 to 'Ensemble' (names: 'a' is there twice)",
      mistake(function() pair { names = { "a", "a" } } end))
  end)
end)

describe("a model of several tasks", function()
  it("gives each head what the trunk gives, and outputs by name", function()
    local m = model({ "multi_task", names = { "click", "buy" }, width = 4, trunk = SUM,
      heads = { SUM, { "mlp", widths = {}, outputs = 2 } } }, 2)
    fill(m, 1)
    local out = m(ml.tensor { { 1, 2 } })
    assert.same({ { { 12 } }, { { 12, 12 } } }, { out.click:totable(), out.buy:totable() })
    assert.same({ "buy", "click" }, require "mlua.text".keys(out))
    assert.same({ 4, 2 }, m:state()["trunk.1.weight"]:shape())
    assert.same({ 2, 4 }, m:state()["heads.2.1.weight"]:shape())
  end)

  it("takes a loss for each head", function()
    local m = fill(model({ "multi_task", trunk = SUM, heads = { SUM, SUM } }, 2), 1) -- 3 · 16
    local sum = loss { "sum", terms = { { "term", loss = "l1", column = "1" },
      { "term", loss = "l1", column = "2", weight = 0.5 } } }
    local x = ml.tensor { { 1, 2 } }
    near({ 48 + 0.5 * 47 }, { sum(m(x), { ml.tensor { { 0 } }, ml.tensor { { 1 } } }):item() })
  end)
end)

describe("a siamese model", function()
  local a, b = ml.tensor { { 1, 2 } }, ml.tensor { { 2, 5 } }

  it("applies one set of weights to each input", function()
    local m = fill(model({ "siamese", part = { "mlp", widths = {} } }, 2), 1)
    assert.equal(2, #m:parameters())
    local out = m(a, b, a)
    assert.equal(3, #out)
    assert.same({ 3, 7 }, { out[1]:totable()[1][1], out[2]:totable()[1][16] })
    m = model({ "siamese", part = "dlrm" }, { dense = 2, tables = { 4 } })
    local ids = ml.tensor({ { 1 } }, "i32")
    out = m({ a, ids }, { a, ids }) -- an input of several arguments
    assert.same(out[1]:totable(), out[2]:totable())
  end)

  it("gives the distance of two outputs", function()
    local function distance(kind)
      local m = fill(model({ "siamese", part = SUM, distance = kind, width = 4 }, 2), 1)
      return m(a, b):totable() -- 3 and 7, four times each
    end
    near({ 8 }, distance "euclidean", 1e-4)
    near({ 16 }, distance "manhattan", 1e-4)
    near({ 0 }, distance "cosine")
    local m = model({ "siamese", distance = "cosine" }, 2)
    assert.equal("bad argument #3 to 'Siamese' (expected two inputs, got 3)",
      mistake(function() m(a, b, a) end))
  end)
end)

describe("a conjoined model", function()
  it("gives each part its input, and a head what they give side by side", function()
    local m = fill(model({ "conjoined", parts = { SUM, { "mlp", widths = {}, outputs = 3 } },
      head = SUM, width = 2 }, 1, 2), 1)
    -- the first part gives 5 twice, the second 3 three times
    assert.equal(19, m(ml.tensor { { 5 } }, ml.tensor { { 1, 2 } }):item())
    assert.same({ 1, 5 }, m:state()["head.1.weight"]:shape())
    assert.equal("bad argument #1 to 'Conjoined' (expected 2 inputs, one for each part, got 1)",
      mistake(function() m(ml.zeros(1, 1)) end))
  end)

  it("is saved with all its parts", function()
    local folder = files.folder()
    local m, other = model("conjoined", 1, 2), model("conjoined", 1, 2)
    assert(m:save(folder .. "/m.safetensors"))
    assert(other:load(folder .. "/m.safetensors"))
    files.remove(folder)
    local x, z = ml.ones(1, 1), ml.ones(1, 2)
    assert.same(m(x, z):totable(), other(x, z):totable())
  end)
end)
