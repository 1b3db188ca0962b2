local files = require "spec.support.files"
local process = require "spec.support.process"

local json = require "mlua.json"

local function bench(...)
  return process.mlua { "tools/bench-parts/frame/main.lua", ... }
end

describe("tools/bench", function()
  it("lists what there is, one line each", function()
    local got = bench()
    assert.equal(0, got.status)
    for _, name in ipairs { "dlrm", "tiny", "embedding_bags", "dispatch", "startup", "linear" } do
      assert.matches("\n" .. name .. " +%S", "\n" .. got.out)
    end
  end)

  it("says what a misspelt name may have meant, with status 2", function()
    local got = bench("tny")
    assert.equal(2, got.status)
    assert.equal("mlua: no bench 'tny', did you mean 'tiny'?\n", got.err)
  end)

  it("prints one JSON object per line", function()
    local got = bench("dispatch", "--json", "--runs", "1")
    assert.equal(0, got.status, got.err)
    local count = 0
    for line in got.out:gmatch("[^\n]+") do
      count = count + 1
      local row = json.decode(line)
      assert.matches("^dispatch/", row.name)
      assert.equal("ns", row.unit)
      assert.is_true(row.ours > 0)
      assert.equal(1, row.runs)
    end
    assert.is_true(count >= 4)
  end)

  it("names a peer that is not there, and gives no ratio", function()
    local got = bench("tiny", "--peer", "--json", "--runs", "1", "--python", "/no/python")
    assert.equal(0, got.status, got.err)
    local said = got.err:gsub("WARNING: other processes[^\n]*\n", "") -- as they may
    assert.equal("peer: /no/python not found\n", said)
    assert.matches('"peer": null, "ratio": null, "ratio_fastest": null', got.out, 1, true)
    assert.matches('"peer_missing": "/no/python not found"', got.out, 1, true)
  end)
end)

describe("tools/compare-census", function()
  it("finds AUC and log loss within 0.002 of PyTorch's", function()
    local data = files.data("clicks/census.tsv")
    if not data then return pending("no clicks/census.tsv") end
    local got = process.mlua { "tools/compare-census.lua", "--data", data }
    if got.err:find("PyTorch not installed", 1, true) then
      return pending("PyTorch not installed")
    end
    assert.equal("", got.err)
    assert.equal(0, got.status, got.out)
    assert.matches("within 0.002", got.out, 1, true)
  end)
end)
