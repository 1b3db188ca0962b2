--- The prompt: what a line means. The program (core/host) reads lines and hands them over.
--
-- `ml`, `nn` and `optim` are there without `require`: each loads when it is first used. A line is a
-- chunk of its own, so that a local ends with it, as in Lua's own prompt.
-- @module mlua.repl
local repl = {}

local host = package.loaded["mlua.host"]

local pending -- lines that are not a whole chunk yet
local on_terminal, hinted = false, false

-- -- names that are there from the start --

local lazy = { ml = "mlua", nn = "mlua.nn", optim = "mlua.optim" }

local function load_global(t, name)
  local module = lazy[name]
  if not module then return nil end
  local loaded = require(module)
  rawset(t, name, loaded)
  return loaded
end

--- Prepare the globals; a metatable that a script has given them stays as it is.
-- @tparam boolean terminal  whether a person types
function repl.start(terminal)
  on_terminal = terminal
  if getmetatable(_G) == nil then setmetatable(_G, { __index = load_global }) end
  repl.known = {} -- names that %who leaves out
  for name in next, _G do repl.known[name] = true end
  for name in next, lazy do repl.known[name] = true end
end

-- -- chunks --

--- Compile a text, as an expression if it is one. An expression's values come after a nil, which
-- keeps a call in it from being a tail call: its error is then placed, and its frame is there.
-- @tparam string text
-- @treturn ?function  or nil, a message, and whether more lines could cure it
-- @treturn boolean    whether it is an expression
function repl.compile(text)
  local body = text:match("^%s*=(.*)$")
  local chunk, message = loadstring("return nil, " .. (body or text), "=stdin")
  if chunk or body then return chunk, chunk and true or message, repl.is_open(message) end
  chunk, message = loadstring(text, "=stdin")
  return chunk, chunk and false or message, repl.is_open(message)
end

function repl.is_open(message) return message ~= nil and message:sub(-7) == "'<eof>'" end

local function print_values(n, ...)
  if n == 0 then return end
  io.stdout:write(require("mlua.repl.value").list(n, ...), "\n")
end

local function complain(message)
  io.stdout:flush()
  io.stderr:write(message, "\n")
end
repl.complain = complain

local function finish(chunk, is_expression, ok, ...)
  if not ok then
    local e = ... -- the handler's table; an error in the handler is a string
    complain(type(e) == "table" and require("mlua.repl.trace")(e, chunk) or tostring(e))
    return false
  end
  if is_expression then print_values(select("#", ...) - 1, select(2, ...))
  else print_values(select("#", ...), ...)
  end
  return true
end

--- Run a chunk and print its values, or its error.
-- @tparam function chunk
-- @tparam boolean is_expression  whether its values come after a nil
-- @treturn boolean  whether it ran to its end
function repl.run(chunk, is_expression)
  return finish(chunk, is_expression, xpcall(chunk, host.trace))
end

local function hint(text)
  if hinted or not on_terminal or not text:find("^%s*local%s") then return end
  hinted = true
  complain("a local ends with its line; without 'local', the name stays")
end

-- -- lines --

local feed_lines

local function feed(line)
  if not pending then
    if not line:find("%S") then return false end
    local sign, rest = line:match("^%s*([?%%])(.*)$")
    if sign then
      require("mlua.repl.command").run(sign, rest)
      return false
    end
  end
  local text = pending and pending .. "\n" .. line or line
  local chunk, what, is_open = repl.compile(text)
  if is_open then
    pending = text
    return true
  end
  pending = nil
  if chunk then
    repl.run(chunk, what)
    hint(text)
  elseif line:find("\n", 1, true) then
    return feed_lines(line)
  else
    complain(what)
  end
  return false
end

-- Lines pasted together that are not one chunk: each as if typed.
function feed_lines(lines)
  local more = false
  for line in (lines .. "\n"):gmatch("([^\n]*)\n") do more = feed(line) end
  return more
end

--- Take a line, or several that were pasted together: run them once they are whole.
-- @tparam string line
-- @treturn boolean  whether more is wanted
function repl.feed(line) return feed(line) end

--- Forget what is not whole yet.
function repl.clear() pending = nil end

--- What Tab offers (mlua.repl.complete).
function repl.complete(line, start) return require("mlua.repl.complete")(line, start) end

return repl
