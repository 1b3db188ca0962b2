-- Pools over one to three axes: core/op/pool.c. As in conv.lua, what goes by axis is an int for
-- each of three; ml.max_pool and others (lua/mlua/tensor/pool.lua) take lists.
local DEFAULT = { kernel = 1, stride = 1, dilation = 1, before = 0, after = 0, size = 1 }

local function cases(list)
  for _, case in ipairs(list) do
    for name in pairs(DEFAULT) do
      for i, v in ipairs(case[name] or {}) do case[name .. "_" .. i] = v end
      case[name] = nil
    end
  end
  return list
end

local function card(name, doc, by_axis, flags, o)
  local arg, passed = { { "x", "f64|f32[...]" } }, {}
  for _, by in ipairs(by_axis) do
    for i = 1, 3 do arg[#arg + 1] = { by .. "_" .. i, "int", DEFAULT[by] } end
  end
  for _, flag in ipairs(flags) do arg[#arg + 1] = { flag, "bool" } end
  for i = 2, #arg do passed[#passed + 1] = arg[i][1] end
  return {
    name = name, doc = doc, arg = arg,
    out = { o.out and "i" or "y", o.out or "x",
            shape = o.rule:format("x, " .. table.concat(passed, ", ")) },
    cpu = "f32", grad = o.grad, tol = { f32 = o.tol or 2e-6 }, sweep = cases(o.cases),
  }
end

local MAX = {
  { x = { 2, 3, 7 }, kernel = { 3 }, stride = { 2 }, before = { 1 }, after = { 1 } },
  { x = { 1, 2, 5, 6 }, kernel = { 2, 3 }, stride = { 2, 1 }, before = { 0, 2 }, after = { 1, 1 } },
  { x = { 2, 1, 6, 7 }, kernel = { 2, 3 }, stride = { 1, 2 }, dilation = { 3, 2 }, ceil = true },
  { x = { 1, 2, 3, 4, 5 }, kernel = { 2, 2, 3 }, stride = { 1, 2, 2 }, ceil = true },
  { x = { 0, 2, 4 }, kernel = { 2 } },
  { x = { 3, 20, 33, 41 }, kernel = { 3, 3 }, stride = { 2, 2 }, before = { 1, 1 },
    after = { 1, 1 }, slow = true },
}

local AVERAGE = {
  { x = { 2, 3, 7 }, kernel = { 3 }, stride = { 2 }, before = { 1 }, after = { 1 } },
  { x = { 1, 2, 5, 6 }, kernel = { 2, 3 }, stride = { 2, 1 }, before = { 0, 2 }, after = { 1, 1 },
    include = true },
  { x = { 2, 1, 6, 7 }, kernel = { 4, 3 }, stride = { 3, 2 }, before = { 2, 1 }, after = { 2, 1 },
    ceil = true, include = true },
  { x = { 1, 2, 3, 4, 5 }, kernel = { 2, 2, 3 }, stride = { 1, 2, 2 }, ceil = true },
  { x = { 0, 2, 4 }, kernel = { 2 } },
  { x = { 3, 20, 33, 41 }, kernel = { 3, 3 }, stride = { 2, 2 }, before = { 1, 1 },
    after = { 1, 1 }, include = true, slow = true },
}

local ADAPTIVE = {
  { x = { 2, 3, 7 }, size = { 3 } }, { x = { 1, 2, 5, 6 }, size = { 2, 7 } },
  { x = { 1, 2, 4, 3, 5 }, size = { 2, 1, 3 } }, { x = { 0, 2, 3 }, size = { 2 } },
  { x = { 4, 20, 31, 19 }, size = { 1, 1 }, slow = true },
}

local WINDOW = { "kernel", "stride", "dilation", "before", "after" }
return {
  card("max_pool", "The largest element of each window; of NaNs, NaN. Padding never counts.",
    WINDOW, { "ceil" },
    { rule = 'pool("max_pool", %s)', grad = "max_pool_backward", tol = 1e-6, cases = MAX }),
  card("max_pool_indices", "The place of each window's largest element, from 0 in its plane of x; "
    .. "-1 where there is none.", WINDOW, { "ceil" },
    { rule = 'pool("max_pool", %s)', out = "i64", tol = 1e-6, cases = MAX }),
  card("avg_pool", "The mean of each window; include: zeros of the padding count.",
    { "kernel", "stride", "before", "after" }, { "ceil", "include" },
    { rule = "average(%s)", grad = "avg_pool_backward", cases = AVERAGE }),
  card("adaptive_avg_pool", "The means of windows that cut each axis into `size` parts.",
    { "size" }, {}, { rule = 'adaptive("adaptive_avg_pool", %s)',
                      grad = "adaptive_avg_pool_backward", cases = ADAPTIVE }),
  card("adaptive_max_pool", "The largest elements of windows that cut each axis into `size` parts.",
    { "size" }, {}, { rule = 'adaptive("adaptive_max_pool", %s)',
                      grad = "adaptive_max_pool_backward", tol = 1e-6, cases = ADAPTIVE }),
}
