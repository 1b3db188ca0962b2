--- Configuration: a file of 500 lines read and resolved, with parts of its own names, references,
-- macros and sections.
local ml = require "mlua"
local param, registry = ml.param, ml.registry

local LINES = 500

-- A spec with many keys, and, where a path is given, a file there that gives them all.
local function make(path)
  registry.new("bench_part", "bench_parts", "of this bench")
  registry.register("bench_part", "layer", {
    width = param.int { 64, min = 1 }, rate = param.number { 0.1, min = 0 }, name = param.string {},
    widths = param.ints { {} }, on = param.bool {},
  }, function(o) return o end)
  local entries, lines = {}, { "macros:", "  wide: 128", "bench_parts:" }
  for i = 1, 40 do
    lines[#lines + 1] = ("  part%d:"):format(i)
    lines[#lines + 1] = "    type: layer"
    lines[#lines + 1] = ("    width: %d"):format(i)
    lines[#lines + 1] = "    widths: [1, 2, '${wide}']"
    lines[#lines + 1] = "    name: some name"
    entries["model" .. i] = param.bench_part { "layer" }
  end
  for i = 1, 40 do lines[#lines + 1] = ("model%d: part%d"):format(i, i) end
  local section = 0
  while #lines < LINES do
    section = section + 1
    lines[#lines + 1] = ("section%d:"):format(section)
    local inner = {}
    for i = 1, 9 do
      local name = ("key%d"):format(i)
      inner[name] = i % 3 == 0 and param.string { "" } or param.number { 0, min = 0 }
      lines[#lines + 1] = ("  %s: %s"):format(name, i % 3 == 0 and "a word" or i == 4
        and ("${section%d.key1}"):format(section) or tostring(i / 7))
    end
    entries["section" .. section] = inner
  end
  if path then
    local file = assert(io.open(path, "w"))
    file:write(table.concat(lines, "\n", 1, LINES), "\n")
    file:close()
  end
  return param.spec(entries)
end

-- What a process of its own takes for its first reading, modules and all.
local CHILD = [[
local file, path = ...
local spec = dofile(file).spec()
local clock = require "mlua".clock
local begin = clock()
assert(spec:read { "--config", path })
io.write(("%.9f"):format(clock() - begin))
]]

local function run(bench)
  local folder = bench:folder()
  local path, child = folder .. "/big.yaml", folder .. "/child.lua"
  local spec = make(path)
  local file = assert(io.open(child, "w"))
  file:write(CHILD)
  file:close()
  local here = debug.getinfo(1, "S").source:match "^@(.*)$"
  local quote = require("frame.peer").quote
  bench:measure {
    name = "config/500 lines, first of a process", unit = "ms", steps = 5,
    ours = function(_, n)
      local total = 0
      for _ = 1, n do
        local pipe = io.popen(("%s %s %s %s"):format(quote(bench.mlua), quote(child), quote(here),
          quote(path)))
        total = total + tonumber(pipe:read "*a")
        pipe:close()
      end
      return total / n
    end,
  }
  bench:measure {
    name = "config/500 lines, again", unit = "ms", steps = 50,
    ours = function(_, n)
      for _ = 1, n do assert(spec:read { "--config", path }) end
    end,
  }
end

return { doc = "a configuration file of 500 lines, read and resolved", run = run, spec = make }
