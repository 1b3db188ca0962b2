--- tools/regress: whether recipes train as they did.
--
--     tools/regress                    each spec/support/regress/NAME.json: trains its recipe and
--                                      compares the metrics at its steps; the short ones
--     tools/regress --long             the long ones: 100,000 steps
--     tools/regress --update [NAME …]  writes what the metrics are now
--
-- A file has the recipe, its options, and what is expected: { kind ("train" or "test"), step, name,
-- value, tolerance (relative), better ("lower" or "higher") }. What is outside its tolerance fails,
-- be it better or worse: better results are looked at, too, and then written down with --update.
-- Its last line is the verdict; status 1: something differs.
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local json = require "mlua.json"
local param = require "mlua.param"
local store = require "mlua.ffi.store"

package.path = arg[0]:match "^(.*)/[^/]*$" .. "/?.lua;" .. package.path
local trial = require "lib.trial"

local spec = param.spec({
  long = param.bool { doc = "the long ones" },
  update = param.bool { doc = "write what the metrics are now" },
}, {
  config = false, name = "tools/regress", arguments = { "[NAME …]", min = 0 },
  doc = "Trains recipes and compares their metrics with what they were.",
})
local options, names = spec:main(arg)

local folder = trial.root .. "/spec/support/regress"

local function path_of(name) -- a name of spec/support/regress, or a path of one's own
  return name:find "%.json$" and name or ("%s/%s.json"):format(folder, name)
end

local function load(name)
  local document, why = json.load(path_of(name))
  if type(document) ~= "table" then fail.run("%s", why or name .. ": damaged") end
  return document
end

local function chosen()
  if names[1] then return names end
  local list = {}
  for _, file in ipairs(assert(files.list(folder))) do
    local name = file:match "^(.+)%.json$"
    if name and (load(name).long or false) == options.long then list[#list + 1] = name end
  end
  return list
end

-- The metrics of a training: kind, step → values.
local function train(name, about)
  local at = trial.folder()
  local p = trial.place(at, "training")
  local child = trial.start(trial.command(
    { "MLUA_STORE=" .. p.store, "MLUA_CACHE=" .. p.at .. "/cache" },
    { trial.root .. "/" .. about.recipe, unpack(about.options) }))
  local ok, said = trial.wait { child }
  if not ok then fail.run("%s: %s", name, said) end
  local found = { train = {}, test = {} }
  for _, run in ipairs(trial.runs(p.store)) do
    for _, row in ipairs(trial.metrics(run)) do found[row.kind][row.step] = row.values end
  end
  files.remove(at)
  return found
end

local function compare(name, about, found)
  local wrong = 0
  for _, expected in ipairs(about.expected) do
    local values = found[expected.kind][expected.step]
    local value = values and values[expected.name]
    local label = ("%s: %s %s at step %d"):format(name, expected.kind, expected.name,
      expected.step)
    if type(value) ~= "number" then
      wrong = wrong + 1
      print(label .. ": was not measured")
    else
      local off = (value - expected.value) / math.abs(expected.value)
      local good = math.abs(off) <= expected.tolerance
      local better = (off < 0) == (expected.better == "lower")
      if not good then wrong = wrong + 1 end
      print(("%s: %.6g, expected %.6g: %s"):format(label, value, expected.value, good and "equal"
        or better and "better" or "WORSE"))
      expected.value = options.update and value or expected.value
    end
  end
  return wrong
end

local total, wrong = 0, 0
for _, name in ipairs(chosen()) do
  local about = load(name)
  wrong = wrong + compare(name, about, train(name, about))
  total = total + #about.expected
  if options.update then
    fail.assert(store.put(path_of(name), json.encode(about, { indent = 2 }) .. "\n"))
  end
end
print(("%d figures, %d differ%s"):format(total, wrong, options.update and ", written" or ""))
if wrong > 0 and not options.update then os.exit(1) end
