--- mlua's data sets: those of mlua.data, with its options and defaults.
--
-- Each is built by (o, source), where the source is a path, and gives the data set, or nil, a
-- message and a code.
-- @module mlua.registry.datasets
local param = require "mlua.param"
local register = require "mlua.registry".register

local LARGEST = 2 ^ 31 - 1

local function copy(o)
  local given = {}
  for option, value in pairs(o) do given[option] = value end
  return given
end

register("dataset", "clicks", {
  doc = "a click log in the Criteo format, or a synthetic one (mlua.data.clicks)",
  source = param.string { "", meta = "PATH",
    doc = "path of the log, or synthetic; unless set, what the caller says" },
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
  if o.source ~= "" then source = o.source end
  given.source = nil
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
