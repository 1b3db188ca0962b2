-- The log: which lines destinations take, by level and module, and lines of C's threads among them.
local fail = require "mlua.fail"
local files = require "spec.support.files"
local process = require "spec.support.process"

-- What a script that has `log` says on the console, and what the file gets.
local function said(script)
  local folder = files.folder()
  files.write(folder .. "/s.lua", [[
    local log = require "mlua.log"
    local file = io.open("file", "w")
    local function write(line) file:write(line) end
    local function rules(...) assert(log.configure { ... }) end
    local engine, loader = log.of "engine", log.of "data.loader"
  ]] .. script .. "\nfile:close()")
  local r = process.mlua({ folder .. "/s.lua" }, { cwd = folder })
  local file = files.read(folder .. "/file")
  files.remove(folder)
  assert.equal(0, r.status, r.err)
  return r.err, file
end

describe("the log", function()
  it("takes info lines, and debug lines where rules ask for them", function()
    assert.equal("mlua: b 1\n", (said [[engine.debug "a"; engine.info("b %d", 1)]]))
    assert.equal("mlua: engine: a\n", (said [[rules "debug"; engine.debug "a"]]))
    assert.equal("mlua: c %d\n", (said [[rules "warn"; engine.info "b"; engine.warn "c %d"]]))
  end)

  it("goes by the longest name of a module that has a rule", function()
    assert.equal("mlua: data.loader: b\n", (said [[
      rules("warn", "data=debug"); engine.info "a"; loader.debug "b"; loader.trace "c"]]))
    assert.equal("mlua: e\n", (said [[
      rules("data=debug", "data.loader=off"); loader.error "a"; engine.error "e"]]))
  end)

  it("has rules of their own for the files of runs, whose lines have the time", function()
    local console, file = said [[
      log.open(write); rules("off", "file:warn", "file:data=trace")
      engine.info "a"; engine.warn "two\nlines"; loader.trace "c"
      log.close(write); engine.error "not there"]]
    assert.equal("", console)
    local stamp = "%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ "
    assert.matches("^" .. stamp .. "warn  engine: two\n  lines\n" .. stamp
      .. "trace data%.loader: c\n$", file)
  end)

  it("keeps what the program prints for the files", function()
    local _, file = said [[log.open(write); log.output "a"; log.output "b\nc\nd"]]
    assert.matches("output: ab\n[^\n]*output: c\n$", file)
  end)

  it("writes what has no line's end when a run ends, and not into the next one's", function()
    local _, file = said [[
      log.open(write); log.output "of the first"; log.close(write)
      log.open(write); log.output "of the second\n"; log.close(write)]]
    assert.matches("output: of the first\n[^\n]*output: of the second\n$", file)
  end)

  it("takes long lines in time that grows with their length", function()
    local _, file = said [[
      log.open(write)
      for _ = 1, 200 do log.output(("x"):rep(10000)) end
      log.output(("y"):rep(1000000) .. "\n")
      log.close(write)]]
    assert.equal(3e6, select(2, file:gsub("[xy]", "")))
  end)

  it("takes in the lines of threads, with where they come from, and counts those lost", function()
    local _, file = said [[
      log.open(write); rules "file:debug"
      local clicks = require "mlua".data.clicks
      local set = assert(clicks.open("synthetic", { rows = 4000, cache = false }))
      local loader = assert(set.train:loader { batch = 512, workers = 2 })
      for epoch = 0, 299 do for _ in loader:epoch(epoch) do end end
      loader:close()
      log.close(write)]]
    assert.matches("debug data%.loader %[worker [12]%]: epoch %d+: %d+ blocks of 1 batches", file)
    local n = select(2, file:gsub("\n", "\n"))
    local lost = tonumber(file:match "warn  log: (%d+) lines of threads were lost")
    assert.is_true(n <= 257 and lost > 0, n .. " lines")
  end)

  it("refuses what is no rule", function()
    local log = require "mlua.log"
    assert.same({ nil, "'inof': expected a level, one of off, error, warn, info, debug or trace, "
      .. "did you mean 'info'?" }, { log.configure { "inof" } })
    assert.same({ nil, "'disk:info': expected console: or file:, got 'disk:'" },
      { log.configure { "disk:info" } })
    local ok, e = pcall(log.set, { "a=b=c" }, "--log-level")
    assert.is_false(ok)
    assert.is_true(fail.is_user(e))
  end)
end)
