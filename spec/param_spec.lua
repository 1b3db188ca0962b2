local param = require "mlua.param"
local fail = require "mlua.fail"

-- A spec with one of everything.
local function example(info)
  return param.spec({
    batch = param.int { 128, min = 1, doc = "samples per step", alias = "mini-batch-size",
      short = "b" },
    param.group "Model" {
      top = param.ints { { 512, 256 }, min = 1, doc = "hidden widths of the top MLP" },
      interaction = param.choice { "dot", "cat", doc = "how features meet" },
      loss_weights = param.numbers { { 1, 1 }, length = 2 },
    },
    param.group "Training" {
      lr = param.number { 0.1, above = 0, unit = "per step" },
      sample = param.number { 0, min = 0, max = 1 },
      json = param.bool { doc = "end with a line of JSON" },
      shuffle = param.bool { true },
      device = param.device { "auto" },
      save = param.path { doc = "where the model goes" },
      words = param.strings { { "a", "b" } },
    },
  }, info)
end

local function read(...)
  return example():read { ... }
end

-- The one line that a command line is refused with.
local function refusal(...)
  local values, message = read(...)
  assert.is_nil(values)
  assert.is_nil(message:find "\n")
  return message
end

describe("param", function()
  it("gives defaults where nothing is said", function()
    local o, rest = read()
    assert.equal(128, o.batch)
    assert.same({ 512, 256 }, o.top)
    assert.equal("dot", o.interaction)
    assert.is_false(o.json)
    assert.is_true(o.shuffle)
    assert.is_nil(o.save)
    assert.same({}, rest)
  end)

  it("takes --name value, --name=value, -s value, aliases, and _ for -", function()
    assert.equal(2, read("--batch", "2").batch)
    assert.equal(2, read("--batch=2").batch)
    assert.equal(2, read("-b", "2").batch)
    assert.equal(2, read("--mini-batch-size=2").batch)
    assert.same({ 1, 3 }, read("--loss_weights", "1,3").loss_weights)
    assert.same({ 1, 3 }, read("--loss-weights", "1,3").loss_weights)
  end)

  it("takes --flag, --no-flag, --flag=no and --flag no", function()
    assert.is_true(read("--json").json)
    assert.is_false(read("--no-shuffle").shuffle)
    assert.is_false(read("--shuffle=no").shuffle)
    assert.is_false(read("--shuffle", "False").shuffle)
    local o = read("--json", "--batch", "3")
    assert.is_true(o.json)
    assert.equal(3, o.batch)
  end)

  it("reads lists with commas or the public DLRM's dashes", function()
    assert.same({ 512, 256, 64 }, read("--top", "512,256,64").top)
    assert.same({ 512, 256, 64 }, read("--top", "512, 256, 64").top)
    assert.same({ 512, 256, 64 }, read("--top=512-256-64").top)
    assert.same({ 8 }, read("--top", "8").top)
    assert.same({}, read("--top", "").top)
    assert.same({ 1, 2.5 }, read("--loss-weights", "1.0-2.5").loss_weights)
    assert.same({ 1e-3, 2 }, read("--loss-weights", "1e-3-2").loss_weights)
    assert.same({ "x", "y z" }, read("--words", "x,y z").words)
  end)

  it("takes numbers as people write them, and no others", function()
    assert.equal(1e-3, read("--lr", "1e-3").lr)
    assert.equal(0.5, read("--lr", ".5").lr)
    assert.equal(1000000, read("--batch", "1e6").batch)
    assert.equal("--batch: expected an integer, got '0x10'", refusal("--batch", "0x10"))
    assert.equal("--lr: expected a number, got 'nan'", refusal("--lr", "nan"))
    assert.equal("--lr: expected a number, got 'inf'", refusal("--lr", "inf"))
    assert.equal("--batch: expected an integer, got 2.5", refusal("--batch", "2.5"))
    assert.equal("--lr: expected a number, got inf", refusal("--lr", "1e999"))
  end)

  it("takes the last of two", function()
    assert.equal(3, read("--batch", "2", "--batch", "3").batch)
  end)

  it("remembers where a value came from", function()
    local o = read("--mini-batch-size", "2", "--json")
    assert.same({ "command line", "--mini-batch-size 2" }, { param.origin(o, "batch") })
    assert.same({ "command line", "--json" }, { param.origin(o, "json") })
    assert.same({ "default" }, { param.origin(o, "lr") })
    assert(param.set(o, "lr", 0.3, "a schedule"))
    assert.equal("a schedule", (param.origin(o, "lr")))
    assert.same({ { name = "batch", text = "2", from = "command line" } },
      { example():describe(read("--batch", "2"), true)[1] })
  end)

  it("suggests the option that a misspelt one meant", function()
    assert.equal("unknown option '--bacth', did you mean '--batch'?", refusal("--bacth", "2"))
    assert.equal("unknown option '--bath', did you mean '--batch'?", refusal("--bath=2"))
    assert.equal("unknown option '--no-jsn', did you mean '--no-json'?", refusal("--no-jsn"))
    assert.equal("unknown option '--inter', did you mean '--interaction'?", refusal("--inter", "x"))
    assert.equal("unknown option '-batch', did you mean '--batch'?", refusal("-batch", "2"))
    assert.equal("unknown option '--zzz'", refusal("--zzz"))
    assert.equal("unknown option '--no-batch'", refusal("--no-batch"))
  end)

  it("names option, value and range when a value is out of range", function()
    assert.equal("--batch: 0 is out of range (at least 1)", refusal("--batch", "0"))
    assert.equal("--mini-batch-size: -3 is out of range (at least 1)",
      refusal("--mini-batch-size=-3"))
    assert.equal("--lr: 0 is out of range (above 0)", refusal("--lr", "0"))
    assert.equal("--sample: 1.5 is out of range (0 to 1)", refusal("--sample", "1.5"))
    assert.equal("--top: 0 is out of range (at least 1)", refusal("--top", "8,0"))
    assert.equal("--loss-weights: expected 2 values, got 3", refusal("--loss-weights", "1,2,3"))
    assert.equal("2 values", example():param("loss_weights"):range())
    assert.equal("1 to 3 values, each at least 1",
      param.ints({ length = { 1, 3 }, min = 1 }):range())
  end)

  it("says what was expected when the type is wrong", function()
    assert.equal("--batch: expected an integer, got 'two'", refusal("--batch", "two"))
    assert.equal("--top: expected an integer, got 'x'", refusal("--top", "8,x"))
    assert.equal("--top: expected an integer, got ''", refusal("--top", "8,,8"))
    assert.equal("--json: expected yes or no, got 'maybe'", refusal("--json=maybe"))
    assert.equal("--interaction: expected dot or cat, got 'dott', did you mean 'dot'?",
      refusal("--interaction", "dott"))
    assert.equal("--device: expected auto, cpu, cuda or cuda:0, cuda:1 …, got 'gpu'",
      refusal("--device", "gpu"))
  end)

  it("says so when a value is missing, or a flag is given one", function()
    assert.equal("--batch: expected an integer, got nothing", refusal("--batch"))
    assert.equal("--batch: expected an integer, got option '--json'", refusal("--batch", "--json"))
    assert.equal("--no-json: takes no value, got 'yes'", refusal("--no-json=yes"))
  end)

  it("refuses arguments that are no options unless the spec takes some", function()
    assert.equal("unexpected argument 'x'", refusal("x"))
    assert.equal("unexpected argument '--batch'", refusal("--", "--batch"))
    local spec = example { arguments = { "FILE", min = 1, max = 1 } }
    local o, rest = spec:read { "--json", "a.tsv" }
    assert.is_true(o.json)
    assert.same({ "a.tsv" }, rest)
    assert.same({ "--batch" }, (select(2, spec:read { "--", "--batch" })))
    assert.equal("missing argument FILE", select(2, spec:read {}))
    assert.equal("unexpected argument 'b'", select(2, spec:read { "a", "b" }))
  end)

  it("asks for what is required", function()
    local spec = param.spec { input_file = param.path { required = true } }
    assert.equal("missing option --input-file", select(2, spec:read {}))
    assert.equal("x", spec:read({ "--input-file", "x" }).input_file)
    assert.error_matches(function() spec:values {} end,
      "bad argument #1 to 'values' (input_file: required)", 1, true)
  end)

  it("takes a file that can be read, or a word that stands for one", function()
    local spec = param.spec { data = param.file { "synthetic", literals = { "synthetic" } } }
    local path = os.tmpname()
    assert.equal(path, spec:read({ "--data", path }).data)
    os.remove(path)
    assert.equal(("--data: %s: No such file or directory"):format(path),
      select(2, spec:read { "--data", path }))
    assert.equal("--data: /: Is a directory", select(2, spec:read { "--data", "/" }))
    assert.equal("--data: sinthetic: No such file or directory, did you mean 'synthetic'?",
      select(2, spec:read { "--data", "sinthetic" }))
  end)

  it("takes a list of such files", function()
    local spec = param.spec { data = param.files { { "made" }, literals = { "made" },
      length = { 1 } } }
    local a, b = os.tmpname(), os.tmpname()
    local comma = a .. ",1"
    io.open(comma, "w"):close()
    assert.same({ "made" }, spec:read({}).data)
    assert.same({ a, b }, spec:read({ "--data", a .. ", " .. b }).data)
    assert.same({ a, "made" }, spec:read({ "--data", ("[%s, made]"):format(a) }).data)
    assert.same({ comma }, spec:read({ "--data", ("['%s']"):format(comma) }).data)
    local p = spec.by.data.param
    assert.same({ comma, b }, p:read(p:show { comma, b }))
    assert.equal(a .. "," .. b, p:show { a, b })
    for _, path in ipairs { b, comma } do os.remove(path) end
    assert.equal(("--data: %s: No such file or directory"):format(b),
      select(2, spec:read { "--data", a .. "," .. b }))
    assert.equal("--data: mad: No such file or directory, did you mean 'made'?",
      select(2, spec:read { "--data", a .. ",mad" }))
    assert.equal("--data: expected at least 1 values, got 0", select(2, spec:read { "--data", "" }))
    os.remove(a)
  end)

  it("shows lists of texts so that they read back", function()
    local p = param.spec { names = param.strings {} }.by.names.param
    for _, list in ipairs { { "a", "b" }, { "a,b", "c" }, { "" }, { " a" }, { "[a" }, {} } do
      assert.same(list, p:read(p:show(list)))
    end
  end)

  it("takes days that there are, within bounds", function()
    local spec = param.spec { from = param.date { "2024-02-29", min = "2000-01-01" } }
    assert.equal("2026-11-21", spec:read({ "--from", "2026-11-21" }).from)
    for text, message in pairs {
      ["2023-02-29"] = "--from: expected a date as 2026-11-21, got '2023-02-29'",
      ["2023-13-01"] = "--from: expected a date as 2026-11-21, got '2023-13-01'",
      ["1.2.2023"] = "--from: expected a date as 2026-11-21, got '1.2.2023'",
      ["1999-12-31"] = "--from: 1999-12-31 is out of range (from 2000-01-01)",
    } do
      assert.same({ n = 2, [2] = message }, { n = select("#", spec:read { "--from", text }),
        [2] = select(2, spec:read { "--from", text }) })
    end
  end)

  it("lets an alias speak another language, and say more than one thing", function()
    local spec = param.spec {
      dim = param.int { 16 },
      bottom = param.ints { { 8 }, alias = { ["arch-mlp-bot"] = function(text)
        local all = {}
        for n in text:gmatch "%d+" do all[#all + 1] = tonumber(n) end
        if #all < 2 then return nil, "expected at least 2 widths" end
        return { unpack(all, 2, #all - 1) }, { dim = all[#all] }
      end } },
    }
    local o = spec:read { "--arch-mlp-bot", "13-512-64-4" }
    assert.same({ 512, 64 }, o.bottom)
    assert.equal(4, o.dim)
    assert.same({ "command line", "--arch-mlp-bot 13-512-64-4" }, { param.origin(o, "dim") })
    assert.equal(4, spec:read({ "--dim", "4", "--arch-mlp-bot", "13-4" }).dim)
    assert.equal("--arch-mlp-bot 13-4 means --dim 4, but --dim 8 was given",
      select(2, spec:read { "--arch-mlp-bot", "13-4", "--dim", "8" }))
    assert.equal("--arch-mlp-bot: expected at least 2 widths",
      select(2, spec:read { "--arch-mlp-bot", "4" }))
  end)

  it("reads sections by field and by dotted name", function()
    local spec = param.spec {
      model = { dim = param.int { 16 }, tower = { depth = param.int { 2 } } },
      seed = param.int { 1 },
    }
    local o = spec:read { "--model.dim", "32", "--model.tower.depth=4" }
    assert.equal(32, o.model.dim)
    assert.equal(32, o["model.dim"])
    assert.equal(4, o.model.tower.depth)
    assert.error_matches(function() return o.model.dmi end,
      "no option 'model.dmi', did you mean 'model.dim'?", 1, true)
  end)

  it("takes values from Lua with the same checks, at the caller's line", function()
    local spec = example()
    local o = spec:values { batch = 2, top = { 4 } }
    local _, message = pcall(function() local v = spec:values { bach = 2 }; return v end)
    assert.equal(("param_spec.lua:%d: "):format(debug.getinfo(1, "l").currentline - 1),
      message:match "param_spec.lua:%d+: ")
    assert.equal(2, o.batch)
    assert.equal("set", (param.origin(o, "batch")))
    assert.error_matches(function() spec:values { bach = 2 } end,
      "bad argument #1 to 'values' (no option 'bach', did you mean 'batch'?)", 1, true)
    assert.error_matches(function() spec:values { batch = 0 } end,
      "bad argument #1 to 'values' (batch: 0 is out of range (at least 1))", 1, true)
    assert.error_matches(function() spec:values { batch = "2" } end,
      "bad argument #1 to 'values' (batch: expected an integer, got '2')", 1, true)
    assert.error_matches(function() spec:values { batch = 0 / 0 } end, "expected an integer")
  end)

  it("does not let two sets of values share a list", function()
    local spec = example()
    spec:defaults().top[1] = 7
    assert.equal(512, spec:defaults().top[1])
  end)

  it("raises for a field that is no option", function()
    local o = read()
    assert.error_matches(function() return o.bacth end, "no option 'bacth', did you mean 'batch'?",
      1, true)
    assert.error_matches(function() o.bacth = 1 end, "no option 'bacth'", 1, true)
  end)

  it("refuses a declaration that contradicts itself", function()
    assert.error_matches(function() param.int { 0, min = 1 } end,
      "bad argument #1 to 'param.int' (default: 0 is out of range (at least 1))", 1, true)
    assert.error_matches(function() param.int { 1, mim = 1 } end,
      "bad argument #1 to 'param.int' (unknown field 'mim', did you mean 'min'?)", 1, true)
    assert.error_matches(function() param.int { 1, min = "1" } end,
      "bad argument #1 to 'param.int' (min: expected a number, got '1')", 1, true)
    assert.error_matches(function() param.choice {} end,
      "bad argument #1 to 'param.choice' (choices: expected at least one)", 1, true)
    assert.error_matches(function()
      param.spec { a_b = param.int { 1 }, ["a-b"] = param.int { 1 } }
    end, "is declared twice", 1, true)
    assert.error_matches(function() param.spec { a = 1 } end,
      "bad argument #1 to 'param.spec' (a: expected a parameter, got 1)", 1, true)
  end)

  it("keeps the order in which parameters were written", function()
    local names = {}
    for i, row in ipairs(example():describe((read()))) do names[i] = row.name end
    assert.same({ "batch", "top", "interaction", "loss_weights", "lr", "sample", "json", "shuffle",
      "device", "save", "words" }, names)
  end)

  it("marks what does not change a result", function()
    local spec = example()
    assert.is_false(spec:param("device").significant)
    assert.is_true(spec:param("batch").significant)
    assert.is_false(param.int({ 1, significant = false }).significant)
  end)

  it("takes new kinds", function()
    if not param.even then
      param.kind("even", {
        read = function(p, text) return p:check(tonumber(text)) end,
        check = function(_, v)
          if type(v) == "number" and v % 2 == 0 then return v end
          return nil, "expected an even number, got " .. tostring(v)
        end,
      })
    end
    local spec = param.spec { n = param.even { 2 } }
    assert.equal(4, spec:read({ "--n", "4" }).n)
    assert.equal("--n: expected an even number, got 3", select(2, spec:read { "--n", "3" }))
  end)

  it("ends a script with one line and status 2 for a mistake", function()
    local ok, e = pcall(function()
      package.loaded["mlua.host"] = package.loaded["mlua.host"] or true
      example():main { "--bacth", "2" }
    end)
    assert.is_false(ok)
    assert.is_true(fail.is_user(e))
    assert.equal("unknown option '--bacth', did you mean '--batch'?", e.user_error)
    assert.equal(2, e.status)
  end)

  describe("help", function()
    it("lists options in groups, with type, range, default and doc", function()
      local spec = example { name = "mlua x.lua", doc = "Train it." }
      assert.equal([[
usage: mlua x.lua [options]

Train it.

Options:
  -b, --batch N          samples per step (at least 1; default 128; also
                         --mini-batch-size)

Model:
  --top N,N,…            hidden widths of the top MLP (at least 1;
                         default 512,256)
  --interaction dot|cat  how features meet (default dot)
  --loss-weights X,X,…   (2 values; default 1,1)

Training:
  --lr X                 (per step; above 0; default 0.1)
  --sample X             (0 to 1; default 0)
  --json                 end with a line of JSON
  --[no-]shuffle
  --device DEVICE        (auto|cpu|cuda[:K]; default auto)
  --save PATH            where the model goes
  --words TEXT,…         (default a,b)

Help:
  --config FILE          values from a file in YAML (several: the later
                         wins); over them, variables (MLUA_LR for --lr),
                         then options
  --set NAME=VALUE       an option by its name: --set lr=0.1
  -h, --help             print this and end
]], spec:help(72))
    end)

    it("has examples that work: of an option that there is, or none", function()
      local spec = param.spec { batch_size = param.int { 8 }, name = param.string { "a" } }
      assert.matches("variables (MLUA_BATCH_SIZE for --batch-size),",
        spec:help(200):gsub("%s+", " "), 1, true)
      local written = spec:help(200):match "%-%-set (batch_size=%d+)\n"
      assert.equal(8, spec:read({ "--set", written }).batch_size)
      local help = param.spec { name = param.string { "a" } }:help(200):gsub("%s+", " ")
      assert.matches("over them, variables, then options", help, 1, true)
      assert.matches("an option by its name -h", help, 1, true)
    end)

    it("is asked for by -h and --help, whatever comes after", function()
      assert.equal("help", select(2, read("-h")))
      assert.equal("help", select(2, read("--json", "--help", "--bacth")))
    end)

    it("keeps to the width", function()
      for line in example():help(60):gmatch "[^\n]+" do
        assert.is_true(require("mlua.text").width(line) <= 60, line)
      end
    end)
  end)
end)
