"""Checks of scores, truth and labels that all metrics share."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Integer, Num

from selena.errors import DataError


def check_scores(
    scores: Num[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return `scores` as float64, or raise if no metric can be computed from them.

    Args:
        scores: one score per record, higher = member; infinite scores are allowed and ordered.
        truth: True where the record is a member.

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
    """
    if scores.shape != truth.shape or scores.ndim != 1:
        raise DataError(
            f"Shapes disagree: scores {scores.shape}, truth {truth.shape}. "
            "Give one score and one truth value per record."
        )
    members = int(np.count_nonzero(truth))
    if members == 0 or members == len(truth):
        raise DataError(
            f"Scores of {members} members and {len(truth) - members} non-members cannot be "
            "compared. Give at least one record of each."
        )
    scores = np.asarray(scores, dtype=np.float64)
    missing = np.isnan(scores)
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} scores are NaN, the first is score {int(missing.argmax())}. "
            "A score must be a number; fix the attack that gave it."
        )
    return scores


def check_labels(labels: Integer[np.ndarray, " n"], num_classes: int) -> None:
    """Raise `DataError` unless every label lies in [0, num_classes)."""
    outside = (labels < 0) | (labels >= num_classes)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"Label {int(labels[row])} of record {row} is out of range; with {num_classes} "
            f"classes labels run from 0 to {num_classes - 1}."
        )
