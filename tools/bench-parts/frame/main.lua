--- tools/bench: runs the files of tools/bench-parts, each a bench:
--
--     return {
--       doc = "one line",
--       run = function(bench) return { row, … } end,   -- bench: see frame.bench
--     }
--
-- Rows are what bench:measure returns; see frame.report for their fields.
local parts = arg[0]:match("^(.*)/frame/[^/]*$") or "tools/bench-parts"
package.path = parts .. "/?.lua;" .. package.path

local fail = require "mlua.fail"
local param = require "mlua.param"
local text = require "mlua.text"

local function list()
  local names = {}
  local pipe = assert(io.popen(("ls '%s'"):format(parts:gsub("'", "'\\''"))))
  for file in pipe:lines() do
    names[#names + 1] = file:match("^(.*)%.lua$")
  end
  pipe:close()
  return names
end

local function load_part(name)
  local chunk, problem = loadfile(parts .. "/" .. name .. ".lua", "t")
  if not chunk then fail.run("%s", problem) end
  return chunk()
end

local function interpreter()
  local i = 0
  while arg[i - 1] do i = i - 1 end
  return arg[i]
end

local spec = param.spec({
  peer = param.bool { doc = "run PyTorch on the same work, in turn with mlua" },
  json = param.bool { doc = "print one JSON object per line" },
  runs = param.int { 5, min = 1, doc = "rounds; medians of them are shown" },
  threads = param.int { optional = true, min = 1, doc = "threads of mlua (default: its own)" },
  python = param.string { optional = true, meta = "PATH",
    doc = "interpreter of the peer (default: MLUA_PEER_PYTHON, or /usr/bin/python3)" },
}, {
  config = false, name = "tools/bench",
  doc = "Times mlua on work of known size, beside PyTorch and the machine's bound.",
  arguments = { "NAME…", min = 0 },
})

local options, names = spec:main(arg)
local known = list()
if #names == 0 then
  for _, name in ipairs(known) do
    print(("%-16s %s"):format(name, load_part(name).doc))
  end
  return
end
for _, name in ipairs(names) do
  local found = false
  for _, other in ipairs(known) do found = found or other == name end
  if not found then fail.usage("no bench '%s'%s", name, text.did_you_mean(name, known)) end
end

local report = require("frame.report").new(options.json)
for _, name in ipairs(names) do
  local bench = require("frame.bench").new(name, options, {
    mlua = interpreter(), root = parts:match("^(.*)/tools/[^/]*$") or ".", report = report,
  })
  local ok, problem = xpcall(load_part(name).run, function(e)
    return fail.is_user(e) and e or debug.traceback(e, 2)
  end, bench)
  bench:close()
  if not ok and fail.is_user(problem) then error(problem, 0) end
  if not ok then
    io.stderr:write("mlua: ", problem, "\n")
    os.exit(1, true)
  end
end
report:finish()
