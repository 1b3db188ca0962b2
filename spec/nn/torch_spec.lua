-- Layers beside PyTorch's of the same weights: one Python process makes the layers, and writes
-- their states, inputs, results and gradients as safetensors; the states are loaded here.
local ml = require "mlua"
local files = require "spec.support.files"
local torch = require "spec.support.torch"
local nn = ml.nn

local function not_after(n) -- bool [n, n]: row l sees columns up to l
  local rows = {}
  for l = 1, n do
    rows[l] = {}
    for s = 1, n do rows[l][s] = s <= l end
  end
  return ml.tensor(rows)
end

local keys = { { true, true, true, true, false }, { true, true, false, false, false } }
local causal = { causal = true }
local masked = { key_mask = ml.tensor(keys) }

-- { title, our class, our options, PyTorch's layer, inputs' shapes, PyTorch's call, our further
--   arguments }
local CASES = {
  { "RNN of 2 layers in both directions", "RNN",
    { inputs = 3, hidden = 4, layers = 2, bidirectional = true },
    "nn.RNN(3, 4, 2, bidirectional=True)", { { 5, 2, 3 }, { 4, 2, 4 } } },
  { "RNN with relu, without bias, of one sequence", "RNN",
    { inputs = 3, hidden = 4, activation = "relu", bias = false },
    "nn.RNN(3, 4, nonlinearity='relu', bias=False)", { { 5, 3 }, { 1, 4 } } },
  { "LSTM", "LSTM", { inputs = 3, hidden = 4 }, "nn.LSTM(3, 4)", { { 5, 2, 3 } } },
  { "LSTM of 2 layers in both directions", "LSTM",
    { inputs = 3, hidden = 4, layers = 2, bidirectional = true, batch_first = true },
    "nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True)",
    { { 2, 5, 3 }, { 4, 2, 4 }, { 4, 2, 4 } }, "m(x[0], (x[1], x[2]))" },
  { "LSTM of a large batch", "LSTM", { inputs = 6, hidden = 7 }, "nn.LSTM(6, 7)",
    { { 4, 33, 6 }, { 1, 33, 7 }, { 1, 33, 7 } }, "m(x[0], (x[1], x[2]))" },
  { "LSTM of one sequence", "LSTM", { inputs = 3, hidden = 4 }, "nn.LSTM(3, 4)",
    { { 5, 3 }, { 1, 4 }, { 1, 4 } }, "m(x[0], (x[1], x[2]))" },
  { "GRU", "GRU", { inputs = 3, hidden = 4, bias = false }, "nn.GRU(3, 4, bias=False)",
    { { 5, 2, 3 } } },
  { "GRU of 2 layers in both directions", "GRU",
    { inputs = 3, hidden = 4, layers = 2, bidirectional = true },
    "nn.GRU(3, 4, 2, bidirectional=True)", { { 5, 12, 3 }, { 4, 12, 4 } } },
  { "RNNCell", "RNNCell", { inputs = 3, hidden = 4 }, "nn.RNNCell(3, 4)", { { 2, 3 }, { 2, 4 } } },
  { "GRUCell", "GRUCell", { inputs = 3, hidden = 4 }, "nn.GRUCell(3, 4)", { { 2, 3 }, { 2, 4 } } },
  { "LSTMCell", "LSTMCell", { inputs = 3, hidden = 4 }, "nn.LSTMCell(3, 4)",
    { { 2, 3 }, { 2, 4 }, { 2, 4 } }, "m(x[0], (x[1], x[2]))" },

  { "MultiheadAttention to itself", "MultiheadAttention", { dim = 8, heads = 2 },
    "nn.MultiheadAttention(8, 2)", { { 5, 2, 8 } }, "m(x[0], x[0], x[0])[0]" },
  { "MultiheadAttention, causal", "MultiheadAttention",
    { dim = 8, heads = 4, batch_first = true, bias = false },
    "nn.MultiheadAttention(8, 4, batch_first=True, bias=False)", { { 2, 5, 8 } },
    "m(x[0], x[0], x[0], attn_mask=causal)[0]", { nil, nil, causal } },
  { "MultiheadAttention with masks", "MultiheadAttention", { dim = 8, heads = 2 },
    "nn.MultiheadAttention(8, 2)", { { 5, 2, 8 } },
    "m(x[0], x[0], x[0], attn_mask=causal, key_padding_mask=padding)[0]",
    { nil, nil, { mask = not_after(5), key_mask = masked.key_mask } } },
  { "MultiheadAttention with floats as mask, and keys", "MultiheadAttention",
    { dim = 8, heads = 2 }, "nn.MultiheadAttention(8, 2)", { { 5, 2, 8 } },
    "m(x[0], x[0], x[0], attn_mask=slope, key_padding_mask=padding)[0]",
    { nil, nil, { mask = ml.arange(25, "f64"):reshape(5, 5) * 0.1, key_mask = masked.key_mask } } },
  { "MultiheadAttention to another", "MultiheadAttention", { dim = 8, heads = 2 },
    "nn.MultiheadAttention(8, 2)", { { 5, 2, 8 }, { 3, 2, 8 } }, "m(x[0], x[1], x[1])[0]" },
  { "MultiheadAttention with keys and values apart", "MultiheadAttention",
    { dim = 8, heads = 2 }, "nn.MultiheadAttention(8, 2)",
    { { 5, 2, 8 }, { 3, 2, 8 }, { 3, 2, 8 } }, "m(x[0], x[1], x[2])[0]" },
  { "MultiheadAttention with keys and values of other sizes", "MultiheadAttention",
    { dim = 8, heads = 2, kdim = 3, vdim = 5 }, "nn.MultiheadAttention(8, 2, kdim=3, vdim=5)",
    { { 5, 2, 8 }, { 3, 2, 3 }, { 3, 2, 5 } }, "m(x[0], x[1], x[2])[0]" },

  { "TransformerEncoderLayer", "TransformerEncoderLayer",
    { dim = 8, heads = 2, hidden = 16, dropout = 0 },
    "nn.TransformerEncoderLayer(8, 2, 16, 0)", { { 5, 2, 8 } } },
  { "TransformerEncoderLayer, norms first, gelu, masked", "TransformerEncoderLayer",
    { dim = 8, heads = 2, hidden = 16, dropout = 0, norm_first = true, activation = "gelu",
      batch_first = true, eps = 1e-3 },
    "nn.TransformerEncoderLayer(8, 2, 16, 0, 'gelu', 1e-3, True, True)", { { 2, 5, 8 } },
    "m(x[0], causal, padding)", { { causal = true, key_mask = masked.key_mask } } },
  { "TransformerDecoderLayer", "TransformerDecoderLayer",
    { dim = 8, heads = 2, hidden = 16, dropout = 0 },
    "nn.TransformerDecoderLayer(8, 2, 16, 0)", { { 5, 2, 8 }, { 3, 2, 8 } },
    "m(x[0], x[1], causal)", { causal } },
  { "TransformerDecoderLayer, norms first, with a mask of the memory", "TransformerDecoderLayer",
    { dim = 8, heads = 2, hidden = 16, dropout = 0, norm_first = true, activation = "gelu" },
    "nn.TransformerDecoderLayer(8, 2, 16, 0, 'gelu', norm_first=True)",
    { { 4, 2, 8 }, { 5, 2, 8 } }, "m(x[0], x[1], memory_key_padding_mask=padding)",
    { { memory_key_mask = masked.key_mask } } },
}

local function script(path)
  local lines = { ([==[
import json, struct
nn = torch.nn
torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
padding = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 1, 1, 1]], dtype=torch.bool)
slope = torch.arange(25).reshape(5, 5) * 0.1
tensors = {}
def flat(y):
    return [t for v in y for t in flat(v)] if isinstance(y, tuple) else [y]
def case(i, m, shapes, call):
    for p in m.parameters(): # biases and norms, too
        torch.nn.init.uniform_(p, -0.7, 0.7)
    x = [torch.randn(s).requires_grad_() for s in shapes]
    outs = flat(call(m, x))
    sum((y * torch.cos(torch.arange(y.numel())).reshape(y.shape)).sum() for y in outs).backward()
    for name, p in m.named_parameters():
        tensors["%%d.state.%%s" %% (i, name)] = p
        tensors["%%d.grad.%%s" %% (i, name)] = p.grad
    for k, t in enumerate(x):
        tensors["%%d.x.%%d" %% (i, k + 1)] = t
        tensors["%%d.dx.%%d" %% (i, k + 1)] = t.grad
    for k, t in enumerate(outs):
        tensors["%%d.y.%%d" %% (i, k + 1)] = t
def save(path):
    head, data = {}, b""
    for name, t in tensors.items():
        raw = struct.pack("<%%dd" %% t.numel(), *t.detach().flatten().tolist())
        head[name] = dict(dtype="F64", shape=list(t.shape),
                          data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) %% 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
result["path"] = %q
]==]):format(path) }
  for i, c in ipairs(CASES) do
    local shapes = {}
    for k, s in ipairs(c[5]) do shapes[k] = "[" .. table.concat(s, ",") .. "]" end
    lines[#lines + 1] = ("case(%d, %s, [%s], lambda m, x: %s)"):format(i, c[4],
      table.concat(shapes, ","), c[6] or "m(*x)")
  end
  lines[#lines + 1] = ("save(%q)"):format(path)
  return table.concat(lines, "\n")
end

local function near(want, got, tolerance, title)
  assert.same(want:shape(), got:shape(), title)
  local difference, scale = (want - got:to("f64")):abs(), want:abs()
  local worst, largest = 0, 1
  for _, v in ipairs(difference:reshape(-1):totable()) do worst = math.max(worst, v) end
  for _, v in ipairs(scale:reshape(-1):totable()) do largest = math.max(largest, v) end
  assert.is_true(worst <= tolerance * largest, ("%s: differs by %g"):format(title, worst))
end

describe("beside PyTorch,", function()
  local folder = files.folder()
  local ran = torch.run(script(folder .. "/layers.safetensors"))
  local all = ran and assert(ml.safetensors.load(ran.path)) or {}
  local given = {} -- by case and kind: tensors by name
  for name, t in pairs(all) do
    local i, kind, rest = name:match "^(%d+)%.(%w+)%.(.*)$"
    given[i .. kind] = given[i .. kind] or {}
    given[i .. kind][rest] = t:clone()
  end
  files.remove(folder)

  for i, c in ipairs(CASES) do
    for dtype, tolerance in pairs { f64 = 1e-12, f32 = 2e-5 } do
      it(c[1] .. " takes its state and gives its values and gradients, in " .. dtype, function()
        if not ran then return pending "PyTorch is not installed" end
        local o = { dtype = dtype }
        for k, v in pairs(c[3]) do o[k] = v end
        local model = nn[c[2]].new(o)
        assert(model:load_state(given[i .. "state"]))
        local x, n = {}, #c[5]
        for k = 1, n do x[k] = given[i .. "x"][tostring(k)]:to(dtype):clone():requires_grad() end
        local more = c[7] or {}
        for k = 1, 3 do -- those in the middle may be nil
          if more[k] ~= nil then x[n + k] = more[k] end
        end
        local outs, loss = { model(unpack(x, 1, n + 3)) }, nil
        for k, y in ipairs(outs) do
          near(given[i .. "y"][tostring(k)], y:detach(), tolerance, "result " .. k)
          local w = ml.arange(y:count(), "f64"):cos():reshape(y:shape()):to(dtype)
          local part = (y * w):sum()
          loss = loss and loss + part or part
        end
        assert.is_nil(given[i .. "y"][tostring(#outs + 1)])
        loss:backward()
        for _, p in ipairs(model:named_parameters()) do
          near(given[i .. "grad"][p.name], p.tensor:grad(), tolerance, p.name)
        end
        for k = 1, n do
          near(given[i .. "dx"][tostring(k)], x[k]:grad(), tolerance, "input " .. k)
        end
      end)
    end
  end
end)
