"""A matrix product of two f32 matrices, each laid out transposed where asked."""

import torch

import peer


def build(options):
    m, n, k = (int(options[name]) for name in ("m", "n", "k"))
    a = torch.randn(k, m).T if options["ta"] == "true" else torch.randn(m, k)
    b = torch.randn(n, k).T if options["tb"] == "true" else torch.randn(k, n)
    batch = int(options["batch"])
    if batch > 1:
        a, b = (t.expand(batch, *t.shape).contiguous() for t in (a, b))

    def step(_):
        with torch.no_grad():
            torch.matmul(a, b)

    return peer.loop_of(step)


if __name__ == "__main__":
    peer.serve(build)
