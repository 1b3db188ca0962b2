local code = require "mlua.code"
local files = require "spec.support.files"
local process = require "spec.support.process"

-- What a text returns; all that was remembered is forgotten first.
local function load_text(text)
  code.forget()
  return assert(loadstring(text, "@recipes/x.lua"))()
end

local function digest(text) return code.digest(load_text(text)).digest end

local function same(a, b) assert.equal(digest(a), digest(b)) end

local function differ(a, b) assert.not_equal(digest(a), digest(b)) end

-- Digests of f in a text with modules: name to text. They are loaded before if `loaded`.
local function with_modules(text, modules, loaded)
  local preload = package.preload
  for name, module in pairs(modules) do
    package.loaded[name] = nil
    preload[name] = assert(loadstring(module, "@" .. name .. ".lua"))
    if loaded ~= false then require(name) end
  end
  local result = code.digest(load_text(text))
  for name in pairs(modules) do package.loaded[name], preload[name] = nil, nil end
  return result
end

local function names_of(parts)
  local names = {}
  for i, part in ipairs(parts) do names[i] = part.name end
  return names
end

describe("code.digest", function()
  after_each(code.forget)

  it("is 64 hexadecimal digits, the same each time", function()
    local f = load_text "return function(x) return x + 1 end"
    assert.matches("^" .. ("%x"):rep(64) .. "$", code.digest(f).digest)
    local first = code.digest(f).digest
    code.forget()
    assert.equal(first, code.digest(f).digest)
  end)

  it("does not see comments, spaces, lines or names of locals", function()
    same("local rate = 2 local function run(x) return x * rate end return run", [[
      -- the rate
      local pace = 2

      local function go(value) -- by the pace
        return value * pace
      end
      return go
    ]])
  end)

  it("does not see the order of definitions that have nothing to do with each other", function()
    same([[local a, b = 1, 2
      local function one(x) return x + a end
      local function two(x) return x * b end
      return function(x) return one(x) - two(x) end]], [[local unused = {}
      local b = 2
      local function two(x) return x * b end
      local a = 1
      local function one(x) return x + a end
      return function(x) return one(x) - two(x) end]])
  end)

  it("sees a constant, an operator, a string, and a constant in a table", function()
    differ("return function(x) return x + 1 end", "return function(x) return x + 2 end")
    differ("return function(x) return x + 0.1 end", "return function(x) return x + 0.2 end")
    differ("return function(x) return x + 1 end", "return function(x) return x - 1 end")
    differ("return function(x) return x < 1 end", "return function(x) return x <= 1 end")
    differ("return function() return 'a' end", "return function() return 'b' end")
    differ("return function() return { a = 1, b = { 2 } } end",
      "return function() return { a = 1, b = { 3 } } end")
    differ("return function() return { a = 1, b = 2 } end",
      "return function() return { a = 2, b = 1 } end")
    differ("return function() return { 1, 2 } end", "return function() return { 2, 1 } end")
    differ("return function() return 1LL end", "return function() return 1ULL end")
    differ("return function() return function() return 1 end end",
      "return function() return function() return 2 end end")
  end)

  it("does not see the order of keys in a table of constants", function()
    same("return function() return { alpha = 1, beta = 'x', gamma = true, [2.5] = 4 } end",
      "return function() return { gamma = true, [2.5] = 4, beta = 'x', alpha = 1 } end")
    same("local t = { a = 1, b = { c = 2, d = 3 } } return function(k) return t[k] end",
      "local t = { b = { d = 3, c = 2 }, a = 1 } return function(k) return t[k] end")
  end)

  it("sees which upvalue a function inside uses", function()
    differ("return function(a, b) return function() return a end end",
      "return function(a, b) return function() return b end end")
  end)

  it("sees an upvalue's value, plain or in a table, but no field that is not read", function()
    differ("local r = 1 return function(x) return x * r end",
      "local r = 2 return function(x) return x * r end")
    differ("local o = { r = 1 } return function(x) return x * o.r end",
      "local o = { r = 2 } return function(x) return x * o.r end")
    differ("local o = { a = { r = 1 } } return function(x) return x * o.a.r end",
      "local o = { a = { r = 2 } } return function(x) return x * o.a.r end")
    same("local o = { r = 1, s = 1 } return function(x) return x * o.r end",
      "local o = { r = 1, s = 2 } return function(x) return x * o.r end")
    differ("local o = { r = 1, s = 1 } return function() return o end",
      "local o = { r = 1, s = 2 } return function() return o end")
    differ("local o = { 1, 2 } return function() return o[2] end",
      "local o = { 1, 3 } return function() return o[2] end")
    differ("local o return function() return o end", "local o = 1 return function() return o end")
  end)

  it("sees an upvalue that a function inside reads, however far", function()
    local text = [[local o, p = { r = %d, s = %d }, 1
      return function() local q = o return function() return function() return q.r + p end end end]]
    differ(text:format(1, 1), text:format(2, 1))
    same(text:format(1, 1), text:format(1, 2))
  end)

  it("takes the table as a whole where a variable that holds it changes", function()
    local text = [[local o = { r = 1, s = %d }
      return function(x)
        local q = o
        local function swap() q = x end
        swap()
        return function(k) return q[k] end
      end]]
    differ(text:format(1), text:format(2))
  end)

  it("sees what either of two ways may have read", function()
    local text = [[local a, b = { r = %d, s = %d }, { r = %d, s = %d }
      return function(x)
        local o
        if x then o = a else o = b end
        for i = 1, 3 do x = x + i end
        return o.r
      end]]
    differ(text:format(1, 1, 1, 1), text:format(2, 1, 1, 1))
    differ(text:format(1, 1, 1, 1), text:format(1, 1, 2, 1))
    same(text:format(1, 1, 1, 1), text:format(1, 2, 1, 2))
    differ("local a, b = 1, 2 return function(x) return x and a or b end",
      "local a, b = 1, 3 return function(x) return x and a or b end")
  end)

  it("follows what goes round in a loop", function()
    local text = [[local list = { v = 1, next = { v = 2, next = { v = %d } } }
      return function()
        local sum, at = 0, list
        while at do sum, at = sum + at.v, at.next end
        return sum
      end]]
    differ(text:format(3), text:format(4))
  end)

  it("does not count a value that is only assigned", function()
    same("local o, n = { r = 1 }, 1 return function(x) o.r = x n = x end",
      "local o, n = { r = 2 }, 2 return function(x) o.r = x n = x end")
  end)

  it("sees what a table's __newindex does where fields of it are assigned", function()
    local text = [[local function set(t, k, v) rawset(t, k, v + %d) end
      local o = setmetatable({}, { __newindex = set })
      return function(x) o.r = x end]]
    differ(text:format(1), text:format(2))
  end)

  it("sees a called local function, also through another, and one that calls itself", function()
    local text = [[local function deep(x) return x + %d end
      local function helper(x) return deep(x) * 2 end
      return function(x) return helper(x) end]]
    differ(text:format(1), text:format(2))
    text = [[local function fact(n) return n < 2 and %d or n * fact(n - 1) end
      return function(x) return fact(x) end]]
    differ(text:format(1), text:format(2))
    text = [[local odd
      local function even(n) return n == 0 or odd(n - 1) end
      function odd(n) return n ~= %d and even(n - 1) end
      return function(x) return even(x) end]]
    differ(text:format(0), text:format(1))
  end)

  it("sees a called global function, and one that is passed on", function()
    local text = [[local env = setmetatable({}, { __index = _G })
      setfenv(1, env)
      function twice(x) return x * %d end
      function unused(x) return x * %d end
      return function(x) return twice(x) end]]
    differ(text:format(2, 1), text:format(3, 1))
    same(text:format(2, 1), text:format(2, 2))
    differ("local function by(a, b) return a < b end return function(t) table.sort(t, by) end",
      "local function by(a, b) return a > b end return function(t) table.sort(t, by) end")
  end)

  it("takes a global as the environment gives it, and as nil where that raises", function()
    local text = [[local error = error
      setfenv(1, setmetatable({}, { __index = function(_, name)
        return name == "rate" and %d or error("no global " .. name)
      end }))
      return function(x) return x * rate + missing end]]
    differ(text:format(1), text:format(2))
  end)

  it("sees a method that an object finds by its class", function()
    local text = [[local Base = {} Base.__index = Base
      function Base:size() return %d end
      local Class = setmetatable({}, Base) Class.__index = Class
      local object = setmetatable({}, Class)
      return function() return object:size() end]]
    differ(text:format(1), text:format(2))
    text = [[local o = setmetatable({}, { __index = { r = %d, s = %d } })
      return function() return o.r end]]
    differ(text:format(1, 1), text:format(2, 1))
    same(text:format(1, 1), text:format(1, 2))
    text = [[local o = setmetatable({}, { __index = function() return %d end })
      return function() return o.r end]]
    differ(text:format(1), text:format(2))
  end)

  it("tells one function of Lua's libraries from another, and one of mlua's", function()
    differ("local f = math.floor return function(x) return f(x) end",
      "local f = math.ceil return function(x) return f(x) end")
    differ([[local f = require "mlua.text".suggest return function(x) return f(x) end]],
      [[local f = require "mlua.json".encode return function(x) return f(x) end]])
    same("local f = math.floor return function(x) return f(x) end",
      "local g = math.floor return function(x) return g(x) end")
  end)

  it("sees what a closure of mlua's was made with", function()
    local text = [[local text = require "mlua.code.flow"
      local dump = require "mlua.code.dump"
      local paths = text.paths(dump.take(string.dump(function() end, true)))
      local made = paths.global
      paths.globals.x = %d
      return function() return made("x") end]]
    differ(text:format(1), text:format(2))
  end)

  it("sees the function that a captured step was made of, before and after it ran", function()
    local text = [[local ml = require "mlua"
      local step = ml.capture(function(x) return x %s 2 end)
      return function() return step(ml.ones(2)) end]]
    differ(text:format("*"), text:format("+"))
    local f = load_text(text:format("*"))
    local before = code.digest(f).digest
    f()
    code.forget()
    assert.equal(before, code.digest(f).digest)
  end)

  it("is the same after the function has run, been compiled, and met other iterators", function()
    local text = [[
      local function sum(t, iterate)
        local s = 0
        for k, v in iterate(t) do s = s + v end
        for i = 1, #t do s = s + t[i] end
        local i = 0
        while i < 100 do i = i + 1 end
        return s
      end
      local function each(t) local s = 0 for k, v in pairs(t) do s = s + v end return s end
      return function(t, iterate) return sum(t, iterate) + each(t) end, each]]
    local f, each = load_text(text)
    local before = code.digest(f).digest
    for _ = 1, 200 do f({ 1, 2, 3 }, pairs) f({ 1, 2, 3 }, ipairs) end
    setfenv(each, { pairs = ipairs })
    assert.equal(6, each { 1, 2, 3, a = 4 }) -- `for … in pairs(t)` was made a plainer loop by that
    setfenv(each, _G)
    code.forget()
    assert.equal(before, code.digest(f).digest)
  end)

  it("has parts: each function reached by its name, file and line", function()
    local found = code.digest(load_text([[local helpers = {}
      function helpers.scale(x) return x * 2 end
      function helpers.unused(x) return x end
      local function norm(x) return helpers.scale(x) end
      local function run(x) return norm(x) end
      return run]]), "run")
    assert.same({ "helpers.scale", "norm", "run" }, names_of(found.parts))
    assert.equal("recipes/x.lua", found.parts[1].file)
    assert.same({ 2, 4, 5 }, { found.parts[1].line, found.parts[2].line, found.parts[3].line })
    assert.same({}, found.notes)
  end)

  it("calls the function itself as its caller or its definition does", function()
    local f = load_text "local Train = {} function Train:run() end return Train.run"
    local sources = files.folder()
    local path = files.write(sources .. "/x.lua",
      "local Train = {}\nfunction Train:run() return 1 end\nreturn Train.run")
    assert.same({ "Train:run" }, names_of(code.digest(dofile(path)).parts))
    assert.same({ "run" }, names_of(code.digest(f, "run").parts))
    files.remove(sources)
  end)

  it("counts what has __digest by that, also where it holds the function", function()
    local text = [[local Task = { __digest = function(t) return "task " .. t.name end }
      local task = setmetatable({ name = "%s", other = %d }, Task)
      return function() return task.name, task end]]
    differ(text:format("a", 1), text:format("b", 1))
    same(text:format("a", 1), text:format("a", 2))
  end)

  it("comes to an end, and to the same one, where a __digest asks for a digest again", function()
    local text = [[local code = require "mlua.code"
      local Task = { __digest = function(t) return code.digest(t.run).digest end }
      local a, b = setmetatable({}, Task), setmetatable({}, Task)
      function a.run() return b, %d end
      function b.run() return a end
      return { a, b }]]
    local function both(first, n)
      local tasks = load_text(text:format(n))
      local found = { [first] = code.digest(tasks[first].run).digest }
      found[3 - first] = code.digest(tasks[3 - first].run).digest
      return found
    end
    assert.same(both(1, 1), both(2, 1))
    assert.not_equal(both(1, 1)[2], both(1, 2)[2])
  end)
end)

describe("code.digest and modules", function()
  after_each(code.forget)

  local MODULE = [[local M = { factor = %d }
    function M.scale(x) return x * M.factor end
    function M.other(x) return x + %d end
    return M]]

  it("sees the functions that are reached, and no others", function()
    for _, text in ipairs {
      'local h = require "code_helpers" return function(x) return h.scale(x) end',
      'return function(x) return require("code_helpers").scale(x) end',
      'return function(x) local h = require "code_helpers" return h.scale(x) end',
      'local scale = require "code_helpers".scale return function(x) return scale(x) end',
    } do
      local one = with_modules(text, { code_helpers = MODULE:format(1, 1) })
      local reached = with_modules(text, { code_helpers = MODULE:format(2, 1) })
      local other = with_modules(text, { code_helpers = MODULE:format(1, 2) })
      assert.not_equal(one.digest, reached.digest)
      assert.equal(one.digest, other.digest)
      assert.same({}, one.notes)
    end
  end)

  it("names the parts of a module by its name", function()
    local found = with_modules('return function(x) return require "code_helpers".scale(x) end',
      { code_helpers = MODULE:format(1, 1) })
    assert.same({ "code_helpers.scale", "function" }, names_of(found.parts))
    assert.equal("code_helpers.lua", found.parts[1].file)
  end)

  it("takes a module as a whole where it is indexed by a computed name, and says so", function()
    local text = 'local h = require "code_helpers"\nreturn function(x, k)\n  return h[k](x)\nend'
    local one = with_modules(text, { code_helpers = MODULE:format(1, 1) })
    local two = with_modules(text, { code_helpers = MODULE:format(1, 2) })
    assert.not_equal(one.digest, two.digest)
    assert.same({ "module 'code_helpers' counts as a whole: recipes/x.lua:3 indexes it by a "
      .. "computed name" }, one.notes)
    assert.same({ "function", "h.other", "h.scale" }, names_of(one.parts))
  end)

  it("says so, too, where a module is passed on, and in which function inside", function()
    local text = 'local h = require "code_helpers"\nreturn function(x)\n  return function()\n'
      .. "    for k in pairs(h) do print(k) end\n  end\nend"
    assert.same({ "module 'code_helpers' counts as a whole: recipes/x.lua:4 passes it on" },
      with_modules(text, { code_helpers = MODULE:format(1, 1) }).notes)
  end)

  it("takes a module that is not loaded by its file, and says so", function()
    local text = 'return function(x) return require("code_helpers").scale(x) end'
    local one = with_modules(text, { code_helpers = MODULE:format(1, 1) }, false)
    local two = with_modules(text, { code_helpers = MODULE:format(1, 2) }, false)
    assert.not_equal(one.digest, two.digest)
    assert.same({ "module 'code_helpers' counts as a whole: it is not loaded yet" }, one.notes)
    local folder, path = files.folder(), package.path
    package.path = folder .. "/?.lua"
    local function by_file(module)
      files.write(folder .. "/code_from_file.lua", module)
      return code.digest(load_text 'return function() return require("code_from_file") end').digest
    end
    local first = by_file "return { a = 1 }"
    assert.equal(first, by_file "-- one\nreturn { a = 1 }")
    assert.not_equal(first, by_file "return { a = 2 }")
    by_file "return }"
    assert.matches("^module 'code_from_file' does not compile: .*code_from_file.lua:1: unexpected",
      code.digest(load_text 'return function() return require "code_from_file" end').notes[1])
    package.path = path
    files.remove(folder)
    assert.same({ "module 'code_helpers' is not found" }, code.digest(load_text(text)).notes)
  end)

  it("takes a module of mlua's alike whether it is loaded or not", function()
    local text = 'return function(x) return require("mlua.npy").load(x) end'
    local before = package.loaded["mlua.npy"]
    package.loaded["mlua.npy"] = nil
    local not_loaded = code.digest(load_text(text))
    assert.same({}, not_loaded.notes)
    code.forget()
    require "mlua.npy"
    assert.equal(not_loaded.digest, code.digest(load_text(text)).digest)
    package.loaded["mlua.npy"] = before
  end)

  it("notes what it cannot see", function()
    local function notes(text) return code.digest(load_text(text)).notes end
    assert.same({ "globals read by computed names are not seen (recipes/x.lua:2)" },
      notes "return function(k)\n  return _G[k]\nend")
    assert.same({ "modules required by computed names are not seen (recipes/x.lua:1)" },
      notes "return function(k) return require('code_' .. k) end")
    assert.same({ "code compiled by loadstring is not seen (recipes/x.lua:1)" },
      notes "return function(k) return loadstring(k)() end")
    assert.same({ "co is a coroutine, which counts by that alone" },
      notes "local co = coroutine.create(print) return function() return coroutine.resume(co) end")
    assert.same({ "state.file is userdata, which counts by that alone" },
      notes "local state = { file = io.tmpfile() } return function() return state end")
    assert.same({ "cache is a weak table, of which only the metatable counts" }, notes
      "local cache = setmetatable({}, { __mode = 'k' }) return function(x) return cache[x] end")
  end)
end)

describe("code.digest between processes", function()
  it("is equal across 100 processes, whatever ran before", function()
    local folder = files.folder()
    files.write(folder .. "/helpers.lua", [[local M = {}
      M.table = { one = 1, two = { 2, three = "3" }, four = true, [5.5] = "five", [true] = 6 }
      function M.scale(x) return x * M.table.one end
      function M.all(k) return M[k], M.table end
      return M]])
    files.write(folder .. "/x.lua", [[local code = require "mlua.code"
      local helpers = require "helpers"
      local names = { "a", "b", c = helpers, [helpers] = "d", [helpers.scale] = 1 }
      local function run(t)
        local options = { alpha = 1, beta = 2, gamma = 3, delta = 4, epsilon = 5, zeta = { 6 } }
        local s = 0
        for k, v in pairs(t) do s = s + v + options.alpha end
        for i = 1, 100 do s = s + i end
        return s, names, helpers.all("x"), function() return { q = 1, r = 2, w = 3, v = s } end
      end
      if os.getenv("RUN") then for _ = 1, 100 do run { 1, 2, a = 3 } end end
      print(code.digest(run).digest)]])
    local seen, count = {}, 0
    for i = 1, 100 do
      local env = { RUN = i % 2 == 0 and "1" or false }
      local got = process.mlua({ "x.lua" }, { cwd = folder, env = env })
      assert.equal(0, got.status, got.err)
      if not seen[got.out] then seen[got.out], count = true, count + 1 end
    end
    files.remove(folder)
    assert.equal(1, count)
    assert.matches("^%x+\n$", (next(seen)))
  end)
end)

describe("the time of code.digest", function()
  it("is 10 ms for 100 functions; where that is too much, 15 times their compiler's", function()
    local text = {}
    for i = 1, 100 do
      text[i] = ([[
        function(self, rows, log)
          local total, best = %d, nil
          for i, row in ipairs(rows) do
            if row.name%d == self.name then total = total + row.value * 0.5 end
            if not best or row.value > best.value then best = row end
          end
          table.sort(rows, function(a, b) return a.value%d < b.value%d end)
          log(("%%d rows, %d"):format(#rows), total, { kind = "a", weight = 1, list = { 1, 2 } })
          return { total = total, mean = total / math.max(#rows, 1), best = best, path = self.path }
        end]]):format(i, i, i, i, i)
    end
    text[1], text[100] = "return {" .. text[1], text[100] .. "}"
    local list = load_text(table.concat(text, ",\n"))
    local least, compiled = math.huge, math.huge
    for _ = 1, 20 do
      local start = os.clock()
      assert(loadstring(table.concat(text, ",\n")))
      compiled = math.min(compiled, os.clock() - start)
      code.forget()
      start = os.clock()
      for i = 1, 100 do code.digest(list[i], "run") end
      least = math.min(least, os.clock() - start)
    end
    assert.is_true(least <= math.max(0.010, 15 * compiled), ("%.1f ms"):format(least * 1e3))
  end)
end)
