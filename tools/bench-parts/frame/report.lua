--- Rows of benches, as a table for people or as JSON lines.
--
-- Fields of a row: name; unit; ours, peer (in that unit; peer nil where there is none); ratio,
-- above 1 where ours is faster; ratio_fastest, that of each side's fastest round, which a busy
-- machine disturbs less; bound, what the machine allows in that unit, and bound_by, what
-- sets it; runs; threads, peer_threads; peer_version, or peer_missing, why there is none.
-- @module frame.report
local M = {}

local Report = {}
Report.__index = Report

local fields = {
  "name", "unit", "ours", "peer", "ratio", "ratio_fastest", "bound", "bound_by", "runs", "threads",
  "peer_threads", "peer_version", "peer_missing",
}

function M.new(json)
  return setmetatable({ json = json, rows = {}, notes = {}, noted = {} }, Report)
end

local function encode(value)
  if value == nil then return "null" end
  if type(value) == "number" then
    local finite = value == value and math.abs(value) ~= math.huge
    return finite and ("%.6g"):format(value) or "null"
  end
  return '"' .. tostring(value):gsub('[%c"\\]', function(c)
    return ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function figure(x)
  if not x then return "-" end
  if x >= 1000 then return ("%.0f"):format(x) end
  return ("%.3g"):format(x)
end

--- Add a row: JSON goes out at once, a table row when all are there.
function Report:add(row)
  self.rows[#self.rows + 1] = row
  if self.json then
    local parts = {}
    for i, field in ipairs(fields) do parts[i] = ('"%s": %s'):format(field, encode(row[field])) end
    io.stdout:write("{", table.concat(parts, ", "), "}\n")
    io.stdout:flush()
  end
end

--- Something that the reader of the figures must know; once each, on standard error.
-- @tparam string message
-- @tparam ?string kind  once for all messages of this kind
function Report:note(message, kind)
  kind = kind or message
  if self.noted[kind] then return end
  self.noted[kind] = true
  io.stdout:flush()
  io.stderr:write(message, "\n")
end

function Report:finish()
  if self.json then return end
  local rows = {}
  for i, r in ipairs(self.rows) do
    rows[i] = {
      r.name, r.unit, figure(r.ours), tostring(r.threads or "-"), figure(r.peer),
      r.peer_threads or "-", figure(r.ratio), figure(r.ratio_fastest), figure(r.bound),
      r.bound_by or "",
    }
  end
  print(require("mlua.ui.table").render {
    head = { "name", "unit", "ours", "threads", "peer", "threads", "ratio", "fastest", "bound",
      "set by" },
    rows = rows, align = "llrrrrrrrl", gap = 2,
  })
  local versions, seen = {}, {}
  for _, r in ipairs(self.rows) do
    local word = r.peer_version and "peer: " .. r.peer_version
      or r.peer_missing and "peer: " .. r.peer_missing
    if word and not seen[word] then
      seen[word] = true
      versions[#versions + 1] = word
    end
  end
  for _, word in ipairs(versions) do print(word) end
  if #self.rows > 0 then
    print(("medians of %d runs; ratio above 1: ours is faster; fastest: that of each side's "
      .. "fastest run"):format(self.rows[1].runs or 1))
  end
end

return M
