--- Profiles through LuaJIT's FFI (core/include/mlua_profile.h); marks for what Lua does.
--
-- While no profile is on, a mark is one test and a call.
-- @module mlua.ffi.profile
local core = require "mlua.ffi"
local ffi = require "ffi"

local C = core.C
local M = {
  --- Whether marks are to be noted: a profile is on, here or in the process that forked this one.
  on = false,
  --- The number of the profile.
  number = 0,
  LAYER = C.ML_EVENT_LAYER, PART = C.ML_EVENT_PART, WAIT = C.ML_EVENT_WAIT,
}

--- Kinds of events by number, as a trace names them.
M.kinds = {
  [C.ML_EVENT_OPERATION] = "operation", [C.ML_EVENT_BACKWARD] = "backward",
  [C.ML_EVENT_UPDATE] = "update", [C.ML_EVENT_LAYER] = "layer", [C.ML_EVENT_PART] = "part",
  [C.ML_EVENT_WAIT] = "wait", [C.ML_EVENT_BACKGROUND] = "background",
}

-- -- marks -------------------------------------------------------------------------------------

local function leave(id, ...)
  C.ml_profile_end(id)
  return ...
end

--- Call f(...), as an event. One that an error leaves ends with the event around it; as long as
-- there is none, such ones stay, and after 512 of them events are left out, and counted so.
-- @tparam number kind
-- @tparam string name
-- @tparam function f
-- @return what f returns
function M.call(kind, name, f, ...)
  if not M.on then return f(...) end
  return leave(C.ml_profile_begin(kind, name), f(...))
end

--- Call f(...), as a part of a program.
function M.part(name, f, ...) return M.call(M.PART, name, f, ...) end

--- An iterator whose steps are parts: `for batch in profile.each("batch", loader:epoch(0)) do`.
-- @tparam string name
-- @tparam function f  with state and first: what a `for` takes
-- @param state
-- @param first
function M.each(name, f, state, first)
  if not M.on then return f, state, first end
  return function(_, last) return M.call(M.PART, name, f, state, last) end, nil, first
end

-- -- records -----------------------------------------------------------------------------------

--- Begin.
-- @tparam number most  events that are kept
function M.start(most)
  core.check(C.ml_profile_start(most))
  M.on, M.number = true, M.number + 1
end

--- Whether a profile is on, in this process.
function M.is_on() return C.ml_profile_on() end

--- End.
-- @treturn ?table  record, seconds, events, left_out and totals, a list of name, kind, calls,
--   seconds, own (without events inside of its sort), longest; nil where none is on
function M.stop()
  M.on = false
  local p = C.ml_profile_stop()
  if p == nil then return nil end
  p = ffi.gc(p, C.ml_profile_free)
  local totals = {}
  for i = 0, tonumber(p.n_totals) - 1 do
    local t = p.total[i]
    totals[i + 1] = {
      name = ffi.string(t.name), kind = M.kinds[t.kind], calls = tonumber(t.calls),
      seconds = tonumber(t.time) * 1e-9, own = tonumber(t.own) * 1e-9,
      longest = tonumber(t.longest) * 1e-9,
    }
  end
  return { record = p, seconds = tonumber(p["end"] - p.begin) * 1e-9,
           events = tonumber(p.n_events), left_out = tonumber(p.left_out), totals = totals }
end

local function shape_of(e)
  if e.ndim < 0 then return nil end
  local sizes = {}
  for d = 1, e.ndim do sizes[d] = e.shape[d - 1] end
  return core.dtypes[e.dtype] .. " [" .. table.concat(sizes, ", ") .. "]"
end

--- One event, from 0, in the order of their ends.
-- @treturn number   the place of its total
-- @treturn number   its thread, from 0
-- @treturn number   begin, microseconds from the profile's
-- @treturn number   microseconds that it took
-- @treturn ?string  dtype and shape
function M.event(record, i)
  local e = C.ml_profile_event(record, i)
  return e.name + 1, e.thread, tonumber(e.begin - record.begin) * 1e-3,
    tonumber(e["end"] - e.begin) * 1e-3, shape_of(e)
end

--- The name of a thread.
function M.thread(i) return ffi.string(C.ml_profile_thread(i)) end

return M
