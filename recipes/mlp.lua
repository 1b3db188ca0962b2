--- A multilayer perceptron on the rows of CSV files: classification or regression.
--
--     mlua recipes/mlp.lua                               two spirals, made
--     mlua recipes/mlp.lua --data wine.csv --target quality
--     mlua recipes/mlp.lua --data a.csv,b.csv --key id   two files, joined
--     mlua recipes/mlp.lua --folds 5                     five trainings: mean and deviation
--     mlua recipes/mlp.lua --help                        every option
--
-- The first line of a file has the names of its columns; one of them is the target. Columns of
-- numbers are brought to mean 0 and deviation 1 over the training rows; other columns become one
-- column for each of their words. Words as the target, or whole numbers of few values, are classes.
-- The key that joins files and the column of groups are no inputs.
--
-- A flow of three tasks: Rows, the files as tensors; Train; Evaluate, the test. With folds there
-- is an Evaluate for each, with a training of its own, and one of them all.
local fail = require "mlua.fail"
local flow = require "mlua.flow"
local param = require "mlua.param"
local task = require "mlua.task"

-- -- data --------------------------------------------------------------------------------------

-- Two spirals around each other, with some noise: columns x, y and the spiral's name.
local function spirals(n, seed)
  local ml = require "mlua"
  local at = ml.rand(n, { seed = seed, stream = 0 }):totable()
  local noise = ml.randn(n, 2, { seed = seed, stream = 1 }):totable()
  local rows = { columns = { "x", "y", "spiral" } }
  for i = 1, n do
    local name = i % 2 == 0 and "left" or "right"
    local angle = 0.5 + 3 * math.pi * math.sqrt(at[i])
    local turn = angle + (i % 2) * math.pi
    rows[i] = { angle * math.cos(turn) + 0.2 * noise[i][1],
                angle * math.sin(turn) + 0.2 * noise[i][2], name }
  end
  return rows
end

-- The rows, made or read.
local function read(data, key, seed)
  local literal = data[1] == "spirals" and not data[2]
  local load = require "mlua".data.rows.load
  return literal and spirals(1000, seed) or fail.assert(load(data, { key = key }))
end

local Rows = task("Rows", {
  doc = "the files' rows as tensors",
  params = {
    param.group "Data" {
      data = param.files { { "spirals" }, literals = { "spirals" }, length = { 1 },
        doc = "CSV files, one after another, whose first lines name their columns; 'spirals': "
          .. "made" },
      key = param.string { doc = "join the files by this column" },
      target = param.string { "", doc = "the column that is predicted; unless set, the last" },
      kind = param.choice { "auto", "classification", "regression",
        doc = "auto: words, or whole numbers of few values, are classes" },
      missing = param.choice { "refuse", "mean",
        doc = "single values that are no numbers in a column of numbers: an error, or the mean of "
          .. "the training rows" },
      words = param.strings { {}, doc = "columns taken as words, though they have numbers" },
      group = param.string { doc = "rows that are alike in this column train or test together" },
      test = param.number { 0.2, above = 0, below = 1, doc = "the share of rows that test" },
      folds = param.int { 0, min = 0, doc = "parts that test in turn; 0: a share of the rows" },
      fold = param.int { 0, min = 0, doc = "the one that tests; 0: each, in its own training" },
    },
    seed = param.int { 1, min = 0, doc = "of the split, of the weights and of the order" },
  },
  outputs = { tensors = "tensors", columns = "tensors", about = "json" },
  run = function(self)
    local set = require "mlua".data.labelled.of(read(self.data, self.key, self.seed), {
      where = table.concat(self.data, ", "), target = self.target, kind = self.kind,
      key = self.key, group = self.group, test = self.test, folds = self.folds, fold = self.fold,
      seed = self.seed, missing = self.missing, words = self.words,
    })
    local tensors = {}
    for _, part in ipairs { "train", "test" } do
      for field, t in pairs(set[part]) do tensors[part .. "_" .. field] = t end
    end
    return {
      tensors = tensors, columns = set.columns,
      about = { inputs = set.names, target = set.target, classes = set.classes, scale = set.scale,
                dropped = set.dropped, words = set.column_words },
    }
  end,
})

-- -- the model ---------------------------------------------------------------------------------

-- The model, the loss of a batch and the metric of a test for what the data are.
local function build(about, widths, dropout, seed)
  local ml = require "mlua"
  local nn, sizes = ml.nn, { #about.inputs }
  local model = nn.Sequential.new {}
  for _, width in ipairs(widths) do sizes[#sizes + 1] = width end
  sizes[#sizes + 1] = about.classes and #about.classes or 1
  for i = 1, #sizes - 1 do
    local hidden = i < #sizes - 1
    model:append(nn.Linear.new { inputs = sizes[i], outputs = sizes[i + 1], seed = seed,
      stream = 10 + i, activation = hidden and "relu" or "none" })
    if hidden and dropout > 0 then
      model:append(nn.Dropout.new { p = dropout, seed = seed, stream = 100 + i })
    end
  end
  local function output(b)
    local y = model(b.x)
    return about.classes and y or y:reshape(-1)
  end
  local metric = ml.registry.get("metrics"):find(about.classes and "accuracy" or "mse")
  return model, output, about.classes and ml.cross_entropy or ml.mse, metric.build { column = "" }
end

-- The rows of a part, as x and y.
local function loader(tensors, part, options)
  local set = { x = tensors[part .. "_x"], y = tensors[part .. "_y"] }
  return require "mlua".data.samples.loader(set, options)
end

local Train = task("Train", {
  doc = "training",
  requires = Rows,
  params = {
    param.group "Model" {
      widths = param.ints { { 64, 64 }, min = 1, max = 2 ^ 16, doc = "of the hidden layers" },
      dropout = param.number { 0, min = 0, below = 1, doc = "share of hidden values left out" },
    },
    param.group "Weights" (require "mlua.engine.init".params()),
    param.group "Training" {
      epochs = param.int { 40, min = 0, doc = "passes over the training rows" },
      batch = param.int { 32, min = 1, max = 2 ^ 20, doc = "rows in a step" },
      sampler = param.sampler { doc = "the order of rows, by columns of the data or by 'target'; "
        .. "unless set, shuffled" },
      optimizer = param.optimizer { { "adam", lr = 0.01 } },
      schedule = param.schedule { doc = "of the learning rate, by updates" },
      clip_norm = param.number { 0, min = 0, doc = "gradients' norm at most; 0: as it is" },
      patience = param.int { 0, min = 0,
        doc = "end after so many tests without a better one; 0: never" },
      precision = param.choice { "f32", "bf16", doc = "bf16: matrix products of 16-bit floats" },
      nan = param.choice { "stop", "skip", doc = "what a loss that is no number does" },
    },
    param.group "Running" {
      checkpoint_minutes = param.number { 5, above = 0, significant = false, unit = "minutes",
        doc = "between checkpoints, from which an interrupted training goes on" },
    },
  },
  outputs = { model = "state", training = "json" },
  run = function(self, rows)
    local ml = require "mlua"
    local model, output, loss_of, metric = build(rows.about, self.widths, self.dropout, self.seed)
    ml.engine.begin(model, { init = self.init, partial = self.init_partial,
      rename = self.init_rename, freeze = self.freeze })
    local optimizer = self.optimizer(model)
    local plateau = self.schedule and self.schedule.name == "plateau"
    local figure, way = "mse", "min" -- of tests
    if rows.about.classes then figure, way = "accuracy", "max" end
    local engine = ml.engine {
      model = model, optimizer = optimizer,
      schedule = self.schedule and self.schedule(optimizer) or nil,
      schedule_every = plateau and "test" or nil, schedule_metric = plateau and figure or nil,
      train = loader(rows.tensors, "train", { batch = self.batch, shuffle = true,
        seed = self.seed, sampler = self.sampler,
        columns = ml.data.columns.readable(rows.columns, rows.about.words) }),
      test = loader(rows.tensors, "test", { batch = 1024 }),
      loss = function(b) return loss_of(output(b), b.y) end,
      predict = function(b) return output(b), b.y end,
      metrics = { metric }, epochs = self.epochs, nan = self.nan, precision = self.precision,
      clip_norm = self.clip_norm > 0 and self.clip_norm or nil,
      checkpoint = { minutes = self.checkpoint_minutes },
      stop = self.patience > 0 and { metric = figure, patience = self.patience, mode = way } or nil,
    }
    local r = engine:fit()
    self:note("seconds", r.seconds)
    return { model = model, training = { loss = r.loss, steps = r.steps, stopped = r.stopped } }
  end,
})

-- -- the test ----------------------------------------------------------------------------------

-- A model's figures on the rows that it has not seen.
local function tested(input, ...)
  local ml = require "mlua"
  local about = input.rows.about
  local model, output, _, metric = build(about, ...)
  fail.assert(model:load_state(input.train.model))
  model:eval()
  ml.no_grad(function()
    for b in loader(input.rows.tensors, "test", { batch = 1024 }):epoch(0) do
      metric:add(output(b), b.y)
    end
  end)
  local r, training = metric:result(), input.train.training
  return {
    target = about.target, rows = r.count, training_loss = training.loss, steps = training.steps,
    accuracy = r.accuracy, rmse = r.mse and math.sqrt(r.mse) * about.scale.deviation or nil,
    dropped = about.dropped, stopped = training.stopped,
  }
end

-- The figures of all folds: rows and steps in all, of the others the mean, and of what was tested
-- the sample deviation and each value, too.
local function summary(list)
  local all = { folds = #list, target = list[1].target, dropped = list[1].dropped, rows = 0,
                steps = 0 }
  local early = 0
  for _, found in ipairs(list) do
    all.rows, all.steps = all.rows + found.rows, all.steps + found.steps
    if found.stopped then early = early + 1 end
  end
  if early > 0 then all.stopped = ("%d of %d trainings, early"):format(early, #list) end
  for _, name in ipairs { "accuracy", "rmse", "training_loss" } do
    local values, sum, squares = {}, 0, 0
    for f, found in ipairs(list) do values[f], sum = found[name], sum + (found[name] or 0) end
    local mean = sum / #list
    for _, value in ipairs(values) do squares = squares + (value - mean) ^ 2 end
    if values[1] then all[name] = mean end
    if values[1] and name ~= "training_loss" then
      all.deviation, all.each = math.sqrt(squares / (#list - 1)), values
    end
  end
  return all
end

local Evaluate -- requires itself, fold by fold
Evaluate = task("Evaluate", {
  doc = "the test",
  inherits = { Train },
  requires = function(self)
    if self.folds == 0 or self.fold > 0 then return { rows = Rows, train = Train } end
    local list = {}
    for fold = 1, self.folds do list[fold] = Evaluate { fold = fold } end
    return list
  end,
  outputs = "json",
  run = function(self, input)
    if self.folds > 0 and self.fold == 0 then return summary(input) end
    return tested(input, self.widths, self.dropout, self.seed)
  end,
  report = function(found, self)
    local rows = {}
    local function row(name, value, form)
      if value then rows[#rows + 1] = { name, form and form:format(value) or value } end
    end
    row("target", found.target)
    for f, n in ipairs(found.dropped or {}) do
      row("left out of " .. self.data[f], n > 0 and n, "%.0f")
    end
    row("folds", found.folds, "%.0f")
    row("test rows", found.rows, "%.0f")
    row("accuracy", found.accuracy)
    row("root mean squared error", found.rmse)
    row("deviation over folds", found.deviation)
    row("training loss", found.training_loss)
    row("steps", found.steps, "%.0f")
    row("stopped", found.stopped)
    return require "mlua.ui.table".render { rows = rows }
  end,
})

return flow(Evaluate, {
  name = "mlua recipes/mlp.lua",
  doc = "Trains a multilayer perceptron on the rows of CSV files, and tests it.",
  check = function(o)
    if o.folds == 1 then return "--folds: expected at least 2, or 0 for none" end
    if o.fold > o.folds then
      return ("--fold %d: there %s"):format(o.fold, o.folds == 0 and "are no folds (--folds)"
        or "are " .. o.folds)
    end
    if o.run and o.folds > 0 and o.fold == 0 then
      return ("--run: one folder, for one training; --folds %d has as many (--fold names one)")
        :format(o.folds)
    end
  end,
})
