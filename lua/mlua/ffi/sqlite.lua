--- SQLite, as far as mlua's own records need it: statements with text, numbers and nil.
--
-- The library is opened when a database first is. Failures are nil, "path: cause", code.
-- https://www.sqlite.org/cintro.html
-- @module mlua.ffi.sqlite
local ffi = require "ffi"
local check = require "mlua.check"
local hash = require "mlua.ffi.hash"

ffi.cdef [[
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
int sqlite3_open_v2(const char *path, sqlite3 **out, int flags, const char *vfs);
int sqlite3_close_v2(sqlite3 *db);
int sqlite3_busy_timeout(sqlite3 *db, int ms);
int sqlite3_exec(sqlite3 *db, const char *sql, void *callback, void *arg, char **message);
int sqlite3_prepare_v2(sqlite3 *db, const char *sql, int n, sqlite3_stmt **out, const char **rest);
int sqlite3_bind_text(sqlite3_stmt *s, int i, const char *text, int n, intptr_t kept);
int sqlite3_bind_double(sqlite3_stmt *s, int i, double value);
int sqlite3_bind_int64(sqlite3_stmt *s, int i, int64_t value);
int sqlite3_bind_null(sqlite3_stmt *s, int i);
int sqlite3_step(sqlite3_stmt *s);
int sqlite3_reset(sqlite3_stmt *s);
int sqlite3_finalize(sqlite3_stmt *s);
int sqlite3_column_count(sqlite3_stmt *s);
int sqlite3_column_type(sqlite3_stmt *s, int i);
double sqlite3_column_double(sqlite3_stmt *s, int i);
const char *sqlite3_column_text(sqlite3_stmt *s, int i);
int sqlite3_column_bytes(sqlite3_stmt *s, int i);
const char *sqlite3_errmsg(sqlite3 *db);
int sqlite3_errcode(sqlite3 *db);
int sqlite3_system_errno(sqlite3 *db);
int sqlite3_changes(sqlite3 *db);
char *strerror(int error);
]]

local sqlite = {}

local OPEN = 0x2 + 0x4 + 0x8000 -- read and write, create; one thread
local ROW, DONE, TRANSIENT = 100, 101, -1
local FLOAT, TEXT, INTEGER = 2, 3, 1
local lib

local function library()
  if lib then return lib end
  local ok, found = pcall(ffi.load, "libsqlite3.so.0")
  if not ok then return nil, "libsqlite3.so.0 is not there: install the package libsqlite3-0" end
  lib = found
  return lib
end

local Database, Statement = {}, {}
Database.__index, Statement.__index = Database, Statement

local IO_ERROR, FULL, CANNOT_OPEN = 10, 13, 14

local function failed(db)
  local why, code = ffi.string(lib.sqlite3_errmsg(db.handle)), lib.sqlite3_errcode(db.handle)
  local number = lib.sqlite3_system_errno(db.handle)
  if number ~= 0 and (code == IO_ERROR or code == FULL or code == CANNOT_OPEN) then
    why = ("%s (%s)"):format(why, ffi.string(ffi.C.strerror(number)))
  end
  return nil, db.path .. ": " .. why, code
end

--- Open a database, made where it is missing. Writers wait for each other for up to a minute.
-- @tparam string path
-- @treturn Database
function sqlite.open(path)
  check.type(path, 1, "open", "path", "string")
  local ok, why = library()
  if not ok then return nil, path .. ": " .. why end
  local out = ffi.new "sqlite3 *[1]"
  local code = lib.sqlite3_open_v2(path, out, OPEN, nil)
  local db = setmetatable({ path = path, handle = ffi.gc(out[0], lib.sqlite3_close_v2),
                            statements = {} }, Database)
  if code ~= 0 then return failed(db) end
  lib.sqlite3_busy_timeout(db.handle, 60000)
  return db
end

--- Run statements that take and give nothing.
-- @tparam string sql
-- @treturn boolean  true
function Database:exec(sql)
  if lib.sqlite3_exec(self.handle, sql, nil, nil, nil) ~= 0 then return failed(self) end
  return true
end

--- A statement, made once for each text.
-- @tparam string sql
-- @treturn Statement
function Database:prepare(sql)
  local known = self.statements[sql]
  if known then return known end
  local out = ffi.new "sqlite3_stmt *[1]"
  if lib.sqlite3_prepare_v2(self.handle, sql, #sql, out, nil) ~= 0 then return failed(self) end
  local statement = setmetatable({ db = self, handle = ffi.gc(out[0], lib.sqlite3_finalize) },
    Statement)
  self.statements[sql] = statement
  return statement
end

local function bind(handle, ...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if type(value) == "string" then
      lib.sqlite3_bind_text(handle, i, value, #value, TRANSIENT)
    elseif type(value) == "number" then
      lib.sqlite3_bind_double(handle, i, value)
    elseif type(value) == "boolean" then
      lib.sqlite3_bind_double(handle, i, value and 1 or 0)
    else
      lib.sqlite3_bind_null(handle, i)
    end
  end
end

local function column(handle, i)
  local kind = lib.sqlite3_column_type(handle, i)
  if kind == TEXT then
    local text = lib.sqlite3_column_text(handle, i)
    return ffi.string(text, lib.sqlite3_column_bytes(handle, i))
  elseif kind == INTEGER or kind == FLOAT then
    return lib.sqlite3_column_double(handle, i)
  end
end

--- Run it with values for its marks; the first row's columns.
-- @param ...  strings, numbers, booleans, nil
-- @return the columns, at most 6; nothing where there is no row; nil, message, code
function Statement:one(...)
  local handle = self.handle
  bind(handle, ...)
  local code = lib.sqlite3_step(handle)
  if code == ROW then
    local a, b, c = column(handle, 0), column(handle, 1), column(handle, 2)
    local d, e, f = column(handle, 3), column(handle, 4), column(handle, 5)
    lib.sqlite3_reset(handle)
    return a, b, c, d, e, f
  end
  if code ~= DONE then
    local _, why, number = failed(self.db)
    lib.sqlite3_reset(handle)
    return nil, why, number
  end
  lib.sqlite3_reset(handle)
end

--- The text in the second column of the row with a whole number as its key, where the first is its
-- seal under an identity: fast, for many.
-- @tparam number key
-- @tparam string id
-- @treturn ?string
function Statement:sealed(key, id)
  local handle, text = self.handle, nil
  lib.sqlite3_bind_int64(handle, 1, key)
  if lib.sqlite3_step(handle) == ROW then
    local seal, outputs = lib.sqlite3_column_text(handle, 0), lib.sqlite3_column_text(handle, 1)
    local n = lib.sqlite3_column_bytes(handle, 1)
    if seal ~= nil and outputs ~= nil
      and hash.sealed(seal, lib.sqlite3_column_bytes(handle, 0), id, outputs, n) then
      text = ffi.string(outputs, n)
    end
  end
  lib.sqlite3_reset(handle)
  return text
end

--- Run it; every row as a list.
-- @param ...
-- @treturn {table,...}  or nil, message, code
function Statement:all(...)
  local handle, rows = self.handle, {}
  bind(handle, ...)
  local columns = lib.sqlite3_column_count(handle)
  while true do
    local code = lib.sqlite3_step(handle)
    if code ~= ROW then
      if code == DONE then break end
      local _, why, number = failed(self.db)
      lib.sqlite3_reset(handle)
      return nil, why, number
    end
    local row = {}
    for i = 1, columns do row[i] = column(handle, i - 1) end
    rows[#rows + 1] = row
  end
  lib.sqlite3_reset(handle)
  return rows
end

--- Run it for what it changes.
-- @param ...
-- @treturn number  rows changed; or nil, message, code
function Statement:run(...)
  local handle = self.handle
  bind(handle, ...)
  local code = lib.sqlite3_step(handle)
  if code ~= DONE and code ~= ROW then
    local _, why, number = failed(self.db)
    lib.sqlite3_reset(handle)
    return nil, why, number
  end
  lib.sqlite3_reset(handle)
  return lib.sqlite3_changes(self.db.handle)
end

--- Close it, with its statements.
function Database:close()
  for sql, statement in pairs(self.statements) do
    lib.sqlite3_finalize(ffi.gc(statement.handle, nil))
    self.statements[sql] = nil
  end
  if self.handle then lib.sqlite3_close_v2(ffi.gc(self.handle, nil)) end
  self.handle = nil
end

return sqlite
