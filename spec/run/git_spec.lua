-- What a run records of the repository of its recipe: the commit, and what is not committed.
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local FOLDER = "it's; touch INJECTED; $(touch INJECTED)"
local RECIPE = [[
  local ml = require "mlua"
  return ml.flow(ml.task("Train", { run = function()
    local m = ml.nn.Linear.new { inputs = 1, outputs = 1 }
    ml.engine { model = m, optimizer = ml.optim.sgd(m, { lr = 0 }), quiet = true,
      train = ml.data.samples.loader({ x = ml.zeros(1, 1) }, {}),
      loss = function(b) return m(b.x):sum() end }:fit()
    return 1
  end }))
]]

local folder, repository
before_each(function()
  folder = files.folder()
  repository = folder .. "/" .. FOLDER
  lfs.mkdir(repository)
  files.write(repository .. "/r.lua", RECIPE)
end)
after_each(function() files.remove(folder) end)

local function git(...)
  local r = process.run({ "git", "-c", "user.name=x", "-c", "user.email=x", "-C", repository, ... })
  assert.equal(0, r.status, r.err)
  return r.out
end

-- The record and the patch of a run in a folder of that name.
local function train(name, variable)
  files.remove(folder .. "/store") -- each run is the first one
  local r = process.run({ "env", "MLUA_STORE=" .. folder .. "/store", variable or "X=",
    process.program(), FOLDER .. "/r.lua", "--run", name }, { cwd = folder })
  assert.equal(0, r.status, r.err)
  local patch = folder .. "/" .. name .. "/diff.patch"
  return json.load(folder .. "/" .. name .. "/run.json"),
    files.exists(patch) and files.read(patch) or nil
end

describe("a run's record", function()
  it("has the commit and what is not committed, whatever the folders are called", function()
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    local record, patch = train "a'; touch INJECTED; '$(touch INJECTED)"
    assert.same({ commit = git("rev-parse", "HEAD"):match "%x+", changed = false }, record.git)
    assert.is_nil(patch)
    files.write(repository .. "/r.lua", RECIPE .. "-- changed\n")
    git("config", "diff.external", "false")
    git("config", "color.ui", "always")
    record, patch = train "b"
    assert.is_true(record.git.changed)
    assert.matches("^diff %-%-git .*\n%+%-%- changed\n$", patch)
    for name in lfs.dir(folder) do assert.not_equal("INJECTED", name) end
    assert.is_false(files.exists(repository .. "/INJECTED"))
  end)

  it("has nothing of git where there is no repository, or no git", function()
    local record, patch = train("a", "GIT_CEILING_DIRECTORIES=" .. folder)
    assert.is_nil(record.git)
    assert.is_nil(patch)
    record, patch = train("b", "PATH=" .. folder)
    assert.is_nil(record.git)
    assert.is_nil(patch)
  end)
end)
