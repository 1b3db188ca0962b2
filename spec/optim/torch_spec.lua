-- Optimisers, schedules and clipping against PyTorch's, which one Python process computes.
local ml = require "mlua"
local step = require "spec.support.step"
local torch = require "spec.support.torch"
local optim = ml.optim

local N, STEPS = 19, 6

-- { title, our optimiser, our options, PyTorch's constructor }; Lion is not in PyTorch.
local OPTIMISERS = {
  { "momentum", "sgd", { lr = 0.1, momentum = 0.9 }, "SGD(p, lr=0.1, momentum=0.9)" },
  { "Nesterov", "sgd", { lr = 0.1, momentum = 0.8, nesterov = true, weight_decay = 0.05 },
    "SGD(p, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.05)" },
  { "dampening", "sgd", { lr = 0.1, momentum = 0.9, dampening = 0.3 },
    "SGD(p, lr=0.1, momentum=0.9, dampening=0.3)" },
  { "weight decay alone", "sgd", { lr = 0.1, weight_decay = 0.2 },
    "SGD(p, lr=0.1, weight_decay=0.2)" },
  { "Adam by default", "adam", nil, "Adam(p)" },
  { "Adam", "adam", { lr = 0.05, betas = { 0.8, 0.95 }, eps = 1e-3, weight_decay = 0.1 },
    "Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)" },
  { "AMSGrad", "adam", { lr = 0.05, betas = { 0.5, 0.5 }, amsgrad = true },
    "Adam(p, lr=0.05, betas=(0.5, 0.5), amsgrad=True)" },
  { "AdamW by default", "adamw", nil, "AdamW(p)" },
  { "AdamW", "adamw", { lr = 0.05, weight_decay = 0.3, amsgrad = true },
    "AdamW(p, lr=0.05, weight_decay=0.3, amsgrad=True)" },
  { "RMSprop by default", "rmsprop", nil, "RMSprop(p)" },
  { "RMSprop with momentum", "rmsprop", { alpha = 0.9, momentum = 0.7, weight_decay = 0.1 },
    "RMSprop(p, alpha=0.9, momentum=0.7, weight_decay=0.1)" },
  { "centered RMSprop", "rmsprop", { alpha = 0.8, centered = true },
    "RMSprop(p, alpha=0.8, centered=True)" },
  { "centered RMSprop with momentum", "rmsprop", { centered = true, momentum = 0.5 },
    "RMSprop(p, centered=True, momentum=0.5)" },
  { "Adagrad with decay", "adagrad", { lr = 0.3, lr_decay = 0.5 },
    "Adagrad(p, lr=0.3, lr_decay=0.5)" },
  { "SGD upwards", "sgd", { lr = 0.1, maximize = true }, "SGD(p, lr=0.1, maximize=True)" },
  { "Adam upwards", "adam", { lr = 0.05, weight_decay = 0.1, maximize = true },
    "Adam(p, lr=0.05, weight_decay=0.1, maximize=True)" },
  { "AdamW upwards", "adamw", { lr = 0.05, maximize = true },
    "AdamW(p, lr=0.05, maximize=True)" },
  { "Adagrad upwards", "adagrad", { lr = 0.05, maximize = true },
    "Adagrad(p, lr=0.05, maximize=True)" },
  { "Lion", "lion", { lr = 0.01, betas = { 0.7, 0.9 }, weight_decay = 0.2 },
    "Lion(p, 0.01, 0.7, 0.9, 0.2)" },
}

-- { title, schedule of ours, PyTorch's, metrics or nil }
local schedule = optim.schedule
local METRICS = { 1, 0.9, 0.95, 0.9, 0.89999, 0.91, 0.5, 0.6, 0.7, 0.8, 0.4, 0.5, 0.5, 0.5, 0.5,
                  0.5, 0.5, 0.5, 0.5, 0.5 }
local SCHEDULES = {
  { "step", function(o) return schedule.step(o, { size = 3, gamma = 0.5 }) end,
    "StepLR(o, 3, gamma=0.5)" },
  { "multi_step", function(o) return schedule.multi_step(o, { milestones = { 2, 5, 6 } }) end,
    "MultiStepLR(o, [2, 5, 6])" },
  { "exponential", function(o) return schedule.exponential(o, { gamma = 0.9 }) end,
    "ExponentialLR(o, 0.9)" },
  { "cosine", function(o) return schedule.cosine(o, { steps = 7, lowest = 0.01 }) end,
    "CosineAnnealingLR(o, 7, eta_min=0.01)" },
  { "warmup", function(o) return schedule.warmup(o) end, "LinearLR(o)" },
  { "warmup with options",
    function(o) return schedule.warmup(o, { steps = 4, from = 0.1, to = 0.7 }) end,
    "LinearLR(o, start_factor=0.1, end_factor=0.7, total_iters=4)" },
  { "lambda", function(o) return schedule.lambda(o, function(t) return 1 / (1 + t) end) end,
    "LambdaLR(o, lambda t: 1 / (1 + t))" },
  { "one_cycle", function(o) return schedule.one_cycle(o, { max_lr = 1, steps = 21 }) end,
    "OneCycleLR(o, 1.0, total_steps=21)" },
  { "one_cycle in lines and three phases", function(o)
    return schedule.one_cycle(o, { max_lr = { 1, 2 }, steps = 21, rise = 0.4, anneal = "linear",
      three_phase = true, div = 10, final_div = 100, base_momentum = 0.5, max_momentum = 0.6 })
  end, [[OneCycleLR(o, [1.0, 2.0], total_steps=21, pct_start=0.4, anneal_strategy='linear',
    three_phase=True, div_factor=10., final_div_factor=100., base_momentum=0.5,
    max_momentum=0.6)]] },
  { "plateau", function(o)
    return schedule.plateau(o, { patience = 1, cooldown = 2, factor = 0.3, lowest = 0.002 })
  end, "ReduceLROnPlateau(o, patience=1, cooldown=2, factor=0.3, min_lr=0.002)", METRICS },
  { "plateau upwards", function(o)
    return schedule.plateau(o, { mode = "max", patience = 2, threshold = 0.01,
      threshold_mode = "abs", lowest = { 0.01, 0 } })
  end, [[ReduceLROnPlateau(o, mode='max', patience=2, threshold=0.01, threshold_mode='abs',
    min_lr=[0.01, 0])]], METRICS },
  { "chain", function(o)
    return schedule.chain(o, { milestones = { 4, 12 }, schedules = {
      schedule.warmup(o, { steps = 4, from = 0.25 }), schedule.cosine(o, { steps = 8 }),
      schedule.exponential(o, { gamma = 0.8 }) } })
  end, [[SequentialLR(o, [LinearLR(o, start_factor=0.25, total_iters=4), CosineAnnealingLR(o, 8),
    ExponentialLR(o, 0.8)], [4, 12])]] },
}

local function script()
  local lines = { ([==[
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import *
class Lion:
    def __init__(self, p, lr, b1, b2, decay):
        self.p, self.lr, self.b1, self.b2, self.decay, self.m = p, lr, b1, b2, decay, 0
    def step(self):
        for p in self.p:
            g = p.grad
            p.data.mul_(1 - self.lr * self.decay)
            p.data.add_((self.b1 * self.m + (1 - self.b1) * g).sign(), alpha=-self.lr)
            self.m = self.b2 * self.m + (1 - self.b2) * g
def train(dtype, make):
    w = torch.tensor([math.cos(1.1 * i) for i in range(%d)], dtype=dtype, requires_grad=True)
    o = make([w])
    for k in range(%d):
        c = torch.tensor([math.sin(0.7 * i + 1.3 * k) for i in range(%d)], dtype=dtype)
        w.grad = None
        (c * w + 0.5 * w * w).sum().backward()
        o.step()
    return w.detach()
def rates(make, metrics):
    a, b = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    o = SGD([dict(params=[a], lr=0.1), dict(params=[b], lr=0.05)], lr=1, momentum=0.9)
    s, out = make(o), []
    for k in range(20):
        out.append([g["lr"] for g in o.param_groups] + [o.param_groups[0]["momentum"]])
        o.step()
        if metrics: s.step(metrics[k])
        else: s.step()
    return out
def clipped(most, p):
    a = torch.tensor([3., -4.], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[12., 0.5]], dtype=torch.float64, requires_grad=True)
    a.grad, b.grad = a.detach().clone(), b.detach().clone()
    n = torch.nn.utils.clip_grad_norm_([a, b], most, p)
    return [float(n)] + a.grad.tolist() + b.grad.flatten().tolist()
metrics = [%s]
result["clip"] = [clipped(1.0, 2), clipped(100.0, 2), clipped(2.5, 1), clipped(2.0, 3),
                  clipped(3.0, math.inf)]
]==]):format(N, STEPS, N, table.concat(METRICS, ",")) }
  for _, c in ipairs(OPTIMISERS) do
    lines[#lines + 1] = ("result[%q] = {'f32': train(torch.float32, lambda p: %s), " ..
      "'f64': train(torch.float64, lambda p: %s)}"):format(c[1], c[4], c[4])
  end
  for _, c in ipairs(SCHEDULES) do
    lines[#lines + 1] = ("result[%q] = rates(lambda o: %s, %s)"):format("schedule " .. c[1], c[3],
      c[4] and "metrics" or "None")
  end
  return table.concat(lines, "\n")
end

local function train(c, dtype, fused)
  local values = {}
  for i = 0, N - 1 do values[i + 1] = math.cos(1.1 * i) end
  local w = ml.tensor(values, dtype):requires_grad()
  local opt = optim[c[2]]({ w }, c[3])
  for k = 0, STEPS - 1 do
    for i = 0, N - 1 do values[i + 1] = math.sin(0.7 * i + 1.3 * k) end
    local loss = (ml.tensor(values, dtype) * w + w:square() * 0.5):sum()
    step(opt, loss, fused)
  end
  return w:detach():totable()
end

local function near(want, got, tolerance, title)
  assert.equal(#want, #got)
  for i, v in ipairs(want) do
    assert.is_true(math.abs(v - got[i]) <= tolerance * math.max(1, math.abs(v)),
      ("%s [%d]: expected %.17g, got %.17g"):format(title, i, v, got[i]))
  end
end

describe("against PyTorch,", function()
  local peer = torch.run(script())
  local function compare(title, fn)
    it(title, function()
      if not peer then return pending "PyTorch is not installed" end
      fn()
    end)
  end

  for _, c in ipairs(OPTIMISERS) do
    compare(c[1] .. " makes the same steps, fused and apart", function()
      for _, fused in ipairs { true, false } do
        near(peer[c[1]].f64, train(c, "f64", fused), 1e-13, "f64")
        near(peer[c[1]].f32, train(c, "f32", fused), 3e-6, "f32")
      end
    end)
  end

  for _, c in ipairs(SCHEDULES) do
    compare(c[1] .. " gives the same rates and momenta, for two groups", function()
      local a, b = ml.zeros(1):requires_grad(), ml.zeros(1):requires_grad()
      local opt = optim.sgd({ { params = { a }, lr = 0.1 }, { params = { b }, lr = 0.05 } },
        { momentum = 0.9 })
      local s = c[2](opt)
      for k, want in ipairs(peer["schedule " .. c[1]]) do
        near(want, { opt.groups[1].lr, opt.groups[2].lr, opt.groups[1].momentum }, 1e-14,
          "step " .. k - 1)
        assert.equal(opt.groups[2].lr, opt.updates[1].lr)
        s:step(c[4] and c[4][k])
      end
    end)
  end

  compare("clip_grad_norm scales as it does, by several norms", function()
    for i, c in ipairs { { 1, 2 }, { 100, 2 }, { 2.5, 1 }, { 2, 3 }, { 3, math.huge } } do
      local a = ml.tensor({ 3, -4 }, "f64"):requires_grad()
      local b = ml.tensor({ { 12, 0.5 } }, "f64"):requires_grad()
      local loss = (a * a):sum() * 0.5 + (b * b):sum() * 0.5
      loss:backward()
      local got = { optim.clip_grad_norm({ a, b }, c[1], c[2]) }
      for _, t in ipairs { a, b } do
        for _, v in ipairs(t:grad():reshape(-1):totable()) do got[#got + 1] = v end
      end
      near(peer.clip[i], got, 1e-14, "case " .. i)
    end
  end)
end)
