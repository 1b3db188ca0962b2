-- Every operation that PyTorch has, too: values and gradients of both, in f64, on the cases of the
-- cards. Pending where Debian's python3-torch (or MLUA_PEER_PYTHON's) is not installed.
local ml = require "mlua"
local files = require "spec.support.files"
local process = require "spec.support.process"
local sweep = require "spec.support.sweep"

local python = os.getenv "MLUA_PEER_PYTHON" or "/usr/bin/python3"
-- mlua's own, or compared elsewhere: their specs are spec/nn, and tools/oracle for DLRM's.
local own = {
  cat = true, count_up = true, dot_interaction = true, dropout = true,
  embedding_bags = true, expand = true, index_select = true, linear = true, sum_to = true,
  bernoulli = true, multinomial = true, -- draws: spec/tensor/draw_spec.lua
}

-- PyTorch rounds their sixth to f32.
local loose = { hard_sigmoid = 1e-8, hard_swish = 1e-8 }

local function plain(t) return t:detach():contiguous() end

-- JSON has no infinities: Python reads these words as numbers.
local function number(v) return (v == math.huge or v == -math.huge) and tostring(v) or v end

-- Adds the tensors of a case; returns its description.
local function add(all, i, card, case)
  local args = sweep.arguments(card, case, "f64", false)
  local d = { op = card.name, tensors = {}, scalars = {}, wants = {} }
  for k, a in ipairs(card.arg) do
    local name, v = a[1]:gsub("%?$", ""), args[k]
    if ml.is_tensor(v) then
      d.tensors[#d.tensors + 1] = name
      all[i .. "." .. name] = plain(v)
      if v:dtype() == "f64" and sweep.differentiable(card, name) then
        args[k] = v:clone():requires_grad()
        d.wants[#d.wants + 1] = name
      end
    elseif a[2] == "bool" then
      d.scalars[name] = v or false
    elseif a[2]:match("^choice:") then
      d.scalars[name] = v or a[3]
    elseif a[2] == "int" or a[2] == "number" then
      d.scalars[name] = number(v or a[3])
    end
  end
  local y = sweep.call(card, args)
  all[i .. ".="] = plain(y)
  if #d.wants > 0 then
    local w = sweep.draw(y:shape(), "f64", nil, 999, false)
    all[i .. ".*"] = w
    ml.op.sum(y * w):backward()
    for k, a in ipairs(card.arg) do
      local name = a[1]:gsub("%?$", "")
      if all[i .. "." .. name] and ml.is_tensor(args[k]) and args[k]:info().requires_grad then
        local grad = args[k]:grad() or ml.zeros(args[k]:shape(), { dtype = "f64" })
        all[i .. ".d." .. name] = plain(grad)
      end
    end
  end
  return d
end

describe("beside PyTorch", function()
  local have = process.run({ python, "-c", "import torch, numpy" }, { timeout = 120 }).status == 0
  if not have then
    pending("python3-torch is not installed")
    return
  end

  local all, cases, of = {}, {}, {}
  for _, card in ipairs(sweep.cards()) do
    if not own[card.name] and (not card.needs or sweep.have(card.needs)) then
      for _, case in ipairs(card.sweep) do
        local k = #cases
        cases[k + 1] = add(all, k, card, case)
        of[card.name] = of[card.name] or {}
      end
    end
  end
  local folder = files.folder()
  local path = folder .. "/cases.safetensors"
  assert(ml.safetensors.save(path, all, { cases = ml.json.encode(cases) }))
  local got = process.run({ python, "spec/support/torch_ops.py", path }, { timeout = 300 })
  files.remove(folder)

  it("runs all cases", function()
    assert.equal(0, got.status, got.err)
  end)

  if got.status ~= 0 then return end
  for line in got.out:gmatch("[^\n]+") do
    local name, rest = line:match("^(%S+) (.*)$")
    table.insert(of[name], rest)
  end
  for name, results in pairs(of) do
    it(name .. " has the same values and gradients", function()
      assert.is_true(#results > 0)
      for i, d in ipairs(results) do
        local worst = tonumber(d)
        assert.is_true(worst ~= nil and worst <= (loose[name] or 1e-12),
          ("case %d: %s"):format(i, d))
      end
    end)
  end
end)
