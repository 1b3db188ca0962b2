"""Softmax, norms, cross-entropy and dropout of large tensors: forward; or forward and all gradients."""

import torch
import torch.nn.functional as F

import peer


def rms_norm(x, w):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * w


def build(options):
    rows, width, images, channels, side = (
        int(options[name]) for name in ("rows", "width", "images", "channels", "side"))
    name, train = options["name"], options["work"] == "train"
    of_images = name in ("batch_norm", "group_norm")
    sizes = (images, channels, side, side) if of_images else (rows, width)
    x = torch.randn(sizes, requires_grad=train)
    n = channels if of_images else width
    w, b = torch.ones(n, requires_grad=train), torch.zeros(n, requires_grad=train)
    mean, var = torch.zeros(n), torch.ones(n)
    ids, gradient = torch.randint(width, (rows,)), torch.randn(sizes)
    run = {
        "softmax": lambda: torch.softmax(x, -1),
        "log_softmax": lambda: torch.log_softmax(x, -1),
        "layer_norm": lambda: F.layer_norm(x, (width,), w, b),
        "rms_norm": lambda: rms_norm(x, w),
        "batch_norm": lambda: F.batch_norm(x, mean, var, w, b, True),
        "group_norm": lambda: F.group_norm(x, 32, w, b),
        "cross_entropy": lambda: F.cross_entropy(x, ids),
        "dropout": lambda: F.dropout(x, 0.1),
    }[name]

    def forward(_):
        with torch.no_grad():
            run()

    def step(_):
        x.grad = w.grad = b.grad = None
        y = run()
        y.backward() if y.dim() == 0 else y.backward(gradient)

    return peer.loop_of(step if train else forward)


if __name__ == "__main__":
    peer.serve(build)
