--- Running programs from specs: what they wrote, and their exit status.
local process = {}

--- The built program: MLUA in the environment, or the interpreter that runs the specs. Its path is
-- whole, for runs in other folders.
function process.program()
  local lowest = 0
  while arg and arg[lowest - 1] do lowest = lowest - 1 end
  local named = os.getenv "MLUA" or lowest < 0 and arg[lowest] or "build/mlua"
  return named:find "^[^/].*/" and require "lfs".currentdir() .. "/" .. named or named
end

function process.quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local function take(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  os.remove(path)
  return text
end

--- Runs a program with arguments, no shell words in between.
-- @tparam table argv     program and arguments
-- @tparam ?table options  stdin (text), env (name to value; false unsets), cwd, timeout (seconds)
-- @treturn table         { status, out, err }
function process.run(argv, options)
  options = options or {}
  local out, err, input = os.tmpname(), os.tmpname(), nil
  local words = { "env" }
  for name, value in pairs(options.env or {}) do
    if value == false then table.insert(words, 2, "-u " .. name)
    else words[#words + 1] = process.quote(name .. "=" .. value)
    end
  end
  words[#words + 1] = "timeout " .. (options.timeout or 60)
  for _, word in ipairs(argv) do words[#words + 1] = process.quote(word) end
  if options.stdin then
    input = os.tmpname()
    local file = assert(io.open(input, "wb"))
    file:write(options.stdin)
    file:close()
  end
  local command = ("%s%s <%s >%s 2>%s; echo $?"):format(
    options.cwd and "cd " .. process.quote(options.cwd) .. " && " or "",
    table.concat(words, " "), input or "/dev/null", out, err)
  local pipe = assert(io.popen(command))
  local status = tonumber(pipe:read("*a"))
  pipe:close()
  if input then os.remove(input) end
  return { status = status, out = take(out), err = take(err) }
end

--- Runs the built program with these arguments.
-- @usage local got = process.mlua({ "-e", "print(1)" }, { stdin = "" })
function process.mlua(arguments, options)
  local argv = { process.program() }
  for _, word in ipairs(arguments) do argv[#argv + 1] = word end
  return process.run(argv, options)
end

return process
