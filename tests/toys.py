"""Small records and networks that several tests share."""

from __future__ import annotations

import torch

from selena.networks.mlp import MLP
from selena.seeding import torch_generator
from selena.training.recipe import Recipe
from selena.types import Records

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


def subjects_of(records: Records) -> torch.Tensor:
    """The subjects of records that have some."""
    assert records.subjects is not None
    return records.subjects
