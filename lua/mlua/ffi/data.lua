--- Click data and loaders over the C ABI (core/include/mlua_data.h).
--
-- Handles are cdata that end with their last reference. What the world refuses comes back as
-- nil, message, code; so do arguments that C refuses, which callers turn into errors.
-- @module mlua.ffi.data
local ffi = require "ffi"
local core = require "mlua.ffi"

local C = core.C
local M = {}

M.EARG = C.ML_EARG

local Clicks, Loader = ffi.typeof "ml_clicks *[1]", ffi.typeof "ml_loader *[1]"
local Options, LoaderOptions = ffi.typeof "ml_clicks_options", ffi.typeof "ml_loader_options"
local Int64s, Ref, Refs = ffi.typeof "int64_t[?]", ffi.typeof "ml_ref", ffi.typeof "ml_ref[4]"

local function failed(code)
  return nil, ffi.string(C.ml_error()), code
end

local function set(to, from)
  for name, value in pairs(from) do to[name] = value end
  return to
end

local function int64s(list)
  local array = Int64s(math.max(1, #list))
  for i = 1, #list do array[i - 1] = list[i] end
  return array
end

-- -- data sets --

--- Open a text of clicks, or its cache.
-- @tparam string path
-- @tparam table o  fields of ml_clicks_options
-- @return handle, or nil, message, code
function M.open(path, o)
  local out = Clicks()
  local code = C.ml_clicks_open(out, path, set(Options(), o))
  if code < 0 then return failed(code) end
  return ffi.gc(out[0], C.ml_clicks_close)
end

--- Make clicks with a planted signal, or map them from the cache.
-- @tparam table what  rows, seed, skew, tables (a list)
-- @tparam table o     fields of ml_clicks_options
-- @return handle, or nil, message, code
function M.synthetic(what, o)
  local out, tables = Clicks(), int64s(what.tables)
  local w = ffi.new("ml_synthetic", { rows = what.rows, seed = what.seed, skew = what.skew })
  w.tables = tables
  local code = C.ml_clicks_synthetic(out, w, set(Options(), o))
  if code < 0 then return failed(code) end
  return ffi.gc(out[0], C.ml_clicks_close)
end

--- What is known of a data set, in Lua's values.
-- @param clicks  handle
-- @treturn table
function M.info(clicks)
  local view = C.ml_clicks_view(clicks)
  local tables = {}
  for t = 1, view.n_cat do tables[t] = tonumber(view.tables[t - 1]) end
  return {
    rows = tonumber(view.rows), n_dense = view.n_dense, n_cat = view.n_cat, tables = tables,
    name = ffi.string(view.name), cache = ffi.string(view.cache), note = ffi.string(view.note),
    warm = view.warm, planted = view.planted ~= nil, hashed = view.words == nil,
  }
end

--- One row as it lies in memory: label, dense values, ids; row counts from 1.
function M.row(clicks, row)
  local view = C.ml_clicks_view(clicks)
  local dense, ids = {}, {}
  for j = 1, view.n_dense do dense[j] = view.dense[(row - 1) * view.n_dense + j - 1] end
  for t = 1, view.n_cat do ids[t] = view.ids[(row - 1) * view.n_cat + t - 1] end
  return view.label[row - 1], dense, ids
end

--- The word of an id as a number; table counts from 1, id from 0. nil where ids are hashed.
function M.word(clicks, table_number, id)
  local view = C.ml_clicks_view(clicks)
  if view.words == nil then return nil end
  local at = 0
  for t = 0, table_number - 2 do at = at + tonumber(view.tables[t]) end
  return view.words[at + id]
end

--- End a handle now rather than when it is collected.
function M.close(clicks)
  C.ml_clicks_close(ffi.gc(clicks, nil))
end

function M.write(clicks, path, first, count)
  local code = C.ml_clicks_write(clicks, path, first, count)
  if code < 0 then return failed(code) end
  return true
end

local function part_of(part)
  return ffi.new("ml_part", { first = part.first, count = part.count,
    permuted = part.permuted or false, seed = part.seed or 0 })
end

--- Probabilities that drew the labels of a part: a tensor f32 [rows].
function M.planted(clicks, part)
  local ref, shape = Ref(), Int64s(1, part.count)
  local code = C.ml_tensor_new(ref, C.ML_F32, 1, shape)
  if code < 0 then return failed(code) end
  C.ml_scope_keep(ref, 0)
  ffi.gc(ref, C.ml_tensor_free)
  code = C.ml_clicks_planted(ffi.cast("float *", C.ml_tensor_info(ref).data), clicks, part_of(part))
  if code < 0 then return failed(code) end
  return ref
end

-- -- loaders --

local function loader_options(o)
  local options = LoaderOptions {
    batch = o.batch, shuffle = o.shuffle or false, drop_last = o.drop_last or false,
    seed = o.seed or 0, workers = o.workers or 0, sub_sample = o.sub_sample or 0,
  }
  options.part = part_of(o.part)
  return options
end

-- `held`: what the loader reads, which must not go before the loader has ended.
local function loader(code, out, held)
  if code < 0 then return failed(code) end
  if not held then return ffi.gc(out[0], C.ml_loader_close) end
  return ffi.gc(out[0], function(handle)
    C.ml_loader_close(handle)
    held = nil -- luacheck: ignore 311
  end)
end

-- The same elements under a handle of its own, whatever becomes of t's.
local function hold(t)
  local ref = Ref()
  core.check(C.ml_detach(ref, t))
  return core.keep(ref)
end

function M.clicks_loader(clicks, o)
  local out = Loader()
  return loader(C.ml_loader_clicks(out, clicks, loader_options(o)), out)
end

--- Over tensors: dense f32 [n, d], ids i32 [n, t], label f32 with n elements.
function M.rows_loader(rows, o)
  local out, tables, r = Loader(), int64s(rows.tables), ffi.new "ml_rows"
  local held = { hold(rows.dense), hold(rows.ids), hold(rows.label) }
  local dense, ids = C.ml_tensor_info(rows.dense), C.ml_tensor_info(rows.ids)
  r.rows, r.n_dense, r.n_cat, r.tables = dense.shape[0], dense.shape[1], ids.shape[1], tables
  r.dense, r.ids = ffi.cast("const float *", dense.data), ffi.cast("const int32_t *", ids.data)
  r.label = ffi.cast("const float *", C.ml_tensor_info(rows.label).data)
  return loader(C.ml_loader_rows(out, r, loader_options(o)), out, held)
end

--- Over random rows: rows, seed, n_dense, tables, lookups, fixed, round_labels.
function M.random_loader(what, o)
  local out, tables, r = Loader(), int64s(what.tables), ffi.new "ml_random_rows"
  r.rows, r.seed, r.n_dense, r.n_cat = what.rows, what.seed, what.n_dense, #what.tables
  r.lookups, r.fixed, r.round_labels = what.lookups, what.fixed, what.round_labels
  r.tables = tables
  return loader(C.ml_loader_random(out, r, loader_options(o)), out)
end

--- Tensors over a loader's arrays, for batches of `rows`: dense, label, ids, and offsets with bags.
function M.tensors(handle, rows, bags)
  local refs = Refs()
  local code = C.ml_loader_tensors(refs, handle, rows)
  if code < 0 then return failed(code) end
  local tensors = {}
  for i = 0, bags and 3 or 2 do tensors[i + 1] = ffi.gc(Ref(refs[i]), C.ml_tensor_free) end
  return tensors
end

--- Tell the tape that a batch's arrays hold other rows now.
-- @tparam table batch  dense, label, ids, offsets
function M.touch(batch)
  C.ml_tensor_touch(batch.dense)
  C.ml_tensor_touch(batch.label)
  C.ml_tensor_touch(batch.ids)
  if batch.offsets then C.ml_tensor_touch(batch.offsets) end
end

--- With bags: the ids of the batch at hand; frees `old`, those of the batch before.
function M.ids(handle, old)
  local ref = Ref()
  local code = C.ml_loader_ids(ref, handle)
  if code < 0 then return failed(code) end
  C.ml_tensor_free(ffi.gc(old, nil))
  return ffi.gc(ref, C.ml_tensor_free)
end

--- The ml_batch that ml_loader_next fills, a pointer; valid while the handle is.
function M.batch(handle) return C.ml_loader_batch(handle) end

--- 0: a batch is there; 1: the epoch is over; below 0: M.message() says why.
function M.next(handle) return C.ml_loader_next(handle) end

function M.message() return ffi.string(C.ml_error()) end

function M.seek(handle, epoch, step)
  local code = C.ml_loader_seek(handle, epoch, step)
  if code < 0 then return failed(code) end
  return true
end

function M.count(handle) return tonumber(C.ml_loader_count(handle)) end

function M.steps(handle) return tonumber(C.ml_loader_steps(handle)) end

--- Rows (from 1) that stand at places begin + 1 … begin + n of an epoch.
function M.order(handle, epoch, begin, n)
  local out = Int64s(math.max(1, n))
  local code = C.ml_loader_order(out, handle, epoch, begin, n)
  if code < 0 then return failed(code) end
  local rows = {}
  for i = 1, n do rows[i] = tonumber(out[i - 1]) + 1 end
  return rows
end

function M.loader_close(handle)
  C.ml_loader_close(ffi.gc(handle, nil))
end

return M
