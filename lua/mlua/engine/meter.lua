--- Meters: means of what is measured step by step. Each has `state` and `load`, for checkpoints.
-- @module mlua.engine.meter
local M = {}

local Mean, Smooth = {}, {}
Mean.__index, Smooth.__index = Mean, Smooth

--- A mean by weights.
-- @treturn Mean
function M.mean() return setmetatable({ sum = 0, weight = 0 }, Mean) end

--- Add a number.
-- @tparam number x
-- @tparam[opt=1] number weight
function Mean:add(x, weight)
  weight = weight or 1
  self.sum, self.weight = self.sum + x * weight, self.weight + weight
end

--- The mean; NaN of nothing.
-- @treturn number
function Mean:value() return self.sum / self.weight end

--- Begin again.
function Mean:clear() self.sum, self.weight = 0, 0 end

--- For checkpoints.
-- @treturn table
function Mean:state() return { sum = self.sum, weight = self.weight } end

--- Go on from a state.
-- @tparam table s
function Mean:load(s) self.sum, self.weight = s.sum, s.weight end

--- An exponential mean, without a bias to its first value.
-- @tparam number decay  of the past with each value, 0 to 1
-- @treturn Smooth
function M.smooth(decay) return setmetatable({ decay = decay, sum = 0, weight = 0 }, Smooth) end

--- Add a number.
-- @tparam number x
function Smooth:add(x)
  self.sum = self.decay * self.sum + (1 - self.decay) * x
  self.weight = self.decay * self.weight + (1 - self.decay)
end

Smooth.value, Smooth.clear = Mean.value, Mean.clear
Smooth.state, Smooth.load = Mean.state, Mean.load

return M
