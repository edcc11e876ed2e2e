"""What an audit warns of: it can go on, but a figure may not mean what it seems to."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Bool, Float64

from selena.data.groups import count_units
from selena.errors import AuditWarning
from selena.metrics.low_fpr import needed_non_members
from selena.types import AuditSplit

_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def warn(message: str) -> None:
    """Warn whoever called `audit`: three calls above a check."""
    warnings.warn(message, AuditWarning, stacklevel=5)


def warn_of_few(split: AuditSplit, fpr: float) -> None:
    """Warn where too few records are scored for a firm TPR at `fpr`.

    Raises:
        ConfigError: `fpr` outside (0, 1].
    """
    # As many members as non-members are scored.
    sides = (split.evaluation.members, split.evaluation.non_members)
    scored = min(map(count_units, sides))
    needed = needed_non_members(fpr)
    if scored < needed:
        warn(
            f"{scored} members and {scored} non-members are scored: the TPR at a FPR of {fpr:g} "
            f"has a wide interval. Score at least {needed} of each (beside those that the attacker "
            "knows), or ask for a higher fpr."
        )


def same_answers(
    first: Float64[np.ndarray, "n w"], again: Float64[np.ndarray, "n w"]
) -> Bool[np.ndarray, " n"]:
    """Return which records were answered alike, but for rounding."""
    close = np.isclose(first, again, rtol=_RELATIVE, atol=_ABSOLUTE)
    return np.asarray(close.all(axis=1))


def warn_of_unsteady(first: Float64[np.ndarray, "n w"], again: Float64[np.ndarray, "n w"]) -> None:
    """Warn where the same records were answered differently, alone and among others."""
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
