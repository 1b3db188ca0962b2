-- Schedules: values by hand, their states, and mistakes. (torch_spec.lua compares with PyTorch.)
local ml = require "mlua"
local optim = ml.optim
local schedule = optim.schedule

local function new(o) return optim.sgd({ ml.zeros(1):requires_grad() }, o or { lr = 1 }) end

local function rates(opt, s, n, metric)
  local list = {}
  for k = 1, n do
    list[k] = opt.lr
    s:step(metric)
  end
  return list
end

local function near(want, got)
  assert.equal(#want, #got)
  for i = 1, #want do
    assert.is_true(math.abs(want[i] - got[i]) < 1e-12,
      ("[%d]: expected %.14g, got %.14g"):format(i, want[i], got[i]))
  end
end

describe("a schedule", function()
  it("of steps lowers the rate every `size` steps", function()
    local opt = new()
    near({ 1, 1, 0.5, 0.5, 0.25 }, rates(opt, schedule.step(opt, { size = 2, gamma = 0.5 }), 5))
  end)

  it("of warm-up begins at its first factor at once", function()
    local opt = new { lr = 2 }
    near({ 0.5, 1, 1.5, 2, 2 }, rates(opt, schedule.warmup(opt, { steps = 3, from = 0.25 }), 5))
  end)

  it("of a cosine is at half in the middle", function()
    local opt = new()
    near({ 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0 },
      rates(opt, schedule.cosine(opt, { steps = 4 }), 5))
  end)

  it("of one cycle holds its last rate for the step that nothing uses, and ends", function()
    local opt = new()
    local s = schedule.one_cycle(opt, { max_lr = 1, steps = 4 })
    near({ 1 / 25 }, { opt.lr })
    for _ = 1, 4 do s:step() end
    near({ 1 / 25 / 1e4 }, { opt.lr })
    assert.error_matches(function() s:step() end, "one_cycle: step 5 of a schedule of 4", 1, true)
  end)

  it("of one cycle sets Adam's first beta", function()
    local opt = optim.adam { ml.zeros(1):requires_grad() }
    schedule.one_cycle(opt, { max_lr = 1, steps = 10 })
    assert.equal(0.95, opt.groups[1].betas[1])
    assert.equal(0.95, opt.updates[0].beta1)
    assert.equal(0.999, opt.updates[0].beta2)
  end)

  it("of a plateau takes a loss as a tensor, and lowers the rate when it stays", function()
    local opt = new()
    local s = schedule.plateau(opt, { patience = 1, factor = 0.5 })
    near({ 1, 1, 1, 0.5, 0.5, 0.25 }, rates(opt, s, 6, ml.ones(1)))
  end)

  it("in a chain begins at its own step 0, at its milestone", function()
    local opt = new()
    local s = schedule.chain(opt, { milestones = { 2 }, schedules = {
      schedule.warmup(opt, { steps = 2, from = 0.5 }),
      schedule.exponential(opt, { gamma = 0.5 }) } })
    near({ 0.5, 0.75, 1, 0.5, 0.25 }, rates(opt, s, 5))
  end)

  it("in a chain may take a metric", function()
    local opt = new()
    local s = schedule.chain(opt, { milestones = { 2 }, schedules = {
      schedule.warmup(opt, { steps = 2, from = 0.5 }),
      schedule.plateau(opt, { patience = 0, factor = 0.5 }) } })
    near({ 0.5, 0.75, 1, 1, 0.5, 0.25 }, rates(opt, s, 6, 3))
  end)

  it("keeps the base rate of the first that was made", function()
    local opt = new()
    schedule.warmup(opt, { from = 0.5 })
    assert.equal(0.5, opt.lr)
    schedule.cosine(opt, { steps = 10 })
    assert.equal(1, opt.lr)
  end)
end)

describe("a schedule's state", function()
  local MAKERS = {
    step = function(o) return schedule.step(o, { size = 2 }) end,
    cosine = function(o) return schedule.cosine(o, { steps = 9 }) end,
    one_cycle = function(o) return schedule.one_cycle(o, { max_lr = 1, steps = 12 }) end,
    plateau = function(o) return schedule.plateau(o, { patience = 1 }) end,
    chain = function(o)
      return schedule.chain(o, { milestones = { 3, 5 }, schedules = { schedule.warmup(o),
        schedule.plateau(o, { patience = 0 }), schedule.step(o, { size = 2 }) } })
    end,
  }
  for name, make in pairs(MAKERS) do
    it("goes on where it was, through JSON: " .. name, function()
      for stop = 0, 6 do
        local opt, other = new { lr = 0.3, momentum = 0.9 }, new { lr = 0.3, momentum = 0.9 }
        local s = make(opt)
        for _ = 1, stop do s:step(2) end
        local state = ml.json.decode(ml.json.encode(s:state()))
        local resumed = make(other)
        assert.is_true(resumed:load(state))
        for _ = 0, 4 do
          assert.equal(opt.lr, other.lr)
          assert.equal(opt.groups[1].momentum, other.groups[1].momentum)
          s:step(2)
          resumed:step(2)
        end
      end
    end)
  end

  it("is loaded whole or not at all", function()
    local opt = new()
    local step = schedule.step(opt, { size = 2 })
    local chain = MAKERS.chain(new())
    local cycle = MAKERS.one_cycle(new())
    local plateau = MAKERS.plateau(new())
    local function message(s, state)
      local ok, text = s:load(state)
      assert.is_nil(ok)
      return text
    end
    assert.equal("step: state: base: expected 1 rates", message(step, { step = 1 }))
    assert.equal("step: state: step: expected a whole number of at least 0",
      message(step, { base = { 1 }, step = -1 }))
    assert.equal("one_cycle: state: step: expected 0 to 12",
      message(cycle, { base = { 1 }, step = 13 }))
    assert.equal("plateau: state: bad: expected a whole number of at least 0",
      message(plateau, { base = { 1 }, lr = { 1 } }))
    assert.equal("chain: state: schedules: expected 3 states",
      message(chain, { step = 1, schedules = {} }))
    local state = chain:state()
    state.schedules[2] = 5
    assert.equal("chain: state: schedules[2]: expected a table, got 5", message(chain, state))
  end)
end)

describe("mistakes of schedules", function()
  it("are one line at the user's, which names the option", function()
    local opt = new()
    for message, fn in pairs {
      ["bad argument #1 to 'step' (expected an optimiser, got nil)"] =
        function() schedule.step() end,
      ["bad argument #2 to 'step' (size: expected a whole number of at least 1, got nil)"] =
        function() schedule.step(opt) end,
      ["bad argument #2 to 'step' (unknown option 'gama', did you mean 'gamma'?)"] =
        function() schedule.step(opt, { size = 1, gama = 1 }) end,
      ["bad argument #2 to 'multi_step' (milestones: expected a list of rising whole numbers " ..
        "above 0, got table)"] = function() schedule.multi_step(opt, { milestones = { 3, 2 } }) end,
      ["bad argument #2 to 'cosine' (expected a table of options, got 5)"] =
        function() schedule.cosine(opt, 5) end,
      ["bad argument #2 to 'one_cycle' (max_lr: expected a number or 1 of them, got 2)"] =
        function() schedule.one_cycle(opt, { max_lr = { 1, 2 }, steps = 3 }) end,
      ["bad argument #2 to 'one_cycle' (anneal: expected 'cos' or 'linear', got 'cosine')"] =
        function() schedule.one_cycle(opt, { max_lr = 1, steps = 3, anneal = "cosine" }) end,
      ["bad argument #2 to 'one_cycle' (cycle_momentum: the optimiser, sgd, has no momentum; " ..
        "make it with one above 0)"] =
        function() schedule.one_cycle(opt, { max_lr = 1, steps = 3, cycle_momentum = true }) end,
      ["bad argument #2 to 'plateau' (mode: expected 'min' or 'max', got 'low')"] =
        function() schedule.plateau(opt, { mode = "low" }) end,
      ["bad argument #1 to 'step' (metric: expected a number, got nil)"] =
        function() schedule.plateau(opt):step() end,
      ["bad argument #2 to 'lambda' (expected a function, or a list of one for each of 1 " ..
        "groups, got 3)"] = function() schedule.lambda(opt, 3) end,
      ["lambda: the rate of step 0: expected a number of at least 0, got -1"] =
        function() schedule.lambda(opt, function() return -1 end) end,
      ["bad argument #2 to 'chain' (milestones: expected 0, one fewer than schedules, got 1)"] =
        function()
          schedule.chain(opt, { schedules = { schedule.warmup(opt) }, milestones = { 3 } })
        end,
      ["bad argument #2 to 'chain' (schedules[2]: expected a schedule of this optimiser, got 3)"] =
        function()
          schedule.chain(opt, { schedules = { schedule.warmup(opt), 3 }, milestones = { 3 } })
        end,
    } do
      local ok, got = pcall(fn)
      assert.is_false(ok)
      assert.equal(message, got:match("^[%w_/.]*schedule_spec%.lua:%d+: (.*)$"))
    end
  end)
end)
