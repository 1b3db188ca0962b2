--- DLRM, the deep learning recommendation model, on click data.
--
--     mlua recipes/dlrm.lua --batch 2                    synthetic clicks with a planted signal
--     mlua recipes/dlrm.lua --data day.tsv --rows 1e6    a file in the Criteo format
--     mlua recipes/dlrm.lua --help                       every option
--
-- Naumov et al. 2019, arXiv:1906.00091. The options are those of the public program
-- (facebookresearch/dlrm) that shape the model or its training; its spellings work too.
local param = require "mlua.param"

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

local options = param.spec({
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
  },
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
    shuffle = param.bool { true, doc = "training rows in another order each epoch",
      alias = { ["data-randomize"] = public_randomize } },
    sub_sample = param.number { 0, min = 0, below = 1, alias = "data-sub-sample-rate",
      doc = "leave out this share of the training rows labelled 0" },
    lookups = param.int { 10, min = 1, max = 2 ^ 20, doc = "random: ids in a bag, at most",
      alias = "num-indices-per-lookup" },
    lookups_fixed = param.bool { doc = "random: exactly --lookups ids in a bag",
      alias = "num-indices-per-lookup-fixed" },
    round_targets = param.bool { doc = "random: labels of 0 and 1, not in between" },
    cache = param.path { doc = "folder of prepared data, from which a second start reads; unless "
      .. "set, $MLUA_CACHE or else .mlua/cache", significant = false },
    dataset = param.bool { hidden = true, doc = "--data must be a file", significant = false },
  },
  param.group "Training" {
    batch = param.int { 128, min = 1, max = LARGEST, doc = "samples per step",
      alias = "mini-batch-size" },
    epochs = param.int { 1, min = 0, doc = "passes over the training part", alias = "nepochs" },
    steps = param.int { 0, min = 0, doc = "at most this many steps per epoch; 0: all",
      alias = "num-batches" },
    loss = param.choice { "bce", "wbce", "mse",
      doc = "binary cross-entropy, the same weighted by label, or squared error",
      alias = "loss-function" },
    loss_weights = param.numbers { { 1, 1 }, length = 2, min = 0,
      doc = "wbce: weights of labels 0 and 1" },
    loss_threshold = param.number { 0, min = 0, below = 0.5,
      doc = "keep predictions at least this far from 0 and 1" },
    optimizer = param.choice { "adagrad", "sgd", "rwsadagrad",
      doc = "rwsadagrad: one state for each row of a table" },
    lr = param.number { 0.02, min = 0, doc = "learning rate", alias = "learning-rate" },
    warmup_steps = param.int { 0, min = 0, doc = "steps in which the rate rises from 0",
      alias = "lr-num-warmup-steps" },
    decay_start = param.int { 0, min = 0, doc = "step from which the rate falls",
      alias = "lr-decay-start-step" },
    decay_steps = param.int { 0, min = 0, doc = "steps in which it falls, quadratically; 0: never",
      alias = "lr-num-decay-steps" },
    accumulate = param.int { 1, min = 1, doc = "batches whose gradients make one update",
      alias = "mlperf-grad-accum-iter" },
    seed = param.int { 123, min = 0, doc = "of the weights, the order and made data",
      alias = "numpy-rand-seed" },
    stop_auc = param.number { 0, min = 0, max = 1, alias = "mlperf-auc-threshold",
      doc = "end when the test AUC passes this; 0: never" },
    stop_accuracy = param.number { 0, min = 0, max = 1, alias = "mlperf-acc-threshold",
      doc = "end when the test accuracy passes this; 0: never" },
    load_model = param.file { doc = "start from these weights (safetensors)" },
    save_model = param.path { doc = "write the weights here (safetensors)" },
    test_only = param.bool { doc = "no training: the metrics of the weights as they are",
      alias = "inference-only" },
  },
  param.group "Running" {
    test_freq = param.int { 0, min = -1,
      doc = "test every this many steps; 0 or -1: at the end only" },
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
    deterministic = param.bool {
      doc = "the same weights, bit for bit, for any --threads; the CPU always gives them" },
    json = param.bool { doc = "one line of JSON on standard output; the table goes to standard "
      .. "error", significant = false },
    max_steps = param.int { 0, min = 0, hidden = true, doc = "end after this many steps" },
    timing = param.bool { hidden = true, doc = "print how long each part of the start took",
      significant = false },
  },
}, {
  name = "mlua recipes/dlrm.lua",
  doc = "Trains DLRM, the deep learning recommendation model, on click data, and tests it.",
})

-- Options that do nothing unless another has this value.
local NEEDS = {
  { "itself", "interaction", "dot" }, { "loss_weights", "loss", "wbce" },
  { "qr_threshold", "qr", true }, { "qr_collisions", "qr", true }, { "qr_operation", "qr", true },
  { "md_threshold", "md", true }, { "md_temperature", "md", true }, { "md_round_dims", "md", true },
}

local function without_effect(o)
  for _, need in ipairs(NEEDS) do
    local name, other, value = unpack(need)
    local from, written = param.origin(o, name)
    if from ~= "default" and o[name] ~= false and o[other] ~= value then
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

-- -- data --------------------------------------------------------------------------------------

-- Parts to train and to test on, and what the model must know of them.
local function prepare(o)
  local fail = require "mlua.fail"
  if o.data == "random" then
    if o.sub_sample > 0 then fail.usage("--sub-sample: takes rows of a log, not --data random") end
    local random = require "mlua.data.random"
    local function part(rows, seed)
      return random.open { rows = rows, n_dense = o.dense, tables = o.tables or { 4, 3, 2 },
        lookups = o.lookups, fixed = o.lookups_fixed, round_labels = o.round_targets, seed = seed }
    end
    local rows = o.rows > 0 and o.rows or 100000
    return { train = part(rows, o.seed), test = o.round_targets and part(math.ceil(rows / 7),
      o.seed + 1), dense = o.dense, tables = o.tables or { 4, 3, 2 } }
  end
  local clicks = require "mlua.data.clicks"
  local made = o.data == "synthetic"
  local set = fail.assert(clicks.open(o.data, {
    rows = o.rows > 0 and o.rows or nil, seed = o.seed, split = o.split,
    hash = o.hash > 0 and o.hash or nil,
    max_ind_range = o.modulo > 0 and o.modulo or nil,
    n_dense = made and o.dense or nil, tables = made and o.tables or nil, cache = o.cache,
    threads = o.threads > 0 and o.threads or nil,
  }))
  local note = set:note()
  if note then io.stderr:write("mlua: ", note, "\n") end
  if set.train:rows() == 0 then fail.run("--data %s: no rows to train on", o.data) end
  local part = set.test:rows() > 0 and set.test
  return { train = set.train, test = part, dense = set:dense(), tables = set:tables(),
    planted = made and part and part:planted() }
end

-- -- model -------------------------------------------------------------------------------------

local function build(o, data)
  local DLRM = require "mlua.nn.dlrm"
  local model = DLRM.new {
    dense = data.dense, tables = data.tables, dim = o.dim, bottom = o.bottom, top = o.top,
    interaction = o.interaction, itself = o.itself, activation = o.activation,
    loss_threshold = o.loss_threshold, pooling = o.weighted_pooling, seed = o.seed,
    qr = o.qr and { threshold = o.qr_threshold, collisions = o.qr_collisions,
      operation = o.qr_operation } or nil,
    md = o.md and { threshold = o.md_threshold, temperature = o.md_temperature,
      round = o.md_round_dims } or nil,
  }
  if o.load_model then
    local ok, why = model:load(o.load_model)
    if not ok then require("mlua.fail").run("--load-model: %s", why) end
  end
  return model
end

-- loss(predictions, labels) as --loss has it.
local function loss_function(o, ml)
  if o.loss == "mse" then return function(p, y) return ml.mse(p, y) end end
  if o.loss == "bce" then return function(p, y) return ml.bce(p, y) end end
  local zero, one = o.loss_weights[1], o.loss_weights[2]
  return function(p, y) return ml.bce(p, y, ml.affine(y, one - zero, zero)) end
end

-- -- training and testing ----------------------------------------------------------------------

-- The metrics of predictions for all rows of a part.
local function test(o, ml, model, part)
  local meter = ml.metric.binary()
  local batch = o.test_batch > 0 and o.test_batch or math.max(1024, o.batch)
  local loader = require("mlua.fail").assert(part:loader { batch = batch, workers = o.loaders })
  local function add(b) meter:add(model(b.dense, b.ids, b.offsets), b.label) end
  ml.no_grad(function()
    for b in loader:epoch(0) do ml.scope(add, b) end
  end)
  loader:close()
  return meter:result()
end

-- One update per batch, or per --accumulate batches: step(batch) → loss.
local function stepper(o, ml, model, optimizer, schedule)
  local loss_of, gathered, updates = loss_function(o, ml), 0, 0
  local function plain(b)
    local loss = loss_of(model(b.dense, b.ids, b.offsets), b.label)
    optimizer:step(loss)
    return loss:item()
  end
  local function gathering(b)
    local loss = loss_of(model(b.dense, b.ids, b.offsets), b.label)
    local share = loss * (1 / o.accumulate)
    share:backward()
    return loss:item()
  end
  return function(b)
    if schedule then optimizer:set_lr(schedule(updates + 1)) end
    if o.accumulate == 1 then
      updates = updates + 1
      return ml.scope(plain, b)
    end
    local loss = ml.scope(gathering, b)
    gathered = gathered + 1
    if gathered % o.accumulate == 0 then
      optimizer:step()
      optimizer:zero_grad()
      updates = updates + 1
    end
    return loss
  end
end

local function train(o, ml, model, data, mark)
  local progress = require "mlua.ui.progress"
  local optim = ml.optim
  local optimizer = optim[o.optimizer](model, { lr = o.lr })
  local schedule = (o.warmup_steps > 0 or o.decay_steps > 0) and optim.policy { lr = o.lr,
    warmup = o.warmup_steps, decay_start = o.decay_start, decay_steps = o.decay_steps }
  local step = stepper(o, ml, model, optimizer, schedule)
  local loader = require("mlua.fail").assert(data.train:loader { batch = o.batch,
    shuffle = o.shuffle and o.data ~= "random", seed = o.seed, workers = o.loaders,
    sub_sample = o.sub_sample > 0 and o.sub_sample or nil })
  local per_epoch = o.steps > 0 and math.min(o.steps, loader:steps()) or loader:steps()
  local report = { steps = 0, samples = 0, seconds = 0 }
  local mean, weight = 0, 0 -- of the loss since the line was last shown, by samples
  for epoch = 1, o.epochs do
    local line = progress.new { total = math.min(per_epoch * o.batch, loader:rows()),
      label = ("epoch %d/%d"):format(epoch, o.epochs), unit = "samples" }
    local done, stop, total = 0, false, 0
    for batch in loader:epoch(epoch - 1) do
      local loss, rows = step(batch), batch.rows
      mean, weight, total, done = mean + loss * rows, weight + rows, total + loss * rows, done + 1
      report.steps = report.steps + 1
      if mark and report.steps == 1 then mark "first step" end
      local due = line:tick(rows)
      if o.print_freq > 0 then due = done % o.print_freq == 0 end
      if due then
        line:show(("loss %.4f"):format(mean / weight))
        mean, weight = 0, 0
      end
      if loss ~= loss then
        line:finish()
        require("mlua.fail").run("step %d: the loss is not a number; a smaller --lr may help",
          report.steps)
      end
      if o.test_freq > 0 and done % o.test_freq == 0 and data.test then
        local r = test(o, ml, model, data.test)
        line:note(("step %d: test AUC %.4f, accuracy %.4f, log loss %.4f"):format(report.steps,
          r.auc, r.accuracy, r.log_loss))
        stop = o.stop_auc > 0 and r.auc > o.stop_auc
          or o.stop_accuracy > 0 and r.accuracy > o.stop_accuracy
      end
      stop = stop or o.max_steps > 0 and report.steps >= o.max_steps
      if stop or done == per_epoch then break end
    end
    report.loss = total / line.n
    report.samples = report.samples + line.n
    report.seconds = report.seconds + line:finish(("loss %.4f"):format(report.loss))
    if stop then break end
  end
  loader:close()
  return report
end

-- -- the whole ---------------------------------------------------------------------------------

local METRICS = {
  { "auc", "AUC" }, { "log_loss", "log loss" }, { "normalised_entropy", "normalised entropy" },
  { "accuracy", "accuracy" }, { "calibration", "calibration" },
}

local function result_table(result)
  local render = require("mlua.ui.table").render
  local format, rows, parts = require "mlua.ui.format", {}, {}
  local found, report = result.metrics, result.train
  if found then
    local planted = found.planted
    for i, m in ipairs(METRICS) do rows[i] = { m[2], found[m[1]], planted and planted[m[1]] } end
    parts[1] = render {
      head = planted and { "", "test", "planted model" } or { "", "test" }, rows = rows,
    }
  end
  rows = { { "parameters", format.count(result.parameters) } }
  if report then
    rows[2] = { "training loss", report.loss }
    rows[3] = { "steps", format.count(report.steps) }
    rows[4] = { "training time", format.duration(report.seconds) }
  end
  parts[#parts + 1] = render { rows = rows }
  return table.concat(parts, "\n\n")
end

local function described(o)
  local all = {}
  for _, row in ipairs(options:describe(o)) do
    if not options:param(row.name).hidden then all[row.name] = o[row.name] end
  end
  return all
end

local function main(o)
  local stamps, ml = {}, nil
  local function mark(what) stamps[#stamps + 1] = { what, ml.clock() } end
  ml = require "mlua"
  mark "mlua loaded"
  if o.device ~= "auto" and o.device ~= "cpu" then
    require("mlua.fail").run("--device %s: this mlua computes on the cpu only", o.device)
  end
  if o.threads > 0 then ml.threads(o.threads) end
  local data = prepare(o)
  mark "data"
  local model = build(o, data)
  mark "model"
  local report = not o.test_only and train(o, ml, model, data, mark)
  if o.timing then
    for i, stamp in ipairs(stamps) do
      io.stderr:write(("%8.2f ms  %s\n"):format((stamp[2] - stamps[math.max(1, i - 1)][2]) * 1e3,
        stamp[1]))
    end
  end
  if o.max_steps > 0 then return end

  local result = { options = described(o), parameters = model:size(), train = report or nil }
  if data.test then
    result.metrics = test(o, ml, model, data.test)
    if data.planted then
      local meter = ml.metric.binary()
      local whole = require("mlua.fail").assert(data.test:loader { batch = data.test:rows() })
      for batch in whole:epoch(0) do meter:add(data.planted, batch.label) end
      result.metrics.planted = meter:result()
    end
  end
  if o.save_model then
    local ok, why = model:save(o.save_model)
    if not ok then require("mlua.fail").run("--save-model: %s", why) end
  end
  local out = o.json and io.stderr or io.stdout
  out:write(result_table(result), "\n")
  if o.json then io.stdout:write(ml.json.encode(result), "\n") end
end

local o = options:main(arg)
local problem = contradiction(o)
if problem then require("mlua.fail").usage("%s", problem) end
o.test_freq = math.max(0, o.test_freq)
main(o)
