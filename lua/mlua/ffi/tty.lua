--- What a file descriptor of this process is: a terminal, and how wide.
-- @module mlua.ffi.tty
local ffi = require "ffi"

ffi.cdef [[
int isatty(int fd);
int ioctl(int fd, unsigned long request, ...);
]]

local M = {}

local C = ffi.C
local TIOCGWINSZ = 0x5413 -- Linux

--- Whether a descriptor is a terminal.
-- @tparam number fd  0 standard input, 1 output, 2 error
-- @treturn boolean
function M.isatty(fd)
  return C.isatty(fd) == 1
end

--- Columns of the terminal: COLUMNS if set, else asked of standard error and output; 100 for none.
-- @treturn number
function M.width()
  local set = tonumber(os.getenv("COLUMNS") or "")
  if set and set > 0 then return set end
  local size = ffi.new("unsigned short[4]") -- struct winsize: rows, columns, two of pixels
  for fd = 2, 1, -1 do
    if C.ioctl(fd, TIOCGWINSZ, size) == 0 and size[1] > 0 then return size[1] end
  end
  return 100
end

return M
