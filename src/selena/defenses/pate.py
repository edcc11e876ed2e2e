"""PATE: teachers of disjoint members vote with noise, and a student learns the winners.

Papernot et al., "Semi-supervised Knowledge Transfer for Deep Learning from Private Training Data",
ICLR 2017 (LNMax), and "Scalable Private Learning with PATE", ICLR 2018, Section 4.1 (GNMax).

The bound is independent of the data. A hash of its content or subject assigns each record to one
teacher, regardless of the other records. So one record changes one vote per query: one count falls
by 1 and another rises by 1. All answers together are Gaussian-private with
mu = sqrt(2 * queries) / noise (Dong, Roth & Su 2022). With Laplace noise of scale b, each answer is
(2 / b)-private, and the bounds of `queries` answers are composed.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from selena.content.keyed import uniform_by_content
from selena.data.checks import check_records, check_same_features
from selena.defenses.dp_sgd import DPModel
from selena.defenses.single import fit_single
from selena.errors import ConfigError, StoreError, unknown_name
from selena.metrics.one_run import epsilon_of_gaussian
from selena.networks import NetworkFactory
from selena.seeding import child_seed, numpy_generator
from selena.training.checkpoint import select
from selena.training.engine import fit_networks
from selena.training.inference import predict
from selena.training.job import Examples, Job
from selena.training.model import restore_network
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Dataset, Records
from selena.workspace import Workspace

Noise = Literal["gaussian", "laplace"]


@dataclass(frozen=True)
class PATE:
    """Trains teachers on disjoint parts of the members, and a student on their noisy votes.

    The student trains only on validation records, whose labels are not used. The model states the
    epsilon of the votes at `delta`; adjacent sets differ by one record, or by one subject if
    records have subjects.

    Attributes:
        network: builds teachers and student.
        num_classes: number of classes.
        recipe: how a teacher is trained.
        distillation: how the student is trained.
        n_teachers: number of teachers, >= 2.
        noise: "gaussian" (GNMax) or "laplace" (LNMax) noise on the votes of each class.
        noise_scale: standard deviation of Gaussian noise, or scale of Laplace noise, in votes,
            >= 0; 0 states no finite epsilon.
        queries: number of validation records on which the teachers vote, >= 1; None for all.
            Fewer give a smaller epsilon and a less accurate student.
        delta: the delta for which epsilon is stated, in (0, 1); well below 1 / n.
    """

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    distillation: Recipe
    _: KW_ONLY
    n_teachers: int = 10
    noise: Noise = "gaussian"
    noise_scale: float = 1.0
    queries: int | None = None
    delta: float = 1e-5

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> PATE:
        """Return the defense that `plan` describes."""
        return cls(plan.network(data), data.num_classes, plan.training, plan.distillation)

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise unknown_name("noise", self.noise, get_args(Noise))
        if self.n_teachers < 2 or not self.noise_scale >= 0 or not 0 < self.delta < 1:
            raise ConfigError(
                "PATE needs n_teachers >= 2, noise_scale >= 0 and delta in (0, 1); got "
                f"{self.n_teachers}, {self.noise_scale}, {self.delta}."
            )
        if self.queries is not None and self.queries < 1:
            raise ConfigError(f"queries is {self.queries}; it must be at least 1.")

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> DPModel:
        """Train the teachers on `train`, and the student on their votes about `validation`.

        Raises:
            DataError: invalid records in either set.
        """
        workspace = workspace or Workspace()
        check_records(train, num_classes=self.num_classes, what="training records")
        what = "validation records (on which the teachers of PATE vote)"
        check_records(validation, num_classes=self.num_classes, what=what)
        check_same_features(train, validation, what="training and validation records")
        asked = validation.take(torch.arange(min(len(validation), self.queries or len(validation))))
        winners = self._noisy_winners(self._votes(train, asked, validation, seed, workspace), seed)
        student = fit_single(
            self.network,
            self.num_classes,
            self.distillation,
            asked,
            validation,
            name="pate-student",
            seed=child_seed(seed, "student"),
            targets=winners,
            workspace=workspace,
        )
        return DPModel(student, self.epsilon(len(asked)), self.delta)

    def epsilon(self, queries: int) -> float:
        """Return epsilon at `delta` of `queries` answers."""
        if self.noise_scale == 0:
            return math.inf
        if self.noise == "gaussian":
            return epsilon_of_gaussian(math.sqrt(2 * queries) / self.noise_scale, self.delta)
        each = 2 / self.noise_scale
        # The smaller of two bounds: sum of epsilons, or concentrated (Bun & Steinke 2016).
        rho = queries * each**2 / 2
        return min(queries * each, rho + 2 * math.sqrt(rho * math.log(1 / self.delta)))

    def restore(self, state: dict[str, Tensor]) -> DPModel:
        """Rebuild the student from its `state`."""
        if "epsilon" not in state:
            raise StoreError(f"This is not the state of PATE: it holds {sorted(state)[:5]}.")
        model = restore_network(self.network, self.num_classes, select(state, "model"))
        return DPModel(model, float(state["epsilon"]), float(state["delta"]))

    def _votes(
        self, train: Records, asked: Records, validation: Records, seed: int, workspace: Workspace
    ) -> Int[Tensor, "q c"]:
        """Return the number of votes per class; a teacher without records does not vote."""
        teacher = teachers_of(train, self.n_teachers, child_seed(seed, "parts"))
        jobs = [
            Job(f"pate-teacher-{i}", teacher == i, child_seed(seed, "teacher", i))
            for i in range(self.n_teachers)
            if bool((teacher == i).any())
        ]
        networks = fit_networks(
            self.network,
            Examples(train.x, train.y),
            jobs,
            self.recipe,
            validation=Examples(validation.x, validation.y),
            description=f"PATE, {len(jobs)} teachers",
            workspace=workspace,
        )
        votes = torch.zeros(len(asked), self.num_classes, dtype=torch.int64)
        for network in networks:
            label = predict(network, asked.x, device=workspace.device).argmax(dim=1)
            votes += one_hot(label, self.num_classes)
        return votes

    def _noisy_winners(self, votes: Int[Tensor, "q c"], seed: int) -> Int[Tensor, " q"]:
        generator, shape = numpy_generator(seed, "votes"), tuple(votes.shape)
        draw = generator.normal if self.noise == "gaussian" else generator.laplace
        noise = torch.from_numpy(draw(0.0, self.noise_scale, shape))
        return (votes + noise).argmax(dim=1)


def teachers_of(train: Records, n_teachers: int, key: int) -> Int[Tensor, " n"]:
    """Return the teacher of each record: a keyed hash of its subject, or else of its content.

    It depends on that record only, so adding or removing one changes no other record's teacher.
    """
    drawn = uniform_by_content(train.x, key)
    if train.subjects is not None:
        by_subject = uniform_by_content(_as_features(train.subjects), child_seed(key, "subjects"))
        drawn = torch.where(train.subjects >= 0, by_subject, drawn)
    return (drawn * n_teachers).long()


def _as_features(subjects: Int[Tensor, " n"]) -> Float[Tensor, "n 8"]:
    """Return the bytes of each number as features, for the hash of features."""
    return subjects.contiguous().view(torch.uint8).view(-1, 8).float()
