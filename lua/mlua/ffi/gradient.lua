--- Gradients that Lua computes, through LuaJIT's FFI.
--
-- A backward that comes to such an operation returns, with ML_CALL; Lua computes, hands the
-- gradients over and lets it go on. So C never calls Lua.
-- @module mlua.ffi.gradient
local ffi = require "ffi"

local core = require "mlua.ffi"

local C, check, own, new_ref = core.C, core.check, core.own, core.new_ref

local gradient = {}

local Id, Refs = ffi.typeof "int64_t[1]", ffi.typeof "ml_ref[?]"
local entries, last = {}, 0 -- by id

--- Keep what computes a gradient until its operation is gone.
-- @tparam table entry  backward(self, g, saved): a list of gradients; saved(i) is the i-th tensor
--   of the record; n: how many inputs
-- @treturn number      its id
function gradient.register(entry)
  while true do
    local id = tonumber(C.ml_call_forgotten())
    if id == 0 then break end
    entries[id] = nil
  end
  last = last + 1
  entries[last] = entry
  return last
end

local function saved(i)
  local t = new_ref()
  check(C.ml_backward_saved(t, i - 1))
  return own(t)
end

local function compute(ids, list)
  local g = new_ref()
  check(C.ml_backward_call(ids, g))
  local entry = entries[tonumber(ids[0])]
  local mixed = C.ml_mixed(-1) -- a backward is outside of mixed precision
  local got = entry:backward(own(g), saved)
  C.ml_mixed(mixed)
  for i = 1, entry.n do
    if got[i] ~= nil then
      if not core.is_tensor(got[i]) then
        core.misuse(("backward of %s: gradient #%d: expected a tensor or nil, got %s"):format(
          entry.name, i, core.what(got[i])))
      end
      list[i - 1] = got[i]
    end
  end
  return got, entry.n
end

--- Go on with a backward that waits, to its end.
-- @tparam number code  what it returned
-- @treturn number      the last code
function gradient.finish(code)
  local ids = Id()
  while code == C.ML_CALL do
    local list = Refs(64) -- slot 0: none
    local ok, got, n = pcall(compute, ids, list)
    code = C.ml_backward_resume(list, ok and n or 0, not ok)
    if not ok then error(got, 0) end
  end
  return check(code)
end

--- Record y as computed from inputs, with a gradient that `entry` computes.
-- @tparam Tensor y
-- @tparam table inputs  tensors; the last n_saved of them are only kept
-- @tparam number n_saved
-- @tparam table entry   as `register` takes it, and its name
-- @treturn Tensor       y itself where nothing asks for a gradient
function gradient.record(y, inputs, n_saved, entry)
  local list = Refs(#inputs + 1)
  for i = 1, #inputs do list[i - 1] = inputs[i] end
  local out = new_ref()
  entry.label = ffi.new("char[?]", #entry.name + 1, entry.name) -- the record points to it
  check(C.ml_call_record(out, y, list, #inputs, n_saved, entry.label, gradient.register(entry)))
  return own(out)
end

--- Let a computed tensor's gradient go through an entry.
function gradient.hook(t, entry)
  check(C.ml_call_hook(t, gradient.register(entry)))
end

--- The gradients of a loss by some tensors: a list, false where there is none.
-- @tparam Tensor loss
-- @tparam ?Tensor grad
-- @tparam table of
-- @tparam boolean graph
function gradient.by(loss, grad, of, graph)
  local n = #of
  local list, out = Refs(n + 1), Refs(n + 1)
  for i = 1, n do list[i - 1] = of[i] end
  local code = check(C.ml_gradients(loss, grad, list, n, graph))
  if code == C.ML_CALL then gradient.finish(code) end
  check(C.ml_gradients_take(out, n))
  local got = {}
  for i = 1, n do
    got[i] = false
    if out[i - 1].slot ~= 0 then
      local t = new_ref()
      t.slot, t.gen = out[i - 1].slot, out[i - 1].gen
      got[i] = own(t)
    end
  end
  return got
end

return gradient
