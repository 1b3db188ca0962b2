-- docs/operations.md runs: its C part is compiled, its Lua parts are one script.
local files = require "spec.support.files"
local process = require "spec.support.process"

local root = debug.getinfo(1, "S").source:match "^@(.*)spec/docs/" or ""

describe("the examples of operations of one's own", function()
  it("run as they stand", function()
    local text = { lua = {}, c = {} }
    local kind
    for line in io.lines(root .. "docs/operations.md") do
      if kind then
        if line == "```" then kind = nil else table.insert(text[kind], line) end
      else
        kind = line:match "^```(%w+)$"
      end
    end
    local folder = files.folder()
    for name, suffix in pairs { lua = "run.lua", c = "squash.c" } do
      local f = assert(io.open(folder .. "/" .. suffix, "w"))
      f:write(table.concat(text[name], "\n"), "\n")
      f:close()
    end
    local library = folder .. "/libsquash.so"
    local made = process.run {
      "cc", "-O2", "-shared", "-fPIC", folder .. "/squash.c", "-o", library, "-lm",
    }
    assert.equal("", made.err)
    local got = process.mlua({ folder .. "/run.lua" }, { env = { LIBSQUASH = library } })
    files.remove(folder)
    assert.same({ "", 0 }, { got.err, got.status })
  end)
end)
