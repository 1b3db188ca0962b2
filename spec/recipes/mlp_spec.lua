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
