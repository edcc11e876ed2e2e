"""The range of features in which an attack searches for the decision boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from selena.errors import ConfigError, DataError
from selena.training.batches import as_input, in_chunks
from selena.types import Dataset, MembershipSets, Oracle, Records
from selena.workspace import Progress

_SLACK = 1e-6


@dataclass(frozen=True)
class Box:
    """The box of points with all features in [low, high].

    Attributes:
        low: smallest value of a feature.
        high: largest value, above `low`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"The box of features needs low < high; got {self.low}, {self.high}.")

    @classmethod
    def around(cls, data: Dataset) -> Box:
        """Return the box in which records of `data` may move: [0, 1] for pixels."""
        if data.features == "image":
            return cls(0.0, 1.0)
        return cls(float(data.records.x.min()), float(data.records.x.max()))

    def flat_inputs(self, x: Shaped[Tensor, "n *features"]) -> Float[Tensor, "n d"]:
        """Return records as a network takes them, one row each.

        Raises:
            DataError: a feature lies outside the box.
        """
        flat = as_input(x).flatten(1)
        outside = (flat < self.low - _SLACK) | (flat > self.high + _SLACK)
        if bool(outside.any()):
            row, feature = map(int, outside.nonzero()[0])
            raise DataError(
                f"Feature {feature} of candidate {row} is {float(flat[row, feature])}, outside the "
                f"box [{self.low}, {self.high}]. Scale the features, or set low and high."
            )
        return flat

    def diagonal(self, features: int) -> float:
        """Return the largest L2 distance within the box."""
        return (self.high - self.low) * sqrt(features)


Measure = Callable[[Float[Tensor, "m d"], Int[Tensor, " m"]], Float[Tensor, " m"]]
"""Maps flat, correctly classified records and their labels to distances from the boundary."""


@dataclass(frozen=True)
class DistanceScorer:
    """Scores a record by its distance from the decision boundary.

    Attributes:
        oracle: answers the queries.
        box: the box that contains all points.
        measure: measures the distance; infinite if no boundary was found.
        batch: records measured at once.
        calibration: all known records.
        progress: shows the progress.
    """

    oracle: Oracle
    box: Box
    measure: Measure
    batch: int
    calibration: MembershipSets
    progress: Progress

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return L2 distances, float64.

        A misclassified record has distance 0. A record without a found boundary has the length
        of the box's diagonal.

        Raises:
            DataError: a feature lies outside the box.
        """
        x = self.box.flat_inputs(candidates.x)
        correct = torch.nonzero(self.oracle.labels(candidates.x) == candidates.y).squeeze(1)
        distances = torch.zeros(len(x), dtype=torch.float64)
        with self.progress.step("Distances", len(correct)) as bar:
            for part in in_chunks(len(correct), self.batch):
                rows = correct[part]
                distances[rows] = self.measure(x[rows], candidates.y[rows]).double()
                bar.advance(len(rows))
        return distances.clamp(max=self.box.diagonal(x.shape[1]))
