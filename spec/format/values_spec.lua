--- json, records, csv, tsv: what was saved comes back, what cannot is refused with the culprit's
-- place, and a damaged file is a message.
local format = require "mlua.format"
local files = require "spec.support.files"
local json = require "mlua.json"
local ml = require "mlua"
local same = require "spec.support.same"

local EFORMAT = -7
local NAN, HUGE = 0 / 0, math.huge

local NUMBERS = { 0, -0, 1, -1, 0.1, -1 / 3, 2 ^ 53, -2 ^ 53, 2 ^ 53 + 2, 2 ^ 60, 1e16 + 2, 1e21,
                  1e22, 1e308, -1.7976931348623157e308, 5e-324, 2.2250738585072014e-308,
                  123456789012345, NAN, HUGE, -HUGE }
NUMBERS[2] = -NUMBERS[1]

local STRINGS = { "", " ", "a", "a,b", "a\tb", 'say "x"', '"', "\r\n", "\r", "\n", "a\0b",
                  "é€\240\159\152\128", "1", "-0", "0", "007", "1e5", ".5", "5.", "+1", "1_0",
                  "0x10", "true", "false",
                  "NaN", "nan", "Infinity", "-Infinity", "inf", "null", "9007199254740993",
                  "12345678901234567890", "1e400", "\239\187\191x", "$number", "-", ".", "--1",
                  "1.5.2", "\\n", "\127" }

describe("format", function()
  local folder, path

  setup(function()
    folder = files.folder()
    path = folder .. "/x"
  end)

  teardown(function() files.remove(folder) end)

  local function round(name, value)
    local f = format.get(name)
    assert.is_true(assert(f.save(value, path)))
    local back, message = f.load(path)
    assert.not_equal("nil", type(back), message)
    return back
  end

  local function loads(name, text, ...)
    files.write(path, text)
    return format.get(name).load(path, ...)
  end

  local function refused(name, text, expected)
    local value, message, code = loads(name, text)
    assert.is_nil(value)
    assert.equal(path .. ": " .. expected, message)
    assert.equal(EFORMAT, code)
  end

  -- Every truncation and every flipped bit: a message that names the file, or a value of the kind.
  local function stands_damage(name, value, is_kind)
    local f = format.get(name)
    assert.is_true(assert(f.save(value, path)))
    local whole, refusals = files.read(path), 0
    local function try(text)
      local got, message = loads(name, text)
      if type(got) == "nil" then
        assert.matches("^: line %d+: [^\n]+$", message:sub(#path + 1))
        refusals = refusals + 1
      else
        assert.is_true(is_kind(got), text)
        assert.is_nil(f.check(got))
      end
    end
    for n = 0, #whole - 1 do try(whole:sub(1, n)) end
    for i = 1, #whole do
      for b = 0, 7 do
        local flipped = string.char(require("bit").bxor(whole:byte(i), 2 ^ b))
        try(whole:sub(1, i - 1) .. flipped .. whole:sub(i + 1))
      end
    end
    assert.is_true(refusals > #whole / 2)
  end

  describe("json", function()
    it("gives every number and string back to the bit, alone and in tables", function()
      assert.is_true(same(NUMBERS, round("json", NUMBERS)))
      assert.is_true(same(STRINGS, round("json", STRINGS)))
      for _, x in ipairs(NUMBERS) do assert.is_true(same(x, round("json", x))) end
      local named = {}
      for i, s in ipairs(STRINGS) do named[s] = NUMBERS[i] or s end
      assert.is_true(same(named, round("json", named)))
      for _, v in ipairs { false, true, {}, { {} }, { { 1 }, { a = { false, {} } } },
                           { ["1"] = 1 }, { json.null, 1 } } do
        assert.is_true(same(v, round("json", v)))
      end
    end)

    it("writes one line of plain JSON, NaN and infinities as marked objects", function()
      round("json", { b = { 1, NAN }, a = -HUGE })
      assert.equal('{"a":{"$number":"-Infinity"},"b":[1,{"$number":"NaN"}]}\n', files.read(path))
      for _, v in ipairs { { a = { ["$number"] = "x" } }, { ["$number"] = "NaN", b = 1 } } do
        assert.is_true(same(v, round("json", v)))
      end
    end)

    it("gives a table that is there twice as two, 64-bit integers as numbers", function()
      local t = { 1 }
      assert.is_true(same({ a = { 1 }, b = { 1 } }, round("json", { a = t, b = t })))
      assert.is_true(same({ -5, 2 ^ 53 - 1 }, round("json", { -5LL, 9007199254740991ULL })))
    end)

    it("names the culprit by its path", function()
      local f = format.get "json"
      local loop, deep = { a = {} }, {}
      loop.a[1] = loop
      for _ = 1, 100 do deep = { deep } end
      local odd = setmetatable({}, { __index = function(t) return t end })
      for expected, value in pairs {
        ["a.b[2]: a function, which JSON cannot hold"] = { a = { b = { 1, print } } },
        ['["a b"]: a userdata, which JSON cannot hold'] = { ["a b"] = io.stdout },
        ["a thread, which JSON cannot hold"] = coroutine.create(print),
        ["x: both a list and a map: it has the keys 1 to 2 and 'y'"] = { x = { 1, 2, y = 3 } },
        ["a list with holes: 2 of 1..3 are there"] = { 1, nil, 3 },
        ["[1]: 0 is a key; JSON takes names, or the positions 1..n"] = { { [0] = 1 } },
        ["1.5 is a key; JSON takes names, or the positions 1..n"] = { [1.5] = 1 },
        ["a boolean is a key; JSON takes names, or the positions 1..n"] = { [true] = 1 },
        ["a[1]: a table that is inside itself"] = loop,
        ["a: not UTF-8, as JSON needs it"] = { a = "\255" },
        ["a: a key that is not UTF-8, as JSON needs it"] = { a = { ["\255"] = 1 } },
        ["a: a table of '$number' alone stands for NaN and infinities"] =
          { a = { ["$number"] = "NaN" } },
        ["w: a tensor; tensors are saved by themselves or in a table of them, t:item() is a "
          .. "number"] = { w = ml.ones(1), n = 1 },
        ["id: 9007199254740993LL: more digits than a number keeps"] = { id = 9007199254740993LL },
        ["[1]: an object, which would come back without its class"] = { odd },
      } do
        assert.equal(expected, f.check(value))
        assert.same({ nil, expected }, { f.save(value, path) })
      end
      assert.matches("^%[1%]%[1%].*%.%.%.: deeper than 100 levels$", f.check(deep))
    end)

    it("says file and line of what is not JSON", function()
      refused("json", "", "line 1: expected value but found T_END at character 1")
      refused("json", '{"a": 1,\n "b": }',
        "line 2: expected value but found T_OBJ_END at character 16")
      refused("json", '{"a":\n"\255"}', "line 2: not UTF-8")
      refused("json", "1\0", "line 1: a zero byte at character 2")
      refused("json", "1 2", "line 1: expected the end but found T_NUMBER at character 3")
    end)

    it("stands any damage", function()
      stands_damage("json", { a = { 1, NAN, "é\n" }, b = { c = false, d = {} } }, function(v)
        return type(v) == "table"
      end)
    end)
  end)

  describe("records", function()
    local function in_turn(list)
      local i = 0
      return function() i = i + 1 return list[i] end
    end

    it("gives lists and what an iterator gave back, one line each", function()
      local list = { 1, "a\nb", false, { x = NAN }, {}, json.null, "" }
      assert.is_true(same(list, round("records", list)))
      assert.equal('1\n"a\\nb"\nfalse\n{"x":{"$number":"NaN"}}\n{}\nnull\n""\n', files.read(path))
      assert.is_true(same(list, round("records", in_turn(list))))
      assert.is_true(same({}, round("records", {})))
      assert.is_true(same(STRINGS, round("records", STRINGS)))
    end)

    it("iterates without holding all, false and null included", function()
      local list = { 1, false, json.null, { a = 2 } }
      round("records", list)
      local got, n = {}, 0
      for record in assert(format.records(path)) do
        n = n + 1
        got[n] = record
      end
      assert.equal(4, n)
      assert.is_true(same(list, got))
      local each = format.records(path)
      for _ = 1, 4 do each() end
      assert.is_nil(each())
      assert.is_nil(each())
      local big, bytes = ("x"):rep(1000), 2e7
      local i = 0
      format.get("records").save(function()
        i = i + 1
        if i <= bytes / 1000 then return big end
      end, path)
      collectgarbage()
      local before, most = collectgarbage "count", 0
      for _ in assert(format.records(path)) do
        if i % 100 == 0 then most = math.max(most, collectgarbage "count") end
        i = i + 1
      end
      assert.is_true((most - before) * 1024 < bytes / 2)
    end)

    it("reads lines of any length, blank ones, CR LF and no end on the last one", function()
      local long = ("y"):rep(300000)
      assert.is_true(same({ long, 1, long }, round("records", { long, 1, long })))
      assert.same({ 1, { a = 2 }, 3 }, loads("records", '1\r\n\n  \n{"a":2}\r\n3'))
    end)

    it("names the culprit, in a list by its path and of an iterator by its number", function()
      local f = format.get "records"
      assert.same({ nil, "[2].a: a function, which JSON cannot hold" },
        { f.save({ 1, { a = print } }, path) })
      assert.equal("expected a list or an iterator, got 'x'", f.check "x")
      assert.equal("expected a list, got a table with the key 'a'", f.check { a = 1 })
      assert.same({ nil, "record 3: b: a function, which JSON cannot hold", EFORMAT },
        { f.save(in_turn { 1, 2, { b = print } }, path) })
    end)

    it("leaves the old file where an iterator raises, whose error comes through", function()
      files.write(path, "1\n")
      local ok, message = pcall(format.get("records").save, function() error("mine", 0) end, path)
      assert.same({ false, "mine" }, { ok, message })
      collectgarbage()
      assert.equal("1\n", files.read(path))
    end)

    it("says file and line of what is damaged; the iterator raises it", function()
      refused("records", "1\n\n[2\n3\n",
        "line 3: expected comma or array end but found T_END at character 3")
      refused("records", "1\n2 3\n", "line 2: expected the end but found T_NUMBER at character 3")
      refused("records", "1\n2\0\n", "line 2: a zero byte at character 2")
      files.write(path, "1\nx\n")
      local each = assert(format.records(path))
      assert.equal(1, each())
      assert.error_matches(each, path .. ": line 2: expected value but found invalid token", 1,
        true)
      assert.is_nil(each())
      assert.same({ nil, folder .. "/none: No such file or directory", -6 },
        { format.records(folder .. "/none") })
    end)

    it("stands any damage", function()
      stands_damage("records", { 12, "a\n", { b = { NAN } }, true }, function(v)
        return type(v) == "table" and (#v > 0 or next(v) == nil)
      end)
    end)
  end)

  for name, comma in pairs { csv = ",", tsv = "\t" } do
    describe(name, function()
      it("gives numbers as numbers and strings as strings, whatever they look like", function()
        local value = {}
        for i, s in ipairs(STRINGS) do value[i] = { s, NUMBERS[i % #NUMBERS + 1], i % 2 == 0 } end
        assert.is_true(same(value, round(name, value)))
        value.columns = { "s", "1", 'x,\t"\r\n' }
        assert.is_true(same(value, round(name, value)))
      end)

      it("gives rows of one field, of strings alone, no rows and no columns back", function()
        for _, value in ipairs {
          {}, { { "" } }, { { "" }, { "" }, { "a" } }, { { "a" } }, { { "a", "b" }, { "c", "d" } },
          { columns = { "a" } }, { columns = { "a" }, { "" }, { "b" } }, { { "", "" }, { "", "" } },
          { columns = { "a", "b" }, { "a", "b" } }, { columns = { "", "b" }, { 1, 2 } },
          { { "\239\187\191", 1 } }, { { true } }, { { NAN, -HUGE } },
        } do
          assert.is_true(same(value, round(name, value)))
        end
        for _, s in ipairs(STRINGS) do
          assert.is_true(same({ { s } }, round(name, { { s } })))
          assert.is_true(same({ { 1 }, { s } }, round(name, { { 1 }, { s } })))
        end
      end)

      it("names the culprit by row and field", function()
        local f = format.get(name)
        local first = "columns[1]: expected a name that needs no quotes, got "
        for expected, value in pairs {
          ["[2]: 2 fields, expected 3"] = { { 1, 2, 3 }, { 1, 2 } },
          ["[1]: no fields"] = { {} },
          ["[1]: expected a row, got 3"] = { 3 },
          ["[1]: expected a list of fields, got the key 'a'"] = { { 1, a = 2 } },
          ["[1][2]: expected a string, a number, true or false, got a table"] = { { 1, {} } },
          ["expected rows and `columns`, got the key 'colums'"] = { { 1 }, colums = { "a" } },
          ["[1]: 1 field, expected 2"] = { columns = { "a", "b" }, { 1 } },
          ["columns: no fields"] = { columns = {} },
          ["columns[2]: expected a name, got 3"] = { columns = { "a", 3 } },
          ["columns: expected a row, got 'a'"] = { columns = "a" },
          [first .. "'1'"] = { columns = { "1", "b" } },
          [first .. "''"] = { columns = { "" } },
          ["expected a list of rows, got 3"] = 3,
        } do
          assert.equal(expected, f.check(value))
          assert.same({ nil, expected }, { f.save(value, path) })
        end
      end)

      it("reads what others write: CR LF, a mark, empty lines, no end on the last line", function()
        local function text(s) return (s:gsub(",", comma)) end
        local foreign = '\239\187\191id,"full name"\r\n\r\n007,\r\n1.5,12345678901234567890'
        assert.is_true(same({ columns = { "id", "full name" }, { "007", "" },
                              { 1.5, "12345678901234567890" } }, loads(name, text(foreign))))
        assert.is_true(same({ { 1, "a\nb" }, { "", "x" } }, loads(name, text '1,"a\nb"\n,x\n')))
        assert.is_true(same({ { -1e3, 0.5, -0.5, "1.", "0x1" } },
          loads(name, text "-1e3,.5,-.5,1.,0x1\n")))
      end)

      it("reads a row as the first one, which is not read in the quick way of plain lines",
        function()
          local texts, state = { "1e308" .. ("0"):rep(20) .. ".5", ("9"):rep(400) .. ".5" }, 11
          for i, s in ipairs(STRINGS) do
            if not s:find '[",\t\r\n]' and s ~= "" then texts[#texts + 1] = s end
            texts[#texts + 1] = ("0.%s"):format(("3"):rep(i))
          end
          for _ = 1, 3000 do -- of characters of numbers, by Park and Miller's generator
            local letters = {}
            for k = 1, state % 24 + 1 do
              state = state * 48271 % 2147483647
              local at = state % 35 + 1
              letters[k] = ("01234567890123456789012345678...--e"):sub(at, at)
            end
            texts[#texts + 1] = table.concat(letters)
          end
          local line = table.concat(texts, comma)
          for _, stop in ipairs { "\n", "\r\n" } do
            local found = loads(name, (line .. stop):rep(3), { header = false })
            assert.same({ 3, #texts }, { #found, #found[2] })
            for i, s in ipairs(texts) do
              assert.is_true(same(found[1][i], found[2][i]) and same(found[1][i], found[3][i]), s)
            end
          end
        end)

      it("is told whether the first line has the names, where that does not show", function()
        local text = ('"1",b\n"2",3\n'):gsub(",", comma)
        assert.is_true(same({ { "1", "b" }, { "2", 3 } }, loads(name, text)))
        assert.is_true(same({ columns = { "1", "b" }, { "2", 3 } },
          loads(name, text, { header = true })))
        assert.is_true(same({ { "a" }, { "b" } }, loads(name, "a\nb\n", { header = false })))
        assert.is_true(same({ columns = { "1" } }, loads(name, "1\n", { header = true })))
        assert.error_matches(function() loads(name, text, { heder = true }) end,
          "unknown option 'heder', did you mean 'header'?", 1, true)
      end)

      it("says file and line of what is damaged", function()
        for text, expected in pairs {
          ['1,2\n3\n'] = "line 2: 1 field, expected 2",
          ['1\n2,3\n'] = "line 2: 2 fields, expected 1",
          ['"a\nb\nc"\n"d'] = "line 4: a quote that does not end",
          ['"a\nb"c\n'] = "line 2: text after the end of a quote",
          ['1\n\na"b\n'] = "line 3: a quote within a field",
          ['1\ra\n'] = "line 1: a carriage return within a line",
        } do
          refused(name, (text:gsub(",", comma)), expected)
        end
      end)

      it("stands any damage", function()
        local value = { columns = { "a", "b,\t" }, { 'x"\n', 1.5 }, { "2", true } }
        stands_damage(name, value, function(v) return type(v) == "table" end)
      end)
    end)
  end

  describe("2,000 random values", function()
    local state = 7
    local function draw(n) -- 1 to n; Park and Miller's generator
      state = state * 48271 % 2147483647
      return state % n + 1
    end

    local function number()
      local kind = draw(6)
      if kind == 1 then return NUMBERS[draw(#NUMBERS)] end
      if kind == 2 then return draw(2000) - 1000 end
      if kind == 3 then return (draw(2 ^ 31) - 2 ^ 30) / draw(1000) end
      if kind == 4 then return draw(2 ^ 31) * draw(2 ^ 31) end
      return (draw(2 ^ 31) - 2 ^ 30) * 2 ^ (draw(2000) - 1000)
    end

    local LETTERS = { "a", "1", "0", ".", "-", "e", "E", "+", " ", '"', ",", "\t", "\r", "\n", "\0",
                      "é", "\\", "{", "$", "\239\187\191" }
    local function text()
      if draw(4) == 1 then return STRINGS[draw(#STRINGS)] end
      local out = {}
      for i = 1, draw(6) - 1 do out[i] = LETTERS[draw(#LETTERS)] end
      return table.concat(out)
    end

    local function scalar()
      local kind = draw(5)
      if kind == 1 then return draw(2) == 1 end
      if kind <= 3 then return number() end
      return text()
    end

    local function value(depth)
      local kind = depth == 0 and 1 or draw(4)
      if kind <= 2 then return scalar() end
      local t = {}
      for i = 1, draw(5) - 1 do t[kind == 3 and i or text()] = value(depth - 1) end
      return t
    end

    local function rows()
      local t, width = {}, draw(4)
      for i = 1, draw(5) - 1 do
        t[i] = {}
        for k = 1, width do t[i][k] = scalar() end
      end
      if draw(2) == 1 then
        t.columns = { "a" .. draw(9) }
        for k = 2, width do t.columns[k] = text() end
      end
      return t
    end

    local function list()
      local t = {}
      for i = 1, draw(5) - 1 do t[i] = value(2) end
      return t
    end

    for name, make in pairs { json = function() return value(4) end, records = list, csv = rows,
                              tsv = rows } do
      it("come back from " .. name .. " as they were", function()
        state = 7
        for i = 1, 2000 do
          local v = make()
          local f = format.get(name)
          local ok, message = f.save(v, path)
          assert.is_true(ok, message)
          local back
          back, message = f.load(path)
          if not same(v, back) then error(("value %d: %s: %q"):format(i, message or "differs",
            files.read(path)), 0) end
        end
      end)
    end
  end)
end)
