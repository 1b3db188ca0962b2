-- Gradients by some tensors, hooks, operations of one's own, gradients of gradients.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local sweep = require "spec.support.sweep"

local function leaf(values, dtype) return ml.tensor(values, dtype or "f64"):requires_grad() end

local function near(want, got, tolerance)
  want, got = want:reshape(-1):totable(), got:reshape(-1):totable()
  assert.equal(#want, #got)
  for i = 1, #want do
    assert.is_true(math.abs(want[i] - got[i]) <= tolerance * math.max(1, math.abs(want[i])),
      ("[%d]: expected %.12g, got %.12g"):format(i, want[i], got[i]))
  end
end

describe("ml.grad", function()
  it("gives gradients by leaves and computed tensors, and leaves those gathered alone", function()
    local x, w = leaf { 1, 2 }, leaf { 3, 4 }
    x:set_grad(ml.tensor({ 7, 7 }, "f64"))
    local y = x * w
    local gx, gy, gw = unpack(ml.grad((y * y):sum(), { x, y, w }))
    assert.same({ 18, 64 }, gx:totable())
    assert.same({ 6, 16 }, gy:totable())
    assert.same({ 6, 32 }, gw:totable())
    assert.same({ 7, 7 }, x:grad():totable())
    assert.is_nil(w:grad())
  end)

  it("says false where the loss does not depend on a tensor", function()
    local x, z = leaf { 1 }, leaf { 1 }
    assert.is_false(ml.grad((x * x):sum(), { x, z })[2])
  end)

  it("takes one tensor, and a gradient for a loss of several elements", function()
    local x = leaf { 1, 2 }
    local g = ml.grad(x * x, x, { gradient = ml.tensor({ 1, 10 }, "f64") })
    assert.same({ 2, 40 }, g[1]:totable())
  end)

  it("refuses what does not require a gradient", function()
    local x = leaf { 1 }
    assert.equal("gradients: tensor #1 does not require a gradient",
      mistake(function() ml.grad((x * x):sum(), ml.ones(1)) end))
    assert.equal("bad argument #2 to 'grad' (of: expected a list of tensors, got 3)",
      mistake(function() ml.grad((x * x):sum(), 3) end))
  end)
end)

describe("hooks", function()
  it("see and change the gradient of a computed tensor, wherever it is used", function()
    local x = leaf { 1, 2 }
    local y = x * 3
    local z = y * y
    local seen
    local hook = y:register_hook(function(g)
      seen = g:totable()
      return g * 10
    end)
    z:sum():backward()
    assert.same({ 6, 12 }, seen)
    assert.same({ 180, 360 }, x:grad():totable())
    hook:remove()
    x:zero_grad();
    (y * y):sum():backward()
    assert.same({ 18, 36 }, x:grad():totable())
  end)

  it("of a leaf see all that a backward brings, before it is added to what was there", function()
    local x = leaf { 1, 2 }
    x:set_grad(ml.tensor({ 100, 100 }, "f64"))
    local seen
    local hook = x:register_hook(function(g)
      seen = g:totable()
      return g * 2
    end);
    (x * x + x):sum():backward()
    assert.same({ 3, 5 }, seen)
    assert.same({ 106, 110 }, x:grad():totable())
    hook:remove()
    x:zero_grad();
    (x * x):sum():backward()
    assert.same({ 2, 4 }, x:grad():totable())
  end)

  it("of a leaf that is gone hold up nobody", function()
    ml.scope(function() leaf({ 1, 2 }):register_hook(function() error "gone" end) end)
    local w = leaf { 3 };
    (w * w):sum():backward()
    assert.same({ 6 }, w:grad():totable())
  end)

  it("that fail or are removed while they run leave every gradient that was gathered", function()
    local v, w = leaf { 1 }, leaf { 1 }
    v:set_grad(ml.tensor({ 5 }, "f64"))
    w:set_grad(ml.tensor({ 7 }, "f64"))
    local a, b
    a = v:register_hook(function() b.remove() error("no", 0) end)
    b = w:register_hook(function() a.remove() error("no", 0) end)
    assert.is_false(pcall(function() (v * w):sum():backward() end))
    assert.same({ { 5 }, { 7 } }, { v:grad():totable(), w:grad():totable() })
    a.remove()
    b.remove()
  end)

  it("of parameters count in an optimiser's step", function()
    local x = leaf { 1, 2 }
    local opt = ml.optim.sgd({ x }, { lr = 0.5 })
    local hook = x:register_hook(function(g) return g * 0 + 1 end)
    opt:step((x * x):sum())
    assert.same({ 0.5, 1.5 }, x:totable())
    assert.is_nil(x:grad())
    hook:remove()
  end)

  it("that fail end the backward with their error, and the next one runs", function()
    local x = leaf { 1, 2 }
    local y = x * 3
    local hook = y:register_hook(function() error("no", 0) end)
    local ok, message = pcall(function() (y * y):sum():backward() end)
    assert.same({ false, "no" }, { ok, message })
    hook:remove();
    (y * y):sum():backward()
    assert.same({ 18, 36 }, x:grad():totable())
  end)
end)

local cube = ml.operation {
  name = "cube",
  forward = function(ctx, x)
    ctx.x = x
    return x * x * x
  end,
  backward = function(ctx, g) return g * 3 * ctx.x * ctx.x end,
}

describe("an operation of one's own", function()
  it("has its gradient on the tape, among other operations", function()
    local x = leaf { 1, 2, 3 };
    (cube(x * 2) * 0.5):sum():backward()
    assert.same({ 12, 48, 108 }, x:grad():totable())
  end)

  it("keeps what forward computed, takes other arguments, and may leave gradients out", function()
    local scaled = ml.operation {
      name = "scaled",
      forward = function(ctx, x, factor, w)
        ctx.factor, ctx.e = factor, (x * w):exp()
        return ctx.e * factor
      end,
      backward = function(ctx, g) return g * ctx.e * ctx.factor * 2, nil, nil end,
    }
    local x, w = leaf { 0, 1 }, leaf { 2, 2 }
    ml.scope(function()
      scaled(x, 3, w):sum():backward()
    end)
    near(ml.tensor({ 6, 6 * math.exp(2) }, "f64"), x:grad(), 1e-14)
    assert.is_nil(w:grad())
  end)

  it("costs nothing on the tape where no gradient is asked for", function()
    assert.is_false(cube(ml.ones(2)):info().requires_grad)
    local x = leaf { 1 }
    assert.is_false(ml.no_grad(cube, x):info().requires_grad)
  end)

  it("works in an optimiser's step, and its record goes when nobody holds it", function()
    local x = leaf { 1, 2 }
    local opt = ml.optim.sgd({ x }, { lr = 0.1 })
    collectgarbage()
    local before = ml.memory().tensors
    for _ = 1, 200 do
      ml.scope(function() opt:step(cube(x):sum() * 0.01) end)
    end
    assert.equal(before, ml.memory().tensors)
    assert.is_true(x:at(1) < 1 and x:at(1) > 0)
  end)

  it("may run a backward of its own inside its gradient", function()
    local again = ml.operation {
      name = "again",
      forward = function(ctx, x)
        ctx.x = x
        return (x:exp() * x)
      end,
      backward = function(ctx, g) -- computed anew, as checkpoints do
        local x = ctx.x:detach():clone():requires_grad()
        ml.into(x:detach(), ml.add, x:detach(), 0)
        local y
        local C = require "mlua.ffi".C
        C.ml_set_grad_enabled(true)
        y = x:exp() * x
        y:backward(g)
        C.ml_set_grad_enabled(false)
        return x:grad()
      end,
    }
    local x = leaf { 0.5, 1 }
    again(x):sum():backward()
    near((x:detach() + 1) * x:detach():exp(), x:grad(), 1e-14)
  end)

  for message, fn in pairs {
    ["operation: it has no 'backward'"] = function()
      ml.operation { name = "x", forward = function() end }
    end,
    ["half: forward: expected a tensor as the result, got nil"] = function()
      local function none() end
      ml.operation { name = "half", forward = none, backward = none }(ml.ones(1))
    end,
    ["backward of bad: gradient #1: expected a tensor or nil, got 3"] = function()
      local bad = ml.operation { name = "bad", forward = function(_, x) return x * 2 end,
                                 backward = function() return 3 end }
      bad(leaf { 1 }):sum():backward()
    end,
    ["backward of odd: gradient #1: expected f64 [2], got f64 [1]"] = function()
      local odd = ml.operation { name = "odd", forward = function(_, x) return x * 2 end,
                                 backward = function(_, g) return g:narrow(1, 1, 1) end }
      odd(leaf { 1, 2 }):sum():backward()
    end,
    ["capture: an operation whose gradient is in Lua"] = function()
      local x = leaf { 1, 2 }
      ml.capture(function() return cube(x):sum() end)()
    end,
  } do
    it("refuses: " .. message, function() assert.equal(message, mistake(fn)) end)
  end
end)

describe("gradients of gradients", function()
  it("are those of polynomials and exponentials by hand", function()
    local x = leaf { 1, 2, 3 }
    local d = x:detach()
    local g = ml.grad((x * x * x):sum(), x, { create_graph = true })[1]
    near(d * d * 3, g, 1e-14)
    local h = ml.grad(g:sum(), x, { create_graph = true })[1]
    near(d * 6, h, 1e-14)
    near(ml.full(6, 3, { dtype = "f64" }), ml.grad(h:sum(), x)[1], 1e-14)
    near(d * 6, ml.grad(ml.grad(cube(x):sum(), x, { create_graph = true })[1]:sum(), x)[1], 1e-14)
  end)

  it("go into a penalty on a model's gradient, which trains", function()
    local model = ml.nn.MLP.new { sizes = { 3, 8, 1 }, last = "none", activation = "sigmoid",
                                  dtype = "f64", seed = 1 }
    local x = ml.randn(4, 3, { dtype = "f64", seed = 2, stream = 1 }):requires_grad()
    local function penalty()
      local g = ml.grad(model:forward(x):sum(), x, { create_graph = true })[1]
      return (g * g):sum()
    end
    local w = model:parameters()[1]
    local analytic = ml.grad(penalty(), w)[1]
    local p, h = w:data(), 1e-6
    for k = 0, 5 do
      local v = p[k]
      p[k] = v + h
      local up = penalty():item()
      p[k] = v - h
      local down = penalty():item()
      p[k] = v
      near(ml.tensor({ (up - down) / (2 * h) }, "f64"),
        ml.tensor({ analytic:reshape(-1):at(k + 1) }, "f64"), 1e-6)
    end
  end)

  it("are refused by name where an operation has none", function()
    local x = leaf { { 1, 2 }, { 3, 4 } }
    assert.equal("gradients of gradients: cumsum has none",
      mistake(function() ml.grad(x:cumsum(1):sum(), x, { create_graph = true }) end))
  end)

  -- Every card that has them: by finite differences of the gradient.
  local some = 0
  for _, card in ipairs(sweep.cards()) do
    if card.grad and (card.each or card.twice) then
      some = some + 1
      it("of " .. card.name .. " are what finite differences of its gradient give", function()
        for n, case in ipairs(card.sweep) do
          local args, floats = sweep.arguments(card, case, "f64", false)
          local f
          for _, v in ipairs(floats) do
            if not f and sweep.differentiable(card, v.name) then f = v end
          end
          if f and f.list[f.at]:count() > 0 and f.list[f.at]:count() < 40 and not case.slow then
            local x = f.list[f.at]:contiguous():clone():requires_grad()
            f.list[f.at] = x
            local function first(graph)
              local y = sweep.call(card, args)
              if not y:info().requires_grad then return end
              local c = sweep.draw(y:shape(), "f32", nil, 999, false):to "f64"
              local g = ml.grad(y, x, { gradient = c, create_graph = graph })[1]
              return (g * sweep.draw(g:shape(), "f64", nil, 998, false)):sum()
            end
            local scalar = first(true)
            if scalar and scalar:info().requires_grad then
              local got = ml.grad(scalar, x)[1]
              got = got and got:reshape(-1):totable()
              local p, h = x:data(), 1e-6
              for k = 0, x:count() - 1 do
                local v = p[k]
                p[k] = v + h
                local up = first(false):item()
                p[k] = v - h
                local down = first(false):item()
                p[k] = v
                local want = (up - down) / (2 * h)
                local have = got and got[k + 1] or 0
                assert.is_true(math.abs(want - have) <= 1e-5 * math.max(1, math.abs(want)),
                  ("case %d, element %d: expected %.10g, got %.10g"):format(n, k, want, have))
              end
            end
          end
        end
      end)
    end
  end
  it("exist for most element-wise operations, products and views", function()
    assert.is_true(some > 55, some)
  end)
end)
