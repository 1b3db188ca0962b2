-- Small models of characters that learn a sequence by heart, from fixed seeds.
local ml = require "mlua"
local nn, optim = ml.nn, ml.optim

local TEXT = "the cat sat on the mat, the dog sat on the log; "

-- Ids of the characters, [n], and how many there are; what each id is.
local function encode(text)
  local id_of, chars, ids = {}, {}, {}
  for c in text:gmatch "." do
    if not id_of[c] then
      chars[#chars + 1] = c
      id_of[c] = #chars - 1
    end
    ids[#ids + 1] = id_of[c]
  end
  return ml.tensor(ids, "i64"), chars
end

-- Trains until every next character is the likeliest, at most `steps`; how many it took.
local function learn(model, ids, steps)
  local n = ids:size(1)
  local x, y = ids:narrow(1, 1, n - 1), ids:narrow(1, 2, n)
  local opt = optim.adam(model:parameters(), { lr = 0.01 })
  for step = 1, steps do
    local done = ml.scope(function()
      local logits = model(x)
      opt:step(nn.functional.cross_entropy(logits, y))
      local right = 0
      local rows, wanted = logits:detach():totable(), y:totable()
      for i, row in ipairs(rows) do
        local best = 1
        for k, v in ipairs(row) do if v > row[best] then best = k end end
        if best - 1 == wanted[i] then right = right + 1 end
      end
      return right == n - 1
    end)
    if done then return step end
  end
end

describe("a model of characters", function()
  local ids, chars = encode(TEXT)

  for _, kind in ipairs { "GRU", "LSTM" } do
    it(kind .. " learns a text by heart and says it", function()
      local rows = nn.Embedding.new { rows = #chars, dim = 16, seed = 1, stream = 1 }
      local memory = nn[kind].new { inputs = 16, hidden = 32, seed = 1, stream = 2 }
      local head = nn.Linear.new { inputs = 32, outputs = #chars, seed = 1, stream = 3 }
      local model = nn.Sequential.new { rows, { "memory", memory }, { "head", head } }
      assert.is_not_nil(learn(model, ids, 300))
      local said, id, h, c = { chars[1] }, 0, nil, nil
      model:eval()
      for _ = 2, #TEXT do -- a character at a time, each fed back
        local y
        y, h, c = memory(rows(ml.tensor({ id }, "i64")), h, c)
        local row, best = head(y)[1]:totable(), 1
        for k, v in ipairs(row) do if v > row[best] then best = k end end
        id = best - 1
        said[#said + 1] = chars[best]
      end
      assert.equal(TEXT, table.concat(said))
    end)
  end

  it("a transformer learns it, too", function()
    local model = nn.Sequential.new {
      nn.Embedding.new { rows = #chars, dim = 32, seed = 1, stream = 1 },
      function(x) return x:unsqueeze(1) end,
      nn.LearnedEncoding.new { length = #TEXT, dim = 32, batch_first = true, seed = 1, stream = 2 },
      function(x) return x, { causal = true } end,
    }
    local encoder = nn.TransformerEncoder.new { dim = 32, heads = 4, hidden = 64, layers = 2,
      norm_first = true, dropout = 0, batch_first = true, activation = "gelu", seed = 1,
      stream = 3 }
    local head = nn.Linear.new { inputs = 32, outputs = #chars, seed = 1, stream = 4 }
    local whole = nn.ModuleList.new { model, encoder, head }
    function whole.forward(_, x) return head(encoder(model(x)):squeeze(1)) end
    assert.is_not_nil(learn(whole, ids, 300))
  end)
end)
