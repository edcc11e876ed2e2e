"""How often a record's neighbors are still classified correctly, as a membership score.

A model is more robust around the records it was trained on (Choquette-Choo et al. 2021), which
predicted labels alone reveal. Attacks that differ only in their neighbors share this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Num, Shaped
from torch import Tensor

from selena.attacks.neighbors import Neighbors, judge_neighbors
from selena.errors import ConfigError
from selena.metrics.thresholds import fit_threshold
from selena.types import MembershipSets, Oracle, Records
from selena.workspace import Progress

Search = Literal["halving", "all"]
Strength = TypeVar("Strength", int, float)

Correct = Callable[[Records, slice], Float[Tensor, "n k"]]
"""Maps records and a range of k copy numbers to 1 where the predicted label of a record's copy is
the record's own label, else 0 (float64)."""

FIRST_COPIES = 8
"""Number of copies in the first round of "halving"."""


def correct_neighbors(
    oracle: Oracle, neighbors: Neighbors, *, max_batch: int, progress: Progress
) -> Correct:
    """Return the function that tells which neighbors keep their label, in batches."""

    def judge(x: Shaped[Tensor, "b *features"], labels: Tensor) -> Tensor:
        return oracle.labels(x) == labels

    def correct(records: Records, which: slice) -> Tensor:
        return judge_neighbors(
            judge, records, neighbors, which, max_batch=max_batch, progress=progress
        )

    return correct


@dataclass(frozen=True)
class RobustnessScorer:
    """Scores a record by the fraction of its neighbors that are classified correctly.

    Attributes:
        correct: tells which neighbors are classified correctly.
        copies: number of neighbors.
        calibration: all known records.
    """

    correct: Correct
    copies: int
    calibration: MembershipSets

    def each(self, records: Records) -> Float[Tensor, "n k"]:
        """Return 1 for each copy of each record that is classified correctly, else 0."""
        return self.correct(records, slice(0, self.copies))

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the fraction, in [0, 1], float64."""
        return self.each(candidates).mean(dim=1)


def fit_strength(
    correct: Callable[[Strength], Correct],
    known: MembershipSets,
    strengths: Sequence[Strength],
    *,
    copies: int,
    search: Search,
) -> RobustnessScorer:
    """Choose the strength with the best balanced accuracy on known records.

    "all" uses all copies for every strength. "halving" (successive halving, Jamieson and Talwalkar
    2016) ranks all strengths by their first 8 copies, keeps the better half, doubles the copies,
    and so on; copies are not asked about twice. It costs about (8 + 4 log2(copies / 8)) queries per
    strength and known record instead of `copies`. The risk is small: all strengths are ranked on
    the same records with nested noise, and a strength is dropped only if half of the others do at
    least as well. Few copies cannot rank neighboring strengths, but these differ little in
    accuracy. Of equally good strengths the first is taken.

    Args:
        correct: tells which neighbors of a strength are classified correctly.
        known: records whose membership is known; the choice uses no others.
        strengths: strengths to choose from; a single one needs no search.
        copies: neighbors per record in the final score.
        search: "halving" or "all".
    """
    records, membership = known.joined()
    truth = membership.numpy()
    hits = {strength: torch.zeros(len(records), dtype=torch.float64) for strength in strengths}
    left, done, count = list(strengths), 0, copies if search == "all" else FIRST_COPIES
    while len(left) > 1:
        count = min(count, copies)
        for strength in left:
            hits[strength] += correct(strength)(records, slice(done, count)).sum(dim=1)
        ranked = sorted(left, key=lambda s: -fitted_accuracy(hits[s].numpy(), truth))
        kept = set(ranked[: 1 if count == copies else ceil(len(left) / 2)])
        left = [strength for strength in left if strength in kept]
        done, count = count, 2 * count
    return RobustnessScorer(correct(left[0]), copies, known)


def fitted_accuracy(scores: Num[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    """Return the balanced accuracy of the best threshold, on the records it is fitted on.

    It compares settings of one attack, all of which overfit similarly.
    """
    labels = np.zeros(len(scores), dtype=np.int64)
    decisions = fit_threshold(scores, truth).decide(scores, labels)
    return float((decisions[truth].mean() + (~decisions[~truth]).mean()) / 2)


def check_strengths(strengths: Sequence[float], copies: int, search: str) -> None:
    """Raise `ConfigError` unless there is something to choose from and to average over."""
    if not strengths or min(strengths) <= 0 or len(set(strengths)) != len(strengths):
        raise ConfigError(
            f"The strengths of the noise must be distinct and above 0; got {tuple(strengths)}."
        )
    if copies < 1:
        raise ConfigError(f"copies must be at least 1; got {copies}.")
    if search not in ("halving", "all"):
        raise ConfigError(f'search={search!r} is unknown; use "halving" or "all".')
