--- mlua's data sets: rows of CSV files, and those of mlua.data, with its options and defaults.
--
-- Each is built by (o, source), where the source is a path, and gives the data set, or nil, a
-- message and a code. What a data set is to a training, also one of a user's own, is told by
-- mlua.data.sets: parts `train` and `test`, each tensors by name, or n and get(i):
--
--     ml.dataset("toy", { n = param.int { 100, min = 1 } }, function(o)
--       local x = ml.rand(o.n, 2, { seed = 1, stream = 0 })
--       return { train = { x = x, y = x:sum(2) } }
--     end)
-- @module mlua.registry.datasets
local param = require "mlua.param"
local register = require "mlua.registry".register

local LARGEST = 2 ^ 31 - 1

local function copy(o)
  local given = {}
  for option, value in pairs(o) do given[option] = value end
  return given
end

register("dataset", "csv", {
  doc = "rows of CSV files whose first lines name their columns (mlua.data.labelled)",
  source = param.files { required = true, length = { 1 },
    doc = "the files, one after another, or joined by a key" },
  target = param.string { doc = "the column that is predicted; unless set, the last" },
  kind = param.choice { "auto", "classification", "regression",
    doc = "auto: words, or whole numbers of few values, are classes" },
  key = param.string { doc = "join the files by this column" },
  without = param.strings { {}, doc = "columns that are no inputs" },
  missing = param.choice { "refuse", "mean", doc = "single values that are no numbers in a column "
    .. "of numbers: an error, or the mean of the training rows" },
  words = param.strings { {}, doc = "columns taken as words, though they have numbers" },
  group = param.string { doc = "rows that are alike in this column train or test together" },
  test = param.number { 0.2, min = 0, below = 1, doc = "the share of rows that test" },
  folds = param.int { 0, min = 0, doc = "parts of which one tests; 0: a share of the rows" },
  fold = param.int { 1, min = 1, doc = "the one that tests" },
  seed = param.int { 1, min = 0, doc = "of the split" },
}, function(o)
  local given = copy(o)
  if o.folds == 1 then return nil, "folds: expected at least 2, or 0 for none" end
  if o.folds > 0 and o.fold > o.folds then
    return nil, ("fold: expected at most %d, got %d"):format(o.folds, o.fold)
  end
  given.source = nil
  return require "mlua.data.labelled".open(o.source, given)
end)

register("dataset", "clicks", {
  doc = "a click log in the Criteo format, or a synthetic one (mlua.data.clicks)",
  source = param.file { literals = { "synthetic" }, doc = "the log, or synthetic: made, with a "
    .. "planted signal; unless set, what the caller says, or synthetic" },
  rows = param.int { min = 1, doc = "at most this many from the top; synthetic: all, 100000" },
  split = param.choice { "order", "random", doc = "training, test and validation parts: as rows "
    .. "stand in the file, or in a seeded order" },
  seed = param.int { 123, min = 0, doc = "of a synthetic log, and of a random split" },
  hash = param.int { min = 1, max = LARGEST, doc = "ids are words modulo this" },
  max_ind_range = param.int { min = 1, max = LARGEST,
    doc = "words modulo this, then ids by first appearance" },
  n_dense = param.int { 13, min = 0, max = 1024, doc = "dense values in a row" },
  n_cat = param.int { min = 0, max = 1024, doc = "words in a row; unless set, 26" },
  tables = param.ints { min = 1, max = LARGEST, doc = "synthetic: words of each category" },
  skew = param.int { min = 0, max = 16, doc = "synthetic: how much commoner the commonest are; "
    .. "unless set, 3" },
  threads = param.int { min = 1, max = 1024, significant = false,
    doc = "to read with; unless set, as many as compute" },
  cache = param.path { significant = false,
    doc = "folder for the cache file; none: keep in memory" },
  verify = param.bool { significant = false, doc = "check all of a cache file" },
}, function(o, source)
  local given = copy(o)
  given.source, source = nil, o.source or source
  if given.cache == "none" then given.cache = false end
  return require "mlua.data.clicks".open(source or "synthetic", given)
end)

register("dataset", "random", {
  doc = "random rows with bags of ids, with nothing in them to learn (mlua.data.random)",
  rows = param.int { 1024, min = 1, max = 2 ^ 40, doc = "rows" },
  n_dense = param.int { 13, min = 0, max = 1024, doc = "dense values in a row" },
  tables = param.ints { { 1000, 1000 }, min = 1, max = LARGEST, length = { 1, math.huge },
    doc = "rows of each table" },
  lookups = param.int { 10, min = 1, max = 2 ^ 20, doc = "ids in a bag" },
  fixed = param.bool { doc = "that many in each bag; else 1 to that many" },
  round_labels = param.bool { doc = "labels of 0 and 1; else uniform in [0, 1)" },
  seed = param.int { 123, min = 0, doc = "of all rows" },
}, function(o) return require "mlua.data.random".open(copy(o)) end)
