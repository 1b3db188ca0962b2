--- Values that PyTorch computes, for specs that compare with it.
local process = require "spec.support.process"

local torch = {}

local FRAME = [[
import sys
try:
    import torch
except ImportError:
    sys.exit(77)
torch.set_num_threads(1)
import math, warnings
warnings.simplefilter("ignore")
def lua(v):
    if isinstance(v, torch.Tensor): v = v.tolist()
    if isinstance(v, dict):
        return "{" + ",".join("[%s]=%s" % (lua(k), lua(x)) for k, x in v.items()) + "}"
    if isinstance(v, (list, tuple)): return "{" + ",".join(lua(x) for x in v) + "}"
    if isinstance(v, str): return '"' + v + '"'
    if isinstance(v, float) and math.isinf(v): return "math.huge" if v > 0 else "-math.huge"
    return repr(v)
result = {}
%s
print("return " + lua(result))
]]

--- Runs a Python script, once per spec file: what it puts into the dict `result`, as a table.
-- @tparam string script
-- @return a table; or nil where PyTorch is not installed
function torch.run(script)
  local got = process.run({ "/usr/bin/python3", "-c", (FRAME:gsub("%%s\nprint", function()
    return script .. "\nprint"
  end)) }, { timeout = 120 })
  if got.status == 77 or got.status == 127 then return nil end
  assert(got.status == 0, got.err)
  return assert(loadstring(got.out))()
end

return torch
