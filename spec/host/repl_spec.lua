local files = require "spec.support.files"
local process = require "spec.support.process"
local mlua = process.mlua

describe("the prompt, fed by a pipe", function()
  local function talk(lines, arguments)
    local got = mlua(arguments or { "-i" }, { stdin = table.concat(lines, "\n") .. "\n" })
    got.said = got.out:gsub("^mlua [^\n]*\n", "") -- the banner
    return got
  end

  it("prints the values of expressions, nil among them", function()
    local got = talk {
      "x = 2", "x + 1", "=x", "nil, x", "return 5", "print('p')", "-- nothing", "",
    }
    assert.equal("3\n2\nnil\t2\n5\np\n", got.said)
    assert.same({ "", 0 }, { got.err, got.status })
  end)

  it("prints through tostring", function()
    local got = talk { "setmetatable({}, { __tostring = function() return 'mine' end })" }
    assert.truthy(got.out:match("\nmine\n$"))
  end)

  it("goes on in the next line while a block is open", function()
    local got = talk {
      "for i = 1, 2 do", "print(i)", "end", "f = function(a)", "return a", "end", "f(", "3)",
    }
    assert.equal("1\n2\n3\n", got.said)
    assert.equal("", got.err)
  end)

  it("goes on after an error, which has a traceback and no program name", function()
    local got = talk {
      "error('oops')", "x x", "error({ user_error = 'no such option' })", "'still'",
    }
    assert.truthy(got.err:match("^stdin:1: oops\nstack traceback:\n"))
    assert.truthy(got.err:match("\nstdin:1: '=' expected near 'x'\nno such option\n$"))
    assert.truthy(got.out:match("\nstill\n$"))
  end)

  it("comes after a script, which it shares globals with", function()
    local folder = files.folder()
    local path = files.write(folder .. "/s.lua", "shared = ...")
    assert.truthy(talk({ "shared" }, { "-i", path, "word" }).out:match("\nword\n$"))
    files.remove(folder)
  end)
end)

describe("the prompt, on a terminal", function()
  local tmux = os.execute("command -v tmux >/dev/null 2>&1") == 0
  local home, socket

  local function sh(command)
    local pipe = assert(io.popen(command .. " 2>&1"))
    local text = pipe:read("*a")
    pipe:close()
    return text
  end

  local function screen() return sh("tmux -S " .. socket .. " capture-pane -p"):gsub("%s+$", "") end

  --- Waits until the screen matches, at most 10 s.
  local function see(pattern)
    local text
    for _ = 1, 200 do
      text = screen()
      if text:match(pattern) then return true end
      os.execute("sleep 0.05")
    end
    error(("no %q on the screen:\n%s"):format(pattern, text), 2)
  end

  local function keys(...)
    local words = { "tmux -S " .. socket .. " send-keys" }
    for _, key in ipairs { ... } do words[#words + 1] = process.quote(key) end
    sh(table.concat(words, " "))
  end

  local function start(options)
    sh(("HOME=%s tmux -S %s -f /dev/null new-session -d -x 90 -y 24 '%s %s; echo status $?; cat'")
      :format(home, socket, process.program(), options or ""))
    see("%(Ctrl%-C interrupts, Ctrl%-D leaves%)\n>$")
  end

  before_each(function()
    home = files.folder()
    socket = home .. "/tmux"
  end)
  after_each(function()
    if tmux then sh("tmux -S " .. socket .. " kill-server") end
    files.remove(home)
  end)

  local function at_terminal(name, test)
    it(name, function()
      if not tmux then return pending("tmux is not installed") end
      test()
    end)
  end

  at_terminal("reads lines, and leaves on Ctrl-D", function()
    start()
    keys("6 * 7", "Enter")
    see("\n42\n>$")
    keys("C-d")
    see("status 0$")
  end)

  at_terminal("clears the line, or the open block, on Ctrl-C", function()
    start()
    keys("unfinished(", "C-c")
    keys("'a' .. 'b'", "Enter")
    see("\nab\n>$")
    keys("for i = 1, 2 do", "Enter")
    see(">>$")
    keys("C-c")
    keys("'c' .. 'd'", "Enter")
    see("\ncd\n>$")
  end)

  at_terminal("stops what runs on Ctrl-C, and stays", function()
    start()
    keys("jit.off() print('go') while true do end", "Enter")
    see("\ngo$")
    keys("C-c")
    see("\ninterrupted\n>$")
    keys("'on' .. 'ward'", "Enter")
    see("\nonward\n>$")
  end)

  at_terminal("keeps its history, in a file that others cannot read", function()
    start()
    keys("'first line'", "Enter")
    see("\nfirst line\n>$")
    keys("os.exit(4)", "Enter")
    see("status 4$")
    assert.equal("'first line'\nos.exit(4)\n", files.read(home .. "/.mlua_history"))
    assert.equal("600\n", sh("stat -c %a " .. home .. "/.mlua_history"))
    sh("tmux -S " .. socket .. " kill-server")
    socket = home .. "/second"
    start()
    keys("Up", "Up", "Enter")
    see("\nfirst line\n>$")
  end)

  at_terminal("keeps no history under -E", function()
    start("-E")
    keys("1 + 1", "Enter", "C-d")
    see("status 0$")
    assert.falsy(files.exists(home .. "/.mlua_history"))
  end)
end)
