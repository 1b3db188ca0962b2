local check = require "mlua.check"

-- A public function as a module would have it.
local function area(width, height, options)
  check.int(width, 1, "area", "width", 1)
  check.type(height, 2, "area", "height", "number|nil")
  options = check.options(options, { unit = "string", round = "boolean" }, 3, "area")
  check.arg(height ~= 0, 2, "area", "height: expected [%d, %s], got %s", width, {}, "none")
  return width * (height or 1), options
end

describe("check", function()
  it("passes what is right", function()
    assert.equal(6, (area(2, 3, { unit = "m" })))
    assert.same({}, select(2, area(2)))
  end)

  it("raises at the line that called the function", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, message = pcall(function() local a = area(0); return a end)
    assert.is_false(ok)
    assert.equal(("check_spec.lua:%d: bad argument #1 to 'area' "
      .. "(width: expected at least 1, got 0)"):format(line), message:match("[^/]*$"))
  end)

  it("says what was expected and what came", function()
    assert.error_matches(function() area(1.5) end,
      "bad argument #1 to 'area' (width: expected an integer, got 1.5)", 1, true)
    assert.error_matches(function() area("2") end,
      "bad argument #1 to 'area' (width: expected an integer, got '2')", 1, true)
    assert.error_matches(function() area(2, {}) end,
      "bad argument #2 to 'area' (height: expected a number or nil, got a table)", 1, true)
    assert.error_matches(function() area(2, 0) end, "height: expected [2, table: ", 1, true)
  end)

  it("refuses options that are unknown or of the wrong type", function()
    assert.error_matches(function() area(2, 3, { unti = "m" }) end,
      "bad argument #3 to 'area' (unknown option 'unti', did you mean 'unit'?)", 1, true)
    assert.error_matches(function() area(2, 3, { unit = 1 }) end,
      "bad argument #3 to 'area' (unit: expected a string, got 1)", 1, true)
    assert.error_matches(function() area(2, 3, 4) end,
      "bad argument #3 to 'area' (expected a table of options, got 4)", 1, true)
  end)
end)
