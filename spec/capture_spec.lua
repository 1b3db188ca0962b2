-- Captured steps: the bits of plain ones, what they follow, what they refuse, and memory.
local DLRM = require "mlua.nn.dlrm"
local core = require "mlua.ffi"
local ml = require "mlua"

local nn, optim = ml.nn, ml.optim

local function fails(fn, pattern)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  assert.is_truthy(message:find(pattern, 1, true), message)
end

-- All bits of a model's and an optimiser's tensors, as text.
local function bits(...)
  local all = {}
  for _, owner in ipairs { ... } do
    local names = {}
    for name in pairs(owner:state()) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      for _, v in ipairs(owner:state()[name]:reshape(-1):totable()) do
        all[#all + 1] = ("%a"):format(v)
      end
    end
  end
  return table.concat(all, " ")
end

-- Runs plain and captured steps side by side on models from the same start; batches by number.
local function same_bits(make, body, batch_of, steps)
  local plain_model, plain_opt = make()
  local model, opt = make()
  local plain, captured, record = body(plain_model, plain_opt), ml.capture(body(model, opt))
  for k = 1, steps do
    local batch, between = batch_of(k)
    if between then
      between(plain_opt)
      between(opt)
    end
    local want, got = ml.scope(plain, batch):item(), captured(batch):item()
    assert.equal(("%a"):format(want), ("%a"):format(got), "loss of step " .. k)
  end
  assert.equal(bits(plain_model, plain_opt), bits(model, opt))
  assert.equal(plain_opt.steps, opt.steps)
  return record
end

local function mlp(name, o)
  return function()
    local model = nn.MLP.new { sizes = { 4, 7, 3, 1 }, last = "none", seed = 5, stream = 1 }
    return model, optim[name](model, o)
  end
end

local function regression(model, opt)
  return function(batch)
    local loss = ml.mse(model:forward(batch.x), batch.y)
    opt:step(loss)
    return loss
  end
end

local function rows(k, n)
  return { x = ml.randn(n, 4, { seed = 1, stream = 2 * k }),
           y = ml.randn(n, 1, { seed = 1, stream = 2 * k + 1 }), step = k, rows = n }
end

describe("a captured step", function()
  for name, o in pairs {
    sgd = { lr = 0.05 }, adagrad = { lr = 0.05 }, adam = { lr = 0.01 }, lion = { lr = 1e-3 },
    adamw = { lr = 0.01 }, rmsprop = { lr = 0.01, momentum = 0.5 },
  } do
    it("has the bits of a plain one: an MLP by " .. name, function()
      local record = same_bits(mlp(name, o), regression, function(k) return rows(k, 6) end, 50)
      assert.equal(1, #record.programs)
    end)
  end

  it("has them where rate and momentum change between steps", function()
    same_bits(mlp("sgd", { lr = 0.1, momentum = 0.9 }), regression, function(k)
      return rows(k, 6), function(opt)
        opt:set_lr(0.1 / k)
        opt:set_momentum(1 - 1 / (k + 1))
      end
    end, 50)
  end)

  it("has them where the last batch of an epoch is short: one record for each size", function()
    local record = same_bits(mlp("adam", {}), regression, function(k)
      return rows(k, k % 10 == 0 and 3 or 6)
    end, 50)
    assert.equal(2, #record.programs)
  end)

  local TABLES = { 11, 5, 40 }
  local function dlrm(name, o)
    return function()
      local model = DLRM.new { dense = 4, tables = TABLES, dim = 4, bottom = { 8 }, top = { 6 },
        seed = 3 }
      return model, optim[name](model, o)
    end
  end
  local function clicks(model, opt)
    return function(batch)
      local loss = ml.bce(model:forward(batch.dense, batch.ids, batch.offsets), batch.label)
      opt:step(loss)
      return loss
    end
  end
  -- A batch with bags, whose sizes change with the step.
  local function bags(k, n)
    local ids, offsets = {}, { 0 }
    for t, size in ipairs(TABLES) do
      for row = 1, n do
        for i = 1, (k + row * t) % 4 do ids[#ids + 1] = (k * 7 + row * 3 + i) % size end
        offsets[#offsets + 1] = #ids
      end
    end
    return { dense = ml.rand(n, 4, { seed = 2, stream = 2 * k }),
             label = ml.rand(n, 1, { seed = 2, stream = 2 * k + 1 }):round(),
             ids = ml.tensor(ids, "i32"), offsets = ml.tensor(offsets, "i32") }
  end
  local function single(k, n)
    local batch, ids = bags(k, n), {}
    for t, size in ipairs(TABLES) do
      ids[t] = {}
      for row = 1, n do ids[t][row] = (k * 5 + row * t) % size end
    end
    batch.ids, batch.offsets = ml.tensor(ids, "i64"), nil
    return batch
  end

  for _, name in ipairs { "sgd", "adagrad", "rwsadagrad", "adam" } do
    it("has them where bag sizes change: a DLRM by " .. name, function()
      local record = same_bits(dlrm(name, { lr = 0.05 }), clicks, function(k)
        return bags(k, 3)
      end, 50)
      assert.equal(1, #record.programs)
      same_bits(dlrm(name, { lr = 0.05 }), clicks, function(k) return bags(k, 12) end, 8)
    end)

    it("has them with one id per bag: a DLRM by " .. name, function()
      same_bits(dlrm(name, { lr = 0.05 }), clicks, function(k) return single(k, 2) end, 50)
    end)
  end

  it("has them where bags come and go: absent fields are part of a record", function()
    local record = same_bits(dlrm("sgd", { lr = 0.05 }), clicks, function(k)
      return (k % 2 == 0 and bags or single)(k, 3)
    end, 20)
    assert.equal(2, #record.programs)
  end)

  it("tells an empty table from an absent one", function()
    local step = ml.capture(function(b) return b.extra and b.x * 2 or b.x * 3 end)
    local x = ml.tensor { 1, 2 }
    assert.same({ 2, 4 }, step({ x = x, extra = {} }):totable())
    assert.same({ 3, 6 }, step({ x = x }):totable())
    assert.same({ 2, 4 }, step({ x = x, extra = {} }):totable())
  end)

  it("has them over a loader, whose tensors are the same each time", function()
    local random = require("mlua.data.random").open { rows = 70, n_dense = 4, tables = TABLES,
      lookups = 5, seed = 4 }
    local loaders = { assert(random:loader { batch = 8 }), assert(random:loader { batch = 8 }) }
    local make = dlrm("rwsadagrad", { lr = 0.1 })
    local models = { { make() }, { make() } }
    local steps = { clicks(unpack(models[1])), (ml.capture(clicks(unpack(models[2])))) }
    local losses = { {}, {} }
    for i = 1, 2 do
      for epoch = 0, 5 do
        for batch in loaders[i]:epoch(epoch) do
          table.insert(losses[i], ml.scope(steps[i], batch):item())
        end
      end
      loaders[i]:close()
    end
    assert.equal(54, #losses[1])
    assert.same(losses[1], losses[2])
    assert.equal(bits(unpack(models[1])), bits(unpack(models[2])))
  end)

  it("has them with gradients gathered, clipped by value, averaged and forgotten", function()
    local averages = {}
    same_bits(mlp("sgd", { lr = 0.1, momentum = 0.5 }), function(model, opt)
      local ema = optim.ema(model, { decay = 0.9 })
      averages[#averages + 1] = ema
      return function(batch)
        opt:zero_grad()
        local loss = ml.mse(model:forward(batch.x), batch.y)
        loss:backward()
        ml.mse(model:forward(batch.x * 2), batch.y):backward()
        optim.clip_grad_value(opt, 0.1)
        opt:step()
        ema:update()
        return loss
      end
    end, function(k) return rows(k, 6) end, 50)
    assert.equal(bits(averages[1]), bits(averages[2]))
  end)

  it("has them with shared weights, views, fills, writes and constants in the step", function()
    same_bits(function()
      local model = nn.MLP.new { sizes = { 4, 4, 4 }, last = "none", seed = 5, stream = 1 }
      return model, optim.adam(model, { lr = 0.01 })
    end, function(model, opt)
      local running = ml.zeros(4)
      return function(batch)
        local h = model:forward(model:forward(batch.x))
        local gates = ml.tensor { 1, 0.5, 0.25, 2 }
        gates[2] = 3
        gates:copy(gates * 2)
        local zero = ml.zeros(h:shape())
        zero[{ { 1, 2 } }] = h:detach():narrow(1, 1, 2)
        running:copy(running * 0.5 + h:detach():sum(1))
        running:add_(ml.ones(4, { dtype = "i32" }):to "f32")
        local loss = ((h * gates + zero + running:to "f64"):transpose() * 0.5 + 1):square():sum()
        opt:step(loss)
        return loss
      end
    end, function(k) return rows(k, 6) end, 50)
  end)

  it("draws the random numbers that a plain one would", function()
    local function body(model, opt)
      return function(batch)
        local noise = ml.randn(batch.x:shape())
        local mask = ml.rand(6, 1):lt(0.5):to "f32"
        local loss = ml.mse(model:forward(batch.x + noise * mask), batch.y)
        opt:step(loss)
        return loss
      end
    end
    local losses = {}
    for i, wrap in ipairs { function(f) return f end, function(f) return (ml.capture(f)) end } do
      local step = wrap(body(mlp("sgd", { lr = 0.1 })()))
      ml.seed(9)
      losses[i] = {}
      for k = 1, 20 do
        if k == 12 then ml.seed(3) end
        if k % 5 == 0 then ml.rand(1) end -- others draw, too
        losses[i][k] = ml.scope(step, rows(k, 6)):item()
      end
    end
    assert.same(losses[1], losses[2])
  end)

  it("counts on where layers do: dropout, batch norm and its running statistics", function()
    local models = {}
    for i = 1, 2 do
      ml.seed(4)
      models[i] = nn.Sequential.new { nn.Linear.new { inputs = 4, outputs = 8 },
        nn.BatchNorm.new { channels = 8 }, nn.Dropout.new { p = 0.4 },
        nn.Linear.new { inputs = 8, outputs = 1 } }
    end
    local made = 0
    same_bits(function()
      made = made + 1
      return models[made], optim.adam(models[made], { lr = 0.01 })
    end, regression, function(k) return rows(k, 6) end, 50)
  end)

  it("has them where layers meet a new shape in it: rotary tables, the offsets of even bags",
    function()
      local function attention()
        local model = nn.MultiheadAttention.new { dim = 4, heads = 2, rotary = true, seed = 1,
          stream = 1 }
        return model, optim.sgd(model, { lr = 0.1 })
      end
      local long = 40 -- more positions than Rotary makes tables for at first
      local function see(model, opt)
        return function(batch)
          local loss = model:forward(batch.x):square():sum()
          opt:step(loss)
          return loss
        end
      end
      same_bits(attention, see, function(k)
        return { x = ml.randn(k == 3 and long or 5, 2, 4, { seed = 1, stream = k }) }
      end, 5)

      local function bag()
        local model = nn.EmbeddingBag.new { rows = 7, dim = 2, seed = 1, stream = 1 }
        return model, optim.sgd(model, { lr = 0.1 })
      end
      same_bits(bag, see, function(k)
        return { x = ml.randint(0, 7, k % 2 + 2, 3, { seed = 1, stream = k }) }
      end, 5)
    end)

  it("leaves layers as they were: a plain forward of that shape makes its own tables", function()
    local rotary, bag = nn.Rotary.new { dim = 4 }, nn.EmbeddingBag.new { rows = 5, dim = 2 }
    local x, ids = ml.randn(20, 4), ml.tensor({ { 1, 2 }, { 3, 4 } }, "i64")
    local want, want_bags = ml.capture(function() return rotary(x) end)(),
      ml.capture(function() return bag(ids) end)()
    assert.same(want:totable(), rotary(x):totable())
    assert.same(want_bags:totable(), bag(ids):totable())
  end)

  it("returns copies: what it returned before stays", function()
    local step = ml.capture(function(x) return x * 2, x + 1 end)
    local a, b = step(ml.ones(2))
    local c, d = step(ml.full(5, 2))
    assert.same({ 2, 2 }, a:totable())
    assert.same({ 2, 2 }, b:totable())
    assert.same({ 10, 10 }, c:totable())
    assert.same({ 6, 6 }, d:totable())
    assert.is_nil((ml.capture(function() end))())
  end)

  it("takes tensors in any layout, nested and named, and no notice of fields it does not read",
    function()
      local runs = 0
      local step, record = ml.capture(function(a, list, o)
        runs = runs + 1
        return a * list[1] + list[2].deep * o.factor
      end)
      for k = 1, 4 do
        local m = ml.randn(2, 3)
        local got = step(m:transpose(), { ml.full(k, 3, 2), { deep = ml.ones(3, 2), n = k } },
          { factor = 3, step = k })
        assert.same((m:transpose() * k + 3):totable(), got:totable())
      end
      assert.equal(1, runs)
      step(ml.ones(3, 2), { ml.ones(3, 2), { deep = ml.ones(3, 2) } }, { factor = 4 })
      assert.equal(2, runs)
      assert.equal(2, #record.programs)
    end)

  it("records again where two arguments that were one tensor are two", function()
    local step = ml.capture(function(a, b) return a * b end)
    local x = ml.full(3, 1)
    assert.equal(9, step(x, x):item())
    assert.equal(6, step(x, ml.full(2, 1)):item())
    assert.equal(4, step(ml.full(2, 1), ml.full(2, 1)):item())
  end)

  it("records again where a parameter is frozen, under no_grad, and by the reference", function()
    local model, opt = mlp("sgd", { lr = 0.1 })()
    local runs = 0
    local step = ml.capture(function(x)
      runs = runs + 1
      return model:forward(x):sum()
    end)
    step(ml.ones(2, 4))
    step(ml.ones(2, 4))
    assert.equal(1, runs)
    model:parameters()[1]:requires_grad(false)
    step(ml.ones(2, 4))
    assert.equal(2, runs)
    ml.no_grad(step, ml.ones(2, 4))
    assert.equal(3, runs)
    local before = ml.reference(true)
    step(ml.ones(2, 4))
    ml.reference(before)
    assert.equal(4, runs)
    assert.equal(0, opt.steps)
  end)

  it("keeps a few records, the latest", function()
    local runs = 0
    local step, record = ml.capture(function(x)
      runs = runs + 1
      return x:sum()
    end, { programs = 2 })
    for _, n in ipairs { 1, 2, 1, 2, 3, 2, 3, 1 } do
      assert.equal(n, step(ml.ones(n)):item())
    end
    assert.equal(4, runs)
    assert.equal(2, #record.programs)
    record:forget()
    assert.equal("captured step: not yet recorded", tostring(record))
    step(ml.ones(1))
    assert.equal(5, runs)
    assert.equal("captured step: 1 calls", tostring(record))
  end)
end)

describe("what would go wrong silently is refused:", function()
  local x = ml.ones(2)
  local w = ml.ones(2):requires_grad()
  local computed = w * 2
  local opt = optim.sgd({ w }, { lr = 0.1 })
  local random = require("mlua.data.random").open { rows = 8, n_dense = 1, tables = { 3 } }
  local loader = assert(random:loader { batch = 4 })
  local writes = "the step writes into one of its arguments"
  local reads = "the step reads values (item, at, totable, printing)"
  for name, case in pairs {
    ["item"] = { function(t) return t:sum():item() end, reads },
    ["at"] = { function(t) return t:at(1) end, reads },
    ["totable"] = { function(t) return t:totable() end, reads },
    ["printing"] = { function(t) return tostring(t) end, reads },
    ["data"] = { function(t) return t:data() end, "the step asks for a tensor's memory" },
    ["masks"] = { function(t) return t[t:gt(0)] end, "a mask's count depends on values" },
    ["ids"] = { function(t) return t[ml.tensor({ 0 }, "i64")] end, "use index_select" },
    ["looking at gradients"] = { function() return w:grad() end, "cannot look at its gradients" },
    ["the norm of gradients"] = { function() optim.clip_grad_norm({ w }, 1) end, "clip by value" },
    ["keeping"] = { function(t) return (t * 2):keep() end, "keep: a tensor of the step" },
    ["writing into an argument"] = { function(t) t:fill(3) end, writes },
    ["writing into a part of one"] = { function(t) t[1] = 3 end, writes },
    ["a tensor on the tape outside"] = { function() return computed:sum() end, "detach it first" },
    ["a rate set inside"] = { function() opt:set_lr(0.1) end, "set_lr inside the step" },
    ["asking for gradients inside"] = { function() ml.ones(1):requires_grad() end,
      "requires_grad: set it outside" },
    ["a loader that goes on inside"] = { function() loader:next() end, "goes on outside the step" },
    ["draws named once"] = { function(t) return nn.functional.dropout(t, 0.5) end,
      "the same name each time" },
    ["results that are no tensors"] = { function() return 3 end, "its result #1 is 3" },
    ["a captured step inside"] = { function(t) return (ml.capture(function(u) return u end))(t) end,
      "a captured step inside another" },
  } do
    it(name, function()
      local step = ml.capture(case[1])
      local tensors = ml.memory().tensors
      fails(function() step(x) end, case[2])
      assert.is_false(core.C.ml_capturing())
      assert.is_nil(core.recording)
      assert.same({ 1, 1 }, x:totable())
      jit.flush()
      for _ = 1, 3 do collectgarbage() end
      assert.is_true(ml.memory().tensors <= tensors)
    end)
  end

  it("arguments that require a gradient, or are objects; setting their fields", function()
    fails(function() (ml.capture(function(t) return t end))(w) end,
      "capture: an argument that requires a gradient")
    fails(function() (ml.capture(function() end))(setmetatable({}, {})) end,
      "capture: argument #1: expected a tensor, a value or a plain table, got an object")
    fails(function() (ml.capture(function(b) b.x = 1 end))({}) end,
      "capture: the step sets a field of its argument")
    fails(function() ml.capture(3) end,
      "bad argument #1 to 'capture' (fn: expected a function, got 3)")
  end)

  it("a tensor in use that was freed since", function()
    local mask = ml.ones(2)
    local step = ml.capture(function(t) return t * mask end)
    step(x)
    core.free(mask)
    fails(function() step(x) end, "capture: a tensor that the step uses was freed")
  end)

  it("names the user's line, and passes the user's own errors on", function()
    local ok, message = pcall((ml.capture(function(t) return t:item() end)), ml.ones(1))
    assert.is_false(ok)
    assert.is_truthy(message:find("capture_spec.lua:%d+: capture: the step reads values"), message)
    ok, message = pcall((ml.capture(function() error("mine", 0) end)))
    assert.is_false(ok)
    assert.equal("mine", message)
  end)

  it("an id outside its table, at a replay, with the plain step's message", function()
    local tables = nn.TableCollection.new { rows = { 4 }, dim = 2, seed = 1 }
    local step = ml.capture(function(ids) return tables:forward(ids) end)
    step(ml.tensor({ { 1, 2 } }, "i32"))
    fails(function() step(ml.tensor({ { 1, 9 } }, "i32")) end, "id 9 at position 1 is outside")
    assert.same({ 2, 1, 2 }, step(ml.tensor({ { 1, 3 } }, "i32")):shape())
  end)
end)

describe("memory of captured steps", function()
  local function settle()
    jit.flush() -- what was compiled holds on to what it was compiled for
    for _ = 1, 4 do collectgarbage() end
  end

  it("is flat over 10,000 replays, and goes with the step", function()
    settle()
    local tensors, live = ml.memory().tensors, ml.memory().live
    do
      local model, opt = mlp("adam", {})()
      local step = ml.capture(regression(model, opt))
      local batch, resident = rows(1, 6), nil
      for k = 1, 22000 do
        ml.scope(step, batch)
        if k == 12000 then
          settle()
          resident = ml.memory().resident
        end
      end
      settle()
      local ratio = ml.memory().resident / resident
      if not os.getenv "ASAN_OPTIONS" then assert.is_true(ratio < 1.02, ratio) end
    end
    settle()
    assert.equal(tensors, ml.memory().tensors)
    assert.equal(live, ml.memory().live)
  end)

  it("that is denied while recording is an error without a leak", function()
    local model, opt = mlp("adam", {})()
    local batch = rows(1, 6)
    settle()
    local tensors, live, failures = ml.memory().tensors, ml.memory().live, 0
    for n = 1, 1000 do
      local step = ml.capture(regression(model, opt))
      core.C.ml_memory_fail_at(n)
      local ok, message = pcall(ml.scope, step, batch)
      core.C.ml_memory_fail_at(0)
      if ok then break end
      failures = n
      assert.is_truthy(message:find("out of memory", 1, true), message)
      assert.equal(0, core.C.ml_scope_depth())
    end
    assert.is_true(failures > 10)
    settle()
    assert.equal(tensors, ml.memory().tensors)
    assert.equal(live, ml.memory().live)
  end)
end)
