-- Differences of configurations: trees by example and at random, files, and `mlua diff`.
local diff = require "mlua.config.diff"
local files = require "spec.support.files"
local json = require "mlua.json"
local process = require "spec.support.process"
local yaml = require "mlua.config.yaml"

local ALL = { ignore = {} }

-- The differences as people see them.
local function lines(a, b, options) return diff.text(diff.of(a, b, options)) end

local function tree(text) return diff.tree(assert(yaml.read(text))) end

-- -- random trees: each value in a spelling of its own ------------------------------------------

local state
local function random(n) -- 1 to n
  state = state * 16807 % 2147483647
  return state % n + 1
end

local NAMES = { "a", "b", "model", "1", "2", "x.y", "x", "y", "back\\slash", "..", "", "\\." }
local SCALARS = { 0, 1, -1, 0.1, 1e-30, 2 ^ 60, true, false, "", "a", "no", "v1.10", "ä", "a b" }

local value_of

local function map_of(depth, n)
  local map = {}
  for _ = 1, n do map[NAMES[random(#NAMES)]] = value_of(depth + 1) end
  return map
end

function value_of(depth)
  local kind = random(depth < 4 and 10 or 6)
  if kind < 6 then return SCALARS[random(#SCALARS)] end
  if kind == 6 then return json.array() end
  if kind < 9 then return map_of(depth, random(4) - 1) end
  local list, maps = {}, kind == 10
  for i = 1, random(3) do
    list[i] = maps and map_of(depth + 1, random(3) - 1) or value_of(depth + 2)
  end
  return list
end

-- A copy in which about one of `rate` values is another; without a rate none.
local function changed(value, rate, depth)
  if rate and depth > 0 and random(rate) == 1 then return value_of(depth) end
  if type(value) ~= "table" then return value end
  local new = setmetatable({}, getmetatable(value))
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local list = type(name) == "number"
    if list or not rate or random(rate) > 1 then
      new[name] = changed(value[name], rate, depth and depth + 1)
    end
  end
  if rate and new[1] == nil and not getmetatable(new) and random(rate) == 1 then
    new[NAMES[random(#NAMES)]] = value_of(depth + 1)
  end
  return new
end

-- The same, in other words.
local function respelt(value)
  if type(value) == "number" and random(2) == 1 then
    return ("%.17g"):format(value)
  elseif type(value) ~= "table" then
    return value
  elseif value[1] ~= nil and value[2] ~= nil and random(2) == 1 then
    local texts = {}
    for _, each in ipairs(value) do
      if type(each) == "number" then texts[#texts + 1] = ("%.17g"):format(each) end
    end
    if #texts == #value then return table.concat(texts, random(2) == 1 and ", " or ",") end
  end
  local new = setmetatable({}, getmetatable(value))
  for name, each in pairs(value) do new[name] = respelt(each) end
  return new
end

local function text_of(value) return json.encode(value) end -- strict: 1 is not "1"

-- Empty lists and empty trees are equal: where they meet, one stays as it was.
local function strict(text) return (text:gsub("%[%]", "{}")) end

describe("differences of files with a recipe", function()
  it("are those of their grids and variants, too", function()
    local folder = files.folder()
    files.write(folder .. "/r.lua", [[
local param = require "mlua.param"
param.spec({ lr = param.number { 0.1 }, need = param.int { required = true } }):main(arg)
]])
    files.write(folder .. "/a.yaml", "lr: 0.1\n")
    files.write(folder .. "/b.yaml", "grid: {lr: [1, 2]}\n")
    local got = process.mlua { "diff", folder .. "/a.yaml", folder .. "/b.yaml", "--recipe",
      folder .. "/r.lua" }
    files.remove(folder)
    assert.same({ 1, "+ grid.lr: [1, 2]\n", "" }, { got.status, got.out, got.err })
  end)
end)

describe("differences of random trees", function()
  local pairs_of = {}

  setup(function()
    state = 20261121
    for i = 1, 300 do
      local a = map_of(0, random(6) - 1)
      pairs_of[i] = { a, i % 3 == 0 and map_of(0, random(6) - 1) or changed(a, i % 3 + 3, 0) }
    end
  end)

  local function each(f)
    for i, pair in ipairs(pairs_of) do
      local said = ("%d:\n%s\n%s"):format(i, text_of(pair[1]), text_of(pair[2]))
      f(pair[1], pair[2], said)
    end
  end

  it("are many and of each kind, so that what follows says something", function()
    local counts = { added = 0, removed = 0, changed = 0, equal = 0, within = 0 }
    each(function(a, b)
      local d = diff.of(a, b, ALL)
      if diff.empty(d) then counts.equal = counts.equal + 1 end
      for kind, list in pairs(d) do
        counts[kind] = counts[kind] + #list
        for _, item in ipairs(list) do
          if item.name:find "%.%d%." then counts.within = counts.within + 1 end
        end
      end
    end)
    assert.is_true(counts.added > 100 and counts.removed > 100 and counts.changed > 100)
    assert.is_true(counts.equal > 5 and counts.equal < 150 and counts.within > 5)
  end)

  it("are none of a tree and itself, a copy, or the same in other words", function()
    each(function(a, _, said)
      assert.is_true(diff.empty(diff.of(a, a, ALL)), said)
      assert.is_true(diff.empty(diff.of(a, changed(a), ALL)), said)
      assert.equal("", lines(a, respelt(a), ALL), said)
      assert.equal("", lines(respelt(a), respelt(a), ALL), said)
    end)
  end)

  it("are empty only where the trees are equal", function()
    each(function(a, b, said)
      assert.equal(strict(text_of(a)) == strict(text_of(b)), diff.empty(diff.of(a, b, ALL)), said)
    end)
  end)

  it("are turned round where the trees are", function()
    each(function(a, b, said)
      local d = diff.of(a, b, ALL)
      assert.same(diff.of(b, a, ALL), diff.invert(d), said)
      assert.same(d, diff.invert(diff.invert(d)))
    end)
  end)

  it("make one tree of the other, both ways, and change neither", function()
    each(function(a, b, said)
      local before = text_of(a) .. text_of(b)
      local d = diff.of(a, b, ALL)
      local made = diff.apply(a, d)
      assert.equal(strict(text_of(b)), strict(text_of(made)), said)
      assert.is_true(diff.empty(diff.of(made, b, ALL)), said)
      assert.equal(strict(text_of(a)), strict(text_of(diff.apply(b, diff.invert(d)))), said)
      assert.equal(before, text_of(a) .. text_of(b), said)
    end)
  end)

  it("survive JSON, and apply from there", function()
    each(function(a, b, said)
      local d = json.decode(diff.json(diff.of(a, b, ALL)))
      assert.equal("", lines(diff.apply(a, d), b, ALL), said)
    end)
  end)

  it("are none where all that is given is a default", function()
    each(function(a, b, said)
      assert.equal("", lines(a, {}, { ignore = {}, defaults = a }), said)
      assert.equal(lines({}, b, { ignore = {}, defaults = a }),
        lines(a, b, { ignore = {}, defaults = a }), said)
    end)
  end)

  it("are sorted by name", function()
    each(function(a, b, said)
      for _, list in pairs(diff.of(a, b, ALL)) do
        for i = 2, #list do assert.is_true(list[i - 1].name < list[i].name, said) end
      end
    end)
  end)
end)

-- -- examples ----------------------------------------------------------------------------------

describe("a tree", function()
  it("is read from a file's node: numbers and truths, unless they are quoted; no null", function()
    assert.same({ lr = 0.1, n = 7, yes = true, off = false, quoted = "0.1", word = "no way",
      list = { 1, "a", true }, at = { x = "2026-11-21" }, hex = "0x10", big = "9007199254740993",
      tuple = "4-2", nan = ".nan", huge = "1e999" },
      tree [[
lr: 1e-1
n: 007
yes: YES
off: Off
quoted: '0.1'
word: no way
list: [1.0, a, ~, true]
at: {x: 2026-11-21, none: null}
hex: 0x10
big: 9007199254740993
tuple: 4-2
nan: .nan
huge: 1e999
nothing:
]])
  end)

  it("keeps empty lists and empty sections apart", function()
    assert.equal('{"a":[],"b":{}}', json.encode(tree "a: []\nb: {}\n"))
  end)
end)

describe("no difference is", function()
  local cases = {
    ["how a number is spelt"] = { "lr: 1e-1\n", "lr: 0.10\n" },
    ["a number in quotes"] = { "lr: 0.1\n", "lr: '0.1'\n" },
    ["how truth is spelt"] = { "a: yes\nb: OFF\n", "a: true\nb: no\n" },
    ["the order of keys"] = { "a: 1\nb: {c: 2, d: 3}\n", "b: {d: 3, c: 2}\na: 1\n" },
    ["flow or block, comments, quotes"] = { "a: {b: [x, y]} # z\n", "a:\n  b:\n  - 'x'\n  - y\n" },
    ["nothing as a value"] = { "a: 1\nb:\n", "a: 1\n" },
    ["a list by dashes"] = { "top: 1024-512\n", "top: [1024, 512]\n" },
    ["a list of numbers by dashes with exponents"] = { "top: 1e-1-2.0\n", "top: [0.1, 2]\n" },
    ["a list by commas"] = { "tags: 'a, b'\n", "tags: [a, b]\n" },
    ["a list by commas with words for truth"] = { "tags: a,no\n", "tags: [a, no]\n" },
    ["the same in quotes"] = { "tags: a,no\n", "tags: [a, 'no']\n" },
    ["numbers by commas and by dashes"] = { "top: 4-2\n", "top: 4,2\n" },
    ["an empty list, or section"] = { "a: []\n", "a: {}\n" },
    ["what is ignored unless asked for"] = { "logging: {dir: a}\nrecipe: a.lua\n", "general: 1\n" },
  }
  for what, case in pairs(cases) do
    it(what, function()
      assert.equal("", lines(tree(case[1]), tree(case[2])))
      assert.equal("", lines(tree(case[2]), tree(case[1])))
    end)
  end
end)

describe("a difference is", function()
  local cases = {
    ["a number"] = { "lr: 0.1\n", "lr: 0.2\n", "~ lr: 0.1 → 0.2\n" },
    ["the order of a list"] = { "a: [1, 2]\n", "a: [2, 1]\n", "~ a: [1, 2] → [2, 1]\n" },
    ["a list's length"] = { "a: [1, 2]\n", "a: [1]\n", "~ a: [1, 2] → [1]\n" },
    ["a list by dashes that has other numbers"] = { "a: 4-2\n", "a: [4, 3]\n",
      "~ a: 4-2 → [4, 3]\n" },
    ["truth and its quoted word"] = { "a: yes\n", "a: 'yes'\n", '~ a: true → "yes"\n' },
    ["one and a list of it"] = { "a: 4\n", "a: [4]\n", "~ a: 4 → [4]\n" },
    ["zeros of quoted versions"] = { "a: '1.10'\n", "a: '1.1'\n", '~ a: "1.10" → "1.1"\n' },
    ["words by comma and by dash"] = { "a: x-y\n", "a: 'x,y'\n", '~ a: x-y → "x,y"\n' },
    ["whole numbers that no double holds"] = { "a: 9007199254740993\n", "a: 9007199254740992\n",
      "~ a: 9007199254740993 → 9007199254740992\n" },
    ["an element of a list of sections"] = { "parts: [{dim: 1}, {dim: 2}]\n",
      "parts: [{dim: 1}, {dim: 3, bias: no}]\n", "+ parts.2.bias: false\n~ parts.2.dim: 2 → 3\n" },
    ["a list of sections of another length"] = { "parts: [{dim: 1}]\n",
      "parts: [{dim: 1}, {dim: 3}]\n", "~ parts: [{dim: 1}] → [{dim: 1}, {dim: 3}]\n" },
    ["a list with a value among sections"] = { "parts: [{dim: 1}, a]\n", "parts: [{dim: 2}, a]\n",
      "~ parts: [{dim: 1}, a] → [{dim: 2}, a]\n" },
    ["a section, by its values"] = { "", "m: {a: 1, b: {c: x}}\n", "+ m.a: 1\n+ m.b.c: x\n" },
    ["a section in place of a value"] = { "m: mlp\n", "m: {type: mlp}\n",
      "- m: mlp\n+ m.type: mlp\n" },
    ["an empty section or none"] = { "m: {}\n", "", "- m: {}\n" },
    ["an empty section or a filled one"] = { "m: {}\n", "m: {a: 1}\n", "- m: {}\n+ m.a: 1\n" },
    ["a name with dots"] = { "a.b: 1\na: {b: 1}\n", "a.b: 2\na: {b: 3}\n",
      "~ a.b: 1 → 3\n~ a\\.b: 1 → 2\n" },
    ["an empty text"] = { "a: ''\n", "a: ' b'\n", '~ a: "" → " b"\n' },
    ["control characters, shown harmlessly"] = { 'a: "\\e[31m"\n"\\n": 1\n', "",
      '- "\\n": 1\n- a: "\\u001b[31m"\n' },
  }
  for what, case in pairs(cases) do
    it(what, function()
      local a, b = tree(case[1]), tree(case[2])
      assert.equal(case[3], lines(a, b))
      assert.equal("", lines(diff.apply(a, diff.of(a, b)), b))
    end)
  end
end)

describe("differences", function()
  it("have names and values, and say so as JSON", function()
    local d = diff.of({ a = 1, b = { c = "x" }, e = { 1, 2 } }, { a = 2, d = true, e = { 1 } })
    assert.same({ added = { { name = "d", to = true } }, removed = { { name = "b.c", from = "x" } },
      changed = { { name = "a", from = 1, to = 2 }, { name = "e", from = { 1, 2 }, to = { 1 } } },
    }, d)
    assert.equal('{"added":[{"name":"d","to":true}],"changed":[{"from":1,"name":"a","to":2},'
      .. '{"from":[1,2],"name":"e","to":[1]}],"removed":[{"from":"x","name":"b.c"}]}', diff.json(d))
    assert.equal('{"added":[],"changed":[],"removed":[]}', diff.json(diff.of({}, {})))
  end)

  it("know names and sections to ignore, and globs", function()
    local a = { seed = 1, model = { seed = 1, dim = 1, deep = { seed = 1 } },
      logging = { dir = "a" }, parts = { { seed = 1 }, { seed = 2 } } }
    local b = { seed = 2, model = { seed = 2, dim = 2, deep = { seed = 2 } },
      logging = { dir = "b" }, parts = { { seed = 3 }, { seed = 4 } } }
    local function names(...)
      local list = {}
      for i, item in ipairs(diff.of(a, b, { ignore = { ... } }).changed) do list[i] = item.name end
      return table.concat(list, " ")
    end
    assert.equal("logging.dir model.deep.seed model.dim model.seed parts.1.seed parts.2.seed seed",
      names())
    assert.equal("logging.dir model.dim seed", names "*.seed")
    assert.equal("model.dim", names("*.seed", "seed", "logging"))
    assert.equal("parts.1.seed parts.2.seed seed", names("model", "log*"))
    assert.equal("logging.dir model.deep.seed model.seed parts.1.seed seed",
      names("model.dim", "parts.2"))
    assert.equal(names(), names("mod", "odel", "model.di", "m.del", "[a-z]*"))
  end)

  it("leave what is ignored as it was", function()
    local a, b = { x = { seed = 1, a = 1 }, logging = 1 }, { x = { seed = 2 }, logging = 2 }
    local options = { ignore = { "*.seed", "logging" } }
    assert.same({ x = { seed = 1 }, logging = 1 }, diff.apply(a, diff.of(a, b, options)))
    assert.equal("", lines({ x = {} }, { x = { seed = 1 } }, options))
    assert.equal("", lines({}, { x = { seed = 1 } }, options))
  end)

  it("take a value that is its default as one not given", function()
    local options = { defaults = {
      lr = 0.1, top = { 4, 2 }, model = { dim = 16, deep = { n = 1 } },
    } }
    assert.equal("", lines({ lr = "0.1", top = "4-2" }, {}, options))
    assert.equal("", lines({ model = { dim = 16, deep = { n = 1 } } }, {}, options))
    assert.equal("", lines({}, { model = { deep = {} } }, options))
    assert.equal("+ lr: 0.2\n", lines({ lr = 0.1 }, { lr = 0.2 }, options))
    assert.equal("- model.dim: 8\n", lines({ model = { dim = 8, deep = { n = 1 } } }, {}, options))
    assert.equal("+ batch: 2\n", lines({}, { batch = 2 }, options))
  end)

  it("keep empty sections and empty lists as they are when applied", function()
    local a, b = tree "x: []\ny: {}\nz: [{a: 1}, {b: 1}]\n", tree "x: []\ny: {}\nz: [{}, {b: 2}]\n"
    assert.equal('{"x":[],"y":{},"z":[{},{"b":2}]}', json.encode(diff.apply(a, diff.of(a, b))))
    assert.equal(json.encode(a), json.encode(diff.apply(b, diff.of(b, a))))
    assert.equal('{"x":[],"y":{}}', json.encode(diff.apply({},
      diff.of({}, tree "x: []\ny: {}\n"))))
  end)

  it("apply to a new tree, which shares nothing with them", function()
    local list = { 1 }
    local made = diff.apply({}, diff.of({}, { a = list }))
    made.a[1] = 2
    assert.equal(1, list[1])
  end)

  it("apply to no tree that has not the element", function()
    local d = diff.of({ p = { { a = 1 }, { a = 1 } } }, { p = { { a = 1 }, { a = 2 } } })
    local _, message = pcall(function() diff.apply({ p = { { a = 1 } } }, d) end)
    assert.truthy(message:find(
      "diff_spec.lua:%d+: bad argument #2 to 'diff.apply' %(p.2.a: no such element%)$"), message)
    assert.same({ p = { ["2"] = { a = 2 } } }, diff.apply({ p = {} }, d))
  end)

  it("refuse what is no tree, with the name", function()
    local function says(message, ...)
      local args = { ... }
      local ok, got = pcall(function() diff.of(unpack(args)) end)
      assert.is_false(ok)
      assert.equal("bad argument " .. message, got:match "diff_spec.lua:%d+: (.*)$")
    end
    says("#1 to 'diff.of' (a: expected a table of names, got 3)", 3, {})
    says("#2 to 'diff.of' (b: expected a table of names, got a list)", {}, { 1 })
    says("#1 to 'diff.of' (a.x: a table of names and of a list, both, or a list with gaps)",
      { x = { 1, y = 2 } }, {})
    says("#1 to 'diff.of' (a.x.2: expected a value of a tree, got a function)",
      { x = { 1, print } }, {})
    says("#2 to 'diff.of' (b.x: expected names, got the key 2)", {}, { x = { [2] = 1 } })
    says("#3 to 'diff.of' (unknown option 'ingore', did you mean 'ignore'?)", {}, {},
      { ingore = {} })
    says("#3 to 'diff.of' (ignore: expected names, got 1)", {}, {}, { ignore = { 1 } })
    local round = {}
    round.a = round
    assert.error_matches(function() diff.of(round, {}) end, "more than 90 levels")
  end)
end)

-- -- the command -------------------------------------------------------------------------------

describe("mlua diff", function()
  local folder

  before_each(function() folder = files.folder() end)
  after_each(function() files.remove(folder) end)

  local function write(name, text) files.write(folder .. "/" .. name, text) end

  -- Runs `mlua diff` where the files are; before it, a chunk.
  local function run(args)
    local argv = { "diff" }
    for word in args:gmatch "%S+" do argv[#argv + 1] = word end
    return process.mlua(argv, { cwd = folder })
  end

  local function says(args, status, out, err)
    local got = run(args)
    assert.same({ status, out, err or "" }, { got.status, got.out, got.err })
  end

  it("prints what differs, and ends with 1; nothing and 0 where nothing does", function()
    write("a.yaml", "lr: 0.1\nmodel: {dim: 16, kind: mlp}\nlogging: {dir: a}\n")
    write("b.yaml", "lr: 2e-1\nmodel: {dim: 16}\ntop: 4-2\n")
    write("c.lua", "return { top = { 4, 2 }, model = { dim = 16 }, lr = 0.2 }\n")
    says("a.yaml b.yaml", 1, "~ lr: 0.1 → 0.2\n- model.kind: mlp\n+ top: 4-2\n")
    says("b.yaml c.lua", 0, "")
    says("a.yaml a.yaml --all", 0, "")
  end)

  it("prints one line of JSON, also where nothing differs", function()
    write("a.yaml", "lr: 0.1\n")
    write("b.yaml", "lr: 0.2\n")
    says("--json a.yaml b.yaml", 1,
      '{"added":[],"changed":[{"from":0.1,"name":"lr","to":0.2}],"removed":[]}\n')
    says("a.yaml a.yaml --json", 0, '{"added":[],"changed":[],"removed":[]}\n')
  end)

  it("ignores names, or nothing", function()
    write("a.yaml", "lr: 0.1\nlogging: {dir: a}\nx: {seed: 1}\n")
    write("b.yaml", "lr: 0.2\nlogging: {dir: b}\nx: {seed: 2}\n")
    says("a.yaml b.yaml", 1, "~ lr: 0.1 → 0.2\n~ x.seed: 1 → 2\n")
    says("a.yaml b.yaml --all", 1, "~ logging.dir: a → b\n~ lr: 0.1 → 0.2\n~ x.seed: 1 → 2\n")
    says("a.yaml b.yaml --ignore *.seed,lr", 1, "~ logging.dir: a → b\n")
    says("a.yaml b.yaml --ignore *.seed,lr,logging", 0, "")
    says("a.yaml b.yaml --ignore lr --all", 2, "",
      "mlua: diff: --all ignores nothing, but --ignore was given\n")
  end)

  it("reads JSON: a tree, or one in a field config or options", function()
    write("a.yaml", "lr: 0.1\nmodel: {dim: 16}\ntop: [4, 2]\n")
    write("a.json", '{"lr": 1e-1, "model": {"dim": 16, "none": null}, "top": [4, 2, null]}')
    write("b.json", '{"id": 3, "config": {"lr": 0.1, "model": {"dim": 16}, "top": "4-2"}}')
    write("c.json", '{"id": 4, "options": {"lr": 0.3, "model": {"dim": 16}, "top": [4, 2]}}')
    says("a.yaml a.json", 0, "")
    says("a.json b.json", 0, "")
    says("b.json c.json", 1, "~ lr: 0.1 → 0.3\n")
  end)

  it("reads the configuration in a folder: YAML, else Lua, else JSON", function()
    assert(require "lfs".mkdir(folder .. "/f"))
    write("x.yaml", "lr: 0\n")
    says("f x.yaml", 2, "", "mlua: f: no config.yaml, config.lua or config.json in it\n")
    write("f/config.json", '{"lr": 3}')
    says("f x.yaml", 1, "~ lr: 3 → 0\n")
    write("f/config.lua", "{ lr = 2 }")
    says("f/ x.yaml", 1, "~ lr: 2 → 0\n")
    write("f/config.yaml", "lr: 1\n")
    says("f x.yaml", 1, "~ lr: 1 → 0\n")
  end)

  it("tells all mistakes of both files, a line each, and ends with 2", function()
    write("a.yaml", "lr: 1\nlr: 2\nx: !t 3\n")
    write("b.lua", "{ lr = os.exit() }")
    write("c.json", '{"lr": 1\n')
    write("d.json", "[1]")
    write("e.json", '{"a":' .. ("["):rep(70) .. ("]"):rep(70) .. "}")
    write("ok.yaml", "")
    says("a.yaml b.lua", 2, "", "mlua: a.yaml:2: lr: twice, first in line 1\n"
      .. "a.yaml:3: tags (!t) are not taken\n"
      .. "b.lua:1: expected a table, string, number, true or false, got 'os.exit': "
      .. "nothing is run here\n")
    says("d.json e.json", 2, "", 'mlua: d.json: expected names with values, as {"lr": 0.1}\n'
      .. "e.json: more than 64 levels\n")
    says("none.yaml none.json", 2, "",
      "mlua: none.yaml: no such file\nnone.json: no such file\n")
    local got = run "ok.yaml c.json"
    assert.equal(2, got.status)
    assert.truthy(got.err:find "^mlua: c.json:2: expected [^\n]+\n$", got.err)
    says("ok.yaml /dev/null", 2, "", "mlua: /dev/null: not a regular file\n")
  end)

  it("takes two files, and its own options", function()
    says("", 2, "", "mlua: missing argument A\n")
    says("a", 2, "", "mlua: missing argument B\n")
    says("a b c", 2, "", "mlua: unexpected argument 'c'\n")
    says("a b --jsn", 2, "", "mlua: unknown option '--jsn', did you mean '--json'?\n")
    local got = run "--help"
    assert.equal(0, got.status)
    assert.truthy(got.out:find("usage: mlua diff [options] A B\n", 1, true))
    assert.truthy(got.out:find "default%s+logging,general,recipe")
  end)

  it("fails where what it prints cannot be written", function()
    write("a.yaml", "lr: 1\n")
    write("b.yaml", "lr: 2\n")
    for _, options in ipairs { "", "--json" } do
      local got = process.run { "sh", "-c", ("%s diff %s/a.yaml %s/b.yaml %s > /dev/full"):format(
        process.program(), folder, folder, options) }
      assert.same({ 2, "mlua: standard output: a write failed\n" }, { got.status, got.err })
    end
  end)

  local RECIPE = [[
local param = require "mlua".param
param.spec({ lr = param.number { 0.1 }, x = param.int {} }):main(arg)
]]

  it("compares what a recipe makes of the files", function()
    write("r.lua", RECIPE)
    write("a.yaml", "lr: 0.1\n")
    write("b.yaml", "x: 1\n")
    says("a.yaml b.yaml --recipe r.lua", 1, "+ x: 1\n")
    says("a.yaml b.yaml --recipe none.lua", 2, "",
      "mlua: --recipe: none.lua: No such file or directory\n")
  end)

  it("runs a recipe once, for both files", function()
    write("r.lua", "io.stderr:write 'read\\n'\n" .. RECIPE)
    write("a.yaml", "lr: 0.1\n")
    write("b.yaml", "x: 1\n")
    assert.equal("read\n", run("a.yaml b.yaml --recipe r.lua").err)
  end)

  it("does so where both files name one recipe, from where they are", function()
    assert(require "lfs".mkdir(folder .. "/sub"))
    write("r.lua", RECIPE)
    write("other.lua", RECIPE)
    write("a.yaml", "lr: 0.1\nrecipe: r.lua\n")
    write("sub/b.yaml", "recipe: ../r.lua\n")
    write("sub/config.json", '{"recipe": "' .. folder .. '/r.lua", "lr": 0.1}')
    write("c.yaml", "recipe: other.lua\n")
    write("plain.yaml", "{}\n")
    says("a.yaml sub/b.yaml", 0, "")
    says("a.yaml sub", 0, "")
    for _, other in ipairs { "c.yaml", "plain.yaml" } do -- another recipe, or none
      says("a.yaml " .. other, 1, "- lr: 0.1\n")
    end
  end)

  it("counts a recipe's defaults, and reads values by its parameters", function()
    write("r.lua", [[
local param = require "mlua".param
param.spec({ lr = param.number { 0.1 }, top = param.ints { { 4, 2 } }, name = param.string { "" },
  model = { dim = param.int { 16 } } }):main(arg)
error "the recipe went on"
]])
    write("a.yaml", "recipe: r.lua\nlr: 1e-1\nname: 007\n")
    write("b.yaml", "recipe: ./r.lua\ntop: 4,2\nmodel.dim: 16\nname: '007'\n")
    write("c.yaml", "recipe: r.lua\nmodel: {dim: 8}\ntop: 4\nname: 7\n")
    write("bad.yaml", "recipe: r.lua\nlr: fast\ntpo: 4\n")
    says("a.yaml b.yaml", 0, "")
    says("b.yaml c.yaml", 1, '~ model.dim: 16 → 8\n~ name: "007" → "7"\n~ top: [4, 2] → [4]\n')
    says("a.yaml bad.yaml", 2, "", "mlua: bad.yaml:2: lr: expected a number, got 'fast'\n"
      .. "bad.yaml:3: tpo: unknown key, did you mean 'top'?\n")
  end)

  it("tells all mistakes that the recipe finds in both", function()
    write("r.lua", RECIPE)
    write("bad1.yaml", "recipe: r.lua\nlr: fast\nxx: 1\n")
    write("bad2.yaml", "recipe: r.lua\nx: 1.5\n")
    says("bad1.yaml bad2.yaml", 2, "", "mlua: bad1.yaml:2: lr: expected a number, got 'fast'\n"
      .. "bad1.yaml:3: xx: unknown key, did you mean 'x'?\n"
      .. "bad2.yaml:2: x: expected an integer, got 1.5\n")
  end)
end)
