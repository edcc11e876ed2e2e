"""The worst records over all attacks, without the bias of picking the best attack per record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from selena.auditing.report import AuditReport
from selena.auditing.scoring import Scored
from selena.errors import DataError

LOW_FPR = 0.01
"""An attack finds a record if at most this share of the non-members scores as high."""


@dataclass(frozen=True, eq=False)
class WorstRecords:
    """Members, sorted by exposure to any attack, the most exposed first.

    A record's rank under one attack is its place among the non-members; its best rank over all
    attacks decides. Non-members get their best rank in the same way, so the false-positive rate
    accounts for the number of attacks.

    Attributes:
        ids: row numbers in the data set.
        labels: classes.
        fpr: share of the non-members whose best rank is at least as high.
        found_by: number of attacks that find the record at a false-positive rate of `LOW_FPR`.
        attacks: number of attacks.
        non_members: number of non-members scored.
    """

    ids: Int[np.ndarray, " m"]
    labels: Int[np.ndarray, " m"]
    fpr: np.ndarray
    found_by: Int[np.ndarray, " m"]
    attacks: int
    non_members: int

    def __len__(self) -> int:
        return len(self.ids)

    def found(self, fpr: float) -> int:
        """Return how many members are found by some attack at this false-positive rate."""
        return int((self.fpr <= fpr).sum())


def worst_records(report: AuditReport) -> WorstRecords:
    """Return the scored members of `report`, sorted by exposure to any of its attacks.

    Raises:
        DataError: no attack was run, or attacks scored different records.
    """
    scored = [_by_id(result.scores.evaluation) for result in report.attacks.values()]
    if not scored:
        raise DataError("The report holds no attack, so no record was scored. Run one.")
    first = scored[0]
    if any(not np.array_equal(each.ids, first.ids) for each in scored):
        raise DataError("The attacks of this report scored different records. Audit again.")
    truth = first.truth
    ranks = np.stack([_ranks(each) for each in scored])
    best = ranks.min(axis=0)
    others = np.sort(best[~truth])
    fpr = np.searchsorted(others, best[truth], side="right") / len(others)
    found_by = (ranks[:, truth] - 1 <= LOW_FPR * len(others)).sum(axis=0)
    ids, labels = first.ids[truth], first.labels[truth]
    order = np.lexsort((ids, -found_by, fpr))
    return WorstRecords(
        ids[order], labels[order], fpr[order], found_by[order], len(scored), len(others)
    )


def members_per_class(report: AuditReport) -> dict[int, int]:
    """Return the number of members per class in the report, known or scored."""
    result = next(iter(report.attacks.values()), None)
    if result is None:
        return {}
    parts = (result.scores.calibration, result.scores.evaluation)
    labels, ids = (
        np.concatenate([getattr(part, name)[part.truth] for part in parts])
        for name in ("labels", "ids")
    )
    _, first = np.unique(ids, return_index=True)
    classes, counts = np.unique(labels[first], return_counts=True)
    return {int(label): int(count) for label, count in zip(classes, counts, strict=True)}


def _by_id(scored: Scored) -> Scored:
    order = np.lexsort((scored.ids, scored.truth))
    return Scored(
        scored.scores[order], scored.truth[order], scored.labels[order], scored.ids[order]
    )


def _ranks(scored: Scored) -> Int[np.ndarray, " n"]:
    """Return each record's rank among the non-members and itself; 1 is the highest score."""
    truth: Bool[np.ndarray, " n"] = scored.truth
    others = np.sort(scored.scores[~truth])
    at_least = len(others) - np.searchsorted(others, scored.scores, side="left")
    # A non-member is already among `others`.
    ranks: Int[np.ndarray, " n"] = at_least + truth
    return ranks
