--- The rows of results, in SQLite: what was made, of what, when, how long it took.
--
-- Why a database and not a file for each: ten thousand of them are looked at in a tenth of a
-- second, several processes write at once, and a group of rows is one fsync. What every plan looks
-- up lies close together; what explains it is in a table of its own.
--
-- A row's key is the first 52 bits of its identity, which it holds in full, sealed with its outputs
-- by a digest: a row that was damaged is no row.
-- @module mlua.store.results
local hash = require "mlua.ffi.hash"
local json = require "mlua.json"
local sqlite = require "mlua.ffi.sqlite"

local M = {}

local Results = {}
Results.__index = Results

local SCHEMA = [[
  create table if not exists result (key integer primary key, sealed text not null,
    outputs text not null);
  create table if not exists detail (key integer primary key, task text not null,
    time real not null, seconds real not null, detail text not null);
  create index if not exists by_task on detail (task, time);
  create table if not exists code (digest text primary key, parts text not null) without rowid;
  create table if not exists file (path text primary key, stamp text not null, size real not null,
    digest text not null) without rowid;
  create table if not exists flow (name text primary key, time real not null, ids text not null)
    without rowid;
]]
local VERSION = 1

-- What to do about a database that was damaged: SQLite's codes 11 and 26, and 1 for its tables.
local function described(why, code)
  if code == 11 or code == 26 or code == 1 then
    why = why .. "; remove it, and what it held runs again"
  end
  return nil, why
end

--- Open a database of results, made where it is missing.
-- @tparam string path
-- @treturn Results  or nil, message
function M.open(path)
  local db, why = sqlite.open(path)
  if not db then return nil, why end
  local version, code
  version, why, code = db:prepare "pragma user_version"
  if not version then return described(why, code) end
  version, why, code = version:one()
  if not version then return described(why, code) end
  if version ~= VERSION then
    if version > VERSION then
      return nil, ("%s: written by a later mlua (format %d, this one knows %d)"):format(path,
        version, VERSION)
    end
    local wal = db:prepare "pragma journal_mode = wal"
    if wal then wal:one() end
    local ok
    ok, why, code = db:exec(("begin immediate; %s pragma user_version = %d; commit"):format(SCHEMA,
      VERSION))
    if not ok then return described(why, code) end
  end
  -- Reads without system calls; pages that were found once stay found: up to 64 MB of them.
  db:exec [[pragma synchronous = full; pragma mmap_size = 1073741824; pragma cache_size = -65536]]
  local look
  look, why, code = db:prepare "select sealed, outputs from result where key = ?"
  if not look then return described(why, code) end
  return setmetatable({ db = db, look = look }, Results)
end

local key_of = hash.key

local function seal(id, outputs)
  return id .. hash.sha256(id .. outputs):sub(1, 16)
end

--- The outputs recorded under an identity, as text (mlua.task.outputs reads it); nil for none.
-- @tparam string id
-- @treturn ?string
function Results:get(id)
  return self.look:sealed(key_of(id), id)
end

--- What else is known of a result.
-- @tparam string id
-- @treturn ?table  time and seconds, with the fields of its detail (params, code, inputs, …)
function Results:detail(id)
  local time, seconds, detail = self.db:prepare
    "select time, seconds, detail from detail where key = ?":one(key_of(id))
  if not time then return nil end
  local ok, all = pcall(json.decode, detail)
  if not ok or type(all) ~= "table" then all = {} end
  all.time, all.seconds = time, seconds
  return all
end

--- The latest results of a task, latest first: what a reason to run is found by.
-- @tparam string task
-- @tparam number n  at most
-- @treturn {table,...}
function Results:latest(task, n)
  local rows = self.db:prepare [[select sealed, time, seconds, detail from detail
    join result using (key) where task = ? order by time desc limit ?]]:all(task, n)
  local found = {}
  for _, row in ipairs(rows or {}) do
    local ok, all = pcall(json.decode, row[4])
    if ok and type(all) == "table" then
      all.id, all.time, all.seconds = row[1]:sub(1, 64), row[2], row[3]
      found[#found + 1] = all
    end
  end
  return found
end

--- Record results, all or none.
-- @tparam {table,...} rows  id, task, time, seconds, outputs (text), detail (a table), code and
--   parts (a digest and its list)
-- @treturn boolean  true; or nil, message
function Results:add(rows)
  local db, details = self.db, {}
  for i, row in ipairs(rows) do details[i] = json.encode(row.detail) end -- raises here if at all
  local ok, why = db:exec "begin immediate"
  if not ok then return nil, why end
  local insert = db:prepare
    "insert or replace into result (key, sealed, outputs) values (?, ?, ?)"
  local describe = db:prepare [[insert or replace into detail
    (key, task, time, seconds, detail) values (?, ?, ?, ?, ?)]]
  local code = db:prepare "insert or ignore into code (digest, parts) values (?, ?)"
  for i, row in ipairs(rows) do
    local key = key_of(row.id)
    ok, why = insert:run(key, seal(row.id, row.outputs), row.outputs)
    if ok then
      ok, why = describe:run(key, row.task, row.time, row.seconds, details[i])
    end
    if ok and row.parts then ok, why = code:run(row.detail.code, json.encode(row.parts)) end
    if not ok then
      db:exec "rollback"
      return nil, why
    end
  end
  ok, why = db:exec "commit"
  if not ok then
    db:exec "rollback"
    return nil, why
  end
  return true
end

--- The parts that a digest of code was made of; nil where unknown.
-- @tparam string digest
-- @treturn ?table
function Results:parts(digest)
  local text = self.db:prepare "select parts from code where digest = ?":one(digest)
  return text and json.decode(text)
end

--- Forget results.
-- @tparam {string,...} ids
-- @treturn number  how many were there; or nil, message
function Results:remove(ids)
  local db, n = self.db, 0
  local ok, why = db:exec "begin immediate"
  if not ok then return nil, why end
  local statement = db:prepare "delete from result where key = ?"
  local detail = db:prepare "delete from detail where key = ?"
  for _, id in ipairs(ids) do
    local gone
    gone, why = statement:run(key_of(id))
    if gone and not detail:run(key_of(id)) then gone = nil end
    if not gone then
      db:exec "rollback"
      return nil, why
    end
    n = n + gone
  end
  ok, why = db:exec "commit"
  return ok and n, why
end

--- Every result: identity, task, outputs as text, time.
-- @treturn {table,...}
function Results:every()
  local rows, why = self.db:prepare [[select sealed, task, outputs, time from result
    join detail using (key)]]:all()
  if not rows then return nil, why end
  for i, row in ipairs(rows) do
    rows[i] = { id = row[1]:sub(1, 64), task = row[2], outputs = row[3], time = row[4] }
  end
  return rows
end

-- -- files and flows ---------------------------------------------------------------------------

--- The digest of a file whose stamp is as it was.
function Results:file(path, stamp)
  local found, digest = self.db:prepare "select stamp, digest from file where path = ?":one(path)
  return found == stamp and digest or nil
end

--- Remember a file's digest.
function Results:add_file(path, stamp, size, digest)
  return self.db:prepare
    "insert or replace into file (path, stamp, size, digest) values (?, ?, ?, ?)"
    :run(path, stamp, size, digest)
end

--- Remember which results a flow stands on: what a collection keeps.
-- @tparam string name        of the flow, with its parameters
-- @tparam {string,...} ids
-- @tparam ?number since  it runs, or was broken off: results made since then are its own, too
function Results:add_flow(name, ids, since)
  local text = (since and ("since %d\n"):format(since) or "") .. table.concat(ids, "\n")
  return self.db:prepare "insert or replace into flow (name, time, ids) values (?, ?, ?)"
    :run(name, os.time(), text)
end

--- What a flow stood on the last time, as add_flow was given it, a line each; nil: never run.
function Results:flow_ids(name)
  return (self.db:prepare "select ids from flow where name = ?":one(name))
end

--- The flows that are remembered: name, time, ids, since.
-- @treturn {table,...}
function Results:flows()
  local rows, why = self.db:prepare "select name, time, ids from flow":all()
  if not rows then return nil, why end
  for i, row in ipairs(rows) do
    local ids = {}
    for id in row[3]:gmatch(("%x"):rep(64)) do ids[#ids + 1] = id end
    rows[i] = { name = row[1], time = row[2], ids = ids,
                since = tonumber(row[3]:match "^since (%d+)") }
  end
  return rows
end

--- Forget a flow.
function Results:remove_flow(name)
  return self.db:prepare "delete from flow where name = ?":run(name)
end

--- Close the database.
function Results:close() self.db:close() end

return M
