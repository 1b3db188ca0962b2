--- Where the time goes: operations, layers, loaders, waits and parts of a program.
--
--     local p = ml.profile(function() engine:fit() end)
--     print(p:top(20))                      tables: by operation, by layer, by part and wait
--     assert(p:trace "trace.json")          for chrome://tracing and ui.perfetto.dev
--
-- or, around any lines, `ml.profile.start()` and `local p = ml.profile.stop()`.
--
-- Operations note themselves, their backward and the updates of optimisers, in the core; layers
-- when they are called; loaders each batch, in their own threads, too; checkpoints their copy,
-- their writing and what was waited for. A layer's time is that of its forward. What a captured
-- step repeats are its operations.
--
-- `share` is of the whole time, by a row's own: without what other rows of its table are, inside.
-- @module mlua.profile
local check = require "mlua.check"
local core = require "mlua.ffi"
local json = require "mlua.json"
local profile = require "mlua.ffi.profile"

local M = {}

local MOST = 1000000 -- events of a trace

local Profile = {}
Profile.__index = Profile

local TABLE_OF = {
  operation = "operations", backward = "operations", update = "operations", layer = "layers",
  part = "parts", wait = "parts", background = "background",
}
local SUFFIX = { backward = " backward", update = " update" }

-- -- beginning and end -------------------------------------------------------------------------

--- Begin a profile.
-- @tparam ?table options  events, how many a trace keeps (1000000); totals count all
-- @raise bad argument #1; where one is on already
function M.start(options)
  local o = check.options(options, { events = "number" }, 1, "start")
  profile.start(check.int(o.events or MOST, 1, "start", "events", 0, 2 ^ 26))
end

--- End it.
-- @treturn Profile  seconds; operations, layers, parts, background: lists of name, kind, calls,
--   seconds, own, longest, share, those of the largest share first; events, left_out
-- @raise where none is on
function M.stop()
  local self = profile.stop()
  if not self then core.misuse "stop: no profile is on" end
  for _, list in pairs(TABLE_OF) do self[list] = self[list] or {} end
  for _, each in ipairs(self.totals) do
    each.name = each.name .. (SUFFIX[each.kind] or "")
    each.share = each.own / self.seconds
    local list = self[TABLE_OF[each.kind]]
    if each.calls > 0 then list[#list + 1] = each end
  end
  for _, list in pairs(TABLE_OF) do
    table.sort(self[list], function(a, b)
      if a.own ~= b.own then return a.own > b.own end
      return a.name < b.name
    end)
  end
  return setmetatable(self, Profile)
end

local function ended(ok, ...)
  if not ok then
    profile.stop()
    error(..., 0)
  end
  return M.stop(), ...
end

--- Call a function with a profile on.
-- @tparam function f
-- @param ...        for f
-- @treturn Profile
-- @return           what f returns
function M.of(f, ...)
  check.arg(type(f) == "function", 1, "profile", "f: expected a function, got %s", check.what(f))
  M.start()
  return ended(pcall(f, ...))
end

--- Whether a profile is on.
-- @treturn boolean
function M.is_on() return profile.is_on() end

--- Call a function as a part of the program, with a name: `ml.profile.part("metrics", f, x)`.
-- @tparam string name
-- @tparam function f
-- @param ...   for f
-- @return      what f returns
function M.part(name, f, ...)
  check.type(name, 1, "part", "name", "string")
  return profile.part(name, f, ...)
end

-- -- tables ------------------------------------------------------------------------------------

local function milliseconds(seconds) return ("%.2f"):format(seconds * 1e3) end

local function table_text(title, list, n)
  local format = require "mlua.ui.format"
  local rows, rest, left = {}, 0, 0
  for i, each in ipairs(list) do
    if i <= n then
      rows[i] = { each.name, format.count(each.calls), milliseconds(each.seconds),
        milliseconds(each.own), ("%.1f"):format(each.seconds / each.calls * 1e6),
        format.percent(each.share) }
    else
      rest, left = rest + each.own, left + 1
    end
  end
  if left > 0 then
    rows[#rows + 1] = { ("%d more"):format(left), nil, nil, milliseconds(rest) }
  end
  return require "mlua.ui.table".render { rows = rows,
    head = { title, "calls", "total ms", "own ms", "mean µs", "share" } }
end

local function own_of(list)
  local sum = 0
  for _, each in ipairs(list) do sum = sum + each.own end
  return sum
end

--- Tables of what took the most time.
-- @tparam[opt=20] number n  rows of each
-- @treturn string
function Profile:top(n)
  n = check.int(n or 20, 1, "top", "n", 1, 2 ^ 31)
  local format = require "mlua.ui.format"
  local spent = own_of(self.operations)
  local blocks = { ("%s, of which operations %s (%s)"):format(format.duration(self.seconds),
    format.duration(spent), format.percent(spent / self.seconds)) }
  for _, each in ipairs { { "operation", "operations" }, { "layer (forward)", "layers" },
                          { "part or wait", "parts" }, { "in the background", "background" } } do
    local list = self[each[2]]
    if list[1] then blocks[#blocks + 1] = table_text(each[1], list, n) end
  end
  return table.concat(blocks, "\n\n")
end

Profile.__tostring = function(self) return self:top() end

-- -- traces ------------------------------------------------------------------------------------

--- Write a trace in the Trace Event Format: chrome://tracing and ui.perfetto.dev show it.
-- @tparam string path
-- @treturn boolean  true; or nil, message
function Profile:trace(path)
  check.type(path, 1, "trace", "path", "string")
  local file, why = require "mlua.ffi.store".create(path)
  if not file then return nil, why end
  local parts, heads, threads = {}, {}, {}
  for i, each in ipairs(self.totals) do
    heads[i] = ('{"ph":"X","pid":1,"name":%s,"cat":"%s"'):format(json.encode(each.name), each.kind)
  end
  local function put(text)
    parts[#parts + 1] = text
    if #parts < 4096 then return true end
    local ok
    ok, why = file:write(table.concat(parts))
    parts = {}
    return ok
  end
  local ok = put(('{"displayTimeUnit":"ms","otherData":{"left_out":%d},"traceEvents":[\n'):format(
    self.left_out))
  for i = 0, self.events - 1 do
    local name, thread, begin, took, shape = profile.event(self.record, i)
    threads[thread] = true
    ok = ok and put(('%s,"tid":%d,"ts":%.3f,"dur":%.3f%s},\n'):format(heads[name], thread + 1,
      begin, took, shape and ',"args":{"result":"' .. shape .. '"}' or ""))
  end
  for thread in pairs(threads) do
    put(('{"ph":"M","pid":1,"tid":%d,"name":"thread_name","args":{"name":"%s"}},\n'):format(
      thread + 1, profile.thread(thread)))
  end
  put '{"ph":"M","pid":1,"name":"process_name","args":{"name":"mlua"}}]}\n'
  if ok then ok, why = file:write(table.concat(parts)) end
  if ok then return file:finish() end
  file:abort()
  return nil, why
end

return setmetatable(M, { __call = function(_, f, ...) return M.of(f, ...) end })
