--- Checkpoints in a folder: tensors by name and facts, each whole or not there.
--
--     local all = assert(checkpoint.open(folder))
--     assert(all:save(1000, { ["model.weight"] = t }, { epoch = 3 }))  returns once t is copied
--     … all:poll() …                                                   now and then, between steps
--     local found = all:newest()                                       { step, tensors, facts }
--
-- One is two files: STEP.safetensors with the tensors, and STEP.json, its record, which is written
-- last: facts, and the digest of the other. A record that is damaged, or whose tensors are, is
-- none; `newest` says so and takes the one before. Files whose contents were read once and are the
-- same since (size, inode, time of change) are not read again: `verified` in the folder knows them.
-- @module mlua.checkpoint
local check = require "mlua.check"
local files = require "mlua.ffi.files"
local hash = require "mlua.ffi.hash"
local json = require "mlua.json"
local safetensors = require "mlua.safetensors"
local store = require "mlua.ffi.store"

local M = {}

local FORMAT = 1

local Checkpoints = {}
Checkpoints.__index = Checkpoints

local function name_of(step) return ("%012.0f"):format(step) end

--- The checkpoints of a folder, which is made where it is missing.
-- @tparam string dir
-- @treturn Checkpoints  or nil, message, code
function M.open(dir)
  check.type(dir, 1, "open", "dir", "string")
  local ok, why, code = files.make_folders(dir)
  if not ok then return nil, why, code end
  ok, why, code = store.sweep(dir)
  if not ok then return nil, why, code end
  local writer
  writer, why, code = store.snapshot()
  if not writer then return nil, why, code end
  return setmetatable({ dir = dir, writer = writer, verified = nil }, Checkpoints)
end

local function paths_of(self, step)
  local name = self.dir .. "/" .. name_of(step)
  return name .. ".safetensors", name .. ".json"
end

-- -- what was read before ----------------------------------------------------------------------

local function known(self)
  if not self.verified then
    local document = json.load(self.dir .. "/verified")
    self.verified = type(document) == "table" and document or {}
  end
  return self.verified
end

-- Remembers that a file holds what its record says; losing this costs a reading.
local function remember(self, path)
  local _, _, stamp = files.look(path)
  local all = known(self)
  for name in pairs(all) do
    if not files.look(self.dir .. "/" .. name) then all[name] = nil end
  end
  all[path:match "[^/]*$"] = stamp
  local file = store.create(self.dir .. "/verified")
  if file and file:write(json.encode(all)) then file:finish() elseif file then file:abort() end
end

-- -- writing -----------------------------------------------------------------------------------

-- Ends the write that is done; `after` of the one that asked is called.
local function finish(self, seconds)
  local pending = self.pending
  if not pending then return true end
  local ok, why, code = self.writer:wait(seconds)
  if ok == false then return false end
  self.pending = nil
  if not ok then return nil, why, code end
  if pending.path then remember(self, pending.path) end
  if pending.after then pending.after() end
  return true
end

--- Write one. The tensors are copied before this returns; the rest happens in the background, and
-- `poll` or `wait` tells what came of it. One that is under way is waited for first.
-- @tparam number step
-- @tparam table tensors      name → Tensor
-- @tparam table facts        what JSON holds; numbers keep their bits, NaN and infinities, too
-- @tparam ?table options     `also`, a file that is to be durable with it; `after`, a function that
--   is called once it is
-- @treturn boolean           true; or nil, message, code: this one's, or that of the one before
function Checkpoints:save(step, tensors, facts, options)
  check.int(step, 1, "save", "step", 0, 2 ^ 53)
  options = check.options(options, { also = "string", after = "function" }, 4, "save")
  local ok, why, code = finish(self, nil)
  if not ok then return nil, why, code end
  local path, record = paths_of(self, step)
  local pieces = safetensors.pieces(tensors)
  local head = ('{"format":%d,"step":%.0f,"facts":%s,"sha256":"'):format(FORMAT, step,
    json.encode(facts, { nonfinite = "string" }))
  ok, why, code = self.writer:write(pieces, path, record, head, '"}', options.also)
  if not ok then return nil, why, code end
  self.pending = { path = path, step = step, after = options.after }
  return true
end

--- Write tensors to PATH.safetensors and a record of them, as a checkpoint, but not among them.
-- @tparam string path
-- @tparam table tensors
-- @treturn boolean  true; or nil, message, code
function Checkpoints:save_first(path, tensors)
  local ok, why, code = finish(self, nil)
  if not ok then return nil, why, code end
  ok, why, code = self.writer:write(safetensors.pieces(tensors), path .. ".safetensors",
    path .. ".json", ('{"format":%d,"sha256":"'):format(FORMAT), '"}')
  if not ok then return nil, why, code end
  self.pending = {}
  return true
end

--- Whether what was saved is durable by now.
-- @treturn boolean  true, also where there is nothing to wait for; false; or nil, message, code
function Checkpoints:poll()
  if self.pending and self.writer:busy() then return false end
  return finish(self, 0)
end

--- Wait until what was saved is durable.
-- @tparam ?number seconds  at most
-- @treturn boolean  true; false: it is not yet; or nil, message, code
function Checkpoints:wait(seconds) return finish(self, seconds) end

-- -- reading -----------------------------------------------------------------------------------

--- Steps of which there is a record, the newest first.
-- @treturn {number,...}
function Checkpoints:steps()
  local list = {}
  for _, name in ipairs(files.list(self.dir) or {}) do
    local step = name:match "^(%d+)%.json$"
    if step and name_of(tonumber(step)) == step then list[#list + 1] = tonumber(step) end
  end
  table.sort(list, function(a, b) return a > b end)
  return list
end

local GONE = 2 -- ENOENT

-- The record of a step; nil and what is wrong with it, and whether that is damage.
local function read_record(path)
  local file, why, code = io.open(path, "rb")
  if not file then return nil, why, code == GONE end
  local text, cause = file:read "*a"
  file:close()
  if not text then return nil, ("%s: %s"):format(path, cause) end
  local body, digest = text:match "^(.*\n)(%x+)\n$"
  if not body then
    return nil, ("%s: damaged: offset %d: it ends before its digest does"):format(path, #text), true
  end
  if hash.sha256(body) ~= digest then
    return nil, ("%s: damaged: its %d bytes have not the digest at their end"):format(path,
      #body), true
  end
  local document, problem = json.decode(body)
  if type(document) ~= "table" then return nil, ("%s: %s"):format(path, tostring(problem)), true end
  if document.format ~= FORMAT then
    return nil, ("%s: of a later mlua (format %s)"):format(path, tostring(document.format))
  end
  return document
end

-- What is wrong with tensors that have not the digest of their record: where the file itself says
-- it, as one that was cut short does, the place.
local function damage_of(path, size)
  local tensors, why = safetensors.load(path)
  return tensors and ("%s: damaged: its %d bytes have not the digest of its record"):format(path,
    size) or path .. ": damaged" .. why:sub(#path + 1)
end

local NUMBERS = { NaN = 0 / 0, Infinity = math.huge, ["-Infinity"] = -math.huge }

-- What `nonfinite = "string"` wrote, as it was.
local function with_numbers(value)
  if type(value) == "string" then return NUMBERS[value] or value end
  if type(value) ~= "table" then return value end
  for key, each in pairs(value) do value[key] = with_numbers(each) end
  return value
end

--- Read one and check all of it, unless that was done before and its file has not changed.
-- @tparam number step
-- @treturn ?table   step, path, tensors (name → Tensor, on the file's pages), facts; nil where it
--   is not whole
-- @treturn ?string  what is wrong
-- @treturn ?boolean whether it is damaged; else it could not be read now
function Checkpoints:read(step)
  local path, record = paths_of(self, step)
  local document, why, damaged = read_record(record)
  if not document then return nil, why, damaged end
  local kind, _, stamp = files.look(path)
  if kind == nil then return nil, _ end
  if kind ~= "file" then return nil, path .. ": not there", true end
  if known(self)[path:match "[^/]*$"] ~= stamp then
    local digest, size = hash.file(path)
    if not digest then return nil, size end
    if digest ~= document.sha256 then return nil, damage_of(path, size), true end
    remember(self, path)
  end
  local tensors
  tensors, why = safetensors.load(path)
  if not tensors then return nil, why end
  return {
    step = document.step, path = path, tensors = tensors, facts = with_numbers(document.facts),
  }
end

--- The newest that is whole.
-- @tparam ?function tell  called with a line for each that is damaged
-- @treturn ?table   as `read` gives it; nil where there is none
-- @treturn ?string  why it cannot be known: one could not be read, and nothing says it is damaged
function Checkpoints:newest(tell)
  for _, step in ipairs(self:steps()) do
    local found, why, damaged = self:read(step)
    if found then return found end
    if not damaged then return nil, why end
    if tell then tell(why) end
  end
end

--- Remove those after a step: damaged ones, whose place others are to take.
-- @tparam number step
function Checkpoints:drop_after(step)
  for _, each in ipairs(self:steps()) do
    if each > step then
      local path, record = paths_of(self, each)
      files.remove(record)
      files.remove(path)
    end
  end
end

-- -- fewer -------------------------------------------------------------------------------------

--- Remove all but the newest `keep` and those that `kept` has. Records go first: what is left over
-- is no checkpoint.
-- @tparam number keep
-- @tparam ?table kept  step → true
function Checkpoints:prune(keep, kept)
  local named = {}
  for i, step in ipairs(self:steps()) do
    local path, record = paths_of(self, step)
    if i > keep and not (kept and kept[step]) then
      files.remove(record)
      files.remove(path)
    else
      named[path:match "[^/]*$"] = true
    end
  end
  local writing = self.pending and self.pending.path and self.pending.path:match "[^/]*$"
  for _, name in ipairs(files.list(self.dir) or {}) do
    if name:find "^%d+%.safetensors$" and not named[name] and name ~= writing then
      files.remove(self.dir .. "/" .. name)
    end
  end
end

return M
