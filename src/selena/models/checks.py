"""Warnings of an audit: it can go on, but a figure may be misleading."""

from __future__ import annotations

import sys
import warnings

import numpy as np
from jaxtyping import Bool, Float64, Int64

from selena.data.subjects import count_units
from selena.errors import AuditWarning
from selena.metrics.low_fpr import RESOLVED, needed_non_members
from selena.models.pool import GatheredRecords
from selena.types import AuditSplit

_RELATIVE, _ABSOLUTE = 1e-3, 1e-4
# Expected pairs of equal records on a side, and its largest share of them, to call it filtered.
_PAIRS, _SHARE, _REPEATED = 20, 1 / 3, 10
_OURS = ("selena", "jaxtyping", "beartype")  # the last two stand between where types are checked


def warn(message: str) -> None:
    """Warn whoever called the library: the nearest caller outside of it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, AuditWarning, stacklevel=level)


def warn_of_few(split: AuditSplit, fpr: float) -> None:
    """Warn where `fpr` allows too few false positives to measure the FPR of a threshold.

    Raises:
        ConfigError: `fpr` outside (0, 1].
    """
    # As many members as non-members are scored.
    sides = (split.evaluation.members, split.evaluation.non_members)
    scored = min(map(count_units, sides))
    needed = needed_non_members(fpr)
    if scored < needed:
        warn(
            f"{scored} members and {scored} non-members are scored: too few for a FPR of {fpr:g}, "
            f"the smallest they resolve is {min(1.0, RESOLVED / scored):.2g}. Score at least "
            f"{needed} of each (beside those that the attacker knows), or ask for a higher fpr."
        )


def same_answers(
    first: Float64[np.ndarray, "n w"], again: Float64[np.ndarray, "n w"]
) -> Bool[np.ndarray, " n"]:
    """Return which records got the same answer twice, except for rounding."""
    close = np.isclose(first, again, rtol=_RELATIVE, atol=_ABSOLUTE)
    return np.asarray(close.all(axis=1))


def warn_of_unsteady(first: Float64[np.ndarray, "n w"], again: Float64[np.ndarray, "n w"]) -> None:
    """Warn where a record's answer changes with the other records in the batch."""
    same = same_answers(first, again)
    if not same.all():
        row = int(np.flatnonzero(~same)[0])
        gap = np.nanmax(np.abs(first[row] - again[row]))
        warn(
            f"The model answers the same record differently when asked again among others (by "
            f"{gap:.3g}; {int((~same).sum())} of {len(same)} records tried). Switch dropout and "
            "batch statistics off (eval mode); noise that is part of the model is audited by one "
            "draw only, and an attacker who asks again learns more."
        )


def warn_of_constant(answers: Float64[np.ndarray, "n w"]) -> None:
    """Warn where every record got the same answer."""
    if (answers == answers[0]).all():
        warn(
            f"The model gives all {len(answers)} records the same answer. Nothing leaks from that, "
            "but check that it is the trained model and gets the features it was trained on."
        )


def warn_of_equal_rows(pool: GatheredRecords) -> None:
    """Warn where records were left out, count once, or seem to be filtered on one side only."""
    if pool.left_out is not None:
        _warn_of_left_out(pool)
    repeated = [_repeated(pool, side & pool.used) for side in (pool.member, ~pool.member)]
    if any(repeated):
        warn(
            f"{repeated[0]:,} members and {repeated[1]:,} non-members equal another record of "
            "their side (features and label). Equal records count as one, known or scored "
            "together, and figures count different records.",
        )
    if pool.left_out is None and pool.subjects is None:
        _warn_of_one_sided(pool, repeated)


def _warn_of_left_out(pool: GatheredRecords) -> None:
    out, never = ~pool.used, pool.never_scored
    spared = 0 if never is None else int(never.sum())
    warn(
        f"deduplicate left {int((out & pool.member).sum()):,} members and "
        f"{int((out & ~pool.member).sum()):,} non-members out: their features and label are on "
        "both sides"
        + (
            f", or among the records that the larger side has more ({spared:,} of those are known "
            "to the attacker and not scored, so that the rest of both sides is drawn alike)."
            if spared
            else "."
        ),
    )


def _warn_of_one_sided(pool: GatheredRecords, repeated: list[int]) -> None:
    """Warn where equal records are common on one side, rare on the other, and never on both.

    If both sides are drawn alike, their numbers of equal pairs differ only by the sides' sizes.
    """
    counts = [np.bincount(pool.contents[side]) for side in (pool.member, ~pool.member)]
    found = [float((each * (each - 1) / 2).sum()) for each in counts]
    possible = [each.sum() * (each.sum() - 1) / 2 for each in counts]
    rates = [pairs / max(1, most) for pairs, most in zip(found, possible, strict=True)]
    common, rare = (0, 1) if rates[0] > rates[1] else (1, 0)
    expected = rates[common] * possible[rare]
    if (counts[common] > 1).sum() < _REPEATED or expected < _PAIRS:
        return
    if found[rare] < _SHARE * expected:
        names = ("members", "non-members")
        warn(
            f"Equal records are common among {names[common]} ({repeated[common]:,} of "
            f"{counts[common].sum():,}), rare among {names[rare]} ({repeated[rare]:,} of "
            f"{counts[rare].sum():,}), and none is on both sides. If some were dropped from one "
            "side alone, attacks find that and call it a leak: give all records and "
            "deduplicate=True, or deduplicate before the split.",
        )


def _repeated(pool: GatheredRecords, side: Bool[np.ndarray, " n"]) -> int:
    """Return how many records of a side equal a record of another subject (or of none)."""
    rows = np.flatnonzero(side)
    whose = -1 - rows
    if pool.subjects is not None:
        whose = np.where(pool.subjects[rows] < 0, whose, pool.subjects[rows])
    different = np.unique(np.stack([pool.contents[rows], whose]), axis=1)[0]
    names, counts = np.unique(different, return_counts=True)
    return int(np.isin(pool.contents[rows], names[counts > 1]).sum())


def warn_of_logits(answers: Float64[np.ndarray, "n w"], what: str) -> None:
    """Warn where answers that are read as logits look like probabilities."""
    if ((answers >= 0) & (answers <= 1)).all():
        sums = answers.sum(axis=1)
        warn(
            f"{what} answers with numbers between 0 and 1 whose rows sum to {sums.min():.4g} to "
            f"{sums.max():.4g}: they are read as logits. Pass output='logits' if they are, or "
            "normalise the rows if they are probabilities.",
        )


def warn_of_sums(answers: Float64[np.ndarray, "n w"], what: str) -> None:
    """Warn where probabilities had to be scaled."""
    sums = answers.sum(axis=1)
    warn(
        f"{what} answers with rows that sum to {sums.min():.4g} to {sums.max():.4g}, as one model "
        "per class does: each row was divided by its sum. If attackers see the rows as they are, "
        "their sums may tell more."
    )


def warn_of_predictions(
    probable: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"], what: str
) -> None:
    """Warn where a model's labels are not its most probable classes."""
    other = int((probable != predicted).sum())
    if other:
        warn(
            f"{what} predicts another label than its most probable class for {other:,} of "
            f"{len(predicted):,} records. Accuracies, correctness and label-only attacks go by the "
            "label that it predicts, other attacks by its probabilities."
        )
