-- A hostile script, second part: sizes that no machine has, parts of tensors, the tape, optimisers
-- and scopes in the wrong order. Each call has a result or raises one clear line.
local core = require "mlua.ffi"
local ml = require "mlua"
local hostile = require "spec.support.hostile"
local mistake = require "spec.support.mistake"

local verdict = hostile.verdict

local function stands(label, call)
  local fault = verdict(call)
  assert.is_nil(fault, fault and label .. ": " .. fault)
end

-- Numbers, other values and handles that are gone, with a label each.
local function each_value(visit)
  for _, v in ipairs(hostile.numbers) do visit(tostring(v), v) end
  for label, v in pairs(hostile.others()) do visit(label, v) end
  for label, v in pairs(hostile.stale()) do visit(label, v) end
  visit("nil", nil)
end

describe("sizes that no machine has", function()
  it("are refused with the bytes asked, in use, kept and allowed; then work goes on", function()
    for elements, bytes in pairs { [1e12] = "4000000000000", [2 ^ 50] = "4503599627370496" } do
      for _, make in ipairs { ml.empty, ml.zeros, ml.ones, ml.rand } do
        assert.matches("^out of memory on cpu: " .. bytes
          .. " bytes asked, %d+ in use, %d+ cached, %d+ allowed$", mistake(function()
            local t = make(elements)
            return t
          end))
      end
    end
    assert.same({ 1, 1 }, ml.ones(2):totable())
  end)

  it("are refused where their product has too many digits", function()
    assert.equal("no tensor of shape [1099511627776, 1099511627776]",
      mistake(function() ml.empty(2 ^ 40, 2 ^ 40) end))
    assert.equal("no tensor of shape [4294967296, 2147483648]",
      mistake(function() ml.empty({ 2 ^ 32, 2 ^ 31 }, { dtype = "u8" }) end))
    assert.equal("9 axes: expected 0 to 8",
      mistake(function() ml.empty(1, 1, 1, 1, 1, 1, 1, 1, 1) end))
    assert.same({ 0, 1099511627776 }, ml.empty(0, 2 ^ 40):shape())
  end)

  it("have a limit that can be set", function()
    local most = ml.memory_limit()
    assert.is_true(most > 2 ^ 20)
    assert.equal(2 ^ 20, ml.memory_limit(2 ^ 20))
    local message = mistake(function() ml.zeros(2 ^ 20) end)
    assert.equal(most, ml.memory_limit(0))
    assert.matches("4194304 bytes asked, %d+ in use, %d+ cached, 1048576 allowed$", message)
    assert.equal("bad argument #1 to 'memory_limit' (bytes: expected a whole number of at least 0, "
      .. "got -1)", mistake(function() ml.memory_limit(-1) end))
    each_value(function(label, v)
      if type(v) ~= "number" then stands(label, function() ml.memory_limit(v) end) end
    end)
    assert.equal(most, ml.memory_limit())
  end)

  it("are refused where a broadcast view is copied, and such a view is not written into", function()
    local giant = hostile.giant()
    for _, call in ipairs {
      function() giant:clone() end, function() giant:totable() end, function() giant:sum() end,
      function() local y = giant + 1 return y end, function() giant:reshape(-1) end,
    } do
      assert.matches("^out of memory on cpu: 4503599627370496 bytes", (mistake(call):gsub(
        "9007199254740992", "4503599627370496")))
    end
    local MESSAGE = "the tensor is broadcast, several of its elements are one; clone it first"
    assert.equal("fill: " .. MESSAGE, mistake(function() giant:fill(1) end))
    assert.equal("copy: " .. MESSAGE, mistake(function() giant:copy(ml.ones(1)) end))
    assert.equal("put: " .. MESSAGE, mistake(function() giant:put(1, 1, 1) end))
    assert.equal("index: " .. MESSAGE, mistake(function() giant[1] = 1 end))
    local ids = ml.zeros(1, { dtype = "i64" })
    assert.equal("index: " .. MESSAGE, mistake(function() giant[ids] = 1 end))
    assert.matches("[f32 1048576×1073741824 cpu]", tostring(giant), 1, true)
  end)

  it("of integers' factors are refused where they do not fit", function()
    local x = ml.ones(2, { dtype = "i32" })
    assert.equal("bad argument #2 to 'affine' (expected a whole number for i32, got 0.5)",
      mistake(function() ml.affine(x, 0.5) end))
    for label, v in pairs { ["1e+300"] = 1e300, inf = math.huge, ["2147483648"] = 2 ^ 31 } do
      assert.equal(label .. " is not in the range of i32; convert the tensor first",
        mistake(function() ml.affine(x, v) end))
    end
    assert.equal("9.2233720368548e+18 is not in the range of i64; convert the tensor first",
      mistake(function() ml.affine(x:to "i64", 2 ^ 63) end))
  end)
end)

describe("parts of a tensor", function()
  it("stand any key, read and written", function()
    for _, make in ipairs {
      function() return ml.ones(2, 3) end, function() return ml.ones(0, 3) end,
      function() return ml.ones {} end, function() return ml.ones(3, { dtype = "i64" }) end,
      function() return ml.ones(2, 2, { dtype = "bool" }) end, hostile.giant,
    } do
      local x = make()
      local function try(label, key)
        if key ~= nil then
          stands(label, function()
            local y = x[key]
            return y
          end)
          each_value(function(value_label, v)
            stands(label .. " = " .. value_label, function() x[key] = v end)
          end)
        end
      end
      ml.memory_limit(2 ^ 26)
      local ok, message = pcall(function()
        each_value(try)
        each_value(function(label, v)
          if v ~= nil then
            try("{" .. label .. "}", { v })
            try("{1, " .. label .. "}", { 1, v })
            try("{{" .. label .. "}}", { { v } })
            try("{{1, 2, " .. label .. "}}", { { 1, 2, v } })
          end
        end)
        for _, ids in ipairs {
          ml.full(-1, 2, { dtype = "i64" }), ml.full(2 ^ 62, 2, { dtype = "i64" }),
          ml.zeros({}, { dtype = "i64" }), ml.zeros({ 0 }, { dtype = "i32" }), ml.ones(2, 3),
          ml.ones(2, 3):gt(0),
          hostile.giant "i64", ml.ones(1, 1, 1, 1, 1, 1, 1, 1, { dtype = "i32" }),
        } do
          try("ids", ids)
          try("{ids}", { ids })
          try("{ids, ids}", { ids, ids })
          try("{{}, ids}", { {}, ids })
        end
      end)
      ml.memory_limit(0)
      assert.is_true(ok, message)
    end
  end)
end)

describe("results in place", function()
  it("stand any target, function and argument", function()
    local x = ml.ones(2, 3)
    local function try(label, ...)
      local given = { ... }
      stands(label, function()
        local y = ml.into(unpack(given, 1, 5))
        return y
      end)
    end
    for name, f in pairs { add = ml.add, sum = ml.op.sum, cat = ml.cat, relu = ml.relu,
                           matmul = ml.matmul, none = function() end } do
      each_value(function(label, v)
        try(name .. " into " .. label, v, f, x, x)
        try(name .. " of " .. label, ml.zeros(2, 3), f, v, x)
        try(name .. " by " .. label, ml.zeros(2, 3), f, x, v)
      end)
      for label, t in pairs(hostile.relatives(x)) do
        try(name .. " into " .. label, t, f, x, x)
        try(name .. " of " .. label, ml.zeros(2, 3), f, t, x)
        try(name .. " of itself, " .. label, t, f, t, t)
      end
      try(name .. " of its rows", x, f, x[1], x)
      try(name .. " of a leaf", x, f, ml.ones(2, 3):requires_grad(), x)
      try(name .. " into a leaf", ml.ones(2, 3):requires_grad(), f, x, x)
      try(name .. " of a list", x, f, { x, x })
      try(name .. " into itself", x, ml.into, x, f, x)
    end
    assert.same({ 2, 3 }, (x + 1):shape()) -- no target is left over
  end)
end)

describe("the tape", function()
  local x

  before_each(function() x = ml.ones(2, 3):requires_grad() end)

  it("walks back twice, and a third time with what has been freed", function()
    local y = x * 2
    local loss = (y * y):sum()
    loss:backward()
    loss:backward()
    core.free(y)
    loss:backward()
    assert.same({ 24, 24, 24 }, x:grad():totable()[1])
  end)

  it("refuses changed inputs, missing losses, losses without a gradient, and integers", function()
    local y = x * 2
    local loss = (y * y):sum()
    ml.no_grad(function() y:fill(3) end)
    assert.equal("backward of mul: its input #1 was changed in place since",
      mistake(function() loss:backward() end))
    assert.equal("backward: the loss is a leaf, nothing computed it",
      mistake(function() x:backward() end))
    assert.equal("backward: the loss does not depend on anything that requires a gradient",
      mistake(function() x:detach():sum():backward() end))
    assert.equal("backward: the loss has shape [2, 3]: expected one element, or a gradient",
      mistake(function() y:backward() end))
    for _, dtype in ipairs { "i64", "i32", "u8", "bool" } do
      assert.equal("requires_grad: expected a floating-point tensor, got " .. dtype,
        mistake(function() ml.ones(2, { dtype = dtype }):requires_grad() end))
    end
    assert.equal("requires_grad: the tensor is computed; detach it first",
      mistake(function() y:requires_grad() end))
    assert.equal("requires_grad: a leaf must be contiguous; copy it first",
      mistake(function() ml.ones(2, 3):transpose():requires_grad() end))
  end)

  it("stands any gradient given to backward", function()
    local y = x * 2
    each_value(function(label, v) stands(label, function() y:backward(v) end) end)
    for label, g in pairs(hostile.relatives(ml.ones(2, 3))) do
      stands(label, function() y:backward(g) end)
    end
    stands("itself", function() y:backward(y) end)
    stands("the leaf", function() y:backward(x) end)
  end)

  it("outlives the scope of what it recorded, or says so", function()
    local loss, inside
    ml.scope(function()
      inside = x * 2
      loss = (inside * inside):sum():keep()
    end)
    loss:backward()
    assert.same({ 8, 8, 8 }, x:grad():totable()[1])
    assert.matches("no longer there", mistake(function() inside:backward() end), 1, true)
    core.free(x)
    loss:backward()
    stands("the gradient of what is gone", function() x:grad() end)
  end)
end)

describe("optimisers", function()
  it("stand any argument of their methods", function()
    for _, name in ipairs { "sgd", "adagrad", "rwsadagrad", "adam", "adamw", "rmsprop", "lion" } do
      local w = ml.ones(2, 3):requires_grad()
      local opt = ml.optim[name]({ w }, { lr = 0.1 })
      each_value(function(label, v)
        for _, method in ipairs { "step", "set_lr", "set_momentum", "load_state" } do
          stands(name .. ":" .. method .. "(" .. label .. ")", function() opt[method](opt, v) end)
          stands(name .. ":" .. method .. "(0.1, " .. label .. ")",
            function() opt[method](opt, 0.1, v) end)
        end
        stands(name .. " option", function() ml.optim[name]({ w }, { lr = v }) end)
        stands(name .. " group", function() ml.optim[name]({ { params = v } }, { lr = 1 }) end)
        stands(name .. " list", function() ml.optim[name]({ w, v }, { lr = 1 }) end)
      end)
    end
  end)

  it("refuse parameters and losses that are gone, and losses that were used up", function()
    local w = ml.ones(2, 3):requires_grad()
    local opt = ml.optim.adam({ w }, { lr = 0.1 })
    local loss = (w * w):sum()
    opt:step(loss)
    assert.equal("backward: sum was already used up by an optimiser's step",
      mistake(function() opt:step(loss) end))
    local gone = ml.scope(function() return (w * w):sum() end)
    core.free(gone)
    assert.matches("no longer there", mistake(function() opt:step(gone) end), 1, true)
    for _, t in pairs(opt:state()) do core.free(t) end
    stands("states that are gone", function() opt:step((w * w):sum()) end)
    local v = ml.ones(2):requires_grad()
    local other = ml.optim.sgd({ v }, { lr = 0.1 })
    core.free(v)
    stands("a parameter that is gone", function() other:step() end)
    stands("a parameter that is gone", function() other:zero_grad() end)
    stands("a parameter that is gone", function() other:step((w * w):sum()) end)
    for _, name in ipairs { "clip_grad_norm", "clip_grad_value" } do
      stands("a parameter that is gone", function() ml.optim[name]({ v }, 1) end)
    end
  end)
end)

describe("scopes", function()
  it("stand what they are given, and end", function()
    each_value(function(label, v)
      stands("scope(" .. label .. ")", function() ml.scope(v) end)
      stands("no_grad(" .. label .. ")", function() ml.no_grad(v) end)
      stands("returned " .. label, function() ml.scope(function() return v end) end)
      assert.is_false((pcall(ml.scope, function() error(v) end)))
    end)
    assert.equal(0, core.C.ml_scope_depth())
  end)

  it("refuse tensors that they freed, in every method", function()
    local gone
    ml.scope(function() gone = ml.ones(2, 3) end)
    for name, method in pairs(require "mlua.tensor".Tensor) do
      if type(method) == "function" then
        local fault, ok = verdict(function()
          local y = method(gone, 1, 1)
          return y
        end)
        assert.is_nil(fault, name)
        assert.is_false(ok, name)
      end
    end
  end)
end)
