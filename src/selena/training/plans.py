"""Named recipes: network, training and distillation for each data set (paper, Section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from selena.networks import NetworkFactory
from selena.networks.mlp import MLP
from selena.training.recipe import Recipe
from selena.types import Dataset


@dataclass(frozen=True)
class Plan:
    """Everything a defense needs to be told about training on one data set.

    Attributes:
        hidden: widths of the MLP's hidden layers.
        activation: of the MLP.
        standardize: whether the MLP normalises its features first.
        training: recipe of the undefended model and of every sub-model.
        distillation: recipe of the student.
        k: number of sub-models.
        l: number of sub-models that do not train on a record.
    """

    hidden: tuple[int, ...] = (1024, 512, 256, 128)
    activation: Literal["tanh", "relu"] = "tanh"
    standardize: bool = False
    training: Recipe = field(default_factory=Recipe)
    distillation: Recipe = field(default_factory=lambda: Recipe(epochs=60))
    k: int = 25
    l: int = 10  # noqa: E741 - the paper's letter

    def network(self, dataset: Dataset) -> NetworkFactory:
        """Return the classifier for `dataset`."""
        return MLP(
            in_features=dataset.records.x[0].numel(),
            num_classes=dataset.num_classes,
            hidden=self.hidden,
            activation=self.activation,
            standardize=self.standardize,
        )


PLANS: dict[str, Plan] = {
    # The paper's settings.
    "purchase100": Plan(),
    "texas100": Plan(
        training=Recipe(batch_size=128, epochs=20),
        distillation=Recipe(batch_size=128, epochs=30),
    ),
    # The paper does not use these sets: its network, with steps fit to their size.
    "location30": Plan(
        training=Recipe(batch_size=64, epochs=50),
        distillation=Recipe(batch_size=64, epochs=50),
    ),
    "digits": Plan(
        hidden=(256, 128),
        training=Recipe(batch_size=64, epochs=50),
        distillation=Recipe(batch_size=64, epochs=50),
    ),
    "tabular": Plan(
        hidden=(512, 256, 128),
        standardize=True,
        training=Recipe(batch_size=128, epochs=50),
        distillation=Recipe(batch_size=128, epochs=50),
    ),
}
