--- Asserts that the numbers of one list are as near to those of another as a tolerance says.
local assert = require "luassert"

--- @tparam table want
-- @tparam table got
-- @tparam[opt=1e-6] number tolerance  of each difference
-- @tparam ?string title
return function(want, got, tolerance, title)
  assert.equal(#want, #got)
  for i = 1, #want do
    assert.is_true(math.abs(want[i] - got[i]) <= (tolerance or 1e-6),
      ("%s[%d]: expected %.14g, got %.14g"):format(title and title .. " " or "", i, want[i],
        got[i]))
  end
end
