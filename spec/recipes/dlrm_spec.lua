local files = require "spec.support.files"
local json = require "mlua.json"
local process = require "spec.support.process"

local folder -- a cache and all that runs write
local stores = 0

-- A store of its own for each run, so that none finds what another made; or the one given.
local function run_in(store, ...)
  local words = { "recipes/dlrm.lua", "--cache", folder .. "/cache", ... }
  local threads = false
  for _, word in ipairs(words) do threads = threads or word == "--threads" end
  if not threads then -- other programs may hold the other cores
    words[#words + 1] = "--threads"
    words[#words + 1] = "1"
  end
  return process.mlua(words, { timeout = 300, env = { MLUA_STORE = store } })
end

local function run(...)
  stores = stores + 1
  return run_in(folder .. "/store" .. stores, ...)
end

-- What --json says of a run that must succeed.
local function result(...)
  local got = run("--json", ...)
  assert.equal(0, got.status, got.err)
  assert.equal(1, select(2, got.out:gsub("\n", "")), got.out)
  return json.decode(got.out), got
end

-- The one line of a run that must fail.
local function refusal(status, ...)
  local got = run(...)
  assert.equal(status, got.status, got.err)
  assert.equal("", got.out)
  assert.is_nil(got.err:find "traceback")
  return (got.err:match "([^\n]*)\n$")
end

local SMALL = { "--rows", "1400", "--dim", "4", "--bottom", "8", "--top", "8" }

local function small(...)
  local words = { unpack(SMALL) }
  for _, word in ipairs { ... } do words[#words + 1] = word end
  return unpack(words)
end

describe("recipes/dlrm.lua", function()
  setup(function() folder = files.folder() end)
  teardown(function() files.remove(folder) end)

  for _, batch in ipairs { "2", "128" } do
    it("finds at least 80 % of the planted signal, at batch " .. batch, function()
      local r = result("--batch", batch)
      local planted = r.metrics.planted.auc
      assert.is_true(planted > 0.85, planted)
      assert.is_true((r.metrics.auc - 0.5) / (planted - 0.5) >= 0.8, r.metrics.auc)
      assert.is_true(r.metrics.log_loss > r.metrics.planted.log_loss)
      assert.equal(7143, r.metrics.count)
      assert.equal(math.ceil(85715 / tonumber(batch)), r.train.steps)
      assert.equal(tonumber(batch), r.options.batch)
    end)
  end

  it("prints the planted model's metrics beside its own, and progress to standard error", function()
    local got = run(small())
    assert.equal(0, got.status, got.err)
    assert.matches("^ +test +planted model\nAUC +0%.%d%d%d%d +0%.%d%d%d%d\nlog loss +", got.out)
    assert.matches("\ntraining loss +0%.%d%d%d%d\n", got.out)
    assert.matches("\nepoch 1/1  1,200 samples  .*  loss 0%.%d%d%d%d\n", got.err)
  end)

  it("gives the same weights with 0, 1 and 4 loaders", function()
    local seen
    for _, loaders in ipairs { "0", "1", "4" } do -- each trains: run gives it a store of its own
      local path = folder .. "/loaders" .. loaders
      result(small("--loaders", loaders, "--save-model", path, "--epochs", "2"))
      seen = seen or files.read(path)
      assert.is_true(seen == files.read(path), loaders)
    end
  end)

  it("gives the same weights with 1 and 2 threads where --deterministic", function()
    local seen
    for _, threads in ipairs { "1", "2" } do
      local path = folder .. "/threads" .. threads
      result(small("--threads", threads, "--save-model", path, "--deterministic"))
      seen = seen or files.read(path)
      assert.is_true(seen == files.read(path), threads)
    end
  end)

  it("gives other weights for another seed", function()
    result(small("--save-model", folder .. "/seed1", "--seed", "1"))
    result(small("--save-model", folder .. "/seed2", "--seed", "2"))
    assert.is_false(files.read(folder .. "/seed1") == files.read(folder .. "/seed2"))
  end)

  it("tests a saved model as it was, without training", function()
    local path = folder .. "/saved"
    local trained = result(small("--save-model", path))
    local tested, got = result(small("--load-model", path, "--test-only"))
    assert.same(trained.metrics, tested.metrics)
    assert.is_nil(tested.train)
    assert.is_nil(got.err:find "epoch")
  end)

  it("refuses a saved model of another shape, naming the tensor", function()
    result(small("--save-model", folder .. "/narrow"))
    assert.equal("mlua: Build: --load-model: " .. folder .. "/narrow: state: 'bottom.1.weight': "
      .. "expected [9, 13], got [8, 13]", refusal(1, "--rows", "1400", "--dim", "4",
      "--bottom", "9", "--top", "8", "--load-model", folder .. "/narrow"))
  end)

  it("understands the public program's spellings", function()
    local own = result("--rows", "1400", "--batch", "64", "--dim", "8", "--bottom", "32",
      "--top", "16,8", "--lr", "0.05", "--interaction", "cat", "--epochs", "2", "--seed", "5",
      "--steps", "9", "--optimizer", "sgd", "--loss", "wbce", "--loss-weights", "1,2")
    local public = result("--data-size=1400", "--mini-batch-size=64", "--arch-mlp-bot=13-32-8",
      "--arch-sparse-feature-size=8", "--arch-mlp-top=16-8-1", "--learning-rate=0.05",
      "--arch-interaction-op=cat", "--nepochs=2", "--numpy-rand-seed=5", "--num-batches=9",
      "--optimizer=sgd", "--loss-function=wbce", "--loss-weights=1.0-2.0", "--num-workers=0",
      "--test-mini-batch-size=-1", "--max-ind-range=-1", "--data-randomize=total",
      "--mlperf-grad-accum-iter=1", "--test-freq=-1", "--arch-interaction-itself=False")
    assert.same(own.metrics, public.metrics)
    assert.equal(18, own.train.steps)
  end)

  it("trains every variant of the model", function()
    for _, words in ipairs {
      { "--interaction", "cat" }, { "--itself" }, { "--activation", "sigmoid" },
      { "--qr", "--qr-threshold", "50" }, { "--qr", "--qr-operation", "add" },
      { "--qr", "--qr-operation", "concat" }, { "--md", "--md-round-dims" },
      { "--weighted-pooling", "learned" }, { "--weighted-pooling", "fixed" },
      { "--loss", "mse" }, { "--loss", "wbce", "--loss-weights", "1-2" },
      { "--loss-threshold", "1e-3" }, { "--optimizer", "sgd", "--lr", "0.1" },
      { "--optimizer", "rwsadagrad" }, { "--accumulate", "2" }, { "--no-shuffle" },
      { "--split", "random" }, { "--bottom", "", "--top", "" },
      { "--warmup-steps", "5", "--decay-start", "10", "--decay-steps", "20" },
    } do
      local r = result(small("--batch", "32", "--epochs", "3", unpack(words)))
      assert.equal(100, r.metrics.count)
      assert.is_true(r.train.loss < 0.75, table.concat(words, " ") .. ": " .. r.train.loss)
    end
  end)

  it("gathers gradients of 4 batches of 32 into what one batch of 128 gives", function()
    local whole = result(small("--optimizer", "sgd", "--lr", "0.5", "--rows", "1493"))
    local parts = result(small("--optimizer", "sgd", "--lr", "0.5", "--rows", "1493",
      "--batch", "32", "--accumulate", "4"))
    assert.is_true(math.abs(whole.metrics.log_loss - parts.metrics.log_loss) < 1e-6)
  end)

  it("trains on random bags, as the public program does by default", function()
    local r = result("--data", "random", "--rows", "600", "--dense", "4", "--tables", "4-3-2",
      "--dim", "2", "--bottom", "3", "--top", "4,2", "--loss", "mse", "--batch", "2",
      "--optimizer", "sgd", "--lr", "0.01")
    assert.equal(300, r.train.steps)
    assert.is_nil(r.metrics)
    assert.is_true(r.train.loss < 0.15, r.train.loss) -- 1/12 for labels that mean nothing
    r = result("--data-generation=random", "--data-size=700", "--round-targets=True",
      "--num-indices-per-lookup=3", "--num-indices-per-lookup-fixed=1", "--qr", "--qr-threshold=3")
    assert.equal(100, r.metrics.count)
  end)

  it("ends when a test passes the accuracy that was asked for", function()
    local r, got = result(small("--batch", "10", "--test-freq", "20", "--stop-auc", "0.01",
      "--epochs", "5"))
    assert.equal(20, r.train.steps)
    assert.matches("step 20: test AUC 0%.%d+, accuracy 0%.%d+, log loss 0%.%d+\n", got.err)
  end)

  it("writes a line of progress every --print-freq steps", function()
    local _, got = result(small("--batch", "100", "--print-freq", "3"))
    assert.equal(5, select(2, got.err:gsub("epoch 1/1 ", "")))
  end)

  -- -- as a flow ------------------------------------------------------------------------------

  local store

  -- The tasks that ran, "Clicks Train Evaluate", and what was printed.
  local function ran(...)
    local got = run_in(store, small("--batch", "64", ...))
    assert.equal(0, got.status, got.err)
    local names = {}
    for name, rest in got.err:gmatch "%d/%d  (%a+)([^\n]*)\n" do
      if not rest:find "  unchanged$" then names[#names + 1] = name end
    end
    return table.concat(names, " "), got
  end

  -- A store where all has run.
  local function fresh(name)
    store = folder .. "/" .. name
    assert.equal("Clicks Train Evaluate", (ran()))
  end

  it("runs nothing the second time, and prints the same table", function()
    store = folder .. "/twice"
    local _, first = ran()
    local names, second = ran()
    assert.equal("", names)
    assert.equal("", second.err)
    assert.equal(first.out, second.out)
    local _, as_json = ran "--json"
    local r = json.decode(as_json.out)
    assert.equal(19, r.train.steps)
    assert.is_true(r.train.seconds > 0)
    assert.equal(64, r.options.batch)
    assert.equal(first.out, as_json.err)
  end)

  it("runs nothing again for options that change no result", function()
    fresh "insignificant"
    assert.equal("", (ran("--print-freq", "3", "--loaders", "0", "--threads", "2", "--test-batch",
      "10", "--device", "cpu", "--deterministic", "--timing", "--save-model", folder .. "/kept")))
    assert.is_true(#files.read(folder .. "/kept") > 1000)
  end)

  it("runs again what an option concerns, and no more", function()
    fresh "significant"
    assert.equal("Train Evaluate", (ran("--lr", "0.05")))
    assert.equal("Train Evaluate", (ran("--batch", "32")))
    assert.equal("Train Evaluate", (ran("--dim", "5"))) -- what Build gives is never stored
    assert.equal("Evaluate", (ran "--test-only"))
    assert.equal("Clicks Train Evaluate", (ran("--seed", "9")))
    assert.equal("", (ran()))
  end)

  it("trains no more where data made otherwise turn out the same", function()
    fresh "cut"
    assert.equal("Clicks", (ran("--lookups", "3"))) -- of random data alone
  end)

  it("writes the weights from the store as training wrote them", function()
    fresh "weights"
    local trained, kept = folder .. "/trained", folder .. "/from-store"
    result(small("--batch", "64", "--save-model", trained))
    assert.equal("", (ran("--save-model", kept)))
    assert.is_true(files.read(trained) == files.read(kept))
  end)

  it("trains again where the stored weights that it should write are damaged", function()
    fresh "damaged-weights"
    local kept, again = folder .. "/whole", folder .. "/mended"
    assert.equal("", (ran("--save-model", kept)))
    local pipe = io.popen("find " .. store .. "/objects -type f")
    for path in pipe:lines() do
      local bytes = files.read(path)
      if bytes:find("top.1.weight", 1, true) then files.write(path, ("x"):rep(#bytes)) end
    end
    pipe:close()
    local names, got = ran("--save-model", again)
    assert.equal("Train", names)
    assert.matches("its contents have changed: it runs again\n", got.err)
    assert.is_true(files.read(kept) == files.read(again))
  end)

  it("counts a model to load by its contents", function()
    store = folder .. "/contents"
    local path = folder .. "/start"
    result(small("--save-model", path))
    local first = "Clicks Train Evaluate"
    assert.equal(first, (ran("--load-model", path)))
    files.write(folder .. "/copy", files.read(path))
    assert.equal("", (ran("--load-model", folder .. "/copy")))
    result(small("--save-model", path, "--lr", "0.1"))
    assert.equal("Train Evaluate", (ran("--load-model", path)))
  end)

  it("makes data again whose cache was removed", function()
    fresh "uncached"
    files.remove(folder .. "/cache")
    assert.equal("Train Evaluate", (ran("--lr", "0.05")))
    assert.equal("", (ran()))
  end)

  it("finds the project's results from a folder below it, where its cache is", function()
    local project = files.folder()
    local recipe = require "lfs".currentdir() .. "/recipes/dlrm.lua"
    os.execute("mkdir -p " .. project .. "/.mlua " .. project .. "/below")
    for _, runs in ipairs { 3, 0 } do
      local got = process.mlua({ recipe, small("--batch", "64", "--threads", "1") },
        { cwd = project .. "/below", env = { MLUA_STORE = false, MLUA_CACHE = false } })
      assert.equal(0, got.status, got.err)
      assert.equal(runs, select(2, got.err:gsub("  never run\n", "")))
    end
    assert.is_true(files.exists(project .. "/below/.mlua/cache"))
    assert.is_false(files.exists(project .. "/below/.mlua/objects"))
    files.remove(project)
  end)

  it("keeps predictions beside their labels, from which the metrics follow", function()
    fresh "predictions"
    local script = [[
      local ml = require "mlua"
      local node = ml.flow.load "recipes/dlrm.lua" { rows = 1400, dim = 4, bottom = { 8 },
        top = { 8 }, batch = 64 }
      local kept = node:output "predictions"
      print(ml.json.encode { kept = ml.metric.binary and (function()
        local meter = ml.metric.binary()
        meter:add(kept.prediction, kept.label)
        return meter:result()
      end)(), metrics = node:output "metrics", planted = ml.metric.auc(kept.planted, kept.label) })
    ]]
    local got = process.mlua({ "-e", script }, { env = { MLUA_STORE = store } })
    assert.equal(0, got.status, got.err)
    local r = json.decode(got.out)
    assert.equal(r.planted, r.metrics.planted.auc)
    r.metrics.planted = nil
    assert.same(r.metrics, r.kept)
  end)

  it("compares variants, which share one model's first weights", function()
    store = folder .. "/grid"
    local _, alone = ran("--json", "--lr", "0.05")
    store = folder .. "/grid2"
    local names, got = ran("--grid", "lr=0.02,0.05", "--json")
    assert.equal("Clicks Train Train Evaluate Evaluate", names)
    local rows = json.decode(got.out)
    assert.equal(json.decode(alone.out).metrics.auc, rows[2].values.auc)
  end)

  it("previews what would run, and why", function()
    fresh "preview"
    local _, got = ran("--preview", "--lr", "0.05")
    local text = got.out:gsub(" +", " ")
    assert.matches("Train [^\n]*lr=0%.05 … run lr 0%.02 → 0%.05 %(command line%)\n", text)
    assert.matches("Clicks rows=1400 … ready %d+ B, ", text)
    assert.is_nil(text:find("note:", 1, true))
  end)

  it("trains the same in processes of their own", function()
    local one = result(small())
    local two = result(small("--jobs", "2"))
    assert.same(one.metrics, two.metrics)
  end)

  it("ends after --max-steps without a result", function()
    store = folder .. "/steps"
    local names, got = ran("--max-steps", "2", "--timing")
    assert.equal("Clicks Train", names)
    assert.equal("", got.out)
    assert.matches("epoch 1/1  128 samples", got.err)
    assert.matches(" ms  first step\n", got.err)
  end)

  -- --------------------------------------------------------------------------------------------

  it("reads a file in the Criteo format", function()
    local census = files.data "clicks/census.tsv"
    if not census then pending "no clicks/census.tsv" end
    local r = result("--data", census)
    assert.is_true(r.metrics.auc > 0.88, r.metrics.auc)
    assert.is_nil(r.metrics.planted)
    r = result("--data", census, "--hash", "100", "--rows", "2000")
    assert.is_true(r.metrics.auc > 0.7, r.metrics.auc)
  end)

  it("lists its options", function()
    local got = run("--help")
    assert.equal(0, got.status)
    assert.equal("", got.err)
    assert.matches("\n  %-%-batch N +samples per step %(1 to 1048576; default 128; also "
      .. "%-%-mini%-batch%-size%)\n", got.out)
    assert.matches("\n  %-%-threads N [^\n]*%(0 to 1024; ", got.out)
    assert.matches("\n  %-%-loaders N [^\n]*%(0 to 256; ", got.out)
    assert.matches("%$MLUA_CACHE or else %.mlua/cache", got.out)
    assert.is_nil(got.out:find "max%-steps")
  end)

  describe("answers a mistake with one line and no traceback:", function()
    local function refuses(line, ...)
      local words = { ... }
      it(table.concat(words, " "), function()
        assert.equal("mlua: " .. line, refusal(2, unpack(words)))
      end)
    end
    refuses("unknown option '--bacth', did you mean '--batch'?", "--bacth", "2")
    refuses("--batch: 0 is out of range (1 to 1048576)", "--batch", "0")
    refuses("--batch: 100000000 is out of range (1 to 1048576)", "--batch", "100000000")
    refuses("--threads: 5000 is out of range (0 to 1024)", "--threads", "5000")
    refuses("--loaders: 1000 is out of range (0 to 256)", "--loaders", "1000")
    refuses("--tables: expected 1 to 1024 values, got 0", "--tables", "")
    refuses("--batch: expected an integer, got 'two'", "--batch=two")
    refuses("--optimizer: expected adagrad, sgd or rwsadagrad, got 'sdg', did you mean 'sgd'?",
      "--optimizer", "sdg")
    refuses("--data: nothing.tsv: No such file or directory", "--data", "nothing.tsv")
    refuses("--data: /dev/null: not a regular file", "--data", "/dev/null")
    refuses("--load-model: recipes: Is a directory", "--load-model", "recipes")
    refuses("--save-model: recipes: Is a directory", "--save-model", "recipes")
    refuses("--save-model: LICENSE/model: Not a directory (open its directory)", "--save-model",
      "LICENSE/model")
    refuses("--save-model: /dev/full: not a regular file", "--save-model", "/dev/full")
    refuses("--save-model: expected the name of a file, got ''", "--save-model", "")
    refuses("--itself: takes effect with --interaction dot only", "--itself", "--interaction",
      "cat")
    refuses("--loss-weights 1,2: takes effect with --loss wbce only", "--loss-weights", "1,2")
    refuses("--qr-collisions 3: takes effect with --qr only", "--qr-collisions=3")
    refuses("--md-round-dims: takes effect with --md only", "--md-round-dims")
    refuses("--qr and --md exclude each other", "--qr", "--md")
    refuses("--weighted-pooling does not go with --md", "--md", "--weighted-pooling", "learned")
    refuses("--dim 5: expected an even number with --qr-operation concat", "--dim", "5", "--qr",
      "--qr-operation", "concat")
    refuses("--decay-start 5: expected at least --warmup-steps 10", "--decay-start", "5",
      "--warmup-steps", "10")
    refuses("--stop-auc 0.8 needs --test-freq", "--stop-auc", "0.8")
    refuses("--mlperf-acc-threshold 0.8 needs --test-freq", "--mlperf-acc-threshold", "0.8",
      "--test-freq", "-1")
    refuses("--data-generation dataset needs --raw-data-file", "--data-generation=dataset")
    refuses("--hash and --modulo exclude each other", "--hash", "5", "--modulo", "5")
    refuses("--dense 5: only made data takes it, not --data LICENSE", "--data", "LICENSE",
      "--dense", "5")
    refuses("--arch-mlp-bot 13-64-8 means --dim 8, but --dim 16 was given", "--dim", "16",
      "--arch-mlp-bot=13-64-8")
    refuses("--arch-mlp-top: expected 1 as the last width, got '64-2'", "--arch-mlp-top=64-2")
    refuses("--data-generation: expected random or dataset, got 'synthetic' (traces are not "
      .. "provided)", "--data-generation=synthetic")
    refuses("unexpected argument '2'", "2")

    it("a device that is not there", function()
      assert.equal("mlua: --device cuda: this mlua computes on the cpu only",
        refusal(1, "--device", "cuda"))
    end)

    it("a folder that is not there, before any training", function()
      assert.equal("mlua: --save-model: " .. folder .. "/none/model: No such file or directory "
        .. "(open its directory)", refusal(2, small("--save-model", folder .. "/none/model")))
    end)

    it("a pipe as data, without waiting", function()
      os.execute("mkfifo " .. folder .. "/pipe")
      assert.equal("mlua: --data: " .. folder .. "/pipe: not a regular file",
        refusal(2, "--data", folder .. "/pipe"))
    end)

    it("a row that is not well formed", function()
      local path = files.write(folder .. "/bad.tsv", "1\t2\n")
      assert.equal(("mlua: Clicks: %s:1: expected 40 columns, got 2"):format(path),
        refusal(1, "--data", path))
    end)

    it("a model file that is damaged", function()
      local path = files.write(folder .. "/damaged", "\255\255\255\255\255\255\255\255")
      assert.matches("^mlua: Build: %-%-load%-model: " .. path:gsub("%p", "%%%0") .. ": ",
        refusal(1, small("--load-model", path)))
    end)
  end)
end)

describe("configuration files of recipes/dlrm.lua", function()
  it("say a whole experiment, over which options win", function()
    local got = result("--config", "recipes/dlrm/tiny.yaml", "--batch", "128")
    assert.same({ 451, 128, 2 }, { got.parameters, got.options.batch, got.options.dim })
  end)

  it("name models of the public program", function()
    for name, width in pairs { kaggle = "16", mlperf = "128" } do
      local got = run("--config", "recipes/dlrm/" .. name .. ".yaml", "--preview")
      assert.equal(0, got.status, got.err)
      assert.truthy(width == "16" or got.out:find("dim=" .. width, 1, true), got.out)
      assert.truthy(got.out:find "optimizer=sgd")
    end
  end)

  it("train an ensemble of two by a weighted sum of losses, a column each", function()
    local got = result("--config", "recipes/dlrm/ensemble.yaml")
    assert.same({ "ensemble", "sum", 2 }, { got.options.model.type, got.options.loss.type,
      #got.options.model.parts })
    assert.is_true(got.metrics.auc > 0.8, "AUC " .. got.metrics.auc)
    local alone = result("--config", "recipes/dlrm/ensemble.yaml", "--loss", "bce")
    assert.not_equal(got.metrics.log_loss, alone.metrics.log_loss)
    local other = result("--config", "recipes/dlrm/ensemble.yaml", "--model.parts.1.dim", "3")
    assert.is_true(other.parameters < got.parameters)
  end)

  it("describe no model beside one of the registry", function()
    local got = run("--model", "dlrm", "--dim", "4")
    assert.equal(2, got.status)
    assert.equal("mlua: --dim 4: takes no effect with --model, which has its own\n", got.err)
  end)

  it("ask for several runs by a grid and by variants", function()
    files.write(folder .. "/grid.yaml", [[
rows: 2000
variants: {small: {dim: 2}, large: {dim: 4}}
grid: {lr: [0.1, 0.2]}
]])
    local got = run("--config", folder .. "/grid.yaml")
    assert.equal(0, got.status, got.err)
    for _, line in ipairs { "  2   0.1 ", "  2   0.2 ", "  4   0.1 ", "  4   0.2 " } do
      assert.truthy(got.out:find(line, 1, true), got.out)
    end
  end)

  it("read back as they are shown", function()
    for _, name in ipairs { "tiny", "kaggle", "ensemble" } do
      local path, shown = "recipes/dlrm/" .. name .. ".yaml", folder .. "/shown.yaml"
      local got = process.mlua { "config", "show", "recipes/dlrm.lua", "--config", path }
      assert.equal(0, got.status, got.err)
      files.write(shown, got.out)
      got = process.mlua { "config", "check", shown, "recipes/dlrm.lua" }
      assert.equal(0, got.status, got.err)
      got = process.mlua { "diff", path, shown, "--recipe", "recipes/dlrm.lua" }
      assert.same({ 0, "" }, { got.status, got.out .. got.err })
    end
  end)

  it("take no options of the program for a run", function()
    files.write(folder .. "/bad.yaml", "variants: {a: {jobs: 2}}\ngrid: {preview: [yes]}\n")
    local got = run("--config", folder .. "/bad.yaml")
    assert.equal(2, got.status)
    assert.equal(([[
mlua: PATH:2: grid.preview: an option of the program, not of a run
PATH:1: variants.a.jobs: an option of the program, not of a run
]]):gsub("PATH", folder .. "/bad.yaml"), got.err)
  end)

  it("are refused with all that is wrong in them", function()
    files.write(folder .. "/bad.yaml", "bath: 2\nlr: fast\nTrain:\n  lr: -1\n")
    local got = run("--config", folder .. "/bad.yaml")
    assert.equal(2, got.status)
    assert.equal(([[
mlua: PATH:1: bath: unknown key, did you mean 'batch'?
PATH:2: lr: expected a number, got 'fast'
PATH:4: Train.lr: -1 is out of range (at least 0)
]]):gsub("PATH", folder .. "/bad.yaml"), got.err)
  end)
end)
