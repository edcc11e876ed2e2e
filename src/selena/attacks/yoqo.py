"""Asks for the label of one changed copy, which only models that saw the record get right.

YOQO: Wu et al., "You Only Query Once: An Efficient Label-Only Membership Inference Attack", ICLR
2024, online. The attacker trains surrogates on halves of the known records and the candidates, so
half of them saw a given record. A copy of the record is then changed until the surrogates that saw
it answer with its label y and the others with t, which is their likeliest class besides y:

    loss(x') = mean over surrogates of CE(f(x'), y) if f saw x, else alpha CE(f(x'), t)

In the paper x is a member if the target answers x' with y. Here surrogates also order records with
the same decision: those that did not see x if the target keeps the label, else those that saw it.

    score(x) = 1 - mean p(y | x') of the others, or -mean p(y | x') of those that saw x

The paper attacks models of images; bits and numbers are an extension. `one_query` needs no
candidates.

Cost: 1 query per record; `runs` trainings on half of the known records and the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selena.attacks.perturbation import Moves
from selena.attacks.pool_index import PoolIndex, content_names
from selena.attacks.reference_training import check_runs, draw_halves, pool_of
from selena.errors import ConfigError
from selena.networks import NetworkFactory
from selena.seeding import child_seed
from selena.training.batches import as_input, in_chunks
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.plans import Plan
from selena.training.recipe import Recipe
from selena.types import Access, Dataset, Family, MembershipSets, Needs, Oracle, Records
from selena.workspace import Workspace

_AT_ONCE = 512


@dataclass(frozen=True)
class YOQOAttack:
    """Scores a record by whether a copy that only models which saw it get right keeps its label.

    Attributes:
        network: builds a surrogate.
        num_classes: number of classes.
        recipe: how a surrogate is trained.
        runs: number of surrogates, an even number from 4 on.
        alpha: weight of the surrogates that did not see a record, above 0.
        enough: a copy is not changed further once its loss is at most this, at least 0.
        steps: most steps of a copy, or most flipped bits of a binary record.
        size: size of a step in standard deviations of each feature over the known records; for
            images in [0, 1].
    """

    name: ClassVar[str] = "yoqo"
    family: ClassVar[Family] = "label-only"
    access: ClassVar[Access] = "label"
    needs: ClassVar[Needs] = "training"

    network: NetworkFactory
    num_classes: int
    recipe: Recipe
    _: KW_ONLY
    runs: int = 8
    alpha: float = 2.0
    enough: float = 0.1
    steps: int = 20
    size: float = 0.05

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> YOQOAttack:
        """Return the attack with surrogates that train as `plan` says."""
        size = 1 / 255 if data.features == "image" else 0.05
        recipe = replace(plan.training, selection="last")
        return cls(plan.network(data), data.num_classes, recipe, size=size)

    def __post_init__(self) -> None:
        check_runs(self.runs)
        if self.steps < 1 or not min(self.size, self.alpha) > 0 or not self.enough >= 0:
            raise ConfigError(
                "steps must be at least 1, size and alpha above 0, and enough at least 0; got "
                f"{self.steps}, {self.size}, {self.alpha} and {self.enough}."
            )

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> YOQOScorer:
        """Train the surrogates.

        Raises:
            DataError: `known` holds no candidates, or too few different records to halve.
        """
        workspace = workspace or Workspace()
        pool = pool_of(known)
        inside = draw_halves(pool, self.runs, seed=seed)
        jobs = [
            Job(f"surrogate-{i}", saw.nonzero().squeeze(1), child_seed(seed, self.name, i))
            for i, saw in enumerate(inside)
        ]
        networks = fit_networks(
            self.network,
            Examples(pool.x, pool.y),
            jobs,
            self.recipe,
            description="Surrogates",
            workspace=workspace,
        )
        moves = Moves.fitting(
            known, steps=self.steps, size=self.size, device=workspace.torch_device
        )
        return YOQOScorer(
            oracle,
            Surrogates(networks, self.alpha),
            inside,
            PoolIndex(content_names(pool.x, pool.y)),
            moves,
            self.enough,
            replace(known, candidates=None),
        )


@dataclass(frozen=True, eq=False)
class Surrogates:
    """Networks, of which half saw a given record.

    Attributes:
        networks: the surrogates.
        alpha: weight of those that did not see a record.
    """

    networks: Sequence[nn.Module]
    alpha: float

    def probabilities(
        self, x: Float[Tensor, "n *features"], saw: Bool[Tensor, "r n"]
    ) -> Float[Tensor, "n c"]:
        """Return the mean probabilities by the networks that `saw` marks for each record."""
        with torch.no_grad():
            each = torch.stack([network(x).double().softmax(dim=1) for network in self.networks])
        return (each * saw[:, :, None]).sum(dim=0) / saw.sum(dim=0)[:, None]

    def loss(
        self,
        x: Float[Tensor, "n *features"],
        y: Int[Tensor, " n"],
        other: Int[Tensor, " n"],
        saw: Bool[Tensor, "r n"],
    ) -> Float[Tensor, " n"]:
        """Return the loss of each copy; see the module."""
        losses = [
            cross_entropy(network(x), torch.where(mine, y, other), reduction="none")
            * torch.where(mine, 1.0, self.alpha)
            for network, mine in zip(self.networks, saw, strict=True)
        ]
        return torch.stack(losses).mean(dim=0)


@dataclass(frozen=True, eq=False)
class YOQOScorer:
    """Scores records by the target's answer to a copy that the surrogates make.

    Attributes:
        oracle: answers the queries.
        surrogates: the networks that copies are made with.
        inside: r x n, which surrogate saw which record of the pool.
        pool: finds a record's place in it.
        moves: how a step changes a copy.
        enough: the loss at which a copy is not changed further.
        calibration: the known records.
    """

    oracle: Oracle
    surrogates: Surrogates
    inside: Bool[Tensor, "r n"]
    pool: PoolIndex
    moves: Moves
    enough: float
    calibration: MembershipSets

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return 0 to 1 for a copy that keeps its label, else -1 to 0, float64.

        Raises:
            DataError: a record that was not among the candidates when the surrogates were trained.
        """
        saw = self.inside[:, self.pool.places(candidates)]
        parts = in_chunks(len(candidates), _AT_ONCE)
        return torch.cat(
            [self._score(candidates.x[part], candidates.y[part], saw[:, part]) for part in parts]
        )

    def _score(
        self, x: Shaped[Tensor, "n *features"], y: Int[Tensor, " n"], saw: Bool[Tensor, "r n"]
    ) -> Float[Tensor, " n"]:
        device = self.moves.device
        label, saw = y.to(device)[:, None], saw.to(device)
        plain = self.surrogates.probabilities(as_input(x).to(device), ~saw)
        other = plain.scatter(1, label, -1.0).argmax(dim=1)

        def loss(copies: Tensor, rows: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
            return self.surrogates.loss(copies, label[rows, 0], other[rows], saw[:, rows])

        def goes_on(copies: Tensor, rows: Int[Tensor, " m"]) -> Bool[Tensor, " m"]:
            with torch.no_grad():
                return loss(copies, rows) > self.enough

        def gradient(copies: Tensor, rows: Int[Tensor, " m"]) -> Tensor:
            copies = copies.detach().requires_grad_()
            (slope,) = torch.autograd.grad(-loss(copies, rows).sum(), copies)
            return slope

        copies = self.moves.climb(x, gradient, goes_on)
        of_others, of_trained = (
            self.surrogates.probabilities(copies, side).gather(1, label).squeeze(1).cpu()
            for side in (~saw, saw)
        )
        asked = copies.to(torch.uint8) if self.moves.bits else copies
        kept = self.oracle.labels(asked.cpu()) == y
        return torch.where(kept, 1 - of_others, -of_trained)
