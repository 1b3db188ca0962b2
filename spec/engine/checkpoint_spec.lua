-- Checkpoints: whole or not there, exact, and the newest whole one where others are damaged.
local checkpoint = require "mlua.checkpoint"
local files = require "spec.support.files"
local ml = require "mlua"
local store = require "mlua.ffi.store"

local dir

before_each(function() dir = files.folder() end)
after_each(function() files.remove(dir) end)

local function save(all, step, value, facts)
  assert.is_true(all:save(step, { ["model.w"] = ml.full(value, 3), b = ml.tensor({ { 1 } },
    { dtype = "i64" }) }, facts or { step = step }))
  assert.is_true(all:wait())
end

-- A byte of a file changed, at a place from its end.
local function change(path, from_end)
  local text = files.read(path)
  local at = #text - from_end
  files.write(path, text:sub(1, at - 1) .. string.char((text:byte(at) + 1) % 256)
    .. text:sub(at + 1))
end

describe("checkpoints", function()
  it("give back tensors and facts, numbers with all their bits", function()
    local all = assert(checkpoint.open(dir))
    local facts = { loss = 0.1 + 0.2, nothing = 0 / 0, most = math.huge, least = -math.huge,
                    tiny = 5e-324, list = { 1, 2.5 }, word = "x" }
    save(all, 7, 1.5, facts)
    local found = assert(assert(checkpoint.open(dir)):newest())
    assert.equal(7, found.step)
    assert.same({ 1.5, 1.5, 1.5 }, found.tensors["model.w"]:totable())
    assert.equal("i64", found.tensors.b:dtype())
    assert.is_true(found.facts.nothing ~= found.facts.nothing)
    found.facts.nothing, facts.nothing = nil, nil
    assert.same(facts, found.facts)
  end)

  it("hold what tensors were when save was called", function()
    local all, w = assert(checkpoint.open(dir)), ml.zeros(1000000)
    assert.is_true(all:save(1, { w = w }, {}))
    w:fill_(1)
    assert.is_true(all:wait())
    assert.equal(0, all:newest().tensors.w:sum():item())
  end)

  it("of which the newest are damaged give the one before, and say so", function()
    local all = assert(checkpoint.open(dir))
    for step = 1, 4 do save(all, step, step) end
    change(dir .. "/000000000004.safetensors", 3)
    change(dir .. "/000000000003.json", 90)
    local told = {}
    local found = assert(checkpoint.open(dir)):newest(function(line) told[#told + 1] = line end)
    assert.equal(2, found.step)
    assert.matches("000000000004.safetensors: damaged: its %d+ bytes have not the digest", told[1])
    assert.matches("000000000003.json: damaged", told[2])
  end)

  it("are found damaged wherever a bit or the end is missing", function()
    local all = assert(checkpoint.open(dir))
    save(all, 1, 1)
    for _, name in ipairs { "000000000001.json", "000000000001.safetensors" } do
      local path = dir .. "/" .. name
      local text = files.read(path)
      for at = 1, #text, 7 do
        files.write(path, text:sub(1, at - 1)
          .. string.char(require "bit".bxor(text:byte(at), 2 ^ (at % 8))) .. text:sub(at + 1))
        assert.is_nil(assert(checkpoint.open(dir)):read(1), name .. " " .. at)
        files.write(path, text:sub(1, at - 1))
        assert.is_nil(assert(checkpoint.open(dir)):read(1), name .. " cut " .. at)
      end
      files.write(path, text)
    end
    assert.truthy(assert(checkpoint.open(dir)):read(1))
  end)

  it("that were cut short name the file and where it ends", function()
    local all = assert(checkpoint.open(dir))
    save(all, 1, 1)
    local function each_length(path, check)
      local text = files.read(path)
      for n = 0, #text - 1 do
        files.write(path, text:sub(1, n))
        local found, why, damaged = assert(checkpoint.open(dir)):read(1)
        assert.same({ nil, true }, { found, damaged })
        check(n, why)
      end
      files.write(path, text)
    end
    local record, tensors = dir .. "/000000000001.json", dir .. "/000000000001.safetensors"
    each_length(record, function(n, why)
      assert.equal(("%s: damaged: offset %d: it ends before its digest does"):format(record, n),
        why)
    end)
    each_length(tensors, function(_, why)
      assert.equal(tensors .. ": damaged: offset ", why:match "^(.-offset )%d+: ")
    end)
  end)

  it("that could not be read now are not taken for damaged", function()
    local all = assert(checkpoint.open(dir))
    save(all, 1, 1)
    save(all, 2, 2)
    os.remove(dir .. "/verified")
    store.fail_at("open", 1, 5)
    local fresh = assert(checkpoint.open(dir))
    store.fail_at("map", 1, 12)
    local found, why = fresh:newest()
    store.fail_at(nil)
    assert.is_nil(found)
    assert.matches("000000000002.safetensors: Cannot allocate memory", why)
    assert.same({ 2, 1 }, fresh:steps())
    fresh:drop_after(1)
    assert.same({ 1 }, fresh:steps())
  end)

  it("go when there are newer ones, but for those that are kept", function()
    local all = assert(checkpoint.open(dir))
    for step = 1, 5 do save(all, step * 10, step) end
    all:prune(2, { [20] = true })
    assert.same({ 50, 40, 20 }, all:steps())
    files.write(dir .. "/000000000090.safetensors", "left over")
    all:prune(2, { [20] = true })
    assert.is_false(files.exists(dir .. "/000000000090.safetensors"))
  end)

  it("tell the failure of one with the next call, and keep those before", function()
    local all = assert(checkpoint.open(dir))
    save(all, 1, 1)
    store.fail_at("rename", 1, 28)
    assert.is_true(all:save(2, { w = ml.zeros(3) }, {}))
    local ok, why = all:wait()
    store.fail_at(nil)
    assert.is_nil(ok)
    assert.matches("000000000002.safetensors: No space left on device %(rename", why)
    assert.equal(1, all:newest().step)
    save(all, 2, 2)
    assert.equal(2, all:newest().step)
  end)
end)
