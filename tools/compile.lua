-- Writes mlua's modules as bytecode into one file, which core/host/compiled.c describes and reads.
-- Usage: mlua tools/compile.lua FILE ROOT…    all modules below the roots
local ffi = require "ffi"
local C = require "mlua.ffi".C
local files = require "mlua.ffi.files"
local store = require "mlua.ffi.store"

local facts = ffi.new "ml_file_facts"

-- Size and time of the last change, in nanoseconds, exactly.
local function facts_of(path)
  assert(C.ml_file_look(facts, path) == 0 and facts.kind == C.ML_FILE_REGULAR, path)
  return (tostring(facts.size) .. "\t" .. tostring(facts.time)):gsub("LL", "")
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- Of the library that runs this; where it is none, what no file has: all sources stay in use.
local function luajit()
  for line in io.lines "/proc/self/maps" do
    local path = line:match "%s(/.*libluajit[^/]*)$"
    if path then return facts_of(path) end
  end
  return "0\t0"
end

local parts = { "mlua bytecode 1\n", luajit(), "\n" }

local function add(root, below)
  for _, name in ipairs(assert(files.list(root .. below))) do
    local path = below .. "/" .. name
    if files.look(root .. path) == "folder" then
      add(root, path)
    elseif name:find "%.lua$" then
      local before = facts_of(root .. path)
      local code = string.dump(assert(loadstring(read(root .. path), "@")))
      parts[#parts + 1] = ("%s\t%s\t%d\n"):format(path:sub(2), before, #code)
      parts[#parts + 1] = code
      parts[#parts + 1] = "\n"
    end
  end
end
for i = 2, #arg do add(arg[i], "") end
assert(store.put(arg[1], table.concat(parts)))
