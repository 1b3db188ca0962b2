"""Trains DLRM on what tools/compare-census prepared, and prints its test AUC and log loss.

  census.py FOLDER

FOLDER/census.safetensors has the configuration (metadata: batch, lr, dim, bottom, top), the initial
weights (init.*), the rows (train.* and test.*: dense, ids [N, tables], label) and the order: the
row numbers of all training steps, one after the other.
"""

import sys

import numpy
import torch

import dlrm
import peer


def auc(score, label):
    """Exact: the Mann-Whitney statistic with ties at one half."""
    order = numpy.argsort(score, kind="stable")
    sorted_score = score[order]
    _, inverse, counts = numpy.unique(sorted_score, return_inverse=True, return_counts=True)
    last = numpy.cumsum(counts)
    ranks = numpy.empty(len(score))
    ranks[order] = ((last - counts + 1 + last) / 2)[inverse]
    positives = int(label.sum())
    negatives = len(label) - positives
    above = ranks[label == 1].sum() - positives * (positives + 1) / 2
    return above / (positives * negatives)


def main(folder):
    data, config = peer.read_safetensors(folder + "/census.safetensors")
    sizes = dlrm.numbers(config["tables"])
    model = dlrm.DLRM(int(config["dim"]), sizes, dlrm.numbers(config["bottom"]),
                      dlrm.numbers(config["top"]))
    state = model.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(data["init." + name].view_as(tensor))

    peer.set_threads(1, peer.cores)
    batch, order = int(config["batch"]), data["order"]
    offsets = torch.arange(batch)

    def forward(part, rows):
        ids = data[part + ".ids"][rows]
        one = offsets if len(ids) == batch else torch.arange(len(ids))
        return model(data[part + ".dense"][rows], [(column, one) for column in ids.unbind(1)])

    criterion = torch.nn.BCELoss()
    optimiser = torch.optim.SGD(model.parameters(), lr=float(config["lr"]))
    for start in range(0, len(order), batch):
        rows = order[start:start + batch]
        loss = criterion(forward("train", rows), data["train.label"][rows].view(-1, 1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    label = data["test.label"].view(-1).double()
    with torch.no_grad():
        every = torch.arange(len(label))
        score = torch.cat([forward("test", rows) for rows in every.split(4096)]).view(-1).double()
    clipped = score.clamp(1e-12, 1 - 1e-12)
    loss = -(label * clipped.log() + (1 - label) * (1 - clipped).log()).mean()
    print(f"auc={auc(score.numpy(), label.numpy()):.9f} log_loss={float(loss):.9f}")
    print("version", peer.version())


if __name__ == "__main__":
    main(sys.argv[1])
