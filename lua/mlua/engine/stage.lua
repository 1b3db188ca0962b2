--- Where a training is on its way, told to whoever watches from outside.
--
-- With $MLUA_TRAIN_STAGE, a path, the first byte of that file is what training is at: s (steps),
-- t (a test) or c (the copy for a checkpoint); the second what the background is at: w (writing),
-- n (syncing and renaming), m (the record) or - (nothing). tools/fault kills at such moments and
-- counts them. Without it nothing of this is loaded.
-- @module mlua.engine.stage
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"

local M = {}

--- What an engine calls with the letter of each stage.
-- @tparam string path
-- @treturn function
function M.teller(path)
  local set, fd = files.bytes(path)
  if not set then fail.run("MLUA_TRAIN_STAGE: %s", fd) end
  core.C.ml_snapshot_tell(fd, 1)
  set(1, "-")
  return function(letter) set(0, letter) end
end

return M
