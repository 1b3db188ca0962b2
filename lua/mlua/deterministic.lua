--- Refusing what would come out otherwise the next time, or after an interruption.
--
-- On the CPU every operation gives the same bits for any number of threads (docs/design.md), and
-- every draw of mlua's is named by (seed, stream, counter). What is left is LuaJIT's own generator:
-- its state is in no checkpoint, and what drew before a kill draws anew after it. Backends whose
-- operations may differ from run to run refuse them here, too.
--
--     mlua recipes/mlp.lua --deterministic
-- @module mlua.deterministic
local check = require "mlua.check"
local core = require "mlua.ffi"

local M = {}

local random, randomseed = math.random, math.randomseed

local function refuse(name)
  return function()
    core.misuse(("%s: not with --deterministic: its state is in no checkpoint; "
      .. "ml.rand draws by seed and stream"):format(name))
  end
end

--- Whether it is refused.
M.on = false

--- Refuse it from now on, or no longer.
-- @tparam[opt=true] boolean on
-- @treturn boolean  what it was before
function M.set(on)
  check.type(on, 1, "deterministic", "on", "boolean|nil")
  local before = M.on
  M.on = on ~= false
  math.random = M.on and refuse "math.random" or random -- luacheck: ignore
  math.randomseed = M.on and refuse "math.randomseed" or randomseed -- luacheck: ignore
  return before
end

return setmetatable(M, { __call = function(_, on) return M.set(on) end })
