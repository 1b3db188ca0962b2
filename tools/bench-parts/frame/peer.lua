--- A Python process that answers by lines (tools/peers/peer.py).
--
-- Commands go to its standard input; answers come through a FIFO, since a pipe of popen has one
-- direction only.
-- @module frame.peer
local M = {}

local Peer = {}
Peer.__index = Peer

local function quote(s)
  return "'" .. s:gsub("'", "'\\''") .. "'"
end
M.quote = quote

local function read_all(path)
  local file = io.open(path, "r")
  local s = file and file:read("*a") or ""
  if file then file:close() end
  return s
end

--- The interpreter: by option, by environment, or Debian's own, which Debian's PyTorch belongs to.
function M.python(given)
  if given then return given end
  local named = os.getenv("MLUA_PEER_PYTHON")
  if named and named ~= "" then return named end
  local file = io.open("/usr/bin/python3", "rb")
  if file then file:close() return "/usr/bin/python3" end
  return "python3"
end

--- Why a peer did not come up, in a few words.
-- @tparam string python
-- @tparam string errors  what it said on standard error
function M.reason(python, errors)
  if errors:find("No module named '?torch") or errors:find("No module named '?numpy") then
    return ("PyTorch not installed for %s (apt-get install python3-torch libopenblas0-pthread)")
      :format(python)
  end
  if errors:find("not found") then return python .. " not found" end
  return ("%s: %s"):format(python, errors:match("([^\n]+)\n*$") or "left without a word")
end

--- Start tools/peers/<script>.py.
-- @tparam string script
-- @tparam {python=?string,missing=?string,root=string,folder=string} o
-- @treturn ?Peer  nil and why not
function M.start(script, o)
  local python = M.python(o.python)
  local answers, errors = o.folder .. "/" .. script .. ".fifo", o.folder .. "/" .. script .. ".err"
  os.remove(answers)
  assert(os.execute("mkfifo " .. quote(answers)) == 0, "mkfifo failed")
  -- cat takes what is written after the peer's end: writing to nobody would end this process.
  local commands = assert(io.popen(("%s %s >%s 2>%s; cat >/dev/null"):format(quote(python),
    quote(("%s/tools/peers/%s.py"):format(o.root, script)), quote(answers), quote(errors)), "w"))
  local self = setmetatable({
    commands = commands, answers = assert(io.open(answers, "r")), errors = errors,
  }, Peer)
  local first = self.answers:read("*l")
  self.version = first and first:match("^peer (.*)")
  if not self.version then
    self:close()
    local said = read_all(errors)
    local absent = said:find "No module named" or said:find "not found"
    return nil, o.missing and absent and o.missing or M.reason(python, said)
  end
  return self
end

function Peer:ask(line)
  self.commands:write(line, "\n")
  self.commands:flush()
  local answer = self.answers:read("*l")
  if not answer then
    error("the peer ended: " .. (read_all(self.errors):match("([^\n]+)\n*$") or "no message"), 0)
  end
  local problem = answer:match("^error (.*)")
  if problem then error("the peer failed: " .. problem, 0) end
  local fields = {}
  for key, value in answer:gmatch("(%S+)=(%S+)") do fields[key] = value end
  return fields
end

--- Prepare a case at the peer's best thread counts.
-- @tparam {[string]=string|number} case
-- @treturn string  those counts, in words
function Peer:case(case)
  local words = { "case" }
  for key, value in pairs(case) do words[#words + 1] = key .. "=" .. tostring(value) end
  local fields = self:ask(table.concat(words, " "))
  return fields.threads == fields.blas_threads and fields.threads
    or ("%s (BLAS %s)"):format(fields.threads, fields.blas_threads)
end

--- One round; seconds per step.
function Peer:run()
  return tonumber(self:ask("run").seconds)
end

function Peer:close()
  pcall(function()
    self.commands:write("end\n")
    self.commands:flush()
  end)
  self.commands:close()
  self.answers:close()
end

return M
