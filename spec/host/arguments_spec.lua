local files = require "spec.support.files"
local process = require "spec.support.process"
local mlua = process.mlua

describe("mlua's arguments", function()
  local folder

  setup(function() folder = files.folder() end)
  teardown(function() files.remove(folder) end)

  local function script(text, name) return files.write(folder .. "/" .. (name or "s.lua"), text) end

  it("run chunks, modules and compiler options in the order given", function()
    script("print('module')", "order.lua")
    local got = mlua({ "-e", "print(1)", "-lorder", "-j", "off", "-e", "print(jit.status())" },
      { cwd = folder })
    assert.equal("", got.err)
    assert.truthy(got.out:match("^1\nmodule\nfalse"))
    assert.equal(0, got.status)
  end)

  it("give a script its arguments in ... and in arg, the options below zero", function()
    local path = script("print(...) print(arg[0], arg[1], arg[2], arg[-1], arg[-2], #arg)")
    local got = mlua { "-e", "x = 1", path, "a b", "-v" }
    assert.equal("a b\t-v\n" .. path .. "\ta b\t-v\tx = 1\t-e\t2\n", got.out)
    local lowest = mlua({ "-e", "print(arg[-3])" }).out
    assert.equal(process.program(), lowest:sub(-#process.program() - 1, -2))
  end)

  it("skip a first line that starts with #", function()
    assert.equal("ok\n", mlua({ script("#!/usr/bin/env mlua\nprint('ok')\n") }).out)
  end)

  it("run standard input, alone, after a dash, and with arguments", function()
    assert.equal("in\n", mlua({}, { stdin = "print('in')" }).out)
    assert.equal("a\n", mlua({ "-", "a" }, { stdin = "print(...)" }).out)
    assert.equal("-\n", mlua({ "-" }, { stdin = "print(arg[0])" }).out)
  end)

  it("take a script after --, even one whose name starts with a dash", function()
    script("print('dashed', ...)", "-x.lua")
    assert.equal("dashed\t1\n", mlua({ "--", "-x.lua", "1" }, { cwd = folder }).out)
  end)

  it("print the version", function()
    local got = mlua { "-v" }
    assert.truthy(got.out:match("^mlua %d+%.%d+%.%d+ · LuaJIT 2%.1"))
    assert.equal(0, got.status)
  end)

  it("end in the usage and status 2 where they are wrong", function()
    for _, wrong in ipairs { { "-x" }, { "--help-me" }, { "-e" }, { "-l" }, { "-ivq" } } do
      local got = mlua(wrong)
      assert.equal(2, got.status)
      assert.truthy(got.err:match("^mlua: [^\n]+\nusage: mlua %[options%] %[script %[args%]%]\n"))
      assert.equal("", got.out)
    end
  end)

  it("name what is wrong with compiler options, without a traceback", function()
    local got = mlua { "-Onope", "-e", "print(1)" }
    assert.equal("mlua: unknown or malformed optimization flag 'nope'\n", got.err)
    assert.equal(2, got.status)
    assert.equal("mlua: -j nope: expected on, off, flush, or a jit.* module\n",
      mlua({ "-jnope" }).err)
  end)

  it("refuse to save bytecode", function()
    local got = mlua { "-b", "x.lua", "x.out" }
    assert.equal("mlua: -b: bytecode is neither written nor loaded here\n", got.err)
    assert.equal(2, got.status)
  end)

  it("run LUA_INIT first, as a chunk or as @file, and not under -E", function()
    local path = script("io.write('file ')", "init.lua")
    local function under(init, ...)
      return mlua({ "-e", "print(1)", ... }, { env = { LUA_INIT = init } })
    end
    assert.equal("init 1\n", under("io.write('init ')").out)
    assert.equal("file 1\n", under("@" .. path).out)
    assert.equal("1\n", under("error()", "-E").out)
    local got = under("x x")
    assert.equal("mlua: LUA_INIT:1: '=' expected near 'x'\n", got.err)
    assert.same({ 1, "" }, { got.status, got.out })
  end)

  it("honour LUA_PATH behind mlua's own modules, and not under -E", function()
    script("return 'from LUA_PATH'", "elsewhere.lua")
    local env = { LUA_PATH = folder .. "/?.lua;;" }
    local chunk = "print(require 'elsewhere')"
    assert.equal("from LUA_PATH\n", mlua({ "-e", chunk }, { env = env }).out)
    assert.equal(1, mlua({ "-E", "-e", chunk }, { env = env }).status)
    assert.truthy(mlua({ "-e", "print(package.path)" }).out:match("^[^;]*/lua/%?%.lua;"))
  end)
end)
