"""The undefended model: ordinary training, with which defenses are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool
from torch import Tensor

from selena.data.checks import check_records
from selena.defenses.single import SingleNetwork
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.model import NetworkModel
from selena.types import Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class Undefended(SingleNetwork):
    """Cross-entropy training on the members' labels, nothing else."""

    name: ClassVar[str] = "undefended"

    def fit_side_by_side(
        self,
        records: Records,
        masks: Sequence[Bool[Tensor, " n"]],
        validation: Records,
        *,
        seeds: Sequence[int],
        workspace: Workspace,
    ) -> list[NetworkModel]:
        """Return one model per mask, trained on the records that it marks, as one ensemble.

        Each model equals the result of `fit` on those records, except for rounding.
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
