-- The JSON Schema of configuration files: that it is what it should be, and that it agrees with
-- what mlua takes, as Python's jsonschema sees it. Pending where that is not installed.
local corpus = require "spec.support.config_corpus"
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local ml = require "mlua"
local process = require "spec.support.process"
local schema = require "mlua.config.schema"
local yaml = require "mlua.config.yaml"
local param = ml.param

local folder, path

setup(function()
  folder = files.folder()
  path = folder .. "/x.yaml"
end)
teardown(function() files.remove(folder) end)

local REFERENCE = { ["$ref"] = "#/$defs/reference" }

describe("config.schema", function()
  local of = schema.of(corpus.spec())
  local keys = of.properties

  it("describes one value by its kind, with range, default, unit and what it is for", function()
    assert.same({
      anyOf = { { type = "integer", minimum = 1, maximum = 2 ^ 53 }, REFERENCE },
      default = 128, description = "samples a step",
    }, keys.batch)
    assert.same({
      anyOf = { { type = "number", exclusiveMinimum = 0, maximum = 10 }, REFERENCE },
      default = 0.1, description = "learning rate (1/step)",
    }, keys.lr)
    assert.same({ anyOf = { { enum = { "bce", "mse", "l1.5" } }, REFERENCE }, default = "bce" },
      keys.loss)
    assert.same({ anyOf = { { type = "boolean" }, { ["$ref"] = "#/$defs/truth" }, REFERENCE },
                  default = true }, keys.shuffle)
    assert.same({ type = { "boolean", "number", "string" }, default = "a" }, keys.name)
  end)

  it("describes lists with their elements and lengths", function()
    local pair = keys.pair
    assert.same({
      type = "array", minItems = 2, maxItems = 2,
      items = { anyOf = { { type = "integer", minimum = -2 ^ 53, maximum = 2 ^ 53 }, REFERENCE } },
    }, pair.anyOf[1])
    assert.same({ 1, -1 }, pair.default)
    assert.equal("[]", json.encode(keys.tags.default))
  end)

  it("has sections within, takes other spellings by patterns, and refuses all else", function()
    assert.same({ "object", "null" }, keys.model.type)
    assert.is_false(keys.model.additionalProperties)
    assert.equal(2, keys.model.properties.deep.properties.width.anyOf[1].minimum)
    local at = "#/properties/model/properties/deep/properties/width"
    assert.same({ ["$ref"] = at }, of.patternProperties["^model[.]deep[.]width$"])
    assert.same({ ["$ref"] = at }, keys.model.patternProperties["^deep[.]width$"])
    assert.same({ ["$ref"] = "#/properties/batch" }, of.patternProperties["^mini[-_]batch$"])
    assert.is_false(of.additionalProperties)
    assert.is_nil(of.required)
  end)

  it("has the options of each part under its type", function()
    assert.same({ { ["$ref"] = "#/$defs/dish" } }, keys.main.anyOf)
    assert.equal("soup", keys.main.default)
    local defs = of["$defs"]
    assert.same({ anyOf = { { enum = { "menu", "soup" } }, { type = "string" },
                            { ["$ref"] = "#/$defs/dish-options" } } }, defs.dish)
    assert.same({
      ["if"] = { properties = { type = { const = "soup" } }, required = { "type" } },
      ["then"] = { ["$ref"] = "#/$defs/dish.soup" },
    }, defs["dish-options"].allOf[2])
    assert.equal("from a pot", defs["dish.soup"].description)
    assert.equal("on the stove (minutes)", defs["dish.soup"].properties.minutes.description)
    assert.same({ { ["$ref"] = "#/$defs/dish" } }, defs["dish.menu"].properties.first.anyOf)
  end)

  it("offers what belongs to the experiment, and takes the rest without offering it", function()
    local some = schema.of(corpus.spec(), function(entry) return entry.name ~= "secret" end)
    assert.is_nil(some.properties.secret)
    assert.same({ ["$ref"] = "#/$defs/own.secret" }, some.patternProperties["^secret$"])
    assert.equal(0, some["$defs"]["own.secret"].anyOf[1].minimum)
  end)

  it("keeps a key of an option that has a reserved name, beside the map that is mlua's", function()
    local own = schema.of(param.spec { dishes = param.dishes { {} }, recipe = param.int {} })
    assert.same({ ["$ref"] = "#/$defs/own.dishes" }, own.properties.dishes.anyOf[1].allOf[1])
    assert.same({ "object", "null" }, own.properties.dishes.anyOf[2].type)
    assert.equal("integer", own.properties.recipe.anyOf[1].anyOf[1].type)
  end)

  it("is the same text each time", function()
    assert.equal(schema.text(corpus.spec()), schema.text(corpus.spec()))
  end)
end)

-- -- agreement with mlua -----------------------------------------------------------------------

-- A scalar as an editor reads it: YAML 1.2's core schema, but for .inf and .nan, which are no JSON.
local function core(node)
  local s = node.text
  if node.quoted then return json.quote(s) end
  if s == "true" or s == "True" or s == "TRUE" then return "true" end
  if s == "false" or s == "False" or s == "FALSE" then return "false" end
  local value
  if s:find "^0x%x+$" then value = tonumber(s)
  elseif s:find "^0o[0-7]+$" then value = tonumber(s:sub(3), 8)
  elseif s:find "^[+-]?%.?%d" and s:find "^[+-]?%d*%.?%d*$" or
    s:find "^[+-]?%d*%.?%d*[eE][+-]?%d+$" and s:find "^[+-]?%.?%d" then
    value = tonumber((s:gsub("^%+", "")))
  end
  return value and json.number(value) or json.quote(s)
end

-- A node as JSON.
local function written(node)
  if node.kind == "scalar" then return core(node) end
  if node.kind == "null" then return "null" end
  local list = {}
  for i, each in ipairs(node.items or node.keys) do
    list[i] = node.items and written(each) or json.quote(each.name) .. ":" .. written(each.node)
  end
  return (node.items and "[%s]" or "{%s}"):format(table.concat(list, ","))
end

-- Whether mlua takes a file, and else why not.
local function takes(text)
  files.write(path, text)
  local ok, problem = pcall(function()
    local spec = corpus.spec()
    local values, why, reading = spec:read { "--config", path }
    if not values then return not why:find "^missing option" and why or nil end
    if reading then require "mlua.config.grid".runs(spec, values, reading) end
  end)
  if not ok then problem = type(problem) == "table" and problem.message or problem end
  return problem == nil, problem
end

local CHECK = [[
import json, sys
try:
    import jsonschema
except ImportError:
    sys.exit(77)
import warnings
warnings.simplefilter("ignore")
from jsonschema import Draft7Validator
classes = [Draft7Validator]
if hasattr(jsonschema, "Draft202012Validator"):
    classes.append(jsonschema.Draft202012Validator)
for task in json.load(sys.stdin):
    for one in classes: one.check_schema(task["schema"])
    validators = [one(task["schema"]) for one in classes]
    for value in task["files"]:
        found = set(v.is_valid(value) for v in validators)
        print("differ" if len(found) > 1 else "right" if found.pop() else "wrong")
]]

-- Checks files, as JSON, by a schema: a word for each; nil where no Python has jsonschema.
local function validate(tasks)
  local input = {}
  for i, task in ipairs(tasks) do
    input[i] = ('{"schema":%s,"files":[%s]}'):format(task[1], table.concat(task[2], ","))
  end
  local got
  for _, python in ipairs { os.getenv "MLUA_PEER_PYTHON" or "/usr/bin/python3", "python3" } do
    got = process.run({ python, "-c", CHECK },
      { stdin = "[" .. table.concat(input, ",") .. "]", timeout = 120 })
    if got.status == 0 then
      local words = {}
      for word in got.out:gmatch "%S+" do words[#words + 1] = word end
      return words
    end
    assert(got.status == 77 or got.status == 127, got.err)
  end
end

describe("the schema of configuration files agrees with mlua:", function()
  local right = {} -- text → whether the schema takes it; nil: YAML is not read
  local recipe = {} -- the same, of the files of a recipe
  local have

  setup(function()
    local texts, trees = {}, {}
    local function add(text)
      local root = yaml.read(text)
      if root then
        texts[#texts + 1], trees[#trees + 1] = text, written(root)
      end
    end
    for _, text in ipairs(corpus.agreed) do add(text) end
    for _, set in ipairs { corpus.unseen, corpus.narrow } do
      for _, list in pairs(set) do
        for _, text in ipairs(list) do add(text) end
      end
    end
    local names, own = { "a mistake" }, { '{"batch":"wide"}' }
    for name in lfs.dir "recipes/dlrm" do
      if name:find "%.yaml$" then
        local root = assert(require "mlua.config".read("recipes/dlrm/" .. name))
        names[#names + 1], own[#own + 1] = name, written(root)
      end
    end
    local dlrm = process.mlua { "config", "schema", "recipes/dlrm.lua" }
    assert.equal(0, dlrm.status, dlrm.err)
    local words = validate { { schema.text(corpus.spec()), trees }, { dlrm.out, own } }
    have = words ~= nil
    for i, word in ipairs(words or {}) do
      if i <= #texts then right[texts[i]] = word else recipe[names[i - #texts]] = word end
    end
  end)

  local function needs(name, run)
    it(name, function()
      if not have then return pending "no Python has jsonschema (MLUA_PEER_PYTHON)" end
      run()
    end)
  end

  needs("it takes exactly what mlua takes, as far as a schema can see", function()
    local wrong, taken, refused = {}, 0, 0
    for _, text in ipairs(corpus.agreed) do
      local ok, why = takes(text)
      if ok then taken = taken + 1 else refused = refused + 1 end
      if right[text] ~= (ok and "right" or "wrong") then
        wrong[#wrong + 1] = ("%q: mlua %s, the schema: %s"):format(text, ok and "takes it" or why,
          right[text] or "not read")
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
    assert.is_true(taken > 120 and refused > 120)
  end)

  for reason, texts in pairs(corpus.unseen) do
    needs("it cannot see " .. reason, function()
      for _, text in ipairs(texts) do
        assert.is_false(takes(text), text)
        assert.is_true(right[text] == nil or right[text] == "right", text)
      end
    end)
  end

  for reason, texts in pairs(corpus.narrow) do
    needs("it refuses " .. reason .. ", which mlua takes", function()
      for _, text in ipairs(texts) do
        assert.is_true(takes(text), text)
        assert.equal("wrong", right[text], text)
      end
    end)
  end

  needs("the files of a recipe are right by its schema, and a mistake in one is not", function()
    local expected = { ["a mistake"] = "wrong" }
    for name in pairs(recipe) do expected[name] = expected[name] or "right" end
    assert.truthy(expected["kaggle.yaml"] and expected["tiny.yaml"])
    assert.same(expected, recipe)
  end)
end)
