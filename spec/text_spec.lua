local text = require "mlua.text"

describe("text", function()
  it("counts a swap of neighbours as one edit", function()
    assert.equal(1, text.distance("bacth", "batch"))
    assert.equal(0, text.distance("", ""))
    assert.equal(3, text.distance("", "abc"))
    assert.equal(3, text.distance("kitten", "sitting"))
    assert.equal(3, text.distance("ca", "abc")) -- 2 if a part could be edited twice
  end)

  it("finds the nearest of several names, and none where all are far", function()
    assert.equal("batch", text.nearest("bacth", { "bath-tub", "batch", "top" }))
    assert.equal("loss_weights", text.nearest("loss-weight", { "loss_weights", "loss" }))
    assert.equal("lr", text.nearest("LR", { "lr" }))
    assert.is_nil(text.nearest("xyz", { "batch", "top" }))
    assert.is_nil(text.nearest("a", { "b" }))
  end)

  it("takes the beginning of one name, not of two", function()
    assert.equal("interaction", text.nearest("inter", { "interaction", "top" }))
    assert.is_nil(text.nearest("arch", { "arch-mlp-bottom", "arch-mlp-top" }))
  end)

  it("wraps at spaces and counts a letter as one column", function()
    assert.same({ "a bb", "ccc" }, text.wrap("a  bb ccc", 4))
    assert.same({ "" }, text.wrap("", 10))
    assert.same({ "ääää" }, text.wrap("ääää", 4))
    assert.equal("äö", text.clip("äöü", 2))
    assert.equal("abc", text.clip("abc", 5))
  end)

  it("lists in words", function()
    assert.equal("", text.list {})
    assert.equal("a", text.list { "a" })
    assert.equal("a or b", text.list { "a", "b" })
    assert.equal("a, b and c", text.list({ "a", "b", "c" }, "and"))
  end)

  it("tells UTF-8 from other bytes: shortest forms, no surrogates, nothing cut", function()
    for _, s in ipairs { "", "abc\0", "\194\128", "é", "\224\160\128", "\237\159\191", "€",
                         "\240\144\128\128", "\244\143\191\191" } do
      assert.is_true(text.is_utf8(s), s)
    end
    for _, s in ipairs { "\128", "\192\128", "\193\191", "\224\159\191", "\237\160\128",
                         "\240\143\191\191", "\244\144\128\128", "\255", "a\195", "é\169",
                         "\226" .. "é" .. "\130\172" } do -- the euro sign with a letter inside
      assert.is_false(text.is_utf8(s), s)
    end
  end)
end)
