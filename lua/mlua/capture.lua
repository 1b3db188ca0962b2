--- A training step recorded once and replayed: no Lua, no checks, no tape.
--
--     local step = ml.capture(function(batch)
--       local loss = ml.mse(model:forward(batch.x), batch.y)
--       opt:step(loss)
--       return loss
--     end)
--     for batch in loader:epoch(0) do total = total + step(batch):item() end
--
-- The first call runs the function and records what it asks of libmlua; later calls with arguments
-- alike repeat just that, to the same bits as the function itself. A call whose tensors differ in
-- dtype or shape, or whose numbers, strings, booleans and absent fields differ from those that the
-- function read, is recorded as well, and a few such records are kept. The ids of bags may change
-- in number (`embedding_bags` with offsets).
--
-- What changes from call to call has to come by the arguments (tensors, values, plain tables of
-- them), by tensors that are written in place, or by the optimiser: `opt:set_lr` and schedules
-- between calls count, and so do streams of random numbers. Fields of arguments are read by name:
-- pairs and next see the items of lists alone. The rest of the function's Lua runs
-- only when it is recorded: what it prints, counts, or decides by values from outside. Refused,
-- with an error by the first call, is what would go wrong silently: to read elements (item,
-- totable, print, data), to look at gradients, to keep a tensor beyond the step, to write into an
-- argument or set a learning rate in it, to advance a loader, masks whose counts depend on values,
-- and tensors computed outside that are on the tape.
--
-- What a step returns are copies of its results, off the tape.
-- @module mlua.capture
local capture = require "mlua.ffi.capture"
local check = require "mlua.check"
local core = require "mlua.ffi"

local is_tensor = capture.is_tensor

local Step = {}
Step.__index = Step

local MOST = 8 -- programs kept, by default

-- -- arguments --

-- A place among the arguments is a list of keys, the first the argument's number. While recording,
-- reads of it are noted in `record`: tensors in `inputs`, other values in `guards`.

local function path_text(path)
  local text = "#" .. path[1]
  for i = 2, #path do
    text = text .. (type(path[i]) == "string" and "." .. path[i] or "[" .. tostring(path[i]) .. "]")
  end
  return text
end

local function refuse(path, expected, v)
  core.misuse(("capture: argument %s: expected %s, got %s"):format(path_text(path), expected, v))
end

local mirror

-- The value at a place as the step sees it.
local function seen(record, path, v)
  if is_tensor(v) then
    record.inputs[#record.inputs + 1] = { path = path, number = capture.input(v) }
    return v
  end
  if type(v) == "table" then return mirror(record, path, v) end
  record.guards[#record.guards + 1] = { path = path, value = v }
  return v
end

-- A table that notes what is read of t. Lists are copied at once, so that # and ipairs work.
function mirror(record, path, t)
  if getmetatable(t) then refuse(path, "a tensor, a value or a plain table", "an object") end
  local function place(key)
    local p = {}
    for i = 1, #path do p[i] = path[i] end
    p[#p + 1] = key
    return p
  end
  local copy, n = {}, #t
  record.lengths[#record.lengths + 1] = { path = path, n = n }
  for i = 1, n do copy[i] = seen(record, place(i), t[i]) end
  return setmetatable(copy, {
    __index = function(_, key)
      if core.recording ~= record then return t[key] end
      local v = seen(record, place(key), t[key])
      if v ~= nil then rawset(copy, key, v) end
      return v
    end,
    __newindex = function()
      core.misuse "capture: the step sets a field of its argument; it would be set once only"
    end,
  })
end

local function at(args, path)
  local v = args[path[1]]
  for i = 2, #path do
    if type(v) ~= "table" then return nil end
    v = v[path[i]]
  end
  return v
end

-- -- recording --

-- What runs after each replay, for Lua's side of what the step called: an optimiser's count.
local function after(record)
  for i = 1, #record.after do record.after[i]() end
end

local function check_results(n, ...)
  local results = { ... }
  for i = 1, n do
    if not is_tensor(results[i]) then
      core.misuse(("capture: the step returns tensors, or nothing; its result #%d is %s"):format(i,
        core.what(results[i])))
    end
  end
  return results
end

local function finish(record, ...)
  local n = select("#", ...)
  local results = check_results(n, ...)
  record.n, record.copies = n, capture.refs(n)
  record.program = capture.finish(record.copies, results, n)
  return capture.results(record.copies, n)
end

local function recorded(record, fn, n, args)
  for i = 1, n do args[i] = seen(record, { i }, args[i]) end
  return finish(record, fn(unpack(args, 1, n)))
end

local function unless_failed(ok, ...)
  if ok then return ... end
  capture.abort()
  error(..., 0)
end

local function run_recording(record, fn, n, args)
  capture.begin(record)
  return unless_failed(pcall(recorded, record, fn, n, args))
end

-- Keeps a record that is complete.
local function add(self, record, ...)
  local inputs = 0
  for _, i in ipairs(record.inputs) do inputs = math.max(inputs, i.number) end
  record.n_inputs, record.refs = inputs, capture.refs(inputs)
  local programs = self.programs
  table.insert(programs, 1, record)
  if #programs > self.most then capture.free(table.remove(programs).program) end
  return ...
end

local function record_step(self, n, ...)
  local record = { inputs = {}, guards = {}, lengths = {}, after = {}, n_args = n }
  return add(self, record, core.scope(run_recording, record, self.fn, n, { ... }))
end

-- -- replaying --

-- Puts the arguments' tensors in their places, if all is as recorded.
local function fill(record, args)
  local guards, inputs, refs = record.guards, record.inputs, record.refs
  for i = 1, #guards do
    local g = guards[i]
    local v = at(args, g.path)
    if v ~= g.value and (v == v or g.value == g.value) then return false end
  end
  for i = 1, #record.lengths do
    local t = at(args, record.lengths[i].path)
    if type(t) ~= "table" or #t ~= record.lengths[i].n then return false end
  end
  local filled = 0
  for i = 1, #inputs do
    local t, number = at(args, inputs[i].path), inputs[i].number
    if not is_tensor(t) then return false end
    if number > filled then
      refs[number - 1], filled = t, number
    elseif refs[number - 1].slot ~= t.slot or refs[number - 1].gen ~= t.gen then
      return false -- two places that held one tensor hold two now
    end
  end
  return true
end

local function replayed(self, args, n)
  local programs = self.programs
  for i = 1, #programs do
    local r = programs[i]
    if r.n_args == n and fill(r, args)
      and capture.replay(r.program, r.refs, r.n_inputs, r.copies, r.n) then
      if i > 1 then
        table.remove(programs, i)
        table.insert(programs, 1, r)
      end
      return r
    end
  end
end

local function run(self, ...)
  if core.recording then core.misuse "capture: a captured step inside another" end
  local n = select("#", ...)
  local r = replayed(self, { ... }, n)
  if not r then return record_step(self, n, ...) end
  after(r)
  return capture.results(r.copies, r.n)
end

--- Forget what was recorded, and free its memory: the next call records again. For changes that
-- arguments do not show, such as a layer exchanged or switched to evaluation.
function Step:forget()
  for _, r in ipairs(self.programs) do capture.free(r.program) end
  self.programs = {}
end

function Step:__tostring()
  local calls = {}
  for i, r in ipairs(self.programs) do calls[i] = ("%d calls"):format(capture.calls(r.program)) end
  return "captured step: " .. (#calls == 0 and "not yet recorded" or table.concat(calls, ", "))
end

--- Capture a step: a function that is recorded when it is first called, and replayed then.
-- @tparam function fn  takes tensors, values and plain tables of them; returns tensors or nothing
-- @tparam ?table o     programs (8): records for other shapes and values that are kept, the latest
-- @treturn function    the captured step: arguments and results are fn's, results as copies
-- @treturn Step        its records: `forget()`, and text for people
-- @raise the captured step: what fn raises; what cannot be captured; a tensor in use that was freed
-- @function capture
return function(fn, o)
  check.arg(type(fn) == "function", 1, "capture", "fn: expected a function, got %s", check.what(fn))
  o = check.options(o, { programs = "number" }, 2, "capture")
  local most = check.int(o.programs or MOST, 2, "capture", "programs", 1)
  local self = setmetatable({ fn = fn, programs = {}, most = most }, Step)
  return function(...) return run(self, ...) end, self
end
