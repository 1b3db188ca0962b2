--- Embedding tables of one width, looked up in one call.
-- @module mlua.nn.tables
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local tensor = require "mlua.tensor"

local TableCollection = Module.class "TableCollection"

--- Tables of rows[t] rows each, entries U(-sqrt(1/n), sqrt(1/n)) for n rows.
-- @tparam table o  rows: a list of row counts; dim: width; mode "sum" or "mean" ("sum"); dtype
--   ("f32"); seed and stream, which name the draws (table t draws from stream + t - 1)
-- @treturn TableCollection  parameters "1", "2", …; each [rows[t], dim]
-- @source facebookresearch/dlrm, dlrm_s_pytorch.py, create_emb
function TableCollection.new(o)
  check.options(o, { rows = "table", dim = "number", mode = "string", dtype = "string",
                     seed = "number", stream = "number" }, 1, "TableCollection")
  o = o or {}
  check.arg(type(o.rows) == "table", 1, "TableCollection", "rows: expected a list, got %s",
    check.what(o.rows))
  check.arg(o.mode == nil or o.mode == "sum" or o.mode == "mean", 1, "TableCollection",
    "mode: expected sum or mean, got %s", check.what(o.mode))
  check.arg(#o.rows >= 1, 1, "TableCollection", "rows: expected at least one table")
  check.int(o.dim, 1, "TableCollection", "dim", 1)
  local self = TableCollection.create()
  self.rows, self.dim, self.mode = o.rows, o.dim, o.mode or "sum"
  for t, n in ipairs(o.rows) do
    check.int(n, 1, "TableCollection", "rows[" .. t .. "]", 1)
    local bound = math.sqrt(1 / n)
    self:parameter(tostring(t), tensor.uniform(-bound, bound, n, o.dim,
      { dtype = o.dtype, seed = o.seed, stream = o.stream and o.stream + t - 1 }))
  end
  self:rebind()
  return self
end

TableCollection.stored_as = { bf16 = "f32", f16 = "f32" } -- op.embedding_bags has no 16-bit rows

--- After its tables have become other tensors (`to`).
function TableCollection:rebind() self.tables = core.ref_list(self:parameters()) end

--- Bags of ids to [B, T, dim].
-- @tparam Tensor indices   i32 or i64: [T, B] for one id per bag, or flat with offsets
-- @tparam ?Tensor offsets  [T*B + 1]: starts of bags, table by table, and the end
-- @tparam ?Tensor weights  per id
-- @treturn Tensor
-- @raise an id outside its table, with its position
function TableCollection:forward(indices, offsets, weights)
  core.set_context(self._path)
  local y = core.op.embedding_bags(self.tables, indices, offsets, weights, self.mode)
  core.set_context(nil)
  return y
end

function TableCollection:describe()
  return ("TableCollection %d x %d"):format(#self.rows, self.dim)
end

return TableCollection
