"""The undefended model: ordinary training, the yardstick of every defense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from selena.checks import check_records
from selena.defenses.single import fit_single
from selena.networks import NetworkFactory
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.model import NetworkModel, restore_network
from selena.training.recipe import Recipe
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class Undefended:
    """Trains on the members' labels by cross-entropy, without a defense.

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
        seed: int = 0,
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

    def fit_side_by_side(
        self,
        records: Records,
        masks: Sequence[Bool[Tensor, " n"]],
        validation: Records,
        *,
        seeds: Sequence[int],
        workspace: Workspace,
    ) -> list[NetworkModel]:
        """Return the model of each mask, trained on the records that it marks, as one ensemble.

        Each is what `fit` makes of those records, but for rounding.
        """
        check_records(records, num_classes=self.num_classes, what="training records")
        jobs = [
            Job(f"undefended-{seed}", mask, seed) for mask, seed in zip(masks, seeds, strict=True)
        ]
        networks = fit_networks(
            self.network,
            Examples(records.x, records.y),
            jobs,
            self.recipe,
            validation=Examples(validation.x, validation.y),
            description=f"Undefended, {len(jobs)} networks",
            workspace=workspace,
        )
        return [NetworkModel(network, self.num_classes, workspace.device) for network in networks]

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the model from its `state`."""
        return restore_network(self.network, self.num_classes, state)
