"""All embedding bags of a model: forward; or forward, backward and the SGD update of the rows."""

import torch

import peer

tables = []


def build(options):
    rows, dim, count = int(options["rows"]), int(options["dim"]), int(options["tables"])
    batch = int(options["batch"])
    if not tables:
        tables.extend(
            torch.nn.EmbeddingBag(rows, dim, mode="sum", sparse=True,
                                  _weight=torch.empty(rows, dim).uniform_(-0.001, 0.001))
            for _ in range(count))
    data, _ = peer.read_safetensors(options["data"])
    ids = [step.unbind(0) for step in data["ids"].unbind(0)]  # [steps][table] of [batch * lookups]
    gradient = data["gradient"]
    offsets = torch.arange(0, len(ids[0][0]), len(ids[0][0]) // batch)
    optimiser = torch.optim.SGD([table.weight for table in tables], lr=0.1)

    def forward(k):
        with torch.no_grad():
            return [table(x, offsets) for table, x in zip(tables, ids[k % len(ids)])]

    def train(k):
        out = [table(x, offsets) for table, x in zip(tables, ids[k % len(ids)])]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(out, [gradient] * len(out))
        optimiser.step()

    return peer.loop_of(forward if options["work"] == "forward" else train)


if __name__ == "__main__":
    peer.serve(build)
