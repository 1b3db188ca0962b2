-- `mlua new NAME`, and how the program finds its commands.
local files = require "spec.support.files"
local process = require "spec.support.process"

-- The busted that runs these specs.
local function busted_path()
  for i = 0, -10, -1 do
    if arg and arg[i] and arg[i]:find "busted[^/]*$" then return arg[i] end
  end
  return "/usr/bin/busted"
end

describe("mlua new", function()
  local folder

  before_each(function() folder = files.folder() end)
  after_each(function() files.remove(folder) end)

  local function mlua(arguments, cwd)
    return process.mlua(arguments, { cwd = cwd or folder, env = { MLUA_STORE = false } })
  end

  it("writes a project that runs, previews and passes its own spec at once", function()
    local got = mlua { "new", "my-line" }
    assert.equal("", got.err)
    assert.equal("my-line: README.md, config.lua, tasks.lua, recipe.lua, spec/recipe_spec.lua\n" ..
      "cd my-line && mlua recipe.lua\n", got.out)
    assert.equal(0, got.status)
    local project = folder .. "/my-line"

    got = mlua({ "recipe.lua", "--preview" }, project)
    assert.equal([[
Train      lr=0.3 epochs=50            run?  after Points
└─ Points  rows=1000 noise=0.1 seed=1  run   never run
2 to run (1 of them only if an input comes out otherwise), 0 ready
]], got.out .. got.err)

    got = mlua({ "recipe.lua" }, project)
    assert.equal("1/2  Points  never run\n2/2  Train  never run\n", got.err)
    local mse = tonumber(got.out:match '^metrics: {"mse":([%d.]+)}\nmodel: state, 136 B\n$')
    assert.is_true(mse > 0.007 and mse < 0.013, got.out) -- the noise's variance is 0.01
    assert.equal(0, got.status)

    got = mlua({ "recipe.lua" }, project) -- a second time: nothing runs
    assert.equal("", got.err)
    assert.equal(mse, tonumber(got.out:match '"mse":([%d.]+)'))

    got = mlua({ busted_path(), "--ignore-lua" }, project)
    assert.truthy(got.out:find("2 successes / 0 failures / 0 errors / 0 pending", 1, true),
      got.out .. got.err)
    assert.equal(0, got.status)
  end)

  it("keeps the project's results in it, though a folder above has some, too", function()
    assert(require "lfs".mkdir(folder .. "/.mlua"))
    mlua { "new", "p" }
    mlua({ "recipe.lua" }, folder .. "/p")
    assert.is_true(files.exists(folder .. "/p/.mlua/results.db"))
    assert.is_false(files.exists(folder .. "/.mlua/results.db"))
  end)

  it("writes a recipe that runs from another folder", function()
    mlua { "new", "p" }
    local got = mlua { "p/recipe.lua", "--rows", "20" }
    assert.equal(0, got.status, got.err)
    assert.truthy(got.out:find '^metrics: {"mse":')
  end)

  it("overwrites nothing", function()
    files.write(folder .. "/there", "mine")
    local got = mlua { "new", "there" }
    assert.equal("mlua: new: there is there already; nothing was written\n", got.err)
    assert.equal(1, got.status)
    assert.equal("mine", files.read(folder .. "/there"))
    os.execute("ln -s nowhere " .. folder .. "/dangling")
    got = mlua { "new", "dangling" }
    assert.equal("mlua: new: dangling: file exists\n", got.err)
    assert.is_false(files.exists(folder .. "/nowhere"))
  end)

  it("refuses what is no name, and writes nothing", function()
    for _, name in ipairs { "../x", "a/b", ".", "..", "a.b", "", "1a", "-", "a b", "a\nb", "ä",
                            ("x"):rep(65) } do
      local got = mlua { "new", name }
      assert.equal(2, got.status)
      assert.truthy(got.err:find('^mlua: new: "[^\n]*" is no name for a project: letters, '
        .. 'digits, _ and %-, first a letter, at most 64\n$'), got.err)
      assert.equal(1, select(2, got.err:gsub("\n", "")))
      assert.same({}, assert(require "mlua.ffi.files".list(folder)))
    end
    assert.equal("mlua: missing argument NAME\n", mlua({ "new" }).err)
    assert.equal("mlua: unexpected argument 'b'\n", mlua({ "new", "a", "b" }).err)
    assert.equal("mlua: unknown option '--nam'\n", mlua({ "new", "--nam" }).err)
  end)

  it("has help", function()
    local got = mlua { "new", "--help" }
    assert.equal(0, got.status)
    assert.truthy(got.out:find("usage: mlua new [options] NAME\n", 1, true))
  end)
end)

describe("a command of the program", function()
  local folder

  setup(function() folder = files.folder() end)
  teardown(function() files.remove(folder) end)

  it("is listed by --help, which is no mistake", function()
    for _, option in ipairs { "--help", "-h" } do
      local got = process.mlua { option }
      assert.equal(0, got.status)
      assert.truthy(got.out:find("\n       mlua [options] command [args]\n", 1, true))
      assert.truthy(got.out:find("\n  new NAME    write a small project into a new folder\n", 1,
        true))
    end
  end)

  it("has a line of its own in that list", function()
    local help = process.mlua({ "--help" }).out
    for _, name in ipairs(require "mlua.cli".names()) do
      assert.truthy(help:find("\n  " .. name .. " ", 1, true), name)
    end
  end)

  it("comes after a file of that name", function()
    files.write(folder .. "/new", "print('mine', ...)")
    assert.equal("mine\tx\n", process.mlua({ "new", "x" }, { cwd = folder }).out)
  end)

  it("comes before a folder of that name", function()
    assert(require "lfs".mkdir(folder .. "/sub"))
    assert(require "lfs".mkdir(folder .. "/sub/new"))
    assert.equal(0, process.mlua({ "new", "--help" }, { cwd = folder .. "/sub" }).status)
  end)

  it("is suggested for a word that is near, and only for a bare word", function()
    local function says(word, message)
      local got = process.mlua({ word }, { cwd = folder })
      assert.equal("mlua: cannot open " .. word .. ": No such file or directory" .. message .. "\n",
        got.err)
      assert.equal(1, got.status)
    end
    says("nwe", ", did you mean the command 'new'?")
    says("something", "")
    says("new.lua", "")
    says("./new1", "")
    says("init", "") -- the module that lists them is none
  end)
end)
