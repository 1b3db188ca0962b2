--- The message of a mistake made in a function: one line, which names the spec's line that made it.
local assert = require "luassert"

return function(fn)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  assert.equal("string", type(message))
  local place, rest = message:match("^(.-spec/[%w_/]+_spec%.lua:%d+): (.*)$")
  assert.is_not_nil(place, "no place in: " .. message)
  assert.is_nil(rest:find("\n"), rest)
  assert.is_nil(rest:find("cannot convert", 1, true), rest)
  return rest
end
