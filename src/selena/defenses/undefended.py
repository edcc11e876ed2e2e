"""The undefended model: ordinary training, the yardstick of every defense."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from selena.defenses.single import fit_single
from selena.networks import NetworkFactory
from selena.training.model import NetworkModel, restore_network
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class Undefended:
    """Cross-entropy training on the members' labels, nothing else.

    Attributes:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: how it is trained.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train on all of `train`."""
        return fit_single(
            self.network,
            self.num_classes,
            self.recipe,
            train,
            validation,
            name="undefended",
            seed=seed,
            workspace=workspace,
        )

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the model from its `state`."""
        return restore_network(self.network, self.num_classes, state)
