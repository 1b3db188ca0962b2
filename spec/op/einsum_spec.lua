local ml = require "mlua"
local files = require "spec.support.files"
local process = require "spec.support.process"

local python = os.getenv "MLUA_PEER_PYTHON" or "/usr/bin/python3"

local function refused(message, ...)
  local ok, got = pcall(ml.einsum, ...)
  assert.is_false(ok)
  assert.equal(message, (got:gsub("^[^:]+:%d+: ", "")))
end

-- equation, then the shapes of its tensors
local cases = {
  { "ij,jk->ik", { 3, 4 }, { 4, 5 } },
  { "ij,jk", { 3, 4 }, { 4, 5 } },
  { "ba,cb", { 3, 4 }, { 5, 3 } },
  { "ij->ji", { 3, 4 } },
  { "ij->", { 3, 4 } },
  { "ii->i", { 4, 4 } },
  { "ii", { 4, 4 } },
  { "iij->ij", { 3, 3, 2 } },
  { "iji,ij->j", { 3, 2, 3 }, { 3, 2 } },
  { "i,j->ij", { 3 }, { 4 } },
  { "i,i->", { 5 }, { 5 } },
  { "ij,ij->ij", { 3, 4 }, { 3, 4 } },
  { "ij,ij->", { 3, 4 }, { 3, 4 } },
  { "bij,bjk->bik", { 2, 3, 4 }, { 2, 4, 5 } },
  { "bhtd,bhsd->bhts", { 2, 3, 4, 5 }, { 2, 3, 6, 5 } },
  { "bthd,bshd->bhts", { 2, 4, 3, 5 }, { 2, 6, 3, 5 } },
  { "...ij,...jk->...ik", { 2, 3, 4 }, { 4, 5 } },
  { "...ij,...jk", { 2, 1, 3, 4 }, { 3, 4, 5 } },
  { "i...,i...->...", { 3, 2, 4 }, { 3, 4 } },
  { "...,...->...", { 2, 3 }, { 3 } },
  { "ijkl,lkm->mij", { 2, 3, 4, 5 }, { 5, 4, 6 } },
  { "ab,bc,cd->ad", { 2, 3 }, { 3, 4 }, { 4, 5 } },
  { "ab,ac,ad->abcd", { 2, 3 }, { 2, 4 }, { 2, 5 } },
  { "abc,bd,ce,bce->ade", { 2, 3, 4 }, { 3, 5 }, { 4, 6 }, { 3, 4, 6 } },
  { "ij,k->ik", { 3, 4 }, { 5 } },
  { "ij,jk->ik", { 3, 1 }, { 4, 5 } },
  { "ij,jk->ik", { 3, 0 }, { 0, 5 } },
  { "iI,IJ->iJ", { 2, 3 }, { 3, 4 } },
  { " i j , j k -> k i ", { 2, 3 }, { 3, 4 } },
}

describe("einsum", function()
  it("multiplies matrices, takes diagonals, sums and reorders", function()
    local a, b = ml.tensor { { 1, 2 }, { 3, 4 } }, ml.tensor { { 0, 1 }, { 1, 0 } }
    assert.same({ { 2, 1 }, { 4, 3 } }, ml.einsum("ij,jk->ik", a, b):totable())
    assert.same({ { 2, 4 }, { 1, 3 } }, ml.einsum("ij,jk->ki", a, b):totable())
    assert.same({ 1, 4 }, ml.einsum("ii->i", a):totable())
    assert.equal(5, ml.einsum("ii", a):item())
    assert.equal(10, ml.einsum("ij->", a):item())
    assert.same({ 4, 6 }, ml.einsum("ij->j", a):totable())
  end)

  it("puts what comes once in the order of the alphabet where the equation does not say", function()
    assert.same({ 4, 5 }, ml.einsum("bc,ab", ml.ones(3, 5), ml.ones(4, 3)):shape())
  end)

  it("refuses equations and shapes that do not fit", function()
    local x = ml.ones(2, 3)
    refused("bad argument #1 to 'einsum' (equation: expected a string, got a tensor)", x)
    refused("bad argument #1 to 'einsum' ('ij,jk->ik': expected 2 tensors, got 1)", "ij,jk->ik", x)
    refused("bad argument #1 to 'einsum' (expected letters, '...', ',' and '->', got '1' in "
      .. "'i1->i')", "i1->i", x)
    refused("bad argument #2 to 'einsum' (expected 3 axes, got 2 axes)", "ijk->i", x)
    refused("bad argument #2 to 'einsum' (expected at least 3 axes, got 2 axes)", "ijk...->i", x)
    refused("bad argument #2 to 'einsum' (expected '...' once, got 2 axes)", "...i...->i", x)
    refused("bad argument #3 to 'einsum' (axis j: expected 3, got [2, 3])", "ij,jk->ik", x, x)
    refused("bad argument #2 to 'einsum' (axis i: sizes 2 and 3)", "ii->i", x)
    refused("bad argument #1 to 'einsum' (axis k comes out, but in no tensor goes in)", "ij->k", x)
    refused("bad argument #1 to 'einsum' (axis i comes out twice)", "ij->ii", x)
    refused("bad argument #2 to 'einsum' (operand: expected a tensor, got 3)", "i->i", 3)
  end)

  local have = process.run({ python, "-c", "import torch, numpy" }, { timeout = 120 }).status == 0
  if not have then
    pending("beside PyTorch: python3-torch is not installed")
    return
  end

  it("has PyTorch's values and gradients", function()
    local all, list = {}, {}
    for i, c in ipairs(cases) do
      local xs = {}
      for k = 2, #c do
        xs[k - 1] = ml.randn(c[k], { dtype = "f64", seed = i, stream = k }):requires_grad()
        all[i .. "." .. k - 1] = xs[k - 1]:detach()
      end
      local y = ml.einsum(c[1], unpack(xs))
      local w = ml.randn(y:shape(), { dtype = "f64", seed = i })
      all[i .. ".="], all[i .. ".w"] = y:detach():contiguous(), w
      ml.op.sum(y * w):backward()
      for k, x in ipairs(xs) do all[i .. ".d" .. k] = x:grad() end
      list[i] = { equation = c[1], n = #xs }
    end
    local folder = files.folder()
    local path = folder .. "/cases.safetensors"
    assert(ml.safetensors.save(path, all, { cases = ml.json.encode(list) }))
    local got = process.run({ python, "spec/support/torch_einsum.py", path }, { timeout = 300 })
    files.remove(folder)
    assert.equal(0, got.status, got.err)
    local n = 0
    for equation, d in got.out:gmatch("([^\n]+)\t(%S+)\n") do
      n = n + 1
      assert.is_true(tonumber(d) ~= nil and tonumber(d) <= 1e-12, equation .. ": " .. d)
    end
    assert.equal(#cases, n)
  end)
end)
