"""DLRM's training step in PyTorch, as a careful user writes it: the peer of dlrm and tiny.

One EmbeddingBag a table with sparse gradients; the triangle's index made once; SGD; gradients set
to none.  Tried and not kept, as no faster: SGD(foreach=True), Z[:, i, j], index_select, BCEWithLogits.
"""

import torch

import peer


class DLRM(torch.nn.Module):
    def __init__(self, dim, tables, bottom, top):
        super().__init__()
        self.dim = dim
        self.tables = torch.nn.ModuleList(
            torch.nn.EmbeddingBag(rows, dim, mode="sum", sparse=True,
                                  _weight=torch.empty(rows, dim).uniform_(-rows**-0.5, rows**-0.5))
            for rows in tables)
        self.bottom = mlp(bottom, False)
        fields = len(tables) + 1
        self.top = mlp([dim + fields * (fields - 1) // 2] + top, True)
        self.triangle = torch.tensor([i * fields + j for i in range(fields) for j in range(i)])

    def forward(self, dense, bags):
        x = self.bottom(dense)
        rows = [x] + [table(ids, offsets) for table, (ids, offsets) in zip(self.tables, bags)]
        t = torch.cat(rows, 1).view(len(x), -1, self.dim)
        z = torch.bmm(t, t.transpose(1, 2)).flatten(1)[:, self.triangle]
        return self.top(torch.cat([x, z], 1))


def mlp(widths, sigmoid_last):
    layers = []
    for i, (m, n) in enumerate(zip(widths, widths[1:])):
        last = sigmoid_last and i == len(widths) - 2
        activation = torch.nn.Sigmoid() if last else torch.nn.ReLU(inplace=True)
        layers += [torch.nn.Linear(m, n), activation]
    return torch.nn.Sequential(*layers)


def numbers(text):
    return [int(word) for word in text.split(",")]


def batches(path):
    """Every batch of the file that mlua wrote: (dense, [(ids, offsets) by table], label)."""
    data, _ = peer.read_safetensors(path)
    dense, label, lengths, ids = data["dense"], data["label"], data["lengths"], data["ids"]
    steps, tables, batch = lengths.shape
    ends = lengths.flatten(1).sum(1).cumsum(0).tolist()
    out, one = [], torch.arange(batch)
    for k in range(steps):
        of_step = ids[ends[k] - int(lengths[k].sum()):ends[k]]
        of_table = torch.split(of_step, lengths[k].sum(1).tolist())
        if bool((lengths[k] == 1).all()):
            bags = [(x, one) for x in of_table]
        else:
            starts = lengths[k].cumsum(1) - lengths[k]
            bags = list(zip(of_table, starts.unbind(0)))
        out.append((dense[k], bags, label[k]))
    return out


models = {}


def build(options):
    key = tuple(options[name] for name in ("dim", "tables", "bottom", "top"))
    if key not in models:
        models.clear()
        models[key] = DLRM(int(key[0]), *map(numbers, key[1:]))
    model = models[key]
    criterion = torch.nn.BCELoss() if options["loss"] == "bce" else torch.nn.MSELoss()
    optimiser = torch.optim.SGD(model.parameters(), lr=float(options["lr"]))
    data = batches(options["data"])

    def step(k):
        dense, bags, label = data[k % len(data)]
        loss = criterion(model(dense, bags), label)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return peer.loop_of(step)


if __name__ == "__main__":
    peer.serve(build)
