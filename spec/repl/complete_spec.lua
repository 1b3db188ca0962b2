local ml = require "mlua"
local complete = require "mlua.repl.complete"

-- What is offered for the last word of a line.
local function offers(line)
  local found = complete(line, (line:find("[%w_]*$")))
  return type(found) == "table" and table.concat(found, " ") or found
end

describe("completion", function()
  setup(function() rawset(_G, "spec_x", ml.ones(2)) end)
  teardown(function() rawset(_G, "spec_x", nil) end)

  local function with(v, test)
    rawset(_G, "spec_v", v)
    test()
    rawset(_G, "spec_v", nil)
  end

  it("offers globals and keywords", function()
    assert.equal("collectgarbage", offers("coll"))
    assert.equal("repeat require return", offers("x = re"):gsub("rawget ", ""), nil)
    assert.equal("spec_x", offers("print(1 .. spec_"))
  end)

  it("offers fields, and after a colon functions alone", function()
    assert.equal("format", offers("string.for"))
    with({ fit = print, field = 1, inner = { { deep = 2 } }, _own = 1, ["no name"] = 1 }, function()
      assert.equal("field fit inner", offers("spec_v."))
      assert.equal("fit", offers("spec_v:f"))
      assert.equal("_own", offers("spec_v._"))
      assert.equal("deep", offers("f(spec_v.inner[1]."))
      assert.equal("", offers("spec_v.nothing."))
      assert.equal("", offers("f(spec_v)."))
    end)
  end)

  it("offers the methods of tensors, strings, files and modules", function()
    assert.equal("requires_grad", offers("spec_x:requ"))
    assert.equal("reshape", offers("(spec_x + spec_x:resh"))
    with("text", function() assert.equal("rep reverse", offers("spec_v:re")) end)
    with(io.stdout, function() assert.equal("seek setvbuf", offers("spec_v:se")) end)
    with(ml.nn.Linear.new { inputs = 1, outputs = 1 }, function()
      assert.equal("parameter parameters", offers("spec_v:para"))
    end)
  end)

  it("offers what modules load on first use, and loads it to look inside", function()
    with(ml, function()
      assert.truthy(offers("spec_v."):find(" optim ", 1, true))
      assert.equal("adam adamw", offers("spec_v.optim.adam"))
    end)
  end)

  it("runs no code of the user's", function()
    local function never() error "called" end
    with(setmetatable({ a = 1 }, { __index = never, __pairs = never, __metatable = false }),
      function()
        assert.equal("a", offers("spec_v."))
        assert.equal("", offers("spec_v.b."))
      end)
    with(setmetatable({}, { __index = setmetatable({ base = 1 }, { __index = { root = 1 } }) }),
      function() assert.equal("base root", offers("spec_v.")) end)
  end)

  it("leaves file names in strings to the terminal, and offers nothing in comments", function()
    assert.is_true(offers("dofile('rec"))
    assert.is_true(offers('print("it\'s \\"'))
    assert.is_true(offers("%load rec"))
    assert.equal("", offers("x = 1 -- pri"))
    assert.equal("print", offers("f('a', \"b\") + pri"))
  end)

  it("offers commands", function()
    assert.equal("time timeit", offers("%ti"))
  end)
end)
