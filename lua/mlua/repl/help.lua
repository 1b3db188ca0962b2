--- `? name`: the documentation of what a name stands for.
--
-- Functions have theirs above their definition, operations in the generated file, from their cards.
-- Of a module or a class, the functions are listed with a sentence each.
-- @module mlua.repl.help
local doc = require "mlua.repl.doc"
local names = require "mlua.repl.names"
local text = require "mlua.text"
local value = require "mlua.repl.value"

local WIDTH = 96
local MANUAL = "https://www.lua.org/manual/5.1/manual.html#pdf-"

local function module_of(t)
  for name, loaded in next, package.loaded do
    if loaded == t and t ~= _G then return name end
  end
end

-- -- the parts of a page --

-- A description: its paragraphs as they are, set in.
local function describe(out, lines)
  local last = #lines
  while last > 0 and not lines[last]:find("%S") do last = last - 1 end
  for i = 1, last do out[#out + 1] = lines[i] == "" and "" or "  " .. lines[i] end
end

-- "[opt=1] number axis  which" → name, type, default, text.
local function read_tag(tag)
  local words, default = table.concat(tag, " "):gsub("%s+", " "), nil
  local option, rest = words:match("^%[opt=?([^%]]*)%]%s*(.*)$")
  if option then words, default = rest, option end
  if tag.tag == "param" then
    local name, what = words:match("^(%S+)%s*(.*)$")
    return name, nil, default, what
  elseif tag.tag == "tparam" then
    local kind, name, what = words:match("^(%b{})%s+(%S+)%s*(.*)$")
    if not kind then kind, name, what = words:match("^(%S+)%s+(%S+)%s*(.*)$") end
    if not kind then return words, nil, default, "" end -- of a variable's type: no name follows
    return name, kind, default, what
  end
  return nil, words:match("^(%b{})") or words:match("^%S+"), nil,
    words:gsub("^%b{}%s*", "", 1):gsub("^%S+%s*", "", words:find("^{") and 0 or 1)
end

local LABEL = { ["return"] = "returns", treturn = "returns", raise = "raises", source = "source",
                usage = "example", see = "see" }

local function add_row(out, label, label_width, what)
  local margin = 4 + label_width
  for i, line in ipairs(text.wrap(what, WIDTH - margin)) do
    local head = i == 1 and "  " .. label .. (" "):rep(label_width - text.width(label) + 2)
      or (" "):rep(margin)
    out[#out + 1] = (head .. line):gsub("%s+$", "")
  end
end

local function tags(out, list)
  local rows, widest = {}, 0
  for _, tag in ipairs(list) do
    local label, what
    if tag.tag == "param" or tag.tag == "tparam" then
      local name, kind, default, rest = read_tag(tag)
      label, what = name, kind and kind .. (rest ~= "" and ", " or "") .. rest or rest
      if kind and kind:sub(1, 1) == "?" then what = what:sub(2) .. "; optional" end
      if default == "" then what = what .. "; optional"
      elseif default then what = what .. "; default " .. default
      end
    elseif tag.tag == "treturn" then
      local _, kind, _, rest = read_tag(tag)
      label, what = "returns", kind .. (rest ~= "" and ", " or "") .. rest
    elseif tag.tag ~= "module" and tag.tag ~= "function" then
      label, what = LABEL[tag.tag] or tag.tag, table.concat(tag, " "):gsub("%s+", " ")
    end
    if label then
      rows[#rows + 1] = { label, what }
      widest = math.max(widest, text.width(label))
    end
  end
  if #rows > 0 then out[#out + 1] = "" end
  for _, row in ipairs(rows) do add_row(out, row[1], math.min(widest, 20), row[2]) end
end

-- -- pages --

-- The documentation of a function by the name it has been asked for: also that of the operation
-- that a tensor's method of this name calls.
local function documentation(f, name)
  local word = name:match("[%w_]+$")
  local found = doc.of_function(f, word)
  if found and #found.tags > 0 then return found end
  local core = package.loaded["mlua.ffi"]
  local is_own = names.own_path(debug.getinfo(f, "S").source)
  if not core or not is_own then return found end
  local base = word:match("^(.*[^_])_$") -- add_ is add in place
  local op = core.op[word] or base and core.op[base]
  local card = op and doc.of_function(op)
  if card and not core.op[word] then
    table.insert(card.text, 1, ("In place, as ml.into(self, ml.%s, self, …) does it:"):format(base))
  end
  if not found or not card then return found or card end
  found.tags = card.tags
  return found
end

local function function_page(out, name, f)
  local place = value.place(f)
  local found = documentation(f, name)
  if found then
    local head = name .. found.parameters
    local gap = math.max(3, WIDTH - text.width(head) - text.width(place))
    out[#out + 1] = head .. (" "):rep(gap) .. place
    describe(out, found.text)
    tags(out, found.tags)
  elseif place then
    out[#out + 1] = ("%s(%s)   %s"):format(name, value.parameters(f), place)
    out[#out + 1] = "  It has no documentation: comment lines above would be, the first with ---."
  else
    out[#out + 1] = name .. ": a built-in function of Lua"
    out[#out + 1] = "  " .. MANUAL .. name:gsub("^_G%.", "")
  end
end

local function list_functions(out, v, sign, prefix)
  for _, key in ipairs(names.fields(v)) do
    local field, head = names.field(v, key), prefix .. sign .. key
    if type(field) == "table" and type(names.field(field, "new")) == "function" then
      field, head = names.field(field, "new"), head .. ".new"
    end
    local found = key:sub(1, 1) ~= "_" and type(field) == "function" and documentation(field, key)
    if found then
      out[#out + 1] = "  " .. head .. found.parameters
      for _, line in ipairs(text.wrap(doc.sentence(found), WIDTH - 6)) do
        if line ~= "" then out[#out + 1] = "      " .. line end
      end
    elseif type(field) == "table" and key:sub(1, 1) ~= "_" then
      out[#out + 1] = "  " .. head
    end
  end
end

local function list_names(out, head, list)
  out[#out + 1] = head
  for _, line in ipairs(text.wrap(table.concat(list, " "), WIDTH - 4)) do
    out[#out + 1] = "    " .. line
  end
end

local function class_page(out, name, class)
  function_page(out, name .. ".new", class.new)
  local forward, methods = names.field(class, "forward"), {}
  if type(forward) == "function" then
    out[#out + 1] = ""
    function_page(out, name .. ":forward", forward)
  end
  for _, key in ipairs(names.fields(class)) do
    if key:sub(1, 1) ~= "_" and key ~= "new" and type(names.field(class, key)) == "function" then
      methods[#methods + 1] = key
    end
  end
  out[#out + 1] = ""
  list_names(out, "  Its methods:", methods)
end

local function table_page(out, name, v)
  local module = module_of(v)
  local found = module and doc.of_module(module)
  if found then
    out[#out + 1] = name .. "   module " .. module
    describe(out, found.text)
    out[#out + 1] = ""
    return list_functions(out, v, ".", name)
  end
  if type(rawget(v, "new")) == "function" then return class_page(out, name, v) end
  out[#out + 1] = name .. ": " .. value.line(v, WIDTH - #name - 2)
  list_functions(out, v, ":", name)
end

local function tensor_page(out, name, v)
  out[#out + 1] = name .. ": a tensor, " .. value.line(v, WIDTH)
  list_names(out, "  Its methods; `? " .. name .. ":sum` has one's documentation:", names.fields(v))
end

local function page(name, v)
  local out = {}
  if type(v) == "function" then function_page(out, name, v)
  elseif names.is_tensor(v) then tensor_page(out, name, v)
  elseif type(v) == "table" then table_page(out, name, v)
  else out[1] = ("%s: a %s, %s"):format(name, type(v), value.line(v, WIDTH))
  end
  return table.concat(out, "\n")
end

-- -- names --

-- Where a bare name is looked for besides the globals.
local function homes()
  local ml = names.field(_G, "ml")
  if type(ml) ~= "table" or package.loaded.mlua ~= ml then return {} end
  return { { "ml.", ml }, { "tensor:", require("mlua.tensor").Tensor }, { "nn.", ml.nn },
           { "optim.", ml.optim } }
end

local function unknown(name, words, found, owner)
  local candidates, prefix = names.fields(owner), name:match("^(.*[.:])") or ""
  if found == 0 then
    local of_tensor = words[1]:lower() == "tensor" and #words == 2
    if of_tensor then found, candidates = 1, {} else prefix = "" end
    for _, home in ipairs(homes()) do
      if not of_tensor or home[1] == "tensor:" then
        for _, field in ipairs(names.fields(home[2])) do candidates[#candidates + 1] = field end
      end
    end
  end
  local word = tostring(words[found + 1])
  return nil, ("no %s%s%s"):format(prefix, word, text.did_you_mean(word, candidates, prefix))
end

--- The page of a name.
-- @tparam string name  "ml.scope", "x:sum", "nn.Linear"; a bare "softmax" is found in ml, too
-- @treturn ?string     or nil and why not
return function(name)
  local words = names.split(name)
  if not words then return nil, ("expected a name, as in `? ml.scope`, got %s"):format(name) end
  local v, found, owner = names.resolve(words)
  if v ~= nil then return page(name, v) end
  if #words == 1 or words[1]:lower() == "tensor" then
    for _, home in ipairs(homes()) do
      local last = words[#words]
      local field = names.field(home[2], last)
      local as_method = #words > 1 and home[1] ~= "tensor:"
      if field ~= nil and not as_method then return page(home[1] .. last, field) end
    end
  end
  return unknown(name, words, found, owner)
end
