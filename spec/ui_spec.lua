local format = require "mlua.ui.format"
local progress = require "mlua.ui.progress"
local ui_table = require "mlua.ui.table"

describe("ui.format", function()
  it("writes counts with commas", function()
    assert.equal("0", format.count(0))
    assert.equal("999", format.count(999))
    assert.equal("1,000", format.count(1000))
    assert.equal("45,840,617", format.count(45840617))
    assert.equal("-1,234", format.count(-1234))
  end)

  it("writes three digits and a letter", function()
    assert.equal("999", format.short(999))
    assert.equal("1.00k", format.short(1000))
    assert.equal("1.00M", format.short(999999))
    assert.equal("61.2k", format.short(61234))
    assert.equal("2.05G", format.short(2.05e9))
    assert.equal("0.50", format.short(0.5))
  end)

  it("writes durations from microseconds to days", function()
    assert.equal("350 µs", format.duration(350e-6))
    assert.equal("1.00 ms", format.duration(999.9e-6))
    assert.equal("12.4 ms", format.duration(12.4e-3))
    assert.equal("4.21 s", format.duration(4.21))
    assert.equal("1:00", format.duration(59.99))
    assert.equal("3:05", format.duration(185))
    assert.equal("2:03:05", format.duration(7385))
    assert.equal("4 d 3 h", format.duration(4 * 86400 + 3 * 3600))
    assert.equal("0:12", format.clock(12.4))
    assert.equal("?", format.clock(math.huge))
  end)

  it("writes bytes and percents", function()
    assert.equal("512 B", format.bytes(512))
    assert.equal("12.4 MiB", format.bytes(12.4 * 2 ^ 20))
    assert.equal("34 %", format.percent(0.34))
    assert.equal("0.2 %", format.percent(0.002))
    assert.equal("99.9 %", format.percent(0.999))
    assert.equal("100 %", format.percent(1))
  end)
end)

describe("ui.table", function()
  it("aligns the first column left and the others right", function()
    assert.equal(table.concat({
      "             test   planted",
      "AUC        0.8123    0.8300",
      "log loss   0.4000",
      "rows       14,286         -",
    }, "\n"), ui_table.render {
      head = { "", "test", "planted" },
      rows = { { "AUC", 0.8123, 0.83 }, { "log loss", 0.4 }, { "rows", "14,286", "-" } },
    })
  end)

  it("counts letters, not bytes", function()
    assert.equal("µs   1\nns   2", ui_table.render { rows = { { "µs", "1" }, { "ns", "2" } } })
  end)
end)

describe("ui.progress", function()
  local now, written

  local function new(options)
    now, written = 100, {}
    options.clock = function() return now end
    options.write = function(s) written[#written + 1] = s end
    return progress.new(options)
  end

  it("redraws a terminal's line at most ten times a second", function()
    local line = new {
      total = 1000, tty = true, width = 80, label = "epoch 1/2", unit = "samples",
    }
    for _ = 1, 1000 do
      now = now + 0.001
      if line:tick() then line:show("loss 0.5000") end
    end
    line:finish("loss 0.5000")
    assert.is_true(#written <= 11, #written)
    assert.is_true(#written >= 7, #written)
    assert.equal("\r", written[1]:sub(1, 1))
    assert.is_nil(written[1]:find "\n")
    assert.equal("\repoch 1/2  1,000 samples  1.00k/s  1.00 s  loss 0.5000\27[K\n",
      written[#written])
  end)

  it("shows how far, how fast and how long still", function()
    local line = new { total = 1000, tty = true, width = 80 }
    now = now + 0.5
    assert.is_true(line:tick(250))
    line:show("loss 0.7")
    assert.equal("\r25 %  250/1,000  500/s  0:02 left  loss 0.7\27[K", written[1])
  end)

  it("writes plain lines every few seconds where there is no terminal", function()
    local line = new { total = 100, tty = false, every = 10, label = "train" }
    for _ = 1, 100 do
      now = now + 0.25
      if line:tick() then line:show() end
    end
    line:finish()
    assert.same({
      "train  40 %  40/100  4/s  0:15 left\n",
      "train  80 %  80/100  4/s  0:05 left\n",
      "train  100  4/s  25.0 s\n",
    }, written)
  end)

  it("clips to the terminal's width and says nothing when quiet", function()
    local line = new { total = 10, tty = true, width = 12, label = "a long label" }
    now = now + 1
    line:tick()
    line:show()
    assert.equal("\ra long labe\27[K", written[1])
    line = new { total = 10, tty = true, quiet = true }
    now = now + 1
    assert.is_false(line:tick())
    line:show()
    line:finish()
    assert.same({}, written)
  end)

  it("writes notes above the line", function()
    local line = new { tty = true, width = 80 }
    now = now + 1
    line:tick()
    line:show()
    line:note("a message")
    assert.equal("\r1  1/s\27[K", written[1])
    assert.equal("\r\27[K", written[2])
    assert.equal("a message\n", written[3])
  end)

  it("shows no time left where the whole is unknown", function()
    local line = new { tty = false }
    now = now + 20
    line:tick(5)
    line:show()
    assert.equal("5  0.25/s\n", written[1])
  end)
end)
