--- tools/oracle: repeats recorded training runs of the public DLRM with mlua and compares.
--
-- A file holds a configuration, the initial weights, every batch, the losses before each update and
-- the final weights: docs/oracle.md has the form. Status 0: all tensors agree; 1: one differs by
-- more than the tolerance; 2: a file is not of the form.
-- @source facebookresearch/dlrm, dlrm_s_pytorch.py
local fail = require "mlua.fail"
local json = require "mlua.json"
local ml = require "mlua"
local param = require "mlua.param"
local DLRM = require "mlua.nn.dlrm"

-- A file that is not of the form ends with this; the name of the file is put before it.
local function malformed(message, ...)
  error({ malformed = message:format(...) }, 0)
end

-- -- what a file says --------------------------------------------------------------------------

local function said(text)
  return text and "'" .. text .. "'" or "nothing"
end

local function whole(text, name, min)
  local n = tonumber(text)
  if not n or n % 1 ~= 0 or n < min or n > 2 ^ 31 then
    malformed("metadata: %s: expected a whole number of at least %d, got %s", name, min, said(text))
  end
  return n
end

local function sizes(text, name)
  local ok, list = pcall(json.decode, text or "")
  if not ok or type(list) ~= "table" or #list == 0 then
    malformed("metadata: %s: expected a list of sizes, got %s", name, said(text))
  end
  for i = 1, #list do list[i] = whole(tostring(list[i]), name, 1) end
  return list
end

local function choice(text, name, ...)
  for _, word in ipairs { ... } do
    if text == word then return word end
  end
  malformed("metadata: %s: expected %s, got %s", name, table.concat({ ... }, " or "), said(text))
end

local function configuration(m)
  local lr = tonumber(m.lr)
  if not lr or lr <= 0 or lr >= math.huge then
    malformed("metadata: lr: expected a number above 0, got %s", said(m.lr))
  end
  local c = {
    dim = whole(m.dim, "dim", 1), tables = sizes(m.tables, "tables"),
    bottom = sizes(m.bottom, "bottom"), top = sizes(m.top, "top"),
    interaction = choice(m.interaction, "interaction", "dot", "cat"),
    itself = choice(m.itself or "False", "itself", "False", "True") == "True",
    loss = choice(m.loss, "loss", "bce", "mse"),
    optimizer = choice(m.optimizer, "optimizer", "sgd", "adagrad", "rwsadagrad"),
    lr = lr, batch = whole(m.batch, "batch", 1), steps = whole(m.steps, "steps", 1),
  }
  if #c.bottom < 2 or c.bottom[#c.bottom] ~= c.dim then
    malformed("metadata: bottom: expected at least two widths, the last of them dim, %d", c.dim)
  end
  if c.top[#c.top] ~= 1 then malformed("metadata: top: expected 1 as the last width") end
  return c
end

local function fetch(tensors, name, dtype, ...)
  local t, shape = tensors[name], { ... }
  if not t then malformed("no tensor '%s'", name) end
  local fits = t:dtype() == dtype and t:dim() == #shape
  for i = 1, #shape do fits = fits and (shape[i] < 0 or t:size(i) == shape[i]) end
  if not fits then
    for i, n in ipairs(shape) do shape[i] = n < 0 and "*" or n end
    malformed("tensor '%s': expected %s [%s], got %s [%s]", name, dtype, table.concat(shape, ", "),
      t:dtype(), table.concat(t:shape(), ", "))
  end
  return t
end

-- Names of the file beside names of the model, with shapes.
local function weights(c, model)
  local list, shapes = {}, {}
  for _, p in ipairs(model:named_parameters()) do shapes[p.name] = p.tensor:shape() end
  local function add(theirs, ours) list[#list + 1] = { theirs, ours, shapes[ours] } end
  for t = 1, #c.tables do
    add(("emb_l.%d.weight"):format(t - 1), ("tables.%d"):format(t))
  end
  for _, mlp in ipairs { { "bot_l", "bottom", #c.bottom - 1 }, { "top_l", "top", #c.top } } do
    for i = 1, mlp[3] do
      for _, kind in ipairs { "weight", "bias" } do
        add(("%s.%d.%s"):format(mlp[1], 2 * (i - 1), kind), ("%s.%d.%s"):format(mlp[2], i, kind))
      end
    end
  end
  return list
end

-- The ids of all tables one after the other, and the starts of all bags and the end.
local function bags(c, tensors, step)
  local parts, total = {}, 0
  local starts = ml.empty(#c.tables * c.batch + 1, { dtype = "i64" })
  local to = starts:data()
  for t = 1, #c.tables do
    local ids = fetch(tensors, ("step%d.indices.%d"):format(step, t - 1), "i64", -1)
    local name = ("step%d.offsets.%d"):format(step, t - 1)
    local from, count, before = fetch(tensors, name, "i64", c.batch):data(), ids:count(), 0
    for b = 0, c.batch - 1 do
      local start = tonumber(from[b])
      if start < before or start > count or b == 0 and start ~= 0 then
        malformed("tensor '%s': offset %d at position %d, expected %d to %d", name, start, b,
          before, b == 0 and 0 or count)
      end
      to[(t - 1) * c.batch + b] = start + total
      before = start
    end
    if count > 0 then parts[#parts + 1] = ids end
    total = total + count
  end
  to[#c.tables * c.batch] = total
  local ids, at = ml.empty(total, { dtype = "i64" }), 0
  for _, part in ipairs(parts) do
    ids:narrow(1, at + 1, at + part:count()):copy(part)
    at = at + part:count()
  end
  return ids, starts
end

-- -- the run -----------------------------------------------------------------------------------

-- max|a - b| / max|b|; NaN anywhere counts as infinitely far.
local function difference(a, b)
  a, b = a:contiguous(), b:contiguous()
  local x, y, far, size = a:data(), b:data(), 0, 0
  for i = 0, a:count() - 1 do
    local d = math.abs(x[i] - y[i])
    if d ~= d then return math.huge end
    far, size = math.max(far, d), math.max(size, math.abs(y[i]))
  end
  if far == 0 then return 0 end
  return far / size
end

local function train(c, tensors, model)
  local optimiser = ml.optim[c.optimizer](model, { lr = c.lr })
  local criterion = c.loss == "bce" and ml.bce or ml.mse
  local losses, first = ml.empty(c.steps), nil
  for step = 0, c.steps - 1 do
    ml.scope(function()
      local dense = fetch(tensors, ("step%d.dense"):format(step), "f32", c.batch, c.bottom[1])
      local label = fetch(tensors, ("step%d.label"):format(step), "f32", c.batch, 1)
      local prediction = model:forward(dense, bags(c, tensors, step))
      local loss = criterion(prediction, label)
      if step == 0 then first = prediction:detach():clone():keep() end
      losses:put(loss:item(), step + 1)
      optimiser:step(loss)
    end)
  end
  return losses, first
end

--- Repeat one file's run; largest differences by name, in the order of the file's state.
local function repeat_run(path)
  local tensors, metadata = ml.safetensors.load(path)
  if not tensors then
    local named = metadata:sub(1, #path + 2) == path .. ": "
    malformed("%s", named and metadata:sub(#path + 3) or metadata)
  end
  local c = configuration(metadata)
  local model = DLRM.new {
    dense = c.bottom[1], tables = c.tables, dim = c.dim,
    bottom = { unpack(c.bottom, 2, #c.bottom - 1) }, top = { unpack(c.top, 1, #c.top - 1) },
    interaction = c.interaction, itself = c.itself,
  }
  local names, state = weights(c, model), {}
  for _, w in ipairs(names) do
    state[w[2]] = fetch(tensors, "init." .. w[1], "f32", unpack(w[3]))
    fetch(tensors, "final." .. w[1], "f32", unpack(w[3]))
  end
  fetch(tensors, "losses", "f32", c.steps)
  fetch(tensors, "step0.prediction", "f32", c.batch, 1)
  assert(model:load_state(state))
  local ok, losses, first = pcall(train, c, tensors, model)
  if not ok then -- an id outside its table, say: the file's fault
    local problem = losses
    malformed("%s", type(problem) == "table" and problem.malformed
      or tostring(problem):gsub("^[^:]+:%d+: ", ""))
  end
  local final, results = model:state(), {
    { "losses", difference(losses, tensors.losses) },
    { "step 0 prediction", difference(first, tensors["step0.prediction"]) },
  }
  for _, w in ipairs(names) do
    results[#results + 1] = { w[1], difference(final[w[2]], tensors["final." .. w[1]]) }
  end
  return c, results
end

-- -- report ------------------------------------------------------------------------------------

local function report(path, c, results, o)
  local worst, at, far = 0, nil, {}
  for i, r in ipairs(results) do
    if i > 2 and (not at or r[2] > worst) then worst, at = r[2], r[1] end
    if r[2] > o.tolerance then far[#far + 1] = r end
  end
  print(("%s: %s%s, %s, %s, %d steps of %d"):format(path, c.interaction,
    c.itself and " with itself" or "", c.loss, c.optimizer, c.steps, c.batch))
  print(("  losses %.1e   step 0 prediction %.1e   final weights %.1e (%s)   %s"):format(
    results[1][2], results[2][2], worst, at, #far == 0 and "equal" or "DIFFERENT"))
  for i, r in ipairs(o.all and results or far) do
    if i > 10 and not o.all then
      print(("  … and %d more"):format(#far - 10))
      break
    end
    local word = r[2] > o.tolerance and "  above the tolerance" or ""
    print(("  %-24s %.2e%s"):format(r[1], r[2], word))
  end
  return #far == 0
end

local options, files = param.spec({
  tolerance = param.number { 1e-5, above = 0,
    doc = "largest max|a - b| / max|b| of a tensor that counts as equal" },
  all = param.bool { doc = "print every tensor's difference" },
}, {
  config = false, name = "tools/oracle",
  doc = "Repeats recorded runs of the public DLRM with mlua and compares.",
  arguments = { "FILE…", min = 1 },
}):main(arg)

local equal = true
for _, path in ipairs(files) do
  local ok, c, results = pcall(repeat_run, path)
  if not ok then
    if type(c) == "table" and c.malformed then fail.usage("%s: %s", path, c.malformed) end
    error(c, 0)
  end
  equal = report(path, c, results, options) and equal
end
io.stdout:flush()
os.exit(equal and 0 or 1, true)
