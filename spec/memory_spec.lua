-- Memory of a whole process: temporaries without scopes, and what happens when there is no more.
local process = require "spec.support.process"

local sanitized = os.getenv "ASAN_OPTIONS" or os.getenv "TSAN_OPTIONS"

-- Runs a script in a process of its own, with a limit of its address space in KiB; its words.
local function run(script, limit)
  local argv = { process.program(), "-e", script }
  if limit then
    argv = { "sh", "-c", ("ulimit -v %d; exec \"$0\" \"$@\""):format(limit), unpack(argv) }
  end
  local got = process.run(argv, { timeout = 300 })
  assert.equal(0, got.status, got.err .. got.out)
  local words = {}
  for word in got.out:gmatch "%S+" do words[#words + 1] = word end
  return words, got
end

-- A loop as typed at a prompt: `y = x + 1`, no scope; prints the bytes of its peak above its start,
-- and how many tensors it left.
local LOOP = [[
  ml = require "mlua"
  x = ml.ones(%d)
  for _ = 1, 4 do collectgarbage() end
  local start, peak = ml.memory().resident, 0
  for i = 1, %d do
    y = x + 1
    if i %% 64 == 0 then peak = math.max(peak, ml.memory().resident) end
  end
  y = nil
  for _ = 1, 4 do collectgarbage() end
  print(peak - start, ml.memory().tensors)
]]

describe("temporary tensors without scopes", function()
  for _, c in ipairs {
    { "a million of 16 bytes", 4, 1000000 }, { "a hundred thousand of 64 KB", 16384, 100000 },
    { "ten thousand of 1 MB", 262144, 10000 },
  } do
    it("take at most 64 MB above the start: " .. c[1], function()
      if sanitized then return pending "a sanitizer's quarantine holds memory" end
      local words = run(LOOP:format(c[2], c[3]))
      assert.is_true(tonumber(words[1]) <= 64e6, ("%.1f MB"):format(words[1] / 1e6))
      assert.equal("1", words[2]) -- x
    end)
  end
end)

it("tensors that leave their scope are collected as those made outside one", function()
  if sanitized then return pending "a sanitizer's quarantine holds memory" end
  local words = run [[
    local ml = require "mlua"
    local x, peak = ml.ones(2 ^ 20), 0
    for _ = 1, 200 do
      local y = ml.scope(function() return x + 1 end)
      peak = math.max(peak, ml.memory().live)
    end
    print(peak)
  ]]
  assert.is_true(tonumber(words[1]) <= 64e6, ("%.1f MB"):format(words[1] / 1e6))
end)

describe("where the system has no more memory", function()
  it("an operation says the sizes, and the process goes on without a leak", function()
    if sanitized then return pending "a sanitizer needs the address space" end
    local _, got = run([[
      local ml = require "mlua"
      local x = ml.ones(2 ^ 20)
      local before = ml.memory()
      local message
      for _ = 1, 5 do
        local held = {}
        local ok
        ok, message = pcall(function()
          for i = 1, 1000 do held[i] = ml.empty(2 ^ 24) end
        end)
        assert(not ok)
        held = nil
        for _ = 1, 4 do collectgarbage() end
      end
      print((message:gsub("%d+", "N")))
      print(ml.memory().tensors - before.tensors, ml.memory().live - before.live)
      print((x + 1):sum():item())
    ]], 1500000)
    assert.matches("out of memory on cpu: N bytes asked, N in use, N cached, N allowed", got.out, 1,
      true)
    assert.matches("\n0\t0\n2097152\n", got.out, 1, true)
  end)

  it("any allocation of a training step may fail: one line each, and the next trains", function()
    local words = run [[
      local ml = require "mlua"
      local C = require "mlua.ffi".C
      local model = ml.nn.MLP.new { sizes = { 4, 8, 1 }, last = "none", seed = 1, stream = 1 }
      local opt = ml.optim.adam(model, { lr = 0.01 })
      local data = ml.randn(6, 6, { seed = 1, stream = 7 })
      local mask = data:gt(0)
      local function step()
        local x = ml.cat({ data["1:3, 1:4"], data["4:6, 1:4"]:clone() }, 1)
        x[{ 1, 1 }] = 0.5
        local extra = data[mask]:sum() * 0.001
        local y = model:forward(x)
        local loss = ml.mse(y, data["1:6, 5"]:reshape(6, 1)) + extra
        loss:backward()
        opt:step()
        opt:zero_grad()
        tostring(y)
        return loss:item()
      end
      ml.scope(step)
      for _ = 1, 4 do collectgarbage() end
      local tensors, live, failures = ml.memory().tensors, ml.memory().live, 0
      for n = 1, 10000 do
        C.ml_memory_fail_at(n)
        local ok, message = pcall(ml.scope, step)
        C.ml_memory_fail_at(0)
        opt:zero_grad()
        if ok then break end
        assert(message:find("out of memory", 1, true) and not message:find "\n", message)
        failures = failures + 1
      end
      for _ = 1, 4 do collectgarbage() end
      assert(C.ml_scope_depth() == 0)
      local loss = ml.scope(step)
      print(failures, ml.memory().tensors - tensors, ml.memory().live - live, loss == loss)
    ]]
    assert.is_true(tonumber(words[1]) > 30)
    assert.same({ "0", "0", "true" }, { words[2], words[3], words[4] })
  end)
end)
