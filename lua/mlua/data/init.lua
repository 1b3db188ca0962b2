--- Data: clicks, random rows, samples of one's own and loaders over them; rows of files, their
-- columns, and folds; what is drawn to order them.
-- @module mlua.data
local modules = { clicks = true, columns = true, draws = true, folds = true, labelled = true,
                  loader = true, random = true, rows = true, samples = true, sets = true }

return setmetatable({}, {
  __index = function(self, name)
    if not modules[name] then return nil end
    local module = require("mlua.data." .. name)
    rawset(self, name, module)
    return module
  end,
})
