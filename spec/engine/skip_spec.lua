-- Losses that are no numbers, samples that are asked for one by one, shuffles and samplers: all
-- that is interrupted goes on as if it had not been. Trains spec/support/samples_training.lua.
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local TRAINING = lfs.currentdir() .. "/spec/support/samples_training.lua"

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

local function train(fault, words)
  local r = process.run({ process.program(), TRAINING, "--json", "--run", "run",
    unpack(words or {}) }, { cwd = folder, env = { MLUA_STORE = folder .. "/store",
    MLUA_THREADS = "1", MLUA_STORE_FAULT = fault or false, BROKEN = "broken" } })
  local lines = {}
  local metrics = folder .. "/run/metrics.jsonl"
  for line in (files.exists(metrics) and io.lines(metrics) or function() end) do
    local row = json.decode(line)
    for _, name in ipairs { "seconds", "waited", "rate", "bytes", "resident" } do
      if type(row) == "table" then row[name] = nil end
    end
    lines[#lines + 1] = json.encode(row)
  end
  local ok, document = pcall(json.decode, r.out:match "([^\n]*)\n*$" or "")
  r.result = ok and type(document) == "table" and document.outputs or nil
  r.bits = json.encode(r.result or {}) .. "\n" .. table.concat(lines, "\n")
  return r
end

local function clear()
  files.remove(folder .. "/run")
  files.remove(folder .. "/store")
end

-- Kills a training before its nth rename, for some n, and goes on; the same as undisturbed?
local function interrupt(words, kills)
  local whole = train(nil, words)
  assert.equal(0, whole.status, whole.err)
  for _, n in ipairs(kills) do
    clear()
    assert.equal(137, train(("rename:%d:KILL"):format(n), words).status)
    local r = train(nil, words)
    assert.matches("goes on at step [1-9]", r.err)
    assert.equal(whole.bits, r.bits, "killed before rename " .. n)
  end
  clear()
  return whole
end

describe("a training that skips losses that are no numbers", function()
  -- 100, 200, 300 and 400 are none: 4 batches of each of 3 epochs, unless two are in one
  it("goes on to the same bits where it is killed in the middle of an epoch", function()
    local whole = interrupt({ "--bad", "100", "--every", "5" }, { 12, 15, 18, 24, 33, 45 })
    assert.equal(12, whole.result.result.skipped)
    assert.equal(150, whole.result.result.steps)
    for ids in whole.err:gmatch "the loss is not a number; samples ([%d ]+);" do
      local bad = 0
      for id in ids:gmatch "%d+" do bad = bad + (id % 100 == 99 and 1 or 0) end
      assert.equal(1, bad, ids)
    end
  end)

  it("does so where updates gather batches and gradients are not looked at", function()
    interrupt({ "--bad", "100", "--every", "4", "--accumulate", "2", "--no-clip" }, { 15, 24, 40 })
  end)

  it("ends after a hundred in a row, those before an interruption among them", function()
    local words = { "--spoilt", "0" }
    local told = "step 100: the loss is not a number; [^\n]*; 100 in a row\n"
    local whole = train(nil, words)
    assert.equal(1, whole.status)
    assert.matches(told, whole.err)
    clear()
    assert.equal(137, train("rename:24:KILL", words).status)
    local r = train(nil, words)
    assert.matches("goes on at step [1-9]", r.err)
    assert.equal(1, r.status)
    assert.matches(told, r.err)
  end)
end)

describe("a training that stops at a loss that is no number", function()
  it("says which: the step and the samples of its batch, 0 / 0 or infinite", function()
    local wrong = { ["--spoilt=20"] = "not a number", ["--infinite=21"] = "infinite" }
    for option, what in pairs(wrong) do
      local r = train(nil, { "--order", "none", "--nan", "stop", option })
      assert.equal(1, r.status)
      assert.equal(("mlua: Train: step 3: the loss is %s; samples 16 17 18 19 20 21 22 23; "
        .. "'y' of the batch has what is no number"):format(what),
        r.err:match "mlua: Train: [^\n]*")
      assert.matches("error run: step 3: the loss is", files.read(folder .. "/run/log.txt"))
      clear()
    end
  end)
end)

describe("a sample that cannot be read", function()
  it("ends training at once with its number, and it goes on once it can be read", function()
    local whole = train(nil, { "--every", "5" })
    clear()
    files.write(folder .. "/broken", "")
    local began = os.time()
    local r = train(nil, { "--every", "5" })
    assert.equal(1, r.status)
    assert.is_true(os.time() - began < 5)
    assert.equal("sample 199: 200.png: not an image", r.err:match "mlua: Train: ([^\n]*)")
    os.remove(folder .. "/broken")
    r = train(nil, { "--every", "5" })
    assert.matches("goes on at step [1-9]", r.err)
    assert.equal(whole.bits, r.bits)
  end)
end)

describe("a training over samples that are asked for", function()
  for _, order in ipairs { "none", "shuffle", "balanced" } do
    it("goes on in the middle of an epoch with those that were left: " .. order, function()
      interrupt({ "--order", order, "--every", "7" }, { 14, 24, 36 })
    end)
  end
end)
