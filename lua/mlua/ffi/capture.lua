--- Captured steps through LuaJIT's FFI (core/include/mlua_capture.h).
-- @module mlua.ffi.capture
local core = require "mlua.ffi"
local ffi = require "ffi"

local C, Ref, own = core.C, core.Ref, core.own
local M = { is_tensor = core.is_tensor, END = C.ML_END }

local Refs, Index = ffi.typeof "ml_ref[?]", ffi.typeof "int[1]"
local Program = ffi.typeof "ml_program *[1]"
local index = Index()

--- Room for n handles.
function M.refs(n) return Refs(math.max(1, n)) end

--- Record from here on; `record` takes notes for the replays (core.recording).
function M.begin(record)
  core.check(C.ml_capture_begin())
  core.recording = record
end

function M.abort()
  core.recording = nil
  C.ml_capture_abort()
end

--- Take a tensor as an input; its number, from 1.
function M.input(t)
  core.check(C.ml_capture_input(index, t))
  return index[0] + 1
end

--- End the recording: the program. Copies of the n results are in `copies`.
function M.finish(copies, results, n)
  local out, given = Program(), M.refs(n)
  for i = 1, n do given[i - 1] = results[i] end
  core.recording = nil
  core.check(C.ml_capture_end(out, copies, given, n))
  return ffi.gc(out[0], C.ml_program_free)
end

--- Replay; whether the program fits.
function M.replay(program, inputs, n_inputs, copies, n)
  return core.check(C.ml_replay(program, inputs, n_inputs, copies, n)) == C.ML_OK
end

function M.free(program) C.ml_program_free(ffi.gc(program, nil)) end
function M.calls(program) return tonumber(C.ml_program_calls(program)) end

local function owned(copies, i, n)
  local t = own(Ref(copies[i]))
  if i == n - 1 then return t end
  return t, owned(copies, i + 1, n)
end

--- The n tensors whose handles are in `copies`, as values.
function M.results(copies, n)
  if n == 0 then return end
  return owned(copies, 0, n)
end

return M
