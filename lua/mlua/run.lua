--- Runs: a folder for each training, which only mlua writes.
--
--     run.json          what it is: task, identity, configuration, command, versions, machine, git
--     config.yaml       the configuration, with where each value came from
--     config/           the files that it was read from, as they were
--     source/           the script, as it was
--     diff.patch        what the recipe's repository had that was not committed
--     log.txt           what was said
--     metrics.jsonl     a line for each report: step, epoch, what was measured, seconds, bytes
--     checkpoints/      mlua.checkpoint
--     first.safetensors the weights that it began with
--     outputs/          what its task gave (mlua.run.outputs)
--
-- A run of a task belongs to its identity (parameters that count, code, inputs): the same command
-- goes on with the one that was interrupted; another one makes another. `--run DIR` names the
-- folder, `--new` begins anew. One process at a time has a run: a lock that dies with it.
-- @module mlua.run
local check = require "mlua.check"
local checkpoint = require "mlua.checkpoint"
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local hash = require "mlua.ffi.hash"
local json = require "mlua.json"
local log = require "mlua.log"
local store = require "mlua.ffi.store"

local M = {}

local say, warn = log.of "run", log.of "engine".warn
local FORMAT = 1
local LARGEST_DIFF = 16 * 2 ^ 20

local Run = {}
Run.__index = Run

local function now() return os.date("!%Y-%m-%dT%H:%M:%SZ") end

local function write(path, text) fail.assert(store.put(path, text)) end

-- Whole or not there, but not durable: a training begins at once, and loses nothing to a crash of
-- the machine until there is a checkpoint.
local function write_soon(path, text)
  local file = fail.assert(store.create(path))
  fail.assert(file:write(text))
  fail.assert(file:finish())
end

-- -- what is recorded --------------------------------------------------------------------------

local function machine()
  local core = require "mlua.ffi"
  local name = io.open "/proc/sys/kernel/hostname"
  local host = name and name:read "*l"
  if name then name:close() end
  return { host = host, os = jit.os, arch = jit.arch, threads = core.C.ml_threads() }
end

-- Asks git about a script's repository; it answers while training goes on. The patch is a patch,
-- whatever the user's git shows.
local function ask_git(script, dir)
  local process = require "mlua.ffi.process"
  local folder = script and (script:match "^(.*)/[^/]*$" or ".") or "."
  local patch = dir .. "/diff.patch"
  return {
    commit = process.spawn { "git", "-C", folder, "rev-parse", "HEAD" },
    patch = process.spawn({ "git", "-C", folder, "diff", "--no-ext-diff", "--no-textconv",
                            "--no-color", "HEAD" }, patch, LARGEST_DIFF),
  }
end

-- What it said; nil where there is no repository, or no git.
local function answer_of(git, dir)
  local known, commit = false, nil
  if git.commit then known, commit = git.commit:finish() end
  if git.patch then git.patch:finish() end
  local size = files.size(dir .. "/diff.patch")
  if size == 0 then os.remove(dir .. "/diff.patch") end
  if not known then return nil end
  return { commit = commit:match "^%x+", changed = size ~= false and size > 0 }
end

-- -- folders -----------------------------------------------------------------------------------

local function read_record(dir)
  if files.look(dir .. "/run.json") ~= "file" then return nil end
  local document, why = json.load(dir .. "/run.json")
  if type(document) ~= "table" then fail.run("%s", why or dir .. "/run.json: damaged") end
  return document
end

local function text_of(record)
  return json.encode(record, { indent = 2, nonfinite = "string" }) .. "\n"
end

local function save_record(self) write(self.dir .. "/run.json", text_of(self.record)) end

-- That nobody else writes there while this process lives. nil, message where it has no lock.
local function lock(dir)
  local locks, why = files.locks(dir .. "/.lock")
  if not locks then return nil, why end
  local taken
  taken, why = locks:take(hash.sha256 "run")
  if taken == nil then return nil, why end
  if not taken then return nil, ("%s: another process has this run at work"):format(dir) end
  return locks
end

-- A new folder, locked, whose name says when, and what is not as by default. It is made here, so
-- that nobody else has it; until it is locked, another process may sweep it, being empty.
local function new_folder(root, words)
  local name = os.date "%Y-%m-%d-%H%M%S"
  words = (words or ""):gsub("[^%w=.,_-]+", "-"):sub(1, 60):gsub("%-+$", "")
  if words ~= "" then name = name .. "-" .. words end
  fail.assert(files.make_folders(root))
  local path, n = root .. "/" .. name, 1
  while true do
    local made, why = files.new_folder(path)
    if made then
      local locks
      locks, why = lock(path)
      if locks then return path, locks end
      require "lfs".rmdir(path)
      if files.look(path) then fail.run("%s", why) end
    elseif made == nil then
      fail.run("%s", why)
    end
    n = n + 1
    path = ("%s/%s-%d"):format(root, name, n)
  end
end

-- Where runs of a task lie, and the file that knows the one of an identity.
local function places(root, task, identity)
  return root .. "/" .. task, ("%s/%s/.of/%s"):format(root, task, identity)
end

-- The record of one of many folders: nil, too, where it is torn.
local function try_record(dir)
  local document = files.look(dir .. "/run.json") == "file" and json.load(dir .. "/run.json")
  return type(document) == "table" and document or nil
end

-- What the making of a run writes.
local OWN = {
  [".lock"] = true, ["config.yaml"] = true, config = true, ["diff.patch"] = true,
  ["run.json"] = true, checkpoints = true, ["log.txt"] = true, ["metrics.jsonl"] = true,
  ["first.safetensors"] = true, ["first.json"] = true, source = true,
}

-- Whether a folder is what the making of a run left that was broken off: nobody has it, and there
-- is nothing in it to lose, nothing of anybody else's above all. A crash of the machine may have
-- torn its record.
local function is_left_over(dir)
  if not files.look(dir .. "/.lock") or try_record(dir) then return false end
  for _, name in ipairs(files.list(dir) or {}) do
    if not OWN[name] and not name:find "%.mlua%-%d+%-%d+%.tmp$" then return false end
  end
  for _, name in ipairs(files.list(dir .. "/checkpoints") or {}) do
    if name:find "%.json$" then return false end
  end
  local locks = files.locks(dir .. "/.lock")
  return locks and locks:take(hash.sha256 "run") and locks or false
end

-- The folder of the run of an identity: where the index says, or wherever below it was moved to.
-- One that is there and is not this run any more is told.
local function find(folder, index, identity)
  local file = io.open(index)
  if not file then return nil end
  local name = file:read "*l" or ""
  file:close()
  local named = name:find "^%w[^/%z]*$" and folder .. "/" .. name -- beneath the folder, or nowhere
  local record = named and try_record(named)
  if record and record.identity == identity then return named, record end
  for _, each in ipairs(files.list(folder) or {}) do
    local other = try_record(folder .. "/" .. each)
    if other and other.identity == identity then return folder .. "/" .. each, other end
  end
  if not named or not files.look(named .. "/checkpoints") then return nil end
  warn("%s: %s; a new run begins, and this one is left as it is", named .. "/run.json",
    record and "of another identity than it was" or "missing or damaged")
end

local function refuse(dir, record, config)
  local diff = require "mlua.config.diff"
  local d = diff.of(record.config or {}, config, { ignore = {} })
  local what = diff.empty(d) and "its code or its inputs are others now\n" or diff.text(d)
  fail.usage("%s is a run of another configuration:\n%s--new, or another folder, begins a new one",
    dir, what)
end

-- What was left of runs whose making was broken off: folders without a record that nobody has.
local function sweep(folder)
  for _, name in ipairs(files.list(folder) or {}) do
    local dir = folder .. "/" .. name
    if not name:find "^%." then
      require "lfs".rmdir(dir) -- where it is empty
      if is_left_over(dir) then files.remove(dir) end
    end
  end
end

-- The script as it is now: git may not know of it.
local function copy_source(dir, script)
  if not script or files.look(script) ~= "file" then return end
  local file = io.open(script, "rb")
  local text = file and file:read(LARGEST_DIFF)
  if file then file:close() end
  if not text then return end
  fail.assert(files.make_folders(dir .. "/source"))
  write_soon(dir .. "/source/" .. script:match "[^/]*$", text)
end

-- The record is written last: until then the folder is no run.
local function create(dir, locks, o)
  local self = setmetatable({ dir = dir, lock = locks, continued = false }, Run)
  self.record = {
    format = FORMAT, name = dir:match "([^/]+)/*$", task = o.task, identity = o.identity,
    config = o.config, status = "running", started = now(), continued = json.array(),
    command = o.command, folder = require "lfs".currentdir(), machine = machine(),
    versions = { mlua = require "mlua.ffi".version(), lua = jit.version },
  }
  self.git = ask_git(o.script, dir)
  self.parts = { { dir .. "/config.yaml", o.yaml } } -- made durable with the first checkpoint
  if o.yaml then write_soon(dir .. "/config.yaml", o.yaml) end
  for _, path in ipairs(o.files or {}) do
    fail.assert(files.make_folders(dir .. "/config"))
    local file = fail.assert(io.open(path, "rb"))
    write_soon(dir .. "/config/" .. path:match "[^/]*$", file:read "*a")
    file:close()
  end
  copy_source(dir, o.script)
  write_soon(dir .. "/run.json", text_of(self.record))
  return self
end

local function continue(dir, record)
  local self = setmetatable({ dir = dir, lock = fail.assert(lock(dir)), continued = true }, Run)
  record = read_record(dir) or record -- as it is now that nobody else writes it
  self.record = record
  record.continued = record.continued or {}
  table.insert(record.continued, now())
  record.status = "running"
  save_record(self)
  return self
end

-- A disk that takes no more lines ends no training: what counts, says so by itself.
local function open_log(self)
  local file = fail.assert(store.append(self.dir .. "/log.txt"))
  local told = false
  self.log = function(line)
    local ok, why = file:write(line)
    if ok or told then return end
    told = true -- first: the line that follows comes here, too
    warn("%s; lines of the log are lost", why)
  end
  self.log_file = file
  log.open(self.log)
end

--- The run of an identity: one that was interrupted, or a new one.
-- @tparam table o  task, a word; identity, text; config, a tree; root, the folder of all runs;
--   dir, this one's own; new, whether to begin anew; recorded, whether its result is known, so that
--   one that is done is not gone on with, but made again; words, for its name; command, a list;
--   script, a path; yaml, the configuration as text; files, that it was read from
-- @treturn Run  fields: dir, continued, checkpoints
function M.open(o)
  o = check.options(o, { task = "string", identity = "string", config = "table", root = "string",
    dir = "string", new = "boolean", recorded = "boolean", words = "string", command = "table",
    script = "string", yaml = "string", files = "table" }, 1, "open")
  local folder, index = places(o.root or ".mlua/runs", o.task, o.identity)
  local dir, record = o.dir, nil
  if dir then
    if is_left_over(dir) then files.remove(dir) end
    record = read_record(dir)
    if record and o.new then
      fail.usage("--new: %s is a run already, which is never overwritten; name another folder", dir)
    end
    if record and record.identity ~= o.identity then refuse(dir, record, o.config) end
    if not record and #(files.list(dir) or {}) > 0 then
      fail.usage("--run %s: has files already, and is no run", dir)
    end
  elseif not o.new then
    dir, record = find(folder, index, o.identity)
    if record and record.status == "done" and o.recorded then dir, record = nil, nil end
  end
  local self
  if record then
    self = continue(dir, record)
  else
    local locks
    if dir then
      fail.assert(files.make_folders(dir))
      locks = fail.assert(lock(dir))
    else
      sweep(folder)
      fail.assert(files.make_folders(folder .. "/.of"))
      dir, locks = new_folder(folder, o.words)
      write_soon(index, dir:match "[^/]*$" .. "\n")
    end
    self = create(dir, locks, o)
    if not o.dir then table.insert(self.parts, { index, dir:match "[^/]*$" .. "\n" }) end
  end
  self.checkpoints = fail.assert(checkpoint.open(dir .. "/checkpoints"))
  self.metrics_path = dir .. "/metrics.jsonl"
  open_log(self)
  say.info(self.continued and "continued" or "started")
  return self
end

-- -- while it runs -----------------------------------------------------------------------------

local function metrics_file(self)
  if self.finished then fail.run("%s: this run has ended", self.dir) end
  self.metrics = self.metrics or fail.assert(store.append(self.metrics_path))
  return self.metrics
end

--- Add a line to the metrics.
-- @tparam table values
function Run:report(values)
  fail.assert(metrics_file(self):write(json.encode(values, { nonfinite = "string" }) .. "\n"))
end

--- Bytes of metrics so far: what a checkpoint stands on.
-- @treturn number
function Run:position() return metrics_file(self):size() end

--- Make durable what says that the folder is a run, as its first checkpoint is about to be.
function Run:settle()
  if not self.parts then return end
  self.record.git = answer_of(self.git, self.dir)
  self.record.versions = require "mlua.ffi.versions".all()
  for _, part in ipairs(self.parts) do
    if part[2] then write(part[1], part[2]) end
  end
  save_record(self)
  self.parts, self.git = nil, nil
end

--- Drop what was reported after a position.
-- @tparam number position
function Run:cut(position)
  if self.metrics then self.metrics:close() end
  self.metrics = nil
  local size = files.size(self.metrics_path) or 0
  if size > position then fail.assert(files.truncate(self.metrics_path, position)) end
  if size < position then
    warn("%s: %d bytes are missing", self.metrics_path, position - size)
  end
end

--- Forget which runs belong to identities: their next is a new one.
-- @tparam string root         the folder of all runs
-- @tparam {string,...} ids
function M.forget(root, ids)
  for _, task in ipairs(files.list(root) or {}) do
    for _, id in ipairs(ids) do os.remove(("%s/%s/.of/%s"):format(root, task, id)) end
  end
end

--- Say how it ended: "done", "stopped" or "failed". It goes on no more.
-- @tparam string status
-- @tparam ?table result  what came of it
function Run:finish(status, result)
  self:settle()
  self.record.result = result
  self.record.status, self.record.ended = status, now()
  save_record(self)
  say.info(status)
  log.close(self.log)
  self.log_file:close()
  if self.metrics then self.metrics:close() end
  self.metrics, self.finished = nil, true
end

--- Say that it failed, unless it has ended. What stands in the way of that is not told: there is a
-- failure to tell of.
-- @tparam string why
function Run:fail(why)
  if self.finished then return end
  say.error("%s", why)
  pcall(self.finish, self, "failed")
  log.close(self.log)
end

return M
