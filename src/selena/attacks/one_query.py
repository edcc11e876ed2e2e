"""Asks for one label of a perturbed record, which only a model that trained on it gets right.

OSLO: Peng et al., "OSLO: One-Shot Label-Only Membership Inference Attacks", NeurIPS 2024. The
attacker trains surrogates on records that the target did not train on. For each record it makes the
smallest perturbation with which the surrogates misclassify it, and asks the target for the label of
the perturbed record. The perturbation should transfer to a target that never saw the record, while
a target that trained on it should keep the label. The attack aims at few and mostly right
accusations: read its precision and recall (`selena.metrics.precision_and_recall`).

Half of the surrogates make the perturbation, step by step: signs of gradients with momentum for
numbers and pixels, the most harmful bit for binary records. The other half decide when it is
enough: when their mean probability p of the label is below a threshold chosen on known records.

    score(x) = 1[target's label of x' is y] - p(y | x')

is the paper's decision, with p to order records of equal decisions. The paper attacks models of
images; bits and numbers are an extension.

Cost: 1 query per record and, while fitting, 1 per known record and threshold that is tried; 8
trainings of a surrogate on half of the known non-members. `yoqo` trains surrogates with and without
each record instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selena.attacks.holdout import check_share, hold_out
from selena.attacks.perturbation import Moves
from selena.attacks.robustness import fitted_accuracy
from selena.errors import ConfigError, DataError
from selena.networks import NetworkFactory
from selena.seeding import child_seed, torch_generator
from selena.training.batches import in_chunks
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Access, Dataset, Family, MembershipSets, Needs, Oracle, Records
from selena.workspace import Workspace

_AT_ONCE = 512


@dataclass(frozen=True)
class OneQueryAttack:
    """Scores a record by whether one perturbed copy keeps its label.

    Attributes:
        network: builds a surrogate.
        num_classes: number of classes.
        recipe: how a surrogate is trained.
        surrogates: number of surrogates that make perturbations; as many others decide when they
            suffice.
        thresholds: mean probabilities of the label at which a perturbation suffices, each in
            (0, 1); the best one on known records is used.
        steps: most steps of a perturbation, or most flipped bits of a binary record.
        size: size of a step in standard deviations of each feature over the known records; for
            images in [0, 1].
        held_out: share of the known non-members that no surrogate trains on, in (0, 1); the
            threshold is chosen on them and on known members.
    """

    name: ClassVar[str] = "one_query"
    family: ClassVar[Family] = "label-only"
    access: ClassVar[Access] = "label"
    needs: ClassVar[Needs] = "features"

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    surrogates: int = 4
    thresholds: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4)
    steps: int = 20
    size: float = 0.05
    held_out: float = 0.3

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> OneQueryAttack:
        """Return the attack with surrogates that train as `plan` says."""
        size = 1 / 255 if data.features == "image" else 0.05
        recipe = replace(plan.training, selection="last")
        return cls(plan.network(data), data.num_classes, recipe, size=size)

    def __post_init__(self) -> None:
        check_share(self.held_out)
        if self.surrogates < 1 or self.steps < 1 or not self.size > 0:
            raise ConfigError(
                "surrogates and steps must be at least 1, and size above 0; got "
                f"{self.surrogates}, {self.steps} and {self.size}."
            )
        if not self.thresholds or not all(0 < each < 1 for each in self.thresholds):
            raise ConfigError(
                f"thresholds are {self.thresholds}; give probabilities between 0 and 1."
            )

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> OneQueryScorer:
        """Train surrogates on known non-members, and choose the threshold on other known records.

        Raises:
            DataError: fewer than two known members or non-members, or too few of the latter to
                halve them.
        """
        workspace = workspace or Workspace()
        train, rest = hold_out(known, self.held_out, seed)
        others = train.non_members
        if len(others) < 2:
            raise DataError(
                f"{len(others)} known non-members are too few to train surrogates on halves of "
                "them. Give more."
            )
        networks = self._train(others, seed, workspace)
        device = workspace.torch_device
        calibration = MembershipSets(known.members, rest.non_members)
        perturb = Perturbation(
            makers=networks[: self.surrogates],
            judges=networks[self.surrogates :],
            moves=Moves.fitting(known, steps=self.steps, size=self.size, device=device),
        )
        records, truth = calibration.joined()
        scorers = [
            OneQueryScorer(oracle, perturb, threshold, calibration)
            for threshold in dict.fromkeys(self.thresholds)
        ]
        fits = [fitted_accuracy(each.score(records).numpy(), truth.numpy()) for each in scorers]
        return scorers[fits.index(max(fits))]

    def _train(self, others: Records, seed: int, workspace: Workspace) -> list[nn.Module]:
        jobs = []
        for i in range(2 * self.surrogates):
            order = torch.randperm(
                len(others), generator=torch_generator(seed, self.name, "half", i)
            )
            rows = order[: max(1, len(others) // 2)].sort().values
            jobs.append(Job(f"surrogate-{i}", rows, child_seed(seed, self.name, i)))
        return fit_networks(
            self.network,
            Examples(others.x, others.y),
            jobs,
            self.recipe,
            description="Surrogates",
            workspace=workspace,
        )


@dataclass(frozen=True, eq=False)
class Perturbation:
    """Changes records until networks that never saw them predict other labels.

    Attributes:
        makers: networks whose loss a step increases.
        judges: networks that decide when it is enough.
        moves: how a step changes a record.
    """

    makers: Sequence[nn.Module]
    judges: Sequence[nn.Module]
    moves: Moves

    def __call__(
        self, x: Shaped[Tensor, "n *features"], y: Int[Tensor, " n"], threshold: float
    ) -> tuple[Float[Tensor, "n *features"], Float[Tensor, " n"]]:
        """Return changed records, and the judges' mean probability of their labels.

        A record stops changing when that probability is at most `threshold`, or after all steps.
        """
        y = y.to(self.moves.device)
        p = torch.empty(len(y), dtype=torch.float64, device=self.moves.device)

        def goes_on(changed: Tensor, rows: Int[Tensor, " m"]) -> Bool[Tensor, " m"]:
            p[rows] = self._probability(changed, y[rows])
            return p[rows] > threshold

        def gradient(changed: Tensor, rows: Int[Tensor, " m"]) -> Tensor:
            return self._gradient(changed, y[rows])

        return self.moves.climb(x, gradient, goes_on).cpu(), p.cpu()

    def _probability(self, x: Tensor, y: Tensor) -> Float[Tensor, " n"]:
        with torch.no_grad():
            each = [network(x).double().softmax(dim=1) for network in self.judges]
        return torch.stack(each).mean(dim=0).gather(1, y[:, None]).squeeze(1)

    def _gradient(self, x: Tensor, y: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        losses = [cross_entropy(network(x), y, reduction="sum") for network in self.makers]
        (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), x)
        return gradient


@dataclass(frozen=True)
class OneQueryScorer:
    """Scores records by surrogates, a threshold, and the target.

    Attributes:
        oracle: answers the queries.
        perturb: changes records.
        threshold: the judges' probability at which a change is enough.
        calibration: known members, and the known non-members that no surrogate trained on.
    """

    oracle: Oracle
    perturb: Perturbation
    threshold: float
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return 1 - p for a record that keeps its label, else -p, float64."""
        scores = torch.empty(len(candidates), dtype=torch.float64)
        for part in in_chunks(len(candidates), _AT_ONCE):
            x, y = candidates.x[part], candidates.y[part]
            changed, p = self.perturb(x, y, self.threshold)
            if self.perturb.moves.bits:
                changed = changed.to(torch.uint8)
            scores[part] = (self.oracle.labels(changed) == y).double() - p
        return scores
