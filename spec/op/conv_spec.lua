-- Convolutions: by hand; oneDNN beside the loops in double, and those beside PyTorch, over many
-- configurations; the same bits on any number of threads.
local ml = require "mlua"
local files = require "spec.support.files"
local process = require "spec.support.process"
local mistake = require "spec.support.mistake"

local function row(...) return ml.tensor { { { ... } } } end

describe("conv", function()
  it("slides a kernel without turning it round", function()
    -- 1*1 + 2*10, 2*1 + 3*10, 3*1 + 4*10
    assert.same({ { { 21, 32, 43 } } }, ml.conv(row(1, 2, 3, 4), row(1, 10)):totable())
  end)

  it("takes strides, dilation, zeros on either side, and a bias", function()
    local x, w = row(1, 2, 3, 4, 5), row(1, 10)
    assert.same({ { { 21, 43 } } }, ml.conv(x, w, nil, { stride = 2 }):totable())
    assert.same({ { { 31, 42, 53 } } }, ml.conv(x, w, nil, { dilation = 2 }):totable())
    assert.same({ { { 15, 26, 37, 48, 59, 10 } } },
      ml.conv(x, w, ml.tensor { 5 }, { padding = 1 }):totable())
  end)

  it("adds a row after x where padding is a pair", function()
    assert.same({ { { 21, 32, 3 } } },
      ml.conv(row(1, 2, 3), row(1, 10), nil, { padding = { { 0, 1 } } }):totable())
    assert.same({ { { 10, 21, 32 } } },
      ml.conv(row(1, 2, 3), row(1, 10), nil, { padding = { { 1, 0 } } }):totable())
  end)

  it("keeps groups apart", function()
    local x = ml.tensor { { { 1, 2 }, { 3, 4 } } }
    local w = ml.tensor { { { 10 } }, { { 100 } } }
    assert.same({ { { 10, 20 }, { 300, 400 } } }, ml.conv(x, w, nil, { groups = 2 }):totable())
  end)

  it("pads for as many places as x has, the odd one at the end", function()
    assert.same({ { { 21, 32, 3 } } }, ml.conv(row(1, 2, 3), row(1, 10), nil, { padding = "same" })
      :totable())
    local x = ml.zeros(2, 3, 7, 8)
    for stride, shape in pairs { { 2, 5, 7, 8 }, { 2, 5, 4, 4 }, { 2, 5, 3, 3 } } do
      assert.same(shape, ml.conv(x, ml.zeros(5, 3, 4, 3), nil,
        { padding = "same", stride = stride, dilation = stride == 1 and 2 or 1 }):shape())
    end
    assert.same({ { { 21, 32 } } }, ml.conv(row(1, 2, 3), row(1, 10), nil, { padding = "valid" })
      :totable())
  end)

  it("is its bias where there are no channels, and nothing where there are no images", function()
    assert.same({ { { 7, 7 } } },
      ml.conv(ml.zeros(1, 0, 4), ml.zeros(1, 0, 3), ml.tensor { 7 }):totable())
    assert.same({ 0, 2, 2 }, ml.conv(ml.zeros(0, 3, 4), ml.zeros(2, 3, 3)):shape())
  end)

  it("computes where a window lies in the padding alone", function()
    local y = ml.conv(row(3), row(1, 10), ml.tensor { 5 }, { padding = 3 })
    assert.same({ { { 5, 5, 35, 8, 5, 5 } } }, y:totable())
  end)

  it("names the argument and the shapes of what does not fit", function()
    local x, w = ml.zeros(1, 4, 5), ml.zeros(6, 4, 3)
    for message, f in pairs {
      ["bad argument #1 to 'conv' (x: expected a tensor, got nil)"] = function() ml.conv() end,
      ["bad argument #2 to 'conv' (w: expected a tensor, got 3)"] = function() ml.conv(x, 3) end,
      ["bad argument #1 to 'conv' (x: expected [N, C, *] with one to three axes after the "
        .. "channels, got 2 axes)"] = function() ml.conv(ml.zeros(1, 2), w) end,
      ["bad argument #2 to 'conv' (w: expected [*, 4, *], got [6, 3, 3])"] =
        function() ml.conv(x, ml.zeros(6, 3, 3)) end,
      ["bad argument #2 to 'conv' (w: expected 3 axes as x has, got 4)"] =
        function() ml.conv(x, ml.zeros(6, 4, 3, 3)) end,
      ["bad argument #2 to 'conv' (w: the kernel reaches over 9 along axis 3 of x, which has 7 "
        .. "with its padding)"] = function() ml.conv(x, w, nil, { dilation = 4, padding = 1 }) end,
      ["bad argument #3 to 'conv' (b: expected [6], got [4])"] =
        function() ml.conv(x, w, ml.zeros(4)) end,
      ["bad argument #1 to 'conv' (x: 4 channels do not divide into 3 groups)"] =
        function() ml.conv(x, w, nil, { groups = 3 }) end,
      ["bad argument #2 to 'conv' (w: 7 channels do not divide into 2 groups)"] =
        function() ml.conv(x, ml.zeros(7, 2, 3), nil, { groups = 2 }) end,
      ["bad argument #4 to 'conv' (unknown option 'strid', did you mean 'stride'?)"] =
        function() ml.conv(x, w, nil, { strid = 2 }) end,
      ["bad argument #4 to 'conv' (stride: expected 1 to 2147483647, got 0)"] =
        function() ml.conv(x, w, nil, { stride = 0 }) end,
      ["bad argument #4 to 'conv' (stride: expected a whole number or a list of 1, got a list "
        .. "of 2)"] = function() ml.conv(x, w, nil, { stride = { 1, 2 } }) end,
      ["bad argument #4 to 'conv' (padding[1]: expected a whole number or a pair of them, got 'x')"]
        = function() ml.conv(x, w, nil, { padding = { "x" } }) end,
      ["bad argument #4 to 'conv' (padding: expected numbers, 'same' or 'valid', got 'some')"] =
        function() ml.conv(x, w, nil, { padding = "some" }) end,
      ["bad argument #4 to 'conv' (padding: expected 0 to 1048576, got -1)"] =
        function() ml.conv(x, w, nil, { padding = -1 }) end,
      ["bad argument #4 to 'conv' (groups: expected at least 1, got 0)"] =
        function() ml.conv(x, w, nil, { groups = 0 }) end,
      ["bad argument #4 to 'conv' (groups: expected a whole number, got 1.5)"] =
        function() ml.conv(x, w, nil, { groups = 1.5 }) end,
    } do
      assert.equal(message, mistake(f))
    end
  end)
end)

describe("conv_transpose", function()
  it("spreads each element by the kernel", function()
    assert.same({ { { 1, 12, 23, 30 } } }, ml.conv_transpose(row(1, 2, 3), row(1, 10)):totable())
    assert.same({ { { 6, 15, 7, 25, 5 } } }, ml.conv_transpose(row(1, 2), row(1, 10),
      ml.tensor { 5 }, { stride = 2, output_padding = 1 }):totable())
  end)

  it("is conv's gradient by its input", function()
    local o = { stride = { 2, 1 }, padding = { 1, { 0, 1 } }, groups = 2 }
    local x = ml.randn(2, 4, 7, 6, { dtype = "f64", seed = 1, stream = 1 }):requires_grad()
    local w = ml.randn(6, 2, 3, 2, { dtype = "f64", seed = 2 })
    local y = ml.conv(x, w, nil, o)
    local g = ml.randn(y:shape(), { dtype = "f64", seed = 3 })
    y:backward(g)
    local difference = (ml.conv_transpose(g, w, nil, o) - x:grad()):abs():sum():item()
    assert.is_true(difference < 1e-12)
  end)

  it("refuses what leaves nothing, and a padding of the output that is a stride or more", function()
    local x, w = row(1, 2), row(1, 10)
    assert.equal("bad argument #4 to 'conv_transpose' (padding: nothing is left along axis 3)",
      mistake(function() ml.conv_transpose(x, w, nil, { padding = 2 }) end))
    assert.equal("bad argument #4 to 'conv_transpose' (output_padding: expected at least 0 and "
      .. "less than stride or dilation)",
      mistake(function() ml.conv_transpose(x, w, nil, { output_padding = 1 }) end))
  end)
end)

-- -- many configurations --

local function choose(seed, stream, ...)
  local list = { ... }
  local r = ml.rand(1, { seed = seed, stream = stream }):item()
  return list[1 + math.floor(r * #list)]
end

-- The arguments of op.conv or op.conv_transpose, drawn by number.
local function configuration(i)
  local function pick(stream, ...) return choose(1000 + i, stream, ...) end
  local c = { op = i % 3 == 0 and "conv_transpose" or "conv", axes = pick(1, 1, 2, 2, 3) }
  local groups = pick(2, 1, 1, 2, 4, 8)
  local inputs, outputs = groups * pick(3, 1, 2, 3, 8, 16), groups * pick(4, 1, 2, 5, 8, 16)
  local x, w = { pick(5, 1, 2, 3, 5), inputs }, {}
  w[1], w[2] = outputs, inputs / groups
  if c.op == "conv_transpose" then w[1], w[2] = inputs, outputs / groups end
  local s = { groups = groups }
  for d = 1, 3 do
    local function axis(stream, ...)
      if d > c.axes then return 1 end
      return pick(10 * d + stream, ...)
    end
    local kernel = axis(0, 1, 2, 3, 5)
    s["stride_" .. d], s["dilation_" .. d] = axis(1, 1, 1, 2, 3), axis(2, 1, 1, 2)
    local reach = s["dilation_" .. d] * (kernel - 1)
    s["before_" .. d] = d > c.axes and 0 or math.min(reach, pick(10 * d + 3, 0, 1, 2))
    s["after_" .. d] = d > c.axes and 0 or math.min(reach, pick(10 * d + 4, 0, 1, 2))
    if c.op == "conv_transpose" and d <= c.axes and s["after_" .. d] == 0 then
      s["after_" .. d] = -math.min(s["stride_" .. d] - 1, 1)
    end
    if d <= c.axes then
      x[d + 2] = math.max(reach + 1, pick(10 * d + 5, 4, 7, 10, 13))
      w[d + 2] = kernel
    end
  end
  c.scalars = s
  c.x = ml.randn(x, { dtype = "f64", seed = i, stream = 1 }):to("f32"):to("f64")
  c.w = ml.randn(w, { dtype = "f64", seed = i, stream = 2 }):to("f32"):to("f64")
  if pick(6, true, true, false) then
    c.b = ml.randn(outputs, { dtype = "f64", seed = i, stream = 3 }):to("f32"):to("f64")
  end
  return c
end

-- y and the gradients of sum(y * r) in a dtype.
local function compute(c, dtype)
  local s, t = c.scalars, {}
  for _, name in ipairs { "x", "w", "b" } do
    if c[name] then t[name] = c[name]:to(dtype):clone():requires_grad() end
  end
  local y = ml.op[c.op](t.x, t.w, t.b, s.stride_1, s.stride_2, s.stride_3, s.dilation_1,
    s.dilation_2, s.dilation_3, s.before_1, s.before_2, s.before_3, s.after_1, s.after_2, s.after_3,
    s.groups)
  local r = ml.randn(y:shape(), { dtype = "f64", seed = 99, stream = 1 }):to("f32"):to(dtype)
  y:backward(r)
  return { y = y:detach(), r = r, x = t.x:grad(), w = t.w:grad(), b = t.b and t.b:grad() }
end

local function distance(a, b)
  local scale = math.max(1, ml.op.max(b:abs()):item())
  return ml.op.max((a:to("f64") - b):abs()):item() / scale
end

describe("many convolutions", function()
  local COUNT = 90
  local list = {}
  for i = 1, COUNT do list[i] = configuration(i) end

  it("are by oneDNN in f32 what the loops in double give, and so are their gradients", function()
    for i, c in ipairs(list) do
      local got, want = compute(c, "f32"), compute(c, "f64")
      for _, name in ipairs { "y", "x", "w", "b" } do
        if want[name] then
          assert.same(want[name]:shape(), got[name]:shape())
          local d = distance(got[name], want[name])
          assert.is_true(d < 3e-6, ("%d, %s: %s differs by %g"):format(i, c.op, name, d))
        end
      end
    end
  end)

  it("are PyTorch's, and so are their gradients", function()
    local python = os.getenv "MLUA_PEER_PYTHON" or "/usr/bin/python3"
    if process.run({ python, "-c", "import torch, numpy" }, { timeout = 120 }).status ~= 0 then
      return pending("python3-torch is not installed")
    end
    local all, cases = {}, {}
    for i, c in ipairs(list) do
      local r = compute(c, "f64")
      local names, at = { "x", "w", c.b and "b" or nil }, tostring(i - 1)
      for _, name in ipairs(names) do
        all[at .. "." .. name], all[at .. ".d." .. name] = c[name], r[name]
      end
      all[at .. ".="], all[at .. ".*"] = r.y, r.r
      cases[i] = { op = c.op, tensors = names, scalars = c.scalars, wants = names }
    end
    local folder = files.folder()
    local path = folder .. "/conv.safetensors"
    assert(ml.safetensors.save(path, all, { cases = ml.json.encode(cases) }))
    local got = process.run({ python, "spec/support/torch_ops.py", path }, { timeout = 300 })
    files.remove(folder)
    assert.equal(0, got.status, got.err)
    local n = 0
    for op, d in got.out:gmatch("(%S+) ([^\n]*)\n") do
      n = n + 1
      assert.is_true(tonumber(d) ~= nil and tonumber(d) < 1e-12, ("%d, %s: %s"):format(n, op, d))
    end
    assert.equal(COUNT, n)
  end)
end)

describe("the bits of a convolution", function()
  it("are the same on any number of threads", function()
    local before = ml.threads()
    local function bits(c, threads)
      ml.threads(threads)
      local x, w = c[1]:clone():requires_grad(), c[2]:clone():requires_grad()
      local y = ml.conv(x, w, nil, c[3])
      y:backward(c[4])
      local all = {}
      for _, t in ipairs { y:detach(), x:grad(), w:grad() } do
        all[#all + 1] = require("ffi").string(t:data(), 4 * t:count())
      end
      return all
    end
    for _, shape in ipairs {
      { { 7, 32, 28, 28 }, { 48, 32, 3, 3 }, { padding = 1 }, { 7, 48, 28, 28 } },
      { { 1, 64, 28, 28 }, { 96, 64, 3, 3 }, { padding = 1 }, { 1, 96, 28, 28 } },
      { { 2, 64, 56, 56 }, { 64, 1, 3, 3 }, { padding = 1, groups = 64 }, { 2, 64, 56, 56 } },
      { { 3, 256, 7, 7 }, { 512, 256, 3, 3 }, { padding = 1 }, { 3, 512, 7, 7 } },
    } do
      local c = { ml.randn(shape[1], { seed = 1 }), ml.randn(shape[2], { seed = 2 }), shape[3],
                  ml.randn(shape[4], { seed = 3 }) }
      local one = bits(c, 1)
      for _, threads in ipairs { 2, 3 } do
        local other = bits(c, threads)
        ml.threads(before)
        for i = 1, 3 do assert.is_true(one[i] == other[i]) end
      end
    end
  end)
end)
