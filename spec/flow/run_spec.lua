-- Flows that run: what runs again and what does not, formats, failures, processes.
local ml = require "mlua"
local files = require "spec.support.files"
local support = require "spec.support.flow"
local param, flow = ml.param, ml.flow

local count, counted = support.count, support.counted
local dir

before_each(function()
  support.open()
  dir = support.dir
end)
after_each(support.close)

-- Two tasks: numbers made of rows and seed, and a sum of them times lr.
local function pair(body, factor)
  local Make = ml.task("Make", {
    params = { rows = param.int { 3 }, seed = param.int { 1 } }, outputs = { "train", "about" },
    run = body or function(self)
      count "Make"
      return { train = ml.arange(1, self.rows + 1), about = { rows = self.rows } }
    end,
  })
  local by = factor or function(x) return x * 1 end
  local Sum = ml.task("Sum", {
    requires = { made = Make }, params = { lr = param.number { 2 } },
    run = function(self, input)
      count "Sum"
      return by(input.made.train:sum():item()) * self.lr
    end,
  })
  return Sum, Make
end

describe("a flow", function()
  it("runs what is missing, once, and gives its outputs", function()
    local Sum, Make = pair()
    local node = Sum():run()
    assert.equal(12, node:output())
    assert.same({ rows = 3 }, Make():output "about")
    assert.same({ Make = 1, Sum = 1 }, counted())
    Sum():run()
    assert.same({}, counted())
  end)

  it("runs again what a changed parameter reaches, and only that", function()
    local Sum = pair()
    flow.run { Sum(), Sum { lr = 3 } }
    assert.same({ Make = 1, Sum = 2 }, counted())
    assert.equal(30, Sum { lr = 3, rows = 4 }:run():output())
    assert.same({ Make = 1, Sum = 1 }, counted())
  end)

  it("stops where an input comes out as it was", function()
    local Sum = pair()
    Sum():run()
    counted()
    Sum { seed = 2 }:run() -- another seed, the same numbers
    assert.same({ Make = 1 }, counted())
  end)

  it("runs again what an edited function reaches", function()
    pair()():run()
    counted()
    local Sum = pair(nil, function(x) return x * 10 end)
    assert.equal(120, Sum():run():output())
    assert.same({ Sum = 1 }, counted())
  end)

  it("runs again where a format of one's own writes otherwise", function()
    local function flow_of(ending)
      ml.format("ended", { load = files.read, save = function(value, path)
        return files.write(path, value .. ending) ~= nil
      end })
      return ml.task("Own", { outputs = { text = "ended" }, run = function()
        count "Own"
        return { text = "a" }
      end })
    end
    assert.equal("a!", flow_of("!")():run():output "text")
    flow_of("!")():run()
    assert.same({ Own = 1 }, counted())
    assert.equal("a?", flow_of("?")():run():output "text")
  end)

  it("does not run again for parameters that change no result", function()
    local function made(device)
      local T = ml.task("T", { params = { device = param.device { "auto" } },
                               run = function() count "T" return 1 end })
      return T { device = device }
    end
    made("cpu"):run()
    made("auto"):run()
    assert.same({ T = 1 }, counted())
  end)

  it("counts a file by its contents", function()
    local path = files.write(dir .. "/in.txt", "one")
    local Read = ml.task("Read", { params = { from = param.file {} },
                                   run = function(self)
                                     count "Read"
                                     return files.read(self.from)
                                   end })
    assert.equal("one", Read { from = path }:run():output())
    files.write(dir .. "/other.txt", "one")
    Read { from = dir .. "/other.txt" }:run() -- the same contents elsewhere
    assert.same({ Read = 1 }, counted())
    files.write(path, "two")
    assert.equal("two", Read { from = path }:run():output())
  end)

  it("counts a list of files by their contents, in their order", function()
    local a, b = files.write(dir .. "/a.txt", "one"), files.write(dir .. "/b.txt", "two")
    local Read = ml.task("Read", { params = { from = param.files { literals = { "none" } } },
                                   run = function(self)
                                     count "Read"
                                     local all = ""
                                     for _, path in ipairs(self.from) do
                                       all = all .. (path == "none" and "-" or files.read(path))
                                     end
                                     return all
                                   end })
    assert.equal("one-two", Read { from = { a, "none", b } }:run():output())
    files.write(dir .. "/c.txt", "two")
    Read { from = { a, "none", dir .. "/c.txt" } }:run() -- the same contents elsewhere
    assert.same({ Read = 1 }, counted())
    assert.equal("twoone", Read { from = { b, a } }:run():output())
    assert.equal("onetwo", Read { from = { a, b } }:run():output())
    files.write(b, "three")
    assert.equal("onethree", Read { from = { a, b } }:run():output())
    assert.same({ Read = 3 }, counted())
  end)

  it("forced, runs all or the tasks named", function()
    local Sum = pair()
    Sum():run()
    counted()
    Sum():run { force = { Sum = true } }
    assert.same({ Sum = 1 }, counted())
    Sum():run { force = true }
    assert.same({ Make = 1, Sum = 1 }, counted())
  end)

  it("runs up to a task, or one task alone", function()
    local Sum = pair()
    flow.run(Sum(), { till = { Make = true } })
    assert.same({ Make = 1 }, counted())
    flow.run(Sum { lr = 5 }, { only = { Sum = true } })
    assert.same({ Sum = 1 }, counted())
    local ok, e = pcall(flow.run, Sum { rows = 9 }, { only = { Sum = true } })
    assert.is_false(ok)
    assert.equal("Make(rows=9): has to run first, and --only leaves it out", e.user_error)
  end)

  it("keeps tensors, states, tables, rows, text, files, folders, and what is in memory", function()
    local All = ml.task("All", {
      outputs = { tensor = "tensor", state = "state", table = "json", rows = "csv", text = "text",
                  file = "file", folder = "folder", memory = "memory", number = "json" },
      run = function(self)
        files.write(self:path "file", "bytes")
        require "lfs".mkdir(self:path "folder")
        require "lfs".mkdir(self:path "folder" .. "/sub")
        files.write(self:path "folder" .. "/sub/a", "A")
        files.write(self:path "folder" .. "/b", "B")
        return { tensor = ml.arange(4), table = { a = { 1, 2 } },
                 state = ml.nn.Linear.new { inputs = 2, outputs = 1 },
                 rows = { columns = { "x", "y" }, { 1, "a" } }, text = "words\n",
                 memory = function() return "kept" end, number = 0.1 }
      end })
    local node = All():run()
    assert.same({ 0, 1, 2, 3 }, node:output("tensor"):totable())
    assert.same({ a = { 1, 2 } }, node:output "table")
    assert.same({ columns = { "x", "y" }, { 1, "a" } }, node:output "rows")
    assert.equal("words\n", node:output "text")
    assert.equal("bytes", files.read(node:output "file"))
    assert.equal("A", files.read(node:output "folder" .. "/sub/a"))
    assert.equal("B", files.read(node:output "folder" .. "/b"))
    assert.equal("kept", node:output "memory"())
    assert.equal(0.1, node:output "number")
    local model = ml.nn.Linear.new { inputs = 2, outputs = 1 }
    model:load_state(node:output "state")
    assert.same(node:output("state").weight:totable(), model:parameters()[1]:totable())
  end)

  it("hands over one input, a list of them, or a table by name, loaded when asked for", function()
    local One = ml.task("One", { params = { i = param.int { 1 } },
                                 run = function(self) return self.i end })
    local Two = ml.task("Two", { outputs = { "a", "b" },
                                 run = function() return { a = 1, b = 2 } end })
    local List = ml.task("List", {
      requires = function() return { One { i = 1 }, One { i = 2 }, One { i = 3 } } end,
      run = function(_, input)
        local sum = 0
        for _, v in ipairs(input) do sum = sum * 10 + v end
        return sum
      end })
    local Named = ml.task("Named", { requires = { list = List, two = Two },
                                     run = function(_, input) return input.list + input.two.b end })
    local Single = ml.task("Single", { requires = Two, run = function(_, two) return two.a end })
    assert.equal(125, Named():run():output())
    assert.equal(1, Single():run():output())
  end)

  it("finds requirements while it runs, and runs again when they come out otherwise", function()
    local factor = 10
    local function found()
      local by = factor
      local Part = ml.task("Part", { params = { i = param.int { 1 } },
                                     run = function(self) count "Part" return self.i * by end })
      return ml.task("Found", { run = function(self)
        count "Found"
        return self:require(Part, { i = 3 })
      end })
    end
    assert.equal(30, found()():run():output())
    assert.same({ Found = 1, Part = 1 }, counted())
    found()():run()
    assert.same({}, counted())
    factor = 11
    assert.equal(33, found()():run():output())
    assert.same({ Found = 1, Part = 1 }, counted())
  end)

  it("sees that what was found while running is gone, however many nodes there are", function()
    local Part = ml.task("Part", { params = { i = param.int { 1 } },
                                   run = function(self) return "part " .. self.i end })
    local Found = ml.task("Found", { params = { i = param.int { 1 } }, run = function(self)
      return #self:require(Part, { i = self.i })
    end })
    for _, n in ipairs { 5, 400 } do -- beyond 256, objects are looked at together
      local All = ml.task("All", { run = function() return n end, requires = function()
        local all = {}
        for i = 1, n do all[i] = Found { i = i } end
        return all
      end })
      flow.run(All())
      local part = Part { i = 3 }
      local _, digest = part:output(), nil
      for path in io.popen(("grep -rlx 'part 3' '%s/objects'"):format(flow.store().dir)):lines() do
        digest = path
      end
      assert(os.remove(digest or "the part's object"))
      local plan = require "mlua.flow.plan".new({ All() }, flow.store(), {})
      local counts = plan:count()
      assert.same({ 1, 1, n - 1 }, { counts.run, counts.after, counts.ready })
      flow.run(All())
    end
  end)

  it("takes what is made elsewhere by its contents, and says where it is missing", function()
    local path = dir .. "/log.tsv"
    local Log = ml.task("Log", { outputs = { log = "tsv" },
                                 external = function() return { log = path } end })
    local Rows = ml.task("Rows", { requires = { log = Log }, run = function(_, input)
      count "Rows"
      return #input.log.log
    end })
    local ok, e = pcall(flow.run, Rows())
    assert.is_false(ok)
    assert.equal("Log: " .. path .. ": no such file (made elsewhere)", e.user_error)
    files.write(path, "1\t2\n3\t4\n")
    assert.equal(2, Rows():run():output())
    Rows():run()
    assert.same({ Rows = 1 }, counted())
    files.write(path, "1\t2\n3\t4\n5\t6\n")
    assert.equal(3, Rows():run():output())
  end)

  it("takes a folder that is made elsewhere by the contents of all its files", function()
    local folder = dir .. "/images"
    local Images = ml.task("Images", { external = function() return folder end })
    local Bytes = ml.task("Bytes", { requires = Images, run = function(_, path)
      count "Bytes"
      local one, two = files.read(path .. "/a.txt"), files.read(path .. "/deep/b.txt")
      return (one or "") .. (two or "")
    end })
    local ok, e = pcall(flow.run, Bytes())
    assert.is_false(ok)
    assert.equal("Images: " .. folder .. ": no such file (made elsewhere)", e.user_error)
    assert(os.execute(("mkdir -p '%s/deep'"):format(folder)) == 0)
    files.write(folder .. "/a.txt", "one")
    files.write(folder .. "/deep/b.txt", "two")
    assert.equal("onetwo", Bytes():run():output())
    Bytes():run()
    assert.same({ Bytes = 1 }, counted())
    files.write(folder .. "/deep/b.txt", "2")
    assert.equal("one2", Bytes():run():output())
    files.write(folder .. "/c.txt", "more") -- another file, too
    Bytes():run()
    assert.same({ Bytes = 2 }, counted())
    files.write(dir .. "/elsewhere.txt", "1")
    assert(os.execute(("ln -s '%s/elsewhere.txt' '%s/link.txt'"):format(dir, folder)) == 0)
    Bytes():run()
    files.write(dir .. "/elsewhere.txt", "22") -- where a link leads
    Bytes():run()
    assert.same({ Bytes = 2 }, counted())
    assert(os.execute(("ln -s .. '%s/deep/up'"):format(folder)) == 0)
    ok, e = pcall(flow.run, Bytes())
    assert.is_false(ok)
    assert.equal(("Images: %s/deep/up: a link to a folder that it is in (made elsewhere)")
      :format(folder), e.user_error)
  end)

  it("runs what lives in memory only where something that runs needs it", function()
    local Big = ml.task("Big", { outputs = "memory", params = { n = param.int { 3 } },
                                 run = function(self)
                                   count "Big"
                                   return { n = self.n, f = print }
                                 end })
    local Use = ml.task("Use", { requires = Big, run = function(_, big)
      count "Use"
      return big.n
    end })
    assert.equal(3, Use():run():output())
    assert.same({ Big = 1, Use = 1 }, counted())
    require "mlua.flow.plan".memory = {}
    for key in pairs(require "mlua.flow.plan".memory) do error(key) end
    Use():run()
    assert.same({}, counted())
  end)

  it("makes a damaged or missing output again", function()
    local Sum, Make = pair()
    Sum():run()
    local store = flow.store()
    local text = store:results():get(Make():id())
    local digest = text:match "train\t%w+\t(%x+)"
    counted()
    files.write(store:path(digest), "short")
    Sum { lr = 7 }:run()
    assert.same({ Make = 1, Sum = 1 }, counted())
    local whole = files.read(store:path(digest)) -- one byte turned over: the same size
    files.write(store:path(digest), whole:sub(1, -2) .. string.char((whole:byte(-1) + 1) % 256))
    assert.equal(48, Sum { lr = 8 }:run():output())
    assert.same({ Make = 1, Sum = 2 }, counted()) -- found by Sum, when it loaded its input
    os.remove(store:path(digest))
    Sum():run()
    assert.same({ Make = 1 }, counted())
  end)
end)

describe("a failure", function()
  it("names the task and the user's line, and keeps what was done", function()
    local fails = true
    local Sum = pair(nil, function(x)
      if fails then error "no luck" end
      return x
    end)
    local ok, e = pcall(flow.run, Sum())
    assert.is_false(ok)
    assert.matches("^Sum: .*run_spec.lua:%d+: no luck\nstack traceback:", e.user_error)
    assert.not_matches("mlua/task/work", e.user_error)
    assert.same({ Make = 1, Sum = 1 }, counted())
    fails = false
    Sum():run()
    assert.same({ Sum = 1 }, counted())
  end)

  it("keeps what the task wrote", function()
    local Bad = ml.task("Bad", { run = function()
      io.write("step ", 7, "\n")
      error "bad"
    end })
    io.output(dir .. "/shown")
    local plan = require "mlua.flow.plan".new({ Bad() }, flow.store())
    local outcome = require "mlua.flow.run".run(plan)
    io.close()
    io.output(io.stdout)
    assert.equal("step 7\n", files.read(dir .. "/shown"))
    assert.equal("step 7\n", outcome.failed[1].failure.log)
  end)

  it("is tried again as often as the task says", function()
    local tries = 0
    local Shaky = ml.task("Shaky", { retries = 2, run = function()
      tries = tries + 1
      if tries < 3 then error "again" end
      return tries
    end })
    assert.equal(3, Shaky():run():output())
  end)

  it("holds up only what depends on it, where the rest shall go on", function()
    local Bad = ml.task("Bad", { run = function() error "bad" end })
    local Good = ml.task("Good", { run = function() count "Good" return 1 end })
    local Top = ml.task("Top", { requires = { Bad, Good }, run = function() return 1 end })
    local ok = pcall(flow.run, Top(), { keep_going = true })
    assert.is_false(ok)
    assert.same({ Good = 1 }, counted())
  end)

  it("tells of outputs that are missing, unknown, or of no format", function()
    local function message(outputs, value)
      local T = ml.task("T", { outputs = outputs, run = function() return value end })
      local _, e = pcall(flow.run, T())
      return (e.user_error:gsub("%(.-run_spec.lua:%d+%)", "(place)"))
    end
    assert.equal("T: T (place): run gave no output 'b'", message({ "a", "b" }, { a = 1 }))
    assert.equal("T: T (place): run gave an output 'metric' that is not declared, did you mean "
      .. "'metrics'?", message({ "metrics" }, { metrics = 1, metric = 2 }))
    assert.equal("T: T (place): run: expected a table of outputs, got 3", message({ "a" }, 3))
    assert.matches("^T: T %(place%): output 'output': ", message(nil, print))
  end)
end)

describe("a file that is a parameter", function()
  it("is read once for its digest, however often that is asked for", function()
    local hash = require "mlua.ffi.hash"
    local path, read, n = files.write(dir .. "/rows.tsv", "1\t2\n"), hash.file, 0
    os.execute("touch -d '1 hour ago' " .. path)
    hash.file = function(name) -- luacheck: ignore
      if name == path then n = n + 1 end
      return read(name)
    end
    local Rows = ml.task("Rows", {
      params = { data = param.file {} }, run = function() return 1 end })
    Rows({ data = path }):run()
    Rows({ data = path }):run()
    hash.file = read -- luacheck: ignore
    assert.equal(1, n)
  end)
end)

describe("several jobs", function()
  it("make what lives in memory of a result that is not recorded yet", function()
    local Rows = ml.task("Rows", { run = function() return { 1, 2 } end })
    local Model = ml.task("Model", { requires = Rows, outputs = "memory",
      run = function(_, rows) return function() return #rows end end })
    local Use = ml.task("Use", { requires = { rows = Rows, model = Model },
      run = function(_, input) return input.model() + input.rows[2] end })
    flow.run(Use(), { jobs = 2 })
    assert.equal(4, Use():output())
  end)

  it("run in processes, give what one gives, and pass on what they write", function()
    local Part = ml.task("Part", { params = { i = param.int { 1 } }, run = function(self)
      count "Part"
      print("part " .. self.i)
      return ml.full(self.i, 2, 2):matmul(ml.ones(2, 2)):sum():item()
    end })
    local All = ml.task("All", {
      requires = function()
        local list = {}
        for i = 1, 12 do list[i] = Part { i = i } end
        return list
      end,
      run = function(_, input)
        local sum = 0
        for _, v in ipairs(input) do sum = sum + v end
        return sum
      end })
    local said = {}
    flow.run(All(), { jobs = 3, on_event = function(what, node, detail)
      if what == "ran" then said[#said + 1] = node end
    end })
    assert.equal(8 * 78, All():output())
    assert.equal(13, #said)
    assert.same({ Part = 12 }, counted())
    flow.run(All(), { jobs = 3 })
    assert.same({}, counted())
  end)

  it("make what lives in memory where they need it", function()
    local Memory = ml.task("Memory", { outputs = "memory", run = function() return { 7 } end })
    local Use = ml.task("Use", { requires = Memory, params = { i = param.int { 1 } },
                                 run = function(self, m) return m[1] * self.i end })
    flow.run({ Use(), Use { i = 2 } }, { jobs = 2 })
    assert.same({ 7, 14 }, { Use():output(), Use { i = 2 }:output() })
  end)

  it("find what they require while they run, and end at a time limit", function()
    local Part = ml.task("Part", { params = { i = param.int { 1 } },
                                   run = function(self) count "Part" return self.i end })
    local Found = ml.task("Found", {
      params = { n = param.int { 1 } },
      run = function(self) return self:require(Part, { i = 5 }) + self.n end,
    })
    flow.run({ Found(), Found { n = 2 } }, { jobs = 2 })
    assert.same({ 6, 7 }, { Found():output(), Found { n = 2 }:output() })
    assert.same({ Part = 1 }, counted())
    local Slow = ml.task("Slow", { timeout = 0.2, run = function()
      require "mlua.ffi.process".sleep(30)
      return 1
    end })
    local _, e = pcall(flow.run, Slow())
    assert.equal("Slow: took longer than its limit of 0.2 s", e.user_error)
  end)

  it("outlive one that dies, and say how", function()
    local Dies = ml.task("Dies", { run = function()
      os.execute "kill -9 $PPID"
      return 1
    end })
    local Fine = ml.task("Fine", { run = function() count "Fine" return 1 end })
    local _, e = pcall(flow.run, { Dies(), Fine() }, { jobs = 2, keep_going = true })
    assert.matches("^Dies: its process was ended by signal 9", e.user_error)
    assert.same({ Fine = 1 }, counted())
  end)

  it("share named resources, highest priority first", function()
    local file = dir .. "/order"
    local function log(word)
      local f = io.open(file, "a")
      f:write(word, " ")
      f:close()
    end
    local function gpu(name, priority)
      return ml.task(name, { resources = { gpu = 1 }, priority = priority, run = function()
        log("+" .. name)
        require "mlua.ffi.process".sleep(0.05)
        log("-" .. name)
        return 1
      end })()
    end
    flow.run({ gpu("Low", 0), gpu("High", 5), gpu("Middle", 2) }, { jobs = 3 })
    assert.equal("+High -High +Middle -Middle +Low -Low ", files.read(file))
  end)
end)

describe("forgetting", function()
  it("takes a task, what it needs, what needs it, or all", function()
    local Sum, Make = pair()
    Sum():run()
    counted()
    local function names(options)
      local list = {}
      for i, node in ipairs(flow.invalidate(Sum(), options)) do list[i] = node._task.name end
      return table.concat(list, " ")
    end
    assert.equal("Make", names { tasks = { Make = true }, dry_run = true })
    assert.equal("Make Sum", names { tasks = { Make = true }, downstream = true, dry_run = true })
    assert.equal("Make Sum", names { upstream = true, dry_run = true })
    assert.equal("Sum", names {})
    Sum():run()
    assert.same({ Sum = 1 }, counted())
    assert.equal("Make Sum", names { all = true })
    assert.is_false(pcall(Make().output, Make(), "about"))
  end)
end)

describe("a grid", function()
  it("runs all combinations, and compares what they give", function()
    local Sum = pair()
    local nodes = flow.grid(flow(Sum), { lr = { 1, 2 }, rows = { 2, 3 } })
    flow.run(nodes)
    assert.same({ Make = 2, Sum = 4 }, counted())
    assert.same({ 3, 6, 6, 12 }, flow.outputs(nodes))
    local table_of = flow.compare(nodes)
    assert.equal("rows,lr,value\n2,1,3\n3,1,6\n2,2,6\n3,2,12\n", table_of:csv())
    assert.equal("rows   lr   value\n   2    1       3\n   3    1       6\n   2    2       6\n"
      .. "   3    2      12", tostring(table_of))
    assert.same({ params = { rows = 3, lr = 2 }, values = { value = 12 } },
      ml.json.decode(table_of:json())[4])
  end)
end)

describe("from Lua", function()
  it("there are graphs and collections of garbage, too", function()
    local Sum = pair()
    Sum():run()
    assert.matches("n1 %-> n2", flow.graph(Sum(), "dot"))
    assert.matches("^flowchart LR\n", flow.graph(Sum(), "mermaid"))
    Sum { lr = 9 }:run()
    assert.same({}, flow.gc { dry_run = true }.ids)
    flow.gc { older_than = -1 } -- as if no flow was run lately
    counted()
    Sum():run()
    assert.same({ Make = 1, Sum = 1 }, counted())
  end)
end)

describe("a function that changed at the prompt", function()
  it("is seen by the next run", function()
    local env = setmetatable({}, { __index = _G })
    function env.helper(x) return x + 1 end
    local body = setfenv(function() return helper(1) end, env) -- luacheck: ignore
    local T = ml.task("T", { run = body })
    assert.equal(2, T():run():output())
    function env.helper(x) return x + 2 end
    assert.equal(3, T():run():output())
  end)
end)
