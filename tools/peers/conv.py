"""Convolutions and pools of a ResNet: forward; or forward and all gradients."""

import torch
import torch.nn.functional as F

import peer


def build(options):
    n, c, o, size, kernel, stride, groups = (int(options[name]) for name in (
        "batch", "inputs", "outputs", "size", "kernel", "stride", "groups"))
    work = options["work"]
    x = torch.randn(n, c, size, size)
    w, b = torch.randn(o, c // groups, kernel, kernel), torch.randn(o)
    g = torch.randn(n, o, size // stride, size // stride)
    padding = (kernel - 1) // 2

    def forward(_):
        with torch.no_grad():
            F.conv2d(x, w, b, stride, padding, 1, groups)

    def train(_):
        x.grad = w.grad = b.grad = None
        F.conv2d(x, w, b, stride, padding, 1, groups).backward(g)

    def max_pool(_):
        x.grad = None
        F.max_pool2d(x, kernel, stride, padding).backward(g)

    def avg_pool(_):
        x.grad = None
        F.avg_pool2d(x, kernel, stride, padding).backward(g)

    if work != "forward":
        w.requires_grad_()
        b.requires_grad_()
        if c > 3:
            x.requires_grad_()
    return peer.loop_of({"forward": forward, "train": train, "max_pool": max_pool,
                         "avg_pool": avg_pool}[work])


if __name__ == "__main__":
    peer.serve(build)
