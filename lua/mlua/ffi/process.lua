--- Processes forked from this one: what runs in them, what they say, how they end.
--
-- The child is this process as it stands, but for its compute threads, which start anew
-- (core/base/pool.c). It ends when its parent does.
-- @module mlua.ffi.process
local ffi = require "ffi"
local lib = require "mlua.ffi"

ffi.cdef [[
int fork(void);
int pipe2(int fds[2], int flags);
long read(int fd, void *to, size_t n);
int socketpair(int domain, int type, int protocol, int fds[2]);
long send(int fd, const void *from, size_t n, int flags);
long write(int fd, const void *from, size_t n);
int close(int fd);
int dup2(int from, int to);
int waitpid(int pid, int *status, int options);
int kill(int pid, int signal);
int getpid(void);
int setpgid(int pid, int group);
int getppid(void);
int prctl(int option, ...);
void _exit(int status);
int execvp(const char *file, const char *const *arguments);
char *strerror(int error);
int usleep(unsigned microseconds);
struct mlua_time { long seconds, nanoseconds; };
int clock_gettime(int clock, struct mlua_time *time);
struct pollfd { int fd; short events, revents; };
int poll(struct pollfd *fds, unsigned long n, int timeout);
extern char **environ;
]]

local process = {}

local C = ffi.C
local CLOSE_ON_EXEC = 0x80000 -- what a child starts does not keep its pipes open
local NO_HANG, DEATH_SIGNAL, KILL, TERM, READABLE, INTERRUPTED = 1, 1, 9, 15, 1, 4

local function failed(what)
  return nil, what .. ": " .. ffi.string(C.strerror(ffi.errno()))
end

local function new_pipe()
  local fds = ffi.new "int[2]"
  if C.pipe2(fds, CLOSE_ON_EXEC) ~= 0 then return failed "pipe" end
  return fds[0], fds[1]
end

local function write_all(fd, text)
  local at = 0
  while at < #text do
    local n = tonumber(C.write(fd, ffi.cast("const char *", text) + at, #text - at))
    if n < 0 and ffi.errno() ~= INTERRUPTED then return failed "write" end
    at = at + math.max(n, 0)
  end
  return true
end

-- A child's standard input, and our end of it. A socket: who writes into the pipe of a program that
-- has ended already gets a signal, which ends this one, too.
local function new_input()
  local LOCAL, STREAM = 1, 1
  local fds = ffi.new "int[2]"
  if C.socketpair(LOCAL, STREAM + CLOSE_ON_EXEC, 0, fds) ~= 0 then return failed "socketpair" end
  return fds[0], fds[1]
end

-- As much of a text as the other side takes before it ends.
local function send_all(fd, text)
  local NO_SIGNAL, at = 0x4000, 0
  while at < #text do
    local n = tonumber(C.send(fd, ffi.cast("const char *", text) + at, #text - at, NO_SIGNAL))
    if n < 0 and ffi.errno() ~= INTERRUPTED then return end
    at = at + math.max(n, 0)
  end
end

local MOST = 65536 -- bytes that are kept of what a child says

local Child = {}
Child.__index = Child

--- Run f in a child. What it returns, a string, and what it writes to standard output and error
-- come back through `process.wait`.
-- @tparam function f
-- @tparam ?boolean group  it leads a group of processes, which `kill` ends as a whole
-- @treturn Child  fields: pid; unseen, what it said, for the caller to take; or nil, message
function process.start(f, group)
  local answer, answer_end = new_pipe()
  if not answer then return nil, answer_end end
  local said, said_end = new_pipe()
  if not said then return nil, said_end end
  io.stdout:flush()
  io.stderr:flush()
  local parent = C.getpid()
  local pid = C.fork()
  if pid < 0 then return failed "fork" end
  if pid == 0 then
    C.prctl(DEATH_SIGNAL, ffi.cast("unsigned long", KILL))
    if C.getppid() ~= parent then C._exit(1) end -- it ended before that was asked for
    if group then C.setpgid(0, 0) end
    lib.C.ml_stop_watch(false)
    lib.C.ml_last_words(nil)
    if lib.C.ml_stop_signal() ~= 0 then C._exit(1) end -- it came while this began
    C.close(answer)
    C.close(said)
    C.dup2(said_end, 1)
    C.dup2(said_end, 2)
    C.close(said_end)
    local ok, text = pcall(f)
    io.stdout:flush()
    io.stderr:flush()
    if not ok then io.stderr:write(tostring(text), "\n") end
    local sent = ok and write_all(answer_end, text)
    io.stderr:flush()
    C._exit(sent and 0 or 1)
  end
  C.close(answer_end)
  C.close(said_end)
  return setmetatable({ pid = pid, fds = { answer = answer, said = said }, group = group,
                        parts = { answer = {}, said = {} }, n_said = 0, unseen = "" }, Child)
end

--- What it said, at most its last 64 KiB or so.
-- @treturn string
function Child:said()
  local whole = table.concat(self.parts.said):sub(-MOST)
  self.parts.said, self.n_said = { whole }, #whole
  return whole
end

--- What f returned, so far.
-- @treturn string
function Child:answer() return table.concat(self.parts.answer) end

local buffer = ffi.new "char[65536]"

-- What can be read of one of its pipes now; closes it at its end.
local function drain(child, name)
  local n = tonumber(C.read(child.fds[name], buffer, 65536))
  if n < 0 and ffi.errno() == INTERRUPTED then return end
  if n > 0 then
    local part = ffi.string(buffer, n)
    table.insert(child.parts[name], part)
    if name == "said" then
      child.unseen, child.n_said = child.unseen .. part, child.n_said + n
      if child.n_said > 2 * MOST then child:said() end
    end
  else
    C.close(child.fds[name])
    child.fds[name] = nil
  end
end

-- All that it has said by its end. What it started and left may say more: nobody waits for that.
local function drain_rest(child)
  local polled = ffi.new "struct pollfd"
  while child.fds.said do
    polled.fd, polled.events = child.fds.said, READABLE
    if C.poll(polled, 1, 0) > 0 then
      drain(child, "said")
    else
      C.close(child.fds.said)
      child.fds.said = nil
    end
  end
end

--- Wait until a child says something or ends, or for so many seconds.
-- @tparam {Child,...} children
-- @tparam number seconds
function process.wait(children, seconds)
  local polled, n = {}, 0
  for _, child in ipairs(children) do
    for name in pairs(child.fds) do
      n = n + 1
      polled[n] = { child, name }
    end
  end
  local fds = ffi.new("struct pollfd[?]", n + 1)
  for i = 1, n do
    fds[i - 1].fd, fds[i - 1].events = polled[i][1].fds[polled[i][2]], READABLE
  end
  if C.poll(fds, n, math.ceil(seconds * 1000)) <= 0 then return end
  for i = 1, n do
    if fds[i - 1].revents ~= 0 then drain(polled[i][1], polled[i][2]) end
  end
end

--- How it ended: nil while it runs; true for well, false and why otherwise.
-- @treturn ?boolean
-- @treturn ?string
-- @treturn ?number  its status
function Child:ended()
  if self.fds.answer then return nil end -- it has more to say
  local status = ffi.new "int[1]"
  local got = C.waitpid(self.pid, status, self.fds.said and NO_HANG or 0)
  if got == 0 then return nil end
  drain_rest(self)
  if got < 0 then return false, "its process is gone" end
  local signal = status[0] % 128
  if signal ~= 0 then return false, "its process was ended by signal " .. signal end
  local code = math.floor(status[0] / 256) % 256
  return code == 0, code ~= 0 and "its process ended with status " .. code or nil, code
end

--- Ask it to come to an end.
function Child:stop() C.kill(self.group and -self.pid or self.pid, TERM) end

--- End it at once.
function Child:kill()
  C.kill(self.group and -self.pid or self.pid, KILL)
  C.kill(self.pid, KILL) -- should it not lead its group yet
  local status = ffi.new "int[1]"
  C.waitpid(self.pid, status, 0)
  for name, fd in pairs(self.fds) do
    C.close(fd)
    self.fds[name] = nil
  end
end

-- What C takes for arguments; the strings are the list's.
local function vector(arguments)
  local list = ffi.new("const char *[?]", #arguments + 1)
  for i, argument in ipairs(arguments) do list[i - 1] = argument end
  return list
end

--- Become another program, found as a shell finds it; where it can't be, end with status 127.
-- @tparam {string,...} arguments  the program first
function process.become(arguments)
  C.execvp(arguments[1], vector(arguments))
  io.stderr:write(ffi.string(C.strerror(ffi.errno())))
  io.stderr:flush()
  C._exit(127)
end

--- Run a program without a shell, some text on its standard input.
-- @tparam {string,...} arguments  the program first
-- @tparam[opt=""] string input
-- @treturn boolean  true; or nil, why
-- @treturn string   what it said
function process.run(arguments, input)
  local given, given_end = new_input()
  if not given then return nil, given_end end
  local child, why = process.start(function()
    C.close(given_end)
    C.dup2(given, 0)
    process.become(arguments)
  end)
  C.close(given)
  if not child then return nil, why end
  send_all(given_end, input or "")
  C.close(given_end)
  local ok
  repeat
    process.wait({ child }, 1)
    ok, why = child:ended()
  until ok ~= nil
  if ok then return true, child:said() end
  local said = child:said():gsub("%s+$", "")
  return nil, said ~= "" and said or why
end

ffi.cdef [[
typedef struct mlua_spawn { long words[64]; } mlua_spawn; // more than any libc has of either
int posix_spawn_file_actions_init(mlua_spawn *actions);
int posix_spawn_file_actions_destroy(mlua_spawn *actions);
int posix_spawn_file_actions_addopen(mlua_spawn *actions, int fd, const char *path, int flags,
                                     unsigned mode);
int posix_spawn_file_actions_adddup2(mlua_spawn *actions, int from, int to);
int posix_spawnp(int *pid, const char *file, const mlua_spawn *actions, const mlua_spawn *how,
                 const char *const *arguments, char *const *environment);
struct mlua_limit { unsigned long now, most; };
int prlimit(int pid, int resource, const struct mlua_limit *limit, struct mlua_limit *before);
]]

local Spawned = {}
Spawned.__index = Spawned

--- Start a program without a shell, and go on: nothing on its standard input, its errors to nobody.
-- It is not forked from this process, however large that is.
-- @tparam {string,...} arguments  the program first
-- @tparam ?string path    where its output goes; else `finish` gives it
-- @tparam ?number most    bytes of that file at most: at more it is ended
-- @treturn Spawned  or nil, why
function process.spawn(arguments, path, most)
  local NULL, WRITE, FILE_SIZE = "/dev/null", 0x241, 1 -- write, create, cut
  local actions, pid = ffi.new "mlua_spawn[1]", ffi.new "int[1]"
  local from, to
  C.posix_spawn_file_actions_init(actions)
  C.posix_spawn_file_actions_addopen(actions, 0, NULL, 0, 0)
  C.posix_spawn_file_actions_addopen(actions, 2, NULL, WRITE, 0)
  if path then
    C.posix_spawn_file_actions_addopen(actions, 1, path, WRITE, 438) -- 0666
  else
    from, to = new_pipe()
    if not from then return nil, to end
    C.posix_spawn_file_actions_adddup2(actions, to, 1)
  end
  local list = vector(arguments)
  local code = C.posix_spawnp(pid, arguments[1], actions, nil, list, C.environ)
  C.posix_spawn_file_actions_destroy(actions)
  if to then C.close(to) end
  if code ~= 0 then
    if from then C.close(from) end
    return nil, ("%s: %s"):format(arguments[1], ffi.string(C.strerror(code)))
  end
  if most then
    C.prlimit(pid[0], FILE_SIZE, ffi.new("struct mlua_limit", most, most), nil)
  end
  return setmetatable({ pid = pid[0], fd = from }, Spawned)
end

--- Wait for its end.
-- @treturn boolean  whether it ended well
-- @treturn string   its output, where no file has it
function Spawned:finish()
  local parts, n = {}, nil
  while self.fd and n ~= 0 do
    n = tonumber(C.read(self.fd, buffer, 65536))
    if n < 0 and ffi.errno() ~= INTERRUPTED then break end
    if n > 0 then parts[#parts + 1] = ffi.string(buffer, n) end
  end
  if self.fd then C.close(self.fd) end
  local status = ffi.new "int[1]"
  local got
  repeat got = C.waitpid(self.pid, status, 0) until got >= 0 or ffi.errno() ~= INTERRUPTED
  return got == self.pid and status[0] == 0, table.concat(parts)
end

--- Do nothing for so many seconds.
-- @tparam number seconds
function process.sleep(seconds)
  while seconds > 0 do
    C.usleep(math.min(seconds, 0.5) * 1e6)
    seconds = seconds - 0.5
  end
end

local time = ffi.new "struct mlua_time"

--- Seconds since 1970, with their fraction.
-- @treturn number
function process.now()
  C.clock_gettime(0, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

--- Why the last call of the system failed.
-- @treturn string
function process.cause() return ffi.string(C.strerror(ffi.errno())) end

--- Variables of the environment whose names begin so.
-- @tparam string prefix
-- @treturn table  name → value
function process.variables(prefix)
  local found, i, list = {}, 0, C.environ
  while list ~= nil and list[i] ~= nil do
    local name, value = ffi.string(list[i]):match "^([^=]*)=(.*)$"
    if name and name:sub(1, #prefix) == prefix then found[name] = value end
    i = i + 1
  end
  return found
end

--- End at once: nothing is waited for, nothing closed.
-- @tparam number status
function process.quit(status)
  io.stdout:flush()
  io.stderr:flush()
  C._exit(status)
end

--- This process's number.
-- @treturn number
function process.id() return C.getpid() end

--- End as by Ctrl-C.
function process.interrupt() process.stop(2) end

--- End as by a signal.
-- @tparam number signal
function process.stop(signal) C.kill(C.getpid(), signal) end

--- The line that Ctrl-C leaves before it ends the program; nil: none.
-- @tparam ?string text
function process.last_words(text) lib.C.ml_last_words(text) end

return process
