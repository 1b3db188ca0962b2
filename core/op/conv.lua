-- Convolutions over one to three axes: core/op/conv.c. What goes by axis is an int for each of
-- three, of which those that x has count; ml.conv (lua/mlua/tensor/conv.lua) takes lists.
local function by_axis(arg, name, default)
  for i = 1, 3 do arg[#arg + 1] = { name .. "_" .. i, "int", default } end
end

local NAMES = { "stride", "dilation", "before", "after" }

-- A case with lists: stride = { 2, 1 } to stride_1 = 2, stride_2 = 1.
local function cases(list)
  for _, case in ipairs(list) do
    for _, name in ipairs(NAMES) do
      for i, v in ipairs(case[name] or {}) do case[name .. "_" .. i] = v end
      case[name] = nil
    end
  end
  return list
end

local function card(name, doc, w, list)
  local arg = { { "x", "f64|f32[...]" }, { "w", "x[...]" }, { "b?", "x[...]" } }
  local passed = {}
  for i, by in ipairs(NAMES) do by_axis(arg, by, i <= 2 and 1 or 0) end
  arg[#arg + 1] = { "groups", "int", 1 }
  for i = 4, #arg do passed[#passed + 1] = arg[i][1] end
  return {
    name = name, doc = doc .. " x [N, C, spatial axes…], w " .. w .. ", b [O].", arg = arg,
    out = { "y", "x", shape = name .. "(x, w, b, " .. table.concat(passed, ", ") .. ")" },
    cpu = "f32", mixed = "low", grad = name .. "_backward", tol = { f32 = 2e-6 },
    sweep = cases(list),
  }
end

return {
  card("conv", "Convolution (cross-correlation) over one to three axes, zeros before and after.",
    "[O, C / groups, kernel…]", {
      { x = { 2, 3, 7 }, w = { 4, 3, 3 }, b = { 4 } },
      { x = { 2, 4, 9 }, w = { 6, 2, 3 }, b = { 6 }, stride = { 2 }, dilation = { 2 },
        before = { 2 }, after = { 1 }, groups = 2 },
      { x = { 1, 2, 5, 6 }, w = { 3, 2, 3, 2 }, b = { 3 }, stride = { 2, 1 }, before = { 1, 0 },
        after = { 1, 1 } },
      { x = { 2, 3, 4, 4 }, w = { 3, 1, 3, 3 }, b = { 3 }, before = { 1, 1 }, after = { 1, 1 },
        groups = 3 },
      { x = { 1, 2, 3, 4, 3 }, w = { 2, 2, 2, 3, 2 }, dilation = { 1, 1, 2 }, before = { 0, 1, 1 },
        after = { 0, 1, 0 }, b = { 2 } },
      { x = { 2, 2, 3 }, w = { 1, 2, 1 } },
      { x = { 0, 2, 5 }, w = { 3, 2, 3 }, b = { 3 } },
      { x = { 1, 1, 2 }, w = { 1, 1, 2 }, before = { 3 }, after = { 4 }, stride = { 2 } },
      { x = { 5, 16, 14, 14 }, w = { 40, 16, 3, 3 }, b = { 40 }, before = { 1, 1 },
        after = { 1, 1 }, slow = true },
      { x = { 3, 32, 15, 15 }, w = { 64, 32, 1, 1 }, stride = { 2, 2 }, slow = true },
      { x = { 1, 24, 9, 9 }, w = { 48, 8, 3, 3 }, b = { 48 }, before = { 1, 1 }, groups = 3,
        slow = true },
      { x = { 3, 16, 5, 7, 8 }, w = { 48, 16, 3, 3, 3 }, b = { 48 }, before = { 1, 1, 1 },
        after = { 1, 1, 1 }, slow = true }, -- cut by images and by channels
    }),
  card("conv_transpose", "Transposed convolution: the gradient of `conv` by its input, as a layer; "
    .. "`after` less than 0 adds rows at the end.", "[C, O / groups, kernel…]", {
      { x = { 2, 3, 4 }, w = { 3, 2, 3 }, b = { 2 } },
      { x = { 2, 4, 4 }, w = { 4, 3, 3 }, b = { 6 }, stride = { 2 }, dilation = { 2 },
        before = { 1 }, after = { 0 }, groups = 2 },
      { x = { 1, 2, 3, 3 }, w = { 2, 3, 3, 2 }, b = { 3 }, stride = { 3, 2 }, before = { 1, 0 },
        after = { -1, 0 } },
      { x = { 1, 2, 2, 2, 3 }, w = { 2, 2, 2, 3, 2 }, stride = { 1, 2, 1 }, before = { 0, 1, 0 },
        after = { 0, 1, 1 } },
      { x = { 0, 2, 5 }, w = { 2, 3, 3 }, b = { 3 } },
      { x = { 4, 32, 7, 7 }, w = { 32, 24, 3, 3 }, b = { 24 }, stride = { 2, 2 }, before = { 1, 1 },
        after = { 0, 0 }, slow = true },
    }),
}
