--- Dropout: parts of its input, chosen anew in every training step, set to 0.
--
-- What is dropped is named by (seed, stream, count, element): the count, a buffer, goes up by one
-- with every forward in training, so that a state that is loaded goes on where it was saved, on any
-- number of threads.
-- @module mlua.nn.dropout
local Module = require "mlua.nn.module"
local check = require "mlua.check"
local core = require "mlua.ffi"
local create = require "mlua.tensor.create"
local functional = require "mlua.nn.functional"

local Dropout = Module.class "Dropout"

--- x / (1 - p), but 0 with probability p, in training; x itself otherwise.
-- @tparam ?table o  p (0.5); by "element" or "channel" ("element"): whether the elements of one
--   channel of [N, C, …] go together; seed and stream, which name the draws, else the next
--   of ml.seed
-- @treturn Dropout  buffer count, i64 [1]
-- @source Srivastava et al. 2014, JMLR 15; by channel: Tompson et al. 2015, arXiv:1411.4280
function Dropout.new(o)
  o = check.options(o, { p = "number", by = "string", seed = "number", stream = "number" }, 1,
    "Dropout")
  local p, by, self = o.p or 0.5, o.by or "element", Dropout.create()
  check.arg(p >= 0 and p <= 1, 1, "Dropout", "p: expected 0 to 1, got %s", p)
  check.arg(by == "element" or by == "channel", 1, "Dropout",
    "by: expected element or channel, got %s", check.what(by))
  local seed, stream = o.seed, o.stream
  if not seed or not stream then
    local next_seed, next_stream = create.next_stream()
    seed, stream = seed or next_seed, stream or next_stream
  end
  self.seed = check.int(seed, 1, "Dropout", "seed", 0)
  self.stream = check.int(stream, 1, "Dropout", "stream", 0)
  self.p, self.by = p, by
  self:buffer("count", create.zeros(1, { dtype = "i64" }))
  return self
end

--- @tparam Tensor x
-- @treturn Tensor    of x's shape; x itself where nothing is dropped
function Dropout:forward(x)
  if not self.training or self.p == 0 then return x end
  core.set_context(self._path)
  local span = self.by == "channel" and functional.channel_size(x) or 1
  local y = core.op.dropout(x, self.p, self.seed, self.stream, core.op.count_up(self.count), span)
  core.set_context(nil)
  return y
end

function Dropout:describe()
  return ("Dropout %g%s"):format(self.p, self.by == "channel" and " by channel" or "")
end

return Dropout
