-- Gradients by some tensors, hooks, operations of one's own, gradients of gradients.
local ml = require "mlua"
local core = require "mlua.ffi"
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

  it("answers for one tensor as often as it is asked", function()
    local x = leaf { 1, 2 }
    local y = x * 3
    local a, b, c, d = unpack(ml.grad((y * y):sum(), { x, y, x, y }))
    assert.same({ { 18, 36 }, { 6, 12 }, { 18, 36 }, { 6, 12 } },
      { a:totable(), b:totable(), c:totable(), d:totable() })
  end)

  it("asks by what a tensor was when it began, should its handle go meanwhile", function()
    local function rounds(n)
      local x, held = leaf { 1, 2 }, {}
      local y = x * 3
      for k = 1, n do held[k] = x * k end
      local hook = y:register_hook(function(g)
        for k = 1, n do core.free(held[k]) end
        return g
      end)
      local sum = y
      for k = 1, n do sum = sum + held[k] end
      local loss = sum:sum()
      local g = ml.grad(loss, { x, unpack(held) })
      hook:remove()
      return g
    end
    local first = rounds(40)
    assert.same({ 3 + 820, 3 + 820 }, first[1]:totable())
    assert.same({ 1, 1 }, first[41]:totable())
    local x = leaf { 1 } -- marks that stayed would send this one's gradient elsewhere
    assert.same({ 2 }, ml.grad((x * x):sum(), x)[1]:totable())
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

  it("may ask for gradients inside its gradient, whatever is asked for around it", function()
    local inner
    local op = ml.operation {
      name = "curious",
      forward = function(_, x) return x * 1 end,
      backward = function(_, g)
        inner:backward()
        return g
      end,
    }
    local x, w = leaf { 1, 2 }, leaf { 3, 4 }
    local opt = ml.optim.sgd({ w, x }, { lr = 1 })
    inner = (w * w):sum()
    opt:step(w:sum() + op(x):sum()) -- w's own gradient, 1, and what the inner one gathered
    assert.same({ { 0, 1 }, { 3 - 1 - 6, 4 - 1 - 8 } }, { x:totable(), w:totable() })
    local asked
    local other = ml.operation {
      name = "other",
      forward = function(_, v) return v * 1 end,
      backward = function(_, g)
        asked = ml.grad(inner, w)[1]:totable()
        return g
      end,
    }
    inner = (w:detach():clone():requires_grad() * w):sum()
    local a, b = x * 1, x * 2
    local got = ml.grad((w * 5):sum() + (other(x) * 1 + a + b):sum(), { a, b, x, w })
    assert.same({ { 1, 1 }, { 1, 1 }, { 4, 4 }, { 5, 5 } },
      { got[1]:totable(), got[2]:totable(), got[3]:totable(), got[4]:totable() })
    assert.same(w:totable(), asked)
  end)

  for message, fn in pairs {
    ["backward: mul is part of the backward that this one runs in"] = function()
      local x, sum = leaf { 1, 2 }
      local op = ml.operation { name = "inside", forward = function(_, v) return v * 1 end,
                                backward = function(_, g) sum:backward() return g end }
      local y = x * x
      sum = y:sum();
      (op(x * 2) + y):sum():backward()
    end,
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

  -- Every card that has them: the gradients by all that a case is differentiable by, each times
  -- numbers drawn, give one number, whose gradients are compared with finite differences.
  local function check_twice(card, case, n)
    local args, floats = sweep.arguments(card, case, "f64", false)
    local leaves = {}
    for _, f in ipairs(floats) do
      local t = f.list[f.at]
      if sweep.differentiable(card, f.name) and t:count() > 0 and t:count() < 40 then
        f.list[f.at] = t:contiguous():clone():requires_grad()
        leaves[#leaves + 1] = f.list[f.at]
      end
    end
    if #leaves == 0 or case.slow then return end
    local function number(graph)
      local y, sum = sweep.call(card, args), ml.zeros(1, { dtype = "f64" })
      local c = sweep.draw(y:shape(), "f32", nil, 999, false):to "f64"
      for k, g in ipairs(ml.grad(y, leaves, { gradient = c, create_graph = graph })) do
        if g then sum = sum + (g * sweep.draw(g:shape(), "f64", nil, 900 + k, false)):sum() end
      end
      return sum
    end
    local scalar = number(true)
    local got = scalar:info().requires_grad and ml.grad(scalar, leaves) or {}
    for k, x in ipairs(leaves) do
      local second = got[k] and got[k]:reshape(-1):totable() -- none: it does not depend on x
      local p, h = x:data(), 1e-6
      for i = 0, x:count() - 1 do
        local v = p[i]
        p[i] = v + h
        local up = number(false):item()
        p[i] = v - h
        local down = number(false):item()
        p[i] = v
        local want, have = (up - down) / (2 * h), second and second[i + 1] or 0
        assert.is_true(math.abs(want - have) <= 1e-5 * math.max(1, math.abs(want)),
          ("case %d, leaf %d, element %d: expected %.10g, got %.10g"):format(n, k, i, want, have))
      end
    end
  end

  it("go through concatenations and steps of views", function()
    local x, y = leaf { { 1, 2, 3 }, { 4, 5, 6 } }, leaf { { 2, 1 }, { 0.5, 3 } }
    local c = ml.cat({ x, y }, 2)
    local z = c[{ {}, { 1, 5, 2 } }]:transpose(1, 2)
    local gx, gy = unpack(ml.grad((z * z * z):sum(), { x, y }, { create_graph = true }))
    near(ml.tensor({ { 3, 0, 27 }, { 48, 0, 108 } }, "f64"), gx, 1e-14)
    near(ml.tensor({ { 0, 3 }, { 0, 27 } }, "f64"), gy, 1e-14)
    local hx, hy = unpack(ml.grad((gx * gx):sum() + (gy * gx:narrow(2, 1, 2)):sum(), { x, y }))
    local want = { { 2 * 3 * 6, 0, 2 * 27 * 18 }, { 2 * 48 * 24, 0, 2 * 108 * 36 } }
    near(ml.tensor(want, "f64"), hx, 1e-14)
    near(ml.zeros(2, 2, { dtype = "f64" }), hy, 1e-14)
  end)

  local some = 0
  for _, card in ipairs(sweep.cards()) do
    if card.grad and (card.each or card.twice) then
      some = some + 1
      it("of " .. card.name .. " are what finite differences of its gradient give", function()
        for n, case in ipairs(card.sweep) do
          check_twice(card, case, n)
        end
      end)
    end
  end
  it("exist for most element-wise operations, products and views", function()
    assert.is_true(some > 55, some)
  end)
end)
