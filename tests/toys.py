"""Small records and networks that several tests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from selena.networks.mlp import MLP
from selena.seeding import torch_generator
from selena.training.recipe import Recipe
from selena.types import Dataset, Records

CLASSES, FEATURES = 4, 12
NETWORK = MLP(FEATURES, CLASSES, hidden=(16,))
RECIPE = Recipe(epochs=3, batch_size=16, precision="float32", learning_rate=0.01)
ROUNDING = 1e-3
"""What rounding may make of weights trained by `RECIPE`: a tenth of one step.

Adam divides a gradient by its own size, so it turns rounding into steps where a gradient is next to
nothing. Another batch, order or seed moves weights by whole steps.
"""


def toy_records(n: int, *, seed: int = 0, start: int = 0, bits: bool = False) -> Records:
    """Return noisy class prototypes: learnable, but not without mistakes."""
    prototypes = torch.randn(CLASSES, FEATURES, generator=torch_generator(99, "prototypes"))
    generator = torch_generator(seed, "toy")
    y = torch.arange(n) % CLASSES
    x = prototypes[y] + torch.randn(n, FEATURES, generator=generator)
    return Records((x > 0).to(torch.uint8) if bits else x, y, torch.arange(start, start + n))


def toy_dataset(x: torch.Tensor, y: torch.Tensor | None = None, **settings: Any) -> Dataset:
    """A data set of one class, or of what `settings` say; two members are its default."""
    labels = torch.zeros(len(x), dtype=torch.int64) if y is None else y
    usual = {"name": "toy", "num_classes": 1, "features": "continuous", "recipe": "tabular"}
    usual |= {"n_members": 2, "source": "made up", **settings}
    return Dataset(records=Records(x, labels, torch.arange(len(x))), **usual)  # type: ignore[arg-type]


def subjects_of(records: Records) -> torch.Tensor:
    """The subjects of records that have some."""
    assert records.subjects is not None
    return records.subjects


@dataclass(frozen=True)
class Constant:
    """A target model that answers everything alike."""

    num_classes: int = CLASSES

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), CLASSES)


class Curves:
    """A training log that remembers."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], dict[str, float]] = {}

    def scalars(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        self.points[name, epoch] = dict(values)
