-- The tape: gradients worked out by hand, views, changes in place, and what is refused.
local ml = require "mlua"

local function leaf(values) return ml.tensor(values):requires_grad() end

describe("backward", function()
  it("gives 2x for the sum of squares, and adds up over calls", function()
    local x = leaf { 1, -2, 3 }
    x:square():sum():backward()
    assert.same({ 2, -4, 6 }, x:grad():totable())
    x:square():sum():backward()
    assert.same({ 4, -8, 12 }, x:grad():totable())
    assert.is_nil(x:zero_grad():grad())
  end)

  it("sums over what was broadcast", function()
    local a, b = leaf { { 1, 2 }, { 3, 4 } }, leaf { 10, 20 };
    (a * b):sum():backward()
    assert.same({ { 10, 20 }, { 10, 20 } }, a:grad():totable())
    assert.same({ 4, 6 }, b:grad():totable())
  end)

  it("takes a gradient for a loss of several elements, also one that is not contiguous", function()
    local x = leaf { { 1, 2 }, { 3, 4 } }
    local y = x * 2
    y:backward(ml.tensor({ { 1, 2 }, { 3, 4 } }):transpose())
    assert.same({ { 2, 6 }, { 4, 8 } }, x:grad():totable())
    local g = ml.ones(2, 2)
    x:zero_grad()
    y:backward(g)
    y:backward(g)
    assert.same({ { 1, 1 }, { 1, 1 } }, g:totable()) -- the caller's own is not added to
    assert.same({ { 4, 4 }, { 4, 4 } }, x:grad():totable())
  end)

  it("works for no axes and for no elements", function()
    local x, e = leaf(3), leaf {};
    (x * x):backward()
    assert.equal(6, x:grad():item());
    (e * 2):sum():backward()
    assert.same({}, e:grad():totable())
  end)

  it("walks a chain of 100,000 operations, and lets go of it, without recursion", function()
    local x = leaf(1)
    ml.scope(function()
      local y = x
      for _ = 1, 100000 do y = y + 1 end
      y:backward()
    end)
    assert.equal(1, x:grad():item())
  end)

  it("keeps a handle on a gradient current", function()
    local x = leaf { 1 }
    x:sum():backward()
    local g = x:grad();
    (x * 2):sum():backward()
    assert.equal(3, g:item())
  end)
end)

describe("views on the tape", function()
  it("pass their gradients to the places they show", function()
    local x = leaf { { 1, 2, 3 }, { 4, 5, 6 } }
    local v = x:narrow(2, 2, 3):select(1, 2); -- 5, 6
    (v * ml.tensor { 10, 20 }):sum():backward()
    assert.same({ { 0, 0, 0 }, { 0, 10, 20 } }, x:grad():totable())
  end)

  it("add up where they show an element twice", function()
    local x = leaf { { 1 }, { 2 } }
    x:expand(2, 3):contiguous():sum():backward()
    assert.same({ { 3 }, { 3 } }, x:grad():totable())
  end)

  it("of operations' outputs, transposed, go through", function()
    local x = leaf { { 1, 2 }, { 3, 4 } };
    ((x * 2):transpose() * ml.tensor { { 1, 2 }, { 3, 4 } }):sum():backward()
    assert.same({ { 2, 6 }, { 4, 8 } }, x:grad():totable())
  end)

end)

describe("a change in place", function()
  local function refused(message, fn)
    local ok, got = pcall(fn)
    assert.is_false(ok)
    assert.is_truthy(got:find(message, 1, true), got)
  end

  it("of an input is found out at backward", function()
    local x, w = leaf { 1, 2 }, ml.tensor { 3, 4 }
    local loss = (x * w):sum()
    w:fill(0)
    refused("backward of mul: its input #2 was changed in place since",
      function() loss:backward() end)
  end)

  it("through a view or a detached alias is found out as well", function()
    for _, change in ipairs {
      function(w) w:select(1, 1):fill(0) end, function(w) w:detach():put(5, 1) end,
    } do
      local x, w = leaf { 1, 2 }, ml.tensor { 3, 4 }
      local loss = (x * w):sum()
      change(w)
      refused("was changed in place since", function() loss:backward() end)
    end
  end)

  it("of an output that the backward needs is found out", function()
    local x = leaf { 1, 2 }
    local y = (x * 1):exp()
    local loss = y:sum()
    ml.no_grad(function() y:fill(3) end)
    refused("changed in place since", function() loss:backward() end)
    local z = x:sigmoid()
    ml.no_grad(function() z:detach():fill(0) end)
    refused("backward of sigmoid: its output was changed in place since",
      function() z:backward(ml.ones(2)) end)
  end)

  it("of a computed tensor is refused at once", function()
    local y = leaf { 1, 2 } * 2
    for verb, fn in pairs {
      fill = function() y:fill(1) end, copy = function() y:copy(ml.zeros(2)) end,
      put = function() y:put(1, 1) end,
    } do
      refused(verb .. ": the tensor is computed and on the tape; detach or clone it first", fn)
    end
    y:detach():fill(1) -- on the user's word
  end)

  it("of a leaf is allowed: weights are loaded so", function()
    local x = leaf { 1, 2 }
    x:copy(ml.tensor { 5, 6 })
    x:square():sum():backward()
    assert.same({ 10, 12 }, x:grad():totable())
  end)
end)

describe("refused", function()
  local function message(fn)
    local ok, got = pcall(fn)
    assert.is_false(ok)
    return (got:gsub("^.-:%d+: ", ""))
  end

  it("are losses that depend on nothing, that are leaves, or have several elements", function()
    assert.equal("backward: the loss does not depend on anything that requires a gradient",
      message(function() ml.zeros(1):backward() end))
    assert.equal("backward: the loss is a leaf, nothing computed it",
      message(function() leaf { 1 }:backward() end))
    assert.equal("backward: the loss has shape [2]: expected one element, or a gradient",
      message(function() (leaf { 1, 2 } * 2):backward() end))
    assert.equal("backward: gradient: expected f32 [2], got f32 [3]",
      message(function() (leaf { 1, 2 } * 2):backward(ml.ones(3)) end))
  end)

  it("are leaves that are integers, computed, or not contiguous", function()
    assert.equal("requires_grad: expected a floating-point tensor, got i64",
      message(function() ml.arange(2):requires_grad() end))
    assert.equal("requires_grad: the tensor is computed; detach it first",
      message(function() (leaf { 1 } * 2):requires_grad() end))
    assert.equal("requires_grad: a leaf must be contiguous; copy it first",
      message(function() ml.zeros(2, 3):transpose():requires_grad() end))
  end)

  it("is a second step through the same tape", function()
    local x = leaf { 1 }
    local loss, sgd = x:square():sum(), ml.optim.sgd({ x }, { lr = 0.5 })
    sgd:step(loss)
    assert.equal("backward: sum was already used up by an optimiser's step",
      message(function() sgd:step(loss) end))
  end)
end)

describe("a copy", function()
  it("passes the gradient on, and keeps every value, -0 among them", function()
    local x = leaf { 1, -0.0, 1 / 0 }
    local y = x:clone();
    (y * 3):sum():backward()
    assert.same({ 3, 3, 3 }, x:grad():totable())
    assert.equal(-1 / 0, 1 / y:at(2))
    y = leaf { { 1, 2 }, { 3, 4 } }
    y:transpose():clone():square():sum():backward()
    assert.same({ { 2, 4 }, { 6, 8 } }, y:grad():totable())
  end)

  it("of a detached tensor, or without recording, is a leaf of its own", function()
    local x = leaf { 1 }
    x:detach():clone():fill(2):requires_grad()
    ml.no_grad(function() return x:clone() end):fill(3)
    assert.equal(1, x:item())
  end)

  it("in another floating-point dtype passes its gradient back in the old one", function()
    local x = leaf { 1, 2 }
    local y = x:to "f64";
    (y * y):sum():backward()
    assert.equal("f32", x:grad():dtype())
    assert.same({ 2, 4 }, x:grad():totable())
    assert.equal(x, x:to "f32")
  end)

  it("in integers is off the tape", function()
    assert.is_false(leaf({ 1, 2 }):to("i64"):info().requires_grad)
  end)
end)

describe("no_grad", function()
  it("records nothing, and is over when its function is, also by an error", function()
    local x = leaf { 1 }
    local y = ml.no_grad(function() return x * 2 end)
    assert.is_false(pcall(y.backward, y))
    assert.is_false(pcall(ml.no_grad, error, "no"));
    (x * 2):sum():backward()
    assert.equal(2, x:grad():item())
  end)
end)
