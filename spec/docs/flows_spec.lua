-- docs/flows.md runs: its files are written, its commands typed, and they print what the page says.
local files = require "spec.support.files"
local process = require "spec.support.process"

local root = debug.getinfo(1, "S").source:match "^@(.*)spec/docs/" or ""

-- The page's blocks in order: { kind, line, name (of a file), lines }.
local function blocks_of(path)
  local blocks, block, name, line = {}, nil, nil, 0
  for l in io.lines(path) do
    line = line + 1
    if not block then
      local kind = l:match "^```(%w*)$"
      if kind then block = { kind = kind, line = line, name = name, lines = {} } end
      if l ~= "" then name = l:match "`([%w_]+%.lua)`:$" end
    elseif l == "```" then
      blocks[#blocks + 1] = block
      block = nil
    else
      table.insert(block.lines, l)
    end
  end
  return blocks
end

-- What may differ from one time to the next: how long ago, how long it takes.
local function timeless(text)
  text = text:gsub("just now", "some time ago"):gsub("%d[%d.:]* ?[%aµ]* ago", "some time ago")
  return (text:gsub("about %d[%d.:]* ?[mµ]?s?", "about some time"))
end

-- Commands with what is printed after each: { { command, output }, … }.
local function split(lines, sign)
  local list = {}
  for _, l in ipairs(lines) do
    local command = l:match("^" .. sign .. " (.*)$")
    if command then list[#list + 1] = { command, "" }
    elseif #list > 0 then list[#list][2] = list[#list][2] .. l .. "\n"
    end
  end
  return list
end

describe("the guide from a script to a flow", function()
  local folder, path

  setup(function()
    folder = files.folder()
    assert(require "lfs".mkdir(folder .. "/bin"))
    assert(require "lfs".mkdir(folder .. "/circle"))
    assert(require "lfs".mkdir(folder .. "/circle/.mlua")) -- whatever folders above have
    local program = process.program()
    assert(require "lfs".link(program, folder .. "/bin/mlua", true))
    path = folder .. "/bin:" .. os.getenv "PATH"
  end)
  teardown(function() files.remove(folder) end)

  local function shell(command, stdin)
    local got = process.run({ "sh", "-c", "exec 2>&1; " .. command },
      { cwd = folder .. "/circle", stdin = stdin, env = { PATH = path, MLUA_STORE = false } })
    return got.out
  end

  -- Lines at the prompt, with a mark after what each has printed.
  local function prompt(list)
    local lines = {}
    for _, item in ipairs(list) do
      lines[#lines + 1] = item[1] .. '\nfor _ = 1, 1 do io.stdout:write("\\1") end\n'
    end
    local outputs = {}
    for output in shell("mlua -i", table.concat(lines)):gmatch "([^\1]*)\1" do
      outputs[#outputs + 1] = output
    end
    return outputs
  end

  it("prints what the page says, command by command", function()
    local commands, written = 0, 0
    for _, block in ipairs(blocks_of(root .. "docs/flows.md")) do
      local at = "the block at line " .. block.line
      if block.kind == "lua" then
        assert(block.name, at .. " has no file's name above it")
        files.write(folder .. "/circle/" .. block.name, table.concat(block.lines, "\n") .. "\n")
        written = written + 1
      elseif block.lines[1] == "$ mlua" then
        local list = split(block.lines, ">")
        local outputs = prompt(list)
        for i, item in ipairs(list) do
          assert.equal(timeless(item[2]), timeless(outputs[i] or "nothing"), at .. ": " .. item[1])
          commands = commands + 1
        end
      else
        for _, item in ipairs(split(block.lines, "%$")) do
          assert.equal(timeless(item[2]), timeless(shell(item[1])), at .. ": " .. item[1])
          commands = commands + 1
        end
      end
    end
    assert.is_true(commands >= 30, commands .. " commands")
    assert.equal(7, written)
  end)
end)
