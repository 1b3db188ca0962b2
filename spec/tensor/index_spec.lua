-- Parts of tensors: t[…] and t[…] = value; by hand, against NumPy, on the tape, and hostile keys.
local ml = require "mlua"
local mistake = require "spec.support.mistake"
local numpy = require "spec.support.numpy"

local function counted(...)
  local n = 1
  for _, size in ipairs { ... } do n = n * size end
  return ml.arange(n, "f32"):reshape(...)
end

local function ids(list) return ml.tensor(list, "i64") end
local function mask(list) return ml.tensor(list, "bool") end

describe("a part of a tensor", function()
  local x = ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

  it("is a row by its position, and an element of no axes where there is one axis", function()
    assert.same({ 4, 5, 6 }, x[2]:totable())
    assert.same({ 4, 5, 6 }, x[-1]:totable())
    assert.same({}, x[1][3]:shape())
    assert.equal(3, x[1][3]:item())
  end)

  it("takes an item for each axis, and the rest whole", function()
    assert.equal(6, x[{ 2, -1 }]:item())
    assert.same({ 1, 2, 3 }, x[{ 1 }]:totable())
    assert.same({ 2, 5 }, x[{ {}, 2 }]:totable())
    assert.same(x:totable(), x[{}]:totable())
  end)

  it("takes ranges of which both ends are included", function()
    assert.same({ { 2, 3 }, { 5, 6 } }, x[{ {}, { 2, 3 } }]:totable())
    assert.same({ { 2, 3 }, { 5, 6 } }, x[{ {}, { 2 } }]:totable())
    assert.same({ { 1, 2 }, { 4, 5 } }, x[{ {}, { nil, -2 } }]:totable())
    assert.same({ { 1, 3 }, { 4, 6 } }, x[{ {}, { 1, -1, 2 } }]:totable())
    assert.same({ 0, 3, 6, 9 }, ml.arange(10)["::3"]:totable())
  end)

  it("takes steps backwards, from the end where no beginning is named", function()
    assert.same({ { 6, 5, 4 }, { 3, 2, 1 } }, x["::-1, ::-1"]:totable())
    assert.same({ 4, 2, 0 }, ml.arange(5)[{ { nil, nil, -2 } }]:totable())
    assert.same({ 3, 2 }, ml.arange(5)[{ { -2, 3, -1 } }]:totable())
    assert.same({ 0, 2 }, ml.zeros(0, 2)["::-1"]:shape())
  end)

  it("may be empty where a range ends just before its beginning", function()
    assert.same({ 0, 3 }, x[{ { 3, 2 } }]:shape())
    assert.same({ 0 }, ml.arange(3)[{ { 1, 0 } }]:shape())
    assert.same({ 0 }, ml.arange(3)[{ { 2, 3, -1 } }]:shape())
  end)

  it("takes a step wider than the axis, however wide", function()
    assert.same({ 0 }, ml.arange(3)[{ { 1, 3, 2 ^ 52 } }]:totable())
    assert.same({ 2 }, ml.arange(3)[{ { nil, nil, -2 ^ 52 } }]:totable())
  end)

  it("takes new axes, and '...' for the axes between", function()
    assert.same({ 1, 2, 3 }, x["new"]:shape())
    assert.same({ 2, 1, 3 }, x[{ {}, "new" }]:shape())
    assert.same({ 3, 6 }, x[{ "...", 3 }]:totable())
    assert.same({ 2, 3, 1 }, x["..., new"]:shape())
    assert.same(x:totable(), x[{ {}, "...", {} }]:totable())
    assert.equal(5, ml.tensor(5)["..."]:item())
  end)

  it("is read the same from a string as from a list", function()
    assert.same({ { 2 }, { 5 } }, x[" 1 : 2 ,2:2"]:totable())
    assert.equal(4, x["-1,1"]:item())
    assert.same({ 2, 3 }, x[{ 1, "2:" }]:totable())
  end)

  it("shares elements with the tensor", function()
    local t = x:clone()
    t["::-1"][1]:fill(0)
    assert.same({ { 1, 2, 3 }, { 0, 0, 0 } }, t:totable())
  end)

  it("is what operations take, of any strides", function()
    local back = x["::-1, ::-1"]
    assert.same({ { 7, 7, 7 }, { 7, 7, 7 } }, (x + back):totable())
    assert.same({ { 28, 10 }, { 73, 28 } }, x:matmul(back, false, true):totable())
    assert.equal(21, back:sum():item())
    assert.same({ { 6, 5, 4 }, { 3, 2, 1 } }, back:to("i64"):totable())
  end)
end)

describe("a tensor of ids", function()
  local x = ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

  it("names rows, from 0", function()
    assert.same({ { 4, 5, 6 }, { 1, 2, 3 }, { 4, 5, 6 } }, x[ids { 1, 0, 1 }]:totable())
    assert.same({ 4, 5, 6 }, x[ml.tensor(1, "i32")]:totable())
    assert.same({ 2, 1, 3 }, x[ids { { 0 }, { 1 } }]:shape())
    assert.same({ 0, 3 }, x[ids {}]:shape())
  end)

  it("stands among other items, its axes in its place", function()
    assert.same({ { 3, 1 }, { 6, 4 } }, x[{ {}, ids { 2, 0 } }]:totable())
    assert.same({ 6, 4 }, x[{ 2, ids { 2, 0 } }]:totable())
    assert.same({ { 6, 5 } }, x[{ ids { 1 }, "3:2:-1" }]:totable())
    assert.same({ 2, 2, 2, 4 }, counted(2, 3, 4)[{ {}, ids { { 0, 1 }, { 2, 0 } } }]:shape())
  end)

  it("of several broadcasts them, and takes one element for each place", function()
    assert.same({ 1, 6 }, x[{ ids { 0, 1 }, ids { 0, 2 } }]:totable())
    assert.same({ { 3, 1 }, { 6, 4 } }, x[{ ids { { 0 }, { 1 } }, ids { 2, 0 } }]:totable())
    assert.same({ 2, 3 }, counted(2, 3, 4)[{ ids { 0, 1 }, {}, ids { 0, 3 } }]:shape())
  end)

  it("works on every dtype and on views", function()
    for _, dtype in ipairs { "f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool" } do
      local t = ml.tensor({ { 0, 1 }, { 1, 0 }, { 1, 1 } }, dtype)
      local rows = t[ids { 2, 0 }]
      assert.equal(dtype, rows:dtype())
      assert.same(ml.tensor({ { 1, 1 }, { 0, 1 } }, dtype):totable(), rows:totable())
      local columns = t:transpose()[ids { 1, 0 }] -- rows with gaps
      assert.same(ml.tensor({ { 1, 0, 1 }, { 0, 1, 1 } }, dtype):totable(), columns:totable())
    end
  end)
end)

describe("a mask", function()
  local x = ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

  it("of the tensor's shape selects elements as one axis", function()
    assert.same({ 1, 5, 6 }, x[mask { { 1, 0, 0 }, { 0, 1, 1 } }]:totable())
    assert.same({}, x[mask { { 0, 0, 0 }, { 0, 0, 0 } }]:totable())
  end)

  it("is what a comparison gives", function()
    assert.same({ 4, 5, 6 }, x[x:gt(3)]:totable())
    local t = x:clone()
    t[t:lt(3)] = 0
    assert.same({ { 0, 0, 3 }, { 4, 5, 6 } }, t:totable())
  end)

  it("of the leading axes selects rows", function()
    assert.same({ { 4, 5, 6 } }, x[mask { false, true }]:totable())
    assert.same({ 2, 4 }, counted(2, 3, 4)[mask { { 0, 1, 0 }, { 0, 0, 1 } }]:shape())
  end)

  it("stands among other items", function()
    assert.same({ { 1, 3 }, { 4, 6 } }, x[{ {}, mask { true, false, true } }]:totable())
    assert.same({ 2, 3 }, x[{ 1, mask { false, true, true } }]:totable())
  end)

  it("may have any strides", function()
    local m = mask { { 1, 0 }, { 0, 1 }, { 0, 1 } }
    assert.same({ 1, 5, 6 }, x[m:transpose()]:totable())
  end)
end)

describe("writing into a part", function()
  local function fresh() return ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } } end

  it("sets elements, rows and ranges to a number", function()
    local t = fresh()
    t[{ 1, 2 }] = 20
    t[2] = 0
    t["1, 3:"] = -1
    assert.same({ { 1, 20, -1 }, { 0, 0, 0 } }, t:totable())
    t["..."] = 8
    assert.same({ { 8, 8, 8 }, { 8, 8, 8 } }, t:totable())
  end)

  it("broadcasts and converts a tensor", function()
    local t = fresh()
    t[{ {}, "::2" }] = ml.tensor({ { 10 }, { 40 } }, "i64")
    assert.same({ { 10, 2, 10 }, { 40, 5, 40 } }, t:totable())
    t[1] = ml.tensor({ 7, 8, 9 }, "bf16")
    assert.same({ 7, 8, 9 }, t[1]:totable())
    t[1][2] = ml.tensor(0.5, "f64")
    assert.equal(0.5, t:at(1, 2))
  end)

  it("takes true and false", function()
    local m = mask { 0, 0, 1 }
    m[1], m[3] = true, false
    assert.same({ true, false, false }, m:totable())
  end)

  it("reads before it writes where both are the same elements", function()
    local t = ml.arange(5)
    t["2:"] = t[":4"]
    assert.same({ 0, 0, 1, 2, 3 }, t:totable())
    t["..."] = t["::-1"]
    assert.same({ 3, 2, 1, 0, 0 }, t:totable())
    t[ids { 0, 1, 2 }] = t[{ { 3, 5 } }]
    assert.same({ 1, 0, 0, 0, 0 }, t:totable())
  end)

  it("reads all ids before it writes, should they be what is written", function()
    local y = ids { 1, 0 }
    y[y] = ids { 40, 41 }
    assert.same({ 41, 40 }, y:totable())
    local z = ids { { 2, 0 }, { 1, 1 }, { 0, 2 } }
    z[z[{ {}, 1 }]] = ids { { 70, 71 }, { 80, 81 }, { 90, 91 } }
    assert.same({ { 90, 91 }, { 80, 81 }, { 70, 71 } }, z:totable())
  end)

  it("sets rows by ids, the last of one given twice", function()
    local t = fresh()
    t[ids { 1, 0, 1 }] = ml.tensor { { 1, 1, 1 }, { 2, 2, 2 }, { 3, 3, 3 } }
    assert.same({ { 2, 2, 2 }, { 3, 3, 3 } }, t:totable())
    t[{ {}, ids { 2, 0 } }] = ml.tensor { { 10, 20 }, { 30, 40 } }
    assert.same({ { 20, 2, 10 }, { 40, 3, 30 } }, t:totable())
    t[{ ids { 0, 1 }, ids { 0, 2 } }] = ml.tensor { -1, -2 }
    assert.same({ { -1, 2, 10 }, { 40, 3, -2 } }, t:totable())
  end)

  it("sets what a mask selects", function()
    local t = fresh()
    t[mask { { 1, 0, 0 }, { 0, 1, 1 } }] = ml.tensor { 10, 50, 60 }
    assert.same({ { 10, 2, 3 }, { 4, 50, 60 } }, t:totable())
    t[mask { true, false }] = 0
    assert.same({ { 0, 0, 0 }, { 4, 50, 60 } }, t:totable())
    t:transpose()[{ mask { true, false, true }, {} }] = 9
    assert.same({ { 9, 0, 9 }, { 9, 50, 9 } }, t:totable())
  end)

  it("writes nothing where an id is outside", function()
    local t = fresh()
    mistake(function() t[ids { 0, 2 }] = 0 end)
    assert.same(fresh():totable(), t:totable())
  end)

  it("is a write that a backward finds out, as any in place", function()
    for _, write in ipairs {
      function(w) w[1] = 0 end, function(w) w[{ 1 }] = ml.zeros(1):select(1, 1) end,
      function(w) w[ids { 0 }] = 0 end, function(w) w[mask { true, false }] = 0 end,
    } do
      local w = ml.tensor({ 1, 2 }):requires_grad()
      local loss = (w * w):sum()
      write(w)
      assert.equal("backward of mul: its input #1 was changed in place since",
        mistake(function() loss:backward() end))
    end
  end)

  it("is refused where the tensor is computed, and where the value is on the tape", function()
    local w = ml.tensor({ 1, 2 }):requires_grad()
    local y = w * 2
    local computed = "index: the tensor is computed and on the tape; detach or clone it first"
    assert.equal(computed, mistake(function() y[1] = 0 end))
    assert.equal(computed, mistake(function() y[ids { 0 }] = 0 end))
    assert.equal("index: the value is on the tape; writing it has no gradient: detach() it first",
      mistake(function() ml.zeros(2)[1] = y[1] end))
    ml.no_grad(function() w[2] = 5 end)
    assert.same({ 1, 5 }, w:totable())
  end)
end)

describe("the gradient of a part", function()
  local function gradient(key)
    local w = ml.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }):requires_grad()
    local part = w[key]
    part:mul(part):sum():backward()
    return w:grad():totable()
  end

  it("is that of the elements it has, added up where it has one twice", function()
    assert.same({ { 0, 0, 0 }, { 8, 10, 12 } }, gradient(2))
    assert.same({ { 0, 0, 6 }, { 0, 0, 0 } }, gradient { 1, 3 })
    assert.same({ { 2, 0, 6 }, { 8, 0, 12 } }, gradient "::-1, ::-2")
    assert.same({ { 0, 0, 0 }, { 16, 20, 24 } }, gradient(ids { 1, 1 }))
    assert.same({ { 2, 0, 12 }, { 8, 0, 24 } }, gradient { {}, ids { 2, 0, 2 } })
    assert.same({ { 4, 0, 0 }, { 0, 0, 12 } }, gradient { ids { 0, 1, 0 }, ids { 0, 2, 0 } })
    assert.same({ { 2, 0, 0 }, { 0, 10, 0 } }, gradient(mask { { 1, 0, 0 }, { 0, 1, 0 } }))
    assert.same({ { 0, 0, 0 }, { 8, 10, 12 } }, gradient(mask { false, true }))
  end)
end)

describe("axes", function()
  local x = counted(2, 3, 4)

  it("are put in order, moved and merged", function()
    assert.same({ 4, 2, 3 }, x:permute(3, 1, 2):shape())
    assert.same({ 4, 2, 3 }, x:permute({ -1, 1, 2 }):shape())
    assert.equal(x:at(2, 3, 4), x:permute(3, 1, 2):at(4, 2, 3))
    assert.same({ 3, 4, 2 }, x:movedim(1, -1):shape())
    assert.same({ 4, 2, 3 }, x:movedim(3, 1):shape())
    assert.same({ 24 }, x:flatten():shape())
    assert.same({ 6, 4 }, x:flatten(1, 2):shape())
    assert.same({ 2, 12 }, x:flatten(-2):shape())
    assert.same({ 1 }, ml.tensor(3):flatten():shape())
    assert.same({ 4, 3, 2 }, x:swapaxes(1, 3):shape())
    assert.equal(3, x:ndim())
    assert.equal(24, x:numel())
  end)
end)

describe("a wrong key", function()
  local x = ml.zeros(2, 3)
  local nan, huge = 0 / 0, 2 ^ 60

  for message, fn in pairs {
    ["index: position 3 of 2 along axis 1"] = function() return x[3] end,
    ["index: position 0 of 2 along axis 1"] = function() return x[0] end,
    ["index: position -4 of 3 along axis 2"] = function() return x[{ 1, -4 }] end,
    ["bad argument #1 to 'index' (position: expected a whole number, got nan)"] =
      function() return x[nan] end,
    ["bad argument #2 to 'index' (position: expected a whole number, got 1.5)"] =
      function() return x[{ 1, 1.5 }] end,
    ["bad argument #1 to 'index' (position: expected a whole number, got 1.1529215046068e+18)"] =
      function() x[huge] = 1 end,
    ["index: axis 1: expected whole numbers {from, to, step}, got nan"] =
      function() return x[{ { nan, 2 } }] end,
    ["index: axis 2: expected whole numbers {from, to, step}, got 1.1529215046068e+18"] =
      function() return x[{ {}, { 1, 2, huge } }] end,
    ["index: axis 2: expected whole numbers {from, to, step}, got 'x'"] =
      function() return x[{ {}, { 1, "x" } }] end,
    ["index: axis 1: a step of 0"] = function() return x[{ { 1, 2, 0 } }] end,
    ["index: 0 to 2 of 2 along axis 1"] = function() return x[{ { 0, 2 } }] end,
    ["index: 1 to 4 of 3 along axis 2"] = function() return x["..., 1:4"] end,
    ["index: 3 to 1 of 3 along axis 2"] = function() return x[{ 1, { 3, 1 } }] end,
    ["index: a range is {from, to, step}; it has no ['stop']"] =
      function() return x[{ { 1, stop = 2 } }] end,
    ["index: a list of items has no ['axis']"] = function() return x[{ {}, axis = 2 }] end,
    ["index: items for 3 axes of a tensor of 2"] = function() return x[{ 1, 1, 1 }] end,
    ["index: items for 1 axes of a tensor of 0"] = function() return ml.zeros()[1] end,
    ["index: '...' twice"] = function() return x["..., ..."] end,
    ["index: '1:x': expected a position, from:to:step, '...' or 'new'"] =
      function() return x["1:x"] end,
    ["index: '--1': expected a position, from:to:step, '...' or 'new'"] =
      function() return x["--1"] end,
    ["index: ':-': expected a position, from:to:step, '...' or 'new'"] =
      function() return x[":-"] end,
    ["index: '': expected a position, from:to:step, '...' or 'new'"] =
      function() return x["1,"] end,
    ["index: item 1: expected a position, {from, to, step}, '...', 'new' or a tensor, got nil"] =
      function() return x[{ nil, 2 }] end,
    ["index: item 2: expected a position, {from, to, step}, '...', 'new' or a tensor, got true"] =
      function() return x[{ 1, true }] end,
    ["index: expected a position, {from, to, step}, '...', 'new' or a tensor, or a list of " ..
      "them, got nil"] = function() return x[nil] end,
    ["index: 1073741824 items"] = function() return x[{ [2 ^ 30] = 1 }] end,
    ["index: expected ids of i64 or i32, or a bool mask, got f32"] =
      function() return x[ml.zeros(2)] end,
    ["index: expected ids of i64 or i32, or a bool mask, got u8"] =
      function() return x[ml.zeros(2, { dtype = "u8" })] end,
    ["index: expected a mask of shape [2], got [3]"] =
      function() return x[ml.zeros(3, { dtype = "bool" })] end,
    ["index: expected a mask of shape [2, 3], got [3, 2]"] =
      function() x[ml.zeros(3, 2, { dtype = "bool" })] = 1 end,
    ["index: a mask of no axes"] = function() return x[ml.tensor(true)] end,
    ["index: items for 4 axes of a tensor of 2"] =
      function() return x[ml.zeros(2, 3, 1, 1, { dtype = "bool" })] end,
    ["index: id 2 at position 1 is outside 0 to 1"] = function() return x[ids { 0, 2 }] end,
    ["index: id -1 at position 0 is outside 0 to 1"] = function() x[ids { -1 }] = 0 end,
    ["index: id 3 at position 0 is outside 0 to 2"] =
      function() return x[{ ids { 0 }, ids { 3 } }] end,
    ["index: ids: shapes [2] and [3] do not broadcast"] =
      function() return x[{ ids { 0, 1 }, ids { 0, 1, 2 } }] end,
    ["index: a value of shape [2] does not broadcast to [3]"] =
      function() x[1] = ml.zeros(2) end,
    ["index: a value of shape [4, 3] does not broadcast to [2, 3]"] =
      function() x[ids { 0, 1 }] = ml.zeros(4, 3) end,
    ["index: [2, 3] does not broadcast to [2, 2]"] =
      function() x[{ {}, ids { 0, 1 } }] = ml.zeros(2, 3) end,
    ["index: expected a number or a tensor as the value, got 'x'"] = function() x[1] = "x" end,
    ["index: expected a number or a tensor as the value, got nil"] = function() x[1] = nil end,
    ["9 axes: expected 0 to 8"] = function() return x["new,new,new,new,new,new,new"] end,
    ["permute: expected the 2 axes of the tensor, got 1"] = function() return x:permute(1) end,
    ["permute: axis 1 twice"] = function() return x:permute(1, 1) end,
    ["permute: axis 3 of a tensor of 2 axes"] = function() return x:permute(3, 1) end,
    ["movedim: axis 0 of a tensor of 2 axes"] = function() return x:movedim(0, 1) end,
    ["flatten: axes 2 to 1"] = function() return x:flatten(2, 1) end,
  } do
    it("is told at its line: " .. message, function()
      assert.equal(message, mistake(function()
        local _ = fn() -- no tail call: the line is here
      end))
    end)
  end

  it("or a tensor that is gone is an error, whichever of the two it is", function()
    local gone
    ml.scope(function() gone = ml.zeros(2, { dtype = "i64" }) end)
    for _, f in ipairs { function() return gone[1] end, function() gone[1] = 2 end,
                         function() return x[gone] end, function() x[gone] = 1 end,
                         function() x[1] = gone end, function() return x[{ 1, gone }] end } do
      assert.equal("the tensor is no longer there (its scope ended, or it was freed)",
        mistake(function()
          local _ = f()
        end))
    end
  end)

  it("made of anything at all is an error or a tensor", function()
    local things = { 1, -1, 0, nan, huge, -huge, 1 / 0, 0.5, "x", ":", "...", "new", "", true, {},
                     { 1 }, { nan }, { {} }, { 1, 2, 3, 4 }, ids { 0 }, ids { 7 }, ids {},
                     mask { true, false }, mask { true }, ml.zeros(2), print, 1LL,
                     { x = 1 }, { nil, nil, nan }, { -huge, huge, 1 }, { 2 ^ 52, 2 ^ 52 } }
    local tried = 0
    for _, a in ipairs(things) do
      for _, b in ipairs(things) do
        for _, key in ipairs { a, { a, b }, { a, { b } }, { a, "...", b } } do
          local t = ml.zeros(2, 3)
          local ok, got = pcall(function() return t[key] end)
          assert.is_true(not ok or got ~= nil)
          pcall(function() t[key] = b end)
          pcall(function() t[key] = got end)
          tried = tried + 3
        end
      end
    end
    assert.is_true(tried > 10000)
  end)
end)

-- -- NumPy's opinion: the same keys, written in both languages --

local CASES = {
  { "x[2]", "x[1]" }, { "x[-1]", "x[-1]" }, { "x['2:4, ::2']", "x[1:4, ::2]" },
  { "x['::-1, ..., ::-2']", "x[::-1, ..., ::-2]" }, { "x['4:2:-1']", "x[3:0:-1]" },
  { "x['-3:-2, new, 2']", "x[-3:-1, None, 1]" }, { "x['..., new']", "x[..., None]" },
  { "x[{ 1, { 2, nil, 2 }, {} }]", "x[0, 1::2, :]" },
  { "x[ids { 3, 0, 3 }]", "x[np.array([3, 0, 3])]" },
  { "x[ids { { 3, 0 }, { 1, 1 } }]", "x[np.array([[3, 0], [1, 1]])]" },
  { "x[{ {}, ids { 4, 0 } }]", "x[:, np.array([4, 0])]" },
  { "x[{ '...', ids { 2, 0 } }]", "x[..., np.array([2, 0])]" },
  { "x[{ '::-1', ids { 4, 0 }, ids { 1, 1 } }]", "x[::-1, np.array([4, 0]), np.array([1, 1])]" },
  { "x[{ ids { 3, 0 }, {}, ids { 1, 2 } }]", "x[np.array([3, 0]), :, np.array([1, 2])]" },
  { "x[{ ids { { 3 }, { 0 } }, ids { 1, 2 } }]", "x[np.array([[3], [0]]), np.array([1, 2])]" },
  { "x[big]", "x[x % 3 == 0]" }, { "x[rows]", "x[np.array([1, 0, 0, 1]) == 1]" },
  { "x[{ {}, mask { 1, 0, 1, 1, 0 }, '2:' }]", "x[:, np.array([1, 0, 1, 1, 0]) == 1, 1:]" },
  { "x[{ 1, mask { 1, 0, 1, 1, 0 } }]", "x[0][np.array([1, 0, 1, 1, 0]) == 1]" },
}

describe("NumPy agrees on", function()
  local answers, why

  setup(function()
    local program = { "x = np.arange(60).reshape(4, 5, 3)",
                      "show = lambda y: print(*y.shape, '|', *y.ravel())" }
    for _, case in ipairs(CASES) do
      program[#program + 1] = ("show(%s)"):format(case[2])
      program[#program + 1] = ("y = x.copy(); y%s = -1; show(y)"):format(
        case[2]:gsub("^x%[0%]%[", "x[0, "):sub(2))
    end
    local out
    out, why = numpy.run(table.concat(program, "\n"))
    if out then
      answers = {}
      for line in out:gmatch "[^\n]+" do answers[#answers + 1] = line end
    end
  end)

  local function shown(t)
    local words = t:shape()
    words[#words + 1] = "|"
    for _, v in ipairs(t:flatten():totable()) do words[#words + 1] = ("%d"):format(v) end
    return table.concat(words, " ")
  end

  for k, case in ipairs(CASES) do
    it(case[1] .. ", read and written", function()
      if not answers then return pending(why) end
      local x = ml.arange(60, "i32"):reshape(4, 5, 3)
      local big = ml.zeros(4, 5, 3, { dtype = "bool" })
      for i = 0, 59, 3 do big:flatten():put(1, i + 1) end
      local env = { x = x, ids = ids, mask = mask, big = big, rows = mask { 1, 0, 0, 1 } }
      local read = setfenv(assert(loadstring("return " .. case[1])), env)
      assert.equal(answers[2 * k - 1], shown(read()))
      setfenv(assert(loadstring(case[1] .. " = -1")), env)()
      assert.equal(answers[2 * k], shown(x))
    end)
  end
end)
