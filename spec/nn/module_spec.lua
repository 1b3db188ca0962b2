-- Modules: registering, names, state, summaries.
local ml = require "mlua"
local files = require "spec.support.files"
local mistake = require "spec.support.mistake"
local nn = ml.nn

local Pair = nn.Module.class "Pair"
function Pair.new()
  local self = Pair.create()
  self:child("first", nn.Linear.new { inputs = 2, outputs = 3, seed = 1, stream = 1 })
  self:child("rest", nn.MLP.new { sizes = { 3, 1 }, seed = 1, stream = 2 })
  self:parameter("scale", ml.ones(1))
  return self
end
function Pair:forward(x) return self.rest(self.first(x)) * self.scale end

local NAMES = { "scale", "first.weight", "first.bias", "rest.1.weight", "rest.1.bias" }

describe("a module", function()
  it("names its parameters by path, its own first, in order of registration", function()
    local names = {}
    for i, p in ipairs(Pair.new():named_parameters()) do names[i] = p.name end
    assert.same(NAMES, names)
    assert.equal(1 + 6 + 3 + 3 + 1, Pair.new():size())
  end)

  it("called computes its forward, and its gradients reach every parameter", function()
    local m = Pair.new()
    m(ml.ones(4, 2)):sum():backward()
    for _, p in ipairs(m:named_parameters()) do assert.is_not_nil(p.tensor:grad(), p.name) end
    m:zero_grad()
    for _, p in ipairs(m:named_parameters()) do assert.is_nil(p.tensor:grad(), p.name) end
  end)

  it("built inside a scope outlives it", function()
    local m = ml.scope(Pair.new)
    assert.same({ 4, 1 }, m(ml.ones(4, 2)):shape())
  end)

  it("says at the user's line, with the layer's path, what does not fit", function()
    local m = Pair.new():name_paths()
    assert.equal("rest.1: bad argument #1 to 'linear' (x: expected [*, 3], got [4, 2])",
      mistake(function() m.rest(ml.ones(4, 2)) end))
    assert.equal("first: bad argument #1 to 'linear' (x: expected a tensor, got nil)",
      mistake(function() m(nil) end))
    -- the path is gone
    assert.equal("bad argument #2 to 'sum' (axis: expected 1 to 1 or negative, got 3)",
      mistake(function() ml.ones(2):sum(3) end))
  end)

  it("is shown as a tree and as a summary", function()
    assert.equal("Pair\n  (first) Linear 2 -> 3\n  (rest) MLP\n    (1) Linear 3 -> 1 relu",
      tostring(Pair.new()))
    assert.equal([[
.       Pair                scale [1]                           1
first   Linear 2 -> 3       weight [3, 2], bias [3]             9
rest.1  Linear 3 -> 1 relu  weight [1, 3], bias [1]             4
14 parameters]], Pair.new():summary())
  end)

  it("refuses names that are taken, and things that are no tensors or modules", function()
    local m = Pair.new()
    for message, fn in pairs {
      ["bad argument #1 to 'parameter' (name: 'scale' is there already)"] =
        function() m:parameter("scale", ml.ones(1)) end,
      ["bad argument #1 to 'parameter' (name: 'forward' is a field or method of Pair)"] =
        function() m:parameter("forward", ml.ones(1)) end,
      ["bad argument #1 to 'child' (name: expected a word without dots, got 'a.b')"] =
        function() m:child("a.b", Pair.new()) end,
      ["bad argument #2 to 'parameter' (t: expected a tensor, got 3)"] =
        function() m:parameter("x", 3) end,
      ["bad argument #2 to 'child' (module: expected a module, got nil)"] =
        function() m:child("x") end,
      ["bad argument #2 to 'parameter' (t: expected a floating-point tensor, got i64)"] =
        function() m:parameter("n", ml.arange(2)) end,
    } do
      assert.equal(message, mistake(fn))
    end
  end)
end)

describe("a module converted", function()
  local function dtypes_of(m)
    local list = {}
    for _, p in ipairs(m:named_parameters()) do list[#list + 1] = p.tensor:dtype() end
    for _, b in ipairs(m:named_buffers()) do list[#list + 1] = b.tensor:dtype() end
    return table.concat(list, " ")
  end

  it("to bf16 has floats of 16 bits, and computes in them", function()
    local m = nn.Sequential.new { nn.Linear.new { inputs = 2, outputs = 1 },
                                  nn.BatchNorm.new { channels = 1 }, nn.Dropout.new() }:eval()
    m[1].weight:copy(ml.tensor { { 1.5, 2 } })
    m[1].bias:fill(0.25)
    local was = m[1].weight
    assert.equal(m, m:to "bf16")
    assert.equal("bf16 bf16 bf16 bf16 bf16 bf16 i64", dtypes_of(m)) -- the count stays
    assert.same({ { 4.75 } }, m[1](ml.tensor({ { 1, 1.5 } }, "bf16")):totable())
    assert.equal("bf16", m(ml.ones(3, 2, { dtype = "bf16" })):dtype())
    assert.equal("f32", m(ml.ones(3, 2)):dtype())
    m(ml.ones(3, 2)):sum():backward()
    assert.equal("bf16", m[1].weight:grad():dtype())
    assert.error_matches(function() return was + 1 end, "no longer there", 1, true)
    assert.equal("f64 f64 f64 f64 f64 f64 i64", dtypes_of(m:to "f64"))
  end)

  it("keeps ties, what is frozen, and tensors that are of the dtype already", function()
    local m, w = Pair.new(), ml.ones(1)
    m:parameter("tied", w)
    m.rest:parameter("tied", w)
    m.first:freeze()
    m:to "f64"
    assert.equal(m.tied.slot, m.rest.tied.slot)
    m(ml.ones(4, 2, { dtype = "f64" })):sum():backward()
    assert.is_nil(m.first.weight:grad())
    assert.is_not_nil(m.scale:grad())
    local before = m.scale.slot
    assert.equal(before, m:to("f64").scale.slot)
  end)

  it("keeps tables of embeddings at f32 for less, which have no 16-bit rows", function()
    local m = nn.Sequential.new { nn.Embedding.new { rows = 4, dim = 2 } }
    local ids = ml.tensor({ 1, 3 }, "i64")
    local want = m(ids):totable()
    assert.equal("f32", dtypes_of(m:to "bf16"))
    local head = nn.Linear.new { inputs = 2, outputs = 4, bias = false }
    local tied = nn.ModuleDict.new { head = head, table = nn.Embedding.new { rows = 4, dim = 2 } }
    head:parameter("shared", tied.table.weight)
    assert.equal("bf16 f32 f32", dtypes_of(tied:to "bf16"))
    assert.same({ 2, 2 }, tied.table(ids):shape())
    assert.equal("f64", m:to("f64")(ids):dtype())
    assert.same(want, m(ids):totable())
    local tables = nn.TableCollection.new { rows = { 4, 5 }, dim = 2 }:to "f64"
    assert.equal("f64", tables(ml.tensor({ { 1 }, { 2 } }, "i64")):dtype())
    local encoding = nn.SinusoidalEncoding.new { length = 3, dim = 2 }
    for _, dtype in ipairs { "f64", "bf16" } do
      assert.equal(dtype, encoding:to(dtype)(ml.zeros(2, 1, 2, { dtype = dtype })):dtype())
    end
  end)

  it("or made with 16 bits is refused by optimisers, and other dtypes by modules", function()
    local m = nn.Linear.new { inputs = 2, outputs = 1, dtype = "bf16", seed = 1 }
    assert.equal("bf16", nn.initialise.kaiming_normal(m.weight):dtype())
    assert.equal("bad argument #1 to 'sgd' ([1]: expected f32 or f64, got bf16)",
      mistake(function() ml.optim.sgd(m, {}) end))
    assert.equal("bad argument #1 to 'to' (dtype: expected f64, f32, bf16 or f16, got 'i64')",
      mistake(function() m:to "i64" end))
  end)
end)

describe("a module's state", function()
  it("is copied into another whole", function()
    local a, b = Pair.new(), Pair.new()
    for _, p in ipairs(a:parameters()) do p:fill(0.5) end
    assert.is_true(b:load_state(a:state()))
    local x = ml.tensor { { 1, 2 } }
    assert.equal(a(x):item(), b(x):item())
    a.scale:fill(9)
    assert.equal(0.5, b.scale:item())
  end)

  it("that does not fit changes nothing and says what is wrong", function()
    local m = Pair.new()
    local before = m.first.weight:totable()
    for message, change in pairs {
      ["state: no 'rest.1.bias'"] = function(s) s["rest.1.bias"] = nil end,
      ["state: 'rest.1.bias': expected [1], got [2]"] = function(s) s["rest.1.bias"] =
        ml.ones(2) end,
      ["state: 'scale': expected a tensor, got 5"] = function(s) s.scale = 5 end,
      ["state: 'scale': expected f32, got f16"] = function(s)
        s.scale = ml.empty(s.scale:shape(), { dtype = "f16" })
      end,
      ["state: the model has no 'extra'"] = function(s) s.extra = ml.ones(1) end,
    } do
      local state = {}
      for name, t in pairs(m:state()) do state[name] = t * 0 end
      change(state)
      local ok, got = m:load_state(state)
      assert.is_nil(ok)
      assert.equal(message, got)
      assert.same(before, m.first.weight:totable())
    end
  end)

  it("of nothing, and a file without a path, are mistakes at their line", function()
    local m = Pair.new()
    assert.equal("bad argument #1 to 'load_state' (state: expected a table, got nil)",
      mistake(function() m:load_state(nil) end))
    assert.equal("bad argument #1 to 'load' (path: expected a string, got nil)",
      mistake(function() m:load() end))
    assert.equal("bad argument #1 to 'save' (path: expected a string, got nil)",
      mistake(function() m:save() end))
  end)

  it("goes to a file and back", function()
    local folder = files.folder()
    finally(function() files.remove(folder) end)
    local a, b = Pair.new(), Pair.new()
    for _, p in ipairs(a:parameters()) do p:fill(0.25) end
    assert.is_true(a:save(folder .. "/m.safetensors"))
    assert.is_true(b:load(folder .. "/m.safetensors"))
    for _, p in ipairs(b:parameters()) do assert.equal(0.25, p:clone():reshape(-1):at(1)) end
    local ok, message = b:load(folder .. "/none")
    assert.is_nil(ok)
    assert.is_truthy(message:find(folder .. "/none", 1, true))
    ok, message = nn.Linear.new { inputs = 1, outputs = 1 }:load(folder .. "/m.safetensors")
    assert.is_nil(ok)
    assert.equal(folder .. "/m.safetensors: state: no 'weight'", message)
  end)
end)
