--- Where the results of a run are on their way, told to whoever watches from outside.
--
-- With $MLUA_FLOW_STAGE, a path, the first byte of that file is the stage that the process is in,
-- and one of the next 63 that of each child: r (running), w (writing), n (renaming), m (manifest).
-- tools/flow-kill kills at such moments and counts them. Without it nothing of this is loaded.
-- @module mlua.store.stage
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local process = require "mlua.ffi.process"

local stage = {}

local LETTERS = { running = "r", writing = "w", renaming = "n", manifest = "m" }
local CHILDREN = 63

--- What mlua.store calls with the name of each stage.
-- @tparam string path
-- @treturn function
function stage.teller(path)
  local set, why = files.bytes(path)
  if not set then fail.run("MLUA_FLOW_STAGE: %s", why) end
  local first = process.id()
  local function tell(name)
    local id = process.id()
    set(id == first and 0 or 1 + id % CHILDREN, LETTERS[name])
  end
  tell "running"
  return tell
end

return stage
