-- Products by oneDNN's primitive, the way of bf16 on machines that multiply it. Any machine has the
-- primitive in f32; only the dtype differs. MLUA_PRODUCTS=primitive asks for it, also in bf16,
-- which without such instructions is refused by oneDNN and goes through f32.
local process = require "spec.support.process"

-- A program that prints the products of many shapes, strides and batches, in a dtype.
local PROGRAM = [[
local ml = require "mlua"
local dtype = %q
local function show(label, a, b, ta, tb)
  local y = ml.matmul(a:to(dtype), b:to(dtype), ta, tb)
  assert(y:dtype() == dtype)
  local flat, sum, mix = y:to("f64"):reshape(-1):totable(), 0, 0
  for i, v in ipairs(flat) do sum, mix = sum + v, mix + v * (i %% 7 - 3) end
  print(label, table.concat(y:shape(), "x"), ("%%.3f %%.3f"):format(sum, mix))
end
for i, s in ipairs { { 3, 4, 5 }, { 1, 8, 9 }, { 9, 1, 8 }, { 33, 65, 17 }, { 130, 257, 70 },
                     { 2, 3, 1 }, { 300, 300, 300 }, { 4, 4, 0 } } do
  local m, n, k = unpack(s)
  local a, b = ml.randn(m, k, { seed = i }), ml.randn(k, n, { seed = i + 50 })
  local at, bt = ml.randn(k, m, { seed = i }), ml.randn(n, k, { seed = i + 50 })
  show("NN", a, b)
  show("TN", at, b, true)
  show("NT", a, bt, false, true)
  show("TT", at, bt, true, true)
  show("view", at:transpose(1, 2), bt:transpose(1, 2))
end
show("batch", ml.randn(3, 1, 20, 30, { seed = 1 }), ml.randn(2, 30, 40, { seed = 2 }))
show("broadcast", ml.randn(20, 30, { seed = 1 }), ml.randn(4, 30, 10, { seed = 2 }))
show("vectors", ml.randn(50, { seed = 1 }), ml.randn(50, 6, { seed = 2 }))
show("stepped", ml.randn(20, 60, { seed = 1 })[{ {}, { 1, -1, 2 } }], ml.randn(30, 8, { seed = 2 }))
local x = ml.randn(12, 20, { seed = 3 }):requires_grad()
local w = ml.randn(20, 7, { seed = 4 }):requires_grad()
ml.matmul(x:to(dtype), w:to(dtype)):to("f32"):sum():backward()
print("gradients", ("%%.3f %%.3f"):format(x:grad():sum():item(), w:grad():sum():item()))
]]

local function lines(dtype, env)
  local got = process.mlua({ "-e", (PROGRAM:format(dtype)) }, { env = env })
  assert.equal("", got.err)
  assert.equal(0, got.status)
  local list = {}
  for line in got.out:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

-- The lines with their numbers; near: how far these may be apart, of one part.
local function same(want, got, near)
  assert.equal(#want, #got)
  for i, line in ipairs(want) do
    local words = got[i]:gmatch "%S+"
    for word in line:gmatch "%S+" do
      local other, a = words(), tonumber(word)
      if not a then assert.equal(word, other)
      else
        local b = tonumber(other)
        assert.is_true(math.abs(a - b) <= near * (1 + math.abs(a)), line .. " beside " .. got[i])
      end
    end
  end
end

describe("matmul by oneDNN's primitive", function()
  local forced = { MLUA_PRODUCTS = "primitive" }

  it("is in f32 what the other ways give, whatever strides, batches and transposition", function()
    local plain = lines("f32", { MLUA_PRODUCTS = false })
    assert.is_true(#plain > 40)
    same(plain, lines("f32", forced), 2e-3)
  end)

  it("is the same bits for one thread and for two", function()
    assert.same(lines("f32", { MLUA_PRODUCTS = "primitive", OMP_NUM_THREADS = "1" }),
      lines("f32", { MLUA_PRODUCTS = "primitive", OMP_NUM_THREADS = "2" }))
  end)

  it("takes bf16, or leaves it to f32 where the CPU does not multiply it", function()
    same(lines("bf16", { MLUA_PRODUCTS = false }), lines("bf16", forced), 2e-2)
  end)

  it("really is the primitive: oneDNN's own log says so", function()
    local got = process.mlua({ "-e", "local ml = require 'mlua' "
      .. "print(ml.matmul(ml.ones(40, 50), ml.ones(50, 60)):sum():item())" },
      { env = { MLUA_PRODUCTS = "primitive", DNNL_VERBOSE = "1" } })
    assert.matches("exec,cpu,matmul", got.out, 1, true)
    assert.matches("120000", got.out, 1, true)
  end)
end)
