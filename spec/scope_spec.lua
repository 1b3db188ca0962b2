-- Memory: scopes, handles, what the collector is told, allocations that fail, and no leaks.
local core = require "mlua.ffi"
local ml = require "mlua"
local sweep = require "spec.support.sweep"

local C = core.C

local function settle()
  jit.flush() -- what was compiled holds on to what it was compiled for
  for _ = 1, 4 do collectgarbage() end
end

-- Checks the message of an error, place and all: error_matches leaves the place out.
local function fails(fn, pattern)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  assert.is_truthy(message:find(pattern), message)
end

-- Runs fn, and checks that live tensors and bytes are what they were before.
local function leaves_nothing(fn)
  settle()
  local before = ml.memory()
  fn()
  settle()
  local after = ml.memory()
  assert.equal(before.tensors, after.tensors)
  assert.equal(before.live, after.live)
end

describe("a scope", function()
  it("frees what was made inside, but for what it returns", function()
    leaves_nothing(function()
      local inside
      local a, text, b = ml.scope(function()
        inside = ml.ones(2)
        return inside + 1, "text", inside * 3
      end)
      assert.same({ 2, 2 }, a:totable())
      assert.equal("text", text)
      assert.same({ 3, 3 }, b:totable())
      assert.has_error(function() inside:sum() end,
        "bad argument #1 to 'sum' (x: expected a tensor, got one that is no longer there " ..
        "(its scope ended, or it was freed))")
      assert.equal("[a tensor that is no longer there]", tostring(inside))
    end)
  end)

  it("hands on what it returns to the scope outside, which frees it", function()
    local kept
    ml.scope(function()
      kept = ml.scope(function() return ml.ones(2) end)
      assert.same({ 1, 1 }, kept:totable())
    end)
    assert.equal("[a tensor that is no longer there]", tostring(kept))
  end)

  it("does not take over tensors of others that pass through it", function()
    local outside = ml.ones(2)
    ml.scope(function()
      local middle = ml.ones(3)
      ml.scope(function() return outside, middle end)
      assert.same({ 1, 1, 1 }, middle:totable())
    end)
    settle()
    assert.same({ 1, 1 }, outside:totable())
  end)

  it("keeps a tensor that asks for it", function()
    local kept
    ml.scope(function() ml.scope(function() kept = ml.ones(2):keep() end) end)
    settle()
    assert.same({ 1, 1 }, kept:totable())
  end)

  it("ends by an error as well, inner ones first, and passes it on", function()
    leaves_nothing(function()
      local ok, message = pcall(ml.scope, function()
        ml.ones(2)
        ml.scope(function()
          ml.ones(2)
          error("stop", 0)
        end)
      end)
      assert.is_false(ok)
      assert.equal("stop", message)
      assert.equal(0, C.ml_scope_depth())
    end)
  end)

  it("ends where what it returns is no longer there", function()
    ml.scope(function()
      local t = ml.ones(2)
      core.free(t)
      return t
    end)
    assert.equal(0, C.ml_scope_depth())
  end)

  it("refuses a coroutine that yields inside one it opened", function()
    local co = coroutine.wrap(function() ml.scope(function() coroutine.yield() end) end)
    co()
    fails(function() ml.scope(function() end) end,
      "^[%w_/.]*scope_spec.lua:%d+: scope: a coroutine yielded inside its scope;")
    co()
    assert.equal(0, C.ml_scope_depth())
    assert.equal(5, ml.scope(function() return 5 end))
  end)

  it("may hold coroutines that open and end their own", function()
    local sum = ml.scope(function()
      local each = coroutine.wrap(function()
        for i = 1, 3 do coroutine.yield(ml.scope(function() return ml.full(i, 1) end)) end
      end)
      return each() + each() + each()
    end)
    assert.equal(6, sum:item())
  end)

  it("is refused where nested deeper than 256", function()
    local function deeper(n)
      return ml.scope(function() return n == 0 and 0 or deeper(n - 1) end)
    end
    fails(function() deeper(300) end, "scopes nested deeper than 256")
    assert.equal(0, C.ml_scope_depth())
  end)
end)

describe("a handle", function()
  it("that was freed, made up or of nothing is an error and no crash", function()
    local t = ml.ones(2)
    core.free(t)
    core.free(t)
    for _, h in ipairs { t, core.Ref(), core.Ref(4000000000, 1), core.Ref(1, 4000000000) } do
      for _, use in ipairs {
        function() h:shape() end, function() h:sum() end, function() h:backward() end,
        function() h:keep() end, function() h:fill(1) end, function() h:copy(h) end,
        function() h:detach() end, function() h:grad() end, function() h:data() end,
        function() h:reshape(2) end, function() h:requires_grad() end, function() h:item() end,
      } do
        fails(use, "^[%w_/.]*scope_spec.lua:%d+: .*no longer there")
      end
      core.free(h)
    end
  end)

  it("of a slot that serves another tensor now is told from it", function()
    local old = ml.ones(2)
    core.free(old)
    local new = ml.zeros(2)
    assert.equal(old.slot, new.slot)
    fails(function() old:sum() end, "no longer there")
  end)
end)

describe("the collector", function()
  it("is run where tensors outside scopes grow past the mark, which goes down again", function()
    leaves_nothing(function()
      for _ = 1, 100 do ml.zeros(2 ^ 20) end -- 4 MiB each, all garbage at once
      assert.is_true(ml.memory().live < 160 * 2 ^ 20)
      local held = ml.empty(2 ^ 28) -- 1 GiB, not touched
      ml.zeros(1)
      assert.is_true(core.memory.collect_at >= 2 ^ 30)
      core.free(held)
      assert.is_true(core.memory.collect_at <= 2 ^ 28)
    end)
  end)
end)

describe("20,000 training steps", function()
  it("leave no tensor behind, and memory flat over the last 10,000", function()
    leaves_nothing(function()
      local nn = ml.nn
      local model = nn.MLP.new { sizes = { 4, 8, 1 }, last = "none", seed = 1, stream = 1 }
      local tables = nn.TableCollection.new { rows = { 10, 20 }, dim = 2, seed = 1, stream = 9 }
      local adagrad = ml.optim.adagrad(model, { lr = 0.01 })
      local sgd = ml.optim.sgd(tables, { lr = 0.01 })
      local target, ids = ml.ones(3, 1), ml.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, "i32")
      local function step()
        local e = tables:forward(ids):reshape(3, 4)
        local loss = ml.mse(model:forward(e), target)
        loss:backward()
        adagrad:step()
        sgd:step()
        adagrad:zero_grad()
        sgd:zero_grad()
      end
      local resident, tensors
      for i = 1, 20000 do
        ml.scope(step)
        if i == 10000 then
          settle()
          local list -- Lua's own heap grows to where it collects
          for k = 1, 1e5 do list = { list and k } end
          settle()
          resident, tensors = ml.memory().resident, ml.memory().tensors
        end
      end
      settle()
      assert.equal(tensors, ml.memory().tensors)
      if not os.getenv "ASAN_OPTIONS" then -- its quarantine grows
        local ratio = ml.memory().resident / resident
        assert.is_true(ratio < 1.02, "resident memory grew by " .. ratio)
      end
    end)
  end)
end)

describe("an allocation that fails", function()
  -- Calls fn with its 1st, 2nd, … allocation failing until none does.
  local function each_failure(label, fn)
    for n = 1, 1000 do
      C.ml_memory_fail_at(n)
      local ok, message = pcall(fn)
      C.ml_memory_fail_at(0)
      if ok then return n - 1 end
      message = label .. ": " .. tostring(message)
      assert.is_truthy(message:find("out of memory", 1, true), message)
      assert.equal(0, C.ml_scope_depth())
    end
    error(label .. ": still failing")
  end

  for _, card in ipairs(sweep.cards()) do
    it("in " .. card.name .. " or its gradient is an error without a leak", function()
      for n, case in ipairs(card.sweep) do
        if not case.slow then
          local args, floats = sweep.arguments(card, case, "f32", n % 2 == 1)
          local wanted = {}
          for _, f in ipairs(floats) do
            if sweep.differentiable(card, f.name) then
              f.list[f.at] = f.list[f.at]:clone():requires_grad()
              wanted[#wanted + 1] = f.list[f.at]
            end
          end
          local function zero() for _, t in ipairs(wanted) do t:zero_grad() end end
          leaves_nothing(function()
            local failures = each_failure(card.name, function()
              ml.scope(function()
                local y = sweep.call(card, args)
                if #wanted > 0 then y:backward(ml.ones(y:shape(), { dtype = y:dtype() })) end
              end)
            end)
            assert.is_true(failures > 0) -- a small tensor is one allocation
            zero()
          end)
        end
      end
    end)
  end

  it("in creation, views, copies or an optimiser's step is one as well", function()
    leaves_nothing(function()
      local x = ml.ones(3, 4)
      for label, fn in pairs {
        creation = function() ml.zeros(2, 3) end,
        list = function() ml.tensor { { 1, 2 }, { 3, 4 } } end,
        view = function() x:transpose() end,
        copy = function() x:transpose():contiguous() end,
        convert = function() x:to("f64") end,
        detach = function() x:detach() end,
        overlap = function() x:narrow(2, 1, 3):copy(x:narrow(2, 2, 4)) end,
        optimiser = function() ml.optim.adagrad { ml.ones(2):requires_grad() } end,
      } do
        each_failure(label, fn)
        settle()
      end
    end)
  end)

  it("leaves a fused step's parameters usable", function()
    leaves_nothing(function()
      local model = ml.nn.MLP.new { sizes = { 3, 5, 1 }, seed = 1, stream = 1 }
      local x, target = ml.ones(2, 3), ml.ones(2, 1)
      for _, name in ipairs { "sgd", "adagrad", "rwsadagrad" } do
        local optimizer = ml.optim[name](model, { lr = 0.1 })
        each_failure(name, function()
          ml.scope(function() optimizer:step(ml.mse(model:forward(x), target)) end)
        end)
        for _, p in ipairs(model:parameters()) do assert.is_nil(p:grad()) end
      end
    end)
  end)
end)
