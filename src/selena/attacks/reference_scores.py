"""Scores from confidences of reference models that somebody has: LiRA, RMIA, BASE and BaVarIA.

Each function takes log-odds of the label, phi = log(p / (1 - p)): those of the target model and
those of the reference models, and says which reference models trained on which record. Nothing is
trained here, so one matrix of reference models serves any number of targets and of statistics.

"Online" compares with models that trained on the record and with models that did not. "Offline"
uses only models that did not, so it needs no training after the records in question are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import gammaln, log_expit

from selena.errors import ConfigError, DataError

MODELS_FOR_OWN_VARIANCE = 64
"""From this number of reference models on, each record has a variance of its own (Carlini et al.
2022, Section VI-D)."""

_LEAST_SD = 1e-3
_COLUMNS = 1 << 16  # records that are scored at once, so that memory stays bounded
_PRIOR_MODELS = 4.0

Matrix = Float64[np.ndarray, "r n"]
Mask = Bool[np.ndarray, "r n"]
Scores = Float64[np.ndarray, " n"]


def lira_scores(
    target: Any,
    references: Any,
    inside: Any,
    *,
    variance: str = "auto",
    online: bool = True,
) -> Scores:
    """Return LiRA's score per record (Carlini et al. 2022, Algorithms 1 and 2).

    Online: log N(phi; in) - log N(phi; out). Offline: (phi - mean out) / sd out, which ranks
    records as the paper's one-sided probability does and does not round to 1.

    Args:
        target: n log-odds of the label by the target model; infinite values are clipped.
        references: runs x n, the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.
        variance: "record" for a variance per record, "shared" for one of all records, "auto" for
            "record" from 64 reference models on.
        online: whether models that trained on the record are used.

    Returns:
        n scores, float64; higher = member.

    Raises:
        DataError: shapes disagree, a value is NaN, or a record has fewer than two models on a side
            that is needed.
        ConfigError: an unknown `variance`.
    """
    target, references, inside = _checked(target, references, inside, 2, online=online)
    if variance not in ("auto", "record", "shared"):
        raise ConfigError(f"variance={variance!r} is unknown; use auto, record or shared.")
    shared = variance == "shared" or (
        variance == "auto" and len(references) < MODELS_FOR_OWN_VARIANCE
    )
    sides = (inside, ~inside) if online else (~inside,)
    pooled = [pooled_variance(references, side) if shared else None for side in sides]
    return _in_chunks(partial(lira_statistic, pooled=pooled), target, references, sides)


def lira_statistic(
    target: Scores, references: Matrix, sides: Sequence[Mask], pooled: Sequence[float | None]
) -> Scores:
    """Return LiRA's score per record, without checks.

    Args:
        target: n finite log-odds.
        references: runs x n, finite.
        sides: which reference models are used: those that trained on the record and those that
            did not (online), or the latter alone (offline).
        pooled: per side, the variance of all records; None for a variance per record.
    """
    found: list[Scores] = []
    for side, common in zip(sides, pooled, strict=True):
        mean, own, _ = _moments(references, side)
        sd = np.maximum(np.sqrt(own if common is None else common), _LEAST_SD)
        z = (target - mean) / sd
        found.append(-0.5 * z**2 - np.log(sd) if len(sides) == 2 else z)
    return np.subtract(*found) if len(sides) == 2 else found[0]


def rmia_scores(
    target: Any,
    references: Any,
    inside: Any,
    *,
    population: tuple[Any, Any] | None = None,
    gamma: float = 1.0,
    online: bool = True,
    offline_a: float = 0.3,
) -> Scores:
    """Return RMIA's score per record (Zarifzadeh et al. 2024, Equations 2 to 5).

    The ratio of a record is p / mean of p over reference models, p the probability of its label.
    Without a population the score is the logarithm of that ratio. It ranks records as the paper's
    score does, but without its ties. With a population the score is the share of population records
    z with ratio(x) / ratio(z) >= gamma. Records of equal share are ordered by their own ratio, by
    less than one record of the population.

    Args:
        target: n log-odds of the label by the target model.
        references: runs x n, the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.
        population: (m log-odds by the target, runs x m by the reference models) of records that
            none of the models trained on.
        gamma: at least 1; how much larger than that of z the ratio must be. Only with a population.
        online: whether models that trained on the record are used. Offline the mean over all models
            is approximated by ((1 + a) p_out + (1 - a)) / 2, p_out the mean over the others.
        offline_a: a, in [0, 1]; the paper takes 0.3 for CIFAR-10 and larger values for data whose
            reference models resemble the target less.

    Returns:
        n scores, float64; higher = member.

    Raises:
        DataError: shapes disagree, a value is NaN, or a record lacks a model on a needed side.
        ConfigError: gamma below 1, or a outside [0, 1].
    """
    target, references, inside = _checked(target, references, inside, 1, online=online)
    if not gamma >= 1:
        raise ConfigError(f"gamma is {gamma}; it must be at least 1.")
    if not 0 <= offline_a <= 1:
        raise ConfigError(f"offline_a is {offline_a}; it must be in [0, 1].")

    log_ratio = partial(rmia_statistic, offline_a=None if online else offline_a)
    used = np.ones_like(inside) if online else ~inside
    ratios = _in_chunks(log_ratio, target, references, (used,))
    if population is None:
        return ratios
    z_target, z_references = (np.asarray(each, dtype=np.float64) for each in population)
    if z_references.shape != (len(references), *z_target.shape) or not z_target.size:
        raise DataError(
            f"population holds arrays of shapes {z_target.shape} and {z_references.shape}. Give m "
            f"log-odds of the target and {len(references)} x m of the reference models."
        )
    outside = np.ones(z_references.shape, dtype=bool)
    z_ratios = np.sort(_in_chunks(log_ratio, z_target, z_references, (outside,)))
    beaten = np.searchsorted(z_ratios, ratios - np.log(gamma), side="right")
    # In (0, 1) and rising with the ratio: it orders records that beat equally many.
    own = np.exp(ratios - np.logaddexp(0, ratios))
    shares: Scores = (beaten + own) / (len(z_ratios) + 1)
    return shares


def rmia_statistic(
    target: Scores, references: Matrix, sides: Sequence[Mask], offline_a: float | None = None
) -> Scores:
    """Return log p - log(mean of p) per record, without checks.

    Args:
        target: n finite log-odds.
        references: runs x n, finite.
        sides: one mask, of the reference models over which the mean is taken.
        offline_a: a, where those did not train on the record; None where half of them did.
    """
    (side,) = sides
    log_p = np.where(side, log_expit(references), -np.inf)
    highest = log_p.max(axis=0)
    mean = highest + np.log(np.exp(log_p - highest).sum(axis=0) / side.sum(axis=0))
    if offline_a is not None:
        mean = np.log(((1 + offline_a) * np.exp(mean) + (1 - offline_a)) / 2)
    ratio: Scores = log_expit(target) - mean
    return ratio


def base_scores(target: Any, references: Any, inside: Any, *, online: bool = True) -> Scores:
    """Return BASE's score per record (Lassila et al. 2025): log p - log(mean of exp(-loss)).

    The mean is over all reference models, or offline over those that did not train on the record.
    exp(-loss) is the probability of the label, so this equals RMIA without a population where the
    loss is cross-entropy, and offline with a = 1 except for a constant.

    Args:
        target: n log-odds of the label by the target model.
        references: runs x n, the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.
        online: whether models that trained on the record are used.

    Returns:
        n scores, float64; higher = member.

    Raises:
        DataError: as for `rmia_scores`.
    """
    return rmia_scores(target, references, inside, online=online, offline_a=1.0)


def bavaria_scores(
    target: Any,
    references: Any,
    inside: Any,
    *,
    prior_models: float = _PRIOR_MODELS,
    online: bool = True,
) -> Scores:
    """Return a score per record with Bayesian variances, after BaVarIA (Braennvall 2026).

    Each side's log-odds are normal with an unknown mean and variance. The variance has a conjugate
    (scaled inverse chi-squared) prior at the variance pooled over all records, worth `prior_models`
    reference models; the mean has a flat one. The score is the log-ratio of the two Student-t
    predictive densities; offline it is the t-statistic of the target among the models that did not
    train on the record. So a record's own spread counts as soon as there is evidence for it, and no
    number of models has to be chosen at which it begins to.

    Args:
        target: n log-odds of the label by the target model.
        references: runs x n, the same by each reference model.
        inside: runs x n booleans, whether the reference model trained on the record.
        prior_models: weight of the pooled variance, above 0.
        online: whether models that trained on the record are used.

    Returns:
        n scores, float64; higher = member.

    Raises:
        DataError: as for `lira_scores`.
        ConfigError: `prior_models` is not above 0.
    """
    target, references, inside = _checked(target, references, inside, 2, online=online)
    if not prior_models > 0:
        raise ConfigError(f"prior_models is {prior_models}; it must be above 0.")
    sides = (inside, ~inside) if online else (~inside,)
    pooled = [pooled_variance(references, side) for side in sides]

    def score(phi: Scores, models: Matrix, masks: Sequence[Mask]) -> Scores:
        found: list[Scores] = []
        for mask, common in zip(masks, pooled, strict=True):
            mean, own, count = _moments(models, mask)
            freedom = prior_models + count - 1
            variance = (prior_models * common + (count - 1) * own) / freedom
            scale = np.maximum(np.sqrt(variance * (1 + 1 / count)), _LEAST_SD)
            z = (phi - mean) / scale
            found.append(_log_student_t(z, freedom) - np.log(scale) if online else z)
        return np.subtract(*found) if online else found[0]

    return _in_chunks(score, target, references, sides)


def _checked(
    target: Any, references: Any, inside: Any, least: int, *, online: bool
) -> tuple[Scores, Matrix, Mask]:
    """Return the three arrays, infinite log-odds clipped.

    Raises:
        DataError: shapes disagree, a value is NaN, or a record has fewer than `least` models on a
            side that is needed.
    """
    phi, models = (np.asarray(each, dtype=np.float64) for each in (target, references))
    mask = np.asarray(inside)
    if phi.ndim != 1 or models.shape != (len(models), len(phi)) or mask.shape != models.shape:
        raise DataError(
            f"Shapes disagree: target {phi.shape}, references {models.shape}, inside {mask.shape}. "
            "Give n log-odds, runs x n log-odds and runs x n booleans."
        )
    if mask.dtype != np.bool_:
        if not np.isin(mask, (0, 1)).all():
            raise DataError(
                "inside holds other values than 0 and 1. Give booleans, True = trained on."
            )
        mask = mask.astype(bool)
    for name, values in (("target", phi), ("references", models)):
        if np.isnan(values).any():
            raise DataError(f"{name} holds NaN. Leave out records that a model could not answer.")
    for which, side in (("trained", mask), ("did not train", ~mask))[0 if online else 1 :]:
        fewest = int(side.sum(axis=0).min(initial=len(models)))
        if fewest < least:
            raise DataError(
                f"Some record has {fewest} reference models that {which} on it; {least} are "
                "needed. Give more reference models, or online=False where none trained on it."
            )
    end = _end(models)
    return phi.clip(-end, end), models.clip(-end, end), mask


def _end(models: Matrix) -> float:
    finite = np.abs(models[np.isfinite(models)])
    return (float(finite.max()) if finite.size else 0.0) + float(np.log(2))


def _in_chunks(
    score: Callable[[Scores, Matrix, Sequence[Mask]], Scores],
    target: Scores,
    references: Matrix,
    sides: tuple[Mask, ...],
) -> Scores:
    """Return the scores of all records, computed for some columns at a time."""
    found = np.empty(len(target))
    for start in range(0, len(target), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        found[part] = score(target[part], references[:, part], [side[:, part] for side in sides])
    return found


def _moments(models: Matrix, side: Mask) -> tuple[Scores, Scores, Scores]:
    """Return mean, variance and number of one side's models, per record."""
    count = side.sum(axis=0)
    mean = (models * side).sum(axis=0) / count
    variance = ((models - mean) ** 2 * side).sum(axis=0) / np.maximum(count - 1, 1)
    return mean, variance, count.astype(np.float64)


def _log_student_t(z: Scores, freedom: Scores) -> Scores:
    """Return the log-density of Student's t distribution."""
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(np.pi * freedom) / 2
    density: Scores = constant - (freedom + 1) / 2 * np.log1p(z**2 / freedom)
    return density


def pooled_variance(models: Matrix, side: Mask) -> float:
    """Return the mean over all records of one side's variances."""
    total = 0.0
    for start in range(0, models.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        total += float(_moments(models[:, part], side[:, part])[1].sum())
    return float(total / max(models.shape[1], 1))
