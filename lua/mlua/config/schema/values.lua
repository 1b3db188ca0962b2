--- What a JSON Schema says of the values of parameters (mlua.config.schema): one schema by kind,
-- and patterns of the texts that mlua.param reads as lists.
-- @module mlua.config.schema.values
local json = require "mlua.json"
local part = require "mlua.registry.part"

local M = {}

local function ref(pointer) return { ["$ref"] = pointer } end

local REFERENCE, EMPTY = ref "#/$defs/reference", ref "#/$defs/empty"

--- One schema, or any of several.
function M.any_of(list) return list[2] and { anyOf = list } or list[1] end

local MOST = 2 ^ 53 -- the largest integer either way

--- The types of what is one value in YAML.
M.SCALAR = { "boolean", "number", "string" }

-- -- patterns ----------------------------------------------------------------------------------

--- What both Python's re and JavaScript's RegExp read as Lua's %s*.
M.BLANK = "[ \\t-\\r]*"
local WORD = "[^,]*[^ \\t-\\r,][^,]*"
local EXPONENT = "[eE][+-]?[0-9]+"
local REST = "[ \\t-\\r,]*"

--- Texts of a pattern.
function M.text(pattern) return { type = "string", pattern = pattern } end

--- A name, `-` and `_` being one letter.
function M.name_pattern(name)
  return (name:gsub("%.", "[.]"):gsub("[-_]", "[-_]"))
end

-- Of a word that may hold signs of patterns.
local function literal(word) return (word:gsub("[%^%$%(%)%.%[%]%*%+%?{}|\\/]", "\\%0")) end

--- A pattern whose letters are of any case.
function M.any_case(word)
  return (word:gsub("%a", function(c) return "[" .. c:upper() .. c .. "]" end))
end

-- How often something more is to follow the first of lowest to highest.
local function times(lowest, highest)
  return ("{%d,%s}"):format(math.max(lowest - 1, 0),
    highest == math.huge and "" or ("%d"):format(highest - 1))
end

-- A number of a text. Of its range, whether it may be 0 or below.
local function number_pattern(p, whole, dashed)
  local sign = dashed and "" or (p.min or p.above or -1) >= 0 and "[+]?" or "[+-]?"
  local nonzero = (p.min or 0) > 0 or (p.above or -1) >= 0
  local mantissa = dashed and "[0-9]*[.]?[0-9]+" or "(?:[0-9]+[.]?[0-9]*|[.][0-9]+)"
  return sign .. (nonzero and "(?![0.]+(?:" .. EXPONENT .. ")?(?:[ \\t-\\r,-]|$))" or "")
    .. "(?:" .. mantissa .. EXPONENT .. "|"
    .. (whole and "[0-9]+(?:[.]0*)?|[.]0+)" or "[0-9]+[.]?[0-9]*|[.][0-9]+)")
end

local DAY = "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
  .. "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
  .. "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"

-- Days from one on (`up`), or up to one: the digits that come before, and one that differs.
local function days(day, up)
  local list = { day }
  for i = 1, #day do
    local digit = tonumber(day:sub(i, i))
    if digit and digit ~= (up and 9 or 0) then
      list[#list + 1] = ("%s[%s]"):format(day:sub(1, i - 1),
        up and digit + 1 .. "-9" or "0-" .. digit - 1)
    end
  end
  return "^(?:" .. table.concat(list, "|") .. ")"
end

-- -- values of a kind --------------------------------------------------------------------------

local function number_of(p, whole)
  return {
    type = whole and "integer" or "number",
    minimum = p.min or whole and not p.above and -MOST or nil,
    maximum = p.max or whole and not p.below and MOST or nil,
    exclusiveMinimum = p.above, exclusiveMaximum = p.below,
  }
end

-- By kind: what one value may be in a file, and its word in a text; no word: any.
local ones = {}

function ones.int(p) return { number_of(p, true), REFERENCE }, number_pattern(p, true) end
function ones.number(p) return { number_of(p, false), REFERENCE }, number_pattern(p, false) end

function ones.bool()
  return { { type = "boolean" }, ref "#/$defs/truth", REFERENCE },
    M.any_case "(?:true|false|yes|no|on|off|1|0)"
end

function ones.date(p)
  local day = M.text("^" .. DAY .. "$")
  day.allOf = (p.min or p.max) and {}
  if p.min then day.allOf[1] = { pattern = days(p.min, true) } end
  if p.max then day.allOf[#day.allOf + 1] = { pattern = days(p.max, false) } end
  return { day, REFERENCE }, DAY
end

local DEVICE = "(?:auto|cpu|cuda(?::[0-9]+)?)"
function ones.device() return { M.text("^" .. DEVICE .. "$"), REFERENCE }, DEVICE end

function ones.choice(p)
  local values, words = {}, {}
  for i, choice in ipairs(p.choices) do
    values[i], words[i] = choice, literal(choice)
  end
  for _, choice in ipairs(p.choices) do -- as YAML reads them without quotes
    local value = tonumber(choice)
    if choice == "true" or choice == "false" then value = choice == "true" end
    if value ~= nil and value == value then values[#values + 1] = value end
  end
  return { { enum = values }, REFERENCE }, "(?:" .. table.concat(words, "|") .. ")"
end

local function one_of(p, name)
  if ones[name] then return ones[name](p) end
  if p.choices and type(p.choices[1]) == "string" then return ones.choice(p) end
  return { { type = M.SCALAR } }, nil
end

-- -- lists -------------------------------------------------------------------------------------

local function length_of(p)
  local n = p.length or { 0, math.huge }
  return n[1], n[2] or math.huge
end

local function array_of(items, lowest, highest)
  return { type = "array", items = items, minItems = lowest > 0 and lowest or nil,
           maxItems = highest < math.huge and highest or nil }
end

local element_of = { ints = "int", numbers = "number" }

-- A list, the text that stands for one, and one value alone.
local function list_of(p, builder)
  local lowest, highest = length_of(p)
  local element = element_of[p.kind.name]
  local items = element and ones[element](p) or { { type = M.SCALAR } }
  local list = { array_of(M.any_of(items), lowest, highest) }
  local single = lowest <= 1 and highest >= 1
  if element then
    if single then list[2] = items[1] end
    if highest > 1 then
      local n = times(math.max(lowest, 2), highest)
      local function joined(between, dashed)
        local one = number_pattern(p, element == "int", dashed)
        return one .. "(?:" .. between .. one .. ")" .. n
      end
      list[#list + 1] = builder:shared(("^(?:%s|%s)$"):format(
        joined(M.BLANK .. "," .. M.BLANK, false), joined("-", true)))
    end
    list[#list + 1] = REFERENCE
  elseif lowest == 0 and highest == math.huge then
    list[2] = { type = M.SCALAR }
  else
    if single then list[2] = { type = { "boolean", "number" } } end
    local some = ("(?!%s$)[^,]*(?:,[^,]*)%s"):format(M.BLANK, times(lowest, highest))
    list[#list + 1] = builder:shared(("^(?:%s)$"):format(
      lowest == 0 and some .. "|" .. M.BLANK or some))
    list[#list + 1] = REFERENCE
  end
  if lowest == 0 then list[#list + 1] = EMPTY end
  return list
end

-- A list of parts, names between commas, one part alone, or nothing.
local function parts_of(p, builder)
  local lowest, highest = length_of(p)
  local list = { array_of(builder:registry(p.registry, "-new"), lowest, highest) }
  local words = ("(?:%s,)*%s(?:,%s%s)%s%s"):format(M.BLANK, WORD, "(?:" .. M.BLANK .. ",)*", WORD,
    times(lowest, highest), "(?:," .. M.BLANK .. ")*")
  local none = lowest == 0 and ("|(?:%s,)+%s"):format(M.BLANK, M.BLANK) or ""
  list[2] = builder:shared(("^(?:%s%s)$|^%s\\[.*,"):format(words, none, M.BLANK))
  list[3] = REFERENCE
  if lowest <= 1 and highest >= 1 then list[4] = builder:registry(p.registry, "-typed") end
  if lowest == 0 then list[#list + 1] = { type = "null" } end
  return list
end

-- -- parameters --------------------------------------------------------------------------------

-- A default as a file would say it.
local function default_of(p, value)
  if part.is(value) then
    local node
    for _, entry in ipairs(value.component.spec.list) do
      local inner, own = entry.param, rawget(value.options, entry.name)
      if own ~= nil and (inner.default == nil or inner:show(own) ~= inner:show(inner.default)) then
        node = node or { type = value.name }
        node[entry.name] = default_of(inner, own)
      end
    end
    return node or value.name
  elseif type(value) == "table" then
    local list = json.array()
    for i, item in ipairs(value) do list[i] = default_of(p, item) end
    return list
  elseif type(value) == "number" or type(value) == "boolean" or type(value) == "string" then
    return value
  end
  return p:show(value)
end

local function described(p)
  local words = { p.doc }
  if p.unit then words[#words + 1] = "(" .. p.unit .. ")" end
  if p.required then words[#words + 1] = "[required]" end
  return words[1] and table.concat(words, " ") or nil
end

--- The schema of a parameter's values.
-- @tparam Param p
-- @tparam table builder  of mlua.config.schema: registry and shared
-- @treturn table
function M.of(p, builder)
  local list
  if p.kind.component == "one" then list = { builder:registry(p.registry, "") }
  elseif p.kind.component then list = parts_of(p, builder)
  elseif p.kind.parts then list = list_of(p, builder)
  else list = one_of(p, p.kind.name)
  end
  local schema = {}
  if list[2] or list[1]["$ref"] then
    schema.anyOf = list -- beside $ref, draft-07 would not read what follows
  else
    for key, each in pairs(list[1]) do schema[key] = each end
  end
  schema.description = described(p)
  schema.examples = p.literals
  if p.default ~= nil then schema.default = default_of(p, p.default) end
  return schema
end

--- What `grid` takes for a parameter: a list of its values, or words between commas.
-- @tparam table entry     of a spec
-- @tparam string pointer  where its values are described
-- @tparam table builder   as of M.of
-- @treturn table
function M.axis(entry, pointer, builder)
  local p = entry.param
  local list = { { type = "array", minItems = 1, items = ref(pointer) }, ref "#/$defs/flow",
                 REFERENCE }
  local element, one, word = element_of[p.kind.name], nil, nil
  if element and not entry.convert then
    local whole = element == "int"
    word = ("%s(?:-%s)*"):format(number_pattern(p, whole), number_pattern(p, whole, true))
    one = { number_of(p, whole) }
  elseif not (p.kind.parts or p.kind.component or entry.convert) then
    one, word = one_of(p, p.kind.name)
  end
  if word then
    list[#list + 1] = builder:shared(("^%s%s(?:%s,%s%s)*%s$"):format(REST, word, M.BLANK, REST,
      word, REST))
    for _, each in ipairs(one) do
      if each.type ~= "string" and each ~= REFERENCE then list[#list + 1] = each end
    end
  else
    list[#list + 1] = builder:shared "[^ \\t-\\r,]"
    if not p.kind.component then list[#list + 1] = { type = { "boolean", "number" } } end
  end
  return { anyOf = list }
end

return M
