--- A training over samples of one's own, asked for one by one: what specs kill, stop and spoil.
-- $SLOW, a path: sample 200 takes long while there is such a file, which says that it began;
-- $BROKEN, a path: it cannot be read while there is such a file.
local ml = require "mlua"
local nn, param = ml.nn, ml.param
local ROWS = 400

-- A point of a curve; those from `spoilt` on, and `bad` ones, are no numbers.
local function sample_of(self, i)
  local broken = i == 200 and os.getenv "BROKEN"
  if broken and io.open(broken) then error("200.png: not an image", 0) end
  local x = (i - 0.5) / ROWS
  local y = x * x + (i % 3) * 0.1
  if i == self.infinite then y = math.huge end
  if i - 1 >= self.spoilt or (i - 1) % self.bad == self.bad - 1 then y = 0 / 0 end
  local slow = i == 200 and os.getenv "SLOW"
  local file = slow and io.open(slow, "r+")
  if file then
    file:write "begun"
    file:close()
    require "mlua.ffi.process".sleep(20)
  end
  return { x = ml.tensor { x, i % 2 }, y = ml.tensor { y }, id = i - 1 }
end

local Train = ml.task("Train", {
  params = {
    epochs = param.int { 3 }, every = param.int { 10, min = 1 }, bad = param.int { 1000, min = 1 },
    spoilt = param.int { ROWS }, infinite = param.int { 0 }, order = param.string { "shuffle" },
    nan = param.string { "skip" }, clip = param.bool { true }, accumulate = param.int { 1 },
  },
  outputs = { model = "state", result = "json" },
  run = function(self)
    local model = nn.Sequential.new {
      nn.Linear.new { inputs = 2, outputs = 16, seed = 1, stream = 0 },
      nn.Dropout.new { p = 0.2, seed = 2, stream = 1 },
      nn.Linear.new { inputs = 16, outputs = 1, seed = 1, stream = 2 },
    }
    local side = {}
    for i = 1, ROWS do side[i] = i % 4 == 0 and "few" or "many" end
    local options = { batch = 8, seed = 4, columns = { side = side } }
    if self.order == "shuffle" then
      options.shuffle = true
    elseif self.order == "balanced" then
      options.sampler = param.sampler { { "balanced", by = "side" } }
        :check { "balanced", by = "side" }
    end
    local engine = ml.engine {
      model = model, optimizer = ml.optim.adam(model, { lr = 0.01 }), quiet = true, nan = self.nan,
      train = ml.data.samples.loader({ n = ROWS, get = function(i) return sample_of(self, i) end },
        options),
      loss = function(b)
        return ml.mse(model(b.x), b.y), { id = b.id:to "f64":mean() }
      end,
      epochs = self.epochs, report_every = 1, checkpoint = { steps = self.every },
      clip_norm = self.clip and 1 or nil, accumulate = self.accumulate,
      grace = tonumber(os.getenv "GRACE" or nil),
    }
    local r = engine:fit()
    return { model = model, result = { loss = r.loss, steps = r.steps, skipped = r.skipped } }
  end,
})

return ml.flow(Train, { doc = "A small training over samples of one's own." })
