"""Distance from the decision boundary, by the attack of Carlini and Wagner in L2.

Carlini & Wagner 2017, Section VI; as a membership score Choquette-Choo et al. 2021. The paper uses
it in place of a label-only attack with unlimited queries. Since it reads gradients, its `access` is
"gradient".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selena.attacks.box import Box, DistanceScorer
from selena.errors import ConfigError
from selena.training.plans import Plan
from selena.types import Access, Dataset, Family, FeatureKind, MembershipSets, Needs, Oracle
from selena.workspace import Workspace

_INSIDE = 0.999999
"""Keeps arctanh finite at the bounds of the box."""

Logits = Callable[[Float[Tensor, "m d"]], Float[Tensor, "m c"]]


@dataclass(frozen=True)
class BoundaryDistanceAttack:
    """Scores a record by its L2 distance to the decision boundary, found by the model's gradient.

    For each record it minimises |x' - x|² + c · max(z_y - max over j != y of z_j, 0) over x' in
    the box, with x' as a tanh of Adam's variables. A binary search finds the smallest sufficient
    c. A descent ends early when a tenth of its steps brings no gain (1e-4 of the loss). Every
    record has its own c, Adam moments and early end, and leaves the batch when it is done, so its
    result does not depend on the batch.

    Attributes:
        steps: most steps of Adam for each c.
        searches: number of values of c to try.
        learning_rate: learning rate of Adam.
        first_c: first value of c; multiplied by 10 until a point is found.
        low: smallest value of a feature.
        high: largest value of a feature; images are scaled to [0, 1].
        max_batch: records in memory at once; changes no result.
    """

    name: ClassVar[str] = "boundary"
    family: ClassVar[Family] = "label-only"
    access: ClassVar[Access] = "gradient"
    needs: ClassVar[Needs] = "features"
    features: ClassVar[tuple[FeatureKind, ...]] = ("continuous", "image")

    _: KW_ONLY
    steps: int = 1_000
    searches: int = 10
    learning_rate: float = 1e-2
    first_c: float = 1e-2
    low: float = 0.0
    high: float = 1.0
    max_batch: int = 1_024

    @classmethod
    def from_plan(cls, plan: Plan, data: Dataset) -> BoundaryDistanceAttack:
        """Return the attack with the box of `data`."""
        box = Box.around(data)
        return cls(low=box.low, high=box.high)

    def __post_init__(self) -> None:
        if min(self.steps, self.searches, self.max_batch) < 1:
            raise ConfigError(f"steps, searches and max_batch must be at least 1; this is {self}.")
        if not (self.learning_rate > 0 and self.first_c > 0):
            raise ConfigError(f"learning_rate and first_c must be above 0; this is {self}.")
        Box(self.low, self.high)  # checks both

    def fit(
        self,
        oracle: Oracle,
        known: MembershipSets,
        *,
        seed: int = 0,
        workspace: Workspace | None = None,
    ) -> DistanceScorer:
        """Return a scorer; it learns nothing and draws nothing."""
        workspace = workspace or Workspace()
        shape, device = known.members.x.shape[1:], workspace.torch_device

        def logits(flat: Tensor) -> Tensor:
            return oracle.differentiable_logits(flat.view(-1, *shape)).to(flat.device)

        def measure(x: Tensor, labels: Tensor) -> Tensor:
            return self.distances(logits, x.to(device), labels.to(device)).cpu()

        box = Box(self.low, self.high)
        return DistanceScorer(oracle, box, measure, self.max_batch, known, workspace.progress)

    def distances(
        self, logits: Logits, x: Float[Tensor, "m d"], labels: Int[Tensor, " m"]
    ) -> Float[Tensor, " m"]:
        """Return the distance of each record, infinite if no other label was found.

        Args:
            logits: the target, differentiable.
            x: correctly classified records in the box, one row each.
            labels: their classes.
        """
        center, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        origin = torch.atanh((x - center) / half * _INSIDE)
        nearest = torch.full((len(x),), torch.inf, device=x.device)
        c, succeeded = torch.full_like(nearest, self.first_c), nearest.clone()
        failed = torch.zeros_like(nearest)
        for _ in range(self.searches):
            found = self._descend(logits, origin, labels, c, center, half)
            nearest = torch.minimum(nearest, found)
            success = found.isfinite()
            succeeded = torch.where(success, torch.minimum(succeeded, c), succeeded)
            failed = torch.where(success, failed, torch.maximum(failed, c))
            c = torch.where(succeeded.isfinite(), (failed + succeeded) / 2, c * 10)
        return nearest.sqrt()

    def _descend(
        self,
        logits: Logits,
        origin: Float[Tensor, "m d"],
        labels: Int[Tensor, " m"],
        c: Float[Tensor, " m"],
        center: float,
        half: float,
    ) -> Float[Tensor, " m"]:
        """Return the smallest squared distance in one descent, infinite if none was found."""
        found = torch.full((len(origin),), torch.inf, device=origin.device)
        going = _Going.at(origin, labels, c, center + half * torch.tanh(origin))
        for step in range(1, self.steps + 1):
            moved = going.moved.requires_grad_()
            point = center + half * torch.tanh(going.origin + moved)
            squared = (point - going.start).square().sum(dim=1)
            z = logits(point)
            rows = torch.arange(len(z), device=z.device)
            others = z.scatter(1, going.labels[:, None], -torch.inf).amax(dim=1)
            margin = (z[rows, going.labels] - others).clamp(min=0)
            loss = squared + going.c * margin
            (gradient,) = torch.autograd.grad(loss.sum(), moved)
            crossed = z.argmax(dim=1) != going.labels
            distance = torch.where(crossed, squared.detach(), torch.inf)
            found[going.row] = torch.minimum(found[going.row], distance)
            going.adam(gradient, step, self.learning_rate)
            if step % max(self.steps // 10, 1) == 0:
                gains = loss.detach() <= going.loss * 0.9999
                going.loss = loss.detach()
                going = going.take(gains)
                if not len(going.row):
                    break
        return found


@dataclass
class _Going:
    """State of the unfinished descents, one row per record.

    Attributes:
        row: row of the record in the original batch.
        origin: starting point in tanh space.
        start: starting point in the box.
        labels: the record's class.
        c: weight of the margin.
        moved: what Adam has added to `origin`.
        mean: Adam's first moment.
        square: Adam's second moment.
        loss: loss at the last check for a gain.
    """

    row: Tensor
    origin: Tensor
    start: Tensor
    labels: Tensor
    c: Tensor
    moved: Tensor
    mean: Tensor
    square: Tensor
    loss: Tensor

    @staticmethod
    def at(origin: Tensor, labels: Tensor, c: Tensor, start: Tensor) -> _Going:
        """Return the state before the first step."""
        zeros = torch.zeros_like(origin)
        return _Going(
            row=torch.arange(len(origin), device=origin.device),
            origin=origin,
            start=start,
            labels=labels,
            c=c,
            moved=zeros.clone(),
            mean=zeros.clone(),
            square=zeros.clone(),
            loss=torch.full_like(c, torch.inf),
        )

    def adam(self, gradient: Tensor, step: int, learning_rate: float) -> None:
        """Take Adam's step number `step`, with its usual constants."""
        self.mean = torch.lerp(self.mean, gradient, 0.1)
        self.square = torch.lerp(self.square, gradient.square(), 0.001)
        spread = (self.square / (1 - 0.999**step)).sqrt() + 1e-8
        self.moved = self.moved.detach() - learning_rate / (1 - 0.9**step) * self.mean / spread

    def take(self, going: Tensor) -> _Going:
        """Return the state of the descents that continue."""
        if bool(going.all()):
            return self
        return _Going(*(getattr(self, f.name)[going] for f in fields(self)))
