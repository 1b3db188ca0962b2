--- mlua.ffi.hash: digests, of lines, and seals.
local hash = require "mlua.ffi.hash"

describe("hash.lines", function()
  it("is the digest of the lines in one string, whatever their number and length", function()
    local lists = { { "a" }, { "", "" }, { "a", 12, "b\nc" },
                    { ("x"):rep(5000), 3, ("y"):rep(70000) },
                    { "short again", 2 ^ 31 } }
    for _, list in ipairs(lists) do
      assert.equal(hash.sha256(table.concat(list, "\n")), hash.lines(list, #list))
    end
  end)

  it("takes the first n of a list that has more", function()
    assert.equal(hash.sha256 "a\nb", hash.lines({ "a", "b", "c" }, 2))
  end)
end)

describe("hash.sealed", function()
  local id = hash.sha256 "some result"
  local text = "output\tjson\tabc\t3\n"
  local seal = id .. hash.sha256(id .. text):sub(1, 16)

  local function sealed(s, i, t) return hash.sealed(s, #s, i, t, #t) end

  it("holds for the text that was sealed, and for no other", function()
    assert.is_true(sealed(seal, id, text))
    assert.is_false(sealed(seal, id, text .. "\n"))
    assert.is_false(sealed(seal, id, ""))
  end)

  it("holds for no other identity, and for no seal that is cut or changed", function()
    assert.is_false(sealed(seal, hash.sha256 "another", text))
    assert.is_false(sealed(seal, "short", text))
    assert.is_false(sealed(seal:sub(1, -2), id, text))
    assert.is_false(sealed("", id, text))
    for at = 1, 80 do
      local byte = string.char((seal:byte(at) + 1) % 256)
      assert.is_false(sealed(seal:sub(1, at - 1) .. byte .. seal:sub(at + 1), id, text))
    end
  end)
end)
