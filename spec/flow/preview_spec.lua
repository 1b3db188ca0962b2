-- Previews: each node once, whether it runs, and why; graphs; what is forgotten and cleared away.
local ml = require "mlua"
local files = require "spec.support.files"
local process = require "spec.support.process"

local dir, mlua = nil, process.program()

before_each(function() dir = files.folder() end)
after_each(function() files.remove(dir) end)

-- A recipe in the folder, with some of its text replaced.
local function recipe(changes)
  local text = [[
local ml = require "mlua"
local param = ml.param
local function scale(x)
  return x * 2
end
local Clicks = ml.task("Clicks", {
  params = { rows = param.int { 100, min = 1 }, seed = param.int { 1 } },
  outputs = { "train" },
  run = function(self) return { train = ml.arange(self.rows + self.seed - self.seed) } end,
})
local Train = ml.task("Train", {
  requires = { clicks = Clicks }, params = { lr = param.number { 0.1, min = 0 } },
  run = function(self, input) return scale(input.clicks.train:sum():item()) * self.lr end,
})
return ml.flow(Train)
]]
  for from, to in pairs(changes or {}) do
    local at, to_at = text:find(from, 1, true)
    text = text:sub(1, at - 1) .. to .. text:sub(to_at + 1)
  end
  files.write(dir .. "/recipe.lua", text)
end

-- Standard output of the recipe, ages and estimates left out.
local function run(...)
  local got = process.run({ mlua, "recipe.lua", ... },
    { cwd = dir, env = { MLUA_STORE = dir .. "/s" } })
  assert.equal(0, got.status, got.err)
  return (got.out:gsub(", [%d.]+ [^ ]+ ago", ""):gsub(", just now", "")
    :gsub(", about [%d.]+ [^ \n]+", "")
    :gsub("%s+$", ""))
end

describe("a preview", function()
  it("says what never ran", function()
    recipe()
    assert.equal([[
Train      lr=0.1           run?  after Clicks
└─ Clicks  rows=100 seed=1  run   never run
2 to run (1 of them only if an input comes out otherwise), 0 ready]], run "--preview")
  end)

  it("shows what is there with its size", function()
    recipe()
    assert.equal("output: 990", run())
    assert.equal([[
Train      lr=0.1           ready  4 B
└─ Clicks  rows=100 seed=1  ready  872 B
nothing to run, 2 ready]], run "--preview")
    assert.equal("output: 990", run())
  end)

  it("names a parameter, its values, and where the new one comes from", function()
    recipe()
    run()
    assert.equal([[
Train      lr=0.3           run    lr 0.1 → 0.3 (command line)
└─ Clicks  rows=100 seed=1  ready  872 B
1 to run, 1 ready]], run("--preview", "--lr", "0.3"))
    assert.equal([[
Train      lr=0.1           run?  after Clicks
└─ Clicks  rows=100 seed=2  run   seed 1 → 2 (command line)
2 to run (1 of them only if an input comes out otherwise), 0 ready]],
      run("--preview", "--Clicks.seed", "2"))
  end)

  it("tells a file that has changed from another one", function()
    files.write(dir .. "/recipe.lua", [[
local ml = require "mlua"
return ml.flow(ml.task("Read", { params = { data = ml.param.file {} },
  run = function(self) return io.open(self.data):read "*a" end }))]])
    files.write(dir .. "/a.txt", "one")
    files.write(dir .. "/b.txt", "two")
    run("--data", "a.txt")
    assert.matches("data a.txt → b.txt %(command line%)\n", run("--preview", "--data", "b.txt"))
    files.write(dir .. "/a.txt", "three")
    assert.matches("data: the file's contents changed\n", run("--preview", "--data", "a.txt"))
  end)

  it("names a default that was changed in the recipe", function()
    recipe()
    run()
    recipe { ["param.number { 0.1"] = "param.number { 0.5" }
    assert.matches("Train      lr=0.5           run    lr 0.1 → 0.5\n", run "--preview")
  end)

  it("names the function that changed, and its line", function()
    recipe()
    run()
    recipe { ["x * 2"] = "x * 3" }
    assert.matches("Train      lr=0.1           run    scale %(recipe.lua:3%) changed\n",
      run "--preview")
    assert.equal("output: 1485", run())
  end)

  it("does not care about comments, spaces, names of locals and order", function()
    recipe()
    run()
    recipe { ["return x * 2"] = "-- twice\n  return   x*2", ["local function scale(x)"] =
      "local function unrelated() return 7 end\nlocal function scale(x)" }
    assert.matches("nothing to run", run "--preview")
  end)

  it("says what was forced, and what is missing or damaged", function()
    recipe()
    run()
    assert.matches("Train +lr=0.1 +run +forced", run("--preview", "--force", "Train"))
    for line in io.popen("find " .. dir .. "/s/objects -type f"):lines() do
      if require "lfs".attributes(line, "size") > 100 then os.remove(line) end
    end
    assert.matches("Clicks +rows=100 seed=1 +run +output train is missing", run "--preview")
  end)

  it("reads all bytes where it is asked to verify", function()
    recipe()
    run()
    for line in io.popen("find " .. dir .. "/s/objects -type f"):lines() do
      if require "lfs".attributes(line, "size") > 100 then
        local text = files.read(line)
        files.write(line, text:sub(1, -2) .. string.char(255 - text:byte(-1)))
      end
    end
    assert.matches("nothing to run", run "--preview")
    assert.matches("Clicks +rows=100 seed=1 +run +output train is damaged",
      run("--preview", "--verify"))
  end)

  it("says when an input comes out otherwise, and when it comes out equal", function()
    recipe()
    run()
    local got = process.run({ mlua, "recipe.lua", "--seed", "5" },
      { cwd = dir, env = { MLUA_STORE = dir .. "/s" } })
    assert.matches("1/2  Clicks%(seed=5%)  seed 1 → 5 %(command line%)\n"
      .. "2/2  Train%(seed=5%)  unchanged\n", got.err)
  end)

  it("shows a ladder of diamonds with each node once", function()
    files.write(dir .. "/recipe.lua", [[
      local ml = require "mlua"
      local last
      for level = 1, 30 do
        local below = last
        local left = ml.task("L" .. level, { requires = below, run = function() return level end })
        local right = ml.task("R" .. level, { requires = below,
                                              run = function() return -level end })
        last = ml.task("Join" .. level, { requires = { left, right },
                                          run = function(_, i) return i[1] + i[2] end })
      end
      return ml.flow(last)
    ]])
    local text = run("--dot")
    local _, nodes = text:gsub("label = ", "")
    assert.equal(90, nodes)
    assert.equal("output: 0", run())
    local _, lines = run("--preview"):gsub("×1 +1 ready", "")
    assert.equal(90, lines)
  end)

  it("of thousands of nodes has a line for each task", function()
    files.write(dir .. "/recipe.lua", [[
      local ml = require "mlua"
      local Part = ml.task("Part", { params = { i = ml.param.int { 1 } }, outputs = "memory",
                                     run = function(self) return self.i end })
      return ml.flow(ml.task("All", { run = function(_, input) return #input end,
        requires = function()
          local list = {}
          for i = 1, 1000 do list[i] = Part { i = i } end
          return list
        end }))
    ]])
    assert.equal([[
All   ×1      1 run      never run
Part  ×1,000  1,000 run  in memory, for All
1,001 to run, 0 ready]], run "--preview")
  end)
end)

describe("a flow at the shell", function()
  it("that is interrupted says how far it came, and goes on from there", function()
    recipe { ["return { train"] = "io.stderr:write 'made\\n' return { train",
             ["return scale"] = "require 'mlua.ffi.process'.sleep(20) return scale" }
    local command = ("cd %s && MLUA_STORE=%s/s timeout -s INT 1 %s recipe.lua --jobs %d 2>&1")
    for jobs = 1, 2 do
      local pipe = io.popen(command:format(dir, dir, mlua, jobs))
      local text = pipe:read "*a"
      pipe:close()
      assert.matches("\nmlua: interrupted with 1 of 2 tasks done; the next call goes on from "
        .. "there\n$", text)
      assert.matches("Clicks +rows=100 seed=1 +ready", run "--preview")
      run("--invalidate", "Clicks")
    end
  end)

  it("runs a grid, and compares", function()
    recipe()
    assert.equal("rows    lr   value\n  10   0.1       9\n  20   0.1      38\n  10   0.2      18\n"
      .. "  20   0.2      76", run("--grid", "lr=0.1,0.2", "--grid=rows=10,20", "--jobs", "2"))
  end)

  it("forgets results with all that stands on them, after saying so", function()
    recipe()
    run()
    assert.equal("Clicks\nTrain\n2 results would be forgotten",
      run("--invalidate", "Clicks", "--dry-run"))
    assert.equal("Train\n1 result forgotten", run("--invalidate", "Train"))
    assert.matches("Train +lr=0.1 +run +never run", run "--preview")
  end)

  it("clears away what no flow stands on, and keeps what one does", function()
    recipe()
    run()
    run("--lr", "0.2")
    recipe { ["x * 2"] = "x * 3" }
    run()
    assert.equal("1 results and 1 objects of 4 B that no flow stands on", run("--gc", "--dry-run"))
    run "--gc"
    assert.equal("0 results and 0 objects of 0 B that no flow stands on", run("--gc", "--dry-run"))
    recipe()
    assert.matches("Train +lr=0.2 +ready", run("--preview", "--lr", "0.2"))
    assert.matches("Train +lr=0.1 +run", run("--preview"))
  end)

  it("prints one line of JSON", function()
    recipe()
    local result = ml.json.decode((run("--json"):gsub("^.*\n", "")))
    assert.same({ "Train", 0.1, 990 }, { result.task, result.params.lr, result.outputs.output })
  end)

  it("prints the JSON of the last task's own, and calls what is to be done at the end", function()
    recipe {
      ["return ml.flow(Train)"] = [[
return ml.flow(Train, { done = function(node) io.stderr:write("done ", node.lr, "\n") end })]],
      ["params = { lr ="] = [[json = function(output, self)
    return { output = output, lr = self.lr, seconds = self:record().seconds }
  end,
  params = { lr =]],
    }
    for _ = 1, 2 do -- when it ran, and when it was there
      local got = process.run({ mlua, "recipe.lua", "--json" },
        { cwd = dir, env = { MLUA_STORE = dir .. "/s" } })
      assert.matches("done 0.1\n", got.err)
      local result = ml.json.decode(got.out)
      assert.same({ 990, 0.1 }, { result.output, result.lr })
      assert.equal("number", type(result.seconds))
    end
  end)

  it("shows of many parameters those that are not defaults", function()
    recipe { ["lr = param.number { 0.1, min = 0 }"] = [[lr = param.number { 0.1, min = 0 },
      a = param.int { 1 }, b = param.int { 1 }, c = param.int { 1 }, d = param.int { 1 },
      e = param.int { 1 }, f = param.int { 1, significant = false }]] }
    assert.matches("\n?Train +… ", run "--preview")
    assert.matches("\n?Train +lr=0.3 c=2 … ", run("--preview", "--lr", "0.3", "--c=2", "--f=2"))
  end)

  it("has help for every parameter, by task", function()
    recipe()
    local text = run "--help"
    assert.matches("Clicks:\n  %-%-rows N +%(at least 1; default 100%)", text)
    assert.matches("Train:\n  %-%-lr X", text)
    assert.not_matches("Clicks.seed", text)
  end)
end)
