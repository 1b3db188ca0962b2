-- A training whose disk is full, and one whose checkpoints were cut short: what is told, what is
-- left, and that it goes on to the same bits. The disk is a small one in memory.
local files = require "spec.support.files"
local json = require "mlua.json"
local process = require "spec.support.process"

local lfs = require "lfs"

local TRAINING = files.read "spec/support/training.lua"
local PAGE = 4096

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

-- { status, err, result } of the training with its run in `dir`, its results elsewhere.
local function train(dir, options)
  files.write(folder .. "/training.lua", TRAINING) -- of no repository, whose changes take room
  local r = process.run({ process.program(), "training.lua", "--json", "--rows", "2000",
    "--run", dir, unpack(options or {}) }, { cwd = folder, env = { MLUA_STORE = folder .. "/store",
    MLUA_THREADS = "1", MLUA_STORE_FAULT = options and options.fault or false } })
  local ok, document = pcall(json.decode, r.out:match "([^\n]*)\n*$" or "")
  r.result = ok and type(document) == "table" and json.encode(document.outputs) or nil
  files.remove(folder .. "/store")
  return r
end

local function whole_checkpoints(dir)
  local n = 0
  for name in (files.exists(dir) and lfs.dir or function() return function() end end)(dir) do
    if name:find "^%d+%.json$" then
      local step = tonumber(name:match "^%d+")
      assert.truthy(assert(require "mlua.checkpoint".open(dir)):read(step), name)
      n = n + 1
    end
  end
  return n
end

describe("a disk that is full", function()
  local disk, mounted
  setup(function()
    disk = files.folder()
    mounted = process.run({ "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk }).status == 0
  end)
  teardown(function()
    if mounted then process.run { "umount", "-l", disk } end
    files.remove(disk)
  end)

  it("ends training with path, bytes needed and free; once there is space, it goes on", function()
    if not mounted then return pending "no file system may be mounted here" end
    local expected = train(folder .. "/undisturbed").result
    local kept = 0
    for _, pages in ipairs { 4, 8, 11, 13, 16, 20 } do
      local run = disk .. "/run"
      files.write(disk .. "/fill", ("x"):rep(2 ^ 20 - pages * PAGE))
      local r = train(run)
      assert.equal(1, r.status)
      local needed, free = r.err:match("mlua: Train: " .. run
        .. "/[%w./]+: No space left on device %(%l+; (%d+) bytes needed, (%d+) free%)")
      assert.is_true(tonumber(needed) > 0 and tonumber(free) < pages * PAGE, r.err)
      local left = whole_checkpoints(run .. "/checkpoints")
      if left > 0 then kept = kept + 1 end
      train(run) -- what it clears away may be enough for one more
      local left_again = whole_checkpoints(run .. "/checkpoints")
      assert.is_true(left_again >= left)
      os.remove(disk .. "/fill")
      r = train(run)
      assert.equal(0, r.status, r.err)
      assert.equal(left_again > 0, r.err:find "goes on at step [1-9]" ~= nil,
        ("%d and %d left: %s"):format(left, left_again, r.err))
      assert.equal(expected, r.result)
      files.remove(run)
    end
    assert.is_true(kept >= 3)
  end)
end)

describe("a log that cannot be written", function()
  it("is told once, and training goes on", function()
    local lost = 0
    for n = 1, 8 do -- configuration, record, the log's first line, ...
      local r = train(folder .. "/run" .. n, { fault = ("write:%d:28"):format(n) })
      local at = r.err:find("/run" .. n .. "/log.txt: No space left on device (write; ", 1, true)
      if at then
        assert.equal(0, r.status)
        assert.matches("; lines of the log are lost\n", r.err:sub(at))
        assert.is_string(r.result)
        lost = lost + 1
      end
    end
    assert.equal(1, lost)
  end)
end)

describe("a checkpoint that was cut short", function()
  it("is told with file and offset, and the one before it taken, to the same bits", function()
    local expected = train(folder .. "/undisturbed").result
    assert.equal(137, train(folder .. "/run", { fault = "rename:24:KILL" }).status)
    local newest
    for name in lfs.dir(folder .. "/run/checkpoints") do
      local step = name:match "^(%d+)%.json$"
      if step and step > (newest or "") then newest = step end
    end
    for _, ending in ipairs { "json", "safetensors" } do
      local path = ("%s/run/checkpoints/%s.%s"):format(folder, newest, ending)
      local size = #files.read(path)
      for k = 0, 24 do
        local n = math.floor(k * (size - 1) / 24)
        local copy = folder .. "/copy"
        process.run { "cp", "-r", folder .. "/run", copy }
        local cut = ("%s/checkpoints/%s.%s"):format(copy, newest, ending)
        files.write(cut, files.read(cut):sub(1, n))
        local r = train(copy)
        assert.equal("mlua: " .. cut .. ": damaged: offset ", r.err:match "(mlua: .-offset )%d+: ")
        assert.matches("; the checkpoint before it is taken\n", r.err, 1, true)
        assert.equal(expected, r.result)
        files.remove(copy)
      end
    end
  end)
end)
