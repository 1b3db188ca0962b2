--- libyaml's parser: the events of a text, one after the other, with their lines.
--
-- The library is opened when a text first is read. An event is told in fields of the parser, which
-- the next one overwrites, so that reading makes no tables: a Lua binding's events, of three tables
-- each, took half of the time of reading a configuration. Layouts as in libyaml 0.2's yaml.h.
-- https://pyyaml.org/wiki/LibYAML
-- @module mlua.ffi.yaml
local ffi = require "ffi"

ffi.cdef [[
typedef struct { size_t index, line, column; } mlua_yaml_mark;
typedef struct {
  int error;
  const char *problem;
  size_t problem_offset;
  int problem_value;
  mlua_yaml_mark problem_mark;
  const char *context;
  mlua_yaml_mark context_mark;
  char rest[1024]; /* of libyaml's own, which takes 392 bytes */
} mlua_yaml_parser;
/* Numbers of 64 bits as two halves, and no structs within: what Lua reads of a struct or of 64 bits
 * is an object. */
typedef struct {
  int type, pad;
  uint32_t anchor, anchor_high, tag, tag_high; /* of an alias, scalar, sequence or mapping */
  const char *value;
  uint32_t length, length_high;
  int plain, quoted, style, pad2;
  uint32_t index, index_high, line, line_high, column, column_high, end[6];
  char rest[64];
} mlua_yaml_event;
int yaml_parser_initialize(mlua_yaml_parser *parser);
void yaml_parser_delete(mlua_yaml_parser *parser);
void yaml_parser_set_input_string(mlua_yaml_parser *parser, const char *text, size_t size);
int yaml_parser_parse(mlua_yaml_parser *parser, mlua_yaml_event *event);
void yaml_event_delete(mlua_yaml_event *event);
]]

local M = {}

local KINDS = {
  [2] = "end", [3] = "document", [5] = "alias", [6] = "scalar", [7] = "list", [8] = "list end",
  [9] = "map", [10] = "map end",
}
local ALIAS, SCALAR, SEQUENCE, MAPPING = 5, 6, 7, 9
local ANCHOR, TAG = 8, 16 -- where their pointers stand in an event
local PLAIN = 1
local MEMORY, READER = 1, 2

local lib

local Parser = {}
Parser.__index = Parser

--- Begin to read a text.
-- @tparam string text
-- @treturn ?Parser  nil where libyaml is not there
-- @treturn string   or else what to install
function M.parser(text)
  if not lib then
    local ok, found = pcall(ffi.load, "libyaml-0.so.2")
    if not ok then
      return nil, "reading YAML needs libyaml (apt-get install libyaml-0-2)"
    end
    lib = found
  end
  local handle = ffi.new "mlua_yaml_parser"
  if lib.yaml_parser_initialize(handle) == 0 then error "not enough memory" end
  lib.yaml_parser_set_input_string(handle, text, #text)
  return setmetatable({
    handle = ffi.gc(handle, lib.yaml_parser_delete), source = text, -- which the handle points into
    event = ffi.new "mlua_yaml_event", line = 0,
  }, Parser)
end

-- What is wrong, and the line where: of a byte that cannot be read, where that stands.
local function problem(self)
  local h = self.handle
  if h.error == MEMORY then error "not enough memory" end
  local what = h.problem ~= nil and ffi.string(h.problem) or "cannot be read"
  if what:find "end of stream" and h.context ~= nil then -- where it began is what helps
    return tonumber(h.context_mark.line) + 1, ffi.string(h.context) .. " " .. what
  end
  if h.error ~= READER then return tonumber(h.problem_mark.line) + 1, what end
  local before = self.source:sub(1, tonumber(h.problem_offset))
  return 1 + select(2, before:gsub("\n", "")), what
end

--- A line of what is read.
-- @tparam number line  from 1
-- @treturn string      empty where there is none
function Parser:text_of(line)
  local at = 0
  for found in self.source:gmatch "[^\n]*" do
    at = at + 1
    if at == line then return found end
  end
  return ""
end

local function text_at(event, offset)
  return ffi.string(ffi.cast("const char **", ffi.cast("char *", event) + offset)[0])
end

--- The next event: "scalar", "list", "list end", "map", "map end", "alias", "document" or "end".
-- `line` says where it begins; `text` and `quoted` are a scalar's; `anchor` and `tag` are names.
-- @treturn ?string  nil where the text is no YAML
-- @return  or else the line
-- @treturn ?string  and what is wrong
function Parser:next()
  local event = self.event
  local kind
  repeat
    if lib.yaml_parser_parse(self.handle, event) == 0 then return nil, problem(self) end
    local type = event.type
    kind = KINDS[type]
    self.line = event.line + 1
    self.anchor, self.tag = nil, nil
    if type == ALIAS or type == SCALAR or type == SEQUENCE or type == MAPPING then
      if event.anchor ~= 0 or event.anchor_high ~= 0 then self.anchor = text_at(event, ANCHOR) end
      if type ~= ALIAS and (event.tag ~= 0 or event.tag_high ~= 0) then
        self.tag = text_at(event, TAG)
      end
      if type == SCALAR then
        self.text = ffi.string(event.value, event.length)
        self.quoted = event.style ~= PLAIN
      end
    end
    lib.yaml_event_delete(event)
  until kind
  return kind
end

return M
