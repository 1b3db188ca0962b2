-- opgen: from the cards in core/op/*.lua and the headers in core/include writes, at build time,
--   gen/ml_ops.h     C prototypes: entry points, internal forms, implementations to be provided
--   gen/ml_ops.c     argument checks, allocation, dispatch, recording, backward rules
--   lua/mlua/ffi/cdef.lua, lua/mlua/ffi/ops.lua    the FFI text and one Lua function per operation
--   docs/ops.md      the reference page
-- Usage: luajit tools/opgen.lua SOURCE_DIR BUILD_DIR
--
-- A card (docs/design.md, "One table of operations"):
--   doc, source      a sentence; where the formula is from
--   arg              { name, type [, default] }: type is "f32|f64[B,K]" (dtypes and shape), "x[N]" (the
--                    dtype of argument x), "int", "number", "bool" or "choice:a|b". "[...]" is any
--                    shape; "name?" may be absent; "list x" a list of tensors.
--   out              { name, dtype of [, "[B,N]"] }, or shape = "rule(args)": C's ml__shape_rule
--   check            the order in which arguments are checked, where it is not their own: the first
--                    one to hold a size decides what the others are expected to have
--   cpu              dtypes that the CPU implementation takes; the others go to the reference
--   strided          true: implementations take any strides; else inputs are made contiguous
--   grad             by argument, an expression over g, the arguments, the output and operations;
--                    or the name of a C function; absent: not differentiable
--   tol, sweep, domain    for the sweep (spec/op/sweep_spec.lua)

local source, build = arg[1], arg[2]
local format = string.format

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("*a")
  f:close()
  return text
end

local function write(path, text)
  local old = io.open(path, "rb")
  if old then
    local same = old:read("*a") == text
    old:close()
    if same then return end
  end
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function list(pattern)
  local files = {}
  local p = io.popen("ls " .. pattern)
  for line in p:lines() do files[#files + 1] = line end
  p:close()
  return files
end

-- -- reading cards --

local DTYPE = { f64 = "ML_BIT_F64", f32 = "ML_BIT_F32", i64 = "ML_BIT_I64", i32 = "ML_BIT_I32",
                u8 = "ML_BIT_U8", bool = "ML_BIT_BOOL" }

local function mask(dtypes)
  local bits = {}
  for d in dtypes:gmatch("[%w_]+") do bits[#bits + 1] = assert(DTYPE[d], "no dtype " .. d) end
  return table.concat(bits, " | ")
end

local function parse_arg(a)
  local r = { name = a[1], default = a[3] }
  if r.name:sub(-1) == "?" then r.name, r.optional = r.name:sub(1, -2), true end
  local t = a[2]
  if t == "int" or t == "number" or t == "bool" then r.kind = t return r end
  if t:match("^choice:") then
    r.kind, r.choices = "choice", {}
    for c in t:sub(8):gmatch("[^|]+") do r.choices[#r.choices + 1] = c end
    return r
  end
  if t:match("^list ") then r.list, t = true, t:sub(6) end
  local dtypes, shape = t:match("^([%w|]+)%[(.-)%]$")
  assert(dtypes, "argument " .. r.name .. ": cannot read type " .. t)
  r.kind = "tensor"
  if DTYPE[dtypes:match("^%w+")] then r.mask, r.dtypes = mask(dtypes), dtypes else r.like = dtypes end
  if shape ~= "..." then
    r.pattern, r.shape = shape, {}
    for s in shape:gmatch("[^,]+") do r.shape[#r.shape + 1] = s end
  end
  return r
end

local function load_card(path)
  local card = assert(loadfile(path))()
  card.name = path:match("([%w_]+)%.lua$")
  card.args, card.tensors, card.scalars, card.by_name = {}, {}, {}, {}
  for _, a in ipairs(card.arg) do
    local ok, r = pcall(parse_arg, a)
    assert(ok, path .. ": " .. tostring(r))
    card.args[#card.args + 1] = r
    r.position = #card.args
    card.by_name[r.name] = r
    local of = r.kind == "tensor" and card.tensors or card.scalars
    of[#of + 1] = r
  end
  local last = card.tensors[#card.tensors]
  for _, t in ipairs(card.tensors) do card.has_list = card.has_list or t.list end
  for i, t in ipairs(card.tensors) do assert(not t.list or i == 1 or t ~= last, path) end
  local o = card.out
  card.result = { name = o[1], like = o[2], rule = o.shape }
  if o[3] then
    card.result.shape = {}
    for s in o[3]:sub(2, -2):gmatch("[^,]+") do card.result.shape[#card.result.shape + 1] = s end
  end
  return card
end

-- -- C --

-- Parameters of an operation's form: "ref" (handles), "in" (tensors), "impl" (checked tensors).
local function params(card, form)
  local p = {}
  local tensor = ({ ref = "const ml_ref *", ["in"] = "ml_tensor *", impl = "const ml_tensor *" })[form]
  local many = ({ ref = "const ml_ref *", ["in"] = "ml_tensor *const *",
                  impl = "ml_tensor *const *" })[form]
  for _, a in ipairs(card.args) do
    if a.list then
      p[#p + 1] = many .. a.name
      p[#p + 1] = "int64_t n_" .. a.name
    elseif a.kind == "tensor" then
      p[#p + 1] = tensor .. a.name
    else
      p[#p + 1] = (a.kind == "number" and "double " or "int64_t ") .. a.name
    end
  end
  return table.concat(p, ", ")
end

local function names(card, tensor)
  local p = {}
  for _, a in ipairs(card.args) do
    p[#p + 1] = a.kind == "tensor" and format(tensor, a.name) or a.name
    if a.list then p[#p + 1] = "n_" .. a.name end
  end
  return table.concat(p, ", ")
end

local function prototypes(card)
  local n, out = card.name, card.result.name
  return format("ml_err ml_%s(ml_ref *%s, %s);", n, out, params(card, "ref")),
    format("ml_err ml__op_%s(ml_tensor **%s, %s);", n, out, params(card, "in")),
    format("ml_err ml_%s_ref(ml_tensor *%s, %s);", n, out, params(card, "impl")),
    format("ml_err ml_%s_cpu(ml_tensor *%s, %s);", n, out, params(card, "impl"))
end

local function lines()
  local l = {}
  return l, function(...) l[#l + 1] = format(...) end
end

local function in_order(card)
  local l = {}
  for _, name in ipairs(card.check) do l[#l + 1] = card.by_name[name] end
  return l
end

local function checks(card, put)
  local symbols, index = {}, {}
  for _, t in ipairs(card.tensors) do
    for _, s in ipairs(t.shape or {}) do
      if s:match("^%a") and not index[s] then
        symbols[#symbols + 1] = s
        index[s] = #symbols - 1
      end
    end
  end
  put("  ml_symbol sym[] = {")
  for _, s in ipairs(symbols) do put('    {"%s", -1},', s) end
  put("    {NULL, -1}};")
  put("  (void)sym;")
  for _, t in ipairs(card.check and in_order(card) or card.tensors) do
    local v, pad = t.name, "  "
    if t.list then
      put('  if (n_%s < 1) return ml_fail(ML_EARG, "bad argument #%d to \'%s\' (%s: expected at least '
        .. 'one tensor)");', t.name, t.position, card.name, t.name)
      put("  for (int64_t k = 0; k < n_%s; k++) {", t.name)
      put("    ml_tensor *one = %s[k];", t.name)
      v, pad = "one", "    "
    elseif t.optional then
      put("  if (%s) {", t.name)
      pad = "    "
    end
    local m = t.mask
    if t.like then
      local l = card.by_name[t.like]
      m = format("1u << %s->info.dtype", l.list and l.name .. "[0]" or l.name)
    elseif t.list then
      m = format("(k ? 1u << %s[0]->info.dtype : (uint32_t)(%s))", t.name, m)
    end
    put("%sif (!(1u << %s->info.dtype & (%s)))", pad, v, m)
    put('%s  return ml__bad_dtype("%s", %d, "%s", %s, %s);', pad, card.name, t.position, t.name, m, v)
    if t.shape then
      put("%sif (%s->info.ndim != %d) goto bad_%s;", pad, v, #t.shape, t.name)
      for d, s in ipairs(t.shape) do
        if t.list and s:sub(-1) == "_" then -- a size of each tensor's own
        elseif index[s] then
          put("%sif (sym[%d].size < 0) sym[%d].size = %s->info.shape[%d];", pad, index[s], index[s], v, d - 1)
          put("%selse if (sym[%d].size != %s->info.shape[%d]) goto bad_%s;", pad, index[s], v, d - 1, t.name)
        else
          put("%sif (%s->info.shape[%d] != %s) goto bad_%s;", pad, v, d - 1, s, t.name)
        end
      end
      put("%sif (0) {", pad)
      put("%sbad_%s:", pad, t.name)
      put('%s  return ml__bad_shape("%s", %d, "%s", "%s", sym, %s);', pad, card.name, t.position,
        t.name, t.pattern, v)
      put("%s}", pad)
    end
    if t.list or t.optional then put("  }") end
  end
  return index
end

-- Expressions of backward rules: operations, + - * /, numbers and names.
local compile

local function parse(text)
  local at = 1
  local function peek() return text:match("^%s*(.)", at) end
  local function take(pattern)
    local s, e = text:match("^%s*(" .. pattern .. ")()", at)
    if s then at = e end
    return s
  end
  local sum
  local function atom()
    if take("%(") then
      local e = sum()
      assert(take("%)"), text)
      return e
    end
    if take("%-") then return { "neg", atom() } end
    local number = take("[%d%.]+e?%-?%d*")
    if number then return { "number", number } end
    local name = assert(take("[%a_][%w_]*"), "cannot read " .. text)
    if not take("%(") then return { "name", name } end
    local call = { "call", name }
    while peek() ~= ")" do
      call[#call + 1] = sum()
      take(",")
    end
    take("%)")
    return call
  end
  local function product()
    local e = atom()
    while true do
      local o = take("[*/]")
      if not o then return e end
      e = { o == "*" and "mul" or "div", e, atom() }
    end
  end
  function sum()
    local e = product()
    while true do
      local o = take("[+-]")
      if not o then return e end
      e = { o == "+" and "add" or "sub", e, product() }
    end
  end
  return sum()
end

-- Emits C for an expression; returns the C text of its value and whether it is a scalar.
function compile(e, env, put)
  local function temp(call, ...)
    env.temps = env.temps + 1
    local t = format("t[%d]", env.temps - 1)
    put("    if (e == ML_OK) e = ml__op_%s(&%s, %s);", call, t, format(...))
    return t
  end
  if e[1] == "number" then return e[2], true end
  if e[1] == "name" then
    local v = assert(env.names[e[2]], "no name " .. e[2] .. " in a rule of " .. env.card)
    return v.text, v.scalar
  end
  if e[1] == "neg" then
    local a, s = compile(e[2], env, put)
    if s then return "-" .. a, true end
    return temp("affine", "%s, -1, 0", a)
  end
  if e[1] == "call" then
    local a = {}
    for i = 3, #e do a[#a + 1] = (compile(e[i], env, put)) end
    return temp(e[2], "%s", table.concat(a, ", "))
  end
  local a, sa = compile(e[2], env, put)
  local b, sb = compile(e[3], env, put)
  if sa and sb then return format("(%s %s %s)", a, ({ mul = "*", div = "/", add = "+", sub = "-" })[e[1]], b), true end
  if e[1] == "mul" and (sa or sb) then return temp("affine", "%s, %s, 0", sa and b or a, sa and a or b) end
  if e[1] == "add" and (sa or sb) then return temp("affine", "%s, 1, %s", sa and b or a, sa and a or b) end
  if e[1] == "sub" and sb then return temp("affine", "%s, 1, -(%s)", a, b) end
  if e[1] == "sub" and sa then return temp("affine", "%s, -1, %s", b, a) end
  if e[1] == "div" and sb then return temp("affine", "%s, 1.0 / (%s), 0", a, b) end
  assert(not sa and not sb, "cannot compile a rule of " .. env.card)
  return temp(e[1], "%s, %s", a, b)
end

local function backward(card, put)
  local body, bput = lines()
  local env = { card = card.name, temps = 0, names = { g = { text = "g" } } }
  for i, t in ipairs(card.tensors) do env.names[t.name] = { text = format("n->in[%d]", i - 1) } end
  for i, s in ipairs(card.scalars) do
    env.names[s.name] = { text = format("n->scalar[%d].%s", i - 1, s.kind == "number" and "d" or "i"),
                          scalar = true }
  end
  env.names[card.result.name] = { text = "n->saved[0]" }
  for i, t in ipairs(card.tensors) do
    local rule = card.grad[t.name]
    if rule then
      bput("  if (ml__wants(n->in[%d])) {", i - 1)
      local v = compile(parse(rule), env, bput)
      bput("    if (e == ML_OK) gin[%d] = ml__ref(%s);", i - 1, v)
      bput("  }")
    end
  end
  put("static ml_err %s_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {", card.name)
  put("  ml_tensor *t[%d] = {0};", math.max(env.temps, 1))
  put("  ml_err e = ML_OK;")
  put("%s", table.concat(body, "\n"))
  put("  for (int i = 0; i < %d; i++) ml__unref(t[i]);", math.max(env.temps, 1))
  put("  return e;")
  put("}")
  put("")
end

local function keeps_output(card)
  if type(card.grad) ~= "table" then return card.keep end
  for _, rule in pairs(card.grad) do
    if (" " .. rule .. " "):match("[^%w_]" .. card.result.name .. "[^%w_(]") then return true end
  end
end

-- The internal form: checks, contiguity, output, dispatch, record.
local function internal(card, put)
  local n, r = card.name, card.result
  put("ml_err ml__op_%s(ml_tensor **out, %s) {", n, params(card, "in"))
  put("  *out = NULL;")
  local index = checks(card, put)
  put("  int nd = 0;")
  put("  int64_t shape[ML_MAX_DIM];")
  if r.rule then
    local rule, call = r.rule:match("^([%w_]+)%((.*)%)$")
    put("  ML_TRY(ml__shape_%s(&nd, shape, %s));", rule, call)
  else
    for d, s in ipairs(r.shape) do
      put("  shape[%d] = %s;", d - 1, index[s] and format("sym[%d].size", index[s]) or s)
    end
    put("  nd = %d;", #r.shape)
  end
  local first = card.by_name[r.like]
  local dtype = first and format("%s->info.dtype", first.list and first.name .. "[0]" or first.name)
    or "ML_" .. r.like:upper()
  local main = card.tensors[1].list and card.tensors[1].name .. "[0]" or card.tensors[1].name
  if not card.strided then
    for _, t in ipairs(card.tensors) do
      if not t.list then put("  ml_tensor *c_%s = NULL;", t.name) end
    end
  end
  put("  ml_tensor *made = NULL;")
  put("  ml_err err = ml__new(&made, %s, nd, shape);", dtype)
  if not card.strided then
    for _, t in ipairs(card.tensors) do
      if not t.list then
        put("  if (err == ML_OK && %s) err = ml__contiguous(&c_%s, %s);", t.name, t.name, t.name)
      end
    end
  end
  local call = {}
  for _, a in ipairs(card.args) do
    call[#call + 1] = (a.kind == "tensor" and not a.list and not card.strided) and "c_" .. a.name or a.name
    if a.list then call[#call + 1] = "n_" .. a.name end
  end
  local args = table.concat(call, ", ")
  put("  if (err == ML_OK) {")
  if card.cpu then
    put("    if (!ml__reference_on && (1u << %s->info.dtype & (%s)))", main, mask(card.cpu))
    put("      err = ml_%s_cpu(made, %s);", n, args)
    put("    else")
  end
  put("      err = ml_%s_ref(made, %s);", n, args)
  put("  }")
  if card.grad then
    local counts, total = {}, {}
    for _, t in ipairs(card.tensors) do total[#total + 1] = t.list and "n_" .. t.name or "1" end
    counts = table.concat(total, " + ")
    put("  if (err == ML_OK && ml__grad_on) {")
    if card.has_list then
      put("    int64_t n_in = %s, k = 0;", counts)
      put("    ml_tensor *few[64], **in = n_in <= 64 ? few : malloc((size_t)n_in * sizeof *in);")
      put('    if (!in) err = ml_fail(ML_ENOMEM, "out of memory: %s of %%lld tensors", (long long)n_in);', n)
      for _, t in ipairs(card.tensors) do
        if t.list then
          put("    for (int64_t i = 0; in && i < n_%s; i++) in[k++] = %s[i];", t.name, t.name)
        else
          put("    if (in) in[k++] = %s;", t.name)
        end
      end
    else
      local all = {}
      for _, t in ipairs(card.tensors) do all[#all + 1] = card.strided and t.name or t.name end
      put("    ml_tensor *in[] = {%s};", table.concat(all, ", "))
      put("    int64_t n_in = %d;", #card.tensors)
    end
    put("    ml_node *node;")
    put("    if (%sml__any_wants(in, (int)n_in)) {", card.has_list and "in && " or "")
    put('      err = ml__record(&node, "%s", %s, made, in, (int)n_in);', n,
      type(card.grad) == "string" and "ml_" .. card.grad or n .. "_backward")
    if keeps_output(card) then put("      if (err == ML_OK) err = ml__save(node, 0, made);") end
    for i, s in ipairs(card.scalars) do
      put("      if (err == ML_OK) node->scalar[%d].%s = %s;", i - 1, s.kind == "number" and "d" or "i", s.name)
    end
    put("    }")
    if card.has_list then put("    if (in != few) free(in);") end
    put("  }")
  end
  if not card.strided then
    for _, t in ipairs(card.tensors) do
      if not t.list then put("  ml__unref(c_%s);", t.name) end
    end
  end
  put("  if (err < 0) ml__unref(made);")
  put("  else *out = made;")
  put("  return err;")
  put("}")
  put("")
end

local function entry(card, put)
  put("ml_err ml_%s(ml_ref *out, %s) {", card.name, params(card, "ref"))
  for _, t in ipairs(card.tensors) do
    if t.list then
      put("  if (n_%s < 0 || n_%s > 1 << 20) return ml_fail(ML_EARG, \"%s: %%lld tensors\", (long long)n_%s);",
        t.name, t.name, card.name, t.name)
      put("  ml_tensor *few_%s[64], **t_%s = n_%s <= 64 ? few_%s : malloc((size_t)n_%s * sizeof *t_%s);",
        t.name, t.name, t.name, t.name, t.name, t.name)
      put('  if (!t_%s) return ml_fail(ML_ENOMEM, "out of memory: a list of tensors");', t.name)
    else
      put("  ml_tensor *t_%s = NULL;", t.name)
    end
  end
  put("  ml_tensor *made = NULL;")
  put("  ml_err err = ML_OK;")
  for _, t in ipairs(card.tensors) do
    if t.list then
      put("  for (int64_t k = 0; k < n_%s && err == ML_OK; k++)", t.name)
      put('    if (ml__get(&t_%s[k], &%s[k]) < 0) err = ml__bad_handle("%s", %d, "%s");', t.name, t.name,
        card.name, t.position, t.name)
    else
      put('  if (err == ML_OK && %sml__get(&t_%s, %s) < 0) err = ml__bad_handle("%s", %d, "%s");',
        t.optional and t.name .. " && " or "", t.name, t.name, card.name, t.position, t.name)
    end
  end
  put("  if (err == ML_OK) err = ml__op_%s(&made, %s);", card.name, names(card, "t_%s"))
  put("  if (err == ML_OK) err = ml__handle(out, made);")
  for _, t in ipairs(card.tensors) do
    if t.list then put("  if (t_%s != few_%s) free(t_%s);", t.name, t.name, t.name) end
  end
  put("  return err;")
  put("}")
  put("")
end

-- -- Lua --

local function lua_wrapper(card, put)
  local ps, cs = {}, {}
  for _, a in ipairs(card.args) do ps[#ps + 1] = a.name end
  put("--- %s", card.doc)
  put("function op.%s(%s)", card.name, table.concat(ps, ", "))
  put("  local out = new_ref()") -- first: it may run the collector, and a list's tensors may be on their way
  for _, a in ipairs(card.args) do
    if a.list then
      put("  local list_%s, n_%s = tensor_list(%s, %d, %q, %q)", a.name, a.name, a.name, a.position,
        card.name, a.name)
      cs[#cs + 1] = "list_" .. a.name
      cs[#cs + 1] = "n_" .. a.name
    elseif a.kind == "tensor" then
      put("  if %snot istype(Ref, %s) then bad_tensor(%d, %q, %q, %s) end",
        a.optional and a.name .. " ~= nil and " or "", a.name, a.position, card.name, a.name, a.name)
      cs[#cs + 1] = a.name
    elseif a.kind == "choice" then
      local default = a.default and format("%q", a.default) or "nil"
      put("  local v_%s = choice_%s_%s[%s == nil and %s or %s]", a.name, card.name, a.name, a.name, default, a.name)
      put("  if not v_%s then bad_choice(%d, %q, %q, %q, %s) end", a.name, a.position, card.name, a.name,
        table.concat(a.choices, ", "), a.name)
      cs[#cs + 1] = "v_" .. a.name
    elseif a.kind == "bool" then
      put("  if %s ~= nil and type(%s) ~= \"boolean\" then bad_bool(%d, %q, %q, %s) end", a.name, a.name,
        a.position, card.name, a.name, a.name)
      cs[#cs + 1] = a.name .. " and 1 or 0"
    else
      if a.default ~= nil then put("  if %s == nil then %s = %s end", a.name, a.name, tostring(a.default)) end
      put("  if type(%s) ~= \"number\" then bad_number(%d, %q, %q, %s) end", a.name, a.position, card.name,
        a.name, a.name)
      if a.kind == "int" then -- also refuses NaN and what a 64-bit integer could not hold
        put("  if not (%s %% 1 == 0 and %s > -0x1p53 and %s < 0x1p53) then bad_int(%d, %q, %q, %s) end",
          a.name, a.name, a.name, a.position, card.name, a.name, a.name)
      end
      cs[#cs + 1] = a.name
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

local function page(card, put)
  local sig = {}
  for _, a in ipairs(card.arg) do sig[#sig + 1] = a[1] end
  put("## %s(%s)\n", card.name, table.concat(sig, ", "))
  put("%s\n", card.doc)
  for _, a in ipairs(card.arg) do
    put("- `%s`: `%s`%s", a[1], a[2], a[3] ~= nil and format(", default `%s`", tostring(a[3])) or "")
  end
  put("- returns `%s`: dtype of `%s`, %s", card.result.name, card.result.like,
    card.result.shape and "`[" .. table.concat(card.result.shape, ",") .. "]`"
    or "shape by `" .. card.result.rule .. "`")
  put("- gradient: %s", type(card.grad) == "table" and "by rule" or card.grad and "in C" or "none")
  if card.source then put("- source: %s", card.source) end
  put("")
end

local function strip(header)
  return (header:gsub("/%*.-%*/", ""):gsub('extern "C" {', ""):gsub("\n#ifdef __cplusplus.-#endif", "\n")
    :gsub("\n#[^\n]*", "\n"):gsub("^#[^\n]*", ""):gsub("__attribute__%(%b()%)", ""):gsub("\n%s*\n+", "\n"))
end

-- -- all of it --

local cards = {}
for _, path in ipairs(list(source .. "/core/op/*.lua")) do cards[#cards + 1] = load_card(path) end

local h, hput = lines()
hput("/* Written by tools/opgen from the cards in core/op. */")
hput("#ifndef ML_OPS_H")
hput("#define ML_OPS_H")
hput('#include "grad/tape.h"')
hput('#include "op/shape.h"')
hput("#pragma GCC visibility push(default)")
local ffi_text = {}
for _, card in ipairs(cards) do
  local ref = prototypes(card)
  hput("%s", ref)
  ffi_text[#ffi_text + 1] = ref
end
hput("#pragma GCC visibility pop")
for _, card in ipairs(cards) do
  local _, i, r, c = prototypes(card)
  hput("%s\n%s", i, r)
  if card.cpu then hput("%s", c) end
  if type(card.grad) == "string" then
    hput("ml_err ml_%s(ml_node *n, ml_tensor *g, ml_tensor **gin);", card.grad)
  end
  for _, a in ipairs(card.args) do
    for i2, ch in ipairs(a.choices or {}) do
      hput("#define ML_%s_%s_%s %d", card.name:upper(), a.name:upper(), ch:upper(), i2 - 1)
    end
  end
end
hput("#endif\n")

local c, cput = lines()
cput("/* Written by tools/opgen from the cards in core/op. */")
cput("#include <stdlib.h>\n")
cput('#include "ml_ops.h"\n')
for _, card in ipairs(cards) do
  if type(card.grad) == "table" then backward(card, cput) end
  internal(card, cput)
  entry(card, cput)
end

local l, lput = lines()
lput("-- Written by tools/opgen from core/op/*.lua.")
lput("return function(C, Ref, istype, new_ref, own, raise, tensor_list, bad)")
lput("local bad_tensor, bad_choice, bad_number = bad.tensor, bad.choice, bad.number")
lput("local bad_int, bad_bool = bad.int, bad.bool")
lput("local op = {}")
lput("local type = type")
for _, card in ipairs(cards) do lua_choices(card, lput) end
lput("")
for _, card in ipairs(cards) do lua_wrapper(card, lput) end
lput("return op")
lput("end\n")

local f, fput = lines()
fput("-- Written by tools/opgen from core/include/*.h and core/op/*.lua.")
fput("local ffi = require \"ffi\"")
fput("ffi.cdef [[")
fput("%s", strip(read(source .. "/core/include/mlua.h")))
for _, path in ipairs(list(source .. "/core/include/*.h")) do
  if not path:match("/mlua%.h$") then fput("%s", strip(read(path))) end
end
fput("%s", table.concat(ffi_text, "\n"))
fput("]]")
fput("return { path = debug.getinfo(1, \"S\").source:match(\"^@(.*/)\") or \"./\" }\n")

local d, dput = lines()
dput("# Operations\n\nWritten by tools/opgen from the cards in core/op.\n")
for _, card in ipairs(cards) do page(card, dput) end

os.execute(format("mkdir -p '%s/gen' '%s/lua/mlua/ffi' '%s/docs'", build, build, build))
write(build .. "/gen/ml_ops.h", table.concat(h, "\n"))
write(build .. "/gen/ml_ops.c", table.concat(c, "\n"))
write(build .. "/lua/mlua/ffi/cdef.lua", table.concat(f, "\n"))
write(build .. "/lua/mlua/ffi/ops.lua", table.concat(l, "\n"))
write(build .. "/docs/ops.md", table.concat(d, "\n"))
