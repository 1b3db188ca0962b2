local ml = require "mlua"
local nn = ml.nn
local files = require "spec.support.files"
local mistake = require "spec.support.mistake"

describe("nn.Dropout", function()
  local x = ml.ones(64)

  it("drops anew at every step of training, and nothing otherwise", function()
    local m = nn.Dropout.new { p = 0.5, seed = 1, stream = 2 }
    local a, b = m(x):totable(), m(x):totable()
    assert.is_not.same(a, b)
    m:eval()
    assert.equal(x, m(x))
    assert.same({ 2 }, m.count:totable())
  end)

  it("goes on where a loaded state was saved", function()
    local function new() return nn.Dropout.new { p = 0.5, seed = 1, stream = 2 } end
    local m, again = new(), new()
    m(x)
    local folder = files.folder()
    assert(m:save(folder .. "/m.safetensors"))
    local want = m(x):totable()
    assert(again:load(folder .. "/m.safetensors"))
    files.remove(folder)
    assert.same(want, again(x):totable())
  end)

  it("takes its names from ml.seed where it has none, each its own", function()
    local function two()
      ml.seed(5)
      local a, b = nn.Dropout.new {}, nn.Dropout.new {}
      return { a(x):totable(), b(x):totable() }
    end
    local first = two()
    assert.is_not.same(first[1], first[2])
    assert.same(first, two())
  end)

  it("drops whole channels", function()
    local m = nn.Dropout.new { by = "channel", seed = 1, stream = 0 }
    for _, sample in ipairs(m(ml.ones(4, 6, 3, 2)):reshape(24, 6):totable()) do
      for _, v in ipairs(sample) do assert.equal(sample[1], v) end
    end
  end)

  it("with p 1 gives zeros, with p 0 its input, of an empty batch an empty one", function()
    assert.equal(0, nn.Dropout.new { p = 1 }(x):sum():item())
    assert.equal(x, nn.Dropout.new { p = 0 }(x))
    for _, by in ipairs { "element", "channel" } do
      assert.same({ 0, 3, 2 }, nn.Dropout.new { by = by }(ml.zeros(0, 3, 2)):shape())
    end
    assert.same({ 2, 3, 0 }, nn.Dropout.new { by = "channel" }(ml.zeros(2, 3, 0)):shape())
  end)

  it("refuses wrong options", function()
    assert.equal("bad argument #1 to 'Dropout' (p: expected 0 to 1, got 1.5)",
      mistake(function() nn.Dropout.new { p = 1.5 } end))
    assert.equal("bad argument #1 to 'Dropout' (by: expected element or channel, got 'row')",
      mistake(function() nn.Dropout.new { by = "row" } end))
    assert.equal("Dropout 0.5 by channel", tostring(nn.Dropout.new { by = "channel" }))
  end)
end)

describe("Module", function()
  it("tells all inside whether they train", function()
    local outer, inner = nn.Module.class("Outer").create(), nn.Dropout.new {}
    outer:child("inner", inner)
    assert.is_true(inner.training)
    assert.equal(outer, outer:eval())
    assert.is_false(inner.training)
    outer:train()
    assert.is_true(inner.training and outer.training)
    assert.equal("bad argument #1 to 'train' (on: expected a boolean or nil, got 1)",
      mistake(function() outer:train(1) end))
  end)

  it("has buffers by dotted name, in its state and its files", function()
    local m = nn.Module.class("Outer").create()
    m:child("drop", nn.Dropout.new {})
    m:buffer("steps", ml.tensor({ 3 }, "i64"))
    assert.equal(0, #m:parameters())
    local names = {}
    for i, b in ipairs(m:named_buffers()) do names[i] = b.name end
    assert.same({ "steps", "drop.count" }, names)
    assert.same({ 3 }, m:state().steps:totable())
    assert.equal("bad argument #2 to 'buffer' (t: expected a tensor, got 3)",
      mistake(function() m:buffer("x", 3) end))
    assert.equal("bad argument #1 to 'buffer' (name: 'steps' is there already)",
      mistake(function() m:buffer("steps", ml.zeros(1)) end))
  end)
end)
