--- mlua: tensors, operations, scopes; the rest is a `require` away or loads on first use.
--
--     local ml = require "mlua"
--     local x = ml.randn(2, 3):requires_grad()
--     (x * x):sum():backward()
--     print(x:grad())
-- @module mlua
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"
local text = require "mlua.tensor.text"

local ml = {
  tensor = tensor.of, zeros = tensor.zeros, ones = tensor.ones, full = tensor.full,
  empty = tensor.empty, rand = tensor.rand, randn = tensor.randn, uniform = tensor.uniform,
  normal = tensor.normal, randint = tensor.randint, arange = tensor.arange, wrap = tensor.wrap,
  seed = tensor.seed, no_grad = tensor.no_grad, into = tensor.into, is_tensor = tensor.is,
  where = tensor.where,
  print_options = text.options,
  op = core.op,
}

for _, module in ipairs { "arrange", "draw", "order" } do
  local more = require("mlua.tensor." .. module)
  for _, list in pairs(more) do
    for name, f in pairs(list) do ml[name] = f end
  end
end
for name, f in pairs(core.op) do -- those that take numbers, too, in tensor's form
  if ml[name] == nil then ml[name] = tensor[name] or f end
end

--- mlua's version.
ml._VERSION = core.version()

--- Run a function; the tensors it makes are freed at its end, but for those it returns.
-- A training step goes into one: nothing waits for the collector.
ml.scope = core.scope

--- The number of compute threads, set first where n is given.
-- @tparam ?number n
function ml.threads(n)
  if n ~= nil then
    if type(n) ~= "number" or n % 1 ~= 0 or n < 1 or n > 1024 then
      core.bad_argument(1, "threads", "n", "a whole number, 1 to 1024", n)
    end
    core.check(core.C.ml_set_threads(n))
  end
  return core.C.ml_threads()
end

--- What memory is in use.
-- @treturn table  live, peak, cached: bytes of tensors now, at most so far, and kept for new ones;
--   tensors: how many live; resident: bytes of the process
function ml.memory()
  local m = core.memory
  return { live = tonumber(m.live), peak = tonumber(m.peak), cached = tonumber(m.cached),
           tensors = tonumber(m.tensors), resident = tonumber(core.C.ml_resident()) }
end

--- Seconds on a clock that only goes forward.
function ml.clock() return core.C.ml_clock() end

--- What this build and machine have, on one line.
ml.build_info = core.build_info

--- Compute by the slow references, or no longer: what the other implementations are tested against.
-- @tparam boolean on
-- @treturn boolean  the setting before
function ml.reference(on) return core.C.ml_use_reference(on and true or false) end

local lazy = { nn = "mlua.nn", optim = "mlua.optim", param = "mlua.param", metric = "mlua.metric",
               safetensors = "mlua.safetensors", npy = "mlua.npy", json = "mlua.json",
               data = "mlua.data" }

return setmetatable(ml, {
  __index = function(t, name)
    local module = lazy[name]
    if not module then return nil end
    local loaded = require(module)
    rawset(t, name, loaded)
    return loaded
  end,
})
