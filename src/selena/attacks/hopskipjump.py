"""Distance from the decision boundary, measured with predicted labels only.

HopSkipJump (Chen, Jordan, Wainwright 2020, Algorithms 1 and 2; L2, untargeted); as a membership
score Choquette-Choo et al. 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from math import ceil, isqrt, log2, sqrt
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from selena.attacks.box import Box, DistanceScorer
from selena.errors import ConfigError
from selena.seeding import torch_generator
from selena.training.batches import in_chunks
from selena.training.plans import Plan
from selena.types import Access, Dataset, Family, FeatureKind, MembershipSets, Needs, Oracle
from selena.workspace import Workspace

_HALVINGS = 10

Crossed = Callable[[Float[Tensor, "m d"], Int[Tensor, " m"]], Bool[Tensor, " m"]]
"""Whether the label of each point differs from its record's."""


@dataclass(frozen=True)
class HopSkipJumpAttack:
    """Scores a record by its L2 distance to the decision boundary, found by asking for labels.

    Starting at a point with another label it walks along the boundary. Each step estimates the
    boundary's direction from the labels of random points nearby, moves away from the boundary, and
    returns to it by binary search.

    Every record has its own walk. All walks use the same random directions (see
    `selena.attacks.neighbors`), so neither order nor batch matters.

    Attributes:
        queries: most labels asked per record, but never fewer than the first binary search
            needs. The starting points are asked about once for all records.
        first_samples: random points of the first estimate; the t-th takes sqrt(t) times more.
        starts: number of random points, and of known records, among which a walk starts at the
            nearest one with another label.
        low: smallest value of a feature.
        high: largest value of a feature; images are scaled to [0, 1].
        max_batch: records asked about at once; limits memory, changes no result.
    """

    name: ClassVar[str] = "hopskipjump"
    family: ClassVar[Family] = "label-only"
    access: ClassVar[Access] = "label"
    needs: ClassVar[Needs] = "features"
    features: ClassVar[tuple[FeatureKind, ...]] = ("continuous", "image")

    _: KW_ONLY
    queries: int = 2_500
    first_samples: int = 100
    starts: int = 100
    low: float = 0.0
    high: float = 1.0
    max_batch: int = 8_192

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> HopSkipJumpAttack:
        """Return the attack with the box of `data`."""
        box = Box.around(data)
        return cls(low=box.low, high=box.high)

    def __post_init__(self) -> None:
        if min(self.queries, self.first_samples, self.starts, self.max_batch) < 1:
            raise ConfigError(
                f"queries, first_samples, starts and max_batch must be at least 1; this is {self}."
            )
        Box(self.low, self.high)  # checks both

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> DistanceScorer:
        """Ask for the labels of the starting points; nothing else is learned.

        Raises:
            DataError: a feature lies outside the box.
        """
        box, shape = Box(self.low, self.high), known.members.x.shape[1:]
        records = known.joined()[0]
        order = torch.randperm(len(records), generator=torch_generator(seed, "starting records"))
        real = box.flat_inputs(records.x[order[: self.starts]])
        generator = torch_generator(seed, "starting points")
        noise = self.low + (self.high - self.low) * torch.rand(
            self.starts, real.shape[1], generator=generator
        )
        points = torch.cat([noise, real])
        walk = _Walk(self, seed, points, oracle.labels(points.view(-1, *shape)), oracle, shape)
        batch = max(1, self.max_batch // self.first_samples)
        progress = (workspace or Workspace()).progress
        return DistanceScorer(oracle, box, walk.distances, batch, known, progress)


@dataclass(frozen=True)
class _Walk:
    """The walks of a batch of records.

    Attributes:
        settings: the attack's settings.
        seed: root of the directions.
        starts: starting points.
        start_labels: their labels by the target.
        oracle: answers the queries.
        shape: shape of one record.
    """

    settings: HopSkipJumpAttack
    seed: int
    starts: Float[Tensor, "s d"]
    start_labels: Int[Tensor, " s"]
    oracle: Oracle
    shape: tuple[int, ...]

    def distances(self, x: Float[Tensor, "m d"], labels: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        """Return the smallest distance found, infinite if no starting point has another label."""
        far = torch.cdist(x, self.starts, compute_mode="donot_use_mm_for_euclid_dist")
        far[self.start_labels == labels[:, None]] = torch.inf
        nearest = far.min(dim=1)
        best = nearest.values.clone()
        rows = torch.nonzero(best.isfinite()).squeeze(1)
        if not len(rows):
            return best
        x, labels = x[rows], labels[rows]
        searches = ceil(1.5 * log2(max(x.shape[1], 2)))  # precision 1 / d^1.5 of the distance
        point = self._to_boundary(x, labels, self.starts[nearest.indices[rows]], searches)
        spent = torch.full((len(rows),), 1 + searches)
        for t in range(1, self.settings.queries + 1):
            best[rows] = torch.minimum(best[rows], (point - x).norm(dim=1))
            samples = isqrt(self.settings.first_samples**2 * t)
            goes_on = spent + samples + _HALVINGS + searches <= self.settings.queries
            if not bool(goes_on.any()):
                break
            rows, x, labels, point, spent = (
                each[goes_on] for each in (rows, x, labels, point, spent)
            )
            direction = self._direction(x, labels, point, t, samples)
            moved, halvings = self._step(x, labels, point, direction, t)
            point = self._to_boundary(x, labels, moved, searches)
            spent = spent + samples + halvings + searches
        return best

    def _crossed(self, points: Tensor, labels: Tensor) -> Tensor:
        crossed: Tensor = self.oracle.labels(points.reshape(-1, *self.shape)) != labels
        return crossed

    def _inside(self, points: Tensor) -> Tensor:
        inside: Tensor = points.clamp(self.settings.low, self.settings.high)
        return inside

    def _to_boundary(self, x: Tensor, labels: Tensor, beyond: Tensor, searches: int) -> Tensor:
        """Return points between `x` and `beyond` that are just beyond the boundary."""
        near, far = torch.zeros(len(x)), torch.ones(len(x))
        for _ in range(searches):
            middle = (near + far) / 2
            crossed = self._crossed(torch.lerp(x, beyond, middle[:, None]), labels)
            far, near = torch.where(crossed, middle, far), torch.where(crossed, near, middle)
        return torch.lerp(x, beyond, far[:, None])

    def _direction(self, x: Tensor, labels: Tensor, point: Tensor, t: int, samples: int) -> Tensor:
        """Estimate the unit vector that leads away from the record's label (equation 10 ff.)."""
        d = x.shape[1]
        distance = (point - x).norm(dim=1)
        width = self.settings.high - self.settings.low
        radius = (torch.full_like(distance, 0.1 * width) if t == 1 else distance / d)[:, None, None]
        generator = torch_generator(self.seed, "directions", t)
        directions = torch.randn(samples, d, generator=generator)
        directions /= directions.norm(dim=1, keepdim=True)
        votes, voted, plain = torch.zeros(len(x), 1), torch.zeros_like(x), torch.zeros_like(x)
        for part in in_chunks(samples, max(1, self.settings.max_batch // len(x))):
            around = self._inside(point[:, None] + radius * directions[part])
            real = (around - point[:, None]) / radius  # the part inside the box
            repeated = labels.repeat_interleave(around.shape[1])
            vote = self._crossed(around.flatten(0, 1), repeated).view(around.shape[:2]) * 2.0 - 1
            votes += vote.sum(dim=1, keepdim=True)
            voted += torch.einsum("mk,mkd->md", vote, real)
            plain += real.sum(dim=1)
        # The mean vote is a baseline that lowers the variance, and all there is if it is ±1.
        unanimous = votes.abs() == samples
        estimate = torch.where(unanimous, voted, voted - votes / samples * plain)
        unit: Tensor = functional.normalize(estimate, dim=1)
        return unit

    def _step(
        self, x: Tensor, labels: Tensor, point: Tensor, direction: Tensor, t: int
    ) -> tuple[Tensor, Tensor]:
        """Take the largest step that stays beyond the boundary; return point and queries."""
        size = (point - x).norm(dim=1, keepdim=True) / sqrt(t)
        moved, halvings = point.clone(), torch.zeros(len(x), dtype=torch.int64)
        left = torch.arange(len(x))
        for _ in range(_HALVINGS):
            trial = self._inside(point[left] + size[left] * direction[left])
            halvings[left] += 1
            crossed = self._crossed(trial, labels[left])
            moved[left[crossed]] = trial[crossed]
            left = left[~crossed]
            if not len(left):
                break
            size = size / 2
        return moved, halvings
