"""The undefended model: ordinary training, the yardstick of every defense."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selena.networks import NetworkFactory
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.model import NetworkModel, restore_network
from selena.training.recipe import Recipe
from selena.types import Records, check_records
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
        workspace = workspace or Workspace()
        check_records(train, num_classes=self.num_classes, what="training records")
        (network,) = fit_networks(
            self.network,
            Examples(train.x, train.y),
            [Job("undefended", torch.arange(len(train)), seed)],
            self.recipe,
            validation=Examples(validation.x, validation.y),
            description="Undefended model",
            workspace=workspace,
        )
        return NetworkModel(network, self.num_classes, workspace.device)

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the model from its `state`."""
        return restore_network(self.network, self.num_classes, state)
