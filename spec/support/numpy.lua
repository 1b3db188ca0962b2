--- NumPy as a second opinion: MLUA_PEER_PYTHON or python3, where it has numpy.
local files = require "spec.support.files"
local process = require "spec.support.process"

local numpy = {}

--- Runs a program with numpy as np; what it printed, or nil and why not.
-- @tparam string program
-- @tparam ?table arguments
function numpy.run(program, arguments)
  local folder = files.folder()
  local path = files.write(folder .. "/program.py",
    "import sys\ntry:\n  import numpy as np\nexcept ImportError:\n  sys.exit(77)\n" .. program)
  local argv = { os.getenv "MLUA_PEER_PYTHON" or "python3", path }
  for _, word in ipairs(arguments or {}) do argv[#argv + 1] = word end
  local got = process.run(argv)
  files.remove(folder)
  if got.status == 77 or got.status == 127 then return nil, "no numpy (python3-numpy)" end
  assert(got.status == 0, got.err)
  return got.out
end

return numpy
