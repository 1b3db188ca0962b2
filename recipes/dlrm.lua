--- DLRM, the deep learning recommendation model, on click data.
--
--     mlua recipes/dlrm.lua --batch 2                    synthetic clicks with a planted signal
--     mlua recipes/dlrm.lua --data day.tsv --rows 1e6    a file in the Criteo format
--     mlua recipes/dlrm.lua --help                       every option
--
-- Naumov et al. 2019, arXiv:1906.00091. The options are those of the public program
-- (facebookresearch/dlrm) that shape the model or its training; its spellings work too.
--
-- A flow of four tasks, each of which runs only where something it stands on has changed:
--
--     Clicks     data, read or made                  a description of it, which names what it holds
--     Build      the model with its first weights    in memory alone
--     Train      its training                        the weights, and how it went
--     Evaluate   its test                            metrics, predictions with their labels
local fail = require "mlua.fail"
local flow = require "mlua.flow"
local param = require "mlua.param"
local registry = require "mlua.registry"
local task = require "mlua.task"

-- -- options -----------------------------------------------------------------------------------

-- The public program's widths count the input and the output: 13-512-256-64-16, 512-256-1.
local function widths(text)
  local all = {}
  for width in text:gmatch "[^-,]+" do
    local n = tonumber(width)
    if not n or n < 1 or n % 1 ~= 0 then
      return nil, ("expected widths as 512-256-1, got '%s'"):format(text)
    end
    all[#all + 1] = n
  end
  return all
end

local function public_bottom(text)
  local all, problem = widths(text)
  if not all then return nil, problem end
  if #all < 2 then return nil, ("expected widths as 13-64-16, got '%s'"):format(text) end
  return { unpack(all, 2, #all - 1) }, { dense = all[1], dim = all[#all] }
end

local function public_top(text)
  local all, problem = widths(text)
  if not all then return nil, problem end
  if all[#all] ~= 1 then return nil, ("expected 1 as the last width, got '%s'"):format(text) end
  return { unpack(all, 1, #all - 1) }
end

local function public_generation(text)
  if text == "random" then return "random" end
  if text == "dataset" then return nil, { dataset = true } end -- --raw-data-file names it
  return nil, ("expected random or dataset, got '%s' (traces are not provided)"):format(text)
end

local function public_randomize(text)
  if text == "total" or text == "none" then return text == "total" end
  return nil, ("expected total or none, got '%s'"):format(text)
end

-- -1 is the public program's word for "none" or "as for training".
local function none_below_one(text)
  local n = tonumber(text)
  if not n then return nil, ("expected an integer, got '%s'"):format(text) end
  return math.max(0, n)
end

local WIDEST, LARGEST = 2 ^ 16, 2 ^ 20 -- layer, batch

-- -- data --------------------------------------------------------------------------------------

-- The data that Clicks described: parts to train and to test on, mapped from the cache, or made
-- again where that is gone.
local function open(described, source, cache, threads)
  local o = described.options
  if source == "random" then
    local random = require "mlua.data.random"
    local function part(rows, seed)
      return rows > 0 and random.open { rows = rows, n_dense = o.n_dense, tables = o.tables,
        lookups = o.lookups, fixed = o.fixed, round_labels = o.round_labels, seed = seed }
    end
    return { train = part(described.rows.train, o.seed),
             test = part(described.rows.test, o.seed + 1) }
  end
  local set = fail.assert(require "mlua.data.clicks".open(source, {
    rows = o.rows, seed = o.seed, split = o.split, hash = o.hash, max_ind_range = o.max_ind_range,
    n_dense = o.n_dense, tables = o.tables, cache = cache, threads = threads > 0 and threads or nil,
  }))
  return { set = set, train = set.train, test = set.test:rows() > 0 and set.test }
end

-- The prepared rows stay in their cache file, which may have gigabytes and is mapped: a copy of it
-- in the store would cost as much again, for nothing. The output is what the rows are made by and
-- how many there are; whoever needs them opens them by it (above), and counts the contents of
-- --data, which it reads, too.
local Clicks = task("Clicks", {
  doc = "click data, read or made",
  params = {
    param.group "Data" {
      data = param.file { "synthetic", literals = { "synthetic", "random" },
        doc = "a file in the Criteo format; 'synthetic': made, with a planted signal; 'random': "
          .. "bags of ids and labels that mean nothing",
        alias = { "raw-data-file", ["data-generation"] = public_generation } },
      rows = param.int { 0, min = 0, max = 2 ^ 40, alias = "data-size",
        doc = "rows to read or make; 0: all of a file, 100,000 made ones" },
      dense = param.int { 13, min = 1, max = 1024, doc = "dense features, of made data" },
      tables = param.ints { length = { 1, 1024 }, min = 1, max = 2 ^ 31 - 1,
        doc = "rows of each embedding table, of made data", alias = "arch-embedding-size" },
      modulo = param.int { 0, min = 0, max = 2 ^ 31 - 1,
        doc = "categories modulo this, then ids by first appearance; 0: as they are",
        alias = { ["max-ind-range"] = none_below_one } },
      hash = param.int { 0, min = 0, max = 2 ^ 31 - 1,
        doc = "ids are the categories modulo this; 0: ids by first appearance" },
      split = param.choice { "order", "random",
        doc = "training, validation, test: 6/7, 1/14, 1/14 of the rows as they stand, or drawn" },
      lookups = param.int { 10, min = 1, max = 2 ^ 20, doc = "random: ids in a bag, at most",
        alias = "num-indices-per-lookup" },
      lookups_fixed = param.bool { doc = "random: exactly --lookups ids in a bag",
        alias = "num-indices-per-lookup-fixed" },
      round_targets = param.bool { doc = "random: labels of 0 and 1, not in between" },
      cache = param.path { doc = "folder of prepared data, from which a second start reads; unless "
        .. "set, $MLUA_CACHE or else .mlua/cache", significant = false },
      dataset = param.bool { hidden = true, doc = "--data must be a file", significant = false },
    },
    seed = param.int { 123, min = 0 },
    threads = param.int { 0, min = 0, max = 1024, significant = false },
  },
  outputs = "json",
  run = function(self)
    local source, seed = self.data, self.seed
    if source == "random" then
      local rows, tables = self.rows > 0 and self.rows or 100000, self.tables or { 4, 3, 2 }
      return {
        rows = { train = rows, test = self.round_targets and math.ceil(rows / 7) or 0 },
        dense = self.dense, tables = tables,
        options = { n_dense = self.dense, tables = tables, lookups = self.lookups,
          fixed = self.lookups_fixed, round_labels = self.round_targets, seed = seed },
      }
    end
    local made = source == "synthetic"
    local options = {
      rows = self.rows > 0 and self.rows or made and 100000 or nil, split = self.split,
      seed = (made or self.split == "random") and seed or nil,
      hash = self.hash > 0 and self.hash or nil,
      max_ind_range = self.modulo > 0 and self.modulo or nil,
      n_dense = made and self.dense or nil, tables = made and self.tables or nil,
    }
    local data = open({ options = options }, source, self.cache, self.threads)
    local note = data.set:note()
    if note then io.stderr:write("mlua: ", note, "\n") end
    if data.train:rows() == 0 then fail.run("--data %s: no rows to train on", source) end
    return {
      rows = { train = data.train:rows(), test = data.set.test:rows() },
      dense = data.set:dense(), tables = data.set:tables(), options = options,
    }
  end,
})

-- -- model -------------------------------------------------------------------------------------

-- What it gives lives in memory: the first weights are drawn, or read, faster than kept. Training
-- changes a model, so each who asks gets one of its own.
local Build = task("Build", {
  doc = "the model with its first weights",
  requires = Clicks,
  params = {
    param.group "Model" {
      dim = param.int { 16, min = 1, max = WIDEST, doc = "width of an embedding row",
        alias = "arch-sparse-feature-size" },
      bottom = param.ints { { 64 }, min = 1, max = WIDEST, doc = "hidden widths of the bottom MLP",
        alias = { ["arch-mlp-bot"] = public_bottom } },
      top = param.ints { { 64 }, min = 1, max = WIDEST, doc = "hidden widths of the top MLP",
        alias = { ["arch-mlp-top"] = public_top } },
      interaction = param.choice { "dot", "cat", doc = "how features meet",
        alias = "arch-interaction-op" },
      itself = param.bool { doc = "dot: each feature with itself too",
        alias = "arch-interaction-itself" },
      activation = param.choice { "relu", "sigmoid", doc = "of hidden layers",
        alias = "activation-function" },
      weighted_pooling = param.choice { "none", "fixed", "learned",
        doc = "a weight for every row where bags are summed, of 1 or learned from 1" },
      qr = param.bool { doc = "quotient and remainder tables for large tables", alias = "qr-flag" },
      qr_threshold = param.int { 200, min = 0, doc = "qr: tables with more rows than this" },
      qr_collisions = param.int { 4, min = 1, doc = "qr: rows of the remainder table" },
      qr_operation = param.choice { "mult", "add", "concat", doc = "qr: how the two rows meet" },
      md = param.bool { doc = "narrower rows for larger tables, projected to --dim",
        alias = "md-flag" },
      md_threshold = param.int { 200, min = 0, doc = "md: tables with more rows than this" },
      md_temperature = param.number { 0.3, min = 0, doc = "md: how much narrower; 0 not at all" },
      md_round_dims = param.bool { doc = "md: widths that are powers of 2" },
      loss_threshold = param.number { 0, min = 0, below = 0.5,
        doc = "keep predictions at least this far from 0 and 1" },
      load_model = param.file { doc = "start from these weights (safetensors)" },
      model = param.model { doc = "another model of the registry in place of the one that these "
        .. "options describe, as {type: ensemble, …}" },
    },
    seed = param.int { 123, min = 0 },
  },
  outputs = "memory",
  run = function(self, clicks)
    local DLRM = require "mlua.nn.dlrm"
    local options = {
      dense = clicks.dense, tables = clicks.tables, dim = self.dim, bottom = self.bottom,
      top = self.top, interaction = self.interaction, itself = self.itself,
      activation = self.activation, loss_threshold = self.loss_threshold,
      pooling = self.weighted_pooling, seed = self.seed,
      qr = self.qr and { threshold = self.qr_threshold, collisions = self.qr_collisions,
        operation = self.qr_operation } or nil,
      md = self.md and { threshold = self.md_threshold, temperature = self.md_temperature,
        round = self.md_round_dims } or nil,
    }
    local path = self.load_model
    local given = { dense = clicks.dense, tables = clicks.tables, seed = self.seed }
    local function new(weights)
      local model = self.model and self.model(given) or DLRM.new(options)
      local ok, why = true, nil
      if weights then ok, why = model:load_state(weights)
      elseif path then ok, why = model:load(path) end
      if not ok then fail.run("%s%s", weights and "" or "--load-model: ", why) end
      return model
    end
    local first = new() -- its mistakes are known before training
    return function(weights)
      local model = not weights and first or new(weights)
      if not weights then first = nil end
      return model
    end
  end,
})

-- -- training ----------------------------------------------------------------------------------

local WBCE = { doc = "binary cross-entropy, weighted by label: --loss-weights" }
registry.register("loss", "wbce", WBCE, function(_, weights)
  local ml, zero, one = require "mlua", unpack(weights)
  return function(p, y) return ml.bce(p, y, ml.affine(y, one - zero, zero)) end
end)

-- Of an ensemble, the mean of its parts.
local function prediction_of(model, b)
  local p = model(b.dense, b.ids, b.offsets)
  return (type(p) == "table" and p.mean or p):reshape(-1)
end

-- Predictions for all rows of a part, in order, beside their labels.
local function predict(model, part, batch, loaders)
  local ml = require "mlua"
  local found, at = { prediction = ml.empty(part:rows()), label = ml.empty(part:rows()) }, 0
  local loader = fail.assert(part:loader { batch = batch, workers = loaders })
  local function add(b)
    local first, last = at + 1, at + b.rows
    found.prediction:narrow(1, first, last):copy(prediction_of(model, b))
    found.label:narrow(1, first, last):copy(b.label:reshape(-1))
    at = last
  end
  ml.no_grad(function()
    for b in loader:epoch(0) do ml.scope(add, b) end
  end)
  loader:close()
  return found
end

local function metrics_of(prediction, label)
  local meter = require "mlua.metric".binary()
  meter:add(prediction, label)
  return meter:result()
end

-- Says how long each part of the start took, where that was asked for.
local function stopwatch(on)
  local clock = require "mlua".clock
  local before = clock()
  local function say(seconds, what)
    io.stderr:write(("%8.2f ms  %s\n"):format(seconds * 1e3, what))
  end
  if on then say(os.clock(), "of the processor's time before training") end
  return function(what)
    if on then say(clock() - before, what) end
    before = clock()
  end
end

local Train = task("Train", {
  doc = "training",
  requires = { clicks = Clicks, build = Build },
  params = {
    param.group "Weights" (require "mlua.engine.init".params()),
    param.group "Training" {
      batch = param.int { 128, min = 1, max = LARGEST, doc = "samples per step",
        alias = "mini-batch-size" },
      epochs = param.int { 1, min = 0, doc = "passes over the training part", alias = "nepochs" },
      steps = param.int { 0, min = 0, doc = "at most this many steps per epoch; 0: all",
        alias = "num-batches" },
      shuffle = param.bool { true, doc = "training rows in another order each epoch",
        alias = { ["data-randomize"] = public_randomize } },
      sub_sample = param.number { 0, min = 0, below = 1, alias = "data-sub-sample-rate",
        doc = "leave out this share of the training rows labelled 0" },
      loss = param.loss { "bce", alias = "loss-function",
        doc = "bce, wbce (the same weighted by label), mse or another of the registry" },
      loss_weights = param.numbers { { 1, 1 }, length = 2, min = 0,
        doc = "wbce: weights of labels 0 and 1" },
      optimizer = param.choice { "adagrad", "sgd", "rwsadagrad",
        doc = "rwsadagrad: one state for each row of a table" },
      lr = param.number { 0.02, min = 0, doc = "learning rate", alias = "learning-rate" },
      warmup_steps = param.int { 0, min = 0, doc = "steps in which the rate rises from 0",
        alias = "lr-num-warmup-steps" },
      decay_start = param.int { 0, min = 0, doc = "step from which the rate falls",
        alias = "lr-decay-start-step" },
      decay_steps = param.int { 0, min = 0, alias = "lr-num-decay-steps",
        doc = "steps in which it falls, quadratically; 0: never" },
      accumulate = param.int { 1, min = 1, doc = "batches whose gradients make one update",
        alias = "mlperf-grad-accum-iter" },
      precision = param.choice { "f32", "bf16", doc = "bf16: matrix products of 16-bit floats" },
      seed = param.int { 123, min = 0, doc = "of the weights, the order and made data",
        alias = "numpy-rand-seed" },
      test_freq = param.int { 0, min = -1,
        doc = "test every this many steps; 0 or -1: at the end only" },
      stop_auc = param.number { 0, min = 0, max = 1, alias = "mlperf-auc-threshold",
        doc = "end when the test AUC passes this; 0: never" },
      stop_accuracy = param.number { 0, min = 0, max = 1, alias = "mlperf-acc-threshold",
        doc = "end when the test accuracy passes this; 0: never" },
      max_steps = param.int { 0, min = 0, hidden = true,
        doc = "end the program after this many steps, without a result" },
    },
    param.group "Running" {
      test_batch = param.int { 0, min = 0, max = LARGEST,
        doc = "samples per step of a test; 0: at least 1024", significant = false,
        alias = { ["test-mini-batch-size"] = none_below_one } },
      print_freq = param.int { 0, min = 0, significant = false,
        doc = "a line of progress every this many steps; 0: by time" },
      device = param.device { "auto", doc = "where to compute" },
      threads = param.int { 0, min = 0, max = 1024, doc = "threads that compute; 0: one per core",
        significant = false },
      loaders = param.int { 1, min = 0, max = 256, doc = "threads that prepare batches",
        significant = false, alias = "num-workers" },
      checkpoint_minutes = param.number { 5, above = 0, significant = false, unit = "minutes",
        doc = "between checkpoints, from which an interrupted training goes on" },
      keep = param.int { 3, min = 1, significant = false, doc = "checkpoints that are kept" },
      timing = param.bool { hidden = true, doc = "print how long each part of the start took",
        significant = false },
    },
  },
  outputs = { model = "state", training = "json" },
  run = function(self, input)
    local ml = require "mlua"
    local mark = stopwatch(self.timing)
    if self.threads > 0 then ml.threads(self.threads) end
    local data = open(input.clicks, self.data, self.cache, self.threads)
    mark "data"
    local model = input.build()
    ml.engine.begin(model, { init = self.init, partial = self.init_partial,
      rename = self.init_rename, freeze = self.freeze })
    mark "model"
    local test_batch = self.test_batch > 0 and self.test_batch or math.max(1024, self.batch)
    local optimizer = ml.optim[self.optimizer](model, { lr = self.lr })
    local schedule = (self.warmup_steps > 0 or self.decay_steps > 0)
      and registry.get("schedule"):find("policy").build({ warmup = self.warmup_steps,
        decay_start = self.decay_start, decay_steps = self.decay_steps }, optimizer) or nil
    local loss_of = self.loss(self.loss_weights)
    local function loader(part, batch, more)
      local options = { batch = batch, workers = self.loaders }
      for name, value in pairs(more or {}) do options[name] = value end
      return fail.assert(part:loader(options))
    end
    local run -- the task's, unless there is to be no result
    if self.max_steps > 0 then run = false end
    local engine = ml.engine {
      run = run, model = model, optimizer = optimizer, schedule = schedule,
      train = loader(data.train, self.batch, { shuffle = self.shuffle and self.data ~= "random",
        seed = self.seed, sub_sample = self.sub_sample > 0 and self.sub_sample or nil }),
      loss = function(b) return loss_of(model(b.dense, b.ids, b.offsets), b.label) end,
      test = self.test_freq > 0 and data.test and loader(data.test, test_batch) or nil,
      predict = function(b) return prediction_of(model, b), b.label end,
      metrics = { require "mlua.metric".binary() },
      epochs = self.epochs, steps = self.steps, accumulate = self.accumulate,
      precision = self.precision,
      test_every = math.max(0, self.test_freq), show_every = self.print_freq,
      checkpoint = { minutes = self.checkpoint_minutes, keep = self.keep },
      stop = {
        { metric = "auc", above = self.stop_auc > 0 and self.stop_auc or nil },
        { metric = "accuracy", above = self.stop_accuracy > 0 and self.stop_accuracy or nil },
      },
      hooks = { step = function(e)
        if e.steps == 1 then mark "first step" end
      end },
      max_steps = self.max_steps,
    }
    local r = engine:fit()
    engine.train:close()
    if self.max_steps > 0 then os.exit(0) end
    local training = { steps = r.steps, samples = r.samples, loss = r.loss }
    local seconds = r.seconds
    self:note("seconds", seconds) -- no output: the same weights stay the same
    return { model = model, training = training }
  end,
})

-- -- the test ----------------------------------------------------------------------------------

local METRICS = {
  { "auc", "AUC" }, { "log_loss", "log loss" }, { "normalised_entropy", "normalised entropy" },
  { "accuracy", "accuracy" }, { "calibration", "calibration" },
}

-- How the training went on which a test stands; nil for --test-only.
local function training_of(evaluated)
  if evaluated.test_only then return nil end
  local trained = evaluated:clone(Train)
  local training = trained:output "training"
  training.seconds = trained:record().meta.seconds
  return training
end

local Evaluate = task("Evaluate", {
  doc = "the test",
  requires = function(self)
    return { clicks = Clicks, build = Build, train = not self.test_only and Train or nil }
  end,
  inherits = { Train },
  params = {
    param.group "Training" {
      test_only = param.bool { doc = "no training: the metrics of the weights as they are",
        alias = "inference-only" },
      save_model = param.path { significant = false, doc = "write the weights here (safetensors)" },
    },
  },
  outputs = { metrics = "json", predictions = "tensors" }, -- without a part to test on, empty
  run = function(self, input)
    if self.threads > 0 then require "mlua".threads(self.threads) end
    local model = input.build(not self.test_only and input.train.model or nil)
    self:note("parameters", model:size())
    local data = open(input.clicks, self.data, self.cache, self.threads)
    if not data.test then return { metrics = {}, predictions = {} } end
    local batch = self.test_batch > 0 and self.test_batch or math.max(1024, self.batch)
    local found = predict(model, data.test, batch, self.loaders)
    local metrics = metrics_of(found.prediction, found.label)
    if self.data == "synthetic" then
      found.planted = data.test:planted()
      metrics.planted = metrics_of(found.planted, found.label)
    end
    return { metrics = metrics, predictions = found }
  end,

  -- The table that is printed at the end.
  report = function(outputs, self)
    local render = require "mlua.ui.table".render
    local format, rows, parts = require "mlua.ui.format", {}, {}
    local found, training = outputs.metrics, training_of(self)
    if found.auc then
      local planted = found.planted
      for i, m in ipairs(METRICS) do rows[i] = { m[2], found[m[1]], planted and planted[m[1]] } end
      parts[1] = render {
        head = planted and { "", "test", "planted model" } or { "", "test" }, rows = rows,
      }
    end
    rows = { { "parameters", format.count(self:record().meta.parameters) } }
    if training then
      rows[2] = { "training loss", training.loss }
      rows[3] = { "steps", format.count(training.steps) }
      rows[4] = { "training time", format.duration(training.seconds) }
    end
    parts[#parts + 1] = render { rows = rows }
    return table.concat(parts, "\n\n")
  end,

  -- What --json prints.
  json = function(outputs, self)
    local options = self:params()
    options.dataset, options.max_steps, options.timing = nil, nil, nil -- not in --help
    return { options = options, parameters = self:record().meta.parameters,
             train = training_of(self), metrics = outputs.metrics.auc and outputs.metrics or nil }
  end,
})

-- -- the flow ----------------------------------------------------------------------------------

-- Options that do nothing unless another has this value.
local NEEDS = {
  { "itself", "interaction", "dot" }, { "loss_weights", "loss", "wbce" },
  { "qr_threshold", "qr", true }, { "qr_collisions", "qr", true }, { "qr_operation", "qr", true },
  { "md_threshold", "md", true }, { "md_temperature", "md", true }, { "md_round_dims", "md", true },
}

-- How an option was written that says something else than its default.
local function changed(o, name)
  local _, written = param.origin(o, name)
  local p = Build:parameters().by[name] or Train:parameters().by[name]
  return p.param:show(o[name]) ~= p.param:show(p.param.default) and written
end

local function without_effect(o)
  for _, need in ipairs(NEEDS) do
    local name, other, value = unpack(need)
    local written, found = changed(o, name), o[other]
    if type(found) == "table" then found = found.name end
    if written and found ~= value then
      return ("%s: takes effect with --%s only"):format(written,
        value == true and other or other .. " " .. value)
    end
  end
end

-- What --help cannot say: options that do not go together. nil, or one line.
local function contradiction(o)
  local function typed(name) -- by this name, not by a public one that stands for more
    local from, written = param.origin(o, name)
    return from == "command line" and written:find("^%-%-" .. name) and written
  end
  if o.device ~= "auto" and o.device ~= "cpu" then
    fail.run("--device %s: this mlua computes on the cpu only", o.device)
  end
  for _, entry in ipairs(o.model and Build:parameters().list or {}) do
    local own = entry.param.group == "Model" and not entry.name:find "model$"
    local written = own and changed(o, entry.name)
    if written then return written .. ": takes no effect with --model, which has its own" end
  end
  if o.qr and o.md then return "--qr and --md exclude each other" end
  if o.weighted_pooling ~= "none" and (o.qr or o.md) then
    return ("--weighted-pooling does not go with --%s"):format(o.qr and "qr" or "md")
  end
  if o.qr and o.qr_operation == "concat" and o.dim % 2 == 1 then
    return ("--dim %d: expected an even number with --qr-operation concat"):format(o.dim)
  end
  if o.hash > 0 and o.modulo > 0 then return "--hash and --modulo exclude each other" end
  local file = o.data ~= "synthetic" and o.data ~= "random"
  if file and (typed "dense" and o.dense ~= 13 or typed "tables") then
    return ("%s: only made data takes it, not --data %s"):format(
      typed "tables" or typed "dense", o.data)
  end
  if o.data == "random" and o.sub_sample > 0 then
    return "--sub-sample: takes rows of a log, not --data random"
  end
  if o.dataset and not file then return "--data-generation dataset needs --raw-data-file" end
  if o.decay_start > 0 and o.decay_start < o.warmup_steps then
    return ("--decay-start %d: expected at least --warmup-steps %d"):format(o.decay_start,
      o.warmup_steps)
  end
  if o.test_freq < 1 and (o.stop_auc > 0 or o.stop_accuracy > 0) then
    local _, written = param.origin(o, o.stop_auc > 0 and "stop_auc" or "stop_accuracy")
    return ("%s needs --test-freq"):format(written)
  end
  if o.save_model then -- before hours are spent on it
    local ok, why = require("mlua.safetensors").check_path(o.save_model)
    if not ok then return "--save-model: " .. why end
  end
  return without_effect(o)
end

-- Writes the weights where --save-model says, whether they were trained now or before.
local function save(evaluated)
  if not evaluated.save_model then return end
  local ok, why
  if evaluated.test_only then
    ok, why = evaluated:clone(Build):output()():save(evaluated.save_model)
  else
    ok, why = require "mlua.safetensors".save(evaluated.save_model,
      evaluated:clone(Train):output "model")
  end
  if not ok then fail.run("--save-model: %s", why) end
end

return flow(Evaluate, {
  name = "mlua recipes/dlrm.lua",
  doc = "Trains DLRM, the deep learning recommendation model, on click data, and tests it.",
  check = contradiction, done = save,
})
