"""Element-wise operations, reductions and optimisers' steps of large tensors."""

import torch
import torch.nn.functional as F

import peer


def build(options):
    rows, width, name = int(options["rows"]), int(options["width"]), options["name"]
    x, y = torch.randn(rows, width), torch.randn(rows, width)
    row, out = torch.randn(width), torch.zeros(rows, width)
    optimisers = {
        "sgd": lambda p: torch.optim.SGD(p, lr=1e-3),
        "momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3),
    }
    if name in optimisers:
        p = torch.zeros(rows, width, requires_grad=True)
        p.grad = y
        opt = optimisers[name]([p])
        return peer.loop_of(lambda _: opt.step())
    run = {
        "add": lambda: torch.add(x, y, out=out),
        "mul_by_a_row": lambda: torch.mul(x, row, out=out),
        "relu": lambda: torch.clamp(x, min=0, out=out),
        "exp": lambda: torch.exp(x, out=out),
        "gelu": lambda: torch._C._nn.gelu(x, out=out),
        "sigmoid": lambda: torch.sigmoid(x, out=out),
        "add_to_a_new_tensor": lambda: x + y,
        "sum": lambda: x.sum(),
        "sum_of_columns": lambda: x.sum(0),
        "sum_of_rows": lambda: x.sum(1),
        "max_of_rows": lambda: x.amax(1),
        "variance_of_rows": lambda: x.var(1),
        "argmax_of_rows": lambda: x.argmax(1),
    }[name]

    def step(_):
        with torch.no_grad():
            run()

    return peer.loop_of(step)


if __name__ == "__main__":
    peer.serve(build)
