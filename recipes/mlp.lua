--- A multilayer perceptron on the rows of any CSV file: classification or regression.
--
--     mlua recipes/mlp.lua                               two spirals, made
--     mlua recipes/mlp.lua --data wine.csv --target quality
--     mlua recipes/mlp.lua --help                        every option
--
-- The first line of the file has the names of its columns; one of them is the target. Columns of
-- numbers are brought to mean 0 and deviation 1 over the training rows; other columns become one
-- column for each of their words. Words as the target, or whole numbers of few values, are classes.
--
-- A flow of three tasks: Rows, the file as tensors; Train; Evaluate, the test.
local fail = require "mlua.fail"
local flow = require "mlua.flow"
local param = require "mlua.param"
local task = require "mlua.task"

local MOST_CLASSES = 20 -- values of a target of whole numbers that are taken as classes
local MOST_WORDS = 1000 -- of a column

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

-- Where each column is a list; numbers where all are.
local function columns_of(rows)
  local columns = {}
  for c, name in ipairs(rows.columns) do
    local column = { name = name, numbers = true }
    for i, row in ipairs(rows) do
      column[i] = row[c]
      column.numbers = column.numbers and type(row[c]) == "number" and row[c] - row[c] == 0
    end
    columns[c] = column
  end
  return columns
end

-- The words of a column, sorted, and the place of each.
local function words_of(column)
  local at, words = {}, {}
  for i = 1, #column do at[tostring(column[i])] = true end
  for word in pairs(at) do words[#words + 1] = word end
  table.sort(words, function(a, b)
    local x, y = tonumber(a), tonumber(b)
    if x and y then return x < y end
    return a < b
  end)
  for i, word in ipairs(words) do at[word] = i end
  return words, at
end

local function is_classes(column)
  if not column.numbers then return true end
  local seen, n = {}, 0
  for i = 1, #column do
    if column[i] % 1 ~= 0 then return false end
    if not seen[column[i]] then
      seen[column[i]], n = true, n + 1
      if n > MOST_CLASSES then return false end
    end
  end
  return true
end

-- Mean and deviation of a column over some rows.
local function moments(column, ids)
  local sum, squares = 0, 0
  for _, i in ipairs(ids) do sum = sum + column[i] end
  local mean = sum / #ids
  for _, i in ipairs(ids) do squares = squares + (column[i] - mean) ^ 2 end
  return mean, math.sqrt(squares / #ids)
end

-- Adds a column's values, one list for each column of the input.
local function add_inputs(column, train, into, names)
  if column.numbers then
    local mean, deviation = moments(column, train)
    local values = {}
    for i = 1, #column do
      values[i] = deviation > 0 and (column[i] - mean) / deviation or 0
    end
    into[#into + 1], names[#names + 1] = values, column.name
    return
  end
  local words = words_of(column)
  if #words > MOST_WORDS then
    fail.run("column '%s': %d different words; at most %d are taken", column.name, #words,
      MOST_WORDS)
  end
  for _, word in ipairs(words) do
    local values = {}
    for i = 1, #column do values[i] = tostring(column[i]) == word and 1 or 0 end
    into[#into + 1], names[#names + 1] = values, column.name .. "=" .. word
  end
end

local Rows = task("Rows", {
  doc = "the file's rows as tensors",
  params = {
    param.group "Data" {
      data = param.file { "spirals", literals = { "spirals" },
        doc = "a CSV file whose first line names its columns; 'spirals': made" },
      target = param.string { "", doc = "the column that is predicted; unless set, the last" },
      kind = param.choice { "auto", "classification", "regression",
        doc = "auto: words, or whole numbers of few values, are classes" },
      test = param.number { 0.2, above = 0, below = 1, doc = "the share of rows that test" },
    },
    seed = param.int { 1, min = 0, doc = "of the split, of the weights and of the order" },
  },
  outputs = { tensors = "tensors", about = "json" },
  run = function(self)
    local ml = require "mlua"
    local rows = self.data == "spirals" and spirals(1000, self.seed)
      or fail.assert(ml.format.get("csv").load(self.data, { header = true }))
    if #rows < 2 then fail.run("%s: %d rows; at least 2 are needed", self.data, #rows) end
    local columns, wanted = columns_of(rows), self.target
    local target
    for c, column in ipairs(columns) do
      if column.name == wanted or wanted == "" and c == #columns then target = column end
    end
    if not target then
      fail.run("%s: no column '%s'%s", self.data, wanted,
        require "mlua.text".did_you_mean(wanted, rows.columns))
    end
    local classes = self.kind == "classification" or self.kind == "auto" and is_classes(target)
    if not classes and not target.numbers then
      fail.run("column '%s': regression needs numbers", target.name)
    end
    local order = ml.permutation(#rows, { seed = self.seed, stream = 2 }):totable()
    local n_test = math.min(#rows - 1, math.max(1, math.floor(#rows * self.test + 0.5)))
    local train, test = {}, {}
    for i, id in ipairs(order) do table.insert(i <= n_test and test or train, id + 1) end
    local inputs, names = {}, {}
    for _, column in ipairs(columns) do
      if column ~= target then add_inputs(column, train, inputs, names) end
    end
    if not inputs[1] then fail.run("%s: no column but the target", self.data) end
    local labels, words, scale = {}, nil, nil
    if classes then
      local all, at = words_of(target)
      words = all
      for i = 1, #target do labels[i] = at[tostring(target[i])] - 1 end
    else
      local mean, deviation = moments(target, train)
      for i = 1, #target do labels[i] = (target[i] - mean) / (deviation > 0 and deviation or 1) end
      scale = { mean = mean, deviation = deviation > 0 and deviation or 1 }
    end
    local x = ml.tensor(inputs, { dtype = "f32" }):swapaxes(1, 2):contiguous()
    local y = ml.tensor(labels, { dtype = classes and "i64" or "f32" })
    local function part(ids)
      for i = 1, #ids do ids[i] = ids[i] - 1 end
      local index = ml.tensor(ids, { dtype = "i64" })
      return ml.index_select(x, index, 1), ml.index_select(y, index, 1)
    end
    local tensors = {}
    tensors.train_x, tensors.train_y = part(train)
    tensors.test_x, tensors.test_y = part(test)
    return {
      tensors = tensors,
      about = { inputs = names, target = target.name, classes = words, scale = scale },
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
      init = param.weights { doc = "begin with these weights" },
    },
    param.group "Training" {
      epochs = param.int { 40, min = 0, doc = "passes over the training rows" },
      batch = param.int { 32, min = 1, max = 2 ^ 20, doc = "rows in a step" },
      optimizer = param.optimizer { { "adam", lr = 0.01 } },
      schedule = param.schedule { doc = "of the learning rate, by updates" },
      clip_norm = param.number { 0, min = 0, doc = "gradients' norm at most; 0: as it is" },
      patience = param.int { 0, min = 0,
        doc = "end after so many tests without a better one; 0: never" },
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
    if self.init then ml.engine.init(model, self.init) end
    local optimizer = self.optimizer(model)
    local plateau = self.schedule and self.schedule.name == "plateau"
    local figure, way = "mse", "min" -- of tests
    if rows.about.classes then figure, way = "accuracy", "max" end
    local engine = ml.engine {
      model = model, optimizer = optimizer,
      schedule = self.schedule and self.schedule(optimizer) or nil,
      schedule_every = plateau and "test" or nil, schedule_metric = plateau and figure or nil,
      train = loader(rows.tensors, "train", { batch = self.batch, shuffle = true,
        seed = self.seed }),
      test = loader(rows.tensors, "test", { batch = 1024 }),
      loss = function(b) return loss_of(output(b), b.y) end,
      predict = function(b) return output(b), b.y end,
      metrics = { metric }, epochs = self.epochs, nan = self.nan,
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

local Evaluate = task("Evaluate", {
  doc = "the test",
  requires = { rows = Rows, train = Train },
  inherits = { Train },
  outputs = "json",
  run = function(self, input)
    local ml = require "mlua"
    local about = input.rows.about
    local model, output, _, metric = build(about, self.widths, self.dropout, self.seed)
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
    }
  end,
  report = function(found)
    local function whole(n) return ("%.0f"):format(n) end
    local rows = { { "target", found.target }, { "test rows", whole(found.rows) } }
    if found.accuracy then rows[3] = { "accuracy", found.accuracy } end
    if found.rmse then rows[3] = { "root mean squared error", found.rmse } end
    rows[4] = { "training loss", found.training_loss }
    rows[5] = { "steps", whole(found.steps) }
    return require "mlua.ui.table".render { rows = rows }
  end,
})

return flow(Evaluate, {
  name = "mlua recipes/mlp.lua",
  doc = "Trains a multilayer perceptron on the rows of a CSV file, and tests it.",
})
