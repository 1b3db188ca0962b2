-- Registries of parts, and mlua's own parts: that each can be had by its name, with its options.
local mistake = require "spec.support.mistake"
local ml = require "mlua"
local near = require "spec.support.near"
local registry = require "mlua.registry"
local param = ml.param

local function line() return debug.getinfo(2, "l").currentline end
local HERE = debug.getinfo(1, "S").source:sub(2)

-- A part by name and options, as a recipe's Lua gives them.
local function part(kind, value) return assert(param[kind] {}:check(value)) end
local function none() end

describe("a registry", function()
  it("knows its parts by name, with the line at which they were registered", function()
    local at = line() + 1
    local component = ml.loss("spec_one", { doc = "one", k = param.int { 3 } }, none)
    assert.equal(HERE .. ":" .. at, component.place)
    assert.equal(component, registry.get("losses"):find "spec_one")
    assert.equal(3, part("loss", "spec_one").options.k)
    at = line() + 1
    component = registry.register("loss", "spec_two", {}, none)
    assert.equal(HERE .. ":" .. at, component.place)
  end)

  it("refuses a second part of a name, and says where both are", function()
    local first = line() + 1
    ml.transform("spec_twice", {}, none)
    local message = mistake(function() ml.transform("spec_twice", {}, none) end)
    assert.equal(("bad argument #1 to 'transform' (name: 'spec_twice' is registered at %s:%d "
      .. "already, and again at %s:%d)"):format(HERE, first, HERE, first + 1), message)
    message = mistake(function() ml.loss("bce", {}, none) end) -- mlua's own are there already
    assert.truthy(message:find("'bce' is registered at [^ ]*/lua/mlua/registry/losses.lua:%d+ "
      .. "already"), message)
  end)

  it("takes a file that is loaded again", function()
    for i = 1, 2 do ml.sampler("spec_again", {}, function() return i end) end
    assert.equal(2, part("sampler", "spec_again")())
  end)

  it("tells the nearest name of one that it has not", function()
    assert.same({ false, "no loss 'bec', did you mean 'bce'?" },
      { param.loss {}:check "bec" or false, (select(2, param.loss {}:check "bec")) })
    local p = param.optimizer {}
    assert.equal("no option 'mometnum', did you mean 'momentum'?",
      (select(2, p:check { "sgd", mometnum = 1 })))
    assert.equal("lr: -1 is out of range (at least 0)", (select(2, p:check { "sgd", lr = -1 })))
    assert.equal("no registry of 'modles', did you mean 'models'?", (select(2,
      registry.get "modles")))
    assert.equal("bad argument #1 to 'register' (no registry of 'modle', did you mean 'model'?)",
      mistake(function() registry.register("modle", "x", {}, none) end))
  end)

  it("refuses what is no part", function()
    assert.equal("bad argument #1 to 'model' (name: 'a b' is not a word)",
      mistake(function() ml.model("a b", {}, none) end))
    assert.equal("bad argument #2 to 'model' (options: 'type' names the part itself)",
      mistake(function() ml.model("spec_type", { type = param.int {} }, none) end))
    assert.equal("bad argument #3 to 'model' (build: expected a function, got nil)",
      mistake(function() ml.model("spec_none", {}) end))
  end)

  it("has documentation for each of mlua's parts and options", function()
    for _, each in ipairs(registry.list()) do
      for _, name in ipairs(each.own and each:names() or {}) do -- not other specs'
        local component = each:find(name)
        if not name:find "^spec_" then
          assert.truthy(component.doc, each.name .. " " .. name)
          for _, entry in ipairs(component.spec.list) do
            assert.truthy(entry.param.doc, ("%s %s: %s"):format(each.name, name, entry.name))
          end
        end
      end
    end
  end)
end)

describe("optimisers by name", function()
  it("have the options and defaults of mlua.optim", function()
    local rules = require "mlua.optim.rules"
    for _, name in ipairs { "sgd", "adagrad", "rwsadagrad", "adam", "adamw", "rmsprop", "lion" } do
      local options = {}
      for option, value in pairs(part("optimizer", name).options) do options[option] = value end
      assert.same(rules[name].options, options, name)
    end
    assert.equal(7, #registry.get("optimizers"):names())
  end)

  it("make the step that mlua.optim makes", function()
    for _, name in ipairs(registry.get("optimizers"):names()) do
      local mine = ml.tensor({ 1, -2 }):requires_grad()
      local theirs = ml.tensor({ 1, -2 }):requires_grad()
      local opt = part("optimizer", { name, lr = 0.25 })({ mine })
      local other = ml.optim[name]({ theirs }, { lr = 0.25 })
      for _ = 1, 2 do
        opt:step((mine * mine):sum())
        other:step((theirs * theirs):sum())
      end
      assert.same(theirs:totable(), mine:totable(), name)
      assert.not_same({ 1, -2 }, mine:totable(), name)
    end
    -- sgd by hand: the gradient of x^2 is 2 x, 1 - 0.25 · 2 = 0.5
    local x = ml.tensor({ 1 }):requires_grad()
    part("optimizer", { "sgd", lr = 0.25 })({ x }):step((x * x):sum())
    assert.same({ 0.5 }, x:totable())
  end)
end)

describe("schedules by name", function()
  local function optimizer(lr)
    return ml.optim.sgd({ ml.zeros(1):requires_grad() }, { lr = lr or 1 })
  end

  -- The rates of the first steps.
  local function rates(value, n, opt)
    opt = opt or optimizer()
    local schedule, list = part("schedule", value)(opt), {}
    for i = 1, n do
      list[i] = opt.lr
      schedule:step(1) -- the same metric each time, for plateau
    end
    return list
  end

  it("set the rates that their formulas say", function()
    near({ 1, 1, 0.5, 0.5, 0.25 }, rates({ "step", size = 2, gamma = 0.5 }, 5))
    near({ 1, 0.1, 0.1, 0.01 }, rates({ "multi_step", milestones = { 1, 3 } }, 4))
    near({ 1, 0.5, 0.25 }, rates({ "exponential", gamma = 0.5 }, 3))
    near({ 1, 0.5, 0 }, rates({ "cosine", steps = 2 }, 3))
    near({ 0, 0.5, 1, 1 }, rates({ "warmup", steps = 2, from = 0 }, 4))
    near({ 1, 1, 0.5, 0.25 }, rates({ "plateau", patience = 0, factor = 0.5 }, 4))
    near({ 0.04, 1 }, rates({ "one_cycle", max_lr = 1, steps = 10, rise = 0.2 }, 2))
    -- policy counts from 1: 1/2 of the way up, held, then ((3 + 3 - k) / 3)^2
    near({ 0.5, 0.5, 1, 4 / 9, 1 / 9 }, rates({ "policy", warmup = 2, decay_start = 3,
      decay_steps = 3 }, 5))
    near({ 1, 2, 2 }, rates({ "policy", warmup = 2 }, 3, optimizer(2)))
  end)

  it("follow one another in a chain, each from its own beginning", function()
    near({ 0, 0.5, 1, 0.5, 0 }, rates({ "chain", milestones = { 2 }, schedules = {
      { "warmup", steps = 2, from = 0 }, { "cosine", steps = 2 } } }, 5))
  end)

  it("are all of mlua.optim.schedule's but lambda, whose function no option holds", function()
    for name in pairs(ml.optim.schedule) do
      assert.equal(name ~= "lambda", registry.get("schedules"):find(name) ~= nil, name)
    end
  end)
end)

describe("metrics by name", function()
  it("gather batches", function()
    local p, y = ml.tensor { 1, 2, 3 }, ml.tensor { 1, 4, 2 } -- differences 0, 2, 1
    for name, want in pairs { mse = 5 / 3, mae = 1 } do
      local m = part("metric", name)()
      m:add(p:narrow(1, 1, 2), y:narrow(1, 1, 2))
      m:add({ mean = p:narrow(1, 3, 3) }, y:narrow(1, 3, 3)) -- as an ensemble gives it
      near({ want, 3 }, { m:result()[name], m:result().count })
      m:clear()
      assert.is_true(m:result()[name] ~= m:result()[name]) -- of nothing: NaN
    end
    local m = part("metric", "accuracy")()
    m:add(ml.tensor { { 0.1, 0.9 }, { 0.8, 0.2 }, { 0.4, 0.6 } }, ml.tensor { { 1 }, { 0 }, { 0 } })
    near({ 2 / 3, 3 }, { m:result().accuracy, m:result().count })
  end)

  it("take a column of predictions and of labels", function()
    local m = part("metric", { "mae", column = "b" })()
    m:add({ a = ml.zeros(2), b = ml.ones(2) }, { a = ml.zeros(2), b = ml.tensor { 1, 3 } })
    m:add({ b = ml.ones(1) }, ml.tensor { 2 })
    near({ 1 }, { m:result().mae }) -- 0, 2 and 1
  end)

  it("have mlua.metric's binary", function()
    local p, y = { 0.2, 0.9, 0.6 }, { 0, 1, 0 }
    local m = part("metric", { "binary", threshold = 0.7 })()
    m:add(ml.tensor(p), ml.tensor(y))
    local other = ml.metric.binary { threshold = 0.7 }
    other:add(ml.tensor(p), ml.tensor(y))
    assert.same(other:result(), m:result())
    assert.equal(1, m:result().accuracy)
  end)
end)

describe("transforms by name", function()
  it("change a column of a copy, of tensors and of numbers", function()
    local sample = { dense = ml.tensor { { 1, 10 }, { 3, 30 } }, label = ml.tensor { 1, 0 }, x = 3 }
    local function done(value) return part("transform", value)()(sample) end
    assert.same({ { -1, -1 }, { 1, 1 } },
      done { "normalize", mean = { 2, 20 }, std = { 1, 10 } }.dense:totable())
    assert.same({ { -1, 8 }, { 1, 28 } }, done { "normalize", mean = { 2 } }.dense:totable())
    assert.equal(2, done { "normalize", mean = { 1 }, column = "x" }.x)
    near({ math.log(2), math.log(11) }, done "log1p".dense:totable()[1])
    near({ math.log(4) }, { done { "log1p", column = "x" }.x })
    assert.same({ { 2, 10 }, { 3, 10 } }, done { "clamp", min = 2, max = 10 }.dense:totable())
    assert.equal(2, done { "clamp", max = 2, column = "x" }.x)
    assert.same({ { 0, 1 }, { 1, 0 } }, done "onehot".label:totable())
    assert.same({ { 1, 10 }, { 3, 30 } }, sample.dense:totable()) -- as it was
    assert.equal(sample.label, done "log1p".label)
  end)

  it("make the logarithm of 1 + x exact near 0", function()
    assert.equal(1e-20, part("transform", "log1p")() { dense = 1e-20 }.dense)
    near({ 1e-10 - 5e-21 }, { part("transform", "log1p")() { dense = 1e-10 }.dense }, 1e-24)
  end)

  it("follow one another in a chain", function()
    local chain = part("transform", { "chain", steps = { { "clamp", min = 0 }, "log1p" } })()
    near({ 0, math.log(2) }, chain { dense = ml.tensor { -5, 1 } }.dense:totable())
    local same = { 1 }
    assert.equal(same, part("transform", "chain")()(same))
  end)

  it("name the column that a sample has not", function()
    assert.equal("bad argument #1 to 'log1p' (sample: no column 'desne', did you mean 'dense'?)",
      mistake(function() part("transform", { "log1p", column = "desne" })() { dense = 1 } end))
  end)
end)

describe("data sets by name", function()
  it("are those of mlua.data", function()
    local options = { "clicks", rows = 70, tables = { 3, 4 }, n_cat = 2, cache = "none" }
    local set = assert(part("dataset", options)("synthetic"))
    assert.same({ 70, { 3, 4 } }, { set:rows(), set:tables() })
    assert.equal(60, set.train:rows())
    assert.is_nil(set:cache())
    set:close()
    local got, why = part("dataset", "clicks")("/nowhere/at/all")
    assert.is_nil(got)
    assert.truthy(why:find("/nowhere/at/all", 1, true))
    local random = part("dataset", { "random", rows = 9 })()
    assert.same({ 9, { 1000, 1000 } }, { random:rows(), random:tables() })
  end)
end)

describe("samplers by name", function()
  local function sorted(list)
    list = { unpack(list) }
    table.sort(list)
    return list
  end

  it("give an epoch's positions, from 1", function()
    assert.same({ 1, 2, 3, 4 }, part("sampler", "sequential")(4, 0))
    local shuffled = part("sampler", { "shuffled", seed = 5 })
    local first = shuffled(50, 0)
    assert.same(part("sampler", "sequential")(50), sorted(first))
    assert.same(first, shuffled(50, 0))
    assert.not_same(first, shuffled(50, 1))
    assert.not_same(first, part("sampler", { "shuffled", seed = 6 })(50, 0))
  end)

  it("draw by weights: never those of weight 0, and each once where none may come again", function()
    local drawn = part("sampler", { "weighted", count = 40 })(3, 0, { 1, 0, 2 })
    assert.equal(40, #drawn)
    for _, at in ipairs(drawn) do assert.is_true(at == 1 or at == 3) end
    local each = part("sampler", { "weighted", replacement = false })(3, 0, { 1, 5, 2 })
    assert.same({ 1, 2, 3 }, sorted(each))
    assert.equal("bad argument #3 to 'weighted' (weights: expected 3 numbers, got nil)",
      mistake(function() part("sampler", "weighted")(3, 0) end))
  end)
end)

describe("formats by name", function()
  it("are those of mlua.format, the user's own when they are there", function()
    local formats, names = registry.get "formats", {}
    for i, each in ipairs(ml.format.list()) do names[i] = each.name end
    assert.same(names, formats:names())
    assert.equal(ml.format.get "json", part("format", "json")())
    local name = "spec-registry" -- a dash is fine in a format's name
    assert.is_nil(formats:find(name))
    local at = line() + 1
    ml.format(name, { doc = "of a spec", save = none, load = none })
    assert.equal(ml.format.get(name), part("format", name)())
    assert.equal("of a spec", formats:find(name).doc)
    assert.truthy(formats:find(name).place:find(":" .. at .. "$"))
  end)
end)
