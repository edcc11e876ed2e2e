"""SELENA: Split-AI, then self-distillation into one model.

Tang et al., USENIX Security 2022, Section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from selena.content.near_duplicates import NearDuplicates, check_near_duplicates
from selena.data.checks import check_records
from selena.defenses.split_ai import (
    SplitAI,
    check_sizes,
    draw_non_model_sets,
    mean_prediction,
)
from selena.networks import NetworkFactory
from selena.seeding import child_seed
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.model import NetworkModel, restore_network
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Dataset, Records
from selena.workspace import Workspace

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Selena:
    """Distils a `SplitAI` ensemble into one student, the protected model.

    Attributes:
        network: builds a sub-model, and the student.
        num_classes: number of classes.
        recipe: how each sub-model is trained.
        distillation: how the student is trained.
        n_submodels: number of sub-models.
        n_nonmodels: number of sub-models that do not train on a given record; 1 <= l < k.
        near_duplicates: which training records share a draw because they are near copies; see
            `SplitAI`.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    distillation: Recipe
    _: KW_ONLY
    n_submodels: int = 25
    n_nonmodels: int = 10
    near_duplicates: NearDuplicates = "auto"

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> Selena:
        """Return the defense that `plan` describes."""
        return cls(
            plan.network(data),
            data.num_classes,
            plan.training,
            plan.distillation,
            n_submodels=plan.n_submodels,
            n_nonmodels=plan.n_nonmodels,
            near_duplicates=plan.near_duplicates,
        )

    def __post_init__(self) -> None:
        check_sizes(self.n_submodels, self.n_nonmodels)
        check_near_duplicates(self.near_duplicates)

    @property
    def split_ai(self) -> SplitAI:
        """The first stage."""
        return SplitAI(
            self.network,
            self.num_classes,
            self.recipe,
            n_submodels=self.n_submodels,
            n_nonmodels=self.n_nonmodels,
            near_duplicates=self.near_duplicates,
        )

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train the Split-AI, take its soft labels of the members, and distil the student.

        The soft label of a member is the mean prediction of the sub-models that never saw it;
        no public data is used. The Split-AI is that of `SplitAI.fit` with the same seed.
        """
        workspace = workspace or Workspace()
        teacher = self.split_ai.fit(train, validation, seed=seed, workspace=workspace)
        soft_labels = mean_prediction(
            teacher.submodels, train.x, teacher.sets, self.num_classes, workspace.device
        )
        (student,) = fit_networks(
            self.network,
            Examples(train.x, soft_labels),
            [Job("student", torch.arange(len(train)), child_seed(seed, "student"))],
            self.distillation,
            validation=Examples(validation.x, validation.y),
            description="Self-distillation",
            workspace=workspace,
        )
        return NetworkModel(student, self.num_classes, workspace.device)

    def fit_side_by_side(
        self,
        records: Records,
        masks: Sequence[Bool[Tensor, " n"]],
        validation: Records,
        *,
        seeds: Sequence[int],
        workspace: Workspace,
    ) -> list[NetworkModel]:
        """Return one model per mask, trained on the records that the mask marks.

        All sub-models of all masks train as one ensemble, and then all students. Each model equals
        the result of `fit` on its records, except for rounding.
        """
        check_records(records, num_classes=self.num_classes, what="training records")
        parts = [torch.nonzero(mask).squeeze(1) for mask in masks]
        runs = list(zip(parts, seeds, strict=True))
        sets = [
            draw_non_model_sets(
                records.take(rows),
                self.n_submodels,
                self.n_nonmodels,
                near_duplicates=self.near_duplicates,
                seed=seed,
            )
            for rows, seed in runs
        ]
        jobs = [
            Job(f"submodel-{i}", rows[~mine.without(i)], child_seed(seed, "submodel", i))
            for (rows, seed), mine in zip(runs, sets, strict=True)
            for i in range(self.n_submodels)
        ]
        held_out = Examples(validation.x, validation.y)
        networks = fit_networks(
            self.network,
            Examples(records.x, records.y),
            jobs,
            self.recipe,
            validation=held_out,
            description=f"Split-AI, {len(jobs)} sub-models",
            workspace=workspace,
        )
        teachers = (networks[i * self.n_submodels :][: self.n_submodels] for i in range(len(runs)))
        soft_labels = [
            mean_prediction(teacher, records.x[rows], mine, self.num_classes, workspace.device)
            for teacher, rows, mine in zip(teachers, parts, sets, strict=True)
        ]
        # A record has different soft labels in each run, so the runs' records are concatenated.
        places = torch.arange(sum(map(len, parts))).split([len(rows) for rows in parts])
        students = fit_networks(
            self.network,
            Examples(records.x[torch.cat(parts)], torch.cat(soft_labels)),
            [
                Job("student", mine, child_seed(seed, "student"))
                for mine, seed in zip(places, seeds, strict=True)
            ],
            self.distillation,
            validation=held_out,
            description=f"Self-distillation, {len(runs)} students",
            workspace=workspace,
        )
        return [NetworkModel(network, self.num_classes, workspace.device) for network in students]

    def most_side_by_side(self, records: Records) -> int:
        """Return how many runs on halves of `records` fit into memory together.

        Their sub-models and copies of the records take at most a gigabyte.
        """
        parameters = sum(each.numel() for each in self.network().parameters())
        networks = 4 * parameters * (self.n_submodels + 1)
        features = records.x.nbytes // 2 + 4 * self.num_classes * len(records)
        return max(1, _MOST_BYTES // max(1, networks + features))

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the protected model from its `state`."""
        return restore_network(self.network, self.num_classes, state)
