-- lua: writes an operation's Lua function and its place on the reference page.
local format = string.format

-- What a shape rule means, for people. A card may say it itself: `returns`.
local RULES = {
  like = "the shape of `$1`", each = "the shapes of $names, broadcast",
  affine = "the shape of `x`", along = "the shape of `x`",
  reduce = "`x`'s shape without the axis, or with 1 there where `keep`; no axes where axis is 0",
  loss = "no axes", select = "`x`'s shape, the axis replaced by the indices' axes",
  gather = "the shape of the indices for `gather`, else of `x`",
  cat = "the shapes of `xs`, added up along the axis",
  bags = "[B, T, D]: samples, tables, width",
  interaction = "[B, D + pairs]: the pairs of {x, rows of e}, of a row with itself where `itself`",
}

local function returned(card)
  local r = card.result
  if card.returns then return card.returns end
  if r.shape then return "[" .. table.concat(r.shape, ", ") .. "]" end
  local name, first = r.rule:match "^([%w_]+)%(([%w_]*)"
  local names = {}
  for _, t in ipairs(card.tensors) do names[#names + 1] = "`" .. t.name .. "`" end
  local text = RULES[name] or "its shape follows from the arguments'"
  return (text:gsub("$1", first):gsub("$names", table.concat(names, ", ")))
end

-- A dtype and shape such as "f64|f32[B,N]" in words.
local function kind(a)
  if a.kind ~= "tensor" then
    return a.kind == "choice" and "string" or a.kind == "bool" and "boolean" or "number",
      a.kind == "choice" and table.concat(a.choices, ", ") or a.kind == "int" and "whole" or ""
  end
  local of = a.dtypes and a.dtypes:gsub("|", " ") or "as `" .. a.like .. "`"
  local shape = a.pattern and ", [" .. a.pattern:gsub(",", ", "):gsub("_", "") .. "]" or ""
  return a.list and "{Tensor,...}" or "Tensor", of .. shape
end

-- The operation as LDoc and the prompt's `? name` read it: its comment, and its name in place of
-- its code. It stands apart from the code, which every start reads.
local function reference(card, put)
  put("--- %s", (card.doc:gsub("\n", "\n-- ")))
  for _, a in ipairs(card.args) do
    local type, text = kind(a)
    local tag = a.optional and "tparam ?" or a.default ~= nil
      and format("tparam[opt=%s] ", tostring(a.default)) or "tparam "
    put("-- @%s%s %s %s", tag, type, a.name, text)
  end
  local dtype = card.by_name[card.result.like] and "dtype as `" .. card.result.like .. "`"
    or card.result.like
  put("-- @treturn Tensor %s; %s%s", dtype, returned(card), card.grad and "" or "; no gradient")
  if card.source then put("-- @source %s", card.source) end
  put("-- @raise bad argument #n to '%s', with what was expected and what it got", card.name)
  put("-- @function %s", card.name)
  put("")
end

local function lua_wrapper(card, put)
  local ps, cs = {}, {}
  for _, a in ipairs(card.args) do ps[#ps + 1] = a.name end
  put("function op.%s(%s)", card.name, table.concat(ps, ", "))
  -- first: it may run the collector, and a list's tensors may be on their way
  put("  local out = new_ref()")
  for _, a in ipairs(card.args) do
    if a.list then
      put("  local list_%s, n_%s = tensor_list(%s, %d, %q, %q)", a.name, a.name, a.name, a.position,
        card.name, a.name)
      cs[#cs + 1] = "list_" .. a.name
      cs[#cs + 1] = "n_" .. a.name
    elseif a.kind == "tensor" then
      put("  if %snot istype(Ref, %s) then bad_tensor(%d, %q, %q, %s) end",
        a.optional and a.name .. " ~= nil and " or "", a.name, a.position, card.name, a.name,
        a.name)
      cs[#cs + 1] = a.name
    elseif a.kind == "choice" then
      local default = a.default and format("%q", a.default) or "nil"
      put("  local v_$name = choice_$(op)_$name[$name == nil and $default or $name]",
        { name = a.name, op = card.name, default = default })
      put("  if not v_%s then bad_choice(%d, %q, %q, %q, %s) end", a.name, a.position, card.name,
        a.name, table.concat(a.choices, ", "), a.name)
      cs[#cs + 1] = "v_" .. a.name
    else
      if a.default ~= nil then
        put("  if %s == nil then %s = %s end", a.name, a.name, tostring(a.default))
      end
      put("  check_%s(%s, %d, %q, %q)", a.kind, a.name, a.position, card.name, a.name)
      cs[#cs + 1] = a.kind == "bool" and a.name .. " and 1 or 0" or a.name
    end
  end
  put("  local code = C.ml_%s(out, %s)", card.name, table.concat(cs, ", "))
  put("  if code ~= 0 then raise(code) end")
  put("  return own(out)")
  put("end")
  put("")
end

local function lua_choices(card, put)
  for _, a in ipairs(card.args) do
    if a.kind == "choice" then
      local c = {}
      for i, name in ipairs(a.choices) do c[#c + 1] = format("[%q] = %d", name, i - 1) end
      put("local choice_%s_%s = { %s }", card.name, a.name, table.concat(c, ", "))
    end
  end
end

local function strip(header)
  local text = header:gsub("/%*.-%*/", ""):gsub("\n#ifdef __cplusplus.-#endif", "\n")
  text = text:gsub("\n#[^\n]*", "\n"):gsub("^#[^\n]*", ""):gsub("__attribute__%(%b()%)", "")
  return (text:gsub("\n%s*\n+", "\n"))
end

return { wrapper = lua_wrapper, choices = lua_choices, reference = reference, strip = strip }
