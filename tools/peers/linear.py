"""relu(x wT + b) of several shapes: forward; or forward and all gradients."""

import torch

import peer


def build(options):
    m, k, n = (int(options[name]) for name in ("m", "k", "n"))
    layer = torch.nn.Linear(k, n)
    train = options["work"] == "train"
    inputs = [torch.randn(m, k, requires_grad=train) for _ in range(4)]
    gradient = torch.randn(m, n)

    def forward(i):
        with torch.no_grad():
            return torch.relu_(layer(inputs[i % 4]))

    def step(i):
        x = inputs[i % 4]
        x.grad = layer.weight.grad = layer.bias.grad = None
        torch.relu_(layer(x)).backward(gradient)

    return peer.loop_of(step if train else forward)


if __name__ == "__main__":
    peer.serve(build)
