-- Methods and functions of tensors that a module of their own defines, loaded on first use.
local later = require "mlua.tensor.later"
local ml = require "mlua"

local function words(text)
  local list = {}
  for word in (text or ""):gmatch "%S+" do list[#list + 1] = word end
  return list
end

local function keys(t)
  local list = {}
  for key in pairs(t or {}) do list[#list + 1] = key end
  table.sort(list)
  return list
end

describe("what is loaded on first use", function()
  for module, names in pairs(later) do
    it("lists all that " .. module .. " defines, and nothing else", function()
      local defined = require(module)
      assert.same(keys(defined.methods), words(names.methods))
      assert.same(keys(defined.functions), words(names.functions))
    end)

    it("is found by name in tensors and in ml: " .. module, function()
      local defined, x = require(module), ml.zeros(1)
      for _, name in ipairs(words(names.methods)) do
        assert.equal(defined.methods[name], x[name])
        assert.equal((defined.functions or {})[name] or defined.methods[name], ml[name])
      end
      for _, name in ipairs(words(names.functions)) do
        assert.equal(defined.functions[name], ml[name])
      end
    end)
  end

  it("is not loaded by the library alone, nor by arithmetic", function()
    local program = ([[
      local ml = require "mlua"
      local x = ml.randn(2, 3):requires_grad()
      ml.relu(x * x + 1):sum():backward()
      for module in pairs(require "mlua.tensor.later") do
        assert(not package.loaded[module], module)
      end
      assert(x.tril and package.loaded["mlua.tensor.arrange"])
    ]]):gsub("\n", " ")
    local result = require("spec.support.process").mlua { "-e", program }
    assert.equal("", result.err)
    assert.equal(0, result.status)
  end)
end)
