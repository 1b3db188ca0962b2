local files = require "spec.support.files"
local process = require "spec.support.process"
local mlua = process.mlua

describe("an error in mlua", function()
  local folder

  setup(function() folder = files.folder() end)
  teardown(function() files.remove(folder) end)

  it("ends in its message and a traceback on standard error, and status 1", function()
    local path = files.write(folder .. "/e.lua", "local function f() error('boom') end\nf()\n")
    local got = mlua { path }
    assert.equal(1, got.status)
    assert.equal("", got.out)
    assert.equal(("mlua: %s:1: boom\nstack traceback:\n\t[C]: in function 'error'\n"
      .. "\t%s:1: in function 'f'\n\t%s:2: in main chunk\n"):format(path, path, path), got.err)
  end)

  it("has no traceback where nothing ran: a wrong script, none, a folder", function()
    local path = files.write(folder .. "/s.lua", "x x\n")
    assert.equal("mlua: " .. path .. ":1: '=' expected near 'x'\n", mlua({ path }).err)
    assert.equal("mlua: cannot open nosuch.lua: No such file or directory\n",
      mlua({ "nosuch.lua" }).err)
    local got = mlua { folder }
    assert.equal("mlua: cannot read " .. folder .. ": Is a directory\n", got.err)
    assert.equal(1, got.status)
  end)

  it("that is a user's mistake prints one line, and has its own status", function()
    local got = mlua { "-e", "error({ user_error = 'unknown option --bach', status = 2 })" }
    assert.equal("mlua: unknown option --bach\n", got.err)
    assert.equal(2, got.status)
    got = mlua { "-e", "error({ user_error = 'clicks.tsv:3: label' })" }
    assert.equal("mlua: clicks.tsv:3: label\n", got.err)
    assert.equal(1, got.status)
  end)

  it("may be any value", function()
    local got = mlua { "-e", [[
      error(setmetatable({}, { __tostring = function() return "own" end }))]] }
    assert.truthy(got.err:match("^mlua: own\nstack traceback:"))
    assert.equal("mlua: (error object is a table value)\n", mlua({ "-e", "error({ 1 })" }).err)
    assert.equal("mlua: (error object is a boolean value)\n", mlua({ "-e", "error(false)" }).err)
    got = mlua { "-e", "error()" }
    assert.same({ 1, "" }, { got.status, got.err })
  end)

  it("in one chunk stops the ones after it", function()
    local got = mlua { "-e", "error('first', 0)", "-e", "print('second')" }
    assert.same({ 1, "" }, { got.status, got.out })
  end)

  it("is reported when output cannot be written", function()
    for _, chunk in ipairs { "print(1)", "print(1) os.exit(0)" } do
      local got = process.run { "sh", "-c", [[exec "$0" -e "$1" >/dev/full]],
        process.program(), chunk }
      assert.equal("mlua: standard output: No space left on device\n", got.err)
      assert.equal(1, got.status)
    end
  end)
end)

describe("os.exit in mlua", function()
  it("takes a status or a boolean", function()
    assert.equal(75, mlua({ "-e", "os.exit(75)" }).status)
    assert.equal(0, mlua({ "-e", "os.exit()" }).status)
    assert.equal(0, mlua({ "-e", "os.exit(true)" }).status)
    assert.equal(1, mlua({ "-e", "os.exit(false)" }).status)
  end)

  it("closes the state first, also from a coroutine, unless told not to", function()
    local chunk = "g = newproxy(true) getmetatable(g).__gc = function() print('closed') end "
    assert.equal("closed\n", mlua({ "-e", chunk .. "os.exit(3)" }).out)
    assert.equal("closed\n", mlua({ "-e", chunk .. "coroutine.wrap(os.exit)(3)" }).out)
    assert.equal("closed\n", mlua({ "-e", chunk }).out)
    assert.equal("", mlua({ "-e", chunk .. "os.exit(3, false)" }).out)
  end)
end)

describe("an interrupt", function()
  it("ends a script by its signal, as any program", function()
    local got = process.run { "timeout", "--preserve-status", "-s", "INT", "0.5",
      process.program(), "-e", "pcall(function() while true do end end) print('not reached')" }
    assert.same({ 130, "", "" }, { got.status, got.out, got.err })
  end)
end)
