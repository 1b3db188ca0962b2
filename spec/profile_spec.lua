-- Profiles: exact counts, times that nest, traces that say the same, and nothing else changed.
local files = require "spec.support.files"
local json = require "mlua.json"
local ml = require "mlua"

local nn, optim = ml.nn, ml.optim

local STEPS = 10

-- A multilayer perceptron of three layers and steps of it; its bits afterwards.
local function setting()
  local model = nn.MLP.new { sizes = { 8, 16, 16, 1 }, seed = 1, stream = 0 }
  local optimizer = optim.adam(model, { lr = 0.01 })
  local x, y = ml.randn(4, 8, { seed = 1, stream = 5 }), ml.randn(4, 1, { seed = 1, stream = 6 })
  return model, function()
    ml.scope(function() optimizer:step(ml.mse(model(x), y)) end)
  end
end

local function train(n)
  local model, step = setting()
  for _ = 1, n or STEPS do step() end
  local bits = {}
  for _, p in ipairs(model:named_parameters()) do
    for _, v in ipairs(p.tensor:reshape(-1):totable()) do bits[#bits + 1] = ("%a"):format(v) end
  end
  return table.concat(bits, " ")
end

local function by_name(list)
  local all = {}
  for _, each in ipairs(list) do all[each.name] = each end
  return all
end

local function calls(list)
  local all = {}
  for _, each in ipairs(list) do all[each.name] = each.calls end
  return all
end

-- The events of a profile's trace, and the names of its threads.
local function trace_of(p)
  local folder = files.folder()
  assert(p:trace(folder .. "/trace.json"))
  local document = assert(json.decode(files.read(folder .. "/trace.json")))
  files.remove(folder)
  local events, threads = {}, {}
  for _, e in ipairs(document.traceEvents) do
    if e.ph == "X" then events[#events + 1] = e end
    if e.name == "thread_name" then threads[e.tid] = e.args.name end
  end
  return events, threads, document
end

-- In each thread an event is within the one around it, or beside it. Times have three digits.
local function check_nesting(events)
  local of = {}
  for _, e in ipairs(events) do
    assert.is_true(e.dur >= 0 and e.ts >= 0)
    of[e.tid] = of[e.tid] or {}
    table.insert(of[e.tid], e)
  end
  for _, list in pairs(of) do
    table.sort(list, function(a, b)
      if a.ts ~= b.ts then return a.ts < b.ts end
      return a.dur > b.dur
    end)
    local open = {}
    for _, e in ipairs(list) do
      while #open > 0 and open[#open].ts + open[#open].dur <= e.ts + 0.0005 do open[#open] = nil end
      local around = open[#open]
      assert.is_true(not around or e.ts + e.dur <= around.ts + around.dur + 0.002,
        around and e.name .. " reaches out of " .. around.name)
      open[#open + 1] = e
    end
  end
end

describe("a profile", function()
  it("counts each operation, its backward and its updates, exactly", function()
    local p = ml.profile(train)
    local n = calls(p.operations)
    assert.same({ 3 * STEPS, 3 * STEPS, STEPS, STEPS }, { n.linear, n["linear backward"], n.mse,
      n["mse backward"] })
    assert.equal(6 * STEPS, n["adam update"]) -- a weight and a bias of each layer
    for _, each in ipairs(p.operations) do
      assert.is_true(each.seconds > 0 and each.own <= each.seconds, each.name)
      assert.is_true(each.longest <= each.seconds and each.seconds <= p.seconds, each.name)
    end
  end)

  it("changes no bit of what is computed", function()
    local plain = train()
    local _, profiled = ml.profile(train)
    assert.equal(plain, profiled)
  end)

  it("has the layers by path, a layer's own time without those inside", function()
    local p = ml.profile(train)
    assert.same({ MLP = STEPS, ["MLP.1 Linear"] = STEPS, ["MLP.2 Linear"] = STEPS,
      ["MLP.3 Linear"] = STEPS }, calls(p.layers))
    local l = by_name(p.layers)
    local inside = l["MLP.1 Linear"].seconds + l["MLP.2 Linear"].seconds
      + l["MLP.3 Linear"].seconds
    assert.is_true(inside <= l.MLP.seconds)
    assert.is_true(math.abs(l.MLP.seconds - inside - l.MLP.own) < 1e-9)
    assert.is_true(by_name(p.operations).linear.seconds <= inside) -- each in one of them
  end)

  it("numbers a second root of a class, and names layers anew in the next profile", function()
    local a = nn.Linear.new { inputs = 2, outputs = 2 }
    local b = nn.Linear.new { inputs = 2, outputs = 2 }
    local x = ml.ones(1, 2)
    for _ = 1, 2 do
      local p = ml.profile(function() a(x) b(x) b(x) end)
      assert.same({ Linear = 1, Linear2 = 2 }, calls(p.layers))
    end
  end)

  it("sees nothing of what is done while it is not on", function()
    train()
    ml.profile.start()
    local p = ml.profile.stop()
    train()
    assert.same({ 0, 0, 0 }, { #p.operations, #p.layers, p.events })
  end)

  it("keeps so many events as it may, says how many it left out, and counts all", function()
    ml.profile.start { events = 25 }
    train()
    local p = ml.profile.stop()
    local all = ml.profile(train)
    assert.equal(25, p.events)
    assert.equal(all.events - 25, p.left_out)
    assert.equal(0, all.left_out)
    assert.same(calls(all.operations), calls(p.operations))
    local events, _, document = trace_of(p)
    assert.same({ 25, p.left_out }, { #events, document.otherData.left_out })
  end)

  it("times gradients that Lua computes by their operation, those inside not twice", function()
    local cube = ml.operation {
      name = "cube",
      forward = function(ctx, x)
        ctx.x = x
        return x * x * x
      end,
      backward = function(ctx, g) return g * 3 * ctx.x * ctx.x end,
    }
    local x = ml.ones(3):requires_grad()
    local p = ml.profile(function() cube(x):sum():backward() end)
    local n = by_name(p.operations)
    assert.equal(1, n["cube backward"].calls)
    assert.is_true(n["cube backward"].own < n["cube backward"].seconds)
    local own = 0
    for _, each in ipairs(p.operations) do own = own + each.own end
    assert.is_true(own <= p.seconds)
  end)

  it("times what a captured step repeats, operation by operation", function()
    local w = ml.ones(3, 3):requires_grad()
    local step = ml.capture(function(x) return (ml.matmul(x, w)):sum() end)
    local x = ml.ones(2, 3)
    step(x) -- captured, before
    local p = ml.profile(function() for _ = 1, 5 do step(x) end end)
    local n = calls(p.operations)
    assert.same({ 5, 5, 5 }, { n.replay, n.matmul, n.sum })
  end)

  it("ends a part that an error left with the part around it", function()
    local part = ml.profile.part
    local p = ml.profile(function()
      part("outer", function() pcall(part, "inner", error, "no") end)
      part("after", function() end)
    end)
    assert.same({ outer = 1, inner = 1, after = 1 }, calls(p.parts))
    check_nesting((trace_of(p)))
    local of = by_name(p.parts)
    assert.is_true(of.inner.seconds <= of.outer.seconds)
  end)

  it("hands on what a function gives, and ends where it fails", function()
    local p, a, b = ml.profile(function(x, y) return y, x end, 1, 2)
    assert.same({ 2, 1 }, { a, b })
    assert.is_true(p.seconds > 0)
    assert.error_matches(function() ml.profile(error, "mine", 0) end, "mine", 1, true)
    assert.is_false(ml.profile.is_on())
  end)

  it("is one at a time, and says where there is none", function()
    ml.profile.start()
    local ok, why = pcall(ml.profile.start)
    ml.profile.stop()
    assert.is_false(ok)
    assert.is_truthy(why:find("profile: one is on already", 1, true))
    ok, why = pcall(ml.profile.stop)
    assert.is_false(ok)
    assert.is_truthy(why:find("stop: no profile is on", 1, true))
    assert.error_matches(function() ml.profile(7) end, "expected a function, got 7", 1, true)
  end)

  it("prints the largest first, and sums up what it leaves out", function()
    local p = ml.profile(train)
    local text = p:top(2)
    assert.is_truthy(text:find("\noperation +calls +total ms +own ms +mean µs +share\n"))
    assert.is_truthy(text:find(("%%d more"):format(#p.operations - 2)))
    local function place(i) return text:find("\n" .. p.operations[i].name .. "  ", 1, true) end
    assert.is_true(place(1) < place(2))
    assert.is_true(p.operations[1].own >= p.operations[2].own)
    assert.is_nil(text:find("in the background", 1, true))
  end)
end)

describe("parts that errors leave", function()
  it("are counted as left out once there is no room for more", function()
    local profile = ml.profile
    profile.start()
    for _ = 1, 600 do pcall(profile.part, "bad", error, "x") end
    for _ = 1, 50 do profile.part("good", tostring, 1) end
    assert.equal(600 - 512 + 50, profile.stop().left_out)
  end)
end)

describe("the trace of a profile", function()
  it("has every event within the one around it, with its shape", function()
    local p = ml.profile(train)
    local events = trace_of(p)
    assert.equal(p.events, #events)
    check_nesting(events)
    local seen = {}
    for _, e in ipairs(events) do
      if e.cat == "operation" and e.name == "linear" then seen[e.args.result] = true end
      assert.is_true(e.ts + e.dur <= p.seconds * 1e6 + 1)
    end
    assert.same({ ["f32 [4, 16]"] = true, ["f32 [4, 1]"] = true }, seen)
  end)

  it("has each operation within its layer", function()
    local events = trace_of(ml.profile(train))
    local layers, inside = {}, 0
    for _, e in ipairs(events) do
      if e.cat == "layer" and e.name == "MLP.2 Linear" then layers[#layers + 1] = e end
    end
    for _, e in ipairs(events) do
      for _, l in ipairs(layers) do
        if e.cat == "operation" and e.ts >= l.ts and e.ts + e.dur <= l.ts + l.dur + 0.002 then
          inside = inside + 1
        end
      end
    end
    assert.same({ STEPS, STEPS }, { #layers, inside })
  end)

  it("has threads that read ahead by name, a gathering for each batch", function()
    local set = assert(ml.data.clicks.open("synthetic", { rows = 700, seed = 3, cache = false,
      tables = { 50, 20 }, n_dense = 3, n_cat = 2 }))
    local p = ml.profile(function()
      local loader = assert(set.train:loader { batch = 64, workers = 2, seed = 1 })
      local n = 0
      for _ in loader:epoch(0) do n = n + 1 end
      assert.equal(loader:steps(), n)
      loader:close()
      return n
    end)
    local n = calls(p.parts)["loader: wait"]
    assert.is_true(n > 1)
    assert.equal(n, calls(p.parts)["loader: copy"])
    assert.equal(n, calls(p.background)["loader: gather"])
    local events, threads = trace_of(p)
    check_nesting(events)
    assert.equal("training", threads[1])
    for _, e in ipairs(events) do
      assert.equal(e.cat == "background", e.tid ~= 1)
      if e.cat == "background" and e.name == "loader: gather" then
        assert.is_truthy(threads[e.tid]:find "^loader %d+$")
      end
    end
  end)

  it("that cannot be written is no mistake of the script's", function()
    local p = ml.profile(train)
    local ok, why = p:trace "/no/such/folder/trace.json"
    assert.is_nil(ok)
    assert.is_truthy(why:find("/no/such/folder", 1, true))
  end)
end)

describe("a profiled engine", function()
  local function engine(hooks)
    local model = nn.MLP.new { sizes = { 8, 64, 64, 1 }, seed = 1, stream = 0 }
    local set = { x = ml.randn(640, 8, { seed = 1, stream = 5 }),
                  y = ml.randn(640, 1, { seed = 1, stream = 6 }) }
    return ml.engine {
      model = model, optimizer = optim.adam(model, { lr = 0.01 }), quiet = true, epochs = 4,
      train = ml.data.samples.loader(set, { batch = 64, shuffle = true, seed = 1 }),
      test = ml.data.samples.loader(set, { batch = 320 }), hooks = hooks,
      loss = function(b) return ml.mse(model(b.x), b.y) end,
      predict = function(b) return model(b.x), b.y end,
      metrics = { ml.registry.get("metrics"):find("mse").build { column = "" } },
    }
  end

  it("has its parts: batches, steps, tests, hooks", function()
    local e = engine { step = function() end, epoch = function() end, test = function() end }
    local p, r = ml.profile(function() return e:fit() end)
    assert.equal(40, r.steps)
    assert.same({
      step = 40, batch = 40, test = 4, ["hook: step"] = 40, ["hook: epoch"] = 4,
      ["hook: test"] = 4, ["loader: gather"] = 40 + 4 * 2,
    }, calls(p.parts))
    assert.equal(3 * (40 + 4 * 2), calls(p.operations).linear)
    assert.equal(40 + 4 * 2, calls(p.layers).MLP)
  end)

  it("accounts for most of the time by its parts, none of it twice", function()
    local best = 0
    for _ = 1, 5 do -- other programs may take the time of one
      local e, own = engine(), 0
      local p = ml.profile(function() return e:fit() end)
      for _, each in ipairs(p.parts) do own = own + each.own end
      assert.is_true(own <= p.seconds)
      best = math.max(best, own / p.seconds)
    end
    assert.is_true(best >= 0.6, ("%g of the time"):format(best))
  end)

  it("gives the weights of one that is not", function()
    local plain, timed = engine(), engine()
    plain:fit()
    ml.profile(function() timed:fit() end)
    for name, t in pairs(plain.model:state()) do
      assert.same(t:totable(), timed.model:state()[name]:totable())
    end
  end)
end)
