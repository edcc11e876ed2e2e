"""Bit-flip noise on a trained network of the paper's width, against flips in plain Python.

    python -m benchmarks.flips

The plain side makes the 100 copies of one record after another bit by bit, and asks about them in
one float32 batch. The labels are compared before the clock counts. `utilisation` is that of the
network's part: the arithmetic that the short way needs (all layers but the first, of the first one
the flipped columns), over the rate of matrix products in the same precision.
"""

from __future__ import annotations

import itertools
import time
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.rates import matmul_rate
from selena.attacks.neighbors import flip_patterns
from selena.data import audit_split, load
from selena.defenses.undefended import Undefended
from selena.environment.processor import has_fast_bfloat16
from selena.networks.mlp import MLP
from selena.training.flips import FlipPass
from selena.training.forward import linear_stack
from selena.training.inference import predict
from selena.training.model import NetworkModel
from selena.training.recipe import Recipe

NETWORK, COPIES, FLIPS = MLP(600, 100), 100, 10
RECORDS, PLAIN_RECORDS = 2_048, 64


def plain_labels(model: NetworkModel, x: Tensor, patterns: Tensor) -> Tensor:
    """Return the labels of every record's copies, record by record, bit by bit."""
    labels = []
    positions = [torch.nonzero(pattern).flatten().tolist() for pattern in patterns]
    for record in x:
        copies = []
        for flipped in positions:
            copy = record.clone()
            for position in flipped:
                copy[position] = 1 - copy[position]
            copies.append(copy)
        labels.append(predict(model.network, torch.stack(copies)).argmax(dim=1))
    return torch.stack(labels)


def operations() -> int:
    """Return the operations of the short way to one copy's label."""
    widths = [*NETWORK.hidden, NETWORK.num_classes]
    later = sum(a * b for a, b in itertools.pairwise(widths))
    return 2 * (later + FLIPS * NETWORK.hidden[0])


def run(repeats: int = 3) -> dict[str, Any]:
    """Return the stage, as `benchmarks.attacks.run` does.

    Raises:
        AssertionError: a label is not that of the plain side.
    """
    split = audit_split(load("purchase100-synthetic", size=40_000), n_members=8_000, seed=0)
    undefended = Undefended(NETWORK, NETWORK.num_classes, Recipe(epochs=10))
    model = undefended.fit(split.train, split.validation, seed=0)
    x = split.train.x[:RECORDS]
    patterns = flip_patterns(NETWORK.in_features, FLIPS, COPIES, seed=0)
    labels = model.flipped_labels(x, patterns)
    assert torch.equal(labels[:PLAIN_RECORDS], plain_labels(model, x[:PLAIN_RECORDS], patterns))
    stack, cpu = linear_stack(model.network), torch.device("cpu")
    assert stack is not None
    dtype = torch.bfloat16 if has_fast_bfloat16(cpu) else torch.float32
    network_part = FlipPass(stack, cpu, dtype)
    whole, part, baseline, rates = [], [], [], []
    for _ in range(repeats):
        rates.append(matmul_rate(dtype))
        start = time.perf_counter()
        model.flipped_labels(x, patterns)
        whole.append((time.perf_counter() - start) / RECORDS)
        start = time.perf_counter()
        network_part.labels(x, patterns)
        part.append((time.perf_counter() - start) / RECORDS)
        start = time.perf_counter()
        plain_labels(model, x[:PLAIN_RECORDS], patterns)
        baseline.append((time.perf_counter() - start) / PLAIN_RECORDS)
    stage = {
        "ratio": median(baseline) / median(whole),
        "utilisation": COPIES * operations() / median(part) / median(rates),
        "seconds": median(whole) * RECORDS,
        "baseline_seconds": median(baseline) * RECORDS,
        "records": RECORDS,
        "baseline_records": PLAIN_RECORDS,
        "queries_per_second": COPIES / median(whole),
    }
    return {"stages": {"flip_noise": stage}}


if __name__ == "__main__":
    print(run())
