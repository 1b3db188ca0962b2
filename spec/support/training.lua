--- A small training with all that a checkpoint holds: what tools/fault interrupts, and specs run.
-- Dropout, a schedule, clipping, an average of weights, tests, a loader with worker threads.
local ml = require "mlua"
local nn, optim, param = ml.nn, ml.optim, ml.param

local Net = nn.Module.class "Net"

function Net.new(o)
  local self = Net.create()
  self:child("tables", require "mlua.nn.tables".new { rows = o.tables,
    dim = 4, seed = 1, stream = 0 })
  self:child("drop", nn.Dropout.new { p = 0.1, seed = 3, stream = 9 })
  self:child("top", nn.MLP.new { sizes = { o.dense + 4 * #o.tables, 16, 1 }, seed = 2 })
  return self
end

function Net:forward(b)
  local rows = self.tables(b.ids)
  local x = ml.cat({ b.dense, rows:reshape(b.rows, -1) }, 2)
  return ml.sigmoid(self.top(self.drop(x)))
end

local Train = ml.task("Train", {
  params = {
    rows = param.int { 6000, min = 1 }, epochs = param.int { 3, min = 0 },
    lr = param.number { 0.05, min = 0 }, batch = param.int { 64, min = 1 },
    max_steps = param.int { 0, min = 0 }, every = param.int { 10, min = 1 },
    workers = param.int { 0, min = 0, significant = false },
    init = param.weights { doc = "weights to begin with" },
  },
  outputs = { model = "state", result = "json" },
  run = function(self)
    local set = assert(ml.data.clicks.open("synthetic", { rows = self.rows, seed = 3,
      cache = false, tables = { 50, 20, 10 }, n_dense = 3, n_cat = 3 }))
    local model = Net.new { dense = 3, tables = set:tables() }
    if self.init then ml.engine.init(model, self.init) end
    local optimizer = optim.adam(model, { lr = self.lr })
    local function loader(part, shuffle)
      return assert(part:loader { batch = self.batch, shuffle = shuffle, seed = 5,
        workers = self.workers })
    end
    local engine = ml.engine {
      model = model, optimizer = optimizer, quiet = true,
      schedule = optim.schedule.cosine(optimizer, { steps = 400 }), clip_norm = 1,
      ema = optim.ema(model, { decay = 0.99 }),
      train = loader(set.train, true), test = loader(set.test, false),
      loss = function(b)
        local noise = ml.randn(b.rows, 1) -- of the seed's own draws
        return ml.bce(model(b), b.label) + (noise * 1e-3):mean()
      end,
      predict = function(b) return model(b), b.label end,
      metrics = { ml.metric.binary() }, epochs = self.epochs, max_steps = self.max_steps,
      test_every = 25, report_every = 5,
      checkpoint = { steps = self.every, keep = 2, best = "auc" },
    }
    local r = engine:fit()
    return { model = model, result = { loss = r.loss, steps = r.steps, auc = r.test and r.test.auc,
      best = r.best, best_step = r.best_step } }
  end,
})

return ml.flow(Train, { doc = "A small training." })
