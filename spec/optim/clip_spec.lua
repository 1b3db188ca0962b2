-- Clipping of gradients, and averages of weights.
local ml = require "mlua"
local optim, nn = ml.optim, ml.nn

local function leaf(values) return ml.tensor(values):requires_grad() end

-- A leaf of which a gradient is gathered.
local function with_gradient(values)
  local p = ml.zeros(#values):requires_grad()
  local loss = (p * ml.tensor(values)):sum()
  loss:backward()
  return p
end

local function mistakes(file, list)
  for message, fn in pairs(list) do
    local ok, got = pcall(fn)
    assert.is_false(ok)
    assert.equal(message, got:match("^[%w_/.]*" .. file .. "%.lua:%d+: (.*)$"))
  end
end

describe("clip_grad_norm", function()
  it("scales all gradients as one vector, and gives the norm before", function()
    local a, b = with_gradient { 3 }, with_gradient { 4 }
    assert.equal(5, optim.clip_grad_norm({ a, b, ml.ones(1) }, 2.5))
    assert.is_true(math.abs(a:grad():item() - 1.5) < 1e-6)
    assert.is_true(math.abs(b:grad():item() - 2) < 1e-6)
  end)

  it("leaves alone what is small, bit for bit", function()
    local a = with_gradient { 0.1, -0.3 }
    local before = a:grad():totable()
    optim.clip_grad_norm({ a }, 1)
    assert.same(before, a:grad():totable())
  end)

  it("counts a tensor that is there twice once, and takes modules and optimisers", function()
    local a = with_gradient { 3, 4 }
    assert.equal(5, optim.clip_grad_norm({ a, a }, 100))
    local opt = optim.adam { a }
    assert.equal(5, optim.clip_grad_norm(opt, 100))
    assert.equal(7, optim.clip_grad_norm(opt, 100, 1))
    assert.equal(4, optim.clip_grad_norm(opt, 100, math.huge))
    local l = nn.Linear.new { inputs = 2, outputs = 1 }
    assert.equal(0, optim.clip_grad_norm(l, 1))
    l(ml.ones(1, 2)):sum():backward()
    assert.is_true(math.abs(math.sqrt(3) - optim.clip_grad_norm(l, 1)) < 1e-12)
  end)

  it("passes on what is not a number", function()
    local a = with_gradient { 1, 0 / 0 }
    for _, p in ipairs { 1, 2, math.huge } do
      local norm = optim.clip_grad_norm({ a }, 1, p)
      assert.is_true(norm ~= norm)
    end
  end)

  it("sums long gradients the same way on any number of threads", function()
    local p = ml.zeros(200003):requires_grad()
    local threads, loss = ml.threads(), (p * ml.randn(200003, { seed = 1, stream = 1 })):sum()
    loss:backward()
    ml.threads(1)
    local one = optim.clip_grad_norm({ p }, 1e9)
    ml.threads(2)
    assert.equal(one, optim.clip_grad_norm({ p }, 1e9))
    ml.threads(threads)
    assert.is_true(math.abs(one - math.sqrt(200003)) < 3)
  end)
end)

describe("clip_grad_value", function()
  it("clamps each element, and lets the step use what is left", function()
    local a = with_gradient { -3, 0.25, 9 }
    optim.clip_grad_value({ a }, 0.5)
    assert.same({ -0.5, 0.25, 0.5 }, a:grad():totable())
    optim.sgd({ a }, { lr = 1 }):step()
    assert.same({ 0.5, -0.25, -0.5 }, a:detach():totable())
    assert.same({ -0.5, 0.25, 0.5 }, a:grad():totable()) -- zero_grad is the user's
  end)
end)

describe("optim.ema", function()
  it("follows the weights by 1 - decay", function()
    local p = leaf { 0, 8 }
    local ema = optim.ema({ p }, { decay = 0.75 })
    p:copy(ml.tensor { 4, 8 })
    ema:update()
    ema:update() -- 1, then 1 + 3 / 4
    assert.same({ 1.75, 8 }, ema:state()["1.average"]:totable())
    assert.same({ 4, 8 }, p:detach():totable())
  end)

  it("changes places with the weights, and back bit for bit", function()
    local l = nn.Linear.new { inputs = 3, outputs = 2, seed = 1, stream = 1 }
    local ema = optim.ema(l)
    local opt = optim.adam(l, { lr = 0.1 })
    for _ = 1, 3 do
      opt:step(l(ml.ones(1, 3)):square():sum())
      ema:update()
    end
    local weight, average = l.weight:detach():totable(), ema:state()["weight.average"]:totable()
    ema:swap()
    assert.same(average, l.weight:detach():totable())
    ema:swap()
    assert.same(weight, l.weight:detach():totable())
    assert.same(average, ema:state()["weight.average"]:totable())
  end)

  it("loads its state whole or not at all", function()
    local ema = optim.ema { leaf { 1 }, leaf { 2 } }
    local ok, message = ema:load_state { ["1.average"] = ml.ones(1) }
    assert.is_nil(ok)
    assert.equal("averages: no '2.average'", message)
    assert.is_true(ema:load_state { ["1.average"] = ml.ones(1) * 5, ["2.average"] = ml.ones(1) })
    ema:update()
    assert.is_true(math.abs(ema:state()["1.average"]:item() - 4.996) < 1e-6)
  end)

  it("made inside a scope outlives it", function()
    local p = leaf { 1 }
    local ema = ml.scope(function() return optim.ema { p } end)
    ema:update()
    assert.equal(1, ema:state()["1.average"]:item())
  end)
end)

describe("mistakes of clipping and averages", function()
  it("are one line at the user's", function()
    local p = leaf { 1 }
    local ema = optim.ema { p }
    ema:swap()
    mistakes("clip_spec", {
      ["bad argument #1 to 'clip_grad_norm' (params: expected a module, an optimiser or a list " ..
        "of tensors, got nil)"] = function() optim.clip_grad_norm() end,
      ["bad argument #1 to 'clip_grad_norm' (params[2]: expected a tensor, got 3)"] =
        function() optim.clip_grad_norm({ p, 3 }, 1) end,
      ["bad argument #2 to 'clip_grad_norm' (max_norm: expected a number of at least 0, got nil)"] =
        function() optim.clip_grad_norm { p } end,
      ["bad argument #3 to 'clip_grad_norm' (p: expected a number above 0, or math.huge, got 0)"] =
        function() optim.clip_grad_norm({ p }, 1, 0) end,
      ["bad argument #2 to 'clip_grad_value' (limit: expected a number of at least 0, got -1)"] =
        function() optim.clip_grad_value({ p }, -1) end,
      ["bad argument #2 to 'ema' (unknown option 'decy', did you mean 'decay'?)"] =
        function() optim.ema({ p }, { decy = 1 }) end,
      ["bad argument #2 to 'ema' (decay: expected 0 to 1, got 1.5)"] =
        function() optim.ema({ p }, { decay = 1.5 }) end,
      ["bad argument #1 to 'ema' ([1]: expected f32 or f64, got i64)"] =
        function() optim.ema { ml.arange(3) } end,
      ["bad argument #1 to 'ema' (expected at least one parameter, got none)"] =
        function() optim.ema {} end,
      ["update: the averages are in the model's place; swap() them back first"] =
        function() ema:update() end,
      ["state: the averages are in the model's place; swap() them back first"] =
        function() ema:state() end,
    })
  end)
end)
