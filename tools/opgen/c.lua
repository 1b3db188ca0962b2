-- c: writes an operation's C: prototypes, checks, allocation, dispatch, recording, the entry point.
local format = string.format
local mask = require "opgen.card".mask

-- Parameters of an operation's form: "ref" (handles), "in" (tensors), "impl" (checked tensors).
local function params(card, form)
  local p = {}
  local tensor = ({ ref = "const ml_ref *", ["in"] = "ml_tensor *",
                    impl = "const ml_tensor *" })[form]
  local many = ({ ref = "const ml_ref *", ["in"] = "ml_tensor *const *",
                  impl = "ml_tensor *const *" })[form]
  for _, a in ipairs(card.args) do
    if a.list then
      p[#p + 1] = many .. a.name
      p[#p + 1] = "int64_t n_" .. a.name
    elseif a.kind == "tensor" then
      p[#p + 1] = (a.state and form == "impl" and "ml_tensor *" or tensor) .. a.name
    else
      p[#p + 1] = (a.kind == "number" and "double " or "int64_t ") .. a.name
    end
  end
  return table.concat(p, ", ")
end

-- The outputs that an implementation fills.
local function outputs(card)
  local saved = card.saved and ", ml_tensor *" .. card.saved[1] or ""
  return "ml_tensor *" .. card.result.name .. saved
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
    format("ml_err ml_%s_ref(%s, %s);", n, outputs(card), params(card, "impl")),
    format("ml_err ml_%s_cpu(%s, %s);", n, outputs(card), params(card, "impl"))
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
      put("  if (n_$name < 1) return ml_fail(ML_EARG, \"bad argument #$position to '$op' ("
        .. "$name: expected at least one tensor)\");",
        { name = t.name, position = t.position, op = card.name })
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
    put("%sif (!(1u << %s->info.dtype & (%s%s)))", pad, v, m, t.native or "")
    put('%s  return ml__bad_dtype("%s", %d, "%s", %s, %s);', pad, card.name, t.position, t.name,
      m, v)
    if t.shape then
      put("%sif (%s->info.ndim != %d) goto bad_%s;", pad, v, #t.shape, t.name)
      for d, s in ipairs(t.shape) do -- first what other arguments say, so that a message shows that
        if index[s] and not (t.list and s:sub(-1) == "_") then
          put("$(pad)if (sym[$i].size >= 0 && sym[$i].size != $have) goto bad_$name;",
            { pad = pad, i = index[s], name = t.name,
              have = format("%s->info.shape[%d]", v, d - 1) })
        end
      end
      for d, s in ipairs(t.shape) do
        local v_names = { pad = pad, i = index[s], size = s, name = t.name,
                          have = format("%s->info.shape[%d]", v, d - 1) }
        local own = t.list and s:sub(-1) == "_" -- a size of each tensor's own: any will do
        if index[s] and not own then
          put("$(pad)if (sym[$i].size < 0) sym[$i].size = $have;", v_names)
          put("$(pad)else if (sym[$i].size != $have) goto bad_$name;", v_names)
        elseif not own then
          put("$(pad)if ($have != $size) goto bad_$name;", v_names)
        end
      end
      put("%sif (0) {", pad)
      put("%sbad_%s:", pad, t.name)
      put('%s  return ml__bad_shape("%s", %d, "%s", "%s", sym, %s);', pad, card.name, t.position,
        t.name, t.pattern, v)
      put("%s}", pad)
    end
    if t.state then
      put('$(pad)if (!$v->info.contiguous || $v->node) return ml_fail(ML_EARG, "bad argument '
        .. "#$position to '$op' ($v: expected contiguous, and not computed on the tape)\");",
        { pad = pad, v = v, position = t.position, op = card.name })
    end
    if t.list or t.optional then put("  }") end
  end
  return index
end

-- Whether a backward will come: what is saved for it depends on that.
local function any_wants(card, put)
  put("  bool wants = false;")
  for _, t in ipairs(card.tensors) do
    if t.list then
      put("  for (int64_t k = 0; k < n_$n; k++) wants = wants || ml__wants($n[k]);", { n = t.name })
    elseif not t.state then
      put("  wants = wants || ml__wants(%s);", t.name)
    end
  end
end

-- The shape by a rule, and the tensor.
local function saved_tensor(card, put)
  local s = card.saved
  local like = card.by_name[s[2]]
  local dtype = like and format("%s->info.dtype", like.list and like.name .. "[0]" or like.name)
    or "ML_" .. s[2]:upper()
  local rule, call = s.shape:match("^([%w_]+)%((.*)%)$")
  put("  ml_tensor *kept = NULL;")
  any_wants(card, put)
  put("  if (err == ML_OK && ml__grad_on && wants) {")
  put("    err = ml__shape_%s(&nd, shape, %s);", rule, call)
  put("    if (err == ML_OK) err = ml__new(&kept, %s, nd, shape);", dtype)
  put("  }")
end

local function keeps_output(card)
  if type(card.grad) ~= "table" then return card.keep end
  for _, rule in pairs(card.grad) do
    if (" " .. rule .. " "):match("[^%w_]" .. card.result.name .. "[^%w_(]") then return true end
  end
end

-- The implementation for the dtype at hand; and that call again, as a captured step repeats it.
local function run(card, put)
  local n, main = card.name, card.tensors[1].name .. (card.tensors[1].list and "[0]" or "")
  local args, at, scalars = {}, 0, 0
  local out = card.result.name .. (card.saved and ", " .. card.saved[1] or "")
  put("static ml_err run_%s(%s, %s) {", n, outputs(card), params(card, "impl"))
  if card.cpu then
    put("  if (!ml__reference_on && (1u << %s->info.dtype & (%s)))", main,
      mask(card.cpu .. (card.native and "|" .. card.native or "")))
    put("    return ml_%s_cpu(%s, %s);", n, out, names(card, "%s"))
  end
  put("  return ml_%s_ref(%s, %s);", n, out, names(card, "%s"))
  put("}")
  local function operand()
    at = at + 1
    return format(card.has_list and "c->in[c->n_list + %d]" or "c->in[%d]", at - 1)
  end
  if card.saved then args[1] = operand() end
  for _, a in ipairs(card.args) do
    if a.list then
      args[#args + 1] = "c->in, c->n_list"
    elseif a.kind == "tensor" then
      args[#args + 1] = operand()
    else
      args[#args + 1] = format("c->scalar[%d].%s", scalars, a.kind == "number" and "d" or "i")
      scalars = scalars + 1
    end
  end
  put("static ml_err again_%s(const ml_call *c) { return run_%s(c->out, %s); }", n, n,
    table.concat(args, ", "))
end

-- Notes the call, while a step is captured.
local function note(card, put)
  local list, used, scalars = nil, { card.saved and "kept" }, {}
  for _, a in ipairs(card.args) do
    if a.list then list = a.name
    elseif a.kind ~= "tensor" then
      scalars[#scalars + 1] = format("{.%s = %s}", a.kind == "number" and "d" or "i", a.name)
    else
      used[#used + 1] = (card.strided and "" or "c_") .. a.name
    end
  end
  put("  if (err == ML_OK && ml__recording) {")
  for _, t in ipairs(card.tensors) do
    if t.state then put("    if (%s) ML_TRY(ml__note_state(%s));", t.name, t.name) end
  end
  put("    ml_tensor *used[] = {%s};", #used > 0 and table.concat(used, ", ") or "NULL")
  put("    ml_scalar scalar[] = {%s};", #scalars > 0 and table.concat(scalars, ", ") or "{0}")
  put("    err = ml__note(\"%s\", again_%s, made, %s, used, %d, scalar, %d, %s);",
    card.name, card.name, list and format("%s, n_%s", list, list) or "NULL, 0", #used, #scalars,
    card.loose or "NULL")
  put("  }")
end

-- Tensors of several dtypes, or of one that the operation does not compute in, are converted first
-- (core/tensor/promote.c), on the tape; so is the result where it was computed in a wider dtype.
local function promotion(card, put)
  local group, of_result = card.meeting, false
  for _, t in ipairs(group) do of_result = of_result or t.name == card.result.like end
  put("static ml_err $(op)_promoted(ml_tensor **out, ml_promotion met, $params) {",
    { op = card.name, params = params(card, "in") })
  local call = {}
  for _, a in ipairs(card.args) do call[a.name] = a.name end
  put("  ml_err err = ML_OK;")
  put("  ml_tensor *made = NULL, *into = ml__into;")
  put("  ml__into = NULL;")
  for _, t in ipairs(group) do
    call[t.name] = "p_" .. t.name
    if t.list then
      put("  ml_tensor **p_$name = calloc((size_t)n_$name, sizeof *p_$name);", { name = t.name })
      put("  if (!p_%s) err = ml_fail(ML_ENOMEM, \"out of memory: a list of tensors\");", t.name)
    else
      put("  ml_tensor *p_%s = NULL;", t.name)
    end
  end
  for _, t in ipairs(group) do
    if t.list then
      put("  for (int64_t k = 0; k < n_$name && err == ML_OK; k++)", { name = t.name })
      put("    err = ml__cast(&p_$name[k], $name[k], met.compute);", { name = t.name })
    else
      put("  if (err == ML_OK && $name) err = ml__cast(&p_$name, $name, met.compute);",
        { name = t.name })
    end
  end
  local list = {}
  for _, a in ipairs(card.args) do
    list[#list + 1] = call[a.name]
    if a.list then list[#list + 1] = "n_" .. a.name end
  end
  put(of_result and "  if (met.result == met.compute) ml__into = into;" or "  ml__into = into;")
  put("  if (err == ML_OK) err = ml__op_%s(&made, %s);", card.name, table.concat(list, ", "))
  for _, t in ipairs(group) do
    if t.list then
      put("  for (int64_t k = 0; k < n_$name && p_$name; k++) ml__unref(p_$name[k]);",
        { name = t.name })
      put("  free(p_%s);", t.name)
    else
      put("  ml__unref(p_%s);", t.name)
    end
  end
  put("  if (err < 0) return err;")
  if of_result then
    put("  if (met.result != met.compute) ml__into = into;")
    put("  err = ml__cast(out, made, met.result);")
    put("  ml__unref(made);")
  else
    put("  *out = made;")
  end
  put("  return err;")
  put("}")
  put("")
end

local function promote_first(card, put)
  local group = card.meeting
  put("  uint32_t bits = 0;")
  for _, t in ipairs(group) do
    if t.list then
      put("  for (int64_t k = 0; k < n_$name; k++) bits |= 1u << $name[k]->info.dtype;",
        { name = t.name })
    else
      put(t.optional and "  if ($name) bits |= 1u << $name->info.dtype;"
        or "  bits |= 1u << $name->info.dtype;", { name = t.name })
    end
  end
  local given = {}
  for _, a in ipairs(card.args) do
    given[#given + 1] = a.name
    if a.list then given[#given + 1] = "n_" .. a.name end
  end
  local call = ("%s_promoted(out, met, %s);"):format(card.name, table.concat(given, ", "))
  if card.mixed then
    put("  if (ml__mixed >= 0 && ml__mixed_$mixed(bits)) {", { mixed = card.mixed })
    put("    int dtype = %s, before = ml_mixed(-1);",
      card.mixed == "low" and "ml__mixed" or "ML_F32")
    put("    ml_promotion met = {dtype, dtype};")
    put("    ml_err err = %s", call)
    put("    ml_mixed(before);")
    put("    return err;")
    put("  }")
  end
  local takes = group[1].mask .. (group[1].native or "")
  put("  if (bits & (bits - 1) || (bits && !(bits & (%s)))) {", takes)
  put("    ml_promotion met = ml__promote(bits, %s, %s);", takes,
    card.each and "true" or "false")
  put("    if (met.compute >= 0) return %s", call)
  put("  }")
end

-- Where the result goes into memory that is there: what it is computed from must be off the tape
-- and elsewhere.
local function into_checks(card, put)
  put("  if (__builtin_expect(ml__into != NULL, 0)) {")
  local single, each = {}, card.each and "true" or "false"
  for _, t in ipairs(card.tensors) do
    if t.list then
      put("    ML_TRY(ml__into_from($name, n_$name, $each));", { name = t.name, each = each })
    else
      single[#single + 1] = t.name
    end
  end
  if #single > 0 then
    put("    ML_TRY(ml__into_from((ml_tensor *[]){$names}, $n, $each));",
      { names = table.concat(single, ", "), n = #single, each = each })
  end
  put("  }")
end

-- The internal form: checks, contiguity, output, dispatch, record.
local function internal(card, put)
  local n, r = card.name, card.result
  run(card, put)
  if card.meeting then promotion(card, put) end
  put("ml_err ml__op_%s(ml_tensor **out, %s) {", n, params(card, "in"))
  put("  *out = NULL;")
  if card.meeting then promote_first(card, put) end
  local index = checks(card, put)
  into_checks(card, put)
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
  local dtype = not first and "ML_" .. r.like:upper()
    or first.kind == "choice" and "(int)" .. r.like
    or format("%s->info.dtype", first.list and first.name .. "[0]" or first.name)
  if not card.strided then
    for _, t in ipairs(card.tensors) do
      if not t.list then put("  ml_tensor *c_%s = NULL;", t.name) end
    end
  end
  put("  ml_tensor *made = NULL;")
  put("  ml_err err = ml__result(&made, %s, nd, shape);", dtype)
  if card.saved then saved_tensor(card, put) end
  if not card.strided then
    for _, t in ipairs(card.tensors) do
      if not t.list then
        put("  if (err == ML_OK && %s) err = ml__contiguous(&c_%s, %s);", t.name, t.name, t.name)
      end
    end
  end
  local call = {}
  for _, a in ipairs(card.args) do
    local copied = a.kind == "tensor" and not a.list and not card.strided
    call[#call + 1] = copied and "c_" .. a.name or a.name
    if a.list then call[#call + 1] = "n_" .. a.name end
  end
  local args = (card.saved and "kept, " or "") .. table.concat(call, ", ")
  put("  if (err == ML_OK) err = run_%s(made, %s);", n, args)
  note(card, put)
  if card.grad then
    local total = {}
    for _, t in ipairs(card.tensors) do total[#total + 1] = t.list and "n_" .. t.name or "1" end
    put("  if (err == ML_OK && ml__grad_on%s) {",
      card.by_name[r.like] and card.by_name[r.like].kind == "choice"
        and " && ml__is_float(made->info.dtype)" or "")
    if card.has_list then
      put("    int64_t n_in = %s, k = 0;", table.concat(total, " + "))
      put("    ml_tensor *few[64], **in = n_in <= 64 ? few : malloc((size_t)n_in * sizeof *in);")
      put('    if (!in)')
      put('      err = ml_fail(ML_ENOMEM, "out of memory: $op of %lld tensors", (long long)n_in);',
        { op = n })
      for _, t in ipairs(card.tensors) do
        if t.list then
          put("    for (int64_t i = 0; in && i < n_%s; i++) in[k++] = %s[i];", t.name, t.name)
        else
          put("    if (in) in[k++] = %s;", t.name)
        end
      end
    else
      local all = {}
      for _, t in ipairs(card.tensors) do all[#all + 1] = t.state and "NULL" or t.name end
      put("    ml_tensor *in[] = {%s};", table.concat(all, ", "))
      put("    int64_t n_in = %d;", #card.tensors)
    end
    put("    ml_node *node;")
    put("    if (%sml__any_wants(in, (int)n_in)) {", card.has_list and "in && " or "")
    put('      err = ml__record(&node, "%s", %s, made, in, (int)n_in);', n,
      type(card.grad) == "string" and "ml_" .. card.grad or n .. "_backward")
    local rules = card.rules or card.twice or card.grad
    if card.twice == true then
      put("      if (err == ML_OK) node->twice = node->backward;")
    elseif type(card.twice) == "string" then
      put("      if (err == ML_OK) node->twice = ml_%s;", card.twice)
    elseif type(rules) == "table" then
      put("      if (err == ML_OK) node->twice = %s_twice;", n)
    end
    if keeps_output(card) then put("      if (err == ML_OK) err = ml__save(node, 0, made);") end
    if card.saved then put("      if (err == ML_OK) err = ml__save(node, 1, kept);") end
    for i, s in ipairs(card.scalars) do
      put("      if (err == ML_OK) node->scalar[%d].%s = %s;", i - 1,
        s.kind == "number" and "d" or "i", s.name)
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
  if card.saved then put("  ml__unref(kept);") end
  put("  if (err < 0) ml__unref(made);")
  put("  else *out = made;")
  put("  return err;")
  put("}")
  put("")
end

local function entry(card, put)
  put("ml_err ml_%s(ml_ref *out, %s) {", card.name, params(card, "ref"))
  put('  ML_SPAN(timed, ML_EVENT_OPERATION, "%s");', card.name)
  for _, t in ipairs(card.tensors) do
    if t.list then
      put("  if (n_$name < 0 || n_$name > 1 << 20)", { name = t.name })
      put("    return ml_fail(ML_EARG, \"$op: %lld tensors\", (long long)n_$name);",
        { op = card.name, name = t.name })
      put("  ml_tensor *few_$name[64], **t_$name = few_$name;", { name = t.name })
      put("  if (n_$name > 64) t_$name = malloc((size_t)n_$name * sizeof *t_$name);",
        { name = t.name })
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
      put('    if (ml__get(&t_$name[k], &$name[k]) < 0)', { name = t.name })
      put('      err = ml__bad_handle("%s", %d, "%s");', card.name, t.position, t.name)
    else
      put('  if (err == ML_OK && %sml__get(&t_%s, %s) < 0) err = ml__bad_handle("%s", %d, "%s");',
        t.optional and t.name .. " && " or "", t.name, t.name, card.name, t.position, t.name)
    end
  end
  put("  if (err == ML_OK) err = ml__op_%s(&made, %s);", card.name, names(card, "t_%s"))
  put("  if (err == ML_OK) ml__span_shape(&timed, &made->info);")
  put("  if (err == ML_OK) err = ml__handle(out, made);")
  for _, t in ipairs(card.tensors) do
    if t.list then put("  if (t_%s != few_%s) free(t_%s);", t.name, t.name, t.name) end
  end
  put("  return err;")
  put("}")
  put("")
end

return { params = params, prototypes = prototypes, internal = internal, entry = entry }
