-- Chains, lists and dictionaries of modules.
local ml = require "mlua"
local files = require "spec.support.files"
local mistake = require "spec.support.mistake"
local nn = ml.nn

local function names_of(m)
  local names = {}
  for i, p in ipairs(m:named_parameters()) do names[i] = p.name end
  return names
end

local function linear(n, m, stream)
  return nn.Linear.new { inputs = n, outputs = m, seed = 1, stream = stream }
end

local function double(x) return x * 2 end

describe("Sequential", function()
  it("gives each what the one before gave; functions count as modules", function()
    local m = nn.Sequential.new { double, nn.ReLU.new(), function(x) return x + 1 end }
    assert.same({ 1, 7 }, m(ml.tensor { -2, 3 }):totable())
    assert.equal(3, #m)
    assert.equal("ReLU", m[2]:describe())
    assert.equal(5, nn.Sequential.new {} (5))
  end)

  it("gives its first all arguments, and returns all results of its last", function()
    local m = nn.Sequential.new { function(a, b) return a + b, 9 end, function(x) return x, -x end }
    assert.same({ 5, -5 }, { m(2, 3) })
    assert.same({ 5, 9 }, { nn.Sequential.new { m[1] } (2, 3) })
  end)

  it("names parameters by number or by the name given, in its state and on disk", function()
    local function make()
      return nn.Sequential.new { linear(2, 3, 1), nn.Tanh.new(), { "head", linear(3, 1, 2) } }
    end
    local a, b = make(), make()
    assert.same({ "1.weight", "1.bias", "head.weight", "head.bias" }, names_of(a))
    assert.equal(a.head, a[3])
    for _, p in ipairs(a:parameters()) do p:fill(0.5) end
    local folder = files.folder()
    finally(function() files.remove(folder) end)
    assert.is_true(a:save(folder .. "/m.safetensors"))
    assert.is_true(b:load(folder .. "/m.safetensors"))
    local x = ml.tensor { { 1, 2 } }
    assert.equal(a(x):item(), b(x):item())
  end)

  it("grows", function()
    local m = nn.Sequential.new { double }
    assert.equal(m, m:append(linear(1, 1)):append(double, "last"))
    assert.same({ 3, "Lambda" }, { #m, m.last:describe() })
  end)

  it("is shown as a tree, and summed up", function()
    local inner = nn.Sequential.new { nn.LeakyReLU.new { slope = 0.1 } }
    local m = nn.Sequential.new { linear(2, 3), inner, nn.Lambda.new(double, "double"),
                                  nn.Identity.new() }
    assert.equal([[
Sequential
  (1) Linear 2 -> 3
  (2) Sequential
    (1) LeakyReLU slope 0.1
  (3) double
  (4) Identity]], tostring(m))
    assert.equal([[
1  Linear 2 -> 3  weight [3, 2], bias [3]             9
9 parameters]], m:summary())
  end)

  it("refuses what is no module", function()
    local m = nn.Sequential.new {}
    for message, fn in pairs {
      ["bad argument #1 to 'Sequential' (expected a list of modules, got nil)"] =
        function() nn.Sequential.new() end,
      ["bad argument #1 to 'Sequential' (expected a list of modules, got Linear 1 -> 1)"] =
        function() nn.Sequential.new(linear(1, 1)) end,
      ["bad argument #1 to 'Sequential' ([2]: expected a module or a function, got 3)"] =
        function() nn.Sequential.new { double, 3 } end,
      ["bad argument #1 to 'Sequential' ([1]: expected a word without dots, got 'a.b')"] =
        function() nn.Sequential.new { { "a.b", double } } end,
      ["bad argument #1 to 'Sequential' ([1]: 'forward' is there already, or a method)"] =
        function() nn.Sequential.new { { "forward", double } } end,
      ["bad argument #1 to 'append' (module: expected a module or a function, got nil)"] =
        function() m:append() end,
      ["bad argument #1 to 'Lambda' (f: expected a function, got 1)"] =
        function() nn.Lambda.new(1) end,
    } do
      assert.equal(message, mistake(fn))
    end
  end)

  it("names the layer where something does not fit", function()
    local m = nn.Sequential.new { linear(2, 3), { "head", linear(2, 1) } }:name_paths()
    assert.equal("head: bad argument #1 to 'linear' (x: expected [*, 2], got [4, 3])",
      mistake(function() m(ml.ones(4, 2)) end))
  end)
end)

describe("ModuleList", function()
  it("registers its modules, and is walked as a list", function()
    local list = nn.ModuleList.new { linear(1, 2) }
    list:append(linear(2, 3))
    assert.same({ "1.weight", "1.bias", "2.weight", "2.bias" }, names_of(list))
    local x = ml.ones(1, 1)
    for _, m in ipairs(list) do x = m(x) end
    assert.same({ 1, 3 }, x:shape())
    assert.equal(2, #list)
    assert.equal("ModuleList has no forward: call its members", mistake(function() list(x) end))
  end)
end)

describe("ModuleDict", function()
  it("registers its modules by name, in the order of their names or as given", function()
    local d = nn.ModuleDict.new { b = linear(1, 1), a = nn.ReLU.new() }
    assert.same({ "b.weight", "b.bias" }, names_of(d))
    d:set("c", double)
    local names = {}
    for name in d:items() do names[#names + 1] = name end
    assert.same({ "a", "b", "c" }, names)
    assert.equal(6, d.c(3))
    assert.equal("b", nn.ModuleDict.new { { "b", double }, { "a", double } }:items()())
  end)

  it("refuses names that are taken and what is no module", function()
    local d = nn.ModuleDict.new { a = double }
    for message, fn in pairs {
      ["bad argument #1 to 'set' (name: 'a' is there already, or a method)"] =
        function() d:set("a", double) end,
      ["bad argument #2 to 'set' (module: expected a module or a function, got 1)"] =
        function() d:set("b", 1) end,
      ["bad argument #1 to 'ModuleDict' (a: expected a module or a function, got 1)"] =
        function() nn.ModuleDict.new { a = 1 } end,
      ["bad argument #1 to 'ModuleDict' (expected modules by name, got 1)"] =
        function() nn.ModuleDict.new(1) end,
    } do
      assert.equal(message, mistake(fn))
    end
  end)
end)

describe("any module", function()
  it("applies a function to all inside, then to itself", function()
    local seen = {}
    local m = nn.Sequential.new { nn.ReLU.new(), nn.Sequential.new { linear(1, 1) } }
    assert.equal(m, m:apply(function(x) seen[#seen + 1] = x.class_name end))
    assert.same({ "ReLU", "Linear", "Sequential", "Sequential" }, seen)
    assert.equal("bad argument #1 to 'apply' (f: expected a function, got nil)",
      mistake(function() m:apply() end))
  end)

  it("frozen gets no gradients and is left alone by optimisers, until it is thawed", function()
    local m = nn.Sequential.new { { "base", linear(1, 1) }, { "head", linear(1, 1) } }
    m.base:freeze()
    local before = m.base.weight:item()
    local head = m.head.weight:item()
    local opt = ml.optim.sgd(m.head:parameters(), { lr = 0.1 })
    opt:step(m(ml.ones(2, 1)):sum())
    assert.is_nil(m.base.weight:grad())
    assert.equal(before, m.base.weight:item())
    assert.not_equal(head, m.head.weight:item())
    m:freeze(false)
    m(ml.ones(2, 1)):sum():backward()
    assert.is_not_nil(m.base.weight:grad())
  end)

  it("trains or not, all inside with it", function()
    local dropout = nn.Dropout.new { p = 0.5, seed = 1, stream = 1 }
    local m = nn.Sequential.new { nn.Sequential.new { dropout } }
    local x = ml.ones(100)
    assert.is_true(m(x):sum():item() ~= 100)
    assert.equal(100, m:eval()(x):sum():item())
    assert.is_false(m[1][1].training)
    assert.is_true(m:train()[1][1].training)
  end)
end)
