"""How often a record's neighbors are still classified correctly, as a membership score.

A model is more robust around the records it was trained on (Choquette-Choo et al. 2021), which
predicted labels alone reveal. Shared by the attacks that differ only in their neighbors.
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
from selena.types import Knowledge, Oracle, Records
from selena.workspace import Progress, Workspace

Search = Literal["halving", "all"]
Strength = TypeVar("Strength", int, float)

_FIRST_COPIES = 8


def correct_neighbors(
    oracle: Oracle,
    records: Records,
    neighbors: Neighbors,
    which: slice,
    *,
    max_batch: int,
    progress: Progress,
) -> Float[Tensor, "n k"]:
    """Return 1 where the predicted label of a record's copy is the record's label, else 0."""

    def judge(x: Shaped[Tensor, "b *features"], labels: Tensor) -> Tensor:
        return oracle.labels(x) == labels

    return judge_neighbors(judge, records, neighbors, which, max_batch=max_batch, progress=progress)


@dataclass(frozen=True)
class RobustnessScorer:
    """Scores a record by the fraction of its neighbors that are classified correctly.

    Attributes:
        oracle: asked for labels only.
        neighbors: makes the copies.
        copies: how many of them.
        max_batch: records asked about at once.
        calibration: all known records.
        progress: who shows it.
    """

    oracle: Oracle
    neighbors: Neighbors
    copies: int
    max_batch: int
    calibration: Knowledge
    progress: Progress

    def each(self, records: Records) -> Float[Tensor, "n k"]:
        """Return 1 for each copy of each record that is classified correctly, else 0."""
        return correct_neighbors(
            self.oracle,
            records,
            self.neighbors,
            slice(0, self.copies),
            max_batch=self.max_batch,
            progress=self.progress,
        )

    def score(self, candidates: Records) -> Float[Tensor, " n"]:
        """Return the fraction, in [0, 1], float64."""
        return self.each(candidates).mean(dim=1)


def fit_strength(
    oracle: Oracle,
    known: Knowledge,
    noise: Callable[[Strength], Neighbors],
    strengths: Sequence[Strength],
    *,
    copies: int,
    search: Search,
    max_batch: int,
    workspace: Workspace | None = None,
) -> RobustnessScorer:
    """Choose the strength of the best fitted balanced accuracy on known records.

    "all" spends every copy on every strength. "halving" (successive halving, Jamieson and
    Talwalkar 2016) ranks all strengths by their first 8 copies, keeps the better half, doubles
    the copies, and so on; copies already asked about are not asked about again. It costs about
    (8 + 4 log2(copies / 8)) queries a strength and known record instead of `copies`. What that
    risks is little: all strengths are ranked on the same records with nested noise, few copies
    blur all of them alike, and a strength can be dropped only where half of the others do at
    least as well at that resolution - of neighboring strengths, whose accuracies differ little,
    one or the other. Of equally good strengths the first is taken.

    Args:
        oracle: asked for labels only.
        known: records whose membership is known; nothing else is chosen on.
        noise: the neighbors at a strength.
        strengths: what to choose from; a single one is not searched for.
        copies: neighbors a record in the final score.
        search: "halving" or "all".
        max_batch: records asked about at once.
        workspace: shows progress.
    """
    progress = (workspace or Workspace()).progress
    records, membership = known.joined()
    truth = membership.numpy()
    hits = {strength: torch.zeros(len(records), dtype=torch.float64) for strength in strengths}
    left, done, count = list(strengths), 0, copies if search == "all" else _FIRST_COPIES
    while len(left) > 1:
        count = min(count, copies)
        for strength in left:
            more = slice(done, count)
            hits[strength] += correct_neighbors(
                oracle, records, noise(strength), more, max_batch=max_batch, progress=progress
            ).sum(dim=1)
        ranked = sorted(left, key=lambda s: -fitted_accuracy(hits[s].numpy(), truth))
        kept = set(ranked[: 1 if count == copies else ceil(len(left) / 2)])
        left = [strength for strength in left if strength in kept]
        done, count = count, 2 * count
    return RobustnessScorer(oracle, noise(left[0]), copies, max_batch, known, progress)


def fitted_accuracy(scores: Num[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    """Return the balanced accuracy of the best threshold on the records it is fitted on.

    For comparing settings of one attack, whose optimism is alike.
    """
    labels = np.zeros(len(scores), dtype=np.int64)
    decisions = fit_threshold(scores, truth).decide(scores, labels)
    return float((decisions[truth].mean() + (~decisions[~truth]).mean()) / 2)


def check_strengths(strengths: Sequence[float], copies: int, search: str, max_batch: int) -> None:
    """Raise `ConfigError` unless there is something to choose from and to average over."""
    if not strengths or min(strengths) <= 0 or len(set(strengths)) != len(strengths):
        raise ConfigError(
            f"The strengths of the noise must be distinct and above 0; got {tuple(strengths)}."
        )
    if copies < 1 or max_batch < 1:
        raise ConfigError(
            f"copies and max_batch must be at least 1; got copies={copies}, max_batch={max_batch}."
        )
    if search not in ("halving", "all"):
        raise ConfigError(f'search={search!r} is unknown; use "halving" or "all".')
