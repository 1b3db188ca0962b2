local files = require "spec.support.files"
local mlua = require("spec.support.process").mlua

describe("bytecode", function()
  local folder, path

  setup(function()
    folder = files.folder()
    path = files.write(folder .. "/code.lua", string.dump(function() print("ran") end))
  end)
  teardown(function() files.remove(folder) end)

  local refused = "bytecode refused, mlua loads Lua source only"

  it("is refused as a script, on standard input, and as LUA_INIT's file", function()
    local got = mlua { path }
    assert.equal("mlua: " .. path .. ": " .. refused .. "\n", got.err)
    assert.same({ 1, "" }, { got.status, got.out })
    local input = { stdin = files.read(path) }
    assert.equal("mlua: stdin: " .. refused .. "\n", mlua({}, input).err)
    assert.equal("mlua: stdin: " .. refused .. "\n", mlua({ "-" }, input).err)
    assert.equal("mlua: " .. path .. ": " .. refused .. "\n",
      mlua({ "-e", "" }, { env = { LUA_INIT = "@" .. path } }).err)
  end)

  it("is refused behind a first line that starts with #", function()
    local hidden = files.write(folder .. "/hidden.lua", "#!mlua\n" .. files.read(path))
    assert.equal("mlua: " .. hidden .. ": " .. refused .. "\n", mlua({ hidden }).err)
  end)

  it("is refused by require, dofile and loadfile", function()
    local got = mlua({ "-e", "require 'code'" }, { cwd = folder })
    assert.truthy(got.err:find("error loading module 'code' from file './code.lua':\n\t./code.lua: "
      .. refused, 1, true))
    assert.equal(1, got.status)
    assert.equal("false\tcode.lua: " .. refused .. "\n",
      mlua({ "-e", "print(pcall(dofile, 'code.lua'))" }, { cwd = folder }).out)
    assert.equal("nil\tcode.lua: " .. refused .. "\n",
      mlua({ "-e", "print(loadfile('code.lua'))" }, { cwd = folder }).out)
    assert.equal("nil\tmode 'b' refused, mlua loads Lua source only\n",
      mlua({ "-e", "print(loadfile('code.lua', 'b'))" }, { cwd = folder }).out)
  end)

  it("is refused by load and loadstring, from a string and from a function", function()
    local dump = "local code = string.dump(function() end) "
    local want = "nil\tchunk: " .. refused .. "\n"
    assert.equal(want, mlua({ "-e", dump .. "print(load(code))" }).out)
    assert.equal(want, mlua({ "-e", dump .. "print(loadstring(code))" }).out)
    assert.equal(want, mlua({ "-e", dump .. "print(load(code, nil, 'bt'))" }).out)
    assert.equal(want, mlua({ "-e", dump ..
      "local c = code print(load(function() local p = c c = nil return p end))" }).out)
    assert.equal("nil\tmode 'b' refused, mlua loads Lua source only\n",
      mlua({ "-e", dump .. "print(load(code, 'x', 'b'))" }).out)
  end)
end)

describe("text", function()
  local function value(chunk) return mlua({ "-e", "print(" .. chunk .. ")" }).out end

  it("loads from strings and functions, by name and environment", function()
    assert.equal("7\n", value "load('return 7')()")
    assert.equal("5\n", value "load('return x', 'n', 't', { x = 5 })()")
    assert.equal("nil\t[string \"x x\"]:1: '=' expected near 'x'\n", value "load('x x')")
    assert.equal("nil\tn:1: '=' expected near 'x'\n", value "loadstring('x x', '=n')")
    assert.equal("12\n", value [[(function()
      local pieces, i = { "return 1", "2", "" }, 0
      return load(function() i = i + 1 return pieces[i] end)()
    end)()]])
  end)

  it("that a reader function hands out must be strings", function()
    assert.truthy(value("pcall(load, function() return {} end)")
      :match("reader function must return a string"))
    assert.equal("true\tnil\tin reader\n",
      value "pcall(load, function() error('in reader', 0) end)")
  end)

  it("in a missing module names the files that were tried", function()
    local got = mlua { "-e", "require 'no.such'" }
    assert.truthy(got.err:find("module 'no.such' not found:\n\tno field package.preload", 1, true))
    assert.truthy(got.err:find("/lua/no/such.lua'", 1, true))
  end)
end)
