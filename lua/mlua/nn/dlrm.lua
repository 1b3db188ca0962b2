--- DLRM, the deep learning recommendation model, and its compressed variants.
--
--     dense ── bottom MLP ── x ──┐
--     ids ── tables ── e_1 … e_T ┴─ interaction ── top MLP ── probability
--
-- Its tables may be whole; or each large one a quotient and a remainder table, whose rows are
-- combined; or of mixed widths, the larger ones narrower and projected up.
-- @module mlua.nn.dlrm
-- @source Naumov et al. 2019, arXiv:1906.00091; Shi et al. 2019, arXiv:1909.02107 (quotient and
--   remainder); Ginart et al. 2019, arXiv:1909.11810 (mixed dimensions)
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local linear = require "mlua.nn.linear"
local tensor = require "mlua.tensor"
local op = require "mlua.op"
local TableCollection = require "mlua.nn.tables"

local DLRM = Module.class "DLRM"

-- Streams of the initial weights' draws: apart, so that a wider MLP changes no table.
local BOTTOM, TOP, TABLES, REMAINDERS, PROJECTIONS = 1, 1001, 1000001, 2000001, 3000001

local KNOWN = {
  dense = "number", tables = "table", dim = "number", bottom = "table", top = "table",
  interaction = "string", itself = "boolean", activation = "string", loss_threshold = "number",
  pooling = "string", qr = "table", md = "table", dtype = "string", seed = "number",
}

-- -- widths of mixed dimensions ----------------------------------------------------------------

local function round_even(x)
  local whole = math.floor(x)
  local rest = x - whole
  if rest > 0.5 or rest == 0.5 and whole % 2 == 1 then return whole + 1 end
  return whole
end

--- Row widths by the power rule: dim (n_min / n)^temperature, between 1 and dim.
-- @tparam {number,...} rows        of each table
-- @tparam number dim               width of the smallest table
-- @tparam number temperature       0: all dim
-- @tparam ?boolean powers          round to powers of 2
-- @tparam[opt=0] number threshold  tables with no more rows than this keep dim
-- @treturn {number,...}
-- @source Ginart et al. 2019, algorithm 2
function DLRM.mixed_widths(rows, dim, temperature, powers, threshold)
  local smallest, widths = math.huge, {}
  for _, n in ipairs(rows) do smallest = math.min(smallest, n) end
  for t, n in ipairs(rows) do
    local width = math.max(1, round_even(dim * smallest ^ temperature * n ^ -temperature))
    if powers then width = 2 ^ round_even(math.log(width) / math.log(2)) end
    widths[t] = n > (threshold or 0) and math.min(width, dim) or dim
  end
  return widths
end

-- -- lookups -----------------------------------------------------------------------------------

-- A group is one TableCollection and, per table of it, a slot { table, divide, modulo }: whose ids
-- it takes and what is done to them. `whole` groups take the batch's ids as they are.
local function add_group(self, name, slots, rows, dim, o, stream)
  local tables = self:child(name, TableCollection.new {
    rows = rows, dim = dim, dtype = o.dtype, seed = o.seed, stream = stream,
  })
  local whole = #slots == #self.rows
  for s, slot in ipairs(slots) do
    whole = whole and slot.table == s and not slot.divide and not slot.modulo
  end
  local group = { tables = tables, slots = slots, whole = whole }
  self.groups[#self.groups + 1] = group
  return group
end

-- The ids of a group's slots, and where their bags begin. Table by table, as the batch has them.
local function regroup(group, n_tables, ids, offsets)
  local from, begin = ids:data(), offsets and offsets:data()
  local bags = offsets and (offsets:count() - 1) / n_tables or ids:count() / n_tables
  local total = 0
  for _, slot in ipairs(group.slots) do
    local first = (slot.table - 1) * bags
    total = total + (begin and begin[first + bags] - begin[first] or bags)
  end
  local out = tensor.empty(total, { dtype = "i32" })
  local starts = begin and tensor.empty(#group.slots * bags + 1, { dtype = "i32" })
  local to, to_begin, at = out:data(), starts and starts:data(), 0
  for s, slot in ipairs(group.slots) do
    local first = (slot.table - 1) * bags
    local a = begin and begin[first] or first
    local b = begin and begin[first + bags] or first + bags
    if begin then
      for i = 0, bags - 1 do to_begin[(s - 1) * bags + i] = begin[first + i] - a + at end
    end
    local divide, modulo = slot.divide, slot.modulo
    for i = a, b - 1 do
      local id = from[i]
      if divide then id = (id - id % divide) / divide elseif modulo then id = id % modulo end
      to[at] = id
      at = at + 1
    end
  end
  if starts then to_begin[#group.slots * bags] = at end
  return out, starts
end

-- Per-id weights of the pooling, in the order of the ids: rows of width 1, each id its own bag.
local function pooling_weights(self, ids, offsets)
  local pooling = self.pooling.tables
  if not offsets then
    local w = op.embedding_bags(pooling, ids) -- [B, T, 1]
    return w:reshape(w:size(1), w:size(2)):transpose(1, 2):contiguous():reshape(-1)
  end
  local begin, n = offsets:data(), #self.rows
  local bags, parts = (offsets:count() - 1) / n, {}
  for t = 1, n do
    local a, b = begin[(t - 1) * bags], begin[t * bags]
    if b > a then
      local own = op.embedding_bags({ pooling.tensors[t] }, ids:narrow(1, a + 1, b))
      parts[#parts + 1] = own:reshape(-1)
    end
  end
  if #parts == 0 then return nil end
  return op.cat(parts, 1)
end

--- Rows of all tables summed over bags.
-- @tparam Tensor ids       i32 or i64: [T, B] for one id per bag, or flat with offsets
-- @tparam ?Tensor offsets  [T*B + 1]
-- @treturn Tensor          [B, T, dim]
function DLRM:lookup(ids, offsets)
  local group = self.groups[1]
  if group.whole and not self.assembly then
    local weights = self.pooling and pooling_weights(self, ids, offsets)
    return group.tables(ids, offsets, weights)
  end
  local found = {}
  for _, g in ipairs(self.groups) do
    if g.whole then
      found[g] = g.tables(ids, offsets)
    else
      found[g] = g.tables(regroup(g, #self.rows, ids, offsets))
    end
  end
  local columns = {}
  for t, a in ipairs(self.assembly) do
    local e = found[a.group]:narrow(2, a.slot, a.slot)
    if a.remainder then
      local r = found[a.remainder]:narrow(2, a.remainder_slot, a.remainder_slot)
      if a.operation == "mult" then e = op.mul(e, r)
      elseif a.operation == "add" then e = op.add(e, r)
      else e = op.cat({ e, r }, 3) end
    elseif a.projection then
      e = a.projection(found[a.group]:select(2, a.slot):contiguous()):unsqueeze(2)
    end
    columns[t] = e
  end
  return op.cat(columns, 2)
end

-- -- building ----------------------------------------------------------------------------------

local function build_whole(self, o)
  local slots = {}
  for t = 1, #self.rows do slots[t] = { table = t } end
  add_group(self, "tables", slots, self.rows, self.dim, o, TABLES)
  if o.pooling ~= "learned" then return end
  self.pooling = self:child("pooling", TableCollection.new { rows = self.rows, dim = 1,
    dtype = o.dtype, seed = o.seed, stream = REMAINDERS })
  for _, p in ipairs(self.pooling:named_parameters()) do p.tensor:fill(1) end
end

-- Tables of more rows than the threshold become n/c quotient rows and c remainder rows. As in the
-- public program, those begin at U(sqrt(1/n), 1), so that products of two do not vanish.
local function build_qr(self, o)
  local threshold, c = o.qr.threshold or 200, o.qr.collisions or 4
  local operation = o.qr.operation or "mult"
  local half = operation == "concat"
  check.arg_at(2, not half or self.dim % 2 == 0, 1, "DLRM",
    "dim: expected an even number for qr's concat, got %d", self.dim)
  local split, whole = { q = {}, r = {}, q_rows = {}, r_rows = {} }, { slots = {}, rows = {} }
  self.assembly = {}
  for t, n in ipairs(self.rows) do
    if n > threshold then
      local s = #split.q + 1
      split.q[s], split.q_rows[s] = { table = t, divide = c }, math.ceil(n / c)
      split.r[s], split.r_rows[s] = { table = t, modulo = c }, c
      self.assembly[t] = { slot = s, remainder_slot = s, operation = operation }
    else
      local s = #whole.slots + 1
      whole.slots[s], whole.rows[s] = { table = t }, n
      self.assembly[t] = { slot = s }
    end
  end
  local width = half and self.dim / 2 or self.dim
  local tables = #whole.slots > 0
    and add_group(self, "tables", whole.slots, whole.rows, self.dim, o, TABLES)
  local quotients, remainders
  if #split.q > 0 then
    quotients = add_group(self, "quotients", split.q, split.q_rows, width, o, TABLES + 500000)
    remainders = add_group(self, "remainders", split.r, split.r_rows, width, o, REMAINDERS)
  end
  for t, a in ipairs(self.assembly) do
    a.group, a.remainder = a.operation and quotients or tables, a.operation and remainders
    if a.operation then
      local low = math.sqrt(1 / self.rows[t])
      for i, group in ipairs { quotients, remainders } do
        local weight = group.tables.tables.tensors[a.slot]
        weight:copy(tensor.uniform(low, 1, weight:shape(), { dtype = o.dtype, seed = o.seed,
          stream = (i == 1 and TABLES + 500000 or REMAINDERS) + a.slot - 1 }))
      end
    end
  end
end

-- Tables of one width share a group; narrow rows go through a projection without bias.
local function build_md(self, o)
  local md = o.md
  self.widths = DLRM.mixed_widths(self.rows, self.dim, md.temperature or 0.3, md.round,
    md.threshold or 200)
  local by_width, order = {}, {}
  self.assembly = {}
  for t, width in ipairs(self.widths) do
    local g = by_width[width]
    if not g then
      g = { slots = {}, rows = {}, width = width }
      by_width[width], order[#order + 1] = g, g
    end
    g.slots[#g.slots + 1], g.rows[#g.rows + 1] = { table = t }, self.rows[t]
    self.assembly[t] = { slot = #g.slots, width = width }
  end
  for i, g in ipairs(order) do
    local name = g.width == self.dim and "tables" or "tables_" .. g.width
    g.group = add_group(self, name, g.slots, g.rows, g.width, o, TABLES + 100000 * i)
  end
  local projections = Module.class("Projections").create()
  for t, a in ipairs(self.assembly) do
    a.group = by_width[a.width].group
    if a.width < self.dim then
      a.projection = projections:child(tostring(t), linear.Linear.new {
        inputs = a.width, outputs = self.dim, bias = false, dtype = o.dtype, seed = o.seed,
        stream = PROJECTIONS + t,
      })
      local bound = math.sqrt(6 / (a.width + self.dim)) -- Glorot & Bengio 2010, eq. 16
      a.projection.weight:copy(tensor.uniform(-bound, bound, self.dim, a.width,
        { dtype = o.dtype, seed = o.seed, stream = 2 * (PROJECTIONS + t) }))
    end
  end
  self:child("projections", projections)
end

local function variant(o, name, known)
  if o[name] == nil then return end
  local message = check.misfit(o[name], known)
  check.arg_at(3, not message, 1, "DLRM", "%s: %s", name, message)
end

--- A model with fresh weights; the same seed gives the same.
-- @tparam table o  fields:
--   dense, width of the dense input (13);
--   tables, a list of row counts;
--   dim, width of an embedding row (16);
--   bottom, top, lists of hidden widths ({}): the bottom MLP goes from dense to dim, the top one
--   from the interaction to 1, the last activation a sigmoid;
--   interaction, "dot" or "cat" ("dot"); itself, dot with each feature's own square (false);
--   activation, "relu" or "sigmoid", of hidden layers and the bottom's last ("relu");
--   loss_threshold, keeps predictions within [loss_threshold, 1 - loss_threshold] (0: as they are);
--   pooling, "none", "fixed" (weights of 1: the same) or "learned" ("none");
--   qr, { threshold (200), collisions (4), operation "mult", "add" or "concat" };
--   md, { threshold (200), temperature (0.3), round (false) };
--   dtype ("f32"); seed (0)
-- @treturn DLRM
-- @raise bad argument #1 for an option that is unknown, of the wrong type or contradicts another
function DLRM.new(o)
  check.options(o, KNOWN, 1, "DLRM")
  check.arg(type(o) == "table" and o.tables and #o.tables > 0, 1, "DLRM",
    "tables: expected the row counts of the tables")
  local interaction, activation = o.interaction or "dot", o.activation or "relu"
  check.arg(interaction == "dot" or interaction == "cat", 1, "DLRM",
    "interaction: expected dot or cat, got %s", check.what(o.interaction))
  check.arg(activation == "relu" or activation == "sigmoid", 1, "DLRM",
    "activation: expected relu or sigmoid, got %s", check.what(o.activation))
  local pooling = o.pooling or "none"
  check.arg(pooling == "none" or pooling == "fixed" or pooling == "learned", 1, "DLRM",
    "pooling: expected none, fixed or learned, got %s", check.what(o.pooling))
  check.arg(not (o.qr and o.md), 1, "DLRM", "qr and md exclude each other")
  check.arg(pooling == "none" or not (o.qr or o.md), 1, "DLRM",
    "pooling: weights do not go with %s", o.qr and "qr" or "md")
  variant(o, "qr", { threshold = "number", collisions = "number", operation = "string" })
  variant(o, "md", { threshold = "number", temperature = "number", round = "boolean" })
  if o.qr then
    check.int(o.qr.collisions or 4, 1, "DLRM", "qr.collisions", 1)
    local operation = o.qr.operation or "mult"
    check.arg(operation == "mult" or operation == "add" or operation == "concat", 1, "DLRM",
      "qr.operation: expected mult, add or concat, got %s", check.what(operation))
  end
  local threshold = o.loss_threshold or 0
  check.arg(threshold >= 0 and threshold < 0.5, 1, "DLRM",
    "loss_threshold: expected 0 to below 0.5, got %.14g", threshold)

  local self = DLRM.create()
  self.rows = o.tables
  self.dense = check.int(o.dense or 13, 1, "DLRM", "dense", 1)
  self.dim = check.int(o.dim or 16, 1, "DLRM", "dim", 1)
  self.interaction, self.itself, self.threshold = interaction, o.itself or false, threshold
  self.groups = {}

  local bottom, features = { self.dense }, #self.rows + 1
  for _, width in ipairs(o.bottom or {}) do bottom[#bottom + 1] = width end
  bottom[#bottom + 1] = self.dim
  local met = features * self.dim
  if interaction == "dot" then
    met = self.dim + features * (features + (self.itself and 1 or -1)) / 2
  end
  local top = { met }
  for _, width in ipairs(o.top or {}) do top[#top + 1] = width end
  top[#top + 1] = 1

  local build = o.qr and build_qr or o.md and build_md or build_whole
  build(self, o)
  self:child("bottom", linear.MLP.new { sizes = bottom, activation = activation,
    last = activation, dtype = o.dtype, seed = o.seed, stream = BOTTOM })
  self:child("top", linear.MLP.new { sizes = top, activation = activation, last = "sigmoid",
    dtype = o.dtype, seed = o.seed, stream = TOP })
  return self:name_paths()
end

-- -- forward -----------------------------------------------------------------------------------

--- The probability of label 1.
-- @tparam Tensor dense     [B, dense]
-- @tparam Tensor ids       i32 or i64: [T, B] for one id per bag, or flat with offsets
-- @tparam ?Tensor offsets  [T*B + 1]: starts of bags, table by table, and the end
-- @treturn Tensor          [B, 1]
-- @raise where shapes do not fit, or an id is outside its table; the layer's path comes first
function DLRM:forward(dense, ids, offsets)
  local x = self.bottom(dense)
  local e = self:lookup(ids, offsets)
  local met
  if self.interaction == "dot" then
    met = op.dot_interaction(x, e, self.itself)
  else
    met = op.cat({ x, e:reshape(e:size(1), #self.rows * self.dim) }, 2)
  end
  local p = self.top(met)
  if self.threshold > 0 then p = op.clamp(p, self.threshold, 1 - self.threshold) end
  return p
end

function DLRM:describe()
  return ("DLRM %d dense, %d tables, dim %d, %s%s"):format(self.dense, #self.rows, self.dim,
    self.interaction, self.itself and " with itself" or "")
end

return DLRM
