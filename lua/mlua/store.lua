--- The store of results: what finished tasks gave, by content, and what it came from.
--
--     .mlua/objects/ab/cdef…   outputs under the SHA-256 of their bytes
--     .mlua/results.db         a row for every result, under its identity (mlua.store.results)
--     .mlua/tmp                what is being written; leavings of dead processes are swept
--     .mlua/locks              a byte for every identity: who runs it has its lock
--
-- Objects are written in a scratch folder, and become durable in groups, before the rows that name
-- them: a row that is there has its objects whole. Failures of the world are nil, message.
--
-- Two more locks keep a collection (mlua.flow.invalidate) from taking what a run stands on, or is
-- about to record: USED is shared by all that run a flow, from their plan to their end, and while
-- anyone has it no rows are cleared away; PUBLISHED is shared from the renaming of a group's
-- objects until their rows are there, and objects are cleared away by who has it alone.
-- @module mlua.store
local check = require "mlua.check"
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local hash = require "mlua.ffi.hash"
local process = require "mlua.ffi.process"

local M = {}

local Store = {}
Store.__index = Store

local USED, PUBLISHED = hash.sha256 "lock used", hash.sha256 "lock published"
local TURN = hash.sha256 "lock turn" -- whoever waits for PUBLISHED: the next one waits behind it
local GROUP, PATIENCE = 64, 0.1 -- a group of results is made durable at this many, or seconds

-- Whether a folder is a store, or may become one. Prepared data alone (mlua.data.clicks) make none:
-- they come to be in the working folder while a flow runs.
local function is_store(path)
  return files.look(path) == "folder"
    and (files.look(path .. "/objects") == "folder" or not files.look(path .. "/cache"))
end

--- Where the results of a script are: $MLUA_STORE, else the nearest `.mlua` from the working folder
-- upwards, but not beyond a folder with `.git` nor in the home or root folder, else `.mlua` in it.
-- @treturn string
function M.find()
  local set = os.getenv "MLUA_STORE"
  if set and set ~= "" then return set end
  local folder = require "lfs".currentdir() or "."
  local here = folder
  local home = os.getenv "HOME"
  while folder do
    local foreign = folder ~= here and (folder == "/" or folder == home)
    if not foreign and is_store(folder .. "/.mlua") then
      return folder == here and ".mlua" or folder:gsub("/$", "") .. "/.mlua"
    end
    if files.look(folder .. "/.git") then break end
    folder = folder ~= "/" and (folder:match "^(.+)/[^/]*$" or folder ~= "" and "/") or nil
  end
  return ".mlua"
end

-- What processes that died left of their scratch folders.
local function sweep(store)
  for _, name in ipairs(files.list(store.dir .. "/tmp") or {}) do
    local mark = hash.sha256("scratch " .. name)
    if store.locks:take(mark) then
      files.remove(store.dir .. "/tmp/" .. name)
      store.locks:give(mark)
    end
  end
end

local function open_scratch(store)
  local base = ("%d-%d"):format(process.id(), os.time())
  for n = 1, 1000 do -- names of one process number in two containers meet only here
    local name = base .. "-" .. n
    if not files.look(store.dir .. "/tmp/" .. name)
      and store.locks:take(hash.sha256("scratch " .. name)) then
      local folder = store.dir .. "/tmp/" .. name
      local ok, why = files.make_folders(folder)
      if not ok then return nil, why end
      store.scratch_folder, store.n_scratch = folder, 0
      return folder
    end
  end
  return nil, store.dir .. "/tmp: no free name"
end

--- Open a store; its folders come with the first result.
-- @tparam[opt=store.find()] string dir
-- @treturn Store
function M.open(dir)
  check.type(dir, 1, "store.open", "dir", "string|nil")
  return setmetatable({ dir = dir or M.find(), known = {}, pending = { from = {}, to = {} },
                        waiting = {}, uses = 0 }, Store)
end

--- Whether there is anything in it yet.
-- @treturn boolean
function Store:exists()
  return self.prepared or files.look(self.dir .. "/results.db") == "file"
end

local function open_locks(store)
  local why
  if not store.locks then
    store.locks, why = files.locks(store.dir .. "/locks")
    if not store.locks then return nil, why end
  end
  if store.uses > 0 then return store.locks:take(USED, true, true) end
  return true
end

--- Hold on to all results that are there, and will be, until `let_go` is called as often.
function Store:hold()
  self.uses = self.uses + 1
  -- Where it can't be written to, nothing can be cleared away; a new one is held by `prepare`.
  if self.uses == 1 and self:exists() then open_locks(self) end
end

--- See `hold`.
function Store:let_go()
  self.uses = self.uses - 1
  if self.uses == 0 and self.locks then self.locks:give(USED) end
end

-- Takes PUBLISHED in turn.
local function take_published(store, shared)
  local ok, why = store.locks:take(TURN, true, shared)
  if ok then ok, why = store.locks:take(PUBLISHED, true, shared) end
  store.locks:give(TURN)
  return ok, why
end

--- Call a function while no result is recorded.
-- @tparam function f  takes whether no flow runs, so that rows may be removed, too
-- @return what f returns; or nil, message
function Store:alone(f)
  local ok, why = self:prepare()
  if not ok then return nil, why end
  local unused
  unused, why = self.locks:take(USED)
  if unused == nil then return nil, why end
  ok, why = take_published(self)
  if not ok then return nil, why end
  local done = { pcall(f, unused) }
  self.locks:give(PUBLISHED)
  if unused then self.locks:give(USED) end
  if not done[1] then error(done[2], 0) end
  return unpack(done, 2)
end

--- Make it ready to be written to.
-- @treturn boolean  true; or nil, message
function Store:prepare()
  if self.prepared then return true end
  local ok, why = files.make_folders(self.dir .. "/tmp")
  if ok then ok, why = files.make_folders(self.dir .. "/objects") end
  if ok then ok, why = open_locks(self) end
  if not ok then return nil, why end
  self.prepared = true
  if not files.look(self.dir .. "/.gitignore") then
    require "mlua.ffi.store".put(self.dir .. "/.gitignore", "*\n")
  end
  sweep(self)
  return true
end

--- The rows, opened at first use; nil where the store has none yet.
-- @treturn ?Results
function Store:results()
  if self.rows == nil then
    if not self:exists() then return nil end
    self.rows = fail.assert(require "mlua.store.results".open(self.dir .. "/results.db"))
  end
  return self.rows
end

-- -- objects -----------------------------------------------------------------------------------

--- Where an object is: its place in the store, or, until its group is durable, where it was
-- written.
-- @tparam string digest
-- @treturn string
function Store:path(digest)
  return self.known[digest] or self.dir .. "/objects/" .. digest:sub(1, 2) .. "/" .. digest:sub(3)
end

--- A new path to write one file or folder at.
-- @treturn string
function Store:scratch()
  if not self.scratch_folder then
    local ok, why = open_scratch(self)
    if not ok then return nil, why end
  end
  self.n_scratch = self.n_scratch + 1
  return self.scratch_folder .. "/" .. (self.child or "") .. self.n_scratch
end

--- In a child just forked: its own database and locks, objects of its own for its parent to take.
-- @treturn boolean  true; or nil, message
function Store:forked()
  self.of_parent = { self.rows, self.locks } -- never closed here: that would be the parent's
  self.rows, self.child = nil, process.id() .. "-"
  self.pending, self.waiting, self.since = { from = {}, to = {} }, {}, nil
  local why
  self.locks, why = files.locks(self.dir .. "/locks")
  return self.locks and true, why
end

--- What a child's objects are, written but not durable; and a parent's taking of them.
-- @treturn table  { from = paths, to = paths }
function Store:written() return self.pending end

--- @tparam table written
function Store:take_over(written)
  local pending = self.pending
  for i, from in ipairs(written.from) do
    local to = written.to[i]
    pending.from[#pending.from + 1], pending.to[#pending.to + 1] = from, to
    self.known[to:sub(-65, -64) .. to:sub(-62)] = from
  end
end

--- Take a written file over as an object, durable with the next group.
-- @tparam string path  of scratch
-- @treturn string      digest
-- @treturn number      bytes
function Store:adopt(path)
  local digest, size = hash.file(path)
  if not digest then return nil, size end
  if self.known[digest] then -- waits already
    files.remove(path)
    return digest, size
  end
  -- One that is there is replaced: it may be damaged, or be cleared away before this is recorded.
  local pending = self.pending
  pending.from[#pending.from + 1], pending.to[#pending.to + 1] = path, self:path(digest)
  self.known[digest] = path
  return digest, size
end

-- The folder of objects; nil where there is none yet.
local function opened(self)
  self.objects = self.objects or files.objects(self.dir .. "/objects")
  return self.objects
end

--- Whether all objects are there that a text of outputs names, by their sizes.
-- @tparam string text
-- @treturn boolean
-- @treturn ?number  the line of the first that is not
-- @treturn ?string  "missing" or "damaged"
function Store:look(text)
  local objects = opened(self)
  if not objects then return false, 1, "missing" end
  return objects:look(text)
end

--- The same of many texts at once, by a thread while the caller goes on.
-- @tparam {string,...} texts
-- @treturn function  waits; whether all are there, without saying which is not
function Store:look_ahead(texts)
  local objects = opened(self)
  if not objects then return function() return #texts == 0 end end
  return objects:look_ahead(table.concat(texts))
end

--- Whether an object is there, with its size; all its bytes are read with `whole`.
-- @tparam string digest
-- @tparam number size
-- @tparam ?boolean whole
-- @treturn boolean
-- @treturn ?string  "missing" or "damaged"
function Store:has(digest, size, whole)
  local path = self:path(digest)
  local found = files.size(path)
  if not found then return false, "missing" end
  if found ~= size or whole and hash.file(path) ~= digest then return false, "damaged" end
  return true
end

--- The path of an object whose bytes are as they were; a damaged one is taken out of the store.
-- @tparam string digest
-- @treturn string  or nil, message, "missing" or "damaged"
function Store:verified(digest)
  local path = self:path(digest)
  local kind, _, stamp = files.look(path)
  if not kind then return nil, path .. ": the file is gone", "missing" end
  self.verified_stamps = self.verified_stamps or {}
  if self.verified_stamps[digest] == stamp then return path end
  local found, why = hash.file(path)
  if not found then return nil, why, "damaged" end
  if found ~= digest then
    files.remove(path)
    return nil, path .. ": its contents have changed", "damaged"
  end
  self.verified_stamps[digest] = stamp
  return path
end

-- -- folders: a listing that names an object for each file -------------------------------------

-- The listing of a folder, whose files `digest_of` takes: path → digest, bytes; or nil, message.
-- follow: links are what they lead to.
local function listed(path, digest_of, follow)
  local lines, lfs, above = {}, require "lfs", {}
  local attributes = follow and lfs.attributes or lfs.symlinkattributes
  local function walk(folder, prefix)
    local names, why = files.list(folder)
    if not names then return nil, why end
    local facts = lfs.attributes(folder) or {}
    local own = ("%s:%s"):format(facts.dev, facts.ino)
    if above[own] then return nil, folder .. ": a link to a folder that it is in" end
    above[own] = true
    for _, name in ipairs(names) do
      local at = folder .. "/" .. name
      if name:find "[%c]" then return nil, at .. ": a control character in a name" end
      local mode = attributes(at, "mode")
      if mode == "directory" then
        local ok, problem = walk(at, prefix .. name .. "/")
        if not ok then return nil, problem end
      elseif mode == "file" then
        local digest, size = digest_of(at)
        if not digest then return nil, size end
        lines[#lines + 1] = ("%s %d %s\n"):format(digest, size, prefix .. name)
      else
        return nil, at .. ": neither a file nor a folder"
      end
    end
    above[own] = nil
    return true
  end
  local ok, why = walk(path, "")
  if not ok then return nil, why end
  return "mlua folder 1\n" .. table.concat(lines)
end

--- Take a folder over: its files, and a listing of them, which stands for it.
-- @tparam string path
-- @treturn string  digest of the listing
-- @treturn number  its bytes
function Store:adopt_folder(path)
  local text, why = listed(path, function(file) return self:adopt(file) end)
  if not text then return nil, why end
  local listing = self:scratch()
  local ok, problem = require "mlua.format.bytes".put(listing, text)
  if not ok then return nil, problem end
  return self:adopt(listing)
end

--- The digest that a folder's listing would have; it stays where it is.
-- @tparam string path
-- @treturn string  64 hexadecimal digits; or nil, message
-- @treturn number  bytes of its files
function Store:folder_digest(path)
  local total = 0
  local text, why = listed(path, function(file)
    local digest, size = self:file_digest(file)
    if digest then total = total + size end
    return digest, size
  end, true)
  if not text then return nil, why end
  return hash.sha256(text), total
end

--- What a listing names.
-- @tparam string path  of the listing
-- @treturn {table,...}  { digest, size, name }
function M.listing(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text, entries = file:read "*a", {}
  file:close()
  if text:sub(1, 14) ~= "mlua folder 1\n" then return nil, path .. ": not a listing of a folder" end
  for line in text:sub(15):gmatch "[^\n]+" do
    local digest, size, name = line:match "^(%x+) (%d+) (.+)$"
    local parts = "/" .. (name or "") .. "/"
    if not digest or #digest ~= 64 or name:find "^/" or parts:find("/../", 1, true) then
      return nil, path .. ": a damaged listing"
    end
    entries[#entries + 1] = { digest, tonumber(size), name }
  end
  return entries
end

-- Whether a folder has the objects that it was made of, and not what was in their places before.
local function is_of(folder, entries, paths)
  for i, entry in ipairs(entries) do
    local _, _, stamp = files.look(paths[i])
    local _, _, theirs = files.look(folder .. "/" .. entry[3])
    if stamp ~= theirs then return false end
  end
  return true
end

--- A folder as it was, to be read: made of hard links to its objects, once.
-- @tparam string digest  of its listing
-- @treturn string        path; or nil, message, "missing" or "damaged"
function Store:folder(digest)
  local listing, why, what = self:verified(digest)
  if not listing then return nil, why, what end
  local entries
  entries, why = M.listing(listing)
  if not entries then return nil, why, "damaged" end
  local paths = {}
  for i, entry in ipairs(entries) do
    paths[i], why, what = self:verified(entry[1])
    if not paths[i] then return nil, why, what end
  end
  local to = self.dir .. "/folders/" .. digest
  if files.look(to) then
    if is_of(to, entries, paths) then return to end
    files.remove(to)
  end
  local made = self:scratch()
  local ok
  ok, why = files.make_folders(made)
  for i, entry in ipairs(ok and entries or {}) do
    local folder = entry[3]:match "^(.*)/[^/]*$"
    if folder then files.make_folders(made .. "/" .. folder) end
    ok, why = require "lfs".link(paths[i], made .. "/" .. entry[3])
    if not ok then return nil, why end
  end
  if ok then ok, why = files.make_folders(self.dir .. "/folders") end
  if ok then ok, why = os.rename(made, to) end
  if not ok and not files.look(to) then return nil, why end -- another process may have been first
  return to
end

-- -- groups ------------------------------------------------------------------------------------

--- Put a result on the list of those that become durable together.
-- @tparam table row          as Results:add takes it
-- @tparam function recorded  called when it is there for all to see; or with a message and its
--   position in its group where it could not be recorded
-- @treturn boolean  true; or nil, message
function Store:record(row, recorded)
  self.since = self.since or require "mlua.ffi".C.ml_clock()
  self.waiting[#self.waiting + 1] = { row, recorded }
  if #self.waiting >= GROUP then return self:flush() end
  return true
end

--- Whether results wait that should not wait longer.
-- @treturn boolean
function Store:due()
  return self.since ~= nil and require "mlua.ffi".C.ml_clock() - self.since > PATIENCE
end

-- Objects under their names, durable.
local function publish(store, pending)
  local made = store.made_folders or {}
  store.made_folders = made
  for _, to in ipairs(pending.to) do
    local folder = to:match "^(.*)/"
    if not made[folder] then
      local ok, why = files.make_folders(folder)
      if not ok then return nil, why end
      made[folder] = true
    end
  end
  return files.publish(pending.from, pending.to)
end

local function add_rows(store, waiting)
  if not store.rows then
    local why
    store.rows, why = require "mlua.store.results".open(store.dir .. "/results.db")
    if not store.rows then return nil, why end
  end
  local rows = {}
  for i, item in ipairs(waiting) do rows[i] = item[1] end
  return store.rows:add(rows)
end

--- Make durable what waits: objects, then rows.
-- @treturn boolean  true; or nil, message, and what waited is not recorded
function Store:flush()
  local waiting, pending, stage = self.waiting, self.pending, M.stage
  if #waiting == 0 then return true end
  self.waiting, self.pending, self.since = {}, { from = {}, to = {} }, nil
  if stage then stage "renaming" end
  local ok, why = take_published(self, true)
  if ok then ok, why = publish(self, pending) end
  for _, to in ipairs(pending.to) do
    self.known[to:sub(-65, -64) .. to:sub(-62)] = nil
  end
  if stage then stage "manifest" end
  if ok then ok, why = add_rows(self, waiting) end
  self.locks:give(PUBLISHED)
  if stage then stage "running" end
  for i, item in ipairs(waiting) do
    if item[2] then item[2](not ok and why or nil, i) end
  end
  return ok, why
end

--- Digest of a file that is a parameter; read again only where its stamp has changed.
-- @tparam string path
-- @treturn string  64 hexadecimal digits; or nil, message
-- @treturn number  its bytes
function Store:file_digest(path)
  local kind, size, stamp = files.look(path)
  if not kind then return nil, path .. ": no such file" end
  if kind ~= "file" then return nil, path .. ": not a regular file" end
  local results = self:results()
  local known = results and results:file(path, stamp)
  if known then return known, size end
  self.digests = self.digests or {} -- until there are rows to hold them
  local digest, why = self.digests[path .. "\n" .. stamp], nil
  if not digest then digest, why = hash.file(path) end
  if not digest then return nil, why end
  local fresh = os.time() - (files.time(path) or 0) < 2 -- it may change within the same tick
  if fresh then return digest, size end
  self.digests[path .. "\n" .. stamp] = digest
  if results and not self.deferred then results:add_file(path, stamp, size, digest)
  elseif results then table.insert(self.deferred, { path, stamp, size, digest }) end
  return digest, size
end

--- From now on, digests of files are not written; with false, all at once: a plan reads in one
-- transaction, which must not wait for files, nor keep others from writing.
-- @tparam boolean on
function Store:defer(on)
  local list = self.deferred
  self.deferred = on and {} or nil
  local results = list and #list > 0 and self:results()
  for _, item in ipairs(results and list or {}) do results:add_file(unpack(item)) end
end

-- Called with the name of each stage that a result goes through: running, writing, renaming,
-- manifest.
local watched = os.getenv "MLUA_FLOW_STAGE"
if watched and watched ~= "" then M.stage = require "mlua.store.stage".teller(watched) end

return M
