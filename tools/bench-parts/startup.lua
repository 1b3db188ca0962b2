--- From the shell to an empty script, to the library, to the end of the first training step, and to
-- a result that is there.
local clock = require("mlua").clock
local peer_module = require "frame.peer"
local quote = peer_module.quote

local function seconds(command)
  local begin = clock()
  local status = os.execute(command .. " >/dev/null 2>&1 </dev/null")
  local elapsed = clock() - begin
  return status == 0 and elapsed or nil
end

local function run(bench)
  local mlua = quote(bench.mlua)
  local python = quote(peer_module.python(bench.options.python))
  local import = python .. " -c 'import torch'"
  local have_peer = bench.options.peer and seconds(import) ~= nil
  if bench.options.peer and not have_peer then
    bench.report:note("peer: PyTorch not installed (apt-get install python3-torch)")
  end
  local version
  if have_peer then
    local pipe = io.popen(python .. " -c 'import torch; print(torch.__version__)'")
    version = "PyTorch " .. pipe:read("*l")
    pipe:close()
  end
  local process = {}
  for i = 1, 11 do process[i] = seconds("/bin/true") end
  local bound = require("frame.bench").median(process)

  local function measure(name, command, peer_command)
    if not seconds(command) then
      bench.report:note(name .. ": " .. command .. " failed; left out")
      return
    end
    bench:measure {
      name = "startup/" .. name, unit = "ms", steps = 4, bound = bound,
      bound_by = "a shell that runs /bin/true",
      ours = function(_, n) for _ = 1, n do seconds(command) end end,
      peer_run = have_peer and function() return seconds(peer_command) end, peer_version = version,
    }
  end
  measure("empty script", mlua .. " -e ''", python .. " -c ''")
  measure("library", mlua .. " -e 'require \"mlua\"'", import)
  -- The call before those that are timed prepares the data; --max-steps leaves no result.
  measure("first training step", ("MLUA_STORE=%s %s %s --max-steps 1"):format(
    quote(bench:folder() .. "/store"), mlua, quote(bench.root .. "/recipes/dlrm.lua")), import)
  measure("a flow's result that is there", ("MLUA_STORE=%s %s %s --rows 1000"):format(
    quote(bench:folder() .. "/store"), mlua, quote(bench.root .. "/recipes/dlrm.lua")), import)
end

return {
  doc = "shell to an empty script, the library, the first step, a result; peer: import torch",
  run = run,
}
