--- libmlua through LuaJIT's FFI: the library, handles on tensors, scopes and errors.
--
-- A tensor in Lua is a Ref, eight bytes of slot and generation (core/tensor/handle.c). Inside a
-- scope the scope's end frees it; outside any, after the collector has found that nobody holds it.
-- @module mlua.ffi
local ffi = require "ffi"
local cdef = require "mlua.ffi.cdef" -- generated; declares everything
local check = require "mlua.check"

local core = {}

-- build/lua/mlua/ffi/ -> build/libmlua.so; share/mlua/lua/mlua/ffi/ -> lib/libmlua.so
local function load()
  local tried
  for _, path in ipairs { "../../../libmlua.so", "../../../../../lib/libmlua.so" } do
    local ok, lib = pcall(ffi.load, cdef.path .. path)
    if ok then return lib end
    tried = tried or lib
  end
  error("mlua: cannot load libmlua.so: " .. tostring(tried), 0)
end

local C = load()
core.C = C -- this reference keeps the library loaded
if C.ml_abi() ~= 1 then
  error("mlua: libmlua.so has ABI " .. C.ml_abi() .. ", these modules need 1", 0)
end

local Ref = ffi.typeof "ml_ref"
local istype = ffi.istype
local memory = C.ml_memory_stats()
core.Ref, core.memory = Ref, memory

-- -- errors --

local own_sources = {
  "@" .. (debug.getinfo(1, "S").source:match("^@(.*/)ffi/") or "./"),
  "@" .. (cdef.path:match("^(.*/)ffi/$") or "./"),
}

--- Whether a function's source, as debug.getinfo has it, is one of mlua's own modules.
-- @tparam string source
-- @treturn boolean
function core.is_own(source)
  for i = 1, #own_sources do
    if source:sub(1, #own_sources[i]) == own_sources[i] then return true end
  end
  return false
end

--- The level, for error(), of the first function outside mlua's own modules; 0, which names no
-- line, where there is none (all of the user's calls were tail calls).
-- @tparam number from  where to start, 1 being the caller
function core.user_level(from)
  local level = (from or 1) + 1
  while true do
    local info = debug.getinfo(level, "S")
    if not info then return 0 end
    if info.what ~= "C" and not core.is_own(info.source) then return level - 1 end
    level = level + 1
  end
end

local context -- the path of the layer that is computing, for messages

--- Name the layer whose operations follow; nil when it is done. A message takes the name away.
-- @tparam ?string path
function core.set_context(path) context = path end

local function with_context(message)
  local path = context
  context = nil
  return path and path .. ": " .. message or message
end

-- The program prints a mistake found here as one line: its place is the user's, and no frame of
-- these modules would say more (core/host/call.c).
local host = package.loaded["mlua.host"] or {}
if host.watch then -- Ctrl-C at the program's prompt stops operations, too
  host.watch(tonumber(ffi.cast("uintptr_t", C.ml_interrupt)))
end
local function mistake(message)
  host.mistake = with_context(message)
  return host.mistake
end

--- Raise a message at the line of the user's code that led here.
function core.misuse(message)
  error(mistake(message), core.user_level(2))
end

local function raise()
  error(mistake(ffi.string(C.ml_error())), core.user_level(2))
end

--- Raise libmlua's message unless the code is a success; return the code.
function core.check(code)
  if code < 0 then raise() end
  return code
end

--- nil, message, code of the last failure: for failures of the world.
function core.failed(code)
  return nil, ffi.string(C.ml_error()), code
end

-- -- handles and scopes --

--- While a step is captured: what its replays do on Lua's side, { after = list of functions }.
-- @field recording
core.recording = nil

--- Elements that Lua has just written: constants of a step that is being captured.
function core.written(ref)
  if core.recording then core.check(C.ml_capture_constant(ref)) end
  return ref
end

--- Raise while a step is captured: what would happen once only.
function core.no_capture(message)
  if core.recording then core.misuse("capture: " .. message) end
end

local depth = 0 -- of scopes; libmlua's own count follows it

-- Tensors outside any scope, by slot, in a weak table; false where there is none. The collector
-- clears the entries of those that nobody holds, and the next operation frees their slots: a
-- finaliser on each would take eight times longer.
local live, gens, top = setmetatable({}, { __mode = "v" }), {}, 0
local due = false -- a collection has ended since the last sweep

local sentinel = newproxy(true) -- its copies find out
getmetatable(sentinel).__gc = function()
  due = true
  newproxy(sentinel)
end
newproxy(sentinel)

local gone = Ref()

local function sweep()
  due = false
  for i = 1, top do
    if live[i] == nil then
      live[i] = false
      gone.slot, gone.gen = i, gens[i]
      C.ml_tensor_free(gone)
    end
  end
end

--- Free the tensors that the collector has found.
function core.sweep()
  if due then sweep() end
end

-- The collector's from now on.
local function hold(ref)
  local slot = ref.slot
  if slot > top then
    for i = top + 1, slot do live[i], gens[i] = false, 0 end
    top = slot
  end
  live[slot], gens[slot] = ref, ref.gen
end

--- Let Lua's collector run where C memory has grown: it does not see those bytes.
local function relieve()
  collectgarbage()
  sweep()
  if memory.held > memory.collect_at then -- finalisers let go of what a second run finds
    collectgarbage()
    sweep()
  end
  memory.collect_at = math.max(32 * 2 ^ 20, 2 * tonumber(memory.held)) -- as core/tensor/alloc.c
end

local function relieve_where_due()
  if due then sweep() end
  if memory.held > memory.collect_at then relieve() end
end

--- Take charge of a handle that C has just made.
local function own(ref)
  if depth == 0 then
    hold(ref)
    relieve_where_due()
  end
  return ref
end
core.own = own

--- Free a tensor now; any further use of it is an error.
function core.free(ref)
  if gens[ref.slot] == ref.gen then live[ref.slot] = false end
  C.ml_tensor_free(ref)
end

--- Let a tensor outlive its scope: the collector frees it, as if made outside any.
function core.keep(ref)
  if core.check(C.ml_scope_keep(ref, 0)) == 0 then hold(ref) end
  return ref
end

-- Hands tensors made in the scope that ends to the one outside it. Others (parameters, say) are
-- left where they are, and so are those that are gone. Returns C's code.
local function keep_into(d, ...)
  local worst = 0
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if istype(Ref, v) then
      local code = C.ml_scope_keep(v, d)
      if code == 0 and d == 0 then hold(v) end
      if code < 0 and code ~= C.ML_EHANDLE then worst = code end
    end
  end
  return worst
end

local owners = {} -- by depth: the coroutine that opened the scope, false: the main one
local YIELDED = "scope: a coroutine yielded inside its scope; end the scope first"

local function leave(d, ok, ...)
  if depth ~= d then core.misuse(YIELDED) end
  local code = ok and keep_into(d - 1, ...) or 0
  C.ml_scope_end(d)
  depth = d - 1
  if d == 1 then relieve_where_due() end
  if not ok then error(..., 0) end
  if code < 0 then raise() end
  return ...
end

--- Run a function; the tensors it makes are freed at its end, but for those it returns (as values,
-- not inside tables). Scopes nest; one that is left by an error ends as well. A coroutine may run
-- within a scope, or open one, but not yield inside one that it has opened.
-- @tparam function fn
-- @param ...  for fn
-- @return what fn returns
function core.scope(fn, ...)
  if type(fn) ~= "function" then
    core.misuse(("bad argument #1 to 'scope' (expected a function, got %s)"):format(type(fn)))
  end
  local now, owner = coroutine.running() or false, owners[depth]
  if owner and owner ~= now and coroutine.status(owner) == "suspended" then
    core.misuse(YIELDED)
  end
  local d = C.ml_scope_begin()
  if d < 0 then raise() end
  depth = d
  owners[d] = now
  return leave(d, pcall(fn, ...))
end

-- -- generated operations --

local bad = {}

-- A value in a message, which is one line.
local function what(v)
  if type(v) == "string" then
    return (#v > 40 or v:find "%c") and "a string" or "'" .. v .. "'"
  end
  if type(v) == "number" then return ("%.14g"):format(v) end
  if type(v) == "boolean" then return tostring(v) end
  return istype(Ref, v) and "a tensor" or type(v)
end
core.what = what

local function bad_argument(i, op, name, expected, v)
  local message = ("bad argument #%d to '%s' (%s: expected %s, got %s)"):format(i, op, name,
    expected, what(v))
  error(mistake(message), core.user_level(3))
end
core.bad_argument = bad_argument

--- Raise bad argument #n to 'name' (…), at the line of the user's code that led here.
-- @tparam number n
-- @tparam string name    of the function, or class
-- @tparam string format  as string.format
function core.bad(n, name, format, ...)
  core.misuse(("bad argument #%d to '%s' (%s)"):format(n, name, format:format(...)))
end

--- The same, unless a condition holds.
-- @param ok  anything true passes
-- @tparam number n
-- @tparam string name
-- @tparam string format
function core.expect(ok, n, name, format, ...)
  if not ok then core.bad(n, name, format, ...) end
end

--- As check.options, but at the line of the user's code, however deep this is.
-- @treturn table  options, or an empty table
function core.options(options, known, n, name)
  if istype(Ref, options) then core.bad(n, name, "expected a table of options, got a tensor") end
  local message = check.misfit(options, known)
  if message then core.bad(n, name, "%s", message) end
  return options == nil and {} or options
end

function bad.tensor(i, op, name, v) bad_argument(i, op, name, "a tensor", v) end
function bad.number(i, op, name, v) bad_argument(i, op, name, "a number", v) end
function bad.int(i, op, name, v) bad_argument(i, op, name, "a whole number", v) end
function bad.bool(i, op, name, v) bad_argument(i, op, name, "true or false", v) end
function bad.choice(i, op, name, choices, v) bad_argument(i, op, name, "one of " .. choices, v) end

local RefArray = ffi.typeof "ml_ref[?]"
local RefList = {}

--- A list of handles as C takes it, made once for lists that are passed again and again.
-- @tparam table tensors
function core.ref_list(tensors)
  local array = RefArray(math.max(1, #tensors))
  for i = 1, #tensors do array[i - 1] = tensors[i] end
  return setmetatable({ array = array, n = #tensors, tensors = tensors }, RefList)
end

local function tensor_list(v, i, op, name)
  if type(v) ~= "table" then bad_argument(i, op, name, "a list of tensors", v) end
  if getmetatable(v) == RefList then return v.array, v.n end
  local array = RefArray(math.max(1, #v))
  for k = 1, #v do
    if not istype(Ref, v[k]) then
      bad_argument(i, op, ("%s[%d]"):format(name, k), "a tensor", v[k])
    end
    array[k - 1] = v[k]
  end
  return array, #v
end

core.op, core.op_methods = require "mlua.ffi.ops"(C, Ref, istype, Ref, own, raise, tensor_list, bad)

-- -- what tensor.lua needs of the FFI --

local Int64s = ffi.typeof "int64_t[8]"
local Double = ffi.typeof "double[1]"
-- each by its own text, not typeof("$ *", …): a recorded trace keeps the first $ it saw
local pointer = {
  f64 = ffi.typeof "double *", f32 = ffi.typeof "float *",
  bf16 = ffi.typeof "uint16_t *", f16 = ffi.typeof "uint16_t *",
  i64 = ffi.typeof "int64_t *", i32 = ffi.typeof "int32_t *",
  u8 = ffi.typeof "uint8_t *", bool = ffi.typeof "uint8_t *",
}
core.dtypes = {}
core.dtype_number = {}
core.is_float = { f64 = true, f32 = true, bf16 = true, f16 = true }
for i = 0, C.ML_DTYPES - 1 do
  local name = ffi.string(C.ml_dtype_name(i))
  core.dtypes[i] = name
  core.dtype_number[name] = i
end

--- A tensor's name among all that ever were: for tables of tensors, since handles are no keys.
function core.key(ref) return ref.slot .. ":" .. ref.gen end
function core.is_tensor(v) return istype(Ref, v) end
function core.new_ref() return Ref() end
function core.metatype(mt) return ffi.metatype(Ref, mt) end

--- The info of a tensor; raises if the handle is stale. It may be read until the next tensor is
-- made: the collector may free `ref` after its last use, but a record is only used again by a new
-- tensor.
function core.info(ref)
  if not istype(Ref, ref) then core.misuse("expected a tensor, got " .. what(ref)) end
  local i = C.ml_tensor_info(ref)
  if i == nil then
    core.misuse("the tensor is no longer there (its scope ended, or it was freed)")
  end
  return i
end

--- Its elements as a typed pointer: of a contiguous tensor in row order. Keep the tensor while you
-- use it.
function core.pointer(ref)
  local i = core.info(ref)
  return ffi.cast(pointer[core.dtypes[i.dtype]], i.data)
end

local buffers, turn = { Int64s(), Int64s() }, 0

--- A Lua list of sizes as C takes it; valid until the next call but one.
function core.sizes(list)
  turn = 1 - turn
  local b = buffers[turn + 1]
  if #list > 8 then core.misuse(("%d axes: expected 0 to 8"):format(#list)) end
  for i = 1, #list do b[i - 1] = list[i] end
  return b, #list
end

local one = Double()

--- One element as a number.
-- @param ref
-- @tparam number offset  of the element in the tensor's storage, from its first
function core.get(ref, offset)
  core.check(C.ml_tensor_get(ref, offset, one))
  return one[0]
end

--- One element as a text of all its digits, for 64-bit integers.
function core.digits(ref, offset)
  core.no_capture "the step prints values, which would be read once only"
  local text = tostring(core.pointer(ref)[offset]):gsub("U?LL$", "")
  core.info(ref) -- a use after the read
  return text
end

--- A new array of optimiser updates (core/include/mlua_grad.h).
function core.updates(n) return ffi.new("ml_update[?]", math.max(1, n)) end

--- The p-norm of the gradients of n parameters.
-- @param refs  as core.ref_list makes them
-- @tparam number n
-- @tparam number p
function core.norm_of_grads(refs, n, p)
  core.check(C.ml_grad_norm(one, refs, n, p))
  return one[0]
end

function core.version() return ffi.string(C.ml_version()) end
function core.build_info() return ffi.string(C.ml_build_info()) end

return core
