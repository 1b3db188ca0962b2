"""What the operations of mlua's cards are in PyTorch; compares results and gradients.

Usage: torch_ops.py FILE.safetensors, whose metadata "cases" is a JSON list of
{ op, tensors: names in order, scalars: { name: value }, wants: names with a gradient }.
Tensors are called "CASE.NAME"; "CASE.=" is mlua's result, "CASE.w" what it is multiplied with before
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


def same(name):
    return lambda s, *t: getattr(torch, name)(*t)


def functional(name, *scalars):
    return lambda s, *t: getattr(F, name)(*t, *[s[k] for k in scalars])


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
    "clamp": lambda s, x: torch.clamp(x, s["lo"], s["hi"]),
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
    "matmul": lambda s, a, b: (a.T if s["ta"] else a) @ (b.T if s["tb"] else b),
    "mse": lambda s, x, t, w=None: F.mse_loss(x, t, reduction=s["reduction"]) if w is None
    else getattr(w * (x - t) ** 2, s["reduction"])(),
    "bce": lambda s, x, t, w=None: F.binary_cross_entropy(x, t, w, reduction=s["reduction"]),
    "bce_logits": lambda s, x, t, w=None: F.binary_cross_entropy_with_logits(
        x, t, w, reduction=s["reduction"]),
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
        s = case["scalars"]
        tensors = [raw["%d.%s" % (i, name)].clone() for name in case["tensors"]]
        for name, t in zip(case["tensors"], tensors):
            if name in case["wants"]:
                t.requires_grad_()
        y = OPS[case["op"]](s, *tensors)
        parts = [worst(raw["%d.=" % i], y.detach())]
        if case["wants"]:
            (y * raw["%d.w" % i]).sum().backward()
            for name, t in zip(case["tensors"], tensors):
                if name in case["wants"]:
                    grad = t.grad if t.grad is not None else torch.zeros_like(t)
                    parts.append(worst(raw["%d.d.%s" % (i, name)], grad))
        bad = [p for p in parts if isinstance(p, str)]
        print(case["op"], bad[0] if bad else "%.3g" % max(parts))


main()
