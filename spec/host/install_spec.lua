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

  it("brings the modules compiled, and uses them", function()
    if os.getenv "ASAN_OPTIONS" or os.getenv "TSAN_OPTIONS" then
      return pending "a sanitizer's build compiles no modules"
    end
    -- What no source could say: a module whose source is broken, of the same size and time.
    local path = tree .. "/share/mlua/lua/mlua/text.lua"
    local stamp = folder .. "/stamp"
    local source = files.read(path)
    assert.equal(0, process.run({ "touch", "-r", path, stamp }).status)
    files.write(path, ("?"):rep(#source))
    assert.equal(0, process.run({ "touch", "-r", stamp, path }).status)
    local got = installed("-e", "print(require 'mlua.text'.list { 'a', 'b' })")
    files.write(path, source)
    assert.same({ "", "a or b\n" }, { got.err, got.out })
  end)

  it("brings the recipes", function()
    assert.truthy(files.exists(tree .. "/share/mlua/recipes/dlrm.lua"))
  end)
end)

describe("compiled modules", function()
  local folder

  -- A build tree with one module of its own, whose bytecode says 1.
  local function tree(name)
    local root = folder .. "/" .. name
    local function run(...) assert.equal(0, process.run({ ... }).status) end
    run("mkdir", "-p", root .. "/from/lua/mlua")
    run("ln", "-s", "from", root .. "/source")
    run("cp", process.program(), build .. "/libmlua.so", root)
    run("cp", "-r", build .. "/lua", root .. "/lua")
    run("cp", "-r", build .. "/source/lua/mlua", root .. "/from/lua")
    local one = root .. "/from/lua/mlua/one.lua"
    files.write(one, "return 1 -- debug.getinfo\n")
    run(process.program(), build .. "/source/tools/compile.lua", root .. "/compiled",
      root .. "/from/lua", root .. "/lua")
    return root, one
  end

  -- What the module says, with the bytes of its source overwritten and its time kept.
  local function said(root, one, text, keep)
    local stamp = root .. "/stamp"
    assert.equal(0, process.run({ "touch", "-r", one, stamp }).status)
    files.write(one, text)
    if keep then assert.equal(0, process.run({ "touch", "-r", stamp, one }).status) end
    local got = process.run { root .. "/mlua", "-e", "print(require 'mlua.one')" }
    assert.equal("", got.err)
    return got.out
  end

  setup(function()
    if os.getenv "ASAN_OPTIONS" or os.getenv "TSAN_OPTIONS" then return end
    folder = files.folder()
  end)
  teardown(function() if folder then files.remove(folder) end end)

  it("are read where their sources have the size and time they had, else the sources", function()
    if not folder then return pending "a sanitizer's build compiles no modules" end
    local root, one = tree "a"
    assert.equal("1\n", said(root, one, "return 2 -- debug.getinfo\n", true))
    assert.equal("3\n", said(root, one, "return 3 -- debug.getinfo\n"))
    assert.equal("4\n", said(root, one, "return 4\n", true))
  end)

  it("know the path and line of their sources", function()
    if not folder then return pending "a sanitizer's build compiles no modules" end
    local root = tree "b"
    local long = folder .. "/" .. ("long "):rep(30)
    assert(os.rename(root, long))
    local got = process.run { long .. "/mlua", "-e",
      "local i = debug.getinfo(require 'mlua.text'.keys, 'S') print(i.source, i.linedefined > 1)" }
    assert.equal("@" .. long .. "/from/lua/mlua/text.lua\ttrue\n", got.out)
  end)

  it("are left out where the file is damaged, or was made by another LuaJIT", function()
    if not folder then return pending "a sanitizer's build compiles no modules" end
    local root, one = tree "c"
    local path = root .. "/compiled"
    local good = files.read(path)
    local first, rest = good:match "^(mlua bytecode 1\n%d+\t)(.*)$"
    local another = first .. "1" .. rest
    for _, text in ipairs { "", "mlua", good:sub(1, 1000), good:sub(1, -2000), another } do
      files.write(path, text)
      assert.equal("5\n", said(root, one, "return 5 -- debug.getinfo\n", true))
    end
    files.write(path, good)
    assert.equal("1\n", said(root, one, "return 5 -- debug.getinfo\n", true))
  end)
end)
