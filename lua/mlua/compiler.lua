--- When code is compiled: of what a start runs, most runs once or a few times, and compiling it
-- would take longer than running it does.
-- @module mlua.compiler
local M = {}

local depth = 0

--- From here to the matching `usual`, compile only what runs very often.
function M.rarely()
  depth = depth + 1
  if depth == 1 then require "jit.opt".start("hotloop=1000", "hotexit=200") end
end

--- Compile as LuaJIT does.
function M.usual()
  depth = depth - 1
  if depth == 0 then require "jit.opt".start("hotloop=56", "hotexit=10") end
end

return M
