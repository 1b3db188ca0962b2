-- each: element-wise operations from one C expression per card.
--
-- card.each is the value of an element, written over the names of the arguments: "sin(x)",
-- "a < b ? a : b". It is compiled for every dtype of the main tensor (the first that takes
-- several): in the element's own type for the CPU, in double or int64_t for the reference.
-- Functions are <tgmath.h>'s, literals of fractions end in f where the type is float.
-- card.each_int is used for integers where that differs. card.grad's rules are expressions, too,
-- over g, the arguments and the output; each becomes one pass over the operands, summed to the
-- argument's shape.
local format = string.format

local M = {}

local C_TYPE = { f64 = "double", f32 = "float", i64 = "int64_t", i32 = "int32_t", u8 = "uint8_t",
                 bool = "uint8_t" }
local FLOAT = { f64 = true, f32 = true }

local function uses(text, name)
  return (" " .. text .. " "):find("[^%w_.]" .. name .. "[^%w_(]") ~= nil
end

-- 0.5 as a float literal.
local function in_float(text)
  assert(not text:find("[%d.][eE][-+]?%d"), "no exponents in " .. text)
  return ((" " .. text):gsub("([^%w_.])(%d+%.%d+)", "%1%2f"):sub(2))
end

local function main_of(card)
  for _, t in ipairs(card.tensors) do
    if t.dtypes and t.dtypes:find("|", 1, true) then return t end
  end
  return card.tensors[1]
end

--- Fill in what an element-wise card leaves out: shape, dispatch.
function M.complete(card)
  local main = main_of(card)
  card.main = main
  card.cpu, card.strided = main.dtypes, true
  if not card.result.rule then
    local names = {}
    for _, t in ipairs(card.tensors) do names[#names + 1] = t.name end
    card.result.rule = #names == 1 and format("like(%s)", names[1])
      or format('each("%s", %d, (const ml_tensor *[]){%s})', card.name, #names,
        table.concat(names, ", "))
  end
  if card.grad then
    card.rules = card.grad
    card.keep = false
    for _, rule in pairs(card.rules) do
      card.keep = card.keep or uses(rule, card.result.name)
    end
    card.grad = card.name .. "_backward"
  end
end

-- One loop: inputs are { name, C type }, read with strides 1, 0 or any.
local function loop(put, name, out, inputs, scalars, real, text, clones)
  put("$(clones)static void $name(int64_t n, char *const *p, const int64_t *st, const double *s) {",
    { clones = clones and "ML_CLONES " or "", name = name })
  put("  $out *restrict to = ($out *)p[0];", { out = out })
  for k, v in ipairs(inputs) do
    put("  const $type *restrict p_$name = (const $type *)p[$k];",
      { type = v[2], name = v[1], k = k })
  end
  for i, sc in ipairs(scalars) do
    if uses(text, sc) then put("  $t $name = ($t)s[$i];", { t = real, name = sc, i = i - 1 }) end
  end
  local function body(index, fixed)
    put("    for (int64_t i = 0; i < n; i++) {")
    for k, v in ipairs(inputs) do
      if not fixed[k] then
        put("      $type $name = p_$name[$at];", { type = v[2], name = v[1],
          at = index == "st" and format("i * st[%d]", k) or "i" })
      end
    end
    put("      to[i] = (%s)(%s);", out, text)
    put("    }")
  end
  local function all_one(except)
    local l = {}
    for k in ipairs(inputs) do l[#l + 1] = format("st[%d] == %d", k, k == except and 0 or 1) end
    return table.concat(l, " && ")
  end
  put("  if (%s) {", all_one())
  put("#pragma omp simd")
  body("i", {})
  if #inputs == 2 then
    for k, v in ipairs(inputs) do
      put("  } else if (%s) {", all_one(k))
      put("    $type $name = *p_$name;", { type = v[2], name = v[1] })
      put("#pragma omp simd")
      body("i", { [k] = true })
    end
  end
  put("  } else {")
  body("st", {})
  put("  }")
  put("}")
end

-- The reference of one element: in double, or in int64_t for integers.
local function one(put, name, wide, inputs, scalars, text)
  put("static $t $name(const $t *v, const double *s) {", { t = wide, name = name })
  for k, v in ipairs(inputs) do
    if uses(text, v[1]) then put("  %s %s = v[%d];", wide, v[1], k - 1) end
  end
  for i, sc in ipairs(scalars) do
    if uses(text, sc) then put("  $t $name = ($t)s[$i];", { t = wide, name = sc, i = i - 1 }) end
  end
  put("  return (%s)(%s);", wide, text)
  put("}")
end

-- Loops for all dtypes, and the struct ml_each that holds them.
local function kernel(put, card, name, dtypes, inputs, out_fixed, text, text_int)
  local scalars = {}
  for _, s in ipairs(card.scalars) do scalars[#scalars + 1] = s.name end
  local used = {}
  for _, v in ipairs(inputs) do
    if uses(text, v.name) or uses(text_int or "", v.name) then used[#used + 1] = v end
  end
  if #used == 0 then used[1] = inputs[1] end
  local rows, has_float, has_int = {}, false, false
  for d in dtypes:gmatch("%w+") do
    local typed = {}
    for k, v in ipairs(used) do typed[k] = { v.name, C_TYPE[v.dtype or d] } end
    local float = FLOAT[d]
    has_float, has_int = has_float or float, has_int or not float
    local expr = float and text or text_int or text
    if d == "f32" then expr = in_float(expr) end
    loop(put, name .. "_" .. d, C_TYPE[out_fixed or d], typed, scalars,
      float and C_TYPE[d] or "int64_t", expr, float)
    rows[#rows + 1] = format("[ML_%s] = %s_%s", d:upper(), name, d)
  end
  local plain = {}
  for k, v in ipairs(used) do plain[k] = { v.name } end
  if has_float then one(put, name .. "_one", "double", plain, scalars, text) end
  if has_int then one(put, name .. "_whole", "int64_t", plain, scalars, text_int or text) end
  put("static const ml_each %s_each = {", name)
  put("    {%s},", table.concat(rows, ", "))
  put("    %s,", has_float and name .. "_one" or "NULL")
  put("    %s};", has_int and name .. "_whole" or "NULL")
  put("")
  local names = {}
  for k, v in ipairs(used) do names[k] = v.name end
  return names
end

local function scalar_values(card, field)
  if #card.scalars == 0 then return "{0}" end
  local l = {}
  for i, s in ipairs(card.scalars) do
    l[i] = field and format("(double)n->scalar[%d].%s", i - 1, s.kind == "number" and "d" or "i")
      or format("(double)%s", s.name)
  end
  return "{" .. table.concat(l, ", ") .. "}"
end

--- Write a card's kernels, its two implementations and its backward.
-- @tparam table card  @tparam function put  @tparam string params  of the implementations
function M.write(card, put, params)
  local inputs = {}
  for _, t in ipairs(card.tensors) do
    local own = t ~= card.main and not t.like and t.dtypes -- a dtype of its own, such as bool
    inputs[#inputs + 1] = { name = t.name, dtype = own }
  end
  local out_fixed = C_TYPE[card.result.like] and card.result.like
  local y = card.result.name
  local names = kernel(put, card, card.name, card.main.dtypes, inputs, out_fixed, card.each,
    card.each_int)
  for _, way in ipairs { "cpu", "ref" } do
    put("ml_err ml_%s_%s(ml_tensor *%s, %s) {", card.name, way, y, params)
    put("  const ml_tensor *in[] = {%s};", table.concat(names, ", "))
    put("  double s[] = %s;", scalar_values(card))
    put("  return ml__each_%s(%s, %d, in, &%s_each, %s->info.dtype, s);", way, y, #names,
      card.name, card.main.name)
    put("}")
  end
  put("")
  if not card.rules then return end
  local blocks = {}
  for i, t in ipairs(card.tensors) do
    local rule = card.rules[t.name]
    if rule then
      local of = { { name = "g" } }
      for _, v in ipairs(inputs) do of[#of + 1] = v end
      of[#of + 1] = { name = y }
      local used = kernel(put, card, card.name .. "_d" .. t.name, "f64|f32", of, nil, rule)
      for k, name in ipairs(used) do
        if name == "g" then used[k] = "g"
        elseif name == y then used[k] = "n->saved[0]"
        else
          for j, u in ipairs(card.tensors) do
            if u.name == name then used[k] = format("n->in[%d]", j - 1) end
          end
        end
      end
      blocks[#blocks + 1] = { i = i - 1, used = used, name = card.name .. "_d" .. t.name }
    end
  end
  put("ml_err ml_%s_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {", card.name)
  put("  double s[] = %s;", scalar_values(card, true))
  for _, b in ipairs(blocks) do
    put("  if (ml__wants(n->in[%d])) {", b.i)
    put("    const ml_tensor *in[] = {%s};", table.concat(b.used, ", "))
    put("    ML_TRY(ml__each_grad(&gin[%d], n->in[%d], g, %d, in, &%s_each, s));", b.i, b.i,
      #b.used, b.name)
    put("  }")
  end
  put("  return ML_OK;")
  put("}")
  put("")
end

return M
