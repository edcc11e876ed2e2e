"""Training written down plainly: one network after another, float32, nothing shared or fused.

The baseline of the training stages. It draws the same weights and batches as the engine does, so
that both end with the same networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from selena.networks import NetworkFactory
from selena.networks.mlp import MLP
from selena.seeding import seeded, torch_generator
from selena.training.batches import shuffled_batches
from selena.training.job import Job
from selena.training.recipe import Recipe

AfterEpoch = Callable[[nn.Module, Job], None]
Targets = Callable[[Tensor], Tensor]


def train(
    factory: NetworkFactory,
    x: Tensor,
    targets: Targets,
    job: Job,
    recipe: Recipe,
    after_epoch: AfterEpoch | None = None,
) -> nn.Module:
    """Return one network trained on `job.rows` of float32 records.

    Args:
        factory: builds it.
        x: all records, float32.
        targets: labels, or rows of probabilities, of the rows it is given.
        job: rows and seed.
        recipe: learning rate, batch size and epochs; the rest is Adam and cross-entropy.
        after_epoch: what is done after each epoch.
    """
    with seeded(job.seed, "weights"):
        network = factory()
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate)
    for epoch in range(recipe.epochs):
        network.train()
        generator = torch_generator(job.seed, "batches", epoch)
        for rows in shuffled_batches(job.rows, recipe.batch_size, generator):
            optimizer.zero_grad()
            functional.cross_entropy(network(x[rows]), targets(rows)).backward()
            optimizer.step()
        if after_epoch is not None:
            after_epoch(network, job)
    return network.eval()


def accuracy(network: nn.Module, x: Tensor, y: Tensor, batch_size: int = 512) -> float:
    """Return the share of records predicted right, batch by batch as in training."""
    network.eval()
    with torch.no_grad():
        parts = zip(x.split(batch_size), y.split(batch_size), strict=True)
        correct = sum(
            int((network(part.float()).argmax(1) == label).sum()) for part, label in parts
        )
    return correct / len(y)


def soft_labels_from_disk(
    factory: MLP, x: Tensor, checkpoints: Sequence[Path], excluded: Tensor
) -> Targets:
    """Return targets that load every sub-model from disk for every batch, as was published."""

    def targets(rows: Tensor) -> Tensor:
        total = torch.zeros(len(rows), factory.num_classes)
        for path, mine in zip(checkpoints, excluded[rows].T, strict=True):
            network = factory()
            network.load_state_dict(torch.load(path, weights_only=True))
            with torch.no_grad():
                total += network(x[rows]).softmax(dim=1) * mine[:, None]
        return total / excluded[rows].sum(dim=1, keepdim=True)

    return targets
