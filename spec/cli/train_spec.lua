-- mlua train: registered parts trained by a configuration file, in a folder of one's own.
local files = require "spec.support.files"
local json = require "mlua.json"
local process = require "spec.support.process"

local program = process.program()

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

local function write(name, text) return files.write(folder .. "/" .. name, text) end

-- Runs `mlua [before] train …`; the result's outputs as a table, too.
local function run(words, env, before)
  local argv, all = { program }, { MLUA_STORE = folder .. "/store", MLUA_CACHE = folder .. "/cache",
    MLUA_THREADS = "1" }
  for _, word in ipairs(before or {}) do argv[#argv + 1] = word end
  argv[#argv + 1] = "train"
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  for name, value in pairs(env or {}) do all[name] = value end
  local r = process.run(argv, { cwd = folder, env = all })
  local ok, document = pcall(json.decode, r.out:match "([^\n]*)\n*$" or "")
  r.outputs = ok and type(document) == "table" and document.outputs or nil
  return r
end

local function train(...) return run { ... } end

local function trained(...)
  local r = train(...)
  assert.equal(0, r.status, r.err)
  return r.outputs, r
end

-- price = 30 a - 20 b, and 10 more where it is red.
local function houses()
  local lines = { "a,b,color,price" }
  for i = 1, 300 do
    local a, b, red = i * 37 % 101 / 101, i * 53 % 89 / 89, i % 3 == 0
    lines[#lines + 1] = ("%.4f,%.4f,%s,%.4f"):format(a, b, red and "red" or "blue",
      100 + 30 * a - 20 * b + (red and 10 or 0))
  end
  write("houses.csv", table.concat(lines, "\n") .. "\n")
end

local CLASSES = [[
dataset: {type: csv, source: houses.csv, target: color}
model: {type: mlp, widths: [32]}
optimizer: {type: adam, lr: 0.02}
schedule: {type: cosine, steps: 160}
sampler: {type: balanced, by: y}
epochs: 20
]]

describe("mlua train", function()
  it("trains classes of a CSV file in a new folder, and tells its test", function()
    houses()
    write("c.yaml", CLASSES)
    local found, r = trained("mine", "--config", "c.yaml", "--json")
    assert.is_true(found.metrics.accuracy > 0.95, tostring(found.metrics.accuracy))
    assert.same({ 60, 20 * 8 }, { found.metrics.count, found.training.steps }) -- 240 rows train
    assert.matches("\naccuracy +0.9%d+\n", "\n" .. r.err:gsub("1%.0000", "0.9999"))
    local record = json.load(folder .. "/mine/run.json")
    assert.same({ "done", "csv" }, { record.status, record.config.dataset.type })
    assert.equal(found.training.loss, trained("--config", "c.yaml", "--json").training.loss)
  end)

  it("tells figures of numbers in their own units, though it learns scaled ones", function()
    houses()
    local found = trained("mine", "--dataset.source", "houses.csv", "--epochs", "40", "--json")
    -- Prices have a variance of 30^2/12 + 20^2/12 + 10^2 * 2/9, which is 130.
    assert.is_true(found.metrics.mse < 1 and found.metrics.mae < 1, json.encode(found))
    local first = trained("none", "--dataset.source", "houses.csv", "--epochs", "0", "--json")
    assert.is_true(first.metrics.mse > 60 and first.metrics.mse < 500, json.encode(first))
  end)

  it("learns two classes by one output, as probabilities or logits", function()
    houses()
    for _, loss in ipairs { "bce_logits", "focal", "bce" } do
      local found = trained("--dataset", "{type: csv, source: houses.csv, target: color}",
        "--model", "{type: mlp, last: " .. (loss == "bce" and "sigmoid" or "none") .. "}",
        "--loss", loss, "--epochs", "20", "--json")
      assert.is_true(found.metrics.auc > 0.95, loss .. " " .. tostring(found.metrics.auc))
    end
    -- Of squared errors predictions are no probabilities: they may be -0.16.
    local found = trained("--dataset", "{type: csv, source: houses.csv, target: color}", "--loss",
      "mse", "--epochs", "20", "--json")
    assert.same({ "count", "mse" }, require "mlua.text".keys(found.metrics))
    assert.is_true(found.metrics.mse < 0.1, tostring(found.metrics.mse))
    assert.matches("loss bce_logits takes any numbers, and a last sigmoid", train("--dataset",
      "{type: csv, source: houses.csv, target: color}", "--loss", "bce").err, 1, true)
  end)

  it("learns clicks, to the same numbers as this in Lua", function()
    write("clicks.yaml", [[
dataset: {type: clicks, source: synthetic, rows: 5000, n_dense: 3, tables: [50, 20, 10]}
model: {type: dlrm, dim: 8}
loss: bce
metrics: [binary]
optimizer: {type: adagrad, lr: 0.05}
batch: 64
epochs: 2
seed: 7
]])
    write("same.lua", [[
local ml = require "mlua"
local set = assert(ml.data.clicks.open("synthetic", { rows = 5000, n_dense = 3,
  tables = { 50, 20, 10 } }))
local model = require "mlua.nn.dlrm".new { dense = 3, tables = set:tables(), dim = 8,
  bottom = { 64 }, top = { 64 }, seed = 7 }
local metric = ml.metric.binary()
local r = ml.engine {
  run = false, quiet = true, model = model, optimizer = ml.optim.adagrad(model, { lr = 0.05 }),
  train = assert(set.train:loader { batch = 64, shuffle = true, seed = 7 }),
  test = assert(set.test:loader { batch = 1024 }),
  loss = function(b) return ml.bce(model(b.dense, b.ids), b.label) end,
  predict = function(b) return model(b.dense, b.ids), b.label end,
  metrics = { metric }, epochs = 2,
}:fit()
print(ml.json.encode { r.loss, r.steps, r.test.auc, r.test.log_loss })
]])
    local found = trained("mine", "--config", "clicks.yaml", "--json")
    local lua = process.run({ program, "same.lua" }, { cwd = folder,
      env = { MLUA_CACHE = folder .. "/cache", MLUA_THREADS = "1" } })
    assert.equal(lua.out:match "[^\n]+", json.encode { found.training.loss, found.training.steps,
      found.metrics.auc, found.metrics.log_loss })
    assert.is_true(found.metrics.auc > 0.6)
  end)

  it("learns bags of random rows, which have no test part", function()
    local found, r = trained("--dataset", "{type: random, rows: 100, tables: [5, 6]}", "--model",
      "dlrm", "--epochs", "1", "--json")
    assert.equal(4, found.training.steps)
    assert.is_nil(next(found.metrics))
    assert.matches("\nsteps +4\n", r.err)
  end)
end)

describe("the folder of mlua train", function()
  local WORDS = { "mine", "--config", "c.yaml", "--epochs", "500", "--checkpoint.minutes", "0.0002",
    "--clip-norm", "1", "--ema", "0.9", "--schedule.steps", "3000", "--json" }
  local function undisturbed()
    local r = run(WORDS, { MLUA_STORE = folder .. "/other" })
    assert.equal(0, r.status, r.err)
    files.remove(folder .. "/mine")
    return json.encode(r.outputs)
  end

  it("goes on by itself where it was killed, to the same numbers", function()
    houses()
    write("c.yaml", CLASSES)
    local wanted = undisturbed()
    local r = run(WORDS, { MLUA_STORE_FAULT = "rename:40:KILL" })
    assert.equal(137, r.status)
    os.remove(folder .. "/c.yaml") -- its configuration is in the folder
    local found
    found, r = trained("mine", "--json")
    assert.matches("mine: goes on at step [1-9]", r.err)
    assert.equal(wanted, json.encode(found))
    found, r = trained("mine", "--json") -- and is done
    assert.equal(wanted, json.encode(found))
    assert.not_matches("Train", r.err)
  end)

  it("goes on after SIGTERM, which ends it with status 75", function()
    houses()
    write("c.yaml", CLASSES)
    local wanted = undisturbed()
    local words = {}
    for i, word in ipairs(WORDS) do words[i] = process.quote(word) end
    local r = process.run { "bash", "-c", ([[cd '%s'; export MLUA_STORE='%s/store' MLUA_THREADS=1
'%s' train %s >out 2>err & child=$!
while ! [ -s mine/metrics.jsonl ]; do sleep 0.01; done
kill -TERM $child; wait $child; echo $?]]):format(folder, folder, program,
      table.concat(words, " ")) }
    assert.equal("75\n", r.out)
    assert.matches("stopped by SIGTERM at step %d+; the same command goes on",
      files.read(folder .. "/err"))
    local found
    found, r = trained(unpack(WORDS))
    assert.matches("mine: goes on at step [1-9]", r.err)
    assert.equal(wanted, json.encode(found))
  end)

  it("is refused for another configuration, with what differs", function()
    houses()
    write("c.yaml", CLASSES)
    trained("mine", "--config", "c.yaml")
    local r = train("mine", "--config", "c.yaml", "--epochs", "3")
    assert.matches("mine is a run of another configuration:\n~ epochs: 20 → 3\n", r.err, 1, true)
    assert.equal(1, r.status)
    trained("other", "--config", "c.yaml", "--epochs", "3")
    r = train("mine", "--config", "c.yaml", "--epochs", "3") -- though its result is known by now
    assert.matches("mine is a run of another configuration:\n~ epochs: 20 → 3\n", r.err, 1, true)
    files.write(folder .. "/houses.csv", files.read(folder .. "/houses.csv") .. "1,1,red,120\n")
    assert.matches("its code or its inputs are others now", train("mine").err, 1, true)
  end)

  it("begins anew in another folder, though the result is known", function()
    houses()
    write("c.yaml", CLASSES)
    local found = trained("mine", "--config", "c.yaml", "--json")
    assert.same(found, trained("other", "--config", "c.yaml", "--json"))
    assert.equal("done", json.load(folder .. "/other/run.json").status)
    local _, r = trained("other", "--config", "c.yaml") -- that one is there
    assert.not_matches("Train", r.err)
  end)

  it("is one for one run", function()
    houses()
    write("c.yaml", CLASSES)
    assert.matches("--run: one folder for several runs",
      train("mine", "--config", "c.yaml", "--grid", "seed=1,2").err, 1, true)
    local _, r = trained("--config", "c.yaml", "--grid", "epochs=1,2")
    assert.matches("epochs +accuracy", r.out)
  end)
end)

describe("parts of one's own", function()
  it("are those of modules that -l loads: tensors by name, or samples", function()
    write("own.lua", [[
local ml = require "mlua"
local param = ml.param
ml.dataset("line", { n = param.int { 64, min = 1 } }, function(o)
  local x = ml.rand(o.n, 2, { seed = 1, stream = 0 })
  local y = x:sum(2)
  return { train = { x = x, y = y }, test = { x = x, y = y } }
end)
ml.dataset("signs", { words = param.bool {} }, function(o)
  local function get(i)
    return { at = ml.tensor { i % 2 == 0 and 1.0 or -1.0, i / 50 }, sign = i % 2 }
  end
  return { train = { n = 50, get = get }, test = { n = 10, get = get }, input = "at",
    label = o.words and "word" or "sign", classes = { "even", "odd" } }
end)
ml.dataset("bad", {}, function() return { train = 7 } end)
ml.dataset("empty", {}, function() return { n = 0, get = function() end } end)
ml.loss("cubed", { by = param.number { 1 } }, function(o)
  return function(p, y) return ((p - y):abs() ^ 3):mean() * o.by end
end)
]])
    local function own(...) return run({ ... }, nil, { "-l", "own" }) end
    local r = own("line", "--dataset", "line", "--epochs", "60", "--json")
    assert.is_true(r.outputs.metrics.mse < 0.01, r.err) -- of sums whose variance is 1/6
    r = own("cubed", "--dataset", "line", "--loss", "{type: cubed, by: 2}", "--metrics", "mae",
      "--epochs", "100", "--json")
    assert.is_true(r.outputs.metrics.mae < 0.1, r.err)
    r = own("signs", "--dataset", "signs", "--epochs", "20", "--json")
    assert.same({ 1, 10 }, { r.outputs.metrics.accuracy, r.outputs.metrics.count })
    for words, message in pairs {
      bad = "dataset bad: train: expected tensors by name, n and get(i), or a loader, got 7",
      empty = "dataset empty: no rows to train on",
      ["{type: signs, words: yes}"] = "dataset signs: batches have no 'word', but at and sign; "
        .. "its field 'label' says which",
    } do
      assert.matches("mlua: Train: " .. message .. "\n",
        own("--dataset", words).err:gsub("mlua: Data: ", "mlua: Train: "), 1, true)
    end
  end)

  it("are told where they do not fit, in one line", function()
    houses()
    local function refused(message, ...)
      local r = train("--dataset", "{type: csv, source: houses.csv}", ...)
      local last = r.err:match "([^\n]*)\n$"
      assert.equal("mlua: " .. message, last)
      assert.is_true(r.status == 1 or r.status == 2)
    end
    local color = { "--dataset.target", "color" }
    refused("Train: loss cross_entropy: takes classes, and the labels of dataset csv are numbers",
      "--loss", "cross_entropy")
    refused("Train: loss bce: takes labels of 0 and 1, and the labels of dataset csv are numbers",
      "--loss", "{type: sum, terms: [mse, bce]}")
    refused("Train: metric accuracy: takes a score for each class, and the labels of dataset csv "
      .. "are numbers", "--metrics", "accuracy")
    refused("Train: metric binary: takes probabilities of labels 0 and 1, and the labels of "
      .. "dataset csv are 2 classes, with loss cross_entropy", "--metrics", "binary", unpack(color))
    refused("Train: metric binary: takes probabilities of labels 0 and 1, and the labels of "
      .. "dataset csv are 2 classes, with loss mse", "--metrics", "binary", "--loss", "mse",
      unpack(color))
    refused("Train: model mlp: gives 3 outputs, and dataset csv has 2 classes", "--model.outputs",
      "3", unpack(color))
    refused("Train: model dlrm: tables: the data do not say the rows of each", "--model", "dlrm")
    refused("Train: sampler: no column 'colour', did you mean 'color'?", "--sampler",
      "{type: balanced, by: colour}")
    refused("Train: sampler weighted: column 'color': expected weights of at least 0, got "
      .. "'blue'", "--sampler", "{type: weighted, by: color}")
    refused("Train: stop: needs tests, and dataset csv has no test part", "--dataset.test", "0",
      "--stop.patience", "2")
    refused("Train: checkpoint.best: needs tests, and test_every is -1", "--test-every", "-1",
      "--checkpoint.best", "mse")
    refused("Train: stop.metric: expected count, loss, mae or mse, got msee, did you mean 'mse'?",
      "--stop.metric", "msee", "--stop.patience", "2")
    refused("Data: dataset csv: fold: expected at most 3, got 4", "--dataset.folds", "3",
      "--dataset.fold", "4")
    refused("Train: model mlp, loss mse and dataset csv do not fit: bad argument #2 to 'mse' "
      .. "(target: expected [32, 2], got [32])", "--model.outputs", "2")
    refused("--schedule-every: takes effect with --schedule only", "--schedule-every", "epoch")
    refused("--dataset: source: no.csv: No such file or directory", "--dataset",
      "{type: csv, source: no.csv}")
    local r = train("mine")
    assert.same({ "mlua: missing option --dataset.source\n", 2 }, { r.err, r.status })
  end)
end)

describe("what mlua train takes", function()
  it("changes batches by transforms, with tests alike", function()
    houses()
    local words = { "--dataset", "{type: csv, source: houses.csv, without: [color, b]}", "--epochs",
      "1", "--json" }
    local function with(scale)
      return trained("--transforms", ("[{type: normalize, column: x, std: [%g]}]"):format(scale),
        unpack(words)).metrics.mse
    end
    assert.equal(trained(unpack(words)).metrics.mse, with(1))
    -- Inputs of almost 0 tell nothing: what is learned is the mean, whose error is the variance.
    assert.near(130, with(1e6), 25)
    assert.is_true(with(1) < with(1e6))
  end)

  it("stops by patience, keeps the best checkpoint, and skips what is no number", function()
    houses()
    write("c.yaml", [[
dataset: {type: csv, source: houses.csv}
epochs: 200
stop: {patience: 3, metric: mae}
checkpoint: {best: mae, keep: 1}
nan: skip
]])
    local found = trained("mine", "--config", "c.yaml", "--json")
    assert.equal("mae has not become better in 3 tests", found.training.stopped)
    assert.is_true(found.training.steps < 200 * 8)
    assert.equal(0, found.training.best_step % 8) -- after an epoch
    assert.equal(found.training.steps, found.training.best_step + 3 * 8)
    local kept = {}
    for name in require "lfs".dir(folder .. "/mine/checkpoints") do
      local step = tonumber(name:match "(%d+)%.safetensors$")
      if step then kept[step] = true end
    end
    assert.same({ [found.training.best_step] = true, [found.training.steps] = true }, kept)
  end)

  it("averages losses over tests, by which it stops, in mixed precision", function()
    houses()
    write("c.yaml", "dataset: {type: csv, source: houses.csv, target: price}\nepochs: 40\n"
      .. "precision: bf16\nlosses: [huber]\nstop: {metric: huber, below: 0.02}\n")
    local found = trained("mine", "--config", "c.yaml", "--json")
    assert.matches("^huber is 0%.01", found.training.stopped)
    local last
    for line in files.read(folder .. "/mine/metrics.jsonl"):gmatch "[^\n]+" do
      last = json.decode(line)
    end
    assert.is_true(last.values.loss > last.values.huber)
    assert.is_true(last.values.loss <= 2 * last.values.huber + 0.02) -- half a square, but for few
    assert.matches("losses: mse: a metric has this name",
      train("other", "--config", "c.yaml", "--losses", "mse").err)
  end)

  it("begins with the weights of another run, and leaves layers as they are", function()
    houses()
    local load = require "mlua".safetensors.load
    trained("one", "--dataset.source", "houses.csv", "--epochs", "1")
    trained("two", "--dataset.source", "houses.csv", "--epochs", "2", "--init", "one", "--freeze",
      "^1%.")
    local steps = {}
    for name in require "lfs".dir(folder .. "/two/checkpoints") do
      steps[#steps + 1] = name:match "^.*%.safetensors$"
    end
    table.sort(steps)
    local first = assert(load(folder .. "/two/first.safetensors"))
    local last = assert(load(folder .. "/two/checkpoints/" .. steps[#steps]))
    assert.same(first["1.weight"]:totable(), last["model.1.weight"]:totable())
    assert.not_same(first["2.weight"]:totable(), last["model.2.weight"]:totable())
  end)

  it("is told by --help, and by a template that needs a source alone", function()
    local help = train "--help"
    assert.equal(0, help.status)
    for _, word in ipairs { "usage: mlua train [DIR] [options]", "--dataset DATASET",
      "--model MODEL", "--optimizer OPTIMIZER", "--stop.patience N", "--checkpoint.best",
      "--run DIR" } do
      assert.matches(word, help.out, 1, true)
    end
    local function config(...) return process.run({ program, "config", ... }, { cwd = folder }) end
    local template = config("template", "train")
    assert.matches("recipe: train\n", template.out, 1, true)
    write("t.yaml", template.out)
    assert.matches("dataset.source: expected a list, got nothing", config("check", "t.yaml").err,
      1, true)
    houses()
    write("t.yaml", (template.out:gsub("\n  source:\n", "\n  source: houses.csv\n")))
    local r = config("check", "t.yaml")
    assert.equal("t.yaml: no mistakes\n", r.out, r.err)
    trained("mine", "--config", "t.yaml", "--epochs", "1")
    assert.equal("", process.run({ program, "diff", "t.yaml", write("v.yaml",
      "recipe: train\ndataset: {source: [houses.csv]}\nbatch: 32\n") }, { cwd = folder }).out)
    assert.matches("unknown key, did you mean 'epochs'?", config("check",
      write("u.yaml", "recipe: train\nepoch: 1\n")).err, 1, true)
  end)
end)
