-- docs/tutorial.md runs: its code, put together into one script, prints what the page says.
local root = debug.getinfo(1, "S").source:match "^@(.*)spec/docs/" or ""

-- The page's blocks in order: { code, line, expected }.
local function blocks_of(path)
  local blocks, kind, text, at, line = {}, nil, nil, nil, 0
  for l in io.lines(path) do
    line = line + 1
    if kind then
      if l == "```" then
        if kind == "lua" then
          blocks[#blocks + 1] = { code = text, line = at, expected = "" }
        elseif kind == "" then
          blocks[#blocks].expected = table.concat(text, "\n") .. "\n"
        end
        kind = nil
      else
        text[#text + 1] = l
      end
    else
      kind = l:match "^```(%w*)$"
      text, at = {}, line
    end
  end
  return blocks
end

describe("the tutorial", function()
  local blocks = blocks_of(root .. "docs/tutorial.md")

  it("prints what the page says, block by block", function()
    assert.is_true(#blocks >= 8)
    local script, printed = {}, {}
    for k, b in ipairs(blocks) do -- each block's code on its own lines of the page
      script[#script + 1] = ("__block(%d)"):format(k)
      script[#script + 1] = table.concat(b.code, "\n")
    end
    local current
    local env = setmetatable({
      __block = function(k)
        current = k
        printed[k] = {}
      end,
      print = function(...)
        local parts = {}
        for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
        table.insert(printed[current], table.concat(parts, "\t") .. "\n")
      end,
    }, { __index = _G })
    local chunk = assert(loadstring(table.concat(script, "\n"), "=tutorial"))
    local ok, message = pcall(setfenv(chunk, env))
    assert.is_true(ok, ("block at line %d: %s"):format(blocks[current].line, tostring(message)))
    for k, b in ipairs(blocks) do
      assert.equal(b.expected, table.concat(printed[k]), "the block at line " .. b.line)
    end
  end)
end)
