"""A matrix product of two f32 matrices, each laid out transposed where asked."""

import torch

import peer


def matrices(rows, columns, transposed, batch):
    sizes = (columns, rows) if transposed else (rows, columns)
    t = torch.randn(batch, *sizes) if batch > 1 else torch.randn(*sizes)
    return t.transpose(-1, -2) if transposed else t


def build(options):
    m, n, k, batch = (int(options[name]) for name in ("m", "n", "k", "batch"))
    a = matrices(m, k, options["ta"] == "true", batch)
    b = matrices(k, n, options["tb"] == "true", batch)

    out = torch.matmul(a, b)

    def step(_):
        with torch.no_grad():
            torch.matmul(a, b, out=out)

    return peer.loop_of(step)


if __name__ == "__main__":
    peer.serve(build)
