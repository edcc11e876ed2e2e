"""Plain distillation: the student learns from a teacher that trained on the same members.

Hinton, Vinyals, Dean 2015. It is SELENA without Split-AI, so the comparison shows what Split-AI
adds: here the soft label of a member comes from a model that was trained on it.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from torch import Tensor

from selena.defenses.single import fit_single
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.seeding import child_seed
from selena.training.model import NetworkModel, restore_network
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Dataset, Records
from selena.workspace import Workspace


@dataclass(frozen=True)
class Distillation:
    """Trains a teacher on labels and a student on its answers to the same records.

    Attributes:
        network: builds teacher and student.
        num_classes: number of classes.
        recipe: how the teacher is trained.
        distillation: how the student is trained.
        temperature: the teacher's logits are divided by it, > 0; the student's are not.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    distillation: Recipe
    _: KW_ONLY
    temperature: float = 1.0

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> Distillation:
        """Return the defense that `plan` describes."""
        return cls(plan.network(data), data.num_classes, plan.training, plan.distillation)

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}; it must be above 0.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train the teacher on labels, then the student on the teacher's predictions."""
        teacher = fit_single(
            self.network,
            self.num_classes,
            self.recipe,
            train,
            validation,
            name="teacher",
            seed=child_seed(seed, "teacher"),
            workspace=workspace,
        )
        return fit_single(
            self.network,
            self.num_classes,
            self.distillation,
            train,
            validation,
            name="distilled",
            seed=child_seed(seed, "student"),
            targets=(teacher.logits(train.x) / self.temperature).softmax(dim=1),
            workspace=workspace,
        )

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the student from its `state`."""
        return restore_network(self.network, self.num_classes, state)
