--- What a bench is given: its options, a folder for files, a peer, and `measure`.
-- @module frame.bench
local ml = require "mlua"
local peer_module = require "frame.peer"

local M = {}

local Bench = {}
Bench.__index = Bench

local clock = ml.clock
local scale = { s = 1, ms = 1e3, ["µs"] = 1e6, ns = 1e9 }

--- @tparam string name
-- @tparam table options  of the command line
-- @tparam {mlua=string,root=string,report=Report} where
function M.new(name, options, where)
  if options.threads then ml.threads(options.threads) end
  return setmetatable({
    name = name, options = options, runs = options.runs, peers = {},
    mlua = where.mlua, root = where.root, report = where.report,
  }, Bench)
end

--- A temporary folder, removed at the end of the bench.
function Bench:folder()
  if not self.temporary then
    local pipe = assert(io.popen("mktemp -d", "r"))
    self.temporary = pipe:read("*l")
    pipe:close()
  end
  return self.temporary
end

-- The peer of this script, started once; nil and why not.
local function peer_of(self, script, how)
  if not self.options.peer then return nil end
  local entry = self.peers[script]
  if not entry then
    local peer, missing = peer_module.start(script, {
      python = how.python or self.options.python, missing = how.missing, root = self.root,
      folder = self:folder(),
    })
    entry = { peer = peer, missing = missing }
    self.peers[script] = entry
    if missing then
      self.report:note("peer: " .. missing)
    elseif peer.version:find("reference%-BLAS") then
      self.report:note("WARNING: this PyTorch runs on the reference BLAS (libblas3), some 20 times "
        .. "slower than OpenBLAS:\n  no fair peer. apt-get install libopenblas0-pthread")
    end
  end
  return entry.peer, entry.missing
end

local function median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[(n + 1) / 2] or (list[n / 2] + list[n / 2 + 1]) / 2
end
M.median = median

-- Ticks of all cores: busy, and in all.
local function ticks()
  local file = io.open("/proc/stat", "r")
  if not file then return 0, 1 end
  local busy, all, n = 0, 0, 0
  for word in file:read("*l"):gmatch("%d+") do
    n = n + 1
    all = all + tonumber(word)
    if n ~= 4 and n ~= 5 then busy = busy + tonumber(word) end -- 4, 5: idle, waiting for a disk
  end
  file:close()
  return busy, all
end

-- Worker threads spin for a while after their last work (OpenBLAS's some 30 ms), and would take the
-- cores from the other side. What is busy after that are other processes.
local function rest(self)
  os.execute("sleep 0.1")
  local busy, all = ticks()
  os.execute("sleep 0.2")
  local busy_now, all_now = ticks()
  local share = (busy_now - busy) / math.max(1, all_now - all)
  if share > 0.25 then
    self.report:note(("WARNING: other processes keep the cores busy (%.0f %%): "
      .. "neither figures nor ratios are to be relied on"):format(100 * share), "busy")
  end
end

--- Time ours and the peer in turn (ours, peer, ours, peer, …) and add the row of medians.
-- @tparam table c  fields:
--   name; unit: s, ms, µs, ns per step, or another with `per`, units of work in a step (a rate);
--   steps of a round; ours(first, steps), which does them, first from 0 on, and may return seconds
--   per step of its own measuring; peer { script, case }, also python, its interpreter, and
--   missing, what to say where that or a package is not there; peer_run(), seconds, in its place,
--   without --peer, too, where `always`;
--   bound in seconds per step, bound_by
-- @treturn table  the row
function Bench:measure(c)
  local steps, next_step, threads = c.steps or 1, 0, ml.threads()
  local function ours(n)
    local begin = clock()
    local own = c.ours(next_step, n)
    local seconds = own or (clock() - begin) / n
    next_step = next_step + n
    return seconds
  end
  local peer, missing, peer_threads
  if c.peer then
    peer, missing = peer_of(self, c.peer[1], c.peer)
    if peer then
      c.peer[2].steps = c.peer[2].steps or steps
      peer_threads = peer:case(c.peer[2])
    end
  end
  local run_peer = peer and function() return peer:run() end
    or (self.options.peer or c.always) and c.peer_run or nil
  ours(math.max(1, math.floor(steps / 4)))
  local mine, theirs = {}, {}
  rest(self)
  for i = 1, self.runs do
    if run_peer and i > 1 then rest(self) end
    mine[i] = ours(steps)
    if run_peer then
      rest(self)
      theirs[i] = run_peer()
    end
  end
  local function convert(seconds)
    if not seconds then return nil end
    return c.per and c.per / seconds or seconds * assert(scale[c.unit], "unknown unit")
  end
  local a, b = median(mine), theirs[1] and median(theirs) -- sorted now: [1] is the fastest
  local row = {
    name = c.name, unit = c.unit, ours = convert(a), peer = convert(b), ratio = b and b / a,
    ratio_fastest = b and theirs[1] / mine[1],
    bound = convert(c.bound), bound_by = c.bound_by, runs = self.runs, threads = threads,
    peer_threads = peer_threads, peer_version = peer and peer.version or b and c.peer_version,
    peer_missing = missing,
  }
  self.report:add(row)
  return row
end

--- How many steps `measure` will ask for: batches to prepare, so that none comes twice.
function Bench:total(steps)
  return (self.runs + 1) * steps
end

--- End the peers and remove the folder.
function Bench:close()
  for _, entry in pairs(self.peers) do
    if entry.peer then entry.peer:close() end
  end
  if self.temporary then
    os.execute("rm -rf " .. peer_module.quote(self.temporary))
  end
end

return M
