local files = require "spec.support.files"
local process = require "spec.support.process"
local mlua = process.mlua

describe("the prompt, fed by a pipe", function()
  local function talk(lines, arguments)
    return mlua(arguments or { "-i" }, { stdin = table.concat(lines, "\n") .. "\n" })
  end

  it("prints the values of expressions, nil among them, and nothing else", function()
    local got = talk {
      "x = 2", "x + 1", "=x", "  = x", "nil, x", "return 5", "print('p')", "-- nothing", "",
      "(function() end)()", "'text'", "y",
    }
    assert.equal('3\n2\n2\nnil\t2\n5\np\n"text"\nnil\n', got.out)
    assert.same({ "", 0 }, { got.err, got.status })
  end)

  it("prints through __tostring", function()
    local got = talk { "setmetatable({}, { __tostring = function() return 'mine' end })" }
    assert.equal("mine\n", got.out)
  end)

  it("has ml, nn and optim, which load when they are used", function()
    local got = talk {
      "rawget(_G, 'ml'), package.loaded.mlua", "ml.ones(2)", "nn.Linear ~= nil, optim.sgd ~= nil",
      "rawget(_G, 'ml') == require 'mlua'", "mll",
    }
    assert.equal("nil\tnil\n1. 1.   [f32 2 cpu]\ntrue\ttrue\ntrue\nnil\n", got.out)
  end)

  it("goes on in the next line while a block is open", function()
    local got = talk {
      "for i = 1, 2 do", "print(i)", "end", "f = function(a)", "return a", "end", "f(", "3)",
      "s = [[a", "?b", "%c]]", "#s",
    }
    assert.equal("1\n2\n3\n7\n", got.out)
    assert.equal("", got.err)
  end)

  it("ends a local with its line", function()
    local got = talk { "local x = 1 print(x)", "x" }
    assert.same({ "1\nnil\n", "" }, { got.out, got.err })
  end)

  it("goes on after an error, whose traceback has the user's calls alone", function()
    local got = talk {
      "function f() error('oops') end", "function g() f() return 1 end", "g()",
      "x x", "error({ user_error = 'no such option' })", "error({ 7 })", "1 + 1",
      "ml.scope(function() g() end)",
    }
    assert.equal([[
stdin:1: oops
stack traceback:
	stdin:1: in function 'f'
	stdin:1: in function 'g'
	stdin:1: in main chunk
stdin:1: '=' expected near 'x'
no such option
error: { 7 }
stdin:1: oops
stack traceback:
	stdin:1: in main chunk
]], got.err)
    assert.equal("2\n", got.out)
  end)

  it("has one line for a mistake that mlua has found", function()
    assert.equal("stdin:1: bad argument #1 to 'zeros' " ..
      "(size: expected a whole number of at least 0, got 1.5)\n", talk({ "ml.zeros(1.5)" }).err)
  end)

  it("shortens the traceback of an endless recursion", function()
    local got = talk { "function f() return 1 + f() end", "f()", "'on'" }
    assert.truthy(got.err:match("^stdin:1: stack overflow[^\n]*\nstack traceback:\n"))
    assert.truthy(got.err:match("\n\t%.%.%.\n"))
    assert.equal(25, select(2, got.err:gsub("\n", "")))
    assert.equal('"on"\n', got.out)
  end)

  it("comes after a script, which it shares globals with", function()
    local folder = files.folder()
    local path = files.write(folder .. "/s.lua", "shared = ...")
    assert.equal('"word"\n', talk({ "shared" }, { "-i", path, "word" }).out)
    files.remove(folder)
  end)

  it("leaves the globals' metatable of a script as it is", function()
    local strict = "setmetatable(_G, { __index = function(_, k) error('no ' .. k, 2) end })"
    local got = talk({ "ml", "1" }, { "-i", "-e", strict })
    assert.truthy(got.err:match("^stdin:1: no ml\n"))
    assert.equal("1\n", got.out)
  end)
end)

describe("a line that is not Lua", function()
  local function talk(...)
    return mlua({ "-i" }, { stdin = table.concat({ ... }, "\n") .. "\n" })
  end

  it("times an expression, with its values", function()
    local got = talk("%time 6 * 7", "%time x = 5", "x", "%time error('oops')", "%time", "%time )")
    assert.truthy(got.out:match("^42\nwall [%d.]+ [nµm]+s, cpu [%d.]+ [nµm]+s\n" ..
      "wall [^\n]+\n5\n$"))
    assert.truthy(got.err:match("^stdin:1: oops\nstack traceback:\n\tstdin:1: in main chunk\n" ..
      "%%time: expected an expression, as in %%time ml%.randn%(1000%):sum%(%)\nstdin:1: unexp"))
  end)

  it("times a repeated expression or statement by best and median", function()
    local got = talk("n = 0", "%timeit n + 1", "%timeit n = n + 1", "n > 1000",
      "%timeit error('oops')")
    local line = "best [%d.]+ [nµm]s, median [%d.]+ [nµm]s %(%d+ rounds? of %d+%)\n"
    assert.truthy(got.out:match("^" .. line .. line .. "true\n$"))
    assert.truthy(got.err:match("^stdin:1: oops\n"))
  end)

  it("says what memory is held, before and after mlua is loaded", function()
    local got = talk("%mem", "x = ml.ones(1024, 256)", "%mem")
    assert.truthy(got.out:match("^Lua [%d.]+ [KM]iB; no tensors: mlua is not loaded yet\n" ..
      "tensors 1%.00 MiB in 1 %(peak 1%.00 MiB%), cached for new ones %d+ B, " ..
      "Lua [%d.]+ [KM]iB, process [%d.]+ MiB\n$"))
  end)

  it("lists the user's globals", function()
    local got = talk("%who", "x, long = ml.ones(2, 3), ('a'):rep(200)", "f = function(a) end",
      "%who")
    assert.truthy(got.out:match('^no names of yours yet\nf     function%(a%) <stdin:1>\n' ..
      'long  "a+ …\nx     %[f32 2×3 cpu%]\n$'))
  end)

  it("loads a file", function()
    local folder = files.folder()
    local path = files.write(folder .. "/a file.lua", "loaded = 1 return 2, 'b'")
    local bad = files.write(folder .. "/bad.lua", "error('in it')")
    local got = talk("%load " .. path, "loaded", "%load", "%load " .. bad,
      "%load " .. folder .. "/none.lua")
    assert.equal('2\t"b"\n1\n', got.out)
    assert.equal("%load: expected a file\n" .. bad .. ":1: in it\nstack traceback:\n\t" .. bad ..
      ":1: in main chunk\ncannot open " .. folder .. "/none.lua: No such file or directory\n",
      (got.err:gsub("cannot open file '?([^' ]+)'? %(([^\n]+)%)", "cannot open %1: %2")))
    files.remove(folder)
  end)

  it("lists the commands, and knows a misspelt one", function()
    local got = talk("?", "%tmie 1", "%zzz")
    for _, name in ipairs { "? name", "%timeit expr", "%load file", "Tab" } do
      assert.truthy(got.out:find(name, 1, true), name)
    end
    assert.equal(talk("%help").out, got.out)
    assert.equal("no command %tmie, did you mean '%time'?; %help lists them\n" ..
      "no command %zzz; %help lists them\n", got.err)
  end)
end)

describe("the README's session", function()
  it("is what the prompt says", function()
    local text = files.read("README.md"):match("```\n%$ mlua\nmlua [^\n]*\n(.-)```")
    local lines, said = {}, {}
    for line in text:gmatch("([^\n]*)\n") do
      local typed = line:match("^>>? (.*)$")
      if typed then lines[#lines + 1] = typed else said[#said + 1] = line end
    end
    assert.truthy(#lines > 5)
    local got = process.run({ "sh", "-c", '"$0" -i 2>&1', process.program() },
      { stdin = table.concat(lines, "\n") .. "\n" })
    assert.equal(table.concat(said, "\n") .. "\n", got.out)
  end)
end)
