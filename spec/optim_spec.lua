-- Optimisers, step by step with numbers worked out by hand, fused with backward and apart from it.
local ml = require "mlua"
local optim, nn = ml.optim, ml.nn

local function close(want, tensor)
  for i, v in ipairs(tensor:clone():reshape(-1):totable()) do
    local message = ("[%d]: expected %g, got %g"):format(i, want[i], v)
    assert.is_true(math.abs(v - want[i]) < 1e-6 * math.max(1, math.abs(v)), message)
  end
end

local function leaf(values, dtype) return ml.tensor(values, dtype):requires_grad() end

-- One step by the loss sum(p^2), whose gradient is 2p: in one pass, or by gathered gradients.
local function step(optimizer, p, fused)
  local loss = p:square():sum()
  if fused then return optimizer:step(loss) end
  loss:backward()
  optimizer:step()
  optimizer:zero_grad()
end

for _, fused in ipairs { true, false } do
  describe(fused and "a step with its loss" or "a step after backward", function()
    for _, dtype in ipairs { "f32", "f64" } do
      it("of SGD subtracts lr g, in " .. dtype, function()
        local p = leaf({ 1, 2 }, dtype)
        step(optim.sgd({ p }, { lr = 0.1 }), p, fused) -- g = 2, 4
        close({ 0.8, 1.6 }, p)
        assert.is_nil(p:grad())
      end)

      it("of Adagrad divides by the root of the sum of squares, in " .. dtype, function()
        local p = leaf({ 1, 2 }, dtype)
        local adagrad = optim.adagrad({ p }, { lr = 0.1 })
        step(adagrad, p, fused) -- s = 4, 16: the first step is lr
        close({ 0.9, 1.9 }, p)
        step(adagrad, p, fused) -- g = 1.8, 3.8; s = 7.24, 30.44
        close({ 0.9 - 0.18 / math.sqrt(7.24), 1.9 - 0.38 / math.sqrt(30.44) }, p)
        close({ 7.24, 30.44 }, adagrad:state()["1.sum"])
      end)
    end

    it("of row-wise Adagrad has one sum per row, and leaves untouched rows alone", function()
      local t = leaf { { 1, 2 }, { 3, 4 }, { 5, 6 } }
      local optimizer = optim.rwsadagrad({ t }, { lr = 0.1 })
      -- g = 2, 2; 0, 0; 1, 1
      local loss = ml.embedding_bags({ t }, ml.tensor({ 0, 2, 0 }, "i32")):sum()
      if fused then
        optimizer:step(loss)
      else
        loss:backward()
        optimizer:step()
      end
      close({ 0.9, 1.9, 3, 4, 4.9, 5.9 }, t)
      close({ 4, 0, 1 }, optimizer:state()["1.sum"])
    end)
  end)
end

describe("a fused step", function()
  it("adds up the uses of a parameter before it updates", function()
    local p = leaf { 1, 2 }
    local sgd = optim.sgd({ p }, { lr = 0.1 })
    sgd:step(p:square():sum() + (p * 3):sum()) -- g = 2p + 3
    close({ 0.5, 1.3 }, p)
  end)

  it("does not change weights that another operation still needs under another name", function()
    -- y = x w', loss = sum(y) + sum(v * w detached): dv = w before the step
    local w, v = leaf { { 2, 3 } }, leaf { { 1, 1 } }
    local x = ml.tensor { { 1, 1 } }
    local other = (v * w:detach()):sum()
    local sgd = optim.sgd({ w, v }, { lr = 0.5 })
    sgd:step(ml.linear(x, w):sum() + other)
    close({ 1.5, 2.5 }, w)
    close({ 0, -0.5 }, v)
  end)

  it("uses a gradient that was gathered before, too", function()
    local p = leaf { 1 }
    p:sum():backward()
    optim.sgd({ p }, { lr = 1 }):step((p * 2):sum())
    close({ -2 }, p)
  end)

  it("that fails at once leaves gathered gradients and the weights as they are", function()
    local w = ml.ones(3):requires_grad()
    w:sum():backward()
    local opt = optim.sgd({ w }, { lr = 1 })
    assert.error_matches(function() opt:step(ml.zeros(1):sum()) end, "does not depend on anything")
    assert.same({ 1, 1, 1 }, w:grad():totable())
    assert.same({ 1, 1, 1 }, w:totable())
  end)

  it("of Adagrad leaves weights alone whose gradient is zero, also where eps is 0", function()
    for _, kind in ipairs { "adagrad", "rwsadagrad" } do
      local t = ml.ones(4, 2):requires_grad()
      local opt = optim[kind]({ t }, { lr = 0.1, eps = 0 })
      local bags = ml.embedding_bags({ t }, ml.tensor({ 1, 2 }, "i32"))
      opt:step((bags * ml.tensor { { { 0, 0 } }, { { 2, 2 } } }):sum())
      assert.same({ { 1, 1 }, { 1, 1 } }, t:narrow(1, 1, 2):totable())
      local w = ml.ones(2, 2):requires_grad()
      optim[kind]({ w }, { lr = 0.1, eps = 0 }):step((w * ml.tensor { { 0, 0 }, { 1, 1 } }):sum())
      assert.same({ 1, 1 }, w:select(1, 1):totable())
    end
  end)

  it("updates tied weights once", function()
    local p = leaf { 1 }
    local sgd = optim.sgd({ p, p }, { lr = 1 })
    p:sum():backward()
    sgd:step()
    close({ 0 }, p)
  end)

  it("equals a step apart from backward, for a model of layers and tables", function()
    local function run(fused, name)
      local model = nn.MLP.new { sizes = { 4, 6, 1 }, last = "sigmoid", seed = 4, stream = 1 }
      local tables = nn.TableCollection.new { rows = { 5, 7 }, dim = 2, seed = 4, stream = 50 }
      local both = { optim[name](model, { lr = 0.1 }), optim[name](tables, { lr = 0.1 }) }
      local ids = ml.tensor({ { 0, 4, 4 }, { 6, 0, 6 } }, "i32")
      local target = ml.tensor { { 1 }, { 0 }, { 1 } }
      for _ = 1, 3 do
        local loss = ml.bce(model(tables:forward(ids):reshape(3, 4)), target)
        if fused then -- all parameters in one optimiser
          local list = model:named_parameters()
          for _, p in ipairs(tables:named_parameters()) do
            list[#list + 1] = { name = "t" .. p.name, tensor = p.tensor, module = p.module }
          end
          both.all = both.all or optim[name](list, { lr = 0.1 })
          both.all:step(loss)
        else
          loss:backward()
          for i = 1, 2 do
            both[i]:step()
            both[i]:zero_grad()
          end
        end
      end
      local values = {}
      for _, m in ipairs { model, tables } do
        for _, p in ipairs(m:parameters()) do values[#values + 1] = p:clone():reshape(-1) end
      end
      return ml.cat(values, 1)
    end
    for _, name in ipairs { "sgd", "adagrad", "rwsadagrad" } do
      close(run(false, name):totable(), run(true, name))
    end
  end)
end)

describe("an optimiser", function()
  it("takes a new learning rate for the steps that follow", function()
    local p = leaf { 1 }
    local sgd = optim.sgd({ p }, { lr = 0.1 })
    sgd:set_lr(0.25)
    step(sgd, p, true)
    close({ 0.5 }, p)
    assert.equal(1, sgd.steps)
  end)

  it("loads its state whole or not at all", function()
    local a = optim.adagrad { leaf { 1, 2 }, leaf { 3 } }
    local ok, message = a:load_state { ["1.sum"] = ml.ones(2) }
    assert.is_nil(ok)
    assert.equal("optimiser's state: no '2.sum'", message)
    ok, message = a:load_state { ["1.sum"] = ml.ones(2), ["2.sum"] = ml.ones(4) }
    assert.is_nil(ok)
    assert.equal("optimiser's state: '2.sum': expected [1], got [4]", message)
    for wrong, entry in pairs {
      ["'2.sum': expected a tensor, got 5"] = { "2.sum", 5 },
      ["'2.sum': expected f32, got f16"] = { "2.sum", ml.empty(1, { dtype = "f16" }) },
      ["the optimiser has no '3.sum', did you mean '1.sum'?"] = { "3.sum", ml.ones(1) },
    } do
      local state = { ["1.sum"] = ml.ones(2), ["2.sum"] = ml.ones(1) }
      state[entry[1]] = entry[2]
      ok, message = a:load_state(state)
      assert.is_nil(ok)
      assert.equal("optimiser's state: " .. wrong, message)
    end
    close({ 0, 0 }, a:state()["1.sum"])
    assert.is_true(a:load_state { ["1.sum"] = ml.ones(2), ["2.sum"] = ml.ones(1) })
    close({ 1, 1 }, a:state()["1.sum"])
  end)

  it("leaves out what a module has frozen", function()
    local l = nn.Linear.new { inputs = 1, outputs = 1 }
    l.weight:copy(ml.tensor { { 2 } }):requires_grad(false)
    l.bias:fill(0)
    local sgd = optim.sgd(l, { lr = 1 })
    sgd:step(l(ml.ones(1, 1)):sum()) -- g = 1
    close({ 2 }, l.weight)
    close({ -1 }, l.bias)
  end)

  it("made inside a scope outlives it", function()
    local p = leaf { 1 }
    local adagrad = ml.scope(function() return optim.adagrad({ p }, { lr = 1 }) end)
    step(adagrad, p, true)
    close({ 0 }, p)
  end)

  it("refuses wrong arguments at their line", function()
    local p = leaf { 1 }
    local sgd = optim.sgd { p }
    for message, fn in pairs {
      ["bad argument #1 to 'sgd' (expected a module or a list of tensors, got nil)"] =
        function() optim.sgd() end,
      ["bad argument #1 to 'sgd' ([1]: expected a tensor, got 3)"] = function() optim.sgd { 3 } end,
      ["bad argument #2 to 'sgd' (lr: expected at least 0, got -1)"] =
        function() optim.sgd({ p }, { lr = -1 }) end,
      ["bad argument #2 to 'sgd' (expected a table of options, got 5)"] =
        function() optim.sgd({ p }, 5) end,
      ["bad argument #1 to 'sgd' (expected a module or a list of tensors, got 5)"] =
        function() optim.sgd(5, {}) end,
      ["bad argument #1 to 'sgd' (expected a module or a list of tensors, got a tensor)"] =
        function() optim.sgd(p) end,
      ["bad argument #1 to 'sgd' (expected at least one parameter, got none)"] =
        function() optim.sgd {} end,
      ["bad argument #1 to 'sgd' ([2]: expected a leaf that requires a gradient)"] =
        function() optim.sgd { p, ml.ones(1) } end,
      ["bad argument #1 to 'sgd' ([1]: expected a leaf that requires a gradient)"] =
        function() optim.sgd { p * 2 } end,
      ["bad argument #1 to 'policy' (lr: expected a number, got nil)"] =
        function() optim.policy() end,
      ["bad argument #1 to 'load_state' (state: expected a table, got nil)"] =
        function() sgd:load_state(nil) end,
      ["bad argument #1 to 'set_lr' (lr: expected a number of at least 0, got 'x')"] =
        function() sgd:set_lr "x" end,
      ["bad argument #2 to 'adagrad' (unknown option 'epps', did you mean 'eps'?)"] =
        function() optim.adagrad({}, { epps = 1 }) end,
      ["bad argument #1 to 'step' (loss: expected a tensor, got 3)"] = function() sgd:step(3) end,
      ["bad argument #1 to 'set_lr' (lr: expected a number of at least 0, got nan)"] =
        function() sgd:set_lr(0 / 0) end,
      ["update: the parameter does not require a gradient"] = function()
        local q = leaf { 1 }
        local frozen = optim.sgd { q }
        q:requires_grad(false)
        frozen:step(p:sum())
      end,
    } do
      local ok, got = pcall(fn)
      assert.is_false(ok)
      assert.equal(message, got:match("^[%w_/.]*optim_spec%.lua:%d+: (.*)$"))
    end
  end)
end)

describe("the policy", function()
  it("warms up in a line, decays by squares, and holds where either ends", function()
    local lr = optim.policy { lr = 2, warmup = 4, decay_start = 10, decay_steps = 5 }
    local got = {}
    for i, s in ipairs { 0, 1, 3, 4, 9, 10, 12, 14, 15, 1000 } do got[i] = lr(s) end
    local want = { 0, 0.5, 1.5, 1.5, 1.5, 2, 2 * 0.36, 2 * 0.04, 2 * 0.04, 2 * 0.04 }
    for i, v in ipairs(want) do
      assert.is_true(math.abs(v - got[i]) < 1e-12, i .. ": " .. got[i])
    end
  end)

  it("does not decay below 1e-7", function()
    assert.equal(1e-7, optim.policy { lr = 1e-6, decay_steps = 10 } (9)) -- 1e-6 / 100
  end)

  it("without warm-up or decay is constant", function()
    assert.equal(0.5, optim.policy { lr = 0.5 } (12345))
  end)
end)
