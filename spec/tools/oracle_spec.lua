local files = require "spec.support.files"
local process = require "spec.support.process"

local lfs = require "lfs"

local function oracle(...)
  return process.mlua { "tools/oracle.lua", ... }
end

describe("tools/oracle", function()
  local folder
  before_each(function() folder = files.folder() end)
  after_each(function() files.remove(folder) end)

  local data = files.data("dlrm-oracle")

  -- A copy of the smallest recorded run, changed by the function; its path.
  local function changed(change)
    local ml = require "mlua"
    local tensors, metadata = assert(ml.safetensors.load(data .. "/tiny-dot-mse-sgd.safetensors"))
    change(tensors, metadata, ml)
    local path = folder .. "/changed.safetensors"
    assert(ml.safetensors.save(path, tensors, metadata))
    return path
  end

  it("repeats every recorded run to within 1e-5", function()
    if not data then return pending("no dlrm-oracle folder") end
    local count = 0
    for name in lfs.dir(data) do
      if name:find("%.safetensors$") then
        count = count + 1
        local got = oracle(data .. "/" .. name)
        assert.equal("", got.err)
        assert.equal(0, got.status, got.out)
      end
    end
    assert.is_true(count > 0)
  end)

  it("ends with status 1 and names the tensor that differs", function()
    if not data then return pending("no dlrm-oracle folder") end
    local path = changed(function(tensors)
      local w = tensors["final.top_l.0.weight"]
      w:put(w:at(1, 1) + 0.01, 1, 1)
    end)
    local got = oracle(path)
    assert.equal(1, got.status)
    assert.matches("DIFFERENT", got.out, 1, true)
    assert.matches("top_l.0.weight", got.out, 1, true)
  end)

  it("takes NaN for a difference", function()
    if not data then return pending("no dlrm-oracle folder") end
    local path = changed(function(tensors) tensors["losses"]:put(0 / 0, 3) end)
    assert.equal(1, oracle(path).status)
  end)

  local function refused(change, message)
    if not data then return pending("no dlrm-oracle folder") end
    local path = changed(change)
    local got = oracle(path)
    assert.equal(2, got.status)
    assert.equal("", got.out)
    assert.equal("mlua: " .. path .. ": " .. message .. "\n", got.err)
  end

  it("refuses an unknown optimiser with one line and status 2", function()
    refused(function(_, metadata) metadata.optimizer = "adam" end,
      "metadata: optimizer: expected sgd or adagrad or rwsadagrad, got 'adam'")
  end)

  it("refuses a file without one of its tensors", function()
    refused(function(tensors) tensors["step7.label"] = nil end, "no tensor 'step7.label'")
  end)

  it("refuses a tensor of the wrong shape", function()
    refused(function(tensors, _, ml) tensors["init.bot_l.0.bias"] = ml.zeros(4) end,
      "tensor 'init.bot_l.0.bias': expected f32 [3], got f32 [4]")
  end)

  it("refuses offsets that go backwards", function()
    refused(function(tensors) tensors["step1.offsets.0"]:put(99, 2) end,
      "tensor 'step1.offsets.0': offset 99 at position 1, expected 0 to 11")
  end)

  it("refuses an id outside its table", function()
    if not data then return pending("no dlrm-oracle folder") end
    local path = changed(function(tensors) tensors["step0.indices.0"]:put(4, 1) end)
    local got = oracle(path)
    assert.equal(2, got.status)
    assert.matches("id 4 at position 0 is outside table 1's 0 to 3", got.err, 1, true)
    assert.equal(1, select(2, got.err:gsub("\n", "\n")))
  end)

  it("refuses what is no safetensors file", function()
    local path = files.write(folder .. "/text", "not a file of tensors")
    local got = oracle(path)
    assert.equal(2, got.status)
    assert.equal("", got.out)
    assert.equal(1, select(2, got.err:gsub("\n", "\n")))
  end)
end)
