--- One progress line: how far, how fast, how long still, and what the caller adds.
--
-- On a terminal the line is redrawn in place, at most ten times a second; elsewhere it is a plain
-- line every few seconds. It goes to standard error: results alone go to standard output.
--
--     local line = progress.new { total = rows, label = "epoch 1/3", unit = "samples" }
--     for batch in … do
--       …
--       if line:tick(batch.size) then line:show(("loss %.4f"):format(loss)) end
--     end
--     line:finish(("loss %.4f"):format(loss))
--
-- `tick` is made for hot loops: it reads the clock only about forty times a second.
-- @module mlua.ui.progress
local check = require "mlua.check"
local format = require "mlua.ui.format"
local text = require "mlua.text"

local M = {}

local Progress = {}
Progress.__index = Progress

local known = {
  total = "number", label = "string", unit = "string", every = "number", quiet = "boolean",
  tty = "boolean", width = "number", write = "function", clock = "function",
}

local function standard_error(s)
  io.stderr:write(s)
end

--- A new line; its clock starts now.
-- @tparam ?table options  fields: total, units of the whole (none: no time left is shown); label,
--   the words at its start; unit, what is counted; every, seconds between plain lines (10); quiet,
--   show nothing; and for tests tty, width, write(s), clock() in seconds
-- @treturn Progress
function M.new(options)
  options = check.options(options, known, 1, "progress.new")
  local tty = options.tty
  if tty == nil then tty = not options.write and require("mlua.ffi.tty").isatty(2) end
  local clock = options.clock or require("mlua.ffi").C.ml_clock
  local now = clock()
  return setmetatable({
    total = options.total, label = options.label, unit = options.unit or "",
    tty = tty, quiet = options.quiet or false, width = options.width,
    write = options.write or standard_error, clock = clock,
    interval = tty and 0.1 or options.every or 10,
    n = 0, look = 1, started = now, shown = now, looked_n = 0, shown_n = 0, rate = nil,
  }, Progress)
end

--- Count n more units. True where the line wants to be shown.
-- @tparam ?number n  default 1
-- @treturn boolean
function Progress:tick(n)
  local count = self.n + (n or 1)
  self.n = count
  if count < self.look then return false end
  return self:due()
end

--- Whether it is time for the line to be shown, by the clock.
-- @treturn boolean
function Progress:due()
  local n, now = self.n, self.clock()
  local elapsed = now - self.started
  local rate = elapsed > 0 and n / elapsed or 0
  self.look = n + math.max(1, rate * math.min(self.interval / 4, 0.25))
  return now - self.shown >= self.interval and not self.quiet
end

-- Units per second: the last stretch, smoothed, so that a slow start is soon forgotten.
local function update_rate(self, now)
  local seconds = now - self.shown
  if seconds > 0 and self.n > self.shown_n then
    local last = (self.n - self.shown_n) / seconds
    local weight = 1 - math.exp(-seconds / 3)
    self.rate = self.rate and self.rate + weight * (last - self.rate) or last
  end
  self.shown, self.shown_n = now, self.n
end

local function compose(self, extra, rate, ending)
  local parts = {}
  if self.label then parts[#parts + 1] = self.label end
  if self.total and self.total > 0 and not ending then
    parts[#parts + 1] = format.percent(math.min(1, self.n / self.total))
  end
  local count = format.count(self.n)
  if self.total and not ending then count = count .. "/" .. format.count(self.total) end
  parts[#parts + 1] = self.unit == "" and count or count .. " " .. self.unit
  if rate then parts[#parts + 1] = format.short(rate) .. "/s" end
  if ending then
    parts[#parts + 1] = format.duration(ending)
  elseif self.total and rate and rate > 0 then
    parts[#parts + 1] = format.clock(math.max(0, self.total - self.n) / rate) .. " left"
  end
  if extra and extra ~= "" then parts[#parts + 1] = extra end
  return table.concat(parts, "  ")
end

local function draw(self, line, last)
  if not self.tty then return self.write(line .. "\n") end
  local width = self.width or require("mlua.ffi.tty").width()
  self.drawn = not last
  self.write("\r" .. text.clip(line, width - 1) .. "\27[K" .. (last and "\n" or ""))
end

--- Show the line now.
-- @tparam ?string extra  put at its end
function Progress:show(extra)
  if self.quiet then return end
  update_rate(self, self.clock())
  draw(self, compose(self, extra, self.rate))
end

--- Write a line of its own above the progress line.
-- @tparam string message
function Progress:note(message)
  if self.drawn then self.write("\r\27[K") end
  self.drawn = false
  self.write(message .. "\n")
end

--- The last line: the whole count, the mean rate and the time taken. Stays on the terminal.
-- @tparam ?string extra
-- @treturn number  seconds since the start
function Progress:finish(extra)
  local elapsed = self.clock() - self.started
  if not self.quiet then
    draw(self, compose(self, extra, elapsed > 0 and self.n / elapsed or nil, elapsed), true)
  end
  return elapsed
end

return M
