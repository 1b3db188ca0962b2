--- Lines that are not Lua: `? name` and %commands.
-- @module mlua.repl.command
local command = {}

local text = require "mlua.text"

local function repl() return require "mlua.repl" end

local function say(...) io.stdout:write(table.concat({ ... }), "\n") end

-- -- time --

local function clock() return require("mlua").clock() end

-- Three digits and a unit: 1.23 ns, 45.6 µs, 789 ms, 12.3 s.
local function duration(seconds)
  for _, unit in ipairs { { "ns", 1e9 }, { "µs", 1e6 }, { "ms", 1e3 } } do
    local n = seconds * unit[2]
    if n < 999.5 then
      return ("%." .. (n < 9.995 and 2 or n < 99.95 and 1 or 0) .. "f %s"):format(n, unit[1])
    end
  end
  return seconds < 100 and ("%.2f s"):format(seconds) or ("%.0f s"):format(seconds)
end

-- The chunk of a text, or nil, having said what is wrong with it.
local function compiled(name, code)
  if not code:find("%S") then
    return repl().complain(("%%%s: expected an expression, as in %%%s ml.randn(1000):sum()")
      :format(name, name))
  end
  local chunk, what = repl().compile(code)
  if not chunk then return repl().complain(what) end
  return chunk, what
end

local function time(code)
  local chunk, is_expression = compiled("time", code)
  if not chunk then return end
  clock() -- loads mlua, where it is not loaded yet
  local start, cpu = clock(), os.clock()
  local ok = repl().run(chunk, is_expression)
  local wall, used = clock() - start, os.clock() - cpu
  if ok then say("wall ", duration(wall), ", cpu ", duration(used)) end
end

local ROUNDS, LONG_ENOUGH, PATIENCE = 9, 0.02, 2 -- seconds of a round; seconds of all rounds

-- Runs of a round, doubled until it takes long enough; then the times of some rounds.
local function measure(loop)
  local n, start, times = 1, clock(), {}
  local function round()
    local begin = clock()
    loop(n)
    return clock() - begin
  end
  local taken = round()
  while taken < LONG_ENOUGH do
    n = n * 2
    taken = round()
  end
  times[1] = taken / n
  while #times < ROUNDS and clock() - start < PATIENCE do times[#times + 1] = round() / n end
  table.sort(times)
  return times, n
end

local function timeit(code)
  local chunk, is_expression = compiled("timeit", code)
  if not chunk then return end
  local body = is_expression and "local _ = " .. code:gsub("^%s*=", "") or code
  local loop = assert(loadstring("local function f(...) " .. body
    .. "\nend for _ = 1, ... do f() end", "=stdin"))
  local times, n
  local function run() times, n = measure(loop) end
  if not repl().run(run, false) then return end
  say("best ", duration(times[1]), ", median ", duration(times[math.ceil(#times / 2)]),
    (" (%d round%s of %d)"):format(#times, #times == 1 and "" or "s", n))
end

-- -- memory, names, files --

local function mem()
  local bytes = require("mlua.ui.format").bytes
  local lua = collectgarbage("count") * 1024
  local ml = package.loaded.mlua
  if not ml then return say("Lua ", bytes(lua), "; no tensors: mlua is not loaded yet") end
  local m = ml.memory()
  say(("tensors %s in %d (peak %s), cached for new ones %s, Lua %s, process %s"):format(
    bytes(m.live), m.tensors, bytes(m.peak), bytes(m.cached), bytes(lua), bytes(m.resident)))
end

local function who()
  local value = require "mlua.repl.value"
  local list, widest = {}, 0
  for name in next, _G do
    if type(name) == "string" and not repl().known[name] then
      list[#list + 1] = name
      widest = math.max(widest, #name)
    end
  end
  table.sort(list)
  local room = require("mlua.ffi.tty").width() - widest - 2
  for _, name in ipairs(list) do
    say(name, (" "):rep(widest - #name + 2), value.line(rawget(_G, name), room))
  end
  if #list == 0 then say("no names of yours yet") end
end

local function load(path)
  path = path:match("^%s*[\"']?(.-)[\"']?%s*$")
  if path == "" then return repl().complain("%load: expected a file") end
  local chunk, message = loadfile(path)
  if not chunk then return repl().complain(message) end
  repl().run(chunk, false)
end

-- -- the table of commands --

local help

local commands = {
  time = { "expr", "run it once: its values, wall and processor time", time },
  timeit = { "expr", "run it again and again: the best and the median time of one run", timeit },
  mem = { "", "what tensors, Lua and the process hold", mem },
  who = { "", "the globals that you have made", who },
  load = { "file", "run a file; its globals stay", load },
  help = { "", "this list", function() help() end },
}

--- Their names, sorted.
function command.names() return text.keys(commands) end

function help()
  say("? name           documentation: ? ml.scope, ? nn.Linear, ? x:sum, ? softmax")
  say("expr, = expr     its values")
  for _, name in ipairs(command.names()) do
    local c = commands[name]
    say(("%%%-15s %s"):format(name .. " " .. c[1], c[2]))
  end
  say("Tab              completes names, fields, methods, and file names in strings")
  say("ml, nn, optim    are loaded when first used; a local ends with its line")
end

--- Run such a line; what goes wrong is said.
-- @tparam string sign  "?" or "%"
-- @tparam string rest  of the line
function command.run(sign, rest)
  rest = rest:match("^%s*(.-)%s*$")
  if sign == "?" then
    if rest == "" then return help() end
    local page, message = require("mlua.repl.help")(rest)
    if page then say(page) else repl().complain(message) end
    return
  end
  local name, argument = rest:match("^(%a*)(.*)$")
  local found = commands[name]
  if not found then
    return repl().complain(("no command %%%s%s; %%help lists them"):format(name,
      text.did_you_mean(name, command.names(), "%")))
  end
  found[3](argument)
end

return command
