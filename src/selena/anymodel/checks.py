"""What an audit warns of: it can go on, but a figure may not mean what it seems to."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float64

from selena.data.groups import count_units
from selena.metrics.low_fpr import RESOLVED, tpr_at_fpr
from selena.metrics.roc import Roc
from selena.types import AuditSplit

_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


class AuditWarning(UserWarning):
    """Something that makes an audit's figures weaker than they look."""


def warn(message: str) -> None:
    """Warn whoever called `audit`: three calls above a check."""
    warnings.warn(message, AuditWarning, stacklevel=5)


def warn_of_few(split: AuditSplit, fpr: float) -> None:
    """Warn where too few false positives are allowed at `fpr` to say which FPR a threshold has.

    Raises:
        ConfigError: `fpr` outside (0, 1].
    """
    # As many members as non-members are scored.
    sides = (split.evaluation.members, split.evaluation.non_members)
    scored = min(map(count_units, sides))
    one_corner = Roc(np.zeros(1), np.array([0, scored]), np.array([0, scored]))
    point = tpr_at_fpr(one_corner, fpr)
    if not point.resolved:
        needed = point.needed_non_members
        warn(
            f"{scored} members and {scored} non-members are scored: too few for a FPR of {fpr:g}, "
            f"the smallest they resolve is {min(1.0, RESOLVED / scored):.2g}. Score at least "
            f"{needed} of each (beside those that the attacker knows), or ask for a higher fpr."
        )


def warn_of_unsteady(first: Float64[np.ndarray, "n w"], again: Float64[np.ndarray, "n w"]) -> None:
    """Warn where the same records were answered differently, alone and among others."""
    same = np.isclose(first, again, rtol=_RELATIVE, atol=_ABSOLUTE).all(axis=1)
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
