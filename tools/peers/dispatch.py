"""What one small operation costs: x + y of a few elements."""

import torch

import peer


def build(options):
    size = int(options["size"])
    x, y = torch.ones(size), torch.ones(size)
    x.requires_grad_(options["work"] == "gradient")

    def loop(steps, _first):
        for _ in range(steps):
            x + y  # noqa: B018

    return loop


if __name__ == "__main__":
    peer.serve(build)
