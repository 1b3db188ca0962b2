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
  if text == "dataset" then return nil end -- --raw-data-file names it
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

local options = param.spec({
  param.group "Model" {
    dim = param.int { 16, min = 1, doc = "width of an embedding row",
      alias = "arch-sparse-feature-size" },
    bottom = param.ints { { 64 }, min = 1, doc = "hidden widths of the bottom MLP",
      alias = { ["arch-mlp-bot"] = public_bottom } },
    top = param.ints { { 64 }, min = 1, doc = "hidden widths of the top MLP",
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
    rows = param.int { 0, min = 0, alias = "data-size",
      doc = "rows to read or make; 0: all of a file, 100,000 made ones" },
    dense = param.int { 13, min = 1, doc = "dense features, of made data" },
    tables = param.ints { min = 1, doc = "rows of each embedding table, of made data" },
    modulo = param.int { 0, min = 0, doc = "categories modulo this; 0: as they are",
      alias = { ["max-ind-range"] = none_below_one } },
    hash = param.bool { doc = "ids are the categories modulo --modulo, not by first appearance" },
    split = param.choice { "order", "fraction",
      doc = "training, validation and test parts: 6/7, 1/14 and 1/14 by order, or by a seeded draw" },
    shuffle = param.bool { true, doc = "training rows in another order each epoch",
      alias = { ["data-randomize"] = public_randomize } },
    sub_sample = param.number { 0, min = 0, below = 1, alias = "data-sub-sample-rate",
      doc = "leave out this part of the training rows that are labelled 0" },
    lookups = param.int { 10, min = 1, doc = "random: ids in a bag, at most",
      alias = "num-indices-per-lookup" },
    lookups_fixed = param.bool { doc = "random: exactly --lookups ids in a bag",
      alias = "num-indices-per-lookup-fixed" },
    round_targets = param.bool { doc = "random: labels of 0 and 1, not in between" },
    cache = param.path { doc = "folder of prepared data; a second start reads no text",
      significant = false },
  },
  param.group "Training" {
    batch = param.int { 128, min = 1, doc = "samples per step", alias = "mini-batch-size" },
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
    lr = param.number { 0.03, min = 0, doc = "learning rate", alias = "learning-rate" },
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
    test_freq = param.int { 0, min = 0, doc = "test every this many steps; 0: at the end only" },
    test_batch = param.int { 0, min = 0, doc = "samples per step of a test; 0: at least 1024",
      significant = false, alias = { ["test-mini-batch-size"] = none_below_one } },
    print_freq = param.int { 0, min = 0, significant = false,
      doc = "a line of progress every this many steps; 0: by time" },
    device = param.device { "auto", doc = "where to compute" },
    threads = param.int { 0, min = 0, doc = "threads that compute; 0: one per core",
      significant = false },
    loaders = param.int { 1, min = 0, doc = "threads that prepare batches", significant = false,
      alias = "num-workers" },
    deterministic = param.bool { doc = "the same weights, bit for bit, for any --threads" },
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

return options
