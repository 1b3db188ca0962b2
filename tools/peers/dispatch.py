"""What one small operation costs: x + y of a few elements; a small layer and its backward."""

import torch
from torch.nn import functional

import peer


def build(options):
    size, work = int(options["size"]), options["work"]
    x, y, gradient = torch.ones(size), torch.ones(size), torch.ones(size)
    x.requires_grad_(work in ("gradient", "back"))
    rows, w, b = torch.randn(4, 8), torch.randn(8, 8), torch.randn(8)
    w.requires_grad_()
    b.requires_grad_()

    def add(steps, _first):
        for _ in range(steps):
            x + y  # noqa: B018

    def add_and_back(steps, _first):
        for _ in range(steps):
            (x + y).backward(gradient)

    def layer(steps, _first):
        for _ in range(steps):
            functional.linear(rows, w, b).relu_().sum().backward()

    return {"back": add_and_back, "layer": layer}.get(work, add)


if __name__ == "__main__":
    peer.serve(build)
