-- Stacking, cutting, padding, turning, triangles, masks: by hand, gradients, and beside PyTorch.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local torch = require "spec.support.torch"

local function counted(...)
  local n = 1
  for _, size in ipairs { ... } do n = n * size end
  return ml.arange(n, "f32"):reshape(...)
end

-- The gradient of sum(f(x) * 1, 2, 3, …) by x.
local function gradient(x, f)
  local leaf = x:detach():clone():requires_grad()
  local y = f(leaf);
  (y * (ml.arange(y:count(), "f32") + 1):reshape(y:shape())):sum():backward()
  return leaf:grad()
end

describe("stack", function()
  local a, b = ml.tensor { 1, 2, 3 }, ml.tensor { 4, 5, 6 }

  it("joins along a new axis, wherever it is to stand", function()
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, ml.stack({ a, b }):totable())
    assert.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, ml.stack({ a, b }, 2):totable())
    assert.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, ml.stack({ a, b }, -1):totable())
    assert.same({ 7, 8 }, ml.stack { ml.tensor(7), ml.tensor(8) }:totable())
    assert.same({ 2, 0 }, ml.stack { ml.zeros(0), ml.zeros(0) }:shape())
  end)

  it("takes integers and truth values as well", function()
    assert.same({ { true }, { false } },
      ml.stack { ml.tensor { true }, ml.tensor { false } }:totable())
    assert.equal("i64", ml.stack { ml.arange(2), ml.arange(2) }:dtype())
  end)

  it("has gradients", function()
    assert.same({ 1, 3, 5 }, gradient(a, function(x) return ml.stack({ x, b }, 2) end):totable())
  end)

  it("refuses other shapes, and nothing", function()
    assert.equal("stack: list[2]: expected [3], got [1, 3]",
      mistake(function() ml.stack { a, b:unsqueeze(1) } end))
    assert.equal("bad argument #1 to 'stack' (list: expected a list of tensors, got table)",
      mistake(function() ml.stack {} end))
    assert.equal("bad argument #1 to 'stack' (list[2]: expected a tensor, got 3)",
      mistake(function() ml.stack { a, 3 } end))
    assert.equal("stack: axis 3 of a tensor of 2 axes",
      mistake(function() ml.stack({ a, b }, 3) end))
  end)
end)

describe("split and chunk", function()
  local x = counted(5, 2)
  local function sizes(parts, axis)
    local list = {}
    for i, p in ipairs(parts) do list[i] = p:size(axis or 1) end
    return list
  end

  it("give views of equal parts, the last one of what is left", function()
    assert.same({ 2, 2, 1 }, sizes(x:split(2)))
    assert.same({ { 8, 9 } }, x:split(2)[3]:totable())
    assert.same({ 1, 1 }, sizes(x:split(1, 2), 2))
    assert.same({ 5 }, sizes(x:split(9)))
    assert.same({ 3, 2 }, sizes(x:chunk(2)))
    assert.same({ 2, 2, 1 }, sizes(x:chunk(4))) -- parts of 2: three of them hold all
    assert.same({ 0 }, sizes(ml.zeros(0):chunk(3)))
    local t = x:clone()
    t:split(2)[1]:fill(-1)
    assert.same({ -1, -1 }, t[2]:totable())
  end)

  it("give parts of the sizes named", function()
    local parts = x:split({ 1, 0, 4 })
    assert.same({ 1, 0, 4 }, sizes(parts))
    assert.same({ 2, 3 }, parts[3][1]:totable())
  end)

  it("have gradients", function()
    local g = gradient(x, function(t) return t:split({ 2, 3 })[2] end)
    assert.same({ { 0, 0 }, { 0, 0 }, { 1, 2 }, { 3, 4 }, { 5, 6 } }, g:totable())
  end)

  it("refuse sizes that do not add up", function()
    assert.equal("split: sizes of 3 together, of 5 along axis 1",
      mistake(function() x:split { 1, 2 } end))
    assert.equal("bad argument #1 to 'split' (sizes: expected a whole number of at least 1, got 0)",
      mistake(function() x:split(0) end))
    assert.equal("bad argument #1 to 'chunk' (n: expected a whole number of at least 1, got nil)",
      mistake(function() x:chunk() end))
  end)
end)

describe("flip and roll", function()
  local x = counted(2, 3)

  it("turn axes round", function()
    assert.same({ { 3, 4, 5 }, { 0, 1, 2 } }, x:flip(1):totable())
    assert.same({ { 2, 1, 0 }, { 5, 4, 3 } }, x:flip(-1):totable())
    assert.same({ { 5, 4, 3 }, { 2, 1, 0 } }, x:flip { 1, 2 }:totable())
    assert.same(x:flip(1, 2):totable(), x:flip():totable())
    assert.equal(3, ml.tensor(3):flip():item())
    assert.same({ true, false }, ml.tensor({ false, true }):flip(1):totable())
    assert.equal("flip: axis -1 twice", mistake(function() x:flip(2, -1) end))
    assert.equal("bad argument #2 to 'flip' (axes: expected bits of 2 axes, got 4)",
      mistake(function() ml.op.flip(x, 4) end))
  end)

  it("copy: what is written into one does not show in the other", function()
    local y = x:flip(1)
    y:fill(9)
    assert.same({ 0, 1, 2 }, x[1]:totable())
  end)

  it("move elements round, over one axis, several, or all", function()
    assert.same({ { 2, 0, 1 }, { 5, 3, 4 } }, x:roll(1, 2):totable())
    assert.same({ { 1, 2, 0 }, { 4, 5, 3 } }, x:roll(-1, 2):totable())
    assert.same({ { 5, 3, 4 }, { 2, 0, 1 } }, x:roll({ 1, -5 }, { 1, 2 }):totable())
    assert.same({ { 4, 5, 0 }, { 1, 2, 3 } }, x:roll(2):totable())
    assert.same({ { 4, 5, 0 }, { 1, 2, 3 } }, x:roll(2 - 6 * 1000):totable())
    assert.same({ { 1, 2, 0 }, { 4, 5, 3 } }, x:roll({ 1, 1 }, { 2, 2 }):totable()) -- twice
    assert.same({ 0, 3 }, ml.zeros(0, 3):roll(1, 1):shape())
    assert.equal("roll: 1 shifts along 2 axes", mistake(function() x:roll(1, { 1, 2 }) end))
  end)

  it("have gradients", function()
    assert.same({ { 3, 2, 1 }, { 6, 5, 4 } },
      gradient(x, function(t) return t:flip(2) end):totable())
    assert.same({ { 2, 3, 1 }, { 5, 6, 4 } },
      gradient(x, function(t) return t:roll(1, 2) end):totable())
  end)
end)

describe("tile and repeat_interleave", function()
  local x = counted(2, 2)

  it("repeat the whole along axes, and put missing ones before", function()
    assert.same({ { 0, 1, 0, 1 }, { 2, 3, 2, 3 } }, x:tile(1, 2):totable())
    assert.same({ { 0, 1, 0, 1 }, { 2, 3, 2, 3 } }, x:tile(2):totable())
    assert.same({ { { 0, 1 }, { 2, 3 } }, { { 0, 1 }, { 2, 3 } } }, x:tile(2, 1, 1):totable())
    assert.same({ 2, 0 }, x:tile { 1, 0 }:shape())
    assert.same({ 5, 5, 5 }, ml.tensor(5):tile(3):totable())
    assert.same({ 0, 4 }, ml.zeros(0, 2):tile(3, 2):shape())
    assert.same({ { 3, 7 }, { 11, 15 } }, -- 1 + 2, 3 + 4, …
      gradient(x, function(t) return t:reshape(4, 1):tile(1, 2) end):reshape(2, 2):totable())
    assert.equal("bad argument #2 to 'tile' (times: expected a whole number of at least 0, got -1)",
      mistake(function() x:tile(1, -1) end))
  end)

  it("repeat each slice beside itself", function()
    assert.same({ 0, 0, 1, 1, 2, 2, 3, 3 }, x:repeat_interleave(2):totable())
    assert.same({ { 0, 0, 1, 1 }, { 2, 2, 3, 3 } }, x:repeat_interleave(2, 2):totable())
    local repeats = ml.tensor({ 0, 3 }, "i64")
    assert.same({ { 2, 3 }, { 2, 3 }, { 2, 3 } }, x:repeat_interleave(repeats, 1):totable())
    assert.same({ { 0, 0 }, { 9, 12 } },
      gradient(x, function(t) return t:repeat_interleave(repeats, 1) end):totable())
    assert.same({ 0, 2 }, x:repeat_interleave(0, 1):shape())
    assert.equal("repeat_interleave: expected repeats of [2], got [1]",
      mistake(function() x:repeat_interleave(ml.tensor({ 1 }, "i64"), 1) end))
    assert.equal("bad argument #1 to 'repeat_interleave' (repeats: expected a whole number of at "
      .. "least 0, got -1)", mistake(function() x:repeat_interleave(-1) end))
  end)
end)

describe("pad", function()
  local x = counted(2, 3)

  it("puts a value around, the last axis first, or takes away", function()
    assert.same({ { 9, 0, 1, 2, 9, 9 }, { 9, 3, 4, 5, 9, 9 } },
      x:pad({ 1, 2 }, "constant", 9):totable())
    assert.same({ { 0, 0, 0 }, { 0, 1, 2 }, { 3, 4, 5 } }, x:pad { 0, 0, 1, 0 }:totable())
    assert.same({ { 1, 2, 0 } }, x:pad { -1, 1, 0, -1 }:totable())
    assert.same({ { true, false } }, ml.tensor({ { true } }):pad({ 0, 1 }):totable())
    assert.same({ 7, 7 }, ml.zeros({ 0 }, { dtype = "u8" }):pad({ 1, 1 }, "constant", 7):totable())
    assert.same(x:totable(), x:pad {}:totable())
  end)

  it("repeats what is there: mirrored, the edge, or round", function()
    local row = ml.tensor { 1, 2, 3 }
    assert.same({ 3, 2, 1, 2, 3, 2 }, row:pad({ 2, 1 }, "reflect"):totable())
    assert.same({ 1, 1, 1, 2, 3, 3 }, row:pad({ 2, 1 }, "replicate"):totable())
    assert.same({ 2, 3, 1, 2, 3, 1 }, row:pad({ 2, 1 }, "circular"):totable())
  end)

  it("goes on where more is asked for than there is, as NumPy does", function()
    local row = ml.tensor { 1, 2, 3 }
    assert.same({ 3, 2, 1, 2, 3, 2, 1, 2, 3, 2 }, row:pad({ 2, 5 }, "reflect"):totable())
    assert.same({ 3, 1, 2, 3, 1, 2, 3, 1 }, row:pad({ 1, 4 }, "circular"):totable())
    assert.same({ 4, 4, 4 }, ml.tensor({ 4 }):pad({ 1, 1 }, "reflect"):totable())
  end)

  it("adds up the gradients of what it repeats", function()
    local row = ml.tensor { 1, 2, 3 }
    assert.same({ 6, 4, 5 },
      gradient(row, function(t) return t:pad({ 2, 0 }, "replicate") end):totable())
    assert.same({ 3, 6, 6 },
      gradient(row, function(t) return t:pad({ 2, 0 }, "reflect") end):totable())
  end)

  it("refuses what does not fit, in one line", function()
    assert.equal("bad argument #2 to 'pad' (pads: expected a pair for each of at most 2 axes, got "
      .. "3 numbers)", mistake(function() x:pad { 1, 2, 3 } end))
    assert.equal("bad argument #2 to 'pad' (pads: -2 and -2 along axis 2, of size 3)",
      mistake(function() x:pad { -2, -2 } end))
    assert.equal("bad argument #1 to 'pad' (x: axis 2 is empty: nothing to pad it with)",
      mistake(function() ml.zeros(2, 0):pad({ 1, 1 }, "reflect") end))
    assert.equal("bad argument #3 to 'pad' (mode: expected one of constant, reflect, replicate, "
      .. "circular, got 'mirror')", mistake(function() x:pad({ 1, 1 }, "mirror") end))
    assert.equal("bad argument #1 to 'pad' (counts[2]: expected a whole number, got 1.5)",
      mistake(function() x:pad { 1, 1.5 } end))
    assert.matches("no tensor of shape",
      mistake(function() x:pad { 2 ^ 52, 2 ^ 52, 2 ^ 52, 0 } end))
  end)
end)

describe("triangles and diagonals", function()
  local x = counted(3, 3) + 1

  it("keep one side of a diagonal", function()
    assert.same({ { 1, 0, 0 }, { 4, 5, 0 }, { 7, 8, 9 } }, x:tril():totable())
    assert.same({ { 1, 2, 0 }, { 4, 5, 6 }, { 7, 8, 9 } }, x:tril(1):totable())
    assert.same({ { 0, 2, 3 }, { 0, 0, 6 }, { 0, 0, 0 } }, x:triu(1):totable())
    assert.same({ { true, false }, { true, true } },
      ml.ones({ 2, 2 }, { dtype = "bool" }):tril():totable())
    assert.same({ { 1, 0, 0 }, { 4, 5, 0 }, { 7, 8, 9 } },
      gradient(x, function(t) return t:tril() end):totable())
    assert.equal("bad argument #1 to 'tril' (x: expected at least 2 axes, got 1)",
      mistake(function() ml.zeros(3):tril() end))
  end)

  it("are views of a matrix's diagonal, and matrices of a vector", function()
    assert.same({ 1, 5, 9 }, x:diag():totable())
    assert.same({ 2, 6 }, x:diagonal(1):totable())
    assert.same({ 4, 8 }, x:diagonal(-1):totable())
    assert.same({}, x:diagonal(5):totable())
    assert.same({ { 0, 3 }, { 4, 7 } }, counted(2, 2, 2):diagonal(0, 2, 3):totable())
    assert.same({ { 1, 0 }, { 0, 2 } }, ml.tensor({ 1, 2 }):diag():totable())
    assert.same({ { 0, 1, 0 }, { 0, 0, 2 }, { 0, 0, 0 } }, ml.tensor({ 1, 2 }):diag(1):totable())
    assert.same({ { 0, 0, 0 }, { 1, 0, 0 }, { 0, 2, 0 } }, ml.tensor({ 1, 2 }):diag(-1):totable())
    assert.same({ 0, 0 }, ml.zeros(0):diag():shape())
    assert.same({ 2, 6 },
      gradient(ml.tensor { 1, 2 }, function(t) return t:diag(1) end):totable())
    assert.same({ { 1, 0, 0 }, { 0, 2, 0 }, { 0, 0, 3 } },
      gradient(x, function(t) return t:diag() end):totable())
    local t = x:clone()
    t:diagonal():fill(0)
    assert.same({ 4, 0, 6 }, t[2]:totable())
    assert.equal("diag: expected a vector or a matrix, got [1, 1, 1]",
      mistake(function() ml.zeros(1, 1, 1):diag() end))
    assert.equal("diagonal: axis 2 twice", mistake(function() x:diagonal(0, 2, -1) end))
  end)
end)

describe("masks", function()
  local x, mask = counted(2, 2), ml.tensor { { true, false }, { false, true } }

  it("fill with a number or a tensor, broadcast", function()
    assert.same({ { -1, 1 }, { 2, -1 } }, x:masked_fill(mask, -1):totable())
    assert.same({ { 7, 1 }, { 7, 3 } }, x:masked_fill(ml.tensor { true, false }, 7):totable())
    assert.same({ { 8, 1 }, { 2, 8 } }, x:masked_fill(mask, ml.tensor(8)):totable())
    assert.same({ 0, 5 }, ml.arange(2):masked_fill(ml.tensor { false, true }, 5):totable())
    assert.same({ { 0, 2 }, { 3, 0 } },
      gradient(x, function(t) return t:masked_fill(mask, 9) end):totable())
    assert.equal("bad argument #1 to 'masked_fill' (mask: expected a tensor, got 1)",
      mistake(function() x:masked_fill(1, 1) end))
  end)

  it("select in row order, broadcast", function()
    assert.same({ 0, 3 }, x:masked_select(mask):totable())
    assert.same({ 1, 3 }, x:masked_select(ml.tensor { false, true }):totable())
    assert.same({ 5, 5 }, ml.tensor(5):masked_select(mask):totable())
    assert.same({ 5 }, ml.tensor(5):masked_select(ml.tensor(true, "bool")):totable())
    assert.same({ 0 }, x:masked_select(ml.zeros({ 2, 2 }, { dtype = "bool" })):shape())
    assert.same({ { 1, 0 }, { 0, 2 } },
      gradient(x, function(t) return t:masked_select(mask) end):totable())
    assert.equal("masked_select: shapes [2, 2] and [3] do not broadcast",
      mistake(function() x:masked_select(ml.zeros({ 3 }, { dtype = "bool" })) end))
  end)
end)

describe("windows and ids", function()
  it("unfold an axis into overlapping windows, a view", function()
    local x = ml.arange(7, "f32")
    assert.same({ { 0, 1, 2 }, { 2, 3, 4 }, { 4, 5, 6 } }, x:unfold(1, 3, 2):totable())
    assert.same({ 2, 1, 3 }, ml.zeros(2, 3):unfold(2, 3):shape())
    assert.same({ { 0, 1 } }, x:unfold(1, 2, 2 ^ 52):totable())
    assert.same({ 1, 5, 4 }, -- 1, 2 + 3, 4: the middle one is in both windows
      gradient(ml.tensor { 1, 2, 3 }, function(t) return t:unfold(1, 2) end):totable())
    assert.equal("unfold: windows of 8 along axis 1, of size 7",
      mistake(function() x:unfold(1, 8) end))
  end)

  it("become vectors of one 1", function()
    local ids = ml.tensor({ 1, 0, 2 }, "i64")
    assert.same({ { 0, 1, 0 }, { 1, 0, 0 }, { 0, 0, 1 } }, ids:one_hot():totable())
    local y = ids:one_hot(4, "f32")
    assert.equal("f32", y:dtype())
    assert.same({ 0, 0, 1, 0 }, y[3]:totable())
    assert.same({ 0, 3 }, ml.zeros({ 0 }, { dtype = "i32" }):one_hot(3):shape())
    assert.equal("bad argument #1 to 'one_hot' (ids: 2 at position 2 is outside 0 to 1)",
      mistake(function() ids:one_hot(2) end))
    assert.equal("bad argument #1 to 'one_hot' (ids: -1 at position 0 is outside 0 to 0)",
      mistake(function() ml.tensor({ -1, 0 }, "i32"):one_hot() end))
    assert.equal("one_hot: no ids: how many classes?",
      mistake(function() ml.zeros({ 0 }, { dtype = "i64" }):one_hot() end))
  end)
end)

describe("grids, lines and unit matrices", function()
  it("spread vectors over a grid", function()
    local y, x = ml.meshgrid(ml.arange(2), ml.arange(3))
    assert.same({ { 0, 0, 0 }, { 1, 1, 1 } }, y:totable())
    assert.same({ { 0, 1, 2 }, { 0, 1, 2 } }, x:totable())
    assert.same({ 2, 1 }, ml.meshgrid(ml.arange(2), ml.tensor(5)):shape())
    assert.equal("meshgrid: expected vectors, got [2, 2]",
      mistake(function() ml.meshgrid(ml.zeros(2, 2)) end))
  end)

  it("go from one number to another, meeting both exactly", function()
    assert.same({ 0, 0.25, 0.5, 0.75, 1 }, ml.linspace(0, 1, 5):totable())
    assert.same({ 3, 2, 1 }, ml.linspace(3, 1, 3, { dtype = "i64" }):totable())
    assert.same({ 2 }, ml.linspace(2, 9, 1):totable())
    assert.same({ 0 }, ml.linspace(2, 9, 0):shape())
    local x = ml.linspace(0.1, 0.7, 49, { dtype = "f64" })
    assert.equal(0.7, x:at(-1))
    assert.equal("bad argument #3 to 'linspace' (n: expected a whole number of at least 0, "
      .. "got nil)", mistake(function() ml.linspace(0, 1) end))
    assert.equal("linspace: unknown option 'type', did you mean 'dtype'?",
      mistake(function() ml.linspace(0, 1, 3, { type = "f64" }) end))
  end)

  it("have 1 on the diagonal", function()
    assert.same({ { 1, 0, 0 }, { 0, 1, 0 } }, ml.eye(2, 3):totable())
    assert.same({ { 1, 0 }, { 0, 1 } }, ml.eye(2, { dtype = "u8" }):totable())
    assert.same({ 0, 0 }, ml.eye(0):shape())
    assert.equal("bad argument #1 to 'eye' (n: expected a whole number of at least 0, got -1)",
      mistake(function() ml.eye(-1) end))
  end)
end)

describe("arranged beside PyTorch", function()
  local got = torch.run [[
x = torch.arange(24.).reshape(2, 3, 4)
F = torch.nn.functional
def both(name, f):
    t = x.clone().requires_grad_()
    y = f(t)
    (y * torch.arange(1., y.numel() + 1).reshape(y.shape)).sum().backward()
    result[name] = {"y": y.detach().reshape(-1), "g": t.grad.reshape(-1)}
both("stack", lambda t: torch.stack([t, t * 2], 2))
both("split", lambda t: t.split([1, 3], 2)[1])
both("roll", lambda t: t.roll((1, -2), (0, 2)))
both("roll_all", lambda t: t.roll(5))
both("tile", lambda t: t.tile((2, 1, 2)))
both("interleave", lambda t: t.repeat_interleave(torch.tensor([2, 0, 1]), 1))
both("reflect", lambda t: F.pad(t, (3, 1), "reflect"))
both("replicate", lambda t: F.pad(t, (2, 2), "replicate"))
both("circular", lambda t: F.pad(t, (4, 2), "circular"))
both("constant", lambda t: F.pad(t, (1, -2, 0, 1, 2, 0), value=-3))
both("diagonal", lambda t: t.diagonal(1, 0, 2))
both("diag", lambda t: t.reshape(-1)[:5].diag(-2))
both("unfold", lambda t: t.unfold(2, 3, 1))
both("masked", lambda t: t.masked_fill(t > 11, -1))
both("selected", lambda t: t.masked_select(t > 11))
both("triu", lambda t: t.triu(2))
]]
  if not got then
    pending("python3-torch is not installed")
    return
  end
  local x = counted(2, 3, 4)
  local ours = {
    stack = function(t) return ml.stack({ t, t * 2 }, 3) end,
    split = function(t) return t:split({ 1, 3 }, 3)[2] end,
    roll = function(t) return t:roll({ 1, -2 }, { 1, 3 }) end,
    roll_all = function(t) return t:roll(5) end,
    tile = function(t) return t:tile(2, 1, 2) end,
    interleave = function(t) return t:repeat_interleave(ml.tensor({ 2, 0, 1 }, "i64"), 2) end,
    reflect = function(t) return t:pad({ 3, 1 }, "reflect") end,
    replicate = function(t) return t:pad({ 2, 2 }, "replicate") end,
    circular = function(t) return t:pad({ 4, 2 }, "circular") end,
    constant = function(t) return t:pad({ 1, -2, 0, 1, 2, 0 }, "constant", -3) end,
    diagonal = function(t) return t:diagonal(1, 1, 3) end,
    diag = function(t) return t:reshape(-1):narrow(1, 1, 5):diag(-2) end,
    unfold = function(t) return t:unfold(3, 3, 1) end,
    masked = function(t) return t:masked_fill(t:detach():gt(11), -1) end,
    selected = function(t) return t:masked_select(t:detach():gt(11)) end,
    triu = function(t) return t:triu(2) end,
  }
  for name, f in pairs(ours) do
    it(name .. " has the same values and gradients", function()
      assert.same(got[name].y, f(x):reshape(-1):totable())
      assert.same(got[name].g, gradient(x, f):reshape(-1):totable())
    end)
  end
end)
