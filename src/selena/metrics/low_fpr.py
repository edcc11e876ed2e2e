"""The TPR at a given FPR, with an interval that accounts for the estimated threshold.

The threshold with a FPR of X among all non-members is unknown. The numbers of scored non-members
and members above it are Binomial(n0, X) and Binomial(n1, TPR). So a pair of a threshold t and a TPR
p is plausible if

    z_fpr(t)^2 + z_tpr(t, p)^2 <= z^2,

where z is the normal quantile of the confidence, z_fpr the normal deviate of the false positives at
t under X (mid-p), and z_tpr that of the true positives under p (the score test, which Wilson's
interval inverts). The interval contains every p that is plausible with some threshold. On a
straight part of the ROC curve this is the usual interval with both variances added. Elsewhere it
follows the curve's real shape, including ties and the empty left end: with fewer than about three
expected false positives the lower end is 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil, floor, sqrt
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import bdtr, ndtri

from selena.errors import ConfigError
from selena.metrics.intervals import Interval, clopper_pearson, normal_quantile
from selena.metrics.roc import Roc

RESOLVED = 10
"""False positives that must be allowed to resolve a FPR; with fewer, the FPR of a threshold is not
known within a factor of two."""


@dataclass(frozen=True)
class TprAtFpr:
    """The largest TPR that stays within a FPR.

    Attributes:
        tpr: the TPR, in [0, 1].
        interval: interval of the TPR at the threshold with this FPR among all non-members; see
            the module.
        realized_fpr: the FPR at that corner, at most the requested one.
        realized_fpr_interval: Clopper-Pearson interval of the threshold's FPR among all
            non-members.
        allowed_false_positives: floor(requested FPR x non-members).
        resolved: whether at least `RESOLVED` false positives are allowed, or all. If not, the
            interval is still correct, but wide.
        needed_non_members: the fewest non-members that resolve this FPR.
    """

    tpr: float
    interval: Interval
    realized_fpr: float
    realized_fpr_interval: Interval
    allowed_false_positives: int
    resolved: bool
    needed_non_members: int

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def tpr_at_fpr(
    curve: Roc, fpr: float, *, confidence: float = 0.95, comparisons: int = 1
) -> TprAtFpr:
    """Return the largest TPR of `curve` with at most floor(fpr x non-members) false positives.

    Args:
        curve: from `roc_curve`.
        fpr: in (0, 1]; used as the decimal that it is written as, so that 0.29 of 100 is 29.
        confidence: confidence of the intervals.
        comparisons: number of intervals that are correct together (Bonferroni).

    Raises:
        ConfigError: `fpr` outside (0, 1], or `confidence` or `comparisons` out of range.
    """
    rate = _rate(fpr)
    allowed = floor(rate * curve.non_members)
    corner = int(np.searchsorted(curve.false_positives, allowed, side="right")) - 1
    tpr = int(curve.true_positives[corner]) / curve.members
    alarms = int(curve.false_positives[corner])
    low, high = _plausible_tprs(curve, float(fpr), normal_quantile(confidence, comparisons))
    return TprAtFpr(
        tpr=tpr,
        interval=(min(low, tpr), max(high, tpr)),
        realized_fpr=alarms / curve.non_members,
        realized_fpr_interval=clopper_pearson(
            alarms, curve.non_members, confidence=confidence, comparisons=comparisons
        ),
        allowed_false_positives=allowed,
        resolved=curve.non_members >= needed_non_members(fpr),
        needed_non_members=needed_non_members(fpr),
    )


def needed_non_members(fpr: float) -> int:
    """Return the fewest non-members that resolve `fpr`; a FPR of 1 has nothing to resolve.

    Raises:
        ConfigError: `fpr` outside (0, 1].
    """
    rate = _rate(fpr)
    return 1 if rate == 1 else ceil(RESOLVED / rate)


def _rate(fpr: float) -> Fraction:
    if not 0 < fpr <= 1:
        raise ConfigError(f"A FPR of {fpr} was asked for; it must lie in (0, 1].")
    return Fraction(str(float(fpr)))


def tpr_band(curve: Roc, *, points: int = 40, confidence: float = 0.95) -> dict[str, list[float]]:
    """Return pointwise intervals of the TPR: "fpr", "low" and "high", at FPRs on a log grid."""
    grid = np.geomspace(1 / curve.non_members, 1, points) if curve.non_members > 1 else np.ones(1)
    z = normal_quantile(confidence)
    ends = [_plausible_tprs(curve, min(1.0, float(fpr)), z) for fpr in grid]
    return {
        "fpr": grid.tolist(),
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
    }


def _plausible_tprs(curve: Roc, fpr: float, z: float) -> Interval:
    rows = _within_reach(curve.false_positives, fpr, z)
    deviate = _fpr_deviates(curve.false_positives, rows, fpr)
    plausible = deviate < z
    members = curve.members
    left = np.sqrt(z * z - deviate[plausible] ** 2)
    share = curve.true_positives[rows][plausible] / members
    # Wilson's interval with the remaining part of z at each threshold.
    scale = 1 + left**2 / members
    center = (share + left**2 / (2 * members)) / scale
    half = left * np.sqrt(share * (1 - share) / members + (left / (2 * members)) ** 2) / scale
    # At a TPR of 0 or 1 one end is exact; set it, so that rounding does not order thresholds.
    low, high = np.where(share > 0, center - half, 0.0), np.where(share < 1, center + half, 1.0)
    return max(0.0, float(low.min())), min(1.0, float(high.max()))


def _within_reach(false_positives: Int[np.ndarray, " k"], fpr: float, z: float) -> slice:
    """Return the corners that may be plausible, plus one at either end, to skip all others."""
    n = int(false_positives[-1])
    reach = (z + 1) * (sqrt(n * fpr * (1 - fpr)) + z + 1)
    start, end = np.searchsorted(false_positives, [n * fpr - reach, n * fpr + reach])
    return slice(max(0, int(start) - 1), int(end) + 1)


def _fpr_deviates(
    false_positives: Int[np.ndarray, " k"], rows: slice, fpr: float
) -> Float[np.ndarray, " r"]:
    """Return for each corner, in deviations, how implausible it is as the last one within `fpr`.

    For the last corner, its own FPR is at most `fpr` and the FPR of the next corner is above it.
    Too many false positives are evidence against the former, too few at the next corner against
    the latter.
    """
    n = int(false_positives[-1])
    counts = false_positives[rows]
    following = np.append(false_positives, n)[rows.start + 1 : rows.start + 1 + len(counts)]
    fewer, more = _mid_p(following, n, fpr), 1 - _mid_p(counts, n, fpr)
    fewer[counts == n] = 1.0  # there is no corner after the last one
    if fpr == 1:
        more[:] = 1.0
    tail = np.clip(np.minimum(fewer, more), np.finfo(float).tiny, 0.5)
    deviates: Float[np.ndarray, " r"] = -ndtri(tail)
    return deviates


def _mid_p(counts: Int[np.ndarray, " r"], n: int, fpr: float) -> Float[np.ndarray, " r"]:
    """Return P(fewer) + P(equal) / 2 for a binomial count of `n` trials."""
    fewer = np.where(counts > 0, bdtr(np.maximum(counts - 1, 0).astype(float), n, fpr), 0.0)
    mid: Float[np.ndarray, " r"] = (fewer + bdtr(counts.astype(float), n, fpr)) / 2
    return mid
