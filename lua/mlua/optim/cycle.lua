--- The rates and momenta of one cycle.
-- @module mlua.optim.cycle
local cycle = {}

local function cosine(from, to, part)
  return to + (from - to) / 2 * (math.cos(math.pi * part) + 1)
end

local function line(from, to, part) return (to - from) * part + from end

--- @tparam table o     as `schedule.one_cycle` takes them
-- @tparam table max   each group's highest rate
-- @treturn function   step, base rate (not used), group → rate, momentum or nil
function cycle.new(o, max)
  local mix = o.anneal == "cos" and cosine or line
  local top = o.rise * o.steps - 1
  -- phases by where they end: the rates and momenta that they go between, by name
  local phases = { { top, "low", "high", "most", "least" },
                   { o.steps - 1, "high", "final", "least", "most" } }
  if o.three_phase then
    phases[2] = { 2 * o.rise * o.steps - 2, "high", "low", "least", "most" }
    phases[3] = { o.steps - 1, "low", "final", "most", "most" }
  end
  return function(t, _, g)
    local at = { high = max[g], low = max[g] / o.div, final = max[g] / o.div / o.final_div,
                 most = o.max_momentum, least = o.base_momentum }
    local start = 0
    t = math.min(t, o.steps - 1) -- the step after the last is asked for as well, and not used
    for i, p in ipairs(phases) do
      if t <= p[1] or i == #phases then
        local part = p[1] == start and 1 or (t - start) / (p[1] - start)
        return mix(at[p[2]], at[p[3]], part), o.cycle_momentum and mix(at[p[4]], at[p[5]], part)
      end
      start = p[1]
    end
  end
end

return cycle
