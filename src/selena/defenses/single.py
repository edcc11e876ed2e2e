"""Base class and function for defenses that train one network on all members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from selena.data.checks import check_records
from selena.networks import NetworkFactory
from selena.training.cohort import OnEpoch
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.loss_trace import LossTrace
from selena.training.model import NetworkModel, restore_network
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class SingleNetwork:
    """The base of defenses that train one network on all members.

    A subclass sets `name` and overrides the targets, the recipe (with its loss and optimizer), or
    the architecture.

    Attributes:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: how it is trained.
    """

    name: ClassVar[str]
    """Name of the kept network and of the progress bar."""

    network: NetworkFactory
    num_classes: int
    recipe: Recipe

    def targets(self, train: Records) -> Shaped[Tensor, "n *target"]:
        """Return the targets: labels, or rows of probabilities (n x classes)."""
        return train.y

    def training_recipe(self, train: Records, validation: Records) -> Recipe:
        """Return how to train on `train`; `validation` holds non-members."""
        return self.recipe

    def architecture(self) -> NetworkFactory:
        """Return the function that builds the network."""
        return self.network

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train on all of `train`.

        Raises:
            DataError: records that cannot be trained on.
        """
        return self._fit(train, validation, seed, workspace, None)

    def fit_with_trace(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> tuple[NetworkModel, LossTrace]:
        """Train as `fit` does, and record the loss of every member after every epoch.

        A network that is found finished in the workspace's folder has no trace.

        Raises:
            DataError: records that cannot be trained on.
        """
        trace = LossTrace(train)
        return self._fit(train, validation, seed, workspace, trace), trace

    def _fit(
        self,
        train: Records,
        validation: Records,
        seed: int,
        workspace: Workspace | None,
        on_epoch: OnEpoch | None,
    ) -> NetworkModel:
        check_records(train, num_classes=self.num_classes, what="training records")
        return fit_single(
            self.architecture(),
            self.num_classes,
            self.training_recipe(train, validation),
            train,
            validation,
            name=self.name,
            seed=seed,
            targets=self.targets(train),
            workspace=workspace,
            on_epoch=on_epoch,
        )

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the model from its `state`."""
        return restore_network(self.architecture(), self.num_classes, state)


def fit_single(
    network: NetworkFactory,
    num_classes: int,
    recipe: Recipe,
    train: Records,
    validation: Records,
    *,
    name: str,
    seed: int,
    targets: Shaped[Tensor, "n *target"] | None = None,
    workspace: Workspace | None = None,
    on_epoch: OnEpoch | None = None,
) -> NetworkModel:
    """Train one network on all of `train`.

    Args:
        network: builds the classifier.
        num_classes: number of classes.
        recipe: how it is trained.
        train: members.
        validation: non-members, for `recipe.selection == "validation"`.
        name: name of the kept network and of the progress bar.
        seed: root of every draw.
        targets: targets instead of the labels, such as rows of probabilities.
        workspace: device, progress, and the folder for finished networks and checkpoints.
        on_epoch: see `fit_networks`.

    Raises:
        DataError: records that cannot be trained on.
    """
    workspace = workspace or Workspace()
    check_records(train, num_classes=num_classes, what="training records")
    (fitted,) = fit_networks(
        network,
        Examples(train.x, train.y if targets is None else targets),
        [Job(name, torch.arange(len(train)), seed)],
        recipe,
        validation=Examples(validation.x, validation.y),
        description=name.capitalize(),
        workspace=workspace,
        on_epoch=on_epoch,
    )
    return NetworkModel(fitted, num_classes, workspace.device)
