-- recipes/mlp.lua: rows of any CSV file, classified or with a number predicted.
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local RECIPE = lfs.currentdir() .. "/recipes/mlp.lua"
local program = process.program()

local folder
setup(function() folder = files.folder() end)
teardown(function() files.remove(folder) end)

local function run(...)
  return process.run({ program, RECIPE, "--json", ... },
    { cwd = folder, env = { MLUA_STORE = folder .. "/store" } })
end

local function result(...)
  local r = run(...)
  assert.equal(0, r.status, r.err)
  return json.decode(r.out:match "([^\n]*)\n*$").outputs.output, r
end

-- price = 30 a - 20 b, and 10 more where it is red.
local function houses()
  local lines = { "a,b,color,rooms,price" }
  for i = 1, 300 do
    local a, b, red = i * 37 % 101 / 101, i * 53 % 89 / 89, i % 3 == 0
    lines[#lines + 1] = ("%.4f,%.4f,%s,%d,%.4f"):format(a, b, red and "red" or "blue", i % 4 + 1,
      100 + 30 * a - 20 * b + (red and 10 or 0))
  end
  files.write(folder .. "/houses.csv", table.concat(lines, "\n") .. "\n")
  return "--data", "houses.csv"
end

-- Visits of patients, ten each, whose number x is; y is for each, in a file of its own.
local function visits()
  local a, b = { "id,patient,x,weight" }, { "label,id" }
  for i = 1, 100 do
    local patient = i % 10
    a[#a + 1] = ("%d,p%d,%d,%d"):format(i, patient, patient, i == 7 and 1 or 0)
    if i % 25 ~= 0 then b[#b + 1] = ("%s,%d"):format(patient < 2 and "sick" or "well", i) end
  end
  files.write(folder .. "/visits.csv", table.concat(a, "\n") .. "\n")
  files.write(folder .. "/labels.csv", table.concat(b, "\n") .. "\n")
  return "--data", "visits.csv,labels.csv", "--key", "id"
end

-- What a script that has the outputs of Rows as `rows`, fold by fold, prints.
local function look(parameters, body)
  files.write(folder .. "/look.lua", ([[
local ml = require "mlua"
local node = ml.load(%q) { %s }
node:run()
for _, each in ipairs(require "mlua.task.node".graph { node }) do
  if each._task.name == "Rows" then
    local rows = { x = each:output "tensors", columns = each:output "columns",
                   about = each:output "about" }
    %s
  end
end
]]):format(RECIPE, parameters, body))
  local r = process.run({ program, "look.lua" },
    { cwd = folder, env = { MLUA_STORE = folder .. "/store" } })
  assert.equal(0, r.status, r.err)
  return r.out
end

describe("recipes/mlp.lua", function()
  it("tells two spirals apart without any data of one's own", function()
    local found = result()
    assert.is_true(found.accuracy > 0.97, tostring(found.accuracy))
    assert.same({ 200, 1000, "spiral" }, { found.rows, found.steps, found.target })
  end)

  it("predicts a column of numbers", function()
    local a, b = houses()
    local found = result(a, b, "--target", "price")
    assert.is_nil(found.accuracy)
    assert.is_true(found.rmse < 1, tostring(found.rmse)) -- of prices that differ by tens
  end)

  it("predicts words, and whole numbers of few values, as classes", function()
    local a, b = houses()
    assert.is_true(result(a, b, "--target", "color").accuracy > 0.95)
    assert.is_number(result(a, b, "--target", "rooms", "--epochs", "1").accuracy)
    assert.is_number(result(a, b, "--target", "rooms", "--epochs", "1", "--kind",
      "regression").rmse)
  end)

  it("says what is wrong with a file", function()
    local a, b = houses()
    assert.matches("no column 'prise', did you mean 'price'?",
      run(a, b, "--target", "prise").err, 1, true)
    assert.matches("column 'color': regression needs numbers",
      run(a, b, "--target", "color", "--kind", "regression").err, 1, true)
    files.write(folder .. "/one.csv", "a,b\n1,2\n")
    assert.matches("one.csv: 1 rows; at least 2 are needed", run("--data", "one.csv").err, 1, true)
    files.write(folder .. "/bad.csv", "a,b\n1,2,3\n4,5\n")
    assert.matches("bad.csv: line 2: ", run("--data", "bad.csv").err, 1, true)
  end)

  it("refuses a number that is missing, unless the mean is to stand for it", function()
    houses()
    local text = assert(files.read(folder .. "/houses.csv"))
    -- The sixth row is the first whose a begins so: 6 * 37 is 20 and twice 101.
    files.write(folder .. "/holes.csv", (text:gsub("\n0%.1[^,]*,", "\n?,", 1)))
    local words = { "--data", "holes.csv", "--target", "price", "--epochs", "1" }
    local r = run(unpack(words))
    assert.equal(1, r.status)
    assert.matches("\nmlua: Rows: column 'a': 1 of 300 values is no number ('?' in row 6); give "
      .. "missing = mean ", r.err, 1, true)
    words[#words + 1] = "--missing"
    words[#words + 1] = "mean"
    assert.is_number(result(unpack(words)).rmse)
    words[#words - 1], words[#words] = "--words", "a"
    assert.is_number(result(unpack(words)).rmse)
  end)

  it("joins files by a key, which is no input, and says what is left out", function()
    local a, b, c, d = visits()
    local found, r = result(a, b, c, d, "--epochs", "1", "--group", "patient", "--target", "label")
    assert.same({ 4, 0 }, found.dropped) -- of a hundred visits four have no label
    assert.matches("\nleft out of visits.csv +4\n", r.err)
    assert.not_matches("left out of labels.csv", r.err)
    assert.equal("x weight\n", look([[data = { "visits.csv", "labels.csv" }, key = "id",
      group = "patient", epochs = 1]], [[print(table.concat(rows.about.inputs, " "))]]))
    assert.matches("no column 'patien', did you mean 'patient'?", run(a, b, c, d, "--group",
      "patien").err, 1, true)
  end)

  it("has no group on both sides: neither of a share, nor of folds", function()
    visits()
    for split, wanted in pairs { -- of rows on both sides, that test, that train
      ["test = 0.3"] = "0 30 70\n", ["folds = 5"] = ("0 20 80\n"):rep(5),
      ["folds = 3"] = "0 40 60\n0 30 70\n0 30 70\n",
    } do
      assert.equal(wanted, look([[data = { "visits.csv" }, target = "weight", group = "patient",
        kind = "regression", epochs = 1, ]] .. split, [=[
        local inputs = table.concat(rows.about.inputs, " ")
        assert(inputs == "id x", inputs)
        local seen, both, n = {}, 0, 0
        for _, row in ipairs(rows.x.train_x:totable()) do seen[row[2]] = true end
        for _, row in ipairs(rows.x.test_x:totable()) do
          both, n = both + (seen[row[2]] and 1 or 0), n + 1
        end
        print(("%d %d %d"):format(both, n, rows.x.train_x:size(1))) ]=]))
    end
  end)

  it("trains each fold, and gives mean and deviation", function()
    local found, r = result("--folds", "3", "--epochs", "3")
    local sum, each = 0, {}
    for fold = 1, 3 do -- each was a result of its own, which is not made again
      local one, again = result("--folds", "3", "--fold", tostring(fold), "--epochs", "3")
      assert.not_matches("Train", again.err)
      each[fold], sum = one.accuracy, sum + one.accuracy
      assert.equal(fold == 1 and 334 or 333, one.rows)
    end
    local mean, squares = sum / 3, 0
    for fold = 1, 3 do squares = squares + (each[fold] - mean) ^ 2 end
    assert.same(each, found.each)
    assert.near(mean, found.accuracy, 1e-12)
    assert.near(math.sqrt(squares / 2), found.deviation, 1e-12)
    assert.same({ 3, 1000, 3 * 63 }, { found.folds, found.rows, found.steps })
    assert.matches("\ndeviation over folds +0%.%d+\n", r.err)
    local a, b = houses()
    found = result(a, b, "--folds", "2", "--epochs", "1")
    assert.same({ 2, 300 }, { #found.each, found.rows })
    assert.near((found.each[1] + found.each[2]) / 2, found.rmse, 1e-9)
  end)

  it("trains only the folds that are missing, after it was killed", function()
    local words = { "--folds", "3", "--epochs", "4", "--seed", "8" }
    local wanted = json.encode((result(unpack(words))))
    local env = { MLUA_STORE = folder .. "/killed", MLUA_STORE_FAULT = "rename:42:KILL" }
    local r = process.run({ program, RECIPE, "--json", unpack(words) }, { cwd = folder, env = env })
    assert.equal(137, r.status)
    env.MLUA_STORE_FAULT = nil
    r = process.run({ program, RECIPE, "--json", unpack(words) }, { cwd = folder, env = env })
    assert.equal(0, r.status, r.err)
    local _, trained = r.err:gsub("%d  Train", "")
    assert.is_true(trained >= 1 and trained <= 2, r.err)
    assert.equal(wanted, json.encode(json.decode(r.out:match "([^\n]*)\n*$").outputs.output))
  end)

  it("says which folds there cannot be", function()
    for words, message in pairs {
      ["--folds 1"] = "--folds: expected at least 2, or 0 for none",
      ["--fold 3"] = "--fold 3: there are no folds (--folds)",
      ["--folds 3 --fold 4"] = "--fold 4: there are 3",
      ["--folds 3 --run mine"] = "--run: one folder, for one training; --folds 3 has as many "
        .. "(--fold names one)",
    } do
      local list = {}
      for word in words:gmatch "%S+" do list[#list + 1] = word end
      local r = run(unpack(list))
      assert.same({ "mlua: " .. message .. "\n", 2 }, { r.err, r.status })
    end
    local a, b, c, d = visits()
    assert.matches("\nmlua: Rows: folds: k = 12, and there are 10 groups\n",
      run(a, b, c, d, "--group", "patient", "--folds", "12").err, 1, true)
  end)

  it("says that it stopped early, and why", function()
    local words = { "--patience", "2", "--widths", "4", "--optimizer", "{type: sgd, lr: 1e-9}" }
    local found, r = result(unpack(words)) -- nothing is learned: no test is better than the first
    local why = "accuracy has not become better in 2 tests"
    assert.same({ 3 * 25, why }, { found.steps, found.stopped })
    assert.matches("\nstopped +" .. why .. "\n", r.err)
    words[#words + 1] = "--folds"
    words[#words + 1] = "2"
    found, r = result(unpack(words))
    assert.equal("2 of 2 trainings, early", found.stopped)
    assert.matches("\nstopped +2 of 2 trainings, early\n", r.err)
    found, r = result("--widths", "4", "--epochs", "1")
    assert.is_nil(found.stopped)
    assert.not_matches("stopped", r.err)
  end)

  it("takes a sampler, which knows the columns and the target", function()
    local a, b, c, d = visits()
    local words = { a, b, c, d, "--target", "label", "--epochs", "2", "--batch", "7" }
    local function with(...)
      local all = { unpack(words) }
      for _, word in ipairs { ... } do all[#all + 1] = word end
      return result(unpack(all))
    end
    assert.equal(2 * 11, with().steps) -- 96 rows, of which 19 test
    assert.equal(2 * 2, with("--sampler", "{type: grouped, by: patient, each: 1}").steps)
    assert.equal(2 * 5, with("--sampler", "balanced", "--sampler.count", "35").steps)
    assert.not_equal(with().training_loss, with("--sampler", "balanced").training_loss)
    assert.equal(with("--sampler", "balanced").training_loss,
      with("--sampler", "balanced", "--sampler.by", "label").training_loss)
    assert.equal(with().training_loss, with("--sampler", "shuffled").training_loss)
    -- Words are no weights, though they are kept as ids.
    for sampler, message in pairs {
      ["{type: weighted, by: label}"] = "weighted: column 'label'",
      ["{type: weighted, by: target}"] = "weighted: column 'target'",
      ["{type: nested, by: [x], weights: [patient]}"] = "nested: column 'patient'",
    } do
      local refused = run(a, b, c, d, "--target", "label", "--sampler", sampler)
      assert.equal(1, refused.status)
      assert.matches("mlua: Train: sampler " .. message
        .. ": expected weights of at least 0, got '", refused.err, 1, true)
    end
    local r = run(a, b, c, d, "--sampler", "balanced", "--sampler.by", "labl")
    assert.matches("mlua: Train: sampler: no column 'labl', did you mean 'label'?", r.err, 1, true)
  end)

  it("goes on where it was killed, with dropout, a schedule and clipping", function()
    local words = { "--epochs", "200", "--dropout", "0.1", "--clip-norm", "1", "--schedule",
      "{type: cosine, steps: 5000}", "--checkpoint-minutes", "0.0002", "--seed", "4" }
    local found = result(unpack(words))
    local wanted = json.encode(found)
    local r = process.run({ program, RECIPE, "--json", unpack(words) }, { cwd = folder,
      env = { MLUA_STORE = folder .. "/other", MLUA_STORE_FAULT = "rename:40:KILL" } })
    assert.equal(137, r.status)
    r = process.run({ program, RECIPE, "--json", unpack(words) },
      { cwd = folder, env = { MLUA_STORE = folder .. "/other" } })
    assert.matches("goes on at step [1-9]", r.err)
    assert.equal(wanted,
      json.encode(json.decode(r.out:match "([^\n]*)\n*$").outputs.output))
  end)
end)

describe("recipes/mlp.lua with other weights to begin with", function()
  local load = require "mlua".safetensors.load

  -- The run of a training and its weights, as tables.
  local function trained(...)
    local before = {}
    local root = folder .. "/store/runs/Train"
    if files.exists(root) then
      for name in lfs.dir(root) do before[name] = true end
    end
    local r = run(...)
    assert.equal(0, r.status, r.err)
    for name in lfs.dir(root) do
      if not before[name] and not name:find "^%." then
        local weights = {}
        for key, t in pairs(load(root .. "/" .. name .. "/outputs/model.safetensors")) do
          weights[key] = t:totable()
        end
        return root .. "/" .. name, weights
      end
    end
    error "no new run"
  end

  it("takes those that fit, under other names, and leaves frozen ones as they are", function()
    local base, old = trained("--widths", "8", "--epochs", "3", "--seed", "31")
    local _, new = trained("--widths", "8,4", "--epochs", "2", "--seed", "32", "--init", base,
      "--init-partial", "--freeze", "^1%.")
    assert.same(old["1.weight"], new["1.weight"])
    assert.same(old["1.bias"], new["1.bias"])
    assert.same({ 4, 8 }, { #new["2.weight"], #new["2.weight"][1] }) -- did not fit
    _, new = trained("--widths", "8", "--epochs", "0", "--seed", "33", "--init", base,
      "--init-partial", "--init-rename", "^2%.=3.")
    assert.same(old["1.weight"], new["1.weight"])
    assert.not_same(old["2.weight"], new["2.weight"])
  end)

  it("says what does not go together", function()
    for message, words in pairs {
      ["Train: init_rename: expected OLD=NEW, got 'x'"] = { "--init-rename", "x" },
      ["Train: init_rename, init_partial: take effect with init only"] = { "--init-partial" },
      ["Train: freeze: no parameter is called like '^9'"] = { "--freeze", "^9" },
    } do
      local r = run("--seed", "34", unpack(words))
      assert.equal(1, r.status)
      assert.equal("mlua: " .. message, r.err:match "([^\n]*)\n$")
    end
  end)
end)
