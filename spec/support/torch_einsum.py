"""Compares einsum with PyTorch's. Usage: torch_einsum.py FILE.safetensors, whose metadata "cases" is a
JSON list of { equation, n }; tensors "CASE.K", the result "CASE.=", its weights "CASE.w", gradients
"CASE.dK". Prints a line a case: the equation, a tab, the largest difference."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../tools/peers"))
import torch
from peer import read_safetensors

raw, metadata = read_safetensors(sys.argv[1])
for i, case in enumerate(json.loads(metadata["cases"]), 1):
    xs = [raw["%d.%d" % (i, k + 1)].clone().requires_grad_() for k in range(case["n"])]
    y = torch.einsum(case["equation"], *xs)
    (y * raw["%d.w" % i]).sum().backward()
    pairs = [(raw["%d.=" % i], y.detach())]
    pairs += [(raw["%d.d%d" % (i, k + 1)], x.grad) for k, x in enumerate(xs)]
    worst = 0.0
    for ours, theirs in pairs:
        if ours.shape != theirs.shape:
            worst = "shape %s, not %s" % (list(ours.shape), list(theirs.shape))
            break
        if ours.numel():
            worst = max(worst, (ours - theirs).abs().max().item())
    print(case["equation"], worst, sep="\t")
