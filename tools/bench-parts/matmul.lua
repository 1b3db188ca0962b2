--- Matrix products in f32: beside oneDNN's own sgemm, called directly on the same data and as many
-- threads (in turn, medians of pairs), and beside PyTorch. Then in bf16, beside f32.
local ffi = require "ffi"
local ml = require "mlua"

ffi.cdef [[
int dnnl_sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
               int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
void omp_set_num_threads(int n);
]]

local shapes = { -- rows, columns, depth, layouts
  { 64, 64, 64 }, { 256, 256, 256 }, { 512, 512, 512 }, { 1024, 1024, 1024 }, { 1500, 1500, 1500 },
  { 513, 257, 129 }, { 333, 77, 555 }, { 1000, 1000, 1000 }, { 128, 1024, 1024 },
  { 2048, 512, 367 }, { 1024, 64, 1024 }, { 64, 64, 4096 }, { 1, 1024, 1024 }, { 1024, 1, 1024 },
  { 512, 512, 512, ta = true }, { 512, 512, 512, tb = true },
  { 512, 512, 512, ta = true, tb = true }, { 1000, 300, 700, ta = true },
  { 128, 128, 64, batch = 64, tb = true },
}
local PAIRS = 15

-- dnnl_sgemm by all threads, `steps` times; returns seconds for one.
local function sgemm(s, a, b, c)
  local dnnl = ffi.load("dnnl.so.2")
  local m, n, k = s[1], s[2], s[3]
  local pa, pb, pc = a:data(), b:data(), c:data()
  local function run()
    for i = 0, (s.batch or 1) - 1 do
      dnnl.dnnl_sgemm(s.ta and 84 or 78, s.tb and 84 or 78, m, n, k, 1, pa + i * m * k,
        s.ta and m or k, pb + i * k * n, s.tb and k or n, 0, pc + i * m * n, n)
    end
  end
  return function(steps)
    dnnl.omp_set_num_threads(ml.threads())
    local begin = ml.clock()
    for _ = 1, steps do run() end
    local seconds = (ml.clock() - begin) / steps
    dnnl.omp_set_num_threads(1)
    return seconds
  end
end

-- In turn, medians of pairs: seconds of one of ours and of the other, and the ratio.
local function pairs_of(bench, steps, ours, theirs)
  local median = require("frame.bench").median
  local mine, other, ratio = {}, {}, {}
  local function rested(f) -- OpenMP's threads spin a while; and a core that slept begins slowly
    os.execute("sleep 0.02")
    f(math.ceil(steps / 2))
    return f(steps)
  end
  for i = 1, math.max(PAIRS, bench.runs) do
    mine[i] = rested(ours)
    other[i] = rested(theirs)
    ratio[i] = other[i] / mine[i]
  end
  return { unit = "µs", ours = median(mine) * 1e6, peer = median(other) * 1e6,
           ratio = median(ratio), ratio_fastest = other[1] / mine[1], runs = #mine,
           threads = ml.threads(), peer_threads = tostring(ml.threads()) }
end

local function timed(f)
  return function(count)
    local begin = ml.clock()
    for _ = 1, count do f() end
    return (ml.clock() - begin) / count
  end
end

-- bf16 where the CPU multiplies it; the peer is the same product in f32.
local function halves(bench)
  local machine = ml.build_info()
  if not (machine:find "AMX" or machine:find "BF16") then
    bench.report:note("bf16: no AVX512-BF16 and no AMX here: pending")
    return
  end
  for _, n in ipairs { 256, 512, 1024, 2048 } do
    local a, b = ml.randn(n, n, { seed = 1 }), ml.randn(n, n, { seed = 2 })
    local c, d = a:to "bf16", b:to "bf16"
    local wide, narrow = ml.zeros(n, n), ml.zeros(n, n, { dtype = "bf16" })
    local row = pairs_of(bench, math.max(1, math.floor(4e8 / n ^ 3)),
      timed(function() ml.into(narrow, ml.matmul, c, d) end),
      timed(function() ml.into(wide, ml.matmul, a, b) end))
    row.name, row.peer_version = ("matmul bf16 %dx%dx%d NN"):format(n, n, n), "mlua in f32"
    bench.report:add(row)
  end
end

local function sizes(batch, ...) return batch and { batch, ... } or { ... } end

local function run(bench)
  for _, s in ipairs(shapes) do
    local m, n, k = s[1], s[2], s[3]
    local a = ml.randn(s.ta and sizes(s.batch, k, m) or sizes(s.batch, m, k), { seed = 1 })
    local b = ml.randn(s.tb and sizes(s.batch, n, k) or sizes(s.batch, k, n), { seed = 2 })
    local c = ml.zeros(sizes(s.batch, m, n))
    local steps = math.max(1, math.min(2000, math.floor(4e8 / (m * n * k * (s.batch or 1)))))
    local out = ml.zeros(sizes(s.batch, m, n)) -- as sgemm, which is given its C
    local ours = timed(function() ml.into(out, ml.op.matmul, a, b, s.ta, s.tb) end)
    local name = ("matmul %s%dx%dx%d %s%s"):format(s.batch and s.batch .. "x" or "", m, n, k,
      s.ta and "T" or "N", s.tb and "T" or "N")
    local row = pairs_of(bench, steps, ours, sgemm(s, a, b, c))
    row.name, row.peer_version = name, "oneDNN's sgemm, called directly"
    bench.report:add(row)
    if bench.options.peer then
      bench:measure {
        name = name .. ", PyTorch", unit = "µs", steps = steps,
        ours = function(_, count) ours(count) end,
        peer = { "matmul", { m = m, n = n, k = k, ta = tostring(s.ta or false),
                             tb = tostring(s.tb or false), batch = s.batch or 1 } },
      }
    end
  end
  halves(bench)
end

return {
  doc = "matrix products in f32, beside oneDNN's sgemm called directly (and PyTorch); in bf16",
  run = run,
}
