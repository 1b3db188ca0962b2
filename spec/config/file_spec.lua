-- Configuration files: values by key, with lines; and files that are mistaken or mean harm.
local files = require "spec.support.files"
local ml = require "mlua"
local param = ml.param

local folder, path

setup(function()
  folder = files.folder()
  path = folder .. "/x.yaml"
end)
teardown(function() files.remove(folder) end)

local function spec()
  return param.spec {
    batch = param.int { 128, min = 1, alias = "mini_batch" }, lr = param.number { 0.1, above = 0 },
    shuffle = param.bool { true }, name = param.string { "a" },
    top = param.ints { { 4, 2 }, min = 1 },
    tags = param.strings { {} }, loss = param.choice { "bce", "mse" }, day = param.date {},
    model = { dim = param.int { 16 }, deep = { width = param.int { 8 } } },
    rate = param.number { 1, alias = { public_rate = function(text)
      local n = tonumber(text)
      if not n then return nil, "expected a number, got '" .. text .. "'" end
      return n / 2, { batch = 7 }
    end } },
  }
end

-- Values, or the message.
local function read(text, ...)
  files.write(path, text)
  local values, rest = spec():read { "--config", path, ... }
  return values, rest
end

-- The message without the path, a line each.
local function mistakes(text, ...)
  local values, message = read(text, ...)
  assert.is_nil(values)
  return (message:gsub(path:gsub("%p", "%%%0") .. ":", ""))
end

describe("a configuration file", function()
  it("takes - and _ as one letter, in sections, too", function()
    files.write(path, "my_part: {a-b: 3}\n")
    local o = param.spec { ["my-part"] = { a_b = param.int { 1 } } }:read { "--config", path }
    assert.equal(3, o["my-part.a_b"])
  end)

  it("gives values to the parameters that its keys name", function()
    local o = read [[
# an experiment
batch: 32
lr: 1e-3
shuffle: no
name: 007
top: [64, 32]
tags: [a, "b c", no]
loss: mse
day: 2026-11-21
model:
  dim: 4
  deep: {width: 2}
]]
    assert.same({ 32, 1e-3, false, "007", { 64, 32 }, { "a", "b c", "no" }, "mse", "2026-11-21", 4,
      2 }, { o.batch, o.lr, o.shuffle, o.name, o.top, o.tags, o.loss, o.day, o.model.dim,
        o.model.deep.width })
  end)

  it("is remembered with its line, and comes after the command line", function()
    local o = read("batch: 32\nlr: 0.5\nmodel.dim: 3\n", "--lr", "0.25")
    assert.same({ path .. ":1", "batch" }, { param.origin(o, "batch") })
    assert.same({ 0.25, "command line" }, { o.lr, (param.origin(o, "lr")) })
    assert.same({ 3, path .. ":3" }, { o.model.dim, (param.origin(o, "model.dim")) })
    assert.equal("default", (param.origin(o, "name")))
  end)

  it("comes before those that are named earlier", function()
    local second = folder .. "/second.yaml"
    files.write(second, "batch: 64\n")
    local o = read("batch: 32\nlr: 0.5\n", "--config=" .. second)
    assert.same({ 64, 0.5 }, { o.batch, o.lr })
  end)

  it("takes other spellings, and what they stand for, too", function()
    assert.equal(9, read("mini-batch: 9\n").batch)
    local o = read "public_rate: 4\n"
    assert.same({ 2, 7 }, { o.rate, o.batch })
    assert.equal(3, read("public_rate: 4\n", "--batch", "3").batch)
    assert.equal(7, read("batch: 4\n", "--public-rate", "8").batch)
  end)

  it("takes an optional value back with ~, and says so", function()
    local second = folder .. "/second.yaml"
    files.write(second, "day: ~\n")
    local o = read("day: 2026-11-21\n", "--config=" .. second)
    assert.is_nil(o.day)
    assert.equal(second .. ":1", (param.origin(o, "day")))
    assert.truthy(require "mlua.config.print".values(spec(), o):find("day: ~ ", 1, true))
  end)

  it("may use anchors, and lists as the command line has them", function()
    local o = read "top: &widths [8, 8]\nname: &n wide\ntags: [*n, *n]\n"
    assert.same({ { 8, 8 }, { "wide", "wide" } }, { o.top, o.tags })
    assert.same({ 16, 8 }, read("top: 16-8\n").top)
  end)

  it("may quote what a kind of one's own reads", function()
    if not param.hue then
      param.kind("hue", { read = function(_, text) return text:upper() end,
                          check = function(_, value) return value end })
    end
    files.write(path, "of: 'red'\n")
    local o = param.spec({ of = param.hue {} }):read { "--config", path }
    assert.equal("RED", o.of)
  end)

  it("may say nothing", function()
    assert.equal(128, read("").batch)
    assert.equal(128, read("# later\n").batch)
    assert.equal(16, read("model:\n").model.dim)
  end)

  it("tells all mistakes at once, each with its line and key", function()
    assert.equal(table.concat({
      "1: bach: unknown key, did you mean 'batch'?",
      "2: lr: expected a number, got 'fast'",
      "4: model.dmi: unknown key, did you mean 'dim'?",
      "5: model.deep.width: expected an integer, got a list",
      "6: loss: expected bce or mse, got 'msee', did you mean 'mse'?",
    }, "\n"), mistakes "bach: 1\nlr: fast\nmodel:\n  dmi: 3\n  deep: {width: [1]}\nloss: msee\n")
  end)

  it("may have hundreds of mistakes, all of which are told", function()
    local lines = {}
    for i = 1, 500 do lines[i] = ("model.deep.key%d: %d"):format(i, i) end
    local _, message = read(table.concat(lines, "\n"))
    assert.equal(500, select(2, message:gsub("unknown key", "")))
  end)
end)

describe("a configuration file that is mistaken is refused, with the line:", function()
  local cases = {
    -- text, and the message
    ["a key twice"] = { "lr: 1\nbatch: 2\nlr: 3\n", "3: lr: twice, first in line 1" },
    ["a key twice by another spelling"] = { "batch: 1\nmini_batch: 2\n",
      "2: mini_batch: the same as batch in line 1" },
    ["a tab"] = { "model:\n\tdim: 3\n", "2: found character that cannot start any token "
      .. "(a tab, or one of @ ` %)" },
    ["a list that does not end"] = { "top: [1, 2\nlr: 1\n", "2: did not find expected ',' or ']'" },
    ["a list at the top"] = { "- 1\n- 2\n", "1: expected names with values, as `lr: 0.1`" },
    ["a word at the top"] = { "\n\nhello\n", "3: expected names with values, as `lr: 0.1`" },
    ["nothing as a value"] = { "lr: 1\nbatch:\n", "2: batch: expected an integer, got nothing" },
    ["null"] = { "batch: ~\n", "1: batch: expected an integer, got nothing" },
    ["NaN"] = { "lr: .nan\n", "1: lr: expected a number, got '.nan'" },
    ["nan"] = { "lr: nan\n", "1: lr: expected a number, got 'nan'" },
    ["infinity"] = { "lr: .inf\n", "1: lr: expected a number, got '.inf'" },
    ["a hexadecimal number"] = { "batch: 0x10\n", "1: batch: expected an integer, got '0x10'" },
    ["a number with underscores"] = { "batch: 1_000\n",
      "1: batch: expected an integer, got '1_000'" },
    ["sexagesimals"] = { "batch: 1:30\n", "1: batch: expected an integer, got '1:30'" },
    ["a fraction for an integer"] = { "batch: 1.5\n", "1: batch: expected an integer, got 1.5" },
    ["a number out of range"] = { "batch: 0\n", "1: batch: 0 is out of range (at least 1)" },
    ["a huge number"] = { "batch: 1e17\n",
      "1: batch: 1e+17 is out of range (at most 2^53 either way)" },
    ["a string for a number"] = { "lr: '0.1'\n", "1: lr: expected a number, got the string '0.1'" },
    ["a string for a flag"] = { "shuffle: 'no'\n",
      "1: shuffle: expected a bool, got the string 'no'" },
    ["a list for a number"] = { "lr: [1]\n", "1: lr: expected a number, got a list" },
    ["a section for a number"] = { "lr: {a: 1}\n", "1: lr: expected a number, got a section" },
    ["a number for a section"] = { "model: 3\n", "1: model: expected a section, got '3'" },
    ["a list for a section"] = { "model: [1]\n", "1: model: expected a section, got a list" },
    ["a list in a list"] = { "top: [[1], 2]\n", "1: top: expected an integer, got a list" },
    ["a string in a list of numbers"] = { "top: [1, '2']\n",
      "1: top: expected an integer, got the string '2'" },
    ["a list within a list's text"] = { "top: [1-2, 3]\n",
      "1: top: expected an integer, got '1-2'" },
    ["an element out of range"] = { "top: [4, 0]\n", "1: top: 0 is out of range (at least 1)" },
    ["a day that is none"] = { "day: 2026-02-30\n",
      "1: day: expected a date as 2026-11-21, got '2026-02-30'" },
    ["YAML's own word for yes, where a choice is wanted"] = { "loss: on\n",
      "1: loss: expected bce or mse, got 'on'" },
    ["a tag"] = { "lr: !!float 1\n", "1: tags (tag:yaml.org,2002:float) are not taken" },
    ["a tag that would run something"] = { "lr: !!python/object/apply:os.system ['id']\n",
      "1: tags (tag:yaml.org,2002:python/object/apply:os.system) are not taken" },
    ["a tag of Lua"] = { "name: !lua 'os.exit(1)'\n", "1: tags (!lua) are not taken" },
    ["a merge"] = { "model: &m {dim: 1}\nx: {<<: *m}\n",
      "2: << (merge) is not taken: name the values" },
    ["a key that is a list"] = { "[a, b]: 1\n", "1: a key has to be a word" },
    ["a second document"] = { "lr: 1\n---\nlr: 2\n", "2: a second document; one file holds one" },
    ["an anchor that is not there"] = { "lr: *x\n", "1: *x: no such anchor" },
    ["an alias within its own anchor"] = { "model: &m\n  dim: *m\n",
      "2: *m: an alias within its own anchor" },
    ["a wrong value by another spelling"] = { "public_rate: x\n",
      "1: public_rate: expected a number, got 'x'" },
    ["nothing where a value has to be"] = { "batch: ~\n",
      "1: batch: expected an integer, got nothing" },
    ["a value that an option's spelling contradicts"] = { "public_rate: 4\nbatch: 3\n",
      "public_rate means --batch 7, but batch was given" },
    ["a directive of its own"] = { "%FOO\n---\nlr: 1\n" },
    ["control characters"] = { "lr: 1\nname: \1\n", "2: control characters are not allowed" },
    ["no UTF-8"] = { "lr: 1\nname: \255\254\n", "2: invalid leading UTF-8 octet" },
    ["bytecode"] = { "\27LJ\2\10\0\1\0" },
    ["a brace alone"] = { "{" }, ["an end alone"] = { "}" },
    ["a quote that stays open"] = { "a: 'b" },
    ["a block in a flow"] = { "{a: |\n b\n}" }, ["keys without values"] = { "? a\n? b\n" },
    ["Lua"] = { "return os.execute 'id'\n", "1: expected names with values, as `lr: 0.1`" },
    ["Lua's names"] = { "__index: 1\n__metatable: 2\n",
      "1: __index: unknown key\n2: __metatable: unknown key" },
  }
  for what, case in pairs(cases) do
    it(what, function()
      local message = mistakes(case[1])
      if case[2] then assert.equal(case[2], message) else assert.truthy(message:find "^%d+: .") end
    end)
  end

  it("one deeper than 64 levels", function()
    assert.equal("1: more than 64 levels", mistakes(("{a: "):rep(100) .. "1" .. ("}"):rep(100)))
    assert.equal("1: more than 64 levels", mistakes(("["):rep(100000)))
  end)

  it("one whose aliases would stand for more than 100,000 values", function()
    local lines = { "a0: &a0 [x, x, x, x, x, x, x, x, x, x]" }
    for i = 1, 9 do
      local one = "*a" .. i - 1
      lines[i + 1] = ("a%d: &a%d [%s%s]"):format(i, i, (one .. ", "):rep(9), one)
    end
    assert.truthy(mistakes(table.concat(lines, "\n")):find "^%d: more than 100000 values")
  end)

  it("one of more than 4 MB", function()
    local _, message = read(("#"):rep(2 ^ 22 + 1))
    assert.equal(path .. ": more than 4 MB", message)
  end)

  it("one that is not there, or no file", function()
    local _, message = spec():read { "--config", folder .. "/none.yaml" }
    assert.equal(folder .. "/none.yaml: no such file", message)
    _, message = spec():read { "--config", folder }
    assert.equal(folder .. ": not a regular file", message)
    for _, args in ipairs { { "--config" }, { "--config=" }, { "--config", "--lr", "1" } } do
      _, message = spec():read(args)
      assert.equal("--config: expected a file", message)
    end
  end)

  it("text cut short or overwritten anywhere: a line, or values, and no crash", function()
    local text = "batch: 3\nlr: 0.5\nmodel: {dim: 4, deep: &a {width: 2}}\ntop: [1, \"2\", *a]\n"
      .. "name: |\n  x\n"
    local random, told = 1, 0
    for i = 1, #text do
      random = (random * 16807) % 2147483647
      local byte = string.char(random % 256)
      for _, broken in ipairs { text:sub(1, i), text:sub(1, i - 1) .. byte .. text:sub(i + 1) } do
        local values, message = read(broken)
        if not values then
          told = told + 1
          assert.truthy(message:find ":%d+: .", message)
        end
      end
    end
    assert.is_true(told > 50)
  end)
end)

describe("a configuration file in Lua", function()
  local function read_lua(text)
    local file = folder .. "/x.lua"
    files.write(file, text)
    local values, message = spec():read { "--config", file }
    return values, not values and message:gsub(file:gsub("%p", "%%%0") .. ":", "")
  end

  it("gives values as one in YAML does", function()
    local o = read_lua [==[
-- an experiment
return { --[[ of
two lines ]] batch = 32, lr = 1e-3; shuffle = false,
  name = "a\65\x42\n'", top = { 64, 32, }, tags = {}, loss = 'mse', ["day"] = [[2026-11-21]],
  model = { dim = 4, deep = { width = 2 } },
}
]==]
    assert.same({ 32, 1e-3, false, "aAB\n'", { 64, 32 }, {}, "mse", "2026-11-21", 4, 2 },
      { o.batch, o.lr, o.shuffle, o.name, o.top, o.tags, o.loss, o.day, o.model.dim,
        o.model.deep.width })
    assert.equal(folder .. "/x.lua:5", (param.origin(o, "model.dim")))
    assert.equal(128, read_lua("{}").batch)
  end)

  local NOTHING = ": nothing is run here"
  for text, message in pairs {
    ["return os.execute 'id'"] = "1: expected a table, string, number, true or false, got "
      .. "'os.execute'" .. NOTHING,
    ["{ lr = os.exit() }"] = "1: expected a table, string, number, true or false, got 'os.exit'"
      .. NOTHING,
    ["{ lr = 1 + 1 }"] = "1: expected , or } in a table, got '+'",
    ["{ lr = (1) }"] = "1: expected a table, string, number, true or false, got '('" .. NOTHING,
    ["{\n lr = function() end }"] = "2: expected a table, string, number, true or false, got "
      .. "'function'" .. NOTHING,
    ["{ lr = 1 } os.exit()"] = "1: more than one table: 'os.exit'",
    ["local t = {} return t"] = "1: expected a table, string, number, true or false, got 'local'"
      .. NOTHING,
    ["setmetatable({}, {})"] = "1: expected a table, string, number, true or false, got "
      .. "'setmetatable'" .. NOTHING,
    ["{ __index = 1 }"] = "1: __index: unknown key",
    ["{ batch = 1,\n batch = 2 }"] = "2: batch: twice, first in line 1",
    ["{ batch = 0x10 }"] = "1: '0x10' is no decimal number",
    ["{ batch = 1e }"] = "1: '1e' is no decimal number",
    ["{ batch = 10LL }"] = "1: '10LL' is no decimal number",
    ["{ batch = 0/0 }"] = "1: expected , or } in a table, got '/'",
    ["{ batch = '3' }"] = "1: batch: expected an integer, got the string '3'",
    ["{ batch = true }"] = "1: batch: expected an integer, got 'true'",
    ["{ batch = nil }"] = "1: batch: expected an integer, got nothing",
    ["{ [1] = 2 }"] = "1: a key has to be a word",
    ["{ [batch] = 2 }"] = "1: a key has to be a word",
    ["{ batch == 2 }"] = "1: expected a table, string, number, true or false, got 'batch'"
      .. NOTHING,
    ["{ 1, batch = 2 }"] = "1: a table of names and of a list, both",
    ["{ 1, 2 }"] = "1: expected names with values, as { lr = 0.1 }",
    ["3"] = "1: expected names with values, as { lr = 0.1 }",
    ["{ name = 'x\n' }"] = "1: a string that does not end",
    ["{ name = '\\q' }"] = "1: an escape that Lua does not have",
    ["{ name = '\\999' }"] = "1: an escape that Lua does not have",
    ["{ name = [==[ ]=] }"] = "1: a long bracket that does not end",
    ["--[[ {"] = "1: a long bracket that does not end",
    ["{ lr = 1"] = "1: expected , or } in a table, got the end, or a sign",
    [""] = "1: expected a table, string, number, true or false, got the end, or a sign" .. NOTHING,
    ["\27LJ\2\10"] = "1: bytecode is not taken",
    [("{ a = "):rep(100)] = "1: more than 64 levels",
    ["\255{}"] = "1: expected a table, string, number, true or false, got the end, or a sign"
      .. NOTHING,
  } do
    it("is refused: " .. text:sub(1, 40):gsub("%c", "?"), function()
      local values, got = read_lua(text)
      assert.is_nil(values)
      assert.equal(message, got)
    end)
  end

  it("is read or refused, cut short or overwritten anywhere", function()
    local told = 0
    local text = "return { batch = 3, model = { dim = 4 }, top = { 1, -2.5e3 }, name = [[x]] }"
    for i = 1, #text do
      for _, broken in ipairs { text:sub(1, i), text:sub(1, i - 1) .. "{" .. text:sub(i + 1),
                                text:sub(1, i - 1) .. "\0" .. text:sub(i + 1) } do
        local values, message = read_lua(broken)
        if not values then
          told = told + 1
          assert.truthy(message:find "^%d+: .")
        end
      end
    end
    assert.is_true(told > 200)
  end)
end)

describe("values from elsewhere", function()
  local ffi = require "ffi"
  ffi.cdef "int setenv(const char *, const char *, int); int unsetenv(const char *);"
  local names = {}
  local function set(name, value)
    ffi.C.setenv(name, value, 1)
    names[#names + 1] = name
  end
  after_each(function()
    for _, name in ipairs(names) do ffi.C.unsetenv(name) end
  end)

  it("come after files: variables of the environment, named as the options are", function()
    set("MLUA_LR", "0.25")
    set("MLUA_MODEL_DEEP_WIDTH", "3")
    set("MLUA_TOP", "9-8")
    set("MLUA_NAME", "") -- is as none
    local o = read "lr: 0.5\nbatch: 2\n"
    assert.same({ 0.25, 3, { 9, 8 }, 2, "a" },
      { o.lr, o.model.deep.width, o.top, o.batch, o.name })
    assert.equal("MLUA_LR", (param.origin(o, "lr")))
    assert.equal(0.75, read("lr: 0.5\n", "--lr", "0.75").lr)
  end)

  it("are refused with their variable, all at once, with what files get wrong", function()
    set("MLUA_LR", "fast")
    set("MLUA_BATCH", "0")
    assert.equal("1: top: expected a list, got nothing\n"
      .. "MLUA_BATCH: 0 is out of range (at least 1)\nMLUA_LR: expected a number, got 'fast'",
      mistakes "top:\n")
  end)

  it("come after both, before options: --set NAME=VALUE", function()
    set("MLUA_LR", "0.25")
    local o = read("lr: 0.5\n", "--batch", "7", "--set", "lr=0.125", "--set=batch=8",
      "--set", "model.dim=5")
    assert.same({ 0.125, 7, 5, "command line" },
      { o.lr, o.batch, o.model.dim, (param.origin(o, "lr")) })
    for given, message in pairs {
      lr = "--set: expected NAME=VALUE, got lr",
      ["lr=x"] = "--lr: expected a number, got 'x'",
      ["rl=1"] = "unknown option '--rl', did you mean '--lr'?",
    } do
      local _, got = spec():read { "--set", given }
      assert.equal(message, got)
    end
    local _, got = spec():read { "--set" }
    assert.equal("--set: expected NAME=VALUE, got nothing", got)
  end)
end)

it("a script that has an option 'config' of its own keeps it", function()
  local own = param.spec { config = param.string { "" } }
  assert.equal("mine", own:read({ "--config", "mine" }).config)
end)
