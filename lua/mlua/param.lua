--- Typed, documented parameters: the options of recipes and whatever else a user sets.
--
--     local param = require "mlua.param"
--     local spec = param.spec {
--       batch = param.int { 128, min = 1, doc = "samples per step" },
--       top   = param.ints { { 512, 256 }, doc = "hidden widths of the top MLP" },
--     }
--     local o = spec:main(arg)        -- o.batch, o.top; --help and mistakes are dealt with
--
-- Kinds: `int`, `number` (min, max, above, below), `bool`, `string`, `choice` (its strings), `date`
-- (2026-11-21; min, max), `ints`, `numbers`, `strings` (lists, of a length), `file` (its contents
-- count; `literals` are words in its place), `files` (a list of them), `path`, `device`. All take
-- `doc`, `unit`, `required`, `significant` (false: changes no result), `alias`, `short`, `hidden`;
-- `param.kind` defines more.
--
-- A parameter is a value: a kind, a default (its first field) and what is known of it. A spec is an
-- ordered set of them under names (mlua.param.spec). Tables have no order, parameters do: each
-- carries the count of parameters made before it, so that help lists them as they were written.
-- @module mlua.param
local check = require "mlua.check"

local param = {}

local Param = {}
Param.__index = Param

local kinds = {}
local made = 0

-- -- numbers in text ---------------------------------------------------------------------------

-- Decimal only: tonumber alone would take hexadecimal, nan and inf.
local function decimal(s)
  if s:find("^[+-]?%d+%.?%d*$") or s:find("^[+-]?%.%d+$")
    or s:find("^[+-]?%d+%.?%d*[eE][+-]?%d+$") or s:find("^[+-]?%.%d+[eE][+-]?%d+$") then
    return tonumber(s)
  end
end

local function number_text(value)
  if value % 1 == 0 and math.abs(value) < 1e15 then return ("%.0f"):format(value) end
  local short = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

-- "512-256-64": dashes separate where there is no comma, and signs and exponents stay theirs.
local function dashed(s)
  local parts, at = {}, 1
  while true do
    local part = s:match("^%d*%.?%d+[eE][+-]?%d+", at) or s:match("^%d+%.?%d*", at)
      or s:match("^%.%d+", at)
    if not part then return nil end
    parts[#parts + 1] = part
    at = at + #part
    if at > #s then return parts end
    if s:sub(at, at) ~= "-" then return nil end
    at = at + 1
  end
end

local function split(s)
  local parts = {}
  if s:find("^%s*$") then return parts end
  for part in (s .. ","):gmatch("([^,]*),") do
    parts[#parts + 1] = part:match("^%s*(.-)%s*$")
  end
  return parts
end

-- -- ranges ------------------------------------------------------------------------------------

-- "at least 1", "0 to 1", "above 0, at most 1"; nil where anything goes.
local function range_text(p)
  if p.min and p.max then
    return ("%s to %s"):format(number_text(p.min), number_text(p.max))
  end
  local parts = {}
  if p.min then parts[#parts + 1] = "at least " .. number_text(p.min) end
  if p.above then parts[#parts + 1] = "above " .. number_text(p.above) end
  if p.max then parts[#parts + 1] = "at most " .. number_text(p.max) end
  if p.below then parts[#parts + 1] = "below " .. number_text(p.below) end
  return parts[1] and table.concat(parts, ", ") or nil
end

local function in_range(p, value)
  if p.min and value < p.min or p.max and value > p.max
    or p.above and value <= p.above or p.below and value >= p.below then
    return nil, ("%s is out of range (%s)"):format(number_text(value), range_text(p))
  end
  return value
end

-- -- kinds -------------------------------------------------------------------------------------

local common = {
  doc = "string", unit = "string", alias = "table|string", short = "string", group = "string",
  meta = "string", required = "boolean", significant = "boolean", hidden = "boolean",
  optional = "boolean", default = true, [1] = true,
}
local bounds = { min = "number", max = "number", above = "number", below = "number" }

--- Define a kind of parameter; `param[name] { default, … }` then makes one.
-- @tparam string name
-- @tparam table def  fields:
--   read(p, text) → value, or nil and a message that fits after "--name: ";
--   check(p, value) → value, or nil and a message, for values that come from Lua;
--   show(p, value) → text that read would take back (tostring where absent);
--   parts(p, texts) → as read, of a list whose parts are texts, and texts(p, value) → these;
--   bare: no string of a file's is one; component: "one" or "list" (mlua.registry.part);
--   of_files: a path, which in a project's file is beside it; contents: what is there counts in
--   results, not the path; split(text) → the texts of a list's parts;
--   range(p) → text for help, or nil; meta, the word that stands for a value in help;
--   fields, those that the constructor takes beyond the common ones (name → type);
--   build(p, spec), called on each new parameter, may raise through check
function param.kind(name, def)
  check.type(name, 1, "param.kind", "name", "string")
  check.type(def, 2, "param.kind", "def", "table")
  check.arg(not kinds[name], 1, "param.kind", "kind '%s' exists", name)
  def.name = name
  local known = {}
  for field, kind in pairs(common) do known[field] = kind end
  for field, kind in pairs(def.fields or {}) do known[field] = kind end
  kinds[name] = def
  param[name] = function(spec)
    local label = "param." .. name
    check.arg(spec == nil or type(spec) == "table", 1, label,
      "expected a table, got %s", check.what(spec))
    spec = spec or {}
    for field, value in pairs(spec) do
      local expected = known[field]
      if not (def.rest and type(field) == "number") then
        local text = expected == nil and require "mlua.text"
        check.arg(expected ~= nil, 1, label, "unknown field '%s'%s", field,
          text and text.did_you_mean(tostring(field), text.keys(known)) or "")
        local taken = expected == true
          or ("|" .. expected .. "|"):find("|" .. type(value) .. "|", 1, true)
        check.arg(taken, 1, label, "%s: expected a %s, got %s", field, expected, check.what(value))
      end
    end
    made = made + 1
    local p = setmetatable({ kind = def, order = made }, Param)
    for field, value in pairs(spec) do
      if type(field) == "string" then p[field] = value end
    end
    if p.default == nil then p.default = spec[1] end
    if type(p.alias) == "string" then p.alias = { p.alias } end
    if p.significant == nil then p.significant = def.significant ~= false end
    if def.build then
      local problem = def.build(p, spec)
      check.arg(not problem, 1, label, "%s", problem)
    end
    if p.default ~= nil then
      local value, problem = p:check(p.default)
      check.arg(value ~= nil, 1, label, "default: %s", problem)
      p.default = value
    end
    return p
  end
end

--- Whether a value is a parameter.
-- @param p
-- @treturn boolean
function param.is(p)
  return getmetatable(p) == Param
end

--- Read a value from text.
-- @tparam string text
-- @param before  the value so far, which a part's text may change
-- @return value, or nil and a message
function Param:read(text, before)
  return self.kind.read(self, text, before)
end

--- Check a value that comes from Lua.
-- @param value
-- @return the value (lists are copied), or nil and a message
function Param:check(value)
  return self.kind.check(self, value)
end

--- A value as text that `read` takes back.
-- @param value
-- @treturn string
function Param:show(value)
  if value == nil then return "" end
  local show = self.kind.show
  return show and show(self, value) or tostring(value)
end

--- What values are taken, in words, or nil.
-- @treturn ?string
function Param:range()
  return self.kind.range and self.kind.range(self)
end

local function read_number(p, text)
  local value = decimal(text)
  if not value then
    return nil, ("expected %s, got '%s'"):format(p.kind.one, text)
  end
  return p.kind.check(p, value)
end

param.kind("int", {
  bare = true, meta = "N", one = "an integer", fields = bounds, range = range_text,
  read = read_number,
  check = function(p, value)
    if type(value) ~= "number" or value % 1 ~= 0 then
      return nil, "expected an integer, got " .. check.what(value)
    end
    if math.abs(value) > 2 ^ 53 then
      return nil, ("%.17g is out of range (at most 2^53 either way)"):format(value)
    end
    return in_range(p, value)
  end,
  show = function(_, value) return number_text(value) end,
})

param.kind("number", {
  bare = true, meta = "X", one = "a number", fields = bounds, range = range_text,
  read = read_number,
  check = function(p, value)
    if type(value) ~= "number" or value ~= value or math.abs(value) == math.huge then
      return nil, "expected a number, got " .. check.what(value)
    end
    return in_range(p, value)
  end,
  show = function(_, value) return number_text(value) end,
})

local truth = {
  ["true"] = true, yes = true, on = true, ["1"] = true,
  ["false"] = false, no = false, off = false, ["0"] = false,
}

param.kind("bool", {
  bare = true,
  build = function(p) if p.default == nil then p.default = false end end,
  read = function(_, text)
    local value = truth[text:lower()]
    if value == nil then return nil, ("expected yes or no, got '%s'"):format(text) end
    return value
  end,
  check = function(_, value)
    if type(value) ~= "boolean" then
      return nil, "expected true or false, got " .. check.what(value)
    end
    return value
  end,
  show = function(_, value) return value and "yes" or "no" end,
})

local function check_string(_, value)
  if type(value) ~= "string" then return nil, "expected a string, got " .. check.what(value) end
  return value
end

param.kind("string", { meta = "TEXT", read = check_string, check = check_string })
param.kind("path", { meta = "PATH", of_files = true, read = check_string, check = check_string })

local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

-- A day as 2026-11-21; text in that order compares as days do.
param.kind("date", {
  meta = "YYYY-MM-DD", one = "a date as 2026-11-21", fields = { min = "string", max = "string" },
  range = function(p)
    if p.min and p.max then return p.min .. " to " .. p.max end
    return p.min and "from " .. p.min or p.max and "to " .. p.max or nil
  end,
  read = function(p, text) return p.kind.check(p, text) end,
  check = function(p, value)
    local y, m, d = tostring(value):match "^(%d%d%d%d)%-(%d%d)%-(%d%d)$"
    y, m, d = tonumber(y), tonumber(m), tonumber(d)
    local days = DAYS[m]
    if m == 2 and y % 4 == 0 and (y % 100 ~= 0 or y % 400 == 0) then days = 29 end
    if type(value) ~= "string" or not days or d < 1 or d > days then
      return nil, "expected a date as 2026-11-21, got " .. check.what(value)
    end
    if p.min and value < p.min or p.max and value > p.max then
      return nil, ("%s is out of range (%s)"):format(value, p:range())
    end
    return value
  end,
})

-- A file whose contents count; `literals` are words taken in place of a path.
param.kind("file", {
  meta = "FILE", of_files = true, contents = true, fields = { literals = "table" },
  range = function(p)
    return p.literals and "or " .. require("mlua.text").list(p.literals) or nil
  end,
  read = function(p, text)
    for _, literal in ipairs(p.literals or {}) do
      if text == literal then return text end
    end
    -- A map takes regular files only, and does not wait for the writer of a pipe.
    local readable, problem = require("mlua.ffi.store").map(text)
    if readable then return text end
    return nil, problem .. (p.literals and
      require("mlua.text").did_you_mean(text, p.literals) or "")
  end,
  check = check_string,
})

-- Weights to begin with: a safetensors file, or a run, whose newest checkpoint is meant. The
-- contents count.
param.kind("weights", {
  meta = "RUN|FILE", one = "a run's folder or a safetensors file", of_files = true,
  contents = true,
  read = function(_, text) return require("mlua.engine.init").find(text) end,
  check = check_string,
})

param.kind("choice", {
  rest = true, fields = { choices = "table" },
  build = function(p, spec)
    p.choices = spec.choices or { unpack(spec) }
    for i = 1, #p.choices do
      if type(p.choices[i]) ~= "string" then return "choices: expected strings" end
    end
    if #p.choices == 0 then return "choices: expected at least one" end
    if spec.default == nil and not p.optional and not p.required then p.default = p.choices[1] end
    if spec.default == nil and (p.optional or p.required) then p.default = nil end
  end,
  read = function(p, value) return p.kind.check(p, value) end,
  check = function(p, value)
    for _, choice in ipairs(p.choices) do
      if value == choice then return value end
    end
    local text = require "mlua.text"
    local hint = type(value) == "string" and text.did_you_mean(value, p.choices) or ""
    return nil, ("expected %s, got %s%s"):format(text.list(p.choices), check.what(value), hint)
  end,
  range = function(p) return table.concat(p.choices, "|") end,
})

-- Where work runs: never part of what makes a result different.
param.kind("device", {
  meta = "DEVICE", significant = false,
  range = function() return "auto|cpu|cuda[:K]" end,
  read = function(p, value) return p.kind.check(p, value) end,
  check = function(_, value)
    if value == "auto" or value == "cpu" or value == "cuda"
      or type(value) == "string" and value:find("^cuda:%d+$") then
      return value
    end
    return nil, "expected auto, cpu, cuda or cuda:0, cuda:1 …, got " .. check.what(value)
  end,
})

-- -- lists -------------------------------------------------------------------------------------

-- Lists of a kind: bounds hold for every element, `length` { lowest, highest } for the list.
local function list_kind(name, element, meta, numeric)
  local one = kinds[element]
  local function length_text(p)
    local lowest, highest = unpack(p.length)
    return lowest == highest and tostring(lowest) or highest == math.huge and "at least " .. lowest
      or ("%d to %d"):format(lowest, highest)
  end
  local function check_list(p, list)
    if type(list) ~= "table" then
      return nil, ("expected a list, got %s"):format(check.what(list))
    end
    local values, n = {}, 0
    for _ in pairs(list) do n = n + 1 end
    for i = 1, n do
      local value, problem = one.check(p, list[i])
      if value == nil then return nil, problem end
      values[i] = value
    end
    local length = p.length
    if length and (n < length[1] or n > length[2]) then
      return nil, ("expected %s values, got %d"):format(length_text(p), n)
    end
    return values
  end
  local function read_parts(p, texts)
    local parts = {}
    for i, part in ipairs(texts) do
      local problem
      if numeric then parts[i] = decimal(part) else parts[i], problem = one.read(p, part) end
      if not parts[i] then
        return nil, problem or ("expected %s, got '%s'"):format(one.one, part)
      end
    end
    return check_list(p, parts)
  end
  local function texts(p, list)
    local parts = {}
    for i, value in ipairs(list) do parts[i] = one.show and one.show(p, value) or value end
    return parts
  end
  local fields = { length = "table|number" }
  for field, kind in pairs(one.fields or {}) do fields[field] = kind end
  param.kind(name, {
    meta = meta, one = one.one, fields = fields, bare = numeric, of_files = one.of_files,
    contents = one.contents, split = split,
    range = function(p)
      local each = one.range and one.range(p)
      if not p.length then return each end
      return length_text(p) .. " values" .. (each and ", each " .. each or "")
    end,
    build = function(p)
      if type(p.length) == "number" then p.length = { p.length, p.length } end
      if p.length and not p.length[2] then p.length[2] = math.huge end
    end,
    check = check_list,
    parts = read_parts,
    read = function(p, text)
      if text:find "^%s*%[" then return require "mlua.config.reading".list_of(p, text) end
      local parts = split(text)
      if numeric and #parts == 1 then parts = dashed(parts[1]) or parts end
      return read_parts(p, parts)
    end,
    texts = texts,
    show = function(p, list)
      local all = texts(p, list)
      for _, each in ipairs(numeric and {} or all) do
        if each:find "," or each:find "^[%s[]" or each:find "%s$" or each == "" then
          return require "mlua.registry.part".flow(p, list)
        end
      end
      return table.concat(all, ",")
    end,
  })
end

list_kind("ints", "int", "N,N,…", true)
list_kind("numbers", "number", "X,X,…", true)
list_kind("strings", "string", "TEXT,…", false)
list_kind("files", "file", "FILE,…", false)

-- -- specs and values: loaded when first used --------------------------------------------------

--- An ordered set of parameters under names. See mlua.param.spec.
-- @tparam table entries  name → parameter; or { "name", parameter } pairs, groups, and nested
--   tables, whose names are joined by dots
-- @tparam ?table info    name (of the program), doc (one sentence), arguments, notes, config
--   (false: takes no `--config FILE`, see mlua.config)
-- @treturn Spec
function param.spec(entries, info)
  return require("mlua.param.spec").new(entries, info)
end

--- A heading for help: `param.group "Model" { dim = …, … }` within a spec.
-- @tparam string title
-- @treturn function
function param.group(title)
  check.type(title, 1, "param.group", "title", "string")
  return function(entries)
    made = made + 1
    return { group = title, entries = entries, order = made }
  end
end

--- Where a value came from: "default", "command line", … and how it was written there.
-- @tparam Values values
-- @tparam string name
-- @treturn string
-- @treturn ?string
function param.origin(values, name)
  return require("mlua.param.spec").origin(values, name)
end

--- Set a value, checked, with its origin.
-- @tparam Values values
-- @tparam string name
-- @param value
-- @tparam[opt="set"] string from
-- @tparam ?string written
-- @return true, or nil and a message
function param.set(values, name, value, from, written)
  return require("mlua.param.spec").set(values, name, value, from, written)
end

-- param.model, param.losses, …: parts by name (mlua.registry.part).
return setmetatable(param, {
  __index = function(_, name)
    if not package.loaded["mlua.registry"] then
      require "mlua.registry"
      return rawget(param, name)
    end
  end,
})
