--- What `--profile` does: the tables to standard error, the trace into the run's folder.
--
-- A training is profiled by itself, from fit's beginning to its end. Where there is none, all tasks
-- that ran in this process are.
-- @module mlua.flow.profiled
local profile = require "mlua.profile"

local M = {}

local ROWS = 20

local told = false -- whether a training was

local function none()
  io.stderr:write "mlua: no task ran in this process; in others, only trainings are profiled\n"
end

local function report(path)
  local p = profile.stop()
  if #p.totals == 0 then return none() end
  io.stderr:write("\n", p:top(ROWS), "\n\n")
  local ok, why = p:trace(path)
  io.stderr:write("mlua: ", ok and "trace: " .. path or why,
    p.left_out > 0 and (", without its last %d events"):format(p.left_out) or "", "\n")
end

--- Begin, with the first task.
function M.start()
  told = false
  profile.start()
end

--- Begin anew, with a training.
-- @tparam ?string dir  its run's folder
-- @treturn function    to be called when it has ended
function M.training(dir)
  if profile.is_on() then profile.stop() end
  profile.start()
  return function()
    told = true
    report((dir or ".") .. "/profile.json")
  end
end

--- End, with the last task.
function M.finish()
  if profile.is_on() then
    if told then profile.stop() else report "profile.json" end
  elseif not told then
    none()
  end
end

return M
