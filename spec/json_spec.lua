local json = require "mlua.json"
local files = require "spec.support.files"

describe("json", function()
  it("writes the shortest text of a number that reads back as the same double", function()
    assert.equal("0.1", json.number(0.1))
    assert.equal("0.3333333333333333", json.number(1 / 3))
    assert.equal("0.30000000000000004", json.number(0.1 + 0.2))
    assert.equal("1e+300", json.number(1e300))
    assert.equal("1000000000000000", json.number(1e15))
    assert.equal("9007199254740991", json.number(2 ^ 53 - 1))
    assert.equal("-0", json.number(-0))
  end)

  it("loses no bit of thousands of doubles, large, small and below the normal ones", function()
    local random = math.random
    math.randomseed(5)
    for i = 1, 4000 do
      local x = (random() - 0.5) * 2 ^ random(-1060, 1000)
      assert(json.decode(json.encode { x })[1] == x, json.number(x))
      assert(i > 0 and tonumber(json.number(x)) == x)
    end
  end)

  it("writes NaN and infinities as null, or as strings where asked", function()
    local values = { 0 / 0, 1 / 0, -1 / 0 }
    assert.equal("[null,null,null]", json.encode(values))
    assert.equal('["NaN","Infinity","-Infinity"]', json.encode(values, { nonfinite = "string" }))
    local function signs(x) return x ~= x and "0" or x > 0 and "1" or "-1" end
    assert.equal("[0,1,-1]", json.encode(values, { nonfinite = signs }))
    assert.error_matches(function() json.encode(values, { nonfinite = "nul" }) end,
      "nonfinite: expected 'null', 'string' or a function, got 'nul'", 1, true)
  end)

  it("sorts keys, and tells arrays from objects", function()
    assert.equal('{"a":[1,2],"b":{"x":null},"c":{},"d":[]}',
      json.encode { d = json.array(), c = {}, b = { x = json.null }, a = { 1, 2 } })
  end)

  it("indents where asked", function()
    assert.equal('{\n  "a": [\n    1,\n    2\n  ],\n  "b": {}\n}',
      json.encode({ a = { 1, 2 }, b = {} }, { indent = 2 }))
  end)

  it("escapes quotes, backslashes and control characters, and leaves UTF-8 alone", function()
    assert.equal([["a\"\\\n\u0001\u0000é"]], json.encode('a"\\\n\1\0é'))
    assert.equal('a"\\\n\1\0é', json.decode(json.encode('a"\\\n\1\0é')))
  end)

  it("writes 64-bit integers digit by digit", function()
    assert.equal("[-9223372036854775807,18446744073709551615]",
      json.encode { -9223372036854775807LL, 18446744073709551615ULL })
  end)

  it("names the path of what cannot be written", function()
    assert.error_matches(function() json.encode { a = { { b = print } } } end,
      "bad argument #1 to 'encode' (a[1].b: a function cannot be JSON)", 1, true)
    assert.error_matches(function() json.encode { a = { 1, x = 2 } } end,
      "a: a table must have the keys 1..n or strings alone", 1, true)
    local loop = {}
    loop.loop = loop
    assert.error_matches(function() json.encode(loop) end, "deeper than 100 levels", 1, true)
  end)

  it("reads as many levels as it writes: 100, and no more of either", function()
    local function nested(levels)
      local t = {}
      for _ = 2, levels do t = { t } end
      return t
    end
    assert.same(nested(100), json.decode(json.encode(nested(100))))
    assert.error_matches(function() json.encode(nested(101)) end, "deeper than 100 levels", 1, true)
    assert.is_nil((json.decode(("["):rep(101) .. ("]"):rep(101))))
  end)

  it("takes no zero byte for the end of the text", function()
    local value, message = json.decode('{"a": 1}\n\0[', "x.json")
    assert.is_nil(value)
    assert.equal("x.json:2: a zero byte at character 10", message)
    assert.same({ nil, "json:1: a zero byte at character 2" }, { json.decode "1\0" })
  end)

  it("refuses unknown options with what was meant", function()
    assert.error_matches(function() json.encode({}, { indnt = 2 }) end, "did you mean 'indent'",
      1, true)
  end)

  it("says name and line of text that is not JSON", function()
    local value, message = json.decode('{"a": 1,\n "b": }', "x.json")
    assert.is_nil(value)
    assert.matches("^x.json:2: expected value but found", message)
    for _, text in ipairs { "", "[", "[1,]", "nul", "[NaN]", "[1] 2", "'a'", ("["):rep(1000) } do
      local got, why = json.decode(text)
      assert.is_nil(got)
      assert.matches("^json:1: ", why)
    end
  end)

  it("reads files, and names path and cause", function()
    local folder = files.folder()
    assert.same({ a = 1 }, json.load(files.write(folder .. "/a", '{"a": 1}')))
    local value, message = json.load(folder .. "/b")
    assert.is_nil(value)
    assert.equal(folder .. "/b: No such file or directory", message)
    files.remove(folder)
  end)
end)
