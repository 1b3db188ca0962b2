-- ONNX's test vectors of operations converted from PyTorch, by spec/support/onnx.lua.
local ml = require "mlua"
local files = require "spec.support.files"
local onnx = require "spec.support.onnx"

local TOLERANCE = 1e-5 -- relative where values pass 1

local function worst(got, want)
  local a, b, most = got:reshape(-1):totable(), want:reshape(-1):totable(), 0
  for i = 1, #b do
    local d = math.abs(a[i] - b[i]) / math.max(1, math.abs(b[i]))
    if d ~= d then return d end
    most = math.max(most, d)
  end
  return most
end

describe("ONNX's vectors:", function()
  local index = files.data "op-vectors/index.json"
  if not index then
    pending("no op-vectors")
    return
  end
  local folder, names = index:match("^(.*/)"), {}
  local graphs = ml.json.load(index)
  for name in pairs(graphs) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    local graph = graphs[name]
    local title = name:gsub("^test_", "")
    local lacks, damaged = table.concat(onnx.lacks(graph), ", "), onnx.damaged(graph)
    if lacks ~= "" then
      pending(title .. ": not there yet: " .. lacks)
    elseif damaged then
      pending(title .. ": " .. damaged)
    else
      it(title, function()
        local values, want = {}, {}
        for key, t in pairs(assert(ml.safetensors.load(folder .. graph.file))) do
          local kind, id = key:match("^(%w+)/(.*)$")
          if kind == "out" then want[id] = t else values[id] = t end
        end
        local got = onnx.run(graph, values)
        for id, w in pairs(want) do
          assert.same(w:shape(), got[id]:shape())
          assert.equal(w:dtype(), got[id]:dtype())
          local d = worst(got[id], w)
          assert.is_true(d <= TOLERANCE, ("output %s differs by %g"):format(id, d))
        end
        assert.is_not_nil(next(want))
      end)
    end
  end

  it("cover 59 operations", function() assert.equal(59, #names) end)
end)
