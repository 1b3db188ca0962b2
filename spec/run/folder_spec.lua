-- Folders of runs: whose they are, and what becomes of them where their files are damaged.
local files = require "spec.support.files"
local json = require "mlua.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local TRAINING = lfs.currentdir() .. "/spec/support/training.lua"

local folder, runs
before_each(function()
  folder = files.folder()
  runs = folder .. "/store/runs/Train"
end)
after_each(function() files.remove(folder) end)

local function train(fault, ...)
  local r = process.run({ process.program(), TRAINING, "--rows", "1000", ... }, { cwd = folder,
    env = { MLUA_STORE = folder .. "/store", MLUA_THREADS = "1", MLUA_STORE_FAULT = fault } })
  assert.equal(fault and 137 or 0, r.status, r.err)
  return r
end

local function names()
  local list = {}
  for name in lfs.dir(runs) do
    if not name:find "^%." then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- A training that is killed at the first rename after its first checkpoint, with a store of its own
-- or a named run; `run` gives its folder.
local function killed(run, ...)
  for n = 11, 30 do
    train(("rename:%d:KILL"):format(n), ...)
    if files.exists(run() .. "/checkpoints/000000000010.json") then return run() end
    files.remove(run())
    files.remove(folder .. "/store")
  end
  error "no checkpoint"
end

-- The folder of a run that was interrupted after its first checkpoint, and the index that names it.
local function interrupted()
  local run = killed(function() return runs .. "/" .. names()[1] end)
  for name in lfs.dir(runs .. "/.of") do
    if not name:find "^%." then return run, runs .. "/.of/" .. name end
  end
end

describe("a run's folder", function()
  it("is its owner's alone, and so is all that is above it in the store", function()
    train()
    for path in (runs .. "/" .. names()[1] .. "/checkpoints"):sub(#folder + 2):gmatch "()/" do
      local part = (runs .. "/" .. names()[1] .. "/checkpoints"):sub(1, #folder + path)
      assert.equal("rwx------", lfs.attributes(part, "permissions"), part)
    end
  end)

  it("is found where its index was emptied or cut short", function()
    for n = 0, 12, 4 do
      local _, index = interrupted()
      files.write(index, files.read(index):sub(1, n))
      assert.matches("goes on at step 10\n", train().err)
      assert.equal(1, #names())
      files.remove(folder .. "/store")
    end
  end)

  it("is beneath the store: an index that names another place is not followed", function()
    local run, index = interrupted()
    os.rename(run, folder .. "/elsewhere")
    for _, name in ipairs { "../../../elsewhere", folder .. "/elsewhere", "..", "" } do
      files.write(index, name .. "\n")
      train()
      assert.equal("running", json.load(folder .. "/elsewhere/run.json").status)
      assert.equal(1, #names())
      files.remove(folder .. "/store/objects")
      files.remove(folder .. "/store/results.db")
      files.remove(runs .. "/" .. names()[1])
    end
  end)

  it("whose record is damaged is told, and left as it is", function()
    local whole
    for i, change in ipairs { function(text) return text:sub(1, #text / 2) end,
                              function() return "" end,
                              function(text) return (text:gsub('("identity": ").', "%1x")) end } do
      local run = interrupted()
      whole = files.read(run .. "/run.json")
      files.write(run .. "/run.json", change(whole))
      local before = files.read(run .. "/checkpoints/000000000010.json")
      assert.matches(("mlua: %s/run.json: %s; a new run begins, and this one is left as it is\n")
        :format(run, i == 3 and "of another identity than it was" or "missing or damaged"),
        train().err, 1, true)
      assert.equal(2, #names())
      assert.equal(before, files.read(run .. "/checkpoints/000000000010.json"))
      files.remove(folder .. "/store")
    end
  end)

  it("that is named, with a damaged record, is refused with its line", function()
    killed(function() return folder .. "/mine" end, "--run", "mine")
    local path = folder .. "/mine/run.json"
    files.write(path, files.read(path):sub(1, -40))
    local r = process.run({ process.program(), TRAINING, "--rows", "1000", "--run", "mine" },
      { cwd = folder, env = { MLUA_STORE = folder .. "/store" } })
    assert.equal(1, r.status)
    assert.matches("mlua: Train: mine/run%.json:%d+: ", r.err)
  end)
end)
