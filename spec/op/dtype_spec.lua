-- Every operation card in every dtype: integers against the reference, exactly; bf16 and f16
-- against f32 on the same values, values and gradients.
local ml = require "mlua"

local sweep = require "spec.support.sweep"

-- A result is computed in f32 and rounded once: half a unit in the last place of the largest.
local UNIT = { bf16 = 2 ^ -8, f16 = 2 ^ -11 }

local function flat(t) return t:to("f64"):reshape(-1):totable() end

local function takes(card, dtype)
  for _, a in ipairs(card.arg) do
    local dtypes = a[2]:gsub("^list ", ""):match "^([%w|]+)%["
    if dtypes and dtypes:find("|", 1, true) and not dtypes:find "^i32|i64$" then
      return ("|" .. dtypes .. "|"):find("|" .. dtype .. "|", 1, true) ~= nil
    end
  end
end

-- The arguments with the tensors of the swept dtype converted.
local function converted(args, floats, dtype)
  local list = {}
  for i, a in pairs(args) do
    list[i] = a
    if type(a) == "table" and not ml.is_tensor(a) then list[i] = { unpack(a) } end
  end
  local swept = {}
  for k, f in ipairs(floats) do
    local place = f.list == args and list or nil
    for i, a in pairs(args) do if a == f.list then place = list[i] end end
    place[f.at] = place[f.at]:to(dtype)
    swept[k] = { list = place, at = f.at, name = f.name }
  end
  return list, swept
end

for _, card in ipairs(sweep.cards()) do
  describe("operation " .. card.name, function()
    for _, dtype in ipairs { "i64", "i32", "u8", "bool" } do
      if takes(card, dtype) then
        it("computes in " .. dtype .. " what the reference computes, exactly", function()
          for n, case in ipairs(card.sweep) do
            for _, strided in ipairs { false, true } do
              local args, floats = sweep.arguments(card, case, "f64", strided)
              for _, f in ipairs(floats) do -- whole numbers on both sides of 0, small and large
                local t = f.list[f.at]
                f.list[f.at] = dtype == "u8" and (t * 60):abs() or dtype == "bool" and t:round()
                  or (t * (card.name == "prod" and 1 or 7)):round() -- no product wraps around
              end
              local whole = converted(args, floats, dtype)
              for i, a in ipairs(card.arg) do -- scalars that integers take
                if a[2] == "number" and type(whole[i]) == "number" then
                  whole[i] = math.ceil(whole[i])
                end
              end
              local got = sweep.call(card, whole)
              local before = ml.reference(true)
              local want = sweep.call(card, whole)
              ml.reference(before)
              assert.equal(want:dtype(), got:dtype())
              assert.same(flat(want), flat(got), ("case %d"):format(n))
            end
          end
        end)
      end
    end

    if card.promote ~= false and takes(card, "f32") then
      for dtype, unit in pairs(UNIT) do
        it("computes in " .. dtype .. " what f32 does, rounded, gradients too", function()
          for n, case in ipairs(card.sweep) do
            if not case.slow then
              local drawn, floats = sweep.arguments(card, case, "f32", n % 2 == 0)
              local half, half_floats = converted(drawn, floats, dtype)
              local wide, wide_floats = converted(half, half_floats, "f32")
              local function run(args, swept)
                local leaves = {}
                for _, f in ipairs(swept) do
                  if sweep.differentiable(card, f.name) then
                    leaves[#leaves + 1] = f.list[f.at]:contiguous():detach():requires_grad()
                    f.list[f.at] = leaves[#leaves]
                  end
                end
                local y = sweep.call(card, args)
                if #leaves > 0 and y:count() > 0 then
                  local c = sweep.draw(y:shape(), "f32", nil, 999, false):to(dtype)
                  y:backward(c:to(y:dtype()))
                end
                return y, leaves
              end
              local got, got_leaves = run(half, half_floats)
              local want, want_leaves = run(wide, wide_floats)
              local function near(a, b, what)
                if not a then return assert.is_nil(b) end
                local p, q, scale = flat(a), flat(b:to(a:dtype())), 1e-30
                for i = 1, #q do
                  if math.abs(q[i]) < math.huge then scale = math.max(scale, math.abs(q[i])) end
                end
                for i = 1, #q do
                  assert.is_true(p[i] == q[i] or p[i] ~= p[i] and q[i] ~= q[i]
                    or math.abs(p[i] - q[i]) <= 2 * unit * scale,
                    ("case %d: %s: %.9g, in f32 %.9g"):format(n, what, p[i], q[i]))
                end
              end
              near(got, want, "value")
              for i, leaf in ipairs(got_leaves) do
                assert.is_true(leaf:grad() == nil or leaf:grad():dtype() == dtype)
                near(leaf:grad(), want_leaves[i]:grad(), "gradient #" .. i)
              end
            end
          end
        end)
      end
    end
  end)
end
