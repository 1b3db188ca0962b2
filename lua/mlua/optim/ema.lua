--- Exponential moving averages of weights: `average += (1 - decay) (weight - average)` per update.
--
--     local ema = optim.ema(model, { decay = 0.999 })
--     … opt:step(loss) ema:update() …
--     ema:swap()  evaluate(model)  ema:swap()
-- @module mlua.optim.ema
-- @source Polyak & Juditsky 1992; with exponential weights, as PyTorch's swa_utils has it
local check = require "mlua.check"
local core = require "mlua.ffi"
local params = require "mlua.optim.params"
local states = require "mlua.tensor.state"

local C = core.C
local Ema = {}
Ema.__index = Ema

local ema = {}

--- Averages that begin as the weights are now.
-- @param model        a module, or a list of tensors
-- @tparam ?table o    decay (0.999); warmup (false): the decay of update n, from 0, is at most
--   (1 + n) / (10 + n), so that short trainings forget where they began
-- @treturn Ema
function ema.new(model, o)
  local list = params.each_once(model, "ema", "")
  o = check.options(o, { decay = "number", warmup = "boolean" }, 2, "ema")
  local decay = o.decay or 0.999
  check.arg(decay >= 0 and decay <= 1, 2, "ema", "decay: expected 0 to 1, got %s", decay)
  local self = setmetatable({ decay = decay, warmup = o.warmup or false, updates = 0,
                              swapped = false, list = {} }, Ema)
  for _, e in ipairs(list) do
    local t, dtype, at = e.tensor, e.tensor:dtype(), e.position
    check.arg(dtype == "f32" or dtype == "f64", 1, "ema", "[%d]: expected f32 or f64, got %s", at,
      dtype)
    check.arg(t:is_contiguous(), 1, "ema", "[%d]: expected a contiguous tensor", at)
    self.list[#self.list + 1] = { name = (e.name or tostring(at)) .. ".average", weight = t,
                                  tensor = core.keep(t:detach():clone()) }
  end
  check.arg(#self.list > 0, 1, "ema", "expected at least one parameter, got none")
  return self
end

local function in_place(self, name)
  if self.swapped then
    core.misuse(name .. ": the averages are in the model's place; swap() them back first")
  end
end

--- Take in the weights as they are now, after an optimiser's step.
function Ema:update()
  in_place(self, "update")
  local decay, n = self.decay, self.updates
  if self.warmup then decay = math.min(decay, (1 + n) / (10 + n)) end
  self.updates = n + 1
  local weight = 1 - decay
  for _, e in ipairs(self.list) do core.check(C.ml_average(e.tensor, e.weight, weight)) end
end

--- Exchange weights and averages; once more puts them back, bit for bit.
function Ema:swap()
  for _, e in ipairs(self.list) do core.check(C.ml_swap(e.tensor, e.weight)) end
  self.swapped = not self.swapped
end

--- The averages by name, "<parameter>.average", for checkpoints; the tensors are its own.
-- @treturn table
function Ema:state()
  in_place(self, "state")
  local state = {}
  for _, e in ipairs(self.list) do state[e.name] = e.tensor end
  return state
end

--- Copy averages in: all or nothing.
-- @tparam table state
-- @return true, or nil and one line that names the first misfit
function Ema:load_state(state)
  check.type(state, 1, "load_state", "state", "table")
  in_place(self, "load_state")
  local ok, message = states.load(self.list, state, "averages", "the model")
  return ok, message
end

return ema
