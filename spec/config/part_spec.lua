-- Configuration files that name parts: components of registries with options of their own, macros,
-- references, files of a project, several runs.
local files = require "spec.support.files"
local ml = require "mlua"
local param, registry = ml.param, ml.registry

local folder, path

-- A registry of this spec's own, so that no other's names are in the way.
local brew = registry.new("brew", "brews", "hot drinks")
registry.register("brew", "tea", {
  doc = "leaves in water",
  minutes = param.int { 3, min = 1, max = 10, unit = "minutes" },
  leaves = param.strings { { "green" } },
  milk = param.bool {},
}, function(o, cups) return ("%d cups of tea, %d min"):format(cups, o.minutes) end)
registry.register("brew", "pot", {
  parts = param.brews { {} }, first = param.brew { "tea" }, size = param.number { required = true },
}, function(o) return o end)

setup(function()
  folder = files.folder()
  path = folder .. "/x.yaml"
end)
teardown(function() files.remove(folder) end)

local function spec(info)
  return param.spec({
    drink = param.brew { "tea" }, tray = param.brews { {} }, cups = param.int { 2, min = 1 },
    saucers = param.int { 2, min = 1 }, price = param.number { 1 }, label = param.string { "-" },
    sizes = param.ints { {} },
  }, info)
end

local function read(text, ...)
  files.write(path, text)
  return spec():read { "--config", path, ... }
end

local function mistakes(text, ...)
  local values, message = read(text, ...)
  assert.is_nil(values)
  return (message:gsub(path:gsub("%p", "%%%0") .. ":", ""))
end

describe("a part in a configuration file", function()
  it("is told where one of its options is set by a key with a dot", function()
    local o = read "drink.minutes: 4\n"
    assert.equal(4, o.drink.options.minutes)
    assert.equal(path .. ":1", (param.origin(o, "drink")))
  end)

  it("is told where one of its options stands without it", function()
    assert.equal("1: minutes: unknown key, did you mean 'drink.minutes'?", mistakes "minutes: 4\n")
  end)

  it("may be chosen after one of its options, in a line of its own", function()
    local o = read "tray: [tea]\ndrink.minutes: 4\ndrink: {type: tea, milk: yes}\n"
    assert.same({ 4, true }, { o.drink.options.minutes, o.drink.options.milk })
  end)

  it("has each option once in a file, however it is spelt", function()
    assert.equal("2: drink.minutes: the same as drink.minutes in line 1",
      mistakes "drink: {minutes: 4}\ndrink.minutes: 5\n")
    assert.equal("2: drink.minutes: the same as drink.minutes in line 1",
      mistakes "drink.minutes: 5\ndrink: {minutes: 4}\n")
  end)

  it("is named by its type, with its defaults", function()
    local o = read "drink: tea\n"
    assert.equal("tea", o.drink.name)
    assert.equal(3, o.drink.options.minutes)
    assert.equal("5 cups of tea, 3 min", o.drink(5))
    assert.equal(path .. ":1", (param.origin(o, "drink")))
  end)

  it("has options, each with the line it came from", function()
    local o = read "drink:\n  type: tea\n  minutes: 5\n  leaves: [black, mint]\n"
    assert.equal("{type: tea, minutes: 5, leaves: [black, mint]}", tostring(o.drink))
    assert.equal(path .. ":3", (param.origin(o.drink.options, "minutes")))
    assert.equal("default", (param.origin(o.drink.options, "milk")))
  end)

  it("keeps its type where only options are given", function()
    assert.equal("{type: tea, minutes: 7}", tostring(read("drink: {minutes: 7}\n").drink))
  end)

  it("may have a name in the file, and other values in another place", function()
    local o = read [[
brews:
  strong: {type: tea, minutes: 9}
  white: {type: strong, milk: yes}
  unused: {type: pot, size: 1}
drink: white
tray: [strong, tea, {type: strong, minutes: 8}]
]]
    assert.equal("{type: tea, minutes: 9, milk: true}", tostring(o.drink))
    assert.equal("[{type: tea, minutes: 9}, tea, {type: tea, minutes: 8}]",
      param.brews {}:show(o.tray))
    assert.equal(path .. ":2", (param.origin(o.drink.options, "minutes")))
  end)

  it("may be text, as on the command line, also of a list", function()
    local o = read "drink: '{type: tea, minutes: 4}'\n"
    assert.equal(4, o.drink.options.minutes)
    assert.equal(2, #read("tray: tea, tea\n").tray)
    assert.equal(1, #read("tray: '{type: tea, minutes: 3}'\n").tray)
    assert.truthy(mistakes "tray: '[tea, '\n":find("^1: tray: "))
  end)

  it("says its type, where it has a name of its own", function()
    assert.equal("1: brews.x: expected 'type', which names the brew",
      mistakes "brews: {x: {minutes: 4}}\ndrink: x\n")
    assert.equal("tea", read("macros: {m: tea}\ndrink: {type: '${m}'}\n").drink.name)
  end)

  it("holds other parts, as deep as they go", function()
    local o = read "drink: {type: pot, size: 2, first: {minutes: 4}, parts: [tea, {type: tea}]}\n"
    assert.equal(4, o.drink.options.first.options.minutes)
    assert.equal(2, #o.drink.options.parts)
  end)

  it("takes its own options only, and says all that is wrong", function()
    assert.same({
      "6: drink.size: brew 'tea' takes no such key",
      "7: drink.minuts: brew 'tea' takes no such key, did you mean 'minutes'?",
      "8: drink.milk: expected yes or no, got 'some'",
      "9: tray.2: no brew 'coffe', did you mean 'coffee'?",
      "2: brews.coffee.minutes: 11 is out of range (1 to 10)",
      "3: brews.loop.type: 'loop' refers to itself",
    }, (function()
      local list = {}
      for line in (mistakes [[
brews:
  coffee: {type: tea, minutes: 11}
  loop: {type: loop}
drink:
  type: tea
  size: 3
  minuts: 4
  milk: some
tray: [tea, coffe]
]]):gmatch "[^\n]+" do list[#list + 1] = line end
      return list
    end)())
  end)

  it("is refused where it is no part", function()
    assert.equal("1: drink: no brew '3'", mistakes "drink: 3\n")
    assert.equal("1: drink: expected the name of a brew, or its type and options, got a list",
      mistakes "drink: [tea]\n")
    assert.equal("1: drink: expected the name of a brew, or its type and options, got nothing",
      mistakes "drink:\n")
    assert.equal("1: tray.1: expected 'type', which names the brew",
      mistakes "tray: [{minutes: 3}]\n")
    assert.equal("1: drink.type: expected the name of a brew", mistakes "drink: {type: [tea]}\n")
  end)

  it("has to have what its type requires", function()
    assert.equal("missing option --drink.size", mistakes "drink: pot\n")
    assert.equal(2, read("drink: pot\n", "--drink.size", "2").drink.options.size)
  end)
end)

describe("a part on the command line", function()
  it("replaces a file's whole, and its options change it, wherever they stand", function()
    local text = "drink: {type: pot, size: 1}\n"
    assert.equal("tea", tostring(read(text, "--drink", "tea").drink))
    assert.equal("{type: tea, minutes: 4}",
      tostring(read(text, "--drink.minutes", "4", "--drink", "tea").drink))
    assert.equal("{type: pot, size: 3}", tostring(read(text, "--set", "drink.size=3").drink))
    assert.equal("{type: pot, first: {type: tea, milk: true}, size: 1}",
      tostring(read(text, "--drink.first.milk").drink))
    assert.equal("[{type: tea, minutes: 2}, tea]", param.brews {}:show(
      read("tray: [tea, tea]\n", "--tray.1.minutes", "2").tray))
  end)

  it("may be written as a file would, with names that files gave", function()
    assert.equal("{type: tea, minutes: 2}",
      tostring(read("", "--drink", "{type: tea, minutes: 2}").drink))
    assert.equal("{type: tea, minutes: 6}",
      tostring(read("brews: {long: {type: tea, minutes: 6}}\n", "--drink", "long").drink))
  end)

  it("is refused with the option's name", function()
    for given, expected in pairs {
      ["--drink.minute 3"] = "--drink.minute: brew 'tea' takes no 'minute', did you mean",
      ["--drink.minutes 0"] = "--drink.minutes: 0 is out of range (1 to 10)",
      ["--drink te"] = "--drink: no brew 'te', did you mean 'tea'?",
      ["--drnk.minutes 3"] = "unknown option '--drnk.minutes'",
      ["--minutes 3"] = "unknown option '--minutes', did you mean '--drink.minutes'?",
      ["--set minutes=3"] = "unknown option '--minutes', did you mean '--drink.minutes'?",
      ["--drink.no-milk"] = "--drink.no-milk: brew 'tea' takes no 'no-milk'",
    } do
      local args = {}
      for word in given:gmatch "%S+" do args[#args + 1] = word end
      local values, message = spec():read(args)
      assert.is_nil(values)
      assert.equal(expected, message:sub(1, #expected))
    end
  end)
end)

describe("a macro", function()
  it("stands for a value of any kind", function()
    local o = read "macros: {n: 7, both: [1, 2]}\ncups: ${n}\nsizes: ${both}\nlabel: n is ${n}\n"
    assert.same({ 7, { 1, 2 }, "n is 7" }, { o.cups, o.sizes, o.label })
  end)

  it("is refused where it is none, or has itself in it", function()
    assert.equal("1: cups: ${m}: no such key or macro", mistakes "cups: ${m}\n")
    assert.truthy(mistakes "macros: {m: '${m}'}\ncups: ${m}\n":find("refers to itself", 1, true))
  end)
end)

describe("a reference", function()
  it("has the value that the key has in the end, wherever it came from", function()
    local text = "saucers: ${cups}\ncups: 4\nlabel: ${cups} at ${price}\n"
    assert.same({ 4, "4 at 1" }, { read(text).saucers, read(text).label })
    assert.equal(9, read(text, "--cups", "9").saucers)
    assert.equal(5, read(text, "--saucers", "5").saucers)
  end)

  it("reaches options of parts, and stands in them", function()
    local o = read "drink: {minutes: '${cups}'}\ncups: 6\nsaucers: ${drink.minutes}\n"
    assert.same({ 6, 6 }, { o.drink.options.minutes, o.saucers })
  end)

  it("is text where it is escaped", function()
    assert.equal("${cups}", read("label: $${cups}\n").label)
  end)

  it("is checked as any value", function()
    assert.equal("1: cups: expected an integer, got 1.5", mistakes "cups: ${price}\nprice: 1.5\n")
    assert.equal("2: saucers: ${cups}: refers to itself",
      mistakes "cups: ${saucers}\nsaucers: ${cups}\n":match "^[^\n]*")
    assert.equal("1: cups: ${sacers}: no such key or macro, did you mean 'saucers'?",
      mistakes "cups: ${sacers}\n")
  end)
end)

describe("files of a project", function()
  local function at(name) return folder .. "/p/" .. name end
  local function values(...)
    return spec { script = at "recipe.lua" }:read { ... }
  end

  setup(function()
    require "lfs".mkdir(folder .. "/p")
    files.write(at "recipe.lua", "")
    files.write(at "mlua.yaml", "cups: 5\nprice: 2\nother_recipes_key: 3\n")
    files.write(at "mlua.local.yaml", "cups: 6\n")
    files.write(at "x.yaml", "price: 3\n")
  end)

  it("come first: the project's, then the machine's, then --config, then options", function()
    local o = values()
    assert.same({ 6, 2 }, { o.cups, o.price })
    assert.truthy((param.origin(o, "cups")):find("mlua.local.yaml:1", 1, true))
    assert.truthy((param.origin(o, "price")):find("mlua.yaml:2", 1, true))
    o = values("--config", at "x.yaml", "--cups", "9")
    assert.same({ 9, 3 }, { o.cups, o.price })
  end)

  it("may hold other recipes' keys, but no misspelt ones of this", function()
    files.write(at "mlua.local.yaml", "cusp: 6\n")
    local o, message = values()
    assert.is_nil(o)
    assert.truthy(message:find("local.yaml:1: cusp: unknown key, did you mean 'cups'?", 1, true))
  end)
end)

describe("a file that names its recipe", function()
  it("names it beside the file, and is refused by another", function()
    files.write(path, "recipe: tea.lua\ncups: 3\n")
    local function read_by(script) return spec { script = script }:read { "--config", path } end
    assert.equal(3, read_by(folder .. "/tea.lua").cups)
    for _, script in ipairs { folder .. "/coffee.lua", "other/tea.lua" } do
      local o, message = read_by(script)
      assert.is_nil(o)
      assert.equal(("%s:1: recipe: the file is for tea.lua, not for %s"):format(path, script),
        message)
    end
  end)
end)

describe("a file that asks for too much", function()
  local function lines(head, format, n, last)
    local out = { head }
    for i = 1, n do out[#out + 1] = format:format(i, i - 1, i - 1) end
    out[#out + 1] = last
    return table.concat(out, "\n") .. "\n"
  end

  it("is refused: parts of parts of parts, references round in circles", function()
    for text, expected in pairs {
      [lines("brews:\n  m0: tea", "  m%d: {type: pot, size: 1, parts: [m%d, m%d]}", 30,
        "drink: m30")]
        = "more than 10000 parts and names, each use counted",
      [lines("macros:\n  m0: a", "  m%d: '${m%d}${m%d}'", 30, "label: ${m30}")]
        = "more than 10000 parts and names, each use counted",
      [lines("macros:\n  m0: [a]", "  m%d: ['${m%d}', '${m%d}']", 30, "tray: ${m30}")]
        = "more than 10000 parts and names, each use counted",
      ["macros: {w: {type: pot, size: 1, parts: ['${w}', tea]}}\ndrink: ${w}\n"]
        = "more than 40 parts within each other",
      ["label: a\nbrews: {a: {type: pot, size: 1, first: '${label}'}}\ndrink: a\n"]
        = "more than 10000 parts and names, each use counted",
      ["macros: {d: '${d}${d}${d}'}\nlabel: ${d}\n"] = "refers to itself",
    } do
      assert.truthy(mistakes(text):find(expected, 1, true), expected)
    end
  end)
end)

describe("names of several files", function()
  it("hold in all of them, the last one's", function()
    local second = folder .. "/second.yaml"
    files.write(second, "macros: {n: 8}\n")
    local o = read("macros: {n: 3}\ncups: ${n}\nlabel: n${n}\n", "--config", second)
    assert.same({ 8, "n8" }, { o.cups, o.label })
  end)
end)

describe("values that are required", function()
  it("may be left to the command line where a file is checked or compared", function()
    files.write(path, "drink: pot\n")
    local o = spec():read({ "--config", path }, true)
    assert.equal("pot", o.drink.name)
    assert.same({ "drink.size" }, require "mlua.param.spec".missing(o))
  end)
end)

describe("a part that is a reference", function()
  it("takes options that are set later", function()
    local text = "label: pot\ndrink: ${label}\n"
    assert.equal("{type: pot, size: 3}", tostring(read(text, "--drink.size", "3").drink))
    assert.equal("tea", tostring(read(text, "--label", "tea").drink))
  end)
end)

describe("several runs", function()
  local function runs(text, ...)
    files.write(path, text)
    local o, message, reading = spec():read { "--config", path, ... }
    assert.truthy(o, message)
    return require "mlua.config.grid".runs(spec(), o, reading)
  end
  local function told(text, key)
    local list = {}
    for i, run in ipairs(runs(text)) do
      list[i] = run.name .. " -> " .. tostring(run.values[key or "cups"])
    end
    return list
  end

  it("are all combinations of a grid, the last key fastest", function()
    assert.same({ "cups=1 price=1 -> 1", "cups=1 price=2 -> 1", "cups=3 price=1 -> 3",
      "cups=3 price=2 -> 3" }, told "grid:\n  cups: [1, 3]\n  price: [1, 2]\n")
  end)

  it("are variants by name, each with what it changes", function()
    assert.same({ "small -> 1", "large -> 9" },
      told "cups: 4\nvariants:\n  small: {cups: 1}\n  large: {cups: 9, price: 2}\n")
  end)

  it("are both together, with parts and their options, and references to what is run", function()
    local list = runs [[
variants: {a: {drink: {milk: yes}}, b: {}}
grid: {drink.minutes: [2, 4]}
saucers: ${drink.minutes}
]]
    local told_runs = {}
    for i, run in ipairs(list) do
      told_runs[i] = ("%s: %s %d"):format(run.name, tostring(run.values.drink), run.values.saucers)
    end
    assert.same({
      "a drink.minutes=2: {type: tea, minutes: 2, milk: true} 2",
      "a drink.minutes=4: {type: tea, minutes: 4, milk: true} 4",
      "b drink.minutes=2: {type: tea, minutes: 2} 2",
      "b drink.minutes=4: {type: tea, minutes: 4} 4",
    }, told_runs)
  end)

  it("have references within named parts follow, too", function()
    local list = runs [[
brews: {a: {type: tea, minutes: '${cups}'}}
drink: a
grid: {cups: [4, 5]}
]]
    assert.same({ 4, 5 }, { list[1].values.drink.options.minutes,
      list[2].values.drink.options.minutes })
  end)

  it("have references of their own, and values of their own", function()
    local list = runs [[
cups: 4
saucers: 2
sizes: [1]
variants: {a: {cups: '${saucers}', label: hi}, b: {saucers: 3, label: '${saucers}-x'}}
]]
    assert.same({ 2, "hi", 4, "3-x" }, { list[1].values.cups, list[1].values.label,
      list[2].values.cups, list[2].values.label })
    table.insert(list[1].values.sizes, 9)
    assert.same({ 1 }, list[2].values.sizes)
  end)

  it("have a variant once, to which a later file adds", function()
    local second = folder .. "/second.yaml"
    files.write(second, "variants: {large: {price: 3}, small: {cups: 1}}\n")
    local list = runs("variants: {large: {cups: 9, price: 2}}\n", "--config", second)
    assert.same({ "large", 9, 3, "small", 1 }, { list[1].name, list[1].values.cups,
      list[1].values.price, list[2].name, list[2].values.cups })
    assert.is_nil(list[3])
  end)

  it("take other spellings in variants, and what they stand for", function()
    local s = param.spec { cups = param.int { 2 }, size = param.int { 1, alias = {
      total = function(text) return tonumber(text) / 2, { cups = 5 } end } } }
    files.write(path, "cups: 3\nvariants: {a: {total: 8}, b: {total: 8, cups: 5}}\n")
    local o, message, reading = s:read { "--config", path }
    assert.truthy(o, message)
    local list = require "mlua.config.grid".runs(s, o, reading)
    assert.same({ 4, 5, 4, 5 }, { list[1].values.size, list[1].values.cups, list[2].values.size,
      list[2].values.cups })
    files.write(path, "variants: {a: {total: 8, cups: 6}}\n")
    assert.equal(path .. ":1: variants.a.total means --cups 5, but variants.a.cups was given",
      select(2, s:read { "--config", path }))
  end)

  it("have their mistakes told with all others", function()
    assert.equal("2: price: expected a number, got 'x'\n1: grid.cups: expected an integer, got 'y'"
      .. "\n3: variants.a.cup: unknown key, did you mean 'cups'?",
      mistakes "grid: {cups: [1, y]}\nprice: x\nvariants: {a: {cup: 1}}\n")
  end)

  it("set parts before their options", function()
    local list = runs "grid: {drink.size: [1, 2], drink: [pot]}\ndrink: {type: pot, size: 7}\n"
    assert.same({ 1, 2 }, { list[1].values.drink.options.size, list[2].values.drink.options.size })
  end)

  it("are refused where a value is", function()
    for text, expected in pairs {
      ["grid: {cups: [1, x]}\n"] = "1: grid.cups: expected an integer, got 'x'",
      ["grid: {cup: [1]}\n"] = "1: grid.cup: unknown key, did you mean 'cups'?",
      ["grid: {cups: []}\n"] = "1: grid.cups: expected a list of values",
      ["grid: {label: ['${cups}']}\n"] = "1: grid.label: expected values, got a reference",
      ["variants: {a: {cups: '${cusp}'}}\n"]
        = "1: variants.a.cups: ${cusp}: no such key or macro, did you mean 'cups'?",
      ["grid: [1]\n"] = "1: grid: expected a section, got a list",
      ["variants: {a: {cup: 1}}\n"] = "1: variants.a.cup: unknown key, did you mean 'cups'?",
      ["variants: {a: 1}\n"] = "1: variants.a: expected a section",
    } do
      files.write(path, text)
      local o, message, reading = spec():read { "--config", path }
      local ok, e = true, message
      if o then ok, e = pcall(require "mlua.config.grid".runs, spec(), o, reading) end
      e = tostring(not ok and type(e) == "table" and e.message or e)
      assert.equal(path .. ":" .. expected, e)
    end
  end)
end)

describe("a part", function()
  it("counts by all its options and by what its function does", function()
    local text = require "mlua.task.node".value_text
    local p = param.brew { "tea" }
    local plain = text(p:check "tea")
    assert.equal(plain, text(p:check { type = "tea", minutes = 3 }))
    assert.not_equal(plain, text(p:check { type = "tea", minutes = 4 }))
  end)

  it("is of its own: a change to one leaves the other", function()
    local o = spec():values { drink = "tea", tray = { "tea" } }
    local copy = spec():values { drink = o.drink }
    param.set(copy.drink.options, "minutes", 9)
    assert.equal(3, o.drink.options.minutes)
  end)

  it("is of its registry", function()
    assert.equal("brew", brew.name)
    local ok, e = pcall(function() return spec():values { drink = "te" } end)
    assert.is_false(ok)
    assert.truthy(e:find("drink: no brew 'te', did you mean 'tea'?", 1, true))
  end)
end)
