--- The reader of click logs, from text to the finished cache file, and loaders.
--
-- The text is synthetic, with the words of each table in turn: every row has 26 words, and the big
-- tables see a new one nearly every time, the worst case for their vocabularies. MLUA_BENCH_ROWS
-- sets the rows, 1,000,000; from 10,131,227 on (2.7 GB) each of Kaggle's tables is complete.
local clicks = require "mlua.data.clicks"
local core = require "mlua.ffi"

local KAGGLE = { -- rows of the tables in Criteo's Kaggle log
  1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194,
  27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572,
}

local function size_of(path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek("end")
  file:close()
  return size
end

local function run(bench)
  local rows = tonumber(os.getenv("MLUA_BENCH_ROWS") or "") or 1000000
  local folder = bench:folder()
  local path, cache = folder .. "/clicks.tsv", folder .. "/cache"
  local set = assert(clicks.open("synthetic", { rows = rows, tables = KAGGLE, skew = 0,
    cache = folder .. "/made" }))
  assert(set:write(path))
  local bytes = size_of(path)
  bench.report:note(("%.0f MB of text, %d rows, %d words"):format(bytes / 1e6, rows, (function()
    local n = 0
    for _, size in ipairs(set:tables()) do n = n + size end
    return n
  end)()))
  local begin = core.C.ml_clock()
  os.execute(("cat '%s' > /dev/null"):format(path))
  local bound = core.C.ml_clock() - begin

  local threads = core.C.ml_threads()
  for _, n in ipairs(threads > 1 and { 1, threads } or { 1 }) do
    for _, way in ipairs { { "first appearance" }, { "hashed into 1,000,000", 1000000 } } do
      bench:measure {
        name = ("clicks/text to cache, %s, %d thread%s"):format(way[1], n, n > 1 and "s" or ""),
        unit = "MB/s", per = bytes / 1e6, bound = bound, bound_by = "cat, one thread",
        ours = function(_, steps)
          local took = 0
          for _ = 1, steps do
            os.execute(("rm -rf '%s'"):format(cache))
            local from = core.C.ml_clock()
            assert(clicks.open(path, { threads = n, hash = way[2], cache = cache })):close()
            took = took + core.C.ml_clock() - from
          end
          return took / steps
        end,
      }
    end
  end

  bench:measure {
    name = "clicks/open a warm cache", unit = "µs", steps = 20,
    ours = function(_, steps)
      for _ = 1, steps do
        local warm = assert(clicks.open(path, { hash = 1000000, cache = cache }))
        assert(warm:warm())
        warm:close()
      end
    end,
  }

  for _, batch in ipairs { 2, 128, 2048 } do
    for workers = 0, 1 do
      local loader = assert(set.train:loader { batch = batch, shuffle = true, workers = workers })
      local epoch = 0
      loader:seek(0)
      bench:measure {
        name = ("clicks/loader, batch %d, %d workers"):format(batch, workers), unit = "samples/s",
        per = batch, steps = math.max(20, math.floor(100000 / batch)),
        ours = function(_, steps)
          for _ = 1, steps do
            if not loader:next() then
              epoch = epoch + 1
              loader:seek(epoch)
            end
          end
        end,
      }
      loader:close()
    end
  end
end

return {
  doc = "click logs: text to finished cache, a warm start, loaders",
  run = run,
}
