local files = require "spec.support.files"
local process = require "spec.support.process"

-- The folder of the program under test is its build tree.
local build = process.program():match("^(.*)/[^/]*$")

describe("the program", function()
  it("links LuaJIT and the C library alone, so that it starts in milliseconds", function()
    local linked = process.run({ "ldd", process.program() }).out
    assert.truthy(linked:match("libluajit"))
    for _, name in ipairs { "libmlua", "libdnnl", "libgomp", "libreadline" } do
      assert.falsy(linked:match(name))
    end
  end)
end)

describe("cmake --install", function()
  local folder, tree

  setup(function()
    folder = files.folder()
    tree = folder .. "/moved here"
    local got = process.run { "cmake", "--install", build, "--prefix", folder .. "/made" }
    assert.equal("", got.err)
    assert(os.rename(folder .. "/made", tree))
  end)
  teardown(function() files.remove(folder) end)

  local function installed(...)
    return process.run({ tree .. "/bin/mlua", ... }, { cwd = "/", env = { LUA_PATH = false } })
  end

  it("makes a tree that works wherever it is, with its own modules", function()
    local got = installed("-e", "print(package.searchpath('mlua.text', package.path))")
    assert.equal(tree .. "/share/mlua/lua/mlua/text.lua\n", got.out)
  end)

  it("brings the library and what is generated", function()
    local got = installed("-e", "require 'mlua' print('whole')")
    assert.same({ "", "whole\n" }, { got.err, got.out })
  end)

  it("brings the recipes", function()
    assert.truthy(files.exists(tree .. "/share/mlua/recipes/dlrm.lua"))
  end)
end)
