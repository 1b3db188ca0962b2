-- What is read is data, names lead nowhere, and nothing is recorded that nobody gave.
local files = require "spec.support.files"
local lfs = require "lfs"
local process = require "spec.support.process"

local TRAINING = lfs.currentdir() .. "/spec/support/training.lua"

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

local function run(words, fault)
  return process.run({ process.program(), unpack(words) }, { cwd = folder, env = {
    MLUA_STORE = folder .. "/store", MLUA_THREADS = "1", MLUA_STORE_FAULT = fault or false,
    TOKEN = "hunter2" } })
end

-- What loaders of other formats, or of Lua, would carry out.
local CODE = {
  pickle = "cos\nsystem\n(S'touch ran'\ntR.",
  zipped = "PK\3\4" .. ("\0"):rep(22) .. "archive/data.pklcos\nsystem\n(S'touch ran'\ntR.",
  text = "os.execute 'touch ran'\n",
  bytecode = string.dump(function() os.execute "touch ran" end),
  yaml = "!!python/object/apply:os.system ['touch ran']\n",
}

describe("code in place of data", function()
  for name, code in pairs(CODE) do
    it("is refused where weights, records and configuration are read, and never runs: " .. name,
      function()
        files.write(folder .. "/weights.safetensors", code)
        local r = run { TRAINING, "--init", "weights.safetensors" }
        assert.equal(1, r.status)
        assert.matches("weights.safetensors: offset %d+: ", r.err)
        files.write(folder .. "/values.yaml", code)
        r = run { TRAINING, "--config", "values.yaml" }
        assert.equal(2, r.status)
        assert.matches("values.yaml:%d+: ", r.err)
        assert.equal(137, run({ TRAINING, "--rows", "1000", "--run", "mine" },
          "rename:10:KILL").status)
        local checkpoint = folder .. "/mine/checkpoints/000000000010"
        for _, path in ipairs { checkpoint .. ".safetensors", checkpoint .. ".json",
                                folder .. "/mine/run.json" } do
          local whole = files.read(path)
          files.write(path, code)
          r = run { TRAINING, "--rows", "1000", "--run", "mine" }
          assert.equal(1, r.status)
          assert.truthy(r.err:find(path:match "mine/.*", 1, true), r.err)
          files.write(path, whole)
        end
        assert.is_false(files.exists(folder .. "/ran"))
      end)
  end
end)

describe("names", function()
  local RECIPE = [[
    local ml = require "mlua"
    return ml.flow(ml.task(%s, { outputs = { [%s] = "json" },
      params = { name = ml.param.string { "x" } }, run = function(self)
        local m = ml.nn.Linear.new { inputs = 1, outputs = 1 }
        ml.engine { name = self.name, model = m, optimizer = ml.optim.sgd(m, { lr = 0 }),
          quiet = true, train = ml.data.samples.loader({ x = ml.zeros(1, 1) }, {}),
          loss = function(b) return m(b.x):sum() end }:fit()
        return { out = 1 }
      end }))]]
  local BAD = { "..", "../x", "/tmp/x", "a/b", "a\\b", "a\0b", ".x", "$(touch ran)", "" }

  it("of tasks and outputs are words: nothing else is taken", function()
    for _, bad in ipairs(BAD) do
      files.write(folder .. "/r.lua", RECIPE:format(("%q"):format(bad), '"out"'))
      assert.matches("bad argument #1 to 'task' (name: '", run({ "r.lua" }).err, 1, true)
      files.write(folder .. "/r.lua", RECIPE:format('"T"', ("%q"):format(bad)))
      assert.matches("bad argument #2 to 'task' (T: outputs: '", run({ "r.lua" }).err, 1, true)
    end
    assert.is_false(files.exists(folder .. "/store"))
  end)

  it("of runs, which parameters are part of, are one folder's in the store", function()
    files.write(folder .. "/r.lua", RECIPE:format('"T"', '"out"'))
    for _, bad in ipairs(BAD) do
      if not bad:find "%z" then -- which no command line can have
        local r = run { "r.lua", "--name", bad }
        assert.equal(0, r.status, r.err)
      end
    end
    local n = 0
    for name in lfs.dir(folder .. "/store/runs/T") do
      if not name:find "^%." then
        n = n + 1
        assert.matches("^20[%w=.,_-]+$", name)
        assert.is_true(files.exists(folder .. "/store/runs/T/" .. name .. "/run.json"))
      end
    end
    assert.equal(#BAD - 1, n)
    local beside = {}
    for name in lfs.dir(folder) do beside[name] = true end
    assert.same({ ["."] = true, [".."] = true, ["r.lua"] = true, store = true }, beside)
  end)
end)

describe("variables of the environment", function()
  it("are in no file that a run leaves", function()
    files.write(folder .. "/t.lua", files.read(TRAINING)) -- of no repository, with changes
    assert.equal(0, run({ "t.lua", "--rows", "1000", "--log-level", "file:trace" }).status)
    assert.equal("", process.run({ "grep", "-rl", "hunter2", folder }).out)
  end)
end)
