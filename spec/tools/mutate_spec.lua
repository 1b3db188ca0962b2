local process = require "spec.support.process"

-- The campaign itself builds a copy of the tree: a command of its own.
describe("tools/mutate", function()
  it("finds every kind of mistake, in cards and in C", function()
    local got = process.run({ "tools/mutate", "--list" })
    assert.equal(0, got.status, got.err)
    local kinds, n, where = {}, 0, {}
    for line in got.out:gmatch "[^\n]+" do
      local file, kind = line:match "^(core/op/[%w_]+%.l?u?[ac]):%d+: (%w+): "
      assert.is_not_nil(file, line)
      kinds[kind], where[file:match "%w+$"], n = true, true, n + 1
    end
    assert.is_true(n > 1000)
    assert.same({ sign = true, bound = true, term = true, operand = true, constant = true,
                  comparison = true }, kinds)
    assert.same({ lua = true, c = true }, where)
  end)

  it("refuses other words with status 2", function()
    local got = process.run({ "tools/mutate", "--seeds", "5" })
    assert.equal(2, got.status)
    assert.equal("mutate: --seeds: expected --seed N, --count N, --from K or --list\n", got.err)
  end)
end)
