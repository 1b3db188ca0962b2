--- Embeddings: rows of a table by ids, one by one or in bags.
-- @module mlua.nn.embedding
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"

local embedding_bags = core.op.embedding_bags

local STORED_AS = { bf16 = "f32", f16 = "f32" } -- op.embedding_bags has no 16-bit rows

-- After its table has become another tensor.
local function rebind(self) self.tables = core.ref_list { self.weight } end

-- The table, N(0, 1), the padding's row 0.
local function make_table(self, o)
  self.rows, self.dim, self.padding = o.rows, o.dim, o.padding
  local weight = self:parameter("weight", tensor.normal(0, 1, o.rows, o.dim,
    { dtype = o.dtype, seed = o.seed, stream = o.stream }))
  if o.padding then tensor.no_grad(function() weight:detach()[o.padding + 1] = 0 end) end
  rebind(self)
end

local Embedding = Module.class "Embedding"

--- Rows of a table by ids from 0. An optimiser's fused step updates the rows that were used.
-- @tparam table o  rows; dim: their width; padding: an id whose row begins as 0 and gets no
--   gradient; dtype ("f32"); seed and stream, which name the draws
-- @treturn Embedding  parameter weight [rows, dim], N(0, 1)
function Embedding.new(o)
  o = check.options(o, { rows = "number", dim = "number", padding = "number", dtype = "string",
                         seed = "number", stream = "number" }, 1, "Embedding")
  check.int(o.rows, 1, "Embedding", "rows", 1)
  check.int(o.dim, 1, "Embedding", "dim", 1)
  check.int(o.padding or 0, 1, "Embedding", "padding", 0, o.rows - 1)
  local self = Embedding.create()
  make_table(self, o)
  return self
end

--- @tparam Tensor ids  i32 or i64, any shape
-- @treturn Tensor      [ids' shape…, dim]
-- @raise an id outside the table, with its position
function Embedding:forward(ids)
  core.set_context(self._path)
  local y = embedding_bags(self.tables, ids, nil, nil, "sum", self.padding or -1)
  core.set_context(nil)
  local sizes = ids:shape()
  sizes[#sizes + 1] = self.dim
  return y:reshape(sizes)
end

local function describe(self)
  return ("%s %d x %d%s"):format(self.class_name, self.rows, self.dim,
    self.mode and " " .. self.mode or "")
end
Embedding.describe, Embedding.rebind, Embedding.stored_as = describe, rebind, STORED_AS

local EmbeddingBag = Module.class "EmbeddingBag"

--- Sums, means or largest elements of rows over bags of ids.
-- @tparam table o  as `Embedding`; mode "mean", "sum" or "max" ("mean"); the padding id counts for
--   nothing in a bag
-- @treturn EmbeddingBag  parameter weight [rows, dim], N(0, 1)
function EmbeddingBag.new(o)
  o = check.options(o, { rows = "number", dim = "number", padding = "number", mode = "string",
                         dtype = "string", seed = "number", stream = "number" }, 1, "EmbeddingBag")
  check.int(o.rows, 1, "EmbeddingBag", "rows", 1)
  check.int(o.dim, 1, "EmbeddingBag", "dim", 1)
  check.int(o.padding or 0, 1, "EmbeddingBag", "padding", 0, o.rows - 1)
  local mode, self = o.mode or "mean", EmbeddingBag.create()
  check.arg(mode == "sum" or mode == "mean" or mode == "max", 1, "EmbeddingBag",
    "mode: expected sum, mean or max, got %s", check.what(mode))
  self.mode = mode
  make_table(self, o)
  return self
end

-- The offsets of n bags of `each` ids; those of the last shape are kept, but in a captured step,
-- where they are a part of it.
local function even_offsets(self, n, each)
  if self.even_n == n and self.even_each == each then return self.even end
  local even = tensor.arange(n + 1, "f64"):affine(each, 0):to("i64")
  if not core.recording then
    self.even, self.even_n, self.even_each = core.keep(even), n, each
  end
  return even
end

--- @tparam Tensor ids       i32 or i64: [B, L], a bag a row; or flat, with offsets
-- @tparam ?Tensor offsets  [B + 1]: where bags start, and the end
-- @tparam ?Tensor weights  by id; not for max
-- @treturn Tensor          [B, dim]; zeros for an empty bag
-- @raise an id outside the table, with its position
function EmbeddingBag:forward(ids, offsets, weights)
  if not core.is_tensor(ids) then
    core.bad_argument(1, "EmbeddingBag", "ids", "a tensor", ids)
  end
  if not offsets then
    if ids:dim() ~= 2 then
      core.bad(1, "EmbeddingBag", "ids: expected [B, L], or offsets, got %d axes", ids:dim())
    end
    offsets = even_offsets(self, ids:size(1), ids:size(2))
  end
  core.set_context(self._path)
  local y = embedding_bags(self.tables, ids, offsets, weights, self.mode, self.padding or -1)
  core.set_context(nil)
  return y:reshape(y:size(1), self.dim)
end
EmbeddingBag.describe, EmbeddingBag.rebind = describe, rebind
EmbeddingBag.stored_as = STORED_AS

return { Embedding = Embedding, EmbeddingBag = EmbeddingBag }
