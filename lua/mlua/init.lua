--- mlua: tensors, operations, scopes; the rest is a `require` away or loads on first use.
--
--     local ml = require "mlua"
--     local x = ml.randn(2, 3):requires_grad()
--     (x * x):sum():backward()
--     print(x:grad())
-- @module mlua
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"

local ml = {
  tensor = tensor.of, is_tensor = tensor.is, op = core.op,
}

local lazy = { capture = "mlua.capture", nn = "mlua.nn", optim = "mlua.optim",
               param = "mlua.param", metric = "mlua.metric", safetensors = "mlua.safetensors",
               npy = "mlua.npy", json = "mlua.json", data = "mlua.data", linalg = "mlua.linalg",
               einsum = "mlua.tensor.einsum", print_options = "mlua.tensor.text",
               format = "mlua.format", task = "mlua.task", flow = "mlua.flow",
               load = "mlua.flow", run = "mlua.flow", preview = "mlua.flow",
               compare = "mlua.flow", grid = "mlua.flow", invalidate = "mlua.flow",
               registry = "mlua.registry", config = "mlua.config",
               engine = "mlua.engine", profile = "mlua.profile",
               deterministic = "mlua.deterministic" }
-- ml.model("name", options, build) registers a part; ml.metric is a module, too, ml.format its own.
local registrars = { model = true, loss = true, optimizer = true, schedule = true, metric = true,
                     transform = true, dataset = true, sampler = true }
local of_tensor = {} -- names of `lazy` that are functions of tensors, not modules
for module, list in pairs(require "mlua.tensor.later") do
  for name in (list.methods .. " " .. (list.functions or "")):gmatch "%S+" do
    lazy[name], of_tensor[name] = module, true
  end
end

for _, functions in ipairs { tensor, core.op } do -- tensor's take numbers, too
  for name, f in pairs(functions) do
    if type(f) == "function" and ml[name] == nil and not lazy[name] then ml[name] = f end
  end
end
ml.of, ml.is = nil, nil -- they are ml.tensor and ml.is_tensor

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
  core.sweep()
  local m = core.memory
  return { live = tonumber(m.live), peak = tonumber(m.peak), cached = tonumber(m.cached),
           tensors = tonumber(m.tensors), resident = tonumber(core.C.ml_resident()) }
end

--- The bytes that tensors may take, set first where one is given; an operation that asks for more
-- raises "out of memory …". At first it is what the machine has, or its control group allows.
-- @tparam ?number bytes  0 for that again
-- @treturn number
function ml.memory_limit(bytes)
  if bytes ~= nil then
    if type(bytes) ~= "number" or bytes % 1 ~= 0 or bytes < 0 or bytes > 2 ^ 53 then
      core.bad_argument(1, "memory_limit", "bytes", "a whole number of at least 0", bytes)
    end
  end
  return tonumber(core.C.ml_memory_limit(bytes or -1))
end

--- Seconds on a clock that only goes forward.
function ml.clock() return core.C.ml_clock() end

--- What this build and machine have, on one line.
ml.build_info = core.build_info

--- Compute by the slow references, or no longer: what the other implementations are tested against.
-- @tparam boolean on
-- @treturn boolean  the setting before
function ml.reference(on) return core.C.ml_use_reference(on and true or false) end

return setmetatable(ml, {
  __index = function(t, name)
    local module = lazy[name]
    if registrars[name] then
      local register = require("mlua.registry").registrar(name)
      local loaded = module and require(module) or nil
      rawset(t, name, loaded and setmetatable(loaded, {
        __call = function(_, ...) return register(...) end,
      }) or register)
      return t[name]
    end
    if not module then return nil end
    local loaded = of_tensor[name] and tensor[name] or require(module)
    if name == "print_options" then loaded = loaded.options end
    if module == "mlua.flow" and name ~= "flow" then loaded = loaded[name] end -- ml.flow.run
    rawset(t, name, loaded)
    return loaded
  end,
})
