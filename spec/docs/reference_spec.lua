-- tools/docs: the reference as HTML. What LDoc finds wrong with a comment makes it fail.
local process = require "spec.support.process"
local sweep = require "spec.support.sweep"

local root = debug.getinfo(1, "S").source:match "^@(.*)spec/docs/" or ""

describe("the reference", function()
  it("is made without a complaint, and has every operation with its arguments", function()
    local made = process.run { (root == "" and "./" or root) .. "tools/docs" }
    assert.equal("", made.err)
    assert.equal(0, made.status)
    local index = made.out:match "^(.*)\n$"
    local f = assert(io.open((index:gsub("index.html$", "modules/mlua.op.html"))))
    local page = f:read "*a"
    f:close()
    for _, card in ipairs(sweep.cards()) do
      assert.is_truthy(page:find(('<a name = "%s"></a>'):format(card.name), 1, true), card.name)
    end
  end)
end)
