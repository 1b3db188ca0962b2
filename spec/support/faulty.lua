--- Three small tasks with outputs of several kinds, which spec/flow/fault_spec.lua makes fail. At
-- the end it says on standard error how often the calls of core/store were made.
local ml = require "mlua"
local lfs = require "lfs"

local param = ml.param

local Part = ml.task("Part", {
  params = { i = param.int { 1 } },
  outputs = { list = "json", table = "tensors" },
  run = function(self)
    return { list = { self.i, 2 }, table = { x = ml.tensor { 1, 2, self.i } } }
  end,
})

local Folder = ml.task("Folder", {
  requires = function() return { Part { i = 1 }, Part { i = 2 } } end,
  outputs = { files = "folder", one = "file" },
  run = function(self, input)
    local folder = self:path "files"
    assert(lfs.mkdir(folder))
    for k, part in ipairs(input) do
      local file = assert(io.open(folder .. "/" .. k, "w"))
      file:write(part.list[1] + part.table.x:sum():item(), "\n")
      file:close()
    end
    local file = assert(io.open(self:path "one", "w"))
    file:write "one\n"
    file:close()
  end,
})

local Sum = ml.task("Sum", {
  params = { plus = param.number { 0 } },
  requires = Folder,
  run = function(self, input)
    local sum = self.plus
    for k = 1, 2 do
      local file = assert(io.open(input.files .. "/" .. k))
      sum = sum + file:read "*n"
      file:close()
    end
    return { sum = sum }
  end,
  report = function(output)
    local words, calls = { "calls:" }, require "mlua.ffi.store".calls
    for _, name in ipairs { "open", "write", "fsync", "rename" } do
      words[#words + 1] = ("%s=%d"):format(name, calls(name))
    end
    io.stderr:write(table.concat(words, " "), "\n")
    return "sum " .. output.sum
  end,
})

return ml.flow(Sum)
