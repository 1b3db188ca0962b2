local lfs = require "lfs"
local ml = require "mlua"
local files = require "spec.support.files"
local mistake = require "spec.support.mistake"
local process = require "spec.support.process"
local same = require "spec.support.same"
local store = require "mlua.ffi.store"

local format, nn, optim = ml.format, ml.nn, ml.optim

local EIO, EFORMAT, ENOSPC = -6, -7, 28

describe("formats", function()
  local folder, path

  setup(function()
    folder = files.folder()
    path = folder .. "/x"
  end)

  teardown(function() files.remove(folder) end)

  after_each(function() store.fail_at() end)

  -- What comes back of a value, by the format that it chooses.
  local function round(value, name)
    local f = assert(format.of(value))
    if name then assert.equal(name, f.name) end
    assert.is_true(assert(f.save(value, path)))
    local back, message = f.load(path)
    assert.not_equal("nil", type(back), message)
    return back
  end

  describe("of one's own", function()
    -- Names are for the whole process: each spec has its own.
    local serial = 0
    local function fresh()
      serial = serial + 1
      return "own-" .. serial
    end

    local function points(name)
      return ml.format(name, {
        doc = "Points in a plane, one a line.",
        extension = ".xy",
        takes = function(v) return type(v) == "table" and v.points ~= nil end,
        check = function(v) if #v.points > 1000 then return "more points than a page takes" end end,
        save = function(v, at)
          local file, message = io.open(at, "w")
          if not file then return nil, message end
          for _, p in ipairs(v.points) do file:write(("%.17g %.17g\n"):format(p[1], p[2])) end
          return file:close()
        end,
        load = function(at)
          local v = { points = {} }
          for line in io.lines(at) do
            local x, y = line:match("^(%S+) (%S+)$")
            x, y = tonumber(x), tonumber(y)
            if not x or not y then return nil, at .. ": not a point: " .. line end
            v.points[#v.points + 1] = { x, y }
          end
          return v
        end,
      })
    end

    it("take a few lines, are chosen by the value, and listed with their sentence", function()
      local name = fresh()
      local f = points(name)
      local value = { points = { { 1, 2 }, { 0.1, -2^60 } } }
      assert.is_true(f == format.of(value) and f == format.get(name))
      assert.same(value, round(value, name))
      assert.equal("1 2\n0.10000000000000001 -1.152921504606847e+18\n", files.read(path))
      assert.equal(".xy", f.extension)
      local found
      for _, item in ipairs(format.list()) do
        if item.name == name then found = item.doc end
      end
      assert.equal("Points in a plane, one a line.", found)
      files.write(path, "1 2\n3\n")
      assert.same({ nil, path .. ": not a point: 3" }, { f.load(path) })
      local many = {}
      for i = 1, 1001 do many[i] = { i, i } end
      assert.same({ nil, "more points than a page takes" }, { f.save({ points = many }, path) })
    end)

    it("ask in the reverse order of their definition, before those of mlua", function()
      local asked = {}
      local function asks(name, answer)
        ml.format(name, { memory = true, takes = function(v)
          if type(v) == "table" and v.mark == "order" then
            asked[#asked + 1] = name
            return answer
          end
        end })
      end
      local first, second, third = fresh(), fresh(), fresh()
      asks(first, true)
      asks(second, true)
      asks(third, false)
      assert.equal(second, format.of({ mark = "order" }).name)
      assert.same({ third, second }, asked)
    end)

    it("answer for themselves where they return nothing", function()
      local name = fresh()
      local f = ml.format(name, { save = function() end, load = function() end })
      assert.same({ nil, ("p: format '%s' did not say that it saved"):format(name) },
        { f.save(1, "p") })
      assert.same({ nil, ("p: format '%s' read nothing"):format(name) }, { f.load("p") })
    end)

    it("may give false, and are never asked to save nil", function()
      local saved = 0
      local f = ml.format(fresh(), { save = function() saved = saved + 1 return true end,
                                     load = function() return false end })
      assert.is_true(f.save(false, "p"))
      assert.is_false(f.load("p"))
      assert.same({ nil, "nil is not saved; false is, and an empty table" }, { f.save(nil, "p") })
      assert.equal(1, saved)
    end)

    it("are refused where the name is taken, with both places", function()
      local name = fresh()
      points(name)
      local there = format.get(name).place
      assert.matches("^.*spec/format_spec%.lua:%d+$", there)
      local message = mistake(function() ml.format(name, { memory = true }) end)
      assert.matches(("bad argument #1 to 'format' (name: '%s' is defined by %s already, and again "
        .. "at "):format(name, there), message, 1, true)
      assert.matches("spec/format_spec%.lua:%d+%)$", message)
      assert.matches("'json' is defined by mlua already",
        mistake(function() ml.format("json", { memory = true }) end), 1, true)
    end)

    it("may be defined again by the same line, as a file that is loaded again does", function()
      local name, n = fresh(), 0
      for i = 1, 2 do
        ml.format(name, { memory = true, takes = function(v)
          if v == name then n = n + 1 end
          return v == name and i == 2
        end })
      end
      assert.equal(name, format.of(name).name)
      assert.equal(1, n) -- the first definition is no longer asked
    end)

    it("are refused with what is wrong: fields, types, what is missing, names", function()
      local function f() end
      for expected, def in pairs {
        ["#2 to 'format' (unknown field 'sav', did you mean 'save'?)"] = { sav = f, load = f },
        ["#2 to 'format' (save: expected a function, got 'x')"] = { save = "x", load = f },
        ["#2 to 'format' (save: expected a function, got nil)"] = { load = f },
        ["#2 to 'format' (load: expected a function, got nil)"] = { save = f },
        ["#2 to 'format' (load: a format in memory has none)"] = { memory = true, load = f },
        ["#2 to 'format' (extension: expected a dot and a word, as '.json', got 'a/b')"] =
          { save = f, load = f, extension = "a/b" },
        ["#2 to 'format' (def: expected a table, got 3)"] = 3,
      } do
        assert.equal("bad argument " .. expected,
          mistake(function() ml.format("never-defined", def) end))
      end
      assert.equal("bad argument #1 to 'format' (name: expected a word, got 'a b')",
        mistake(function() ml.format("a b", { memory = true }) end))
      assert.equal("bad argument #1 to 'format' (name: expected a string, got 3)",
        mistake(function() ml.format(3, { memory = true }) end))
      assert.is_nil((format.get "never-defined"))
    end)
  end)

  it("are chosen by the value", function()
    for _, case in ipairs {
      { "tensor", ml.ones(2) }, { "tensor", ml.tensor(0.5) }, { "tensors", { w = ml.ones(1) } },
      { "tensors", { { ml.ones(1) } } },
      { "state", nn.Linear.new { inputs = 1, outputs = 1 } },
      { "state", optim.sgd({ ml.ones(1):requires_grad() }) }, { "text", "" }, { "text", "a" },
      { "json", 1 }, { "json", false }, { "json", {} }, { "json", { 1, 2 } },
      { "json", { { 1, 2 } } }, { "json", { columns = { "a" } } },
      { "json", { w = ml.ones(1), n = 1 } }, { "csv", { columns = { "a" }, { 1 } } },
    } do
      assert.equal(case[1], format.of(case[2]).name)
    end
  end)

  it("say what there is where none takes a value, and what was meant by a name", function()
    local f, message = format.of(print)
    assert.is_nil(f)
    assert.matches("^a function: no format takes it; saved as they are: tensors, tables of ",
      message)
    assert.matches("records, state", message, 1, true)
    assert.same({ nil, "nil is not saved; false is, and an empty table" }, { format.of(nil) })
    assert.same({ nil, "no format 'jsn', did you mean 'json'?" }, { format.get "jsn" })
    assert.matches("^no format 'pickle'; there are csv, file, ", select(2, format.get "pickle"))
    for _, item in ipairs(format.list()) do
      assert.is_string(format.get(item.name).doc or item.name:match "^own%-")
    end
  end)

  it("wait for no disk, leave the old file or the new, and name path and cause of a failure",
    function()
      local source = files.write(folder .. "/source", "new")
      for name, value in pairs { tensor = ml.ones(3), tensors = { a = ml.ones(3) }, text = "new",
                                 json = { 1 }, csv = { { 1 } }, tsv = { { 1 } }, records = { 1 },
                                 state = nn.Linear.new { inputs = 2, outputs = 2 },
                                 file = source } do
        local f = format.get(name)
        files.write(path, "old")
        store.fail_at()
        assert.is_true(assert(f.save(value, path)))
        assert.equal(0, store.calls("fsync"))
        local calls = store.calls() - store.calls("map")
        assert.is_true(calls >= 4, name) -- two opens, a write, a rename
        for _, op in ipairs { "write", "rename" } do
          files.write(path, "old")
          store.fail_at(op, 1, ENOSPC)
          local ok, message, code = f.save(value, path)
          store.fail_at()
          assert.is_nil(ok)
          assert.equal(path .. ": No space left on device", message:sub(1, #path + 25))
          assert.equal(EIO, code)
          assert.equal("old", files.read(path))
        end
        local ok, message = f.save(value, folder .. "/no/x")
        assert.is_nil(ok)
        assert.matches("no/x: No such file or directory", message, 1, true)
        assert.same({ nil, folder .. "/none: No such file or directory", EIO },
          { f.load(folder .. "/none") })
        assert.matches("Is a directory", select(2, f.load(folder)), 1, true)
      end
      for name in lfs.dir(folder) do assert.is_nil(name:find "%.tmp$") end
    end)

  it("do not wait for a pipe that nobody writes", function()
    local pipe = folder .. "/pipe"
    process.run { "mkfifo", pipe }
    for _, name in ipairs { "tensor", "tensors", "state", "json", "text", "csv", "tsv", "records",
                            "file" } do
      local value, message = format.get(name).load(pipe)
      assert.is_nil(value)
      assert.matches(pipe .. ": not a regular file", message, 1, true)
    end
  end)

  -- -- tensors --

  describe("tensor, tensors and state", function()
    it("give a tensor back: every dtype, strided, scalar, empty, NaN and -0", function()
      for _, t in ipairs {
        ml.tensor({ 1, -0, 0 / 0, 1 / 0, 1e308 }, "f64"), ml.tensor({ { 1, 2 }, { 3, 4 } }, "f32"),
        ml.tensor({ { 1, 2 }, { 3, 4 } }, "f32"):transpose(1, 2), ml.tensor(2.5), ml.zeros(0, 3),
        ml.tensor({ 1, 2 }, "bf16"), ml.tensor({ 1, 2 }, "f16"), ml.tensor({ 2 ^ 53 }, "i64"),
        ml.tensor({ -1 }, "i32"), ml.tensor({ 255 }, "u8"), ml.tensor({ true, false }, "bool"),
      } do
        assert.is_true(same(t, round(t, "tensor")))
      end
    end)

    it("give tables of tensors back: names with dots, nested ones, lists, empty ones", function()
      for _, value in ipairs {
        { w = ml.ones(2) }, { ["a.b"] = ml.ones(1), ["a"] = ml.zeros(1), [""] = ml.ones(2) },
        { a = { b = ml.ones(1), c = { d = ml.zeros(2) } }, e = ml.ones(3) },
        { ml.ones(1), ml.zeros(2) }, { ['"é\n'] = { ["a.b"] = ml.ones(1) } },
        { train = { ml.ones(1), { x = ml.ones(2) } }, test = {} },
      } do
        assert.is_true(same(value, round(value, "tensors")))
      end
      local f = format.get "tensors"
      for _, value in ipairs { {}, { a = {}, b = ml.ones(1) } } do
        assert.is_true(f.save(value, path))
        assert.is_true(same(value, f.load(path)))
      end
    end)

    it("write names that others read, and read others' files by name", function()
      assert.is_true(format.of({ a = { b = ml.ones(1) } }).save({ a = { b = ml.ones(1) } }, path))
      local flat = assert(ml.safetensors.load(path))
      assert.equal("a.b", (next(flat)))
      ml.safetensors.save(path, { ["a.b"] = ml.ones(1), c = ml.ones(1) }, { epoch = "3" })
      local value = assert(format.get("tensors").load(path))
      assert.is_true(same({ ["a.b"] = ml.ones(1), c = ml.ones(1) }, value))
    end)

    it("name the culprit in what is no table of tensors", function()
      local f = format.get "tensors"
      local loop = {}
      loop.a = loop
      for expected, value in pairs {
        ["a.n: expected a tensor, got 3"] = { a = { n = 3 } },
        ["a: both a list and a map"] = { a = { ml.ones(1), b = ml.ones(1) } },
        ["a list with holes"] = { [2] = ml.ones(1) },
        ["a: a list with holes"] = { a = { [0.5] = ml.ones(1) } },
        ["expected names as keys, got true"] = { [true] = ml.ones(1) },
        ["a: a name that is not UTF-8"] = { a = { ["\255"] = ml.ones(1) } },
        ["deeper than 90 levels"] = loop,
        ["expected a table of tensors, got 3"] = 3,
        ["a.b: two tensors, or a reserved word, under this name"] =
          { a = { b = ml.ones(1) }, ["a.b"] = ml.ones(1) },
        ["__metadata__: two tensors, or a reserved word, under this name"] =
          { __metadata__ = ml.ones(1) },
      } do
        assert.equal(expected, f.check(value))
        assert.same({ nil, expected }, { f.save(value, path) })
      end
      assert.equal("expected a tensor, got 'x'", format.get("tensor").check("x"))
    end)

    it("give a model and its optimiser their state back", function()
      local function trained()
        local model = nn.Sequential.new { nn.Linear.new { inputs = 3, outputs = 2 },
                                          nn.BatchNorm.new { channels = 2 } }
        return model, optim.adam(model)
      end
      local model, opt = trained()
      opt:step(model(ml.randn(4, 3)):sum())
      local other, other_opt = trained()
      assert.is_true(assert(other:load_state(round(model, "state"))))
      assert.is_true(assert(other_opt:load_state(round(opt, "state"))))
      assert.is_true(same(model:state(), other:state()))
      assert.is_true(same(opt:state(), other_opt:state()))
    end)

    it("take any object with state_dict, and say where a state is no table of tensors", function()
      local object = { state_dict = function(self) return { w = self.w } end, w = ml.ones(2) }
      assert.is_true(same({ w = ml.ones(2) }, round(object, "state")))
      local opt = optim.sgd({ ml.ones(1):requires_grad() })
      local schedule = optim.schedule.exponential(opt, { gamma = 0.5 })
      local ok, message = format.of(schedule).save(schedule, path)
      assert.is_nil(ok)
      assert.matches("^its state: .*; a state of other values is saved as a table, by state%(%)$",
        message)
      assert.equal("expected a model or an optimiser, got a table", format.get("state").check {})
    end)

    it("refuse files with other contents, and never give another nesting", function()
      local one, many = format.get "tensor", format.get "tensors"
      ml.safetensors.save(path, { a = ml.ones(1), b = ml.ones(1) })
      assert.same({ nil, path .. ": expected one tensor, got several", EFORMAT },
        { one.load(path) })
      ml.safetensors.save(path, {})
      assert.same({ nil, path .. ": expected one tensor, got none", EFORMAT }, { one.load(path) })
      for tree, expected in pairs {
        ["{"] = "mlua.tree:1: ", ["null"] = "mlua.tree: expected names of tensors",
        ['{"x":"c"}'] = "mlua.tree: no tensor 'c', or twice",
        ['{"x":"a","y":"b","z":"a"}'] = "mlua.tree: no tensor 'a', or twice",
        ['{"x":"a"}'] = "mlua.tree: leaves out 'b'", ['{"x":1}'] = "mlua.tree: expected names",
        ['"a"'] = "", ["[]"] = "mlua.tree: leaves out '",
      } do
        ml.safetensors.save(path, { a = ml.ones(1), b = ml.ones(1) }, { ["mlua.tree"] = tree })
        local value, message, code = many.load(path)
        assert.is_nil(value)
        assert.equal(path .. ": ", message:sub(1, #path + 2))
        assert.matches(expected, message, 1, true)
        assert.equal(EFORMAT, code)
      end
    end)

    it("answer damage with a message that names the file, or a table of tensors", function()
      local f = format.get "tensors"
      assert.is_true(f.save({ a = { ml.tensor({ 1, 2 }, "f32") }, b = ml.tensor({ true }, "bool") },
        path))
      local whole = files.read(path)
      local refused = 0
      local function damaged(text)
        files.write(path, text)
        local value, message = f.load(path)
        if value == nil then
          assert.equal(path .. ": ", message:sub(1, #path + 2))
          refused = refused + 1
        else
          assert.equal("table", type(value))
          assert.is_nil(f.check(value))
        end
        return value
      end
      for n = 0, #whole - 1 do assert.is_nil(damaged(whole:sub(1, n))) end
      for i = 1, #whole do
        for bit = 0, 7 do
          local flipped = string.char(require("bit").bxor(whole:byte(i), 2 ^ bit))
          damaged(whole:sub(1, i - 1) .. flipped .. whole:sub(i + 1))
        end
      end
      assert.is_true(refused > 4 * #whole)
    end)
  end)

  -- -- what is kept as it is --

  describe("text, file, folder and memory", function()
    it("keep every byte of a string", function()
      local all = {}
      for i = 0, 255 do all[i + 1] = string.char(i) end
      for _, text in ipairs { "", "\0", "a\r\nb\n", "é\255", table.concat(all), ("x"):rep(3e6) } do
        assert.is_true(round(text, "text") == text)
        assert.is_true(files.read(path) == text)
      end
      assert.equal("expected a string, got 3", format.get("text").check(3))
    end)

    it("refuse a text that no string can hold, without reading it", function()
      local file = assert(io.open(path, "wb"))
      file:seek("set", 2 ^ 31)
      file:write("x") -- a hole: it takes no room on the disk
      file:close()
      for _, name in ipairs { "text", "json", "csv" } do
        local value, message, code = format.get(name).load(path)
        assert.is_nil(value)
        assert.equal(path .. ": 2147483649 bytes are too many to read at once; at most 2147418112",
          message)
        assert.equal(EFORMAT, code)
      end
    end)

    it("copy a file, and load gives the copy's path", function()
      local f = format.get "file"
      for _, text in ipairs { "", "\0\r\n", ("y"):rep(2 ^ 20 + 1) } do
        local source = files.write(folder .. "/source", text)
        assert.is_true(f.save(source, path))
        files.write(source, "changed")
        assert.is_true(files.read(path) == text)
        assert.equal(path, f.load(path))
      end
    end)

    it("refuse paths at which there is no file, or no folder", function()
      local file, dir = format.get "file", format.get "folder"
      files.write(path, "x")
      assert.is_nil(file.check(path))
      assert.is_nil(dir.check(folder))
      assert.equal(folder, dir.load(folder))
      assert.is_nil(dir.save)
      assert.is_true(dir.folder)
      assert.equal(folder .. ": Is a directory", file.check(folder))
      assert.equal(path .. ": Not a directory", dir.check(path))
      assert.equal(folder .. "/none: No such file or directory", dir.check(folder .. "/none"))
      assert.equal("expected a path, got ''", dir.check "")
      assert.equal("expected a path, got a string", file.check("a\0b"))
      assert.equal("expected a path, got 3", file.check(3))
    end)

    it("keep in memory what no file holds", function()
      local f = format.get "memory"
      assert.is_true(f.memory)
      assert.is_nil(f.save)
      assert.is_nil(f.load)
      assert.is_nil(f.check(print))
      assert.matches("nil is not saved", f.check(nil), 1, true)
    end)
  end)
end)
