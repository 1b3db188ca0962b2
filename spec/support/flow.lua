--- A store in a folder of its own for each spec, and a count of the tasks that ran.
local files = require "spec.support.files"
local flow = require "mlua.flow"

local support = {}

local before

--- To be called before each spec; fields `dir` from then on.
function support.open()
  support.dir, before = files.folder(), flow.dir
  flow.store(support.dir .. "/store")
end

--- To be called after each.
function support.close()
  flow.dir = before
  files.remove(support.dir)
end

--- Counts a run, in a file: children have memories of their own.
function support.count(name)
  local file = assert(io.open(support.dir .. "/runs", "a"))
  file:write(name, "\n")
  file:close()
end

--- How often each name was counted since this was last asked.
function support.counted()
  local all, path = {}, support.dir .. "/runs"
  if files.exists(path) then
    for name in io.lines(path) do all[name] = (all[name] or 0) + 1 end
    os.remove(path)
  end
  return all
end

return support
