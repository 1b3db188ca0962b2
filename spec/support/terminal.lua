--- A program in a terminal, by tmux: type keys, wait for what is on the screen.
local files = require "spec.support.files"
local process = require "spec.support.process"

local terminal = {}
terminal.__index = terminal

local PATIENCE = 20 -- seconds

local function sh(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

--- Whether tmux is there.
terminal.available = os.execute("command -v tmux >/dev/null 2>&1") == 0

--- Start a shell command; when it ends, "status N" stays on the screen.
-- @tparam string command
-- @tparam ?table options  env (name to value), width (100), height (30)
function terminal.start(command, options)
  local o = options or {}
  local self = setmetatable({ folder = files.folder() }, terminal)
  local words = { "env", "LC_ALL=C.UTF-8" }
  for name, v in pairs(o.env or {}) do words[#words + 1] = process.quote(name .. "=" .. v) end
  -- Ctrl-C is the program's: the shell stays, to say how that ended
  local script = process.quote("trap : INT; " .. command .. "; echo status $?; cat")
  self.tmux = ("tmux -u -S %s/tmux "):format(self.folder)
  sh(("%s %s -f /dev/null new-session -d -x %d -y %d %s"):format(table.concat(words, " "),
    self.tmux, o.width or 100, o.height or 30, script))
  return self
end

--- What is on the screen, without the blanks at its end.
function terminal:screen()
  return (sh(self.tmux .. "capture-pane -p"):gsub(" +\n", "\n"):gsub("%s+$", ""))
end

--- Wait until the screen matches a pattern; an error after 20 s.
-- @treturn string  what matched, or its captures
function terminal:see(pattern)
  local screen
  local until_ = os.time() + PATIENCE
  repeat
    screen = self:screen()
    if screen:find(pattern) then return screen:match(pattern) end
    os.execute("sleep 0.03")
  until os.time() > until_
  error(("no %q on the screen:\n%s"):format(pattern, screen), 2)
end

--- Press keys by tmux's names: "Enter", "Tab", "Up", "C-c".
function terminal:press(...)
  for _, key in ipairs { ... } do sh(self.tmux .. "send-keys " .. process.quote(key)) end
end

--- Type a text as it is.
function terminal:type(text) sh(self.tmux .. "send-keys -l " .. process.quote(text)) end

--- Type a line and end it.
function terminal:enter(line)
  self:type(line)
  self:press("Enter")
end

--- Paste a text, as a terminal's menu would.
function terminal:paste(text)
  sh(self.tmux .. "set-buffer -- " .. process.quote(text))
  sh(self.tmux .. "paste-buffer -p")
end

function terminal:stop()
  sh(self.tmux .. "kill-server")
  files.remove(self.folder)
end

return terminal
