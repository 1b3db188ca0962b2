-- Damaged texts: whatever the bytes, the reader gives rows or one line that names the file, and
-- says the same with one thread as with three. Bounded; MLUA_FUZZ sets the number of rounds.
local clicks = require "mlua.data.clicks"
local files = require "spec.support.files"

describe("the click reader, given damaged texts,", function()
  local rounds = tonumber(os.getenv("MLUA_FUZZ") or 400)
  local state = 12345
  local function random(n) -- 0..n-1; Park and Miller's generator, so that every run is the same
    state = state * 16807 % 2147483647
    return state % n
  end
  local WORDS = { "\t", "\n", "\r\n", "\r", "\0", "-", "0", "1", "9", "f", "g", "\255", " ", "",
    "99999999999999999999", "deadbeef", "\t\t\t\t", "\n\n" }

  local function good(rows)
    local text = {}
    for i = 1, rows do
      text[i] = ("%d\t%d\t%s\t\t%x\t%s\n"):format(random(2), random(5000),
        random(3) == 0 and "-1" or "", random(2 ^ 31 - 1),
        random(4) == 0 and "" or ("%08x"):format(random(100)))
    end
    return table.concat(text)
  end

  -- What the format says, in the slow and obvious way: rows, or the line of the first bad one.
  local function judge(text)
    local row, at = 0, 1
    if text == "" then return nil, 1 end
    while at <= #text do
      local stop = text:find("\n", at, true) or #text + 1
      local line = text:sub(at, stop - 1):gsub("\r$", "")
      row, at = row + 1, stop + 1
      local f = {}
      for field in (line .. "\t"):gmatch("([^\t]*)\t") do f[#f + 1] = field end
      local ok = #f == 6 and (f[1] == "0" or f[1] == "1")
      for i = 2, 4 do
        local digits = ok and f[i]:match("^%-?(%d*)$")
        ok = digits and #digits <= 18 and f[i] ~= "-"
      end
      for i = 5, 6 do ok = ok and #f[i] <= 8 and not f[i]:find("[^0-9a-fA-F]") end
      if not ok then return nil, row end
    end
    return row
  end

  it("never fails in another way than with file and line", function()
    local folder = files.folder()
    local path = folder .. "/x.tsv"
    local outcomes = { read = 0, refused = 0 }
    for _ = 1, rounds do
      local text = good(random(30))
      for _ = 1, random(4) do
        local at, word = random(#text + 1), WORDS[random(#WORDS) + 1]
        text = text:sub(1, at) .. word .. text:sub(at + 1 + random(3))
      end
      if random(4) == 0 then text = text:sub(1, random(#text + 1)) end
      files.write(path, text)
      local options = { n_dense = 3, n_cat = 2, cache = false, threads = 1 }
      local set, message = clicks.open(path, options)
      options.threads = 3
      local again, same = clicks.open(path, options)
      local rows, line = judge(text)
      if rows then
        assert.equal(rows, set and set:rows() or message)
        assert.equal(rows, again:rows())
        outcomes.read = outcomes.read + 1
      else
        assert.is_nil(set)
        assert.equal(message, same)
        assert.equal(("%s:%d: "):format(path, line), message:sub(1, #path + 3 + #tostring(line)))
        assert.is_nil(message:find("[%c\128-\255]"))
        outcomes.refused = outcomes.refused + 1
      end
    end
    files.remove(folder)
    if rounds >= 400 then assert.is_true(outcomes.read > 40 and outcomes.refused > 40) end
  end)
end)
