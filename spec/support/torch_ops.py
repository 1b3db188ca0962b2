"""What the operations of mlua's cards are in PyTorch; compares results and gradients.

Usage: torch_ops.py FILE.safetensors, whose metadata "cases" is a JSON list of
{ op, tensors: names in order, scalars: { name: value }, wants: names with a gradient }.
Tensors are called "CASE.NAME"; "CASE.=" is mlua's result, "CASE.*" what it is multiplied with before
the sum that gradients are of, "CASE.d.NAME" mlua's gradients.
Prints a line a case: op, largest difference (relative where values pass 1), or "unknown op".
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../tools/peers"))
import torch
import torch.nn.functional as F
from peer import read_safetensors


def axis(s):
    a = s["axis"]
    return a if a < 0 else a - 1


def reduced(f):
    def call(s, x):
        if s["axis"] == 0:
            y = f(x.reshape(-1), 0)
            return y.reshape([1] * x.dim()) if s["keep"] else y
        y = f(x, axis(s))
        return y.unsqueeze(axis(s)) if s["keep"] else y
    return call


def turned(t, on):
    return t.transpose(-1, -2) if on and t.dim() > 1 else t
def reduce(s, y):
    return y if s["reduction"] == "none" else getattr(y, s["reduction"])()


def same(name):
    return lambda s, *t: getattr(torch, name)(*t)


def symmetric(a):
    return (a + a.transpose(-1, -2)) / 2


def turned_signs(v, w=None):
    """The first of the largest elements of every column of v positive; rows of w along with them."""
    most = v.detach().abs()
    at = (most >= most.amax(-2, keepdim=True) * (1 - 1e-6)).double().argmax(-2, keepdim=True)
    sign = torch.sign(v.detach().gather(-2, at)) if v.numel() else v[..., :1, :]
    return v * sign, None if w is None else w * sign.transpose(-1, -2)


def rows(batch, *parts):
    sizes = [int(torch.tensor(t.shape[len(batch):]).prod()) if t.dim() > len(batch) else 1
             for t in parts]
    return torch.cat([t.reshape(*batch, n) for t, n in zip(parts, sizes)], -1)


def eigh(s, a):
    w, v = torch.linalg.eigh(symmetric(a))
    return rows(a.shape[:-2], w, turned_signs(v)[0] if v.numel() else v)


def svd(s, a):
    u, d, vt = torch.linalg.svd(a, full_matrices=False)
    if u.numel() and vt.numel():
        u, vt = turned_signs(u, vt)
    return rows(a.shape[:-2], u, d, vt)


def triangular(s, a, b):
    return torch.linalg.solve_triangular(turned(a, s["ta"]), b, upper=s["upper"] != s["ta"])


def norm(s, x):
    p, n = float(s["p"]), s["axis"]
    return torch.linalg.vector_norm(x, p, dim=None if n == 0 else axis(s), keepdim=s["keep"])


def functional(name, *scalars):
    return lambda s, *t: getattr(F, name)(*t, *[s[k] for k in scalars])


def spatial(s, name, x):
    return [int(s["%s_%d" % (name, i + 1)]) for i in range(x.dim() - 2)]


def padding(s, x, sign=1):
    """As F.pad takes it: from the last axis on."""
    pairs = list(zip(spatial(s, "before", x), spatial(s, "after", x)))
    return [sign * v for pair in reversed(pairs) for v in pair]


def conv(s, x, w, b=None):
    f = (F.conv1d, F.conv2d, F.conv3d)[x.dim() - 3]
    return f(F.pad(x, padding(s, x)), w, b, spatial(s, "stride", x), 0, spatial(s, "dilation", x),
             int(s["groups"]))


def conv_transpose(s, x, w, b=None):
    f = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[x.dim() - 3]
    y = f(x, w, None, spatial(s, "stride", x), 0, 0, int(s["groups"]), spatial(s, "dilation", x))
    y = F.pad(y, padding(s, x, -1))
    return y if b is None else y + b.reshape([-1] + [1] * (x.dim() - 2))


def max_pool(s, x, indices=False):
    f = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.dim() - 3]
    y, at = f(F.pad(x, padding(s, x), value=-float("inf")), spatial(s, "kernel", x),
              spatial(s, "stride", x), 0, spatial(s, "dilation", x), s["ceil"], True)
    if not indices:
        return y
    place, factor = torch.zeros_like(at), 1
    for d, (before, after) in reversed(list(enumerate(zip(spatial(s, "before", x),
                                                          spatial(s, "after", x))))):
        n = x.shape[d + 2]
        place += (at % (n + before + after) - before) * factor
        at = at // (n + before + after)
        factor *= n
    return place


def avg_pool(s, x):
    f = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.dim() - 3]
    before = spatial(s, "before", x)
    if before != spatial(s, "after", x):
        x, before = F.pad(x, padding(s, x)), 0
    return f(x, spatial(s, "kernel", x), spatial(s, "stride", x), before, s["ceil"], s["include"])


def adaptive(name):
    return lambda s, x: getattr(F, "%s%dd" % (name, x.dim() - 2))(x, spatial(s, "size", x))


def resample(s, x):
    y = x.movedim(axis(s), -1)
    shape = list(y.shape[:-1])
    y = F.interpolate(y.reshape(-1, 1, y.shape[-1]), int(s["size"]),
                      mode="nearest" if s["mode"] == "nearest" else "linear",
                      align_corners=None if s["mode"] == "nearest" else s["mode"] == "corners")
    return y.reshape(shape + [-1] if y.numel() else shape + [int(s["size"])]).movedim(-1, axis(s))


OPS = {name: same(name) for name in """abs sign square reciprocal sqrt rsqrt exp exp2 expm1 log log2
    log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc floor ceil round
    trunc frac relu selu sigmoid isnan isinf isfinite add sub mul div remainder pow atan2 hypot maximum
    minimum eq ne lt le gt ge logical_and logical_or logical_xor logical_not where""".split()}
OPS.update({
    "cast": lambda s, x: x.to(getattr(torch, {"f64": "float64", "f32": "float32"}[s["dtype"]])),
    "floor_divide": lambda s, a, b: torch.floor(a / b),
    "leaky_relu": functional("leaky_relu", "slope"),
    "elu": functional("elu", "alpha"),
    "gelu": functional("gelu"),
    "gelu_tanh": lambda s, x: F.gelu(x, approximate="tanh"),
    "log_sigmoid": functional("logsigmoid"),
    "silu": functional("silu"),
    "softplus": functional("softplus", "beta", "threshold"),
    "softsign": functional("softsign"),
    "hard_sigmoid": functional("hardsigmoid"),
    "hard_swish": functional("hardswish"),
    "hard_shrink": functional("hardshrink", "lambda"),
    "clamp": lambda s, x: torch.clamp(x, float(s["lo"]), float(s["hi"])),
    "affine": lambda s, x: x * s["scale"] + s["shift"],
    "prelu": lambda s, a, b: torch.where(a > 0, a, a * b),
    "sum": reduced(torch.sum),
    "prod": reduced(torch.prod),
    "max": reduced(torch.amax),
    "min": reduced(torch.amin),
    "argmax": reduced(torch.argmax),
    "argmin": reduced(torch.argmin),
    "any": reduced(torch.any),
    "all": reduced(torch.all),
    "count_nonzero": reduced(torch.count_nonzero),
    "logsumexp": reduced(torch.logsumexp),
    "var": lambda s, x: reduced(lambda t, d: torch.var(t, d, correction=int(s["correction"]),
                                                       keepdim=False))(s, x),
    "softmax": lambda s, x: torch.softmax(x, axis(s)),
    "log_softmax": lambda s, x: torch.log_softmax(x, axis(s)),
    "cumsum": lambda s, x: torch.cumsum(x, axis(s)),
    "gather": lambda s, x, i: torch.gather(x, axis(s), i.long()),
    "scatter": lambda s, x, i, src: torch.scatter(x, axis(s), i.long(), src),
    "scatter_add": lambda s, x, i, src: torch.scatter_add(x, axis(s), i.long(), src),
    "pad": lambda s, x, pads: F.pad(x, pads.tolist(), s["mode"], s["value"]),
    "flip": lambda s, x: torch.flip(x, [d for d in range(x.dim()) if int(s["axes"]) >> d & 1]),
    "tril": lambda s, x: torch.tril(x, int(s["diagonal"])),
    "triu": lambda s, x: torch.triu(x, int(s["diagonal"])),
    "argsort": lambda s, x: torch.sort(x, dim=axis(s), descending=s["descending"], stable=True)[1],
    "topk_ids": lambda s, x: torch.topk(x, int(s["k"]), axis(s), not s["smallest"])[1],
    "one_hot": lambda s, ids: F.one_hot(ids.long(), int(s["classes"])),
    "bincount": lambda s, x: torch.bincount(x.long(), minlength=int(s["bins"])),
    "histogram": lambda s, x, edges, w=None: torch.histogram(x, edges, weight=w)[0],
    "searchsorted": lambda s, edges, v: torch.searchsorted(edges, v, right=s["right"]),
    "matmul": lambda s, a, b: torch.matmul(turned(a, s["ta"]), turned(b, s["tb"])),
    "norm": norm,
    "cholesky": lambda s, a: torch.linalg.cholesky(symmetric(a)),
    "solve": lambda s, a, b: torch.linalg.solve(turned(a, s["ta"]), b),
    "solve_triangular": triangular,
    "det": lambda s, a: torch.linalg.det(a),
    "linalg_slogdet": lambda s, a: torch.stack(tuple(torch.linalg.slogdet(a)), -1),
    "linalg_qr": lambda s, a: rows(a.shape[:-2], *torch.linalg.qr(a)),
    "linalg_eigh": eigh,
    "linalg_svd": svd,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "max_pool": max_pool,
    "max_pool_indices": lambda s, x: max_pool(s, x, True),
    "avg_pool": avg_pool,
    "adaptive_avg_pool": adaptive("adaptive_avg_pool"),
    "adaptive_max_pool": adaptive("adaptive_max_pool"),
    "resample": resample,
    "mse": lambda s, x, t, w=None: F.mse_loss(x, t, reduction=s["reduction"]) if w is None
    else getattr(w * (x - t) ** 2, s["reduction"])(),
    "bce": lambda s, x, t, w=None: F.binary_cross_entropy(x, t, w, reduction=s["reduction"]),
    "l1": lambda s, x, t: F.l1_loss(x, t, reduction=s["reduction"]),
    "huber": lambda s, x, t: F.huber_loss(x, t, s["reduction"], s["delta"]),
    "smooth_l1": lambda s, x, t: F.smooth_l1_loss(x, t, reduction=s["reduction"], beta=s["beta"]),
    "hinge": lambda s, x, t: reduce(s, torch.clamp(s["margin"] - t * x, min=0)),
    "hinge_embedding": lambda s, x, t: F.hinge_embedding_loss(x, t, s["margin"],
                                                              reduction=s["reduction"]),
    "kl_div": lambda s, x, t: F.kl_div(x, t, reduction=s["reduction"], log_target=s["log_target"]),
})


def optional(s, tensors, *names):
    """The tensors of a case by name, None where they were left out."""
    given = dict(zip(s["names"], tensors))
    return [given.get(name) for name in names]


def layer_norm(s, *t):
    x, w, b = optional(s, t, "x", "weight", "bias")
    return F.layer_norm(x, x.shape[x.dim() - int(s["axes"]):], w, b, s["eps"])


def rms_norm(s, *t):
    x, w = optional(s, t, "x", "weight")
    axes = list(range(-int(s["axes"]), 0))
    y = x * torch.rsqrt((x * x).mean(axes, keepdim=True) + s["eps"])
    return y if w is None else y * w


def group_norm(s, *t):
    x, w, b = optional(s, t, "x", "weight", "bias")
    return F.group_norm(x, int(s["groups"]), w, b, s["eps"])


def batch_norm(s, *t):
    x, w, b = optional(s, t, "x", "weight", "bias")
    if not x.numel():  # PyTorch refuses
        return x * w.reshape(1, -1, 1) + b.reshape(1, -1, 1)
    return F.batch_norm(x, None, None, w, b, True, s["momentum"], s["eps"])


def batch_norm_fixed(s, *t):
    x, mean, var, w, b = optional(s, t, "x", "mean", "var", "weight", "bias")
    return F.batch_norm(x, mean, var, w, b, False, 0, s["eps"])


def bce_logits(s, *t):
    x, y, w, q = optional(s, t, "input", "target", "weight", "pos_weight")
    return F.binary_cross_entropy_with_logits(x, y, w, reduction=s["reduction"], pos_weight=q)


def focal(s, x, t):
    p, ce = torch.sigmoid(x), F.binary_cross_entropy_with_logits(x, t, reduction="none")
    y = ce * (1 - p * t - (1 - p) * (1 - t)) ** s["gamma"]
    return reduce(s, y if s["alpha"] < 0 else y * (s["alpha"] * t + (1 - s["alpha"]) * (1 - t)))


def target_of(t):
    return t if t.is_floating_point() else t.long()


def cross_entropy(s, *t):
    x, y, w = optional(s, t, "input", "target", "weight")
    return F.cross_entropy(x, target_of(y), w, ignore_index=int(s["ignore_index"]),
                           reduction=s["reduction"], label_smoothing=s["label_smoothing"])


def nll_loss(s, *t):
    x, y, w = optional(s, t, "input", "target", "weight")
    return F.nll_loss(x, y.long(), w, ignore_index=int(s["ignore_index"]),
                      reduction=s["reduction"])


def attention(s, *t):
    q, k, v, mask = optional(s, t, "q", "k", "v", "mask")
    score = q @ k.transpose(-1, -2) * (s["scale"] or q.shape[-1] ** -0.5)
    if mask is not None:
        score = score.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else score + mask
    if s["causal"]:
        score = score.masked_fill(~torch.ones_like(score, dtype=torch.bool).tril(), -torch.inf)
    y = torch.softmax(score, -1)
    if s["p"] > 0:  # draws are mlua's own
        return None
    return torch.nan_to_num(y) @ v


def recurrent(cell):
    """A layer of PyTorch's gates, step by step: cell(z, h w' + b, h, c) gives h, c."""
    def layer(s, *t):
        z, w, b, h, c = optional(s, t, "z", "w", "b", "h0", "c0")
        zero = z.new_zeros(z.shape[1], w.shape[1])
        h, c = zero if h is None else h, zero if c is None else c
        hs, cs = [None] * len(z), [None] * len(z)
        for i in (reversed if s["reverse"] else list)(range(len(z))):
            q = h @ w.T if b is None else h @ w.T + b
            h, c = hs[i], cs[i] = cell(s, z[i], q, h, c)
        empty = z.new_zeros(0, *zero.shape) * z.sum()
        hs, cs = (torch.stack(v) if len(z) else empty for v in (hs, cs))
        return torch.stack([hs, cs]) if cell is lstm_cell else hs
    return layer


def lstm_cell(s, z, q, h, c):
    i, f, g, o = (z + q).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_cell(s, z, q, h, c):
    (zr, zs, zn), (qr, qs, qn) = z.chunk(3, 1), q.chunk(3, 1)
    n, s = torch.tanh(zn + (zr + qr).sigmoid() * qn), (zs + qs).sigmoid()
    return (1 - s) * n + s * h, c


def rnn_cell(s, z, q, h, c):
    return getattr(z + q, s["act"])(), c


OPS.update({
    "lstm": recurrent(lstm_cell),
    "gru": recurrent(gru_cell),
    "rnn": recurrent(rnn_cell),
    "scaled_dot_product_attention": attention,
    "bce_logits": bce_logits,
    "focal": focal,
    "cross_entropy": cross_entropy,
    "nll_loss": nll_loss,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "batch_norm": batch_norm,
    "batch_norm_fixed": batch_norm_fixed,
})


def worst(ours, theirs):
    if list(ours.shape) != list(theirs.shape):
        return "shape %s, PyTorch's %s" % (list(ours.shape), list(theirs.shape))
    if not ours.numel():
        return 0.0
    a, b = ours.double(), theirs.double()
    scale = max(1.0, b.abs().max().item())
    d = (a - b).abs().max().item() / scale
    return d if d == d else "NaN"


def main():
    path = sys.argv[1]
    raw, metadata = read_safetensors(path)
    for i, case in enumerate(json.loads(metadata["cases"])):
        if case["op"] not in OPS:
            print(case["op"], "unknown")
            continue
        s = dict(case["scalars"], names=case["tensors"])
        tensors = [raw["%d.%s" % (i, name)].clone() for name in case["tensors"]]
        for name, t in zip(case["tensors"], tensors):
            if name in case["wants"]:
                t.requires_grad_()
        y = OPS[case["op"]](s, *tensors)
        if y is None:  # of draws of its own
            continue
        parts = [worst(raw["%d.=" % i], y.detach())]
        if case["wants"]:
            (y * raw["%d.*" % i]).sum().backward()
            for name, t in zip(case["tensors"], tensors):
                if name in case["wants"]:
                    grad = t.grad if t.grad is not None else torch.zeros_like(t)
                    parts.append(worst(raw["%d.d.%s" % (i, name)], grad))
        bad = [p for p in parts if isinstance(p, str)]
        print(case["op"], bad[0] if bad else "%.3g" % max(parts))


main()
