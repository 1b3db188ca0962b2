--- Fifty tasks in five layers, of some milliseconds each, with outputs of many kinds: what
-- tools/flow-kill kills, and specs run beside each other. Each run appends a line to the file that
-- FIFTY_LOG names before it returns.
local ml = require "mlua"
local lfs = require "lfs"

local param = ml.param

local function spin(milliseconds)
  local till = ml.clock() + milliseconds / 1000
  while ml.clock() < till do end
end

local function log(name, i)
  local path = os.getenv "FIFTY_LOG"
  if not path then return end
  local file = assert(io.open(path, "a"))
  file:write(name, " ", i or 1, "\n") -- one write: lines of several processes stay whole
  file:close()
end

local function i_of(most) return param.int { 1, min = 1, max = most } end

local Source = ml.task("Source", {
  params = { i = i_of(16) },
  outputs = { numbers = "json", words = "text" },
  run = function(self)
    spin(2 + self.i % 3)
    local numbers, x = {}, self.i
    for k = 1, 200 do
      x = (x * 16807) % 2147483647
      numbers[k] = x
    end
    log("Source", self.i)
    return { numbers = numbers, words = ("source %d\n"):format(self.i) }
  end,
})

local Feature = ml.task("Feature", {
  params = { i = i_of(16) },
  requires = function(self) return Source { i = self.i } end,
  outputs = { table = "tensors", scale = "json" },
  run = function(self, input)
    spin(1)
    local t = ml.tensor(input.numbers):reshape { 1, 200 }
    log("Feature", self.i)
    return { table = { x = t:expand { 400, 200 }:contiguous(), small = t }, scale = 1 / self.i }
  end,
})

local Shard = ml.task("Shard", {
  params = { i = i_of(8) },
  requires = function(self)
    return { left = Feature { i = self.i }, right = Feature { i = self.i + 8 } }
  end,
  outputs = { files = "folder", list = "file" },
  run = function(self, input)
    local folder, list = self:path "files", self:path "list"
    assert(lfs.mkdir(folder))
    assert(lfs.mkdir(folder .. "/deep"))
    for name, side in pairs { left = input.left, ["deep/right"] = input.right } do
      local file = assert(io.open(folder .. "/" .. name, "wb"))
      file:write(("%d %.17g\n"):format(self.i, side.scale):rep(1000))
      file:close()
    end
    local file = assert(io.open(list, "wb"))
    file:write(("%.17g\n"):format(input.left.table.x:sum():item()))
    file:close()
    spin(2)
    log("Shard", self.i)
  end,
})

local Mix = ml.task("Mix", {
  params = { i = i_of(8) },
  requires = function(self) return { Shard { i = self.i }, Shard { i = self.i % 8 + 1 } } end,
  outputs = { rows = "csv", same = "json" },
  run = function(self, input)
    local rows = { columns = { "side", "bytes" } }
    for k, shard in ipairs(input) do
      for _, name in ipairs { "left", "deep/right" } do
        rows[#rows + 1] = { name .. k, assert(lfs.attributes(shard.files .. "/" .. name, "size")) }
      end
    end
    spin(2)
    log("Mix", self.i)
    return { rows = rows, same = { "equal in all" } } -- one object for all eight
  end,
})

local Join = ml.task("Join", {
  requires = function()
    local all = {}
    for i = 1, 8 do all[i] = Mix { i = i } end
    return all
  end,
  outputs = { sums = "json", model = "tensor" },
  run = function(_, input)
    local sums = {}
    for k, mix in ipairs(input) do sums[k] = mix.rows[1][2] + mix.rows[4][2] end
    spin(3)
    log("Join")
    return { sums = sums, model = ml.tensor(sums) }
  end,
})

local Last = ml.task("Last", {
  requires = Join,
  run = function(_, input)
    spin(2)
    log("Last")
    return { total = input.model:sum():item(), n = #input.sums }
  end,
})

return ml.flow(Last)
