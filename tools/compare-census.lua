--- tools/compare-census: DLRM on census rows, by mlua and by PyTorch (tools/peers/census.py), with
-- the same model, initial weights and batches; status 1 where AUC or log loss differ by over 0.002.
local root = arg[0]:match("^(.*)/tools/[^/]*$") or "."
package.path = root .. "/tools/bench-parts/?.lua;" .. package.path

local DLRM = require "mlua.nn.dlrm"
local fail = require "mlua.fail"
local ml = require "mlua"
local param = require "mlua.param"
local peer = require "frame.peer"

local outside = (os.getenv("MLUA_TEST_DATA") or root .. "/../shared/data") .. "/clicks/census.tsv"

local o = param.spec({
  data = param.path { outside, doc = "census rows in the Criteo format (tools/census makes them)" },
  epochs = param.int { 5, min = 1 },
  batch = param.int { 128, min = 1 },
  lr = param.number { 0.01, above = 0 },
  dim = param.int { 16, min = 1 },
  bottom = param.ints { { 64 }, min = 1, doc = "hidden widths of the bottom MLP" },
  top = param.ints { { 64 }, min = 1, doc = "hidden widths of the top MLP" },
  seed = param.int { 123, min = 0 },
  within = param.number { 0.002, min = 0, doc = "largest difference that counts as equal" },
  python = param.string { optional = true, meta = "PATH",
    doc = "interpreter with PyTorch (default: MLUA_PEER_PYTHON, or /usr/bin/python3)" },
}, {
  config = false, name = "tools/compare-census",
  doc = "Trains mlua and PyTorch alike on census rows, and compares test AUC and log loss.",
}):main(arg)

local set = fail.assert(ml.data.clicks.open(o.data, { cache = false }))
local model = DLRM.new {
  dense = set:dense(), tables = set:tables(), dim = o.dim, bottom = o.bottom, top = o.top,
  seed = o.seed,
}

-- -- what PyTorch gets -------------------------------------------------------------------------

-- All rows of a part, in order: dense [N, 13], ids [N, 26], label [N].
local function rows(part)
  local loader = fail.assert(part:loader { batch = part:rows() })
  local batch = loader:next()
  local all = {
    dense = batch.dense:clone(), ids = batch.ids:transpose():to("i64"):contiguous(),
    label = batch.label:reshape(-1):clone(),
  }
  loader:close()
  return all
end

local loader = fail.assert(set.train:loader { batch = o.batch, shuffle = true, seed = o.seed,
  drop_last = true })
local steps = loader:steps()

local function export(path)
  local tensors = {}
  for name, part in pairs { train = set.train, test = set.test } do
    for field, t in pairs(rows(part)) do tensors[name .. "." .. field] = t end
  end
  for _, p in ipairs(model:named_parameters()) do
    local group, index, rest = p.name:match("^(%a+)%.(%d+)(.*)$")
    -- PyTorch counts a layer and its activation apart, from 0.
    local name = group == "tables" and ("tables.%d.weight"):format(index - 1)
      or ("%s.%d%s"):format(group, 2 * (index - 1), rest)
    tensors["init." .. name] = p.tensor
  end
  local order = ml.empty(o.epochs * steps * o.batch, { dtype = "i64" })
  local to, at = order:data(), 0
  for epoch = 0, o.epochs - 1 do
    local list = loader:order(epoch)
    for i = 1, steps * o.batch do
      to[at] = list[i] - 1
      at = at + 1
    end
  end
  tensors.order = order
  fail.assert(ml.safetensors.save(path, tensors, {
    batch = tostring(o.batch), lr = ("%.17g"):format(o.lr), dim = tostring(o.dim),
    tables = table.concat(set:tables(), ","),
    bottom = table.concat({ set:dense(), unpack(o.bottom) }, ",") .. "," .. o.dim,
    top = table.concat(o.top, ",") .. ",1",
  }))
end

-- -- the two of them ---------------------------------------------------------------------------

local function train_ours()
  local optimiser = ml.optim.sgd(model, { lr = o.lr })
  local function step(b)
    optimiser:step(ml.bce(model:forward(b.dense, b.ids), b.label))
  end
  for epoch = 0, o.epochs - 1 do
    for b in loader:epoch(epoch) do ml.scope(step, b) end
  end
  local meter = ml.metric.binary()
  local tests = fail.assert(set.test:loader { batch = 4096 })
  for b in tests:epoch(0) do
    ml.no_grad(ml.scope, function() meter:add(model:forward(b.dense, b.ids), b.label) end)
  end
  local result = meter:result()
  return { auc = result.auc, log_loss = result.log_loss }
end

local function train_theirs(folder)
  local python = peer.python(o.python)
  local pipe = assert(io.popen(("%s %s %s 2>%s"):format(peer.quote(python),
    peer.quote(root .. "/tools/peers/census.py"), peer.quote(folder),
    peer.quote(folder .. "/err"))))
  local said = pipe:read("*a")
  pipe:close()
  local auc, log_loss = said:match("auc=(%S+) log_loss=(%S+)")
  if auc then
    return { auc = tonumber(auc), log_loss = tonumber(log_loss) }, said:match("version ([^\n]+)")
  end
  local file = io.open(folder .. "/err", "r")
  local why = file and file:read("*a") or ""
  if file then file:close() end
  return nil, peer.reason(python, why)
end

local function temporary()
  local pipe = assert(io.popen("mktemp -d"))
  local path = pipe:read("*l")
  pipe:close()
  return path
end

local folder = temporary()
local ok, ours, theirs, version = pcall(function()
  export(folder .. "/census.safetensors")
  local ours = train_ours()
  return ours, train_theirs(folder)
end)
os.execute("rm -rf " .. peer.quote(folder))
if not ok then error(ours, 0) end

print(("%s: %d rows to train, %d to test; %d epochs of %d steps of %d, SGD lr %g"):format(o.data,
  set.train:rows(), set.test:rows(), o.epochs, steps, o.batch, o.lr))
if not theirs then
  print(("mlua      AUC %.6f   log loss %.6f"):format(ours.auc, ours.log_loss))
  fail.run("peer: %s", version)
end
local auc, loss = math.abs(ours.auc - theirs.auc), math.abs(ours.log_loss - theirs.log_loss)
local equal = auc <= o.within and loss <= o.within
print(("mlua         AUC %.6f   log loss %.6f"):format(ours.auc, ours.log_loss))
print(("PyTorch      AUC %.6f   log loss %.6f   (%s)"):format(theirs.auc, theirs.log_loss, version))
print(("difference       %.6f            %.6f   %s"):format(auc, loss,
  equal and ("within %g"):format(o.within) or ("MORE THAN %g"):format(o.within)))
io.stdout:flush()
os.exit(equal and 0 or 1, true)
