--- The log: lines with a level and a module, to destinations that take what they are set to.
--
--     local log = require "mlua.log".of "engine"
--     log.info("%s: goes on at step %d", dir, step)
--
-- Levels are error, warn, info, debug and trace. Destinations are the console (standard error) and
-- the files of runs (mlua.run), whose lines have the time and where they come from, too: a loader's
-- thread, say. Which lines a destination takes is set by rules, for all or for a module and those
-- below it, as the option --log-level of flows gives them:
--
--     warn                   the console: warnings and errors alone
--     data=debug             the console: of modules data, data.loader, … debug lines, too
--     file:data.loader=debug the files of runs
--
-- As long as nothing else is set, both take info lines.
-- Lines that C's threads say are taken in by `drain`, in the order in which they were said.
-- @module mlua.log
local fail = require "mlua.fail"
local lines = require "mlua.ffi.log"
local text = require "mlua.text"

local M = {}

local NAMES = { "error", "warn", "info", "debug", "trace" }
local LEVELS = { off = 0 }
for i, name in ipairs(NAMES) do LEVELS[name] = i end

-- By destination: the level of each module that has its own, and of all others.
-- What module "run" says is for the files of runs: the console has it from progress lines and ends.
local rules = { console = { [""] = LEVELS.info, run = LEVELS.off }, file = { [""] = LEVELS.info } }
local files = {} -- functions that take a line for a file, in the order in which they were opened
local console -- in place of standard error
local unfinished, unfinished_size = {}, 0 -- words of the program, without their line's end
local LONGEST = 65536 -- of them

-- The level up to which a destination takes a module's lines.
local function level_of(destination, module)
  local by = rules[destination]
  while module do
    if by[module] then return by[module] end
    module = module:match "^(.*)%." or module ~= "" and "" or nil
  end
end

-- -- where lines go ----------------------------------------------------------------------------

local function to_console(level, module, origin, message)
  if level > level_of("console", module) then return end
  local where = level <= LEVELS.info and "" or module .. (origin and " [" .. origin .. "]" or "")
    .. ": "
  if console then console(where .. message)
  else io.stderr:write("mlua: ", where, message, "\n") end
end

local function stamp(time)
  return ("%s.%03dZ"):format(os.date("!%Y-%m-%dT%H:%M:%S", math.floor(time)),
    math.floor(time % 1 * 1000))
end

local function to_files(level, module, origin, message, time)
  if not files[1] or level > level_of("file", module) then return end
  time = time or require "mlua.ffi.process".now()
  local line = ("%s %-5s %s%s: %s\n"):format(stamp(time), NAMES[level], module,
    origin and " [" .. origin .. "]" or "", (message:gsub("\n", "\n  ")))
  for _, write in ipairs(files) do write(line) end
end

local function say(...)
  to_console(...)
  to_files(...)
end

-- The highest level that any destination takes of any module: C makes no lines above it.
local function tell_c()
  local most = 0
  for name, by in pairs(rules) do
    for _, level in pairs(name ~= "file" and by or files[1] and by or {}) do
      most = math.max(most, level)
    end
  end
  lines.level(most)
end

--- A file's destination, until `close`.
-- @tparam function write  takes a line, its end included
function M.open(write)
  files[#files + 1] = write
  tell_c()
end

--- No more lines for it.
-- @tparam function write
function M.close(write)
  M.drain()
  M.finish_output()
  for i, each in ipairs(files) do
    if each == write then table.remove(files, i) break end
  end
  tell_c()
end

--- Have console lines written by a function, a progress line's say; nil: to standard error again.
-- @tparam ?function write  takes a line without its end
function M.through(write) console = write end

--- Take in what C's threads have said.
function M.drain()
  while lines.waiting() do
    local line = lines.take()
    if not line then return end
    if line.lost > 0 then
      say(LEVELS.warn, "log", nil, ("%d lines of threads were lost"):format(line.lost), line.time)
    end
    say(line.level, line.module, line.origin ~= "" and line.origin or nil, line.text, line.time)
  end
end

--- End the line that the program has begun.
function M.finish_output()
  if not unfinished[1] then return end
  to_files(LEVELS.info, "output", nil, table.concat(unfinished))
  unfinished, unfinished_size = {}, 0
end

--- Words that the program itself has written on its standard output: for the files alone.
-- @tparam string words
function M.output(words)
  if not files[1] then return end
  local at, stop = 1, words:find("\n", 1, true)
  while stop do
    local line = table.concat(unfinished) .. words:sub(at, stop - 1)
    to_files(LEVELS.info, "output", nil, line)
    unfinished, unfinished_size, at = {}, 0, stop + 1
    stop = words:find("\n", at, true)
  end
  if at > #words then return end
  unfinished[#unfinished + 1] = words:sub(at)
  unfinished_size = unfinished_size + #words - at + 1
  if unfinished_size > LONGEST then M.finish_output() end
end

-- -- who says something ------------------------------------------------------------------------

local loggers = {}

--- What a module says things with: functions error, warn, info, debug and trace, of a format and
-- its values.
-- @tparam string module  words with dots between: "data.loader"
-- @treturn table
function M.of(module)
  local logger = loggers[module]
  if logger then return logger end
  logger = {}
  for level, name in ipairs(NAMES) do
    logger[name] = function(format, ...)
      if level > level_of("console", module)
        and (not files[1] or level > level_of("file", module)) then return end
      if lines.waiting() then M.drain() end
      say(level, module, nil, select("#", ...) > 0 and format:format(...) or format)
    end
  end
  loggers[module] = logger
  return logger
end

-- -- rules -------------------------------------------------------------------------------------

--- Set which lines destinations take.
-- @tparam {string,...} list  of [console:|file:][MODULE=]LEVEL; a later one counts
-- @treturn boolean  true; or nil, what is wrong
function M.configure(list)
  for _, rule in ipairs(list) do
    local destination, rest = rule:match "^(%a+):(.*)$"
    local module, word = (rest or rule):match "^([%w_.]+)=(%a+)$"
    word = word or rest or rule
    if destination and not rules[destination] then
      return nil, ("'%s': expected console: or file:, got '%s:'"):format(rule, destination)
    end
    local level = LEVELS[word]
    if not level then
      return nil, ("'%s': expected a level, one of %s%s"):format(rule,
        text.list({ "off", unpack(NAMES) }), text.did_you_mean(word, text.keys(LEVELS)))
    end
    rules[destination or "console"][module or ""] = level
  end
  tell_c()
  return true
end

--- `configure`, or the end of the program with what is wrong.
-- @tparam {string,...} list
-- @tparam string where  the option that the list is from
function M.set(list, where)
  local ok, why = M.configure(list)
  if not ok then fail.usage("%s: %s", where, why) end
end

return M
