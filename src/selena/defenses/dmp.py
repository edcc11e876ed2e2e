"""DMP, distillation for membership privacy: the student never trains on a member.

Shejwalkar & Houmansadr, "Membership Privacy for Machine Learning Models Through Knowledge
Transfer", AAAI 2021, Section 3. An ordinary teacher trains on the members. The student learns the
teacher's answers to reference records, which are not members.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from jaxtyping import Float, Int
from torch import Tensor

from selena.data.checks import check_records, check_same_features
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
class DMP:
    """Trains a teacher on the members, and a student on its answers to the validation records.

    The validation records are the reference records, and their labels are not used. With few of
    them the student is less accurate.

    Attributes:
        network: builds teacher and student.
        num_classes: number of classes.
        recipe: how the teacher is trained.
        distillation: how the student is trained.
        temperature: the teacher's logits are divided by it, > 0. A higher one reveals less about
            each member and more about the similarity of classes.
        kept_share: share of the reference records on which the student trains, in (0, 1]; those
            with the teacher's most confident predictions (Section 3.2).
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    distillation: Recipe
    _: KW_ONLY
    temperature: float = 1.0
    kept_share: float = 1.0

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> DMP:
        """Return the defense that `plan` describes."""
        return cls(plan.network(data), data.num_classes, plan.training, plan.distillation)

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 < self.kept_share <= 1:
            raise ConfigError(
                "DMP needs temperature > 0 and kept_share in (0, 1]; got "
                f"{self.temperature}, {self.kept_share}."
            )

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> NetworkModel:
        """Train the teacher on `train`, and the student on its answers to `validation`.

        Raises:
            DataError: invalid records in either set.
        """
        check_records(train, num_classes=self.num_classes, what="training records")
        what = "validation records (the reference records of DMP)"
        check_records(validation, num_classes=self.num_classes, what=what)
        check_same_features(train, validation, what="training and validation records")
        teacher = fit_single(
            self.network,
            self.num_classes,
            self.recipe,
            train,
            validation,
            name="dmp-teacher",
            seed=child_seed(seed, "teacher"),
            workspace=workspace,
        )
        answers = (teacher.logits(validation.x) / self.temperature).softmax(dim=1)
        rows = surest(answers, max(1, round(self.kept_share * len(validation))))
        return fit_single(
            self.network,
            self.num_classes,
            self.distillation,
            validation.take(rows),
            validation,
            name="dmp",
            seed=child_seed(seed, "student"),
            targets=answers[rows],
            workspace=workspace,
        )

    def restore(self, state: dict[str, Tensor]) -> NetworkModel:
        """Rebuild the student from its `state`."""
        return restore_network(self.network, self.num_classes, state)


def surest(answers: Float[Tensor, "n c"], count: int) -> Int[Tensor, " m"]:
    """Return the rows of the `count` predictions of lowest entropy, in ascending row order."""
    entropy = -answers.xlogy(answers).sum(dim=1)
    return entropy.argsort(stable=True)[:count].sort().values
