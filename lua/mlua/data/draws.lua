--- All random numbers that say which samples come, and when: orders, samplers, splits and folds
-- draw here and nowhere else. (Loaders of clicks shuffle in C, by the same generator and names.)
--
--     local draws = require("mlua.data.draws").of(seed, epoch)
--     draws:order(5)                     -- 4 1 3 5 2
--
-- A draw is named by a seed, by what it is for (an epoch from 0, or a split) and by how many there
-- were for it before. So an epoch's samples are the same whatever was drawn earlier, by how many
-- workers, and in a training that goes on.
-- @module mlua.data.draws
local check = require "mlua.check"
local tensor = require "mlua.tensor"

local M = {}

local EPOCHS = 2 ^ 32 -- streams for one draw of each epoch; the next draws have the next so many

--- What splits are for, in place of an epoch. A part set aside has the draw that epoch 2 of the
-- same seed has: splits made before there were others keep their rows.
M.HOLDOUT = 2
M.FOLDS = EPOCHS - 1

local Draws = {}
Draws.__index = Draws

--- The draws of an epoch or a split.
-- @tparam number seed
-- @tparam number purpose  an epoch from 0; HOLDOUT, FOLDS
-- @treturn Draws
function M.of(seed, purpose)
  check.int(seed, 1, "of", "seed", 0, 2 ^ 53)
  check.int(purpose, 2, "of", "epoch", 0, EPOCHS - 1)
  return setmetatable({ seed = seed, stream = purpose }, Draws)
end

-- The name of the next draw.
local function next_name(self)
  local stream = self.stream
  self.stream = stream + EPOCHS
  return stream
end

-- Ids from 0, of a tensor, as positions from 1.
local function positions(ids)
  local list = ids:totable()
  for i = 1, #list do list[i] = list[i] + 1 end
  return list
end

--- The numbers from 1 to n in a random order.
-- @tparam number n
-- @treturn {number,...}
function Draws:order(n)
  local permutation = require "mlua.tensor.draw".functions.permutation
  return positions(permutation(n, { seed = self.seed, stream = next_name(self) }))
end

--- Positions drawn in proportion to weights.
-- @tparam Tensor weights  f32 or f64, one dimension
-- @tparam number count
-- @tparam boolean replacement  whether one may come again
-- @treturn {number,...}
function Draws:weighted(weights, count, replacement)
  return positions(weights:multinomial(count,
    { replacement = replacement, seed = self.seed, stream = next_name(self) }))
end

--- Uniform numbers in [0, 1).
-- @tparam number n
-- @treturn {number,...}
function Draws:numbers(n)
  return tensor.rand(n, { dtype = "f64", seed = self.seed, stream = next_name(self) }):totable()
end

--- Of each list as many items as asked: all of them in a random order before one comes again.
-- @tparam {table,...} lists
-- @tparam {number,...} counts  of a list without items: 0
-- @treturn {table,...}
function Draws:take(lists, counts)
  local total, at, taken = 0, 0, {}
  for _, count in ipairs(counts) do total = total + count end
  local numbers = self:numbers(total)
  for i, list in ipairs(lists) do
    local left, size, items = {}, #list, {}
    for k = 1, size do left[k] = list[k] end
    for k = 1, counts[i] do
      local place = (k - 1) % size + 1
      at = at + 1
      local other = place + math.floor(numbers[at] * (size - place + 1))
      left[place], left[other] = left[other], left[place]
      items[k] = left[place]
    end
    taken[i] = items
  end
  return taken
end

return M
