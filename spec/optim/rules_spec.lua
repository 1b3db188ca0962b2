-- Optimisers with states: values by hand, groups, resuming, and mistakes in options.
local ml = require "mlua"
local optim, nn = ml.optim, ml.nn

local function leaf(values, dtype) return ml.tensor(values, dtype):requires_grad() end

local function close(want, tensor)
  for i, v in ipairs(tensor:detach():reshape(-1):totable()) do
    assert.is_true(math.abs(v - want[i]) < 1e-6,
      ("[%d]: expected %g, got %g"):format(i, want[i], v))
  end
end

local function same_bits(a, b)
  for name, t in pairs(a) do assert.same(t:totable(), b[name]:totable(), name) end
end

local KINDS = {
  { "sgd", { momentum = 0.9 } }, { "sgd", { momentum = 0.5, dampening = 0.5 } },
  { "adagrad", {} }, { "rwsadagrad", {} }, { "adam", {} },
  { "adam", { amsgrad = true } }, { "adamw", { weight_decay = 0.1 } }, { "rmsprop", {} },
  { "rmsprop", { centered = true, momentum = 0.5 } }, { "lion", {} },
}

describe("maximize", function()
  it("goes up in the groups that ask for it, and leaves gathered gradients as they were", function()
    for _, fused in ipairs { true, false } do
      local up, down = leaf { 1, 2 }, leaf { 1, 2 }
      local opt = optim.sgd({ { params = { up }, maximize = true }, { params = { down } } },
        { lr = 0.5 })
      local loss = (up * ml.tensor { 2, -4 } + down * ml.tensor { 2, -4 }):sum()
      if fused then
        opt:step(loss)
        assert.is_nil(up:grad())
      else
        loss:backward()
        opt:step()
        assert.same({ 2, -4 }, up:grad():totable())
      end
      close({ 2, 0 }, up)
      close({ 0, 4 }, down)
    end
  end)

  it("mirrors a loss of the other sign, tables and captured steps included", function()
    local function train(o, sign, capture)
      local m = nn.EmbeddingBag.new { rows = 6, dim = 3, seed = 1, stream = 1, mode = "sum" }
      local opt = optim[o[1]](m, o[2])
      local step = function(x)
        local loss = m(x):sin():sum() * sign
        opt:step(loss)
        return loss
      end
      if capture then step = ml.capture(step) end
      for k = 1, 4 do step(ml.randint(0, 6, 3, 2, { seed = 2, stream = k })) end
      return m.weight:totable()
    end
    for _, kind in ipairs(KINDS) do
      local rising = { maximize = true }
      for name, v in pairs(kind[2]) do rising[name] = v end
      local want = train(kind, -1)
      assert.same(want, train({ kind[1], rising }, 1), kind[1])
      assert.same(want, train({ kind[1], rising }, 1, true), kind[1])
    end
  end)
end)

describe("Adagrad's lr_decay", function()
  local function ones() return leaf({ 1, 1 }, "f64") end

  it("lowers the rate with each update, and counts on where a state is loaded", function()
    local p, o = ones(), { lr = 1, lr_decay = 1, eps = 0 }
    local opt = optim.adagrad({ p }, o)
    opt:step(p:sum()) -- g = 1: 1
    opt:step(p:sum()) -- (1 / 2) / sqrt 2
    local at = -0.5 / math.sqrt(2)
    close({ at, at }, p)
    assert.equal(2, opt:state().updates:item())
    assert.equal(1, opt.lr)
    local q = leaf(p:totable(), "f64")
    local again = optim.adagrad({ q }, o)
    assert.is_true(again:load_state(opt:state()))
    opt:step(p:sum()) -- (1 / 3) / sqrt 3
    again:step(q:sum())
    close({ at - 1 / 3 / math.sqrt(3), at - 1 / 3 / math.sqrt(3) }, p)
    assert.same(p:totable(), q:totable())
    opt:set_lr(4)
    opt:step(p:sum()) -- (4 / 4) / sqrt 4
    close({ at - 1 / 3 / math.sqrt(3) - 0.5, at - 1 / 3 / math.sqrt(3) - 0.5 }, p)
    assert.is_nil(optim.adagrad({ ones() }):state().updates)
  end)

  it("goes on in captured steps", function()
    local a, b = ones(), ones()
    local opt_a = optim.adagrad({ a }, { lr = 1, lr_decay = 0.5 })
    local opt_b = optim.adagrad({ b }, { lr = 1, lr_decay = 0.5 })
    local step = ml.capture(function() opt_b:step(b:sum()) end)
    for _ = 1, 4 do
      opt_a:step(a:sum())
      step()
    end
    assert.same(a:totable(), b:totable())
    assert.equal(4, opt_b:state().updates:item())
  end)
end)

describe("an optimiser with momentum", function()
  it("of SGD adds up what came before", function()
    local p = leaf { 1 }
    local opt = optim.sgd({ p }, { lr = 0.1, momentum = 0.5 })
    opt:step((p * 2):sum()) -- m = 2
    close({ 0.8 }, p)
    opt:step((p * 2):sum()) -- m = 3
    close({ 0.5 }, p)
    close({ 3 }, opt:state()["1.momentum_buffer"])
  end)

  it("of Adam steps by lr at first, whatever the gradient's size", function()
    local p = leaf({ 1, 1, 1 }, "f64")
    optim.adam({ p }, { lr = 0.125, eps = 0 }):step((p * ml.tensor({ 1e-3, 7, -1e5 }, "f64")):sum())
    close({ 0.875, 0.875, 1.125 }, p)
  end)

  it("of Lion steps by lr, or not at all where the gradient is zero", function()
    local p = leaf { 1, 1, 1 }
    local opt = optim.lion({ p }, { lr = 0.25 })
    opt:step((p * ml.tensor { 3, 0, -0.001 }):sum())
    close({ 0.75, 1, 1.25 }, p)
    close({ 0.03, 0, -0.00001 }, opt:state()["1.exp_avg"])
  end)

  it("counts the updates of each parameter apart", function()
    local a, b = leaf { 1 }, leaf { 1 }
    local opt = optim.adam({ a, b }, { lr = 0.5, eps = 0 })
    for _ = 1, 3 do opt:step(a:sum()) end
    opt:step(b:sum())
    assert.equal(3, opt:state()["1.step"]:item())
    assert.equal(1, opt:state()["2.step"]:item())
    close({ 0.5 }, b)
  end)

  it("updates tables by dense gradients, so that untouched rows go on", function()
    local model = nn.TableCollection.new { rows = { 3 }, dim = 2, seed = 1, stream = 1 }
    local t = model.tables.tensors[1]
    t:copy(1)
    local opt = optim.sgd(model, { lr = 0.5, momentum = 0.5 })
    opt:step(model(ml.tensor({ { 0 } }, "i32")):sum())
    opt:step(model(ml.tensor({ { 2 } }, "i32")):sum())
    close({ 0.25, 0.25, 1, 1, 0.5, 0.5 }, t) -- row 0: m = 1, then 0.5
  end)

  it("has the same bits for any number of threads, at odd sizes, too", function()
    local n, threads = 150001, ml.threads()
    local function run(kind, count)
      ml.threads(count)
      local p = ml.randn(n, { seed = 3, stream = 1 }):requires_grad()
      local opt = optim[kind[1]]({ p }, kind[2])
      for _ = 1, 2 do opt:step((p * p):sum()) end
      local state = opt:state()
      state.p = p:detach()
      return state
    end
    for _, kind in ipairs(KINDS) do
      if kind[1] ~= "rwsadagrad" then same_bits(run(kind, 1), run(kind, 2)) end
    end
    ml.threads(threads)
  end)
end)

describe("an optimiser's state", function()
  for _, kind in ipairs(KINDS) do
    local title = kind[1]
    for name in pairs(kind[2]) do title = title .. ", " .. name end

    it("resumes bit for bit, through a file: " .. title, function()
      local path = os.tmpname()
      local function fresh()
        local model = nn.MLP.new { sizes = { 3, 5, 1 }, seed = 2, stream = 1 }
        return model, optim[kind[1]](model, kind[2])
      end
      local x = ml.randn(7, 3, { seed = 2, stream = 9 })
      local function train(model, opt, steps)
        for _ = 1, steps do opt:step(model(x):square():mean()) end
      end
      local model, opt = fresh()
      train(model, opt, 3)
      local weights = {}
      for name, t in pairs(model:state()) do weights[name] = t:detach():clone() end
      assert.is_true(ml.safetensors.save(path, opt:state()))
      train(model, opt, 3)

      local other, resumed = fresh()
      assert.is_true(other:load_state(weights))
      assert.is_true(resumed:load_state(assert(ml.safetensors.load(path))))
      os.remove(path)
      train(other, resumed, 3)
      same_bits(model:state(), other:state())
      same_bits(opt:state(), resumed:state())
    end)
  end

  it("refuses one of other options", function()
    local ok, message = optim.adam({ leaf { 1 } }, { amsgrad = true }):load_state(
      optim.adam({ leaf { 1 } }):state())
    assert.is_nil(ok)
    assert.equal("optimiser's state: no '1.max_exp_avg_sq'", message)
  end)
end)

describe("parameter groups", function()
  it("have options of their own over those of all", function()
    local a, b, c = leaf { 1 }, leaf { 1 }, leaf { 1 }
    local opt = optim.sgd({ { params = { a }, lr = 0.25 }, { params = { b }, weight_decay = 1 },
                            { params = c } }, { lr = 0.5 })
    opt:step((a + b + c):sum())
    close({ 0.75 }, a)
    close({ 0 }, b) -- g = 1 + 1
    close({ 0.5 }, c)
    opt:set_lr(0, 2)
    opt:step((a + b + c):sum())
    close({ 0.5 }, a)
    close({ 0 }, b)
    close({ 0 }, c)
    opt:set_lr(1)
    for g = 1, 3 do assert.equal(1, opt.groups[g].lr) end
  end)

  it("number their tensors on, and tell modules of like names apart", function()
    local opt = optim.adagrad { { params = { leaf { 1 }, leaf { 2 } } },
                                { params = { leaf { 3 } } } }
    assert.equal(1, opt:state()["3.sum"]:count())
    local a = nn.Linear.new { inputs = 1, outputs = 1 }
    local b = nn.Linear.new { inputs = 2, outputs = 1 }
    local state = optim.adagrad({ { params = a }, { params = b } }):state()
    assert.same({ 1, 1 }, state["weight.sum"]:shape())
    assert.same({ 1, 2 }, state["2.weight.sum"]:shape())
  end)

  it("of SGD may be plain and fused beside one with momentum", function()
    local a, b = leaf { { 1, 2 } }, leaf { { 1, 2 } }
    local opt = optim.sgd({ { params = { a } }, { params = { b }, momentum = 0.5 } }, { lr = 0.5 })
    local x = ml.ones(1, 2)
    for _ = 1, 2 do opt:step((ml.linear(x, a) + ml.linear(x, b)):sum()) end
    close({ 0, 1 }, a)
    close({ -0.25, 0.75 }, b)
    assert.is_false(opt:has_momentum(1))
    assert.is_true(opt:has_momentum(2))
  end)
end)

describe("mistakes of optimisers", function()
  it("are one line at the user's, which names the option", function()
    local p, q = leaf { 1 }, leaf { 2 }
    local plain = optim.sgd { p }
    for message, fn in pairs {
      ["bad argument #2 to 'adam' (unknown option 'beta', did you mean 'betas'?)"] =
        function() optim.adam({ p }, { beta = 1 }) end,
      ["bad argument #2 to 'sgd' (unknown option 'eps')"] =
        function() optim.sgd({ p }, { eps = 1 }) end,
      ["bad argument #2 to 'adam' (betas: expected two numbers, each at least 0 and below 1, " ..
        "got a table)"] = function() optim.adam({ p }, { betas = { 0.9, 1 } }) end,
      ["bad argument #2 to 'adam' (betas: expected a table, got 0.9)"] =
        function() optim.adam({ p }, { betas = 0.9 }) end,
      ["bad argument #2 to 'adamw' (weight_decay: expected at least 0, got nan)"] =
        function() optim.adamw({ p }, { weight_decay = 0 / 0 }) end,
      ["bad argument #2 to 'rmsprop' (alpha: expected at least 0 and below 1, got 1)"] =
        function() optim.rmsprop({ p }, { alpha = 1 }) end,
      ["bad argument #2 to 'rmsprop' (centered: expected a boolean, got 1)"] =
        function() optim.rmsprop({ p }, { centered = 1 }) end,
      ["bad argument #2 to 'sgd' (nesterov: expected momentum above 0 and dampening 0)"] =
        function() optim.sgd({ p }, { nesterov = true }) end,
      ["bad argument #2 to 'sgd' (dampening: expected momentum above 0 with it)"] =
        function() optim.sgd({ p }, { dampening = 0.1 }) end,
      ["bad argument #1 to 'adam' ([2]: unknown option 'lrr', did you mean 'lr'?)"] =
        function() optim.adam { { params = { p } }, { params = { q }, lrr = 1 } } end,
      ["bad argument #1 to 'adam' ([1]: lr: expected at least 0, got -1)"] =
        function() optim.adam { { params = { p }, lr = -1 } } end,
      ["bad argument #1 to 'adam' ([2]: expected a group, { params = … }, got a table)"] =
        function() optim.adam { { params = { p } }, { q } } end,
      ["bad argument #1 to 'adam' ([2].params: [1]: is in group 1, too)"] =
        function() optim.adam { { params = { p } }, { params = { p } } } end,
      ["bad argument #1 to 'adam' ([1]: expected at least one parameter, got none)"] =
        function() optim.adam { { params = {} } } end,
      ["bad argument #1 to 'adam' ([1].params: expected a module or a list of tensors, got 3)"] =
        function() optim.adam { { params = 3 } } end,
      ["bad argument #2 to 'set_lr' (group: expected a whole number, 1 to 1, got 2)"] =
        function() plain:set_lr(1, 2) end,
      ["bad argument #1 to 'set_momentum' (the optimiser, sgd, has no momentum; make it with " ..
        "one above 0)"] = function() plain:set_momentum(0.5) end,
      ["bad argument #1 to 'set_momentum' (momentum: expected a number of at least 0 and below " ..
        "1, got 1)"] = function() plain:set_momentum(1) end,
    } do
      local ok, got = pcall(fn)
      assert.is_false(ok)
      assert.equal(message, got:match("^[%w_/.]*rules_spec%.lua:%d+: (.*)$"))
    end
  end)
end)
