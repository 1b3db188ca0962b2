-- opgen: from the cards in core/op/*.lua and the headers in core/include writes, at build time,
--   gen/ml_ops.h     C prototypes: entry points, internal forms, implementations to be provided
--   gen/ml_ops.c     argument checks, allocation, dispatch, recording, backward rules
--   gen/ml_each_*.c  the element-wise operations, in two files to be compiled side by side
--   lua/mlua/ffi/cdef.lua, lua/mlua/ffi/ops.lua    the FFI text and one Lua function per operation
--   lua/mlua/ffi/op_reference.lua    the operations' comments, for LDoc (tools/docs) and the prompt
-- Usage: luajit tools/opgen.lua SOURCE_DIR BUILD_DIR
-- How a card is written: tools/opgen/card.lua.

local source, build = arg[1], arg[2]
local format = string.format
package.path = source .. "/tools/?.lua;" .. package.path
local cards_of = require "opgen.card".load
local each = require "opgen.each"
local rule = require "opgen.rule"
local c_text = require "opgen.c"
local lua_text = require "opgen.lua"
local lines = require "opgen.lines"

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

local cards = {}
for _, path in ipairs(list(source .. "/core/op/*.lua")) do
  for _, card in ipairs(cards_of(path)) do cards[#cards + 1] = card end
end
table.sort(cards, function(a, b) return a.name < b.name end)

local h, hput = lines()
hput("/* Written by tools/opgen from the cards in core/op. */")
hput("#ifndef ML_OPS_H")
hput("#define ML_OPS_H")
hput('#include "grad/tape.h"')
hput('#include "op/shape.h"')
hput("#pragma GCC visibility push(default)")
local ffi_text = {}
for _, card in ipairs(cards) do
  local ref = c_text.prototypes(card)
  hput("%s", ref)
  ffi_text[#ffi_text + 1] = ref
end
hput("#pragma GCC visibility pop")
for _, card in ipairs(cards) do
  local _, i, r, c = c_text.prototypes(card)
  hput("%s\n%s", i, r)
  if card.cpu then hput("%s", c) end
  if type(card.grad) == "string" then
    hput("ml_err ml_%s(ml_node *n, ml_tensor *g, ml_tensor **gin);", card.grad)
  end
  if type(card.twice) == "string" then
    hput("ml_err ml_%s(ml_node *n, ml_tensor *g, ml_tensor **gin);", card.twice)
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
cput('#include "ml_ops.h"\n#include "base/profile.h"\n#include "op/gemm_native.h"\n')
for _, card in ipairs(cards) do
  if type(card.grad) == "table" then rule.backward(card, cput) end
  local rules = card.rules or card.twice or card.grad
  if type(rules) == "table" then rule.twice(card, rules, cput) end
  c_text.internal(card, cput)
  c_text.entry(card, cput)
end

local e_texts, e_puts = {}, {}
for i = 1, 2 do
  e_texts[i], e_puts[i] = lines()
  e_puts[i]("/* Written by tools/opgen from the cards in core/op. */")
  e_puts[i]('#include "op/math.h"\n\n#include "ml_ops.h"\n#include "op/each.h"\n')
end
local n_each = 0
for _, card in ipairs(cards) do
  if card.each then
    n_each = n_each + 1
    each.write(card, e_puts[n_each % 2 + 1], c_text.params(card, "impl"))
  end
end

local l, lput = lines()
lput("-- Written by tools/opgen from core/op/*.lua.")
lput("return function(C, Ref, istype, new_ref, own, raise, tensor_list, bad)")
lput("local bad_tensor, bad_choice, bad_number = bad.tensor, bad.choice, bad.number")
lput("local bad_int, bad_bool = bad.int, bad.bool")
lput("%s", [[
local type = type
local function check_number(v, i, name, label)
  if type(v) ~= "number" then bad_number(i, name, label, v) end
end
local function check_int(v, i, name, label)
  if type(v) ~= "number" then bad_number(i, name, label, v) end
  if not (v % 1 == 0 and v > -0x1p53 and v < 0x1p53) then -- NaN, too; what int64_t holds
    bad_int(i, name, label, v)
  end
end
local function check_bool(v, i, name, label)
  if v ~= nil and type(v) ~= "boolean" then bad_bool(i, name, label, v) end
end]])
lput("local op = {}")
for _, card in ipairs(cards) do lua_text.choices(card, lput) end
lput("")
for _, card in ipairs(cards) do lua_text.wrapper(card, lput) end
local methods = {}
for _, card in ipairs(cards) do
  if card.args[1].kind == "tensor" and not card.args[1].list then
    methods[#methods + 1] = format("%q", card.name)
  end
end
lput("return op, { %s }", table.concat(methods, ", "))
lput("end\n")

local f, fput = lines()
fput("-- Written by tools/opgen from core/include/*.h and core/op/*.lua.")
fput("local ffi = require \"ffi\"")
fput("ffi.cdef [[")
fput("%s", lua_text.strip(read(source .. "/core/include/mlua.h")))
for _, path in ipairs(list(source .. "/core/include/*.h")) do
  if not path:match("/mlua%.h$") then fput("%s", lua_text.strip(read(path))) end
end
fput("%s", table.concat(ffi_text, "\n"))
fput("]]")
fput("return { path = debug.getinfo(1, \"S\").source:match(\"^@(.*/)\") or \"./\" }\n")

local r, rput = lines()
rput("--- Operations, all generated from the cards in core/op: `ml.name(...)`, most are")
rput("-- methods of tensors, too.")
rput("-- @module mlua.op")
rput("")
for _, card in ipairs(cards) do lua_text.reference(card, rput) end

os.execute(format("mkdir -p '%s/gen' '%s/lua/mlua/ffi'", build, build))
write(build .. "/gen/ml_ops.h", table.concat(h, "\n"))
write(build .. "/gen/ml_ops.c", table.concat(c, "\n"))
for i = 1, 2 do
  write(format("%s/gen/ml_each_%d.c", build, i), table.concat(e_texts[i], "\n"))
end
write(build .. "/lua/mlua/ffi/cdef.lua", table.concat(f, "\n"))
write(build .. "/lua/mlua/ffi/ops.lua", table.concat(l, "\n"))
write(build .. "/lua/mlua/ffi/op_reference.lua", table.concat(r, "\n"))
