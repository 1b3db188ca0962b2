--- Flows: what it costs to find that nothing has changed, and to run what does nothing.
--
-- The limits that stand as bounds: 0.1 s for 10,000 finished tasks, 50 µs for a trivial task in
-- memory. The peers check less: Luigi and d6tflow ask whether a target is there, not what made it;
-- here its size, the code, the parameters and the inputs are checked, too. They sync no files.
local ml = require "mlua"
local quote = require("frame.peer").quote

local RECIPE = [[
local ml = require "mlua"
local param = ml.param
local Leaf = ml.task("Leaf", { params = { i = param.int { 1 } },
  run = function(self) return self.i end })
local Root = ml.task("Root", { params = { n = param.int { 10000, min = 1 } },
  requires = function(self)
    local all = {}
    for i = 1, self.n do all[i] = Leaf { i = i } end
    return all
  end,
  run = function() return "done" end })
return ml.flow(Root)
]]

local PYTHON = "/build/peers-flow/bin/python"
local MISSING = "Luigi and d6tflow not installed (python3 -m venv build/peers-flow; "
  .. "build/peers-flow/bin/pip install luigi d6tflow)"

local function line_of(command)
  local pipe = assert(io.popen(command))
  local line = pipe:read "*l"
  pipe:close()
  return line
end

local function peer_of(bench, package, graph, n)
  return { "flow", { package = package, graph = graph, n = n }, missing = MISSING,
           python = bench.options.python or bench.root .. PYTHON }
end

-- -- as processes ------------------------------------------------------------------------------

-- Measures the smaller store now; gives a function that measures the larger one.
local function finished(bench, folder)
  local recipe = folder .. "/recipe.lua"
  local file = assert(io.open(recipe, "w"))
  file:write(RECIPE)
  file:close()
  local function call(n, more)
    local status = os.execute(("MLUA_STORE=%s %s %s --n %d %s >/dev/null 2>&1"):format(
      quote(folder .. "/store" .. n), quote(bench.mlua), quote(recipe), n, more or ""))
    assert(status == 0, "a flow failed")
  end
  local function measure(name, n, more, peer)
    bench:measure {
      name = name, unit = "ms", bound = n == 10000 and 0.1 or nil,
      bound_by = n == 10000 and "the limit set for it" or nil, peer = peer,
      ours = function(_, steps) for _ = 1, steps do call(n, more) end end,
    }
  end
  call(10000)
  for _, package in ipairs { "luigi", "d6tflow" } do
    measure("flow/no-op, 10000 tasks (" .. package .. ")", 10000, "",
      peer_of(bench, package, "finished", 10000))
  end
  measure("flow/preview, 10000 tasks", 10000, "--preview")
  return function() -- a minute to make
    call(100000)
    measure("flow/no-op, 100000 tasks", 100000)
  end
end

-- -- in this process ---------------------------------------------------------------------------

local seed = 0

-- Seconds that the run of a new node takes, all of whose tasks must run.
local function run_new(task, given, count)
  seed = seed + 1
  given.seed = seed
  local begin = ml.clock()
  local ran = require "mlua.flow".run(task(given)).ran
  local seconds = ml.clock() - begin
  assert(ran == count, ("%d tasks ran of %d"):format(ran, count))
  return seconds
end

local function params(...)
  local all = { seed = ml.param.int { 0 } }
  for _, name in ipairs { ... } do all[name] = ml.param.int { 1, min = 1 } end
  return all
end

local function ladder(bench)
  local Rung
  Rung = ml.task("Rung", {
    params = params("level", "side"), outputs = "memory",
    requires = function(self)
      if self.level == 1 then return nil end
      local level = self.level - 1
      return { Rung { level = level, side = 1 }, Rung { level = level, side = 2 } }
    end,
    run = function(self) return self.level end,
  })
  local Top = ml.task("Top", {
    params = params "levels", outputs = "memory",
    requires = function(self)
      return { Rung { level = self.levels, side = 1 }, Rung { level = self.levels, side = 2 } }
    end,
    run = function() return 0 end,
  })
  -- d6tflow walks every path: 10 levels take it a second, each more twice as long.
  for package, levels in pairs { luigi = 30, d6tflow = 10 } do
    bench:measure {
      name = ("flow/ladder of %d levels (%s)"):format(levels, package), unit = "ms",
      peer = peer_of(bench, package, "ladder", levels), steps = 1,
      ours = function() return run_new(Top, { levels = levels }, 2 * levels + 1) end,
    }
  end
end

local function leaves(bench, name, kind, n, unit)
  local Leaf = ml.task("Leaf" .. kind, {
    params = params "i", outputs = kind, run = function(self) return self.i end,
  })
  local Root = ml.task("Root" .. kind, {
    params = params(), outputs = kind,
    requires = function()
      local all = {}
      for i = 1, n do all[i] = Leaf { i = i } end
      return all
    end,
    run = function() return 0 end,
  })
  for _, package in ipairs { "luigi", "d6tflow" } do
    bench:measure {
      name = ("flow/%s (%s)"):format(name, package), unit = unit,
      per = unit == "tasks/s" and 1 or nil,
      bound = kind == "memory" and 50e-6 or nil,
      bound_by = kind == "memory" and "the limit set for it" or nil,
      peer = peer_of(bench, package, kind == "memory" and "memory" or "saved", n), steps = n,
      ours = function() return run_new(Root, {}, n + 1) / (n + 1) end,
    }
  end
end

-- ----------------------------------------------------------------------------------------------

local function run(bench)
  -- Ten thousand fsyncs are no part of what is timed there: a folder in memory, if there is one.
  local folder = line_of "mktemp -d -p /dev/shm 2>/dev/null || mktemp -d"
  local ok, problem = xpcall(function()
    local larger = finished(bench, folder)
    require "mlua.flow".store(bench:folder() .. "/store")
    ladder(bench)
    leaves(bench, "trivial task in memory", "memory", 1000, "µs")
    leaves(bench, "saved tasks, durable", "json", 256, "tasks/s")
    larger()
  end, debug.traceback)
  os.execute("rm -rf " .. quote(folder))
  if not ok then error(problem, 0) end
end

return {
  doc = "flows: 10,000 finished tasks, a ladder, trivial tasks; peers: Luigi, d6tflow", run = run,
}
