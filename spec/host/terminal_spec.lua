local files = require "spec.support.files"
local process = require "spec.support.process"
local terminal = require "spec.support.terminal"

describe("the prompt, on a terminal", function()
  local home, open

  local function start(options, env, size)
    env = env or {}
    env.HOME, env.XDG_STATE_HOME = home, env.XDG_STATE_HOME or ""
    local t = terminal.start(process.quote(process.program()) .. " " .. (options or ""),
      { env = env, width = size and size.width or 110 })
    open[#open + 1] = t
    t:see("%(Ctrl%-C interrupts, Ctrl%-D leaves%)\n>$")
    return t
  end

  before_each(function() home, open = files.folder(), {} end)
  after_each(function()
    for _, t in ipairs(open) do t:stop() end
    files.remove(home)
  end)

  local function at_terminal(name, test)
    it(name, function()
      if not terminal.available then return pending("tmux is not installed") end
      test()
    end)
  end

  at_terminal("says what the machine has", function()
    start():see("^mlua %d+%.%d+ · LuaJIT 2%.1 · cpu %d+ threads?[^·]* · [^·(]*GPU[^·(]*" ..
      "   %(Ctrl%-C interrupts, Ctrl%-D leaves%)\n>$")
    start("", nil, { width = 60 }):see("GPU[^·(]*\n%(Ctrl%-C")
  end)

  at_terminal("reads lines, prints values, and leaves on Ctrl-D", function()
    local t = start()
    t:enter("x = ml.ones(2, 2)")
    t:see("2%)\n>$")
    t:enter("x")
    t:see("> x\n1%. 1%.\n1%. 1%.   %[f32 2×2 cpu%]\n>$")
    t:enter("{ x, name = 'a' }")
    t:see('\n{ %[f32 2×2 cpu%], name = "a" }\n>$')
    t:enter("error('oops')")
    t:see("\nstdin:1: oops\nstack traceback:\n%s+stdin:1: in main chunk\n>$")
    t:press("C-d")
    t:see("\nstatus 0$")
  end)

  at_terminal("goes on in the next line, and says once what becomes of a local", function()
    local t = start()
    t:enter("for i = 1, 2 do")
    t:see("\n>>$")
    t:enter("print(i)")
    t:see(">> print%(i%)\n>>$")
    t:enter("end")
    t:see("\n>> end\n1\n2\n>$")
    t:enter("local a = 1")
    t:see("\na local ends with its line; without 'local', the name stays\n>$")
    t:enter("local b = 1")
    t:see("> local b = 1\n>$")
    t:enter("a")
    t:see("> local b = 1\n> a\nnil\n>$")
  end)

  at_terminal("takes lines that are pasted together as one chunk, or else one by one", function()
    local t = start()
    t:paste("local a = 20\nlocal b = 22\nprint(a + b)")
    t:press("Enter")
    t:see("\n42\n")
    t:paste("u = 1\nu + 1\nfor i = 1, 1 do\nprint('in')\nend\nu + 2")
    t:press("Enter")
    t:see("\n2\nin\n3\n>$")
  end)

  at_terminal("clears the line, or the open block, on Ctrl-C", function()
    local t = start()
    t:type("unfinished(")
    t:see("unfinished%($")
    t:press("C-c")
    t:see("unfinished%([^\n]*\n>$")
    t:enter("'a' .. 'b'")
    t:see('\n"ab"\n>$')
    t:enter("for i = 1, 2 do")
    t:see(">>$")
    t:press("C-c")
    t:see("\n>$")
    t:enter("'c' .. 'd'")
    t:see('\n"cd"\n>$')
  end)

  for name, code in pairs {
    ["an interpreted loop"] = "jit.off() print('go') while true do end",
    ["a compiled loop that is empty"] = "print('go') while true do end",
    ["a compiled loop of calls"] =
      "function f(x) return x + 1 end n = 0 print('go') repeat n = f(n) until n < 0",
    ["a compiled loop of operations"] = "x = ml.ones(3) print('go') while true do x = x + 1 end",
    ["a wait for input"] = "print('go') io.read() while true do end",
    ["a coroutine"] = "print('go') coroutine.wrap(function() while true do end end)()",
    ["a measurement"] = "%timeit io.write('go\\n') while true do end",
  } do
    at_terminal("stops " .. name .. " on Ctrl-C, and stays", function()
      local t = start()
      t:enter(code)
      t:see("\ngo$")
      t:press("C-c")
      t:see("interrupted at stdin:1\n>$")
      t:enter("'on' .. 'ward'")
      t:see('\n"onward"\n>$')
      t:enter("ml.ones(1) + 1")
      t:see("\n2%.   %[f32 1 cpu%]\n>$")
    end)
  end

  at_terminal("lets a script catch Ctrl-C, and the next one end it", function()
    local t = start()
    t:enter("print('go', pcall(function() print('in') while true do end end)) while true do end")
    t:see("\nin$")
    t:press("C-c")
    t:see("go%s+false%s+[^\n]*interrupted!$")
    t:press("C-c")
    t:see("\n[^\n]*interrupted at stdin:1\n>$")
  end)

  at_terminal("ends at the third Ctrl-C where a function of C runs on and on", function()
    local t = start()
    t:enter("print('go') return ('a'):rep(1e5):find(('.-'):rep(20) .. 'b')")
    t:see("\ngo$")
    t:press("C-c")
    t:see("%^C$")
    t:press("C-c")
    t:see("%^C%^C$")
    t:press("C-c")
    t:see("status 130$")
  end)

  at_terminal("stops a script before the prompt on Ctrl-C, under -i", function()
    local path = files.write(home .. "/s.lua", "print('go') while true do end")
    local t = terminal.start(process.quote(process.program()) .. " -i " .. path,
      { env = { HOME = home } })
    open[#open + 1] = t
    t:see("\ngo$")
    t:press("C-c")
    t:see("interrupted\n>$")
  end)

  at_terminal("completes globals, keywords, fields and methods", function()
    local t = start()
    t:type("coll")
    t:press("Tab")
    t:see("> collectgarbage$")
    t:type("('co' .. 'unt') > 0 and opt")
    t:press("Tab")
    t:type(".adamw ~= n")
    t:press("Tab")
    t:see("and optim%.adamw ~= n$")
    t:press("Tab")
    t:see("\nnewproxy%s+next%s+nil%s+nn%s+not\n> coll")
    t:type("il")
    t:press("Enter")
    t:see("\ntrue\n>$")
    t:enter("x = ml.ones(2, 3)")
    t:type("x:resh")
    t:press("Tab")
    t:see("> x:reshape$")
    t:enter("(3, 2):sum():item()")
    t:see("\n6\n>$")
  end)

  at_terminal("completes file names inside strings, and commands", function()
    files.write(home .. "/some_recipe.lua", "return 'it ran'")
    local t = start()
    t:type("dofile('" .. home .. "/some_r")
    t:press("Tab")
    t:see("some_recipe%.lua'$")
    t:enter(")")
    t:see('\n"it ran"\n>$')
    t:type("%lo")
    t:press("Tab")
    t:see("> %%load$")
    t:type(" " .. home .. "/some_r")
    t:press("Tab")
    t:see("some_recipe%.lua$")
    t:press("Enter")
    t:see('some_recipe%.lua\n"it ran"\n>$')
  end)

  at_terminal("shows documentation", function()
    local t = start()
    t:enter("? ml.sofmax")
    t:see("\nno ml%.sofmax, did you mean 'ml%.softmax'%?\n>$")
    t:enter("? ml.softmax")
    t:see("\nml%.softmax%(x, axis%) +mlua/ffi/ops%.lua:%d+\n  y = ")
  end)

  at_terminal("keeps its history, in a file that others cannot read", function()
    local t = start()
    t:enter("'first line'")
    t:see('\n"first line"\n>$')
    t:enter("1")
    t:see("\n1\n>$")
    t:enter("1")
    t:see("\n1\n> 1\n1\n>$")
    t:enter("os.exit(4)")
    t:see("status 4$")
    local path = home .. "/.local/state/mlua/history"
    assert.equal("'first line'\n1\nos.exit(4)\n", files.read(path))
    local modes = io.popen("stat -c %a " .. path .. " " .. home .. "/.local/state/mlua")
    assert.equal("600\n700\n", modes:read("*a"))
    modes:close()
    t = start()
    t:press("Up", "Up", "Up", "Enter")
    t:see('\n"first line"\n>$')
  end)

  at_terminal("keeps the lines of two sessions that run side by side, in XDG_STATE_HOME", function()
    local env = { XDG_STATE_HOME = home .. "/state" }
    local a, b = start("", env), start("", env)
    for i = 1, 3 do
      a:enter("'a" .. i .. "'")
      a:see('\n"a' .. i .. '"\n>$')
      b:enter("'b" .. i .. "'")
      b:see('\n"b' .. i .. '"\n>$')
    end
    assert.equal("'a1'\n'b1'\n'a2'\n'b2'\n'a3'\n'b3'\n", files.read(home .. "/state/mlua/history"))
  end)

  at_terminal("keeps a history of bounded length", function()
    local folder, lines = home .. "/.local/state/mlua", {}
    os.execute("mkdir -p " .. folder)
    for i = 1, 3000 do lines[i] = tostring(i) end
    files.write(folder .. "/history", table.concat(lines, "\n") .. "\n")
    local t = start()
    t:press("Up", "Enter")
    t:see("\n3000\n>$")
    local kept = files.read(folder .. "/history")
    assert.equal(2000 + 1, select(2, kept:gsub("\n", ""))) -- and this session's
    assert.truthy(kept:match("^1001\n"))
  end)

  at_terminal("keeps no history under -E, or where it cannot be written", function()
    local t = start("-E")
    t:enter("1 + 1")
    t:see("\n2\n>$")
    assert.falsy(files.exists(home .. "/.local"))
    t = start("", { XDG_STATE_HOME = "/dev/null/state" })
    t:enter("1 + 1")
    t:see("\n2\n>$")
    t:press("Up")
    t:see("> 1 %+ 1$")
  end)
end)
