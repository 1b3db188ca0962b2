--- The outputs of a result as text, a line for each: name, format, digest and bytes; and lines of
-- what was required while it ran. Rows hold it, identities count it.
-- @module mlua.task.outputs
local M = {}

--- A line.
-- @tparam string name
-- @tparam string format
-- @tparam string digest
-- @tparam number size
-- @treturn string
function M.line(name, format, digest, size)
  return ("%s\t%s\t%s\t%.0f\n"):format(name, format, digest, size)
end

--- What the text says, in its order.
-- @tparam string text
-- @treturn {table,...}  { name =, format =, digest =, size = }
function M.parse(text)
  local list = {}
  for name, format, digest, size in text:gmatch "([^\t\n]+)\t([%w_-]*)\t(%x*)\t(%d*)\n" do
    list[#list + 1] = { name = name, format = format, digest = digest, size = tonumber(size) }
  end
  return list
end

return M
