"""Statistics of one answer among those of reference models: LiRA, RMIA and BaVarIA, unchecked.

Every statistic takes n log-odds of the label from the target, runs x n from the reference models,
and the two sides of each record: the models that trained on it, and those that did not. "Online"
uses both sides, "offline" only the second. Arrays are finite float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import gammaln, log_expit

from selena.errors import ConfigError

PRIOR_MODELS = 4.0
"""Weight of BaVarIA's pooled variance, in reference models."""

LEAST_SD = 1e-3

StatisticName = Literal["lira", "rmia", "base", "bavaria"]
Variance = Literal["auto", "record", "shared"]
Matrix = Float64[np.ndarray, "r n"]
Mask = Bool[np.ndarray, "r n"]
Scores = Float64[np.ndarray, " n"]


@runtime_checkable
class Statistic(Protocol):
    """Scores records by the target's answers and those of the reference models."""

    def __call__(
        self,
        target: Scores,
        references: Matrix,
        sides: Sequence[Mask],
        pooled: Sequence[float | None],
    ) -> Scores:
        """Return n scores, higher = member.

        Args:
            target: n finite log-odds.
            references: runs x n, finite.
            sides: online, which models trained on the record and which did not; offline, only
                the latter.
            pooled: mean variance over all records, per side.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class StatisticSettings:
    """Settings of all attacks that use reference models' answers.

    Attributes:
        online: whether models that trained on the record are used; offline needs none of them.
        variance: variance of LiRA's distributions: "record" for one per record, "shared" for one
            of all records, or "auto" for what finds more members of the reference models
            (`selena.attacks.reference_variance`).
        offline_a: a of offline RMIA, in [0, 1] (see `rmia_scores`).
        population: whether RMIA compares each record with the known non-members. Its score is then
            a share of them; the ranking does not change.
        gamma: factor by which the record's ratio must exceed theirs, at least 1.
    """

    online: bool = True
    variance: Variance = "auto"
    offline_a: float = 0.3
    population: bool = False
    gamma: float = 1.0

    def check(self, statistic: str) -> None:
        """Raise `ConfigError` for an unknown statistic or a setting out of range."""
        if statistic not in get_args(StatisticName):
            raise ConfigError(
                f"statistic={statistic!r} is unknown; use {', '.join(get_args(StatisticName))}."
            )
        check_variance(self.variance)
        check_rmia(self.gamma, self.offline_a)

    def called(self, statistic: StatisticName) -> str:
        """Return the name of an attack with this statistic."""
        return statistic if self.online else f"{statistic}_offline"

    def bind(self, statistic: StatisticName) -> Statistic:
        """Return the statistic with these settings."""
        if statistic == "lira":
            return lira_statistic
        if statistic == "bavaria":
            return bavaria_statistic
        a = 1.0 if statistic == "base" else self.offline_a
        return partial(rmia_statistic, offline_a=a)


def check_variance(variance: str) -> None:
    """Raise `ConfigError` unless `variance` is known."""
    if variance not in get_args(Variance):
        raise ConfigError(f"variance={variance!r} is unknown; use auto, record or shared.")


def check_rmia(gamma: float, offline_a: float) -> None:
    """Raise `ConfigError` for settings of RMIA out of range."""
    if not gamma >= 1:
        raise ConfigError(f"gamma is {gamma}; it must be at least 1.")
    if not 0 <= offline_a <= 1:
        raise ConfigError(f"offline_a is {offline_a}; it must be in [0, 1].")


def lira_statistic(
    target: Scores, references: Matrix, sides: Sequence[Mask], pooled: Sequence[float | None]
) -> Scores:
    """Return LiRA's score (Carlini et al. 2022, Algorithms 1 and 2).

    Args:
        target: n log-odds.
        references: runs x n.
        sides: see `Statistic`.
        pooled: per side, the variance of all records; None for a variance per record.
    """
    found: list[Scores] = []
    for side, common in zip(sides, pooled, strict=True):
        mean, own, _ = moments(references, side, with_variance=common is None)
        sd = np.maximum(np.sqrt(own if common is None else common), LEAST_SD)
        z = (target - mean) / sd
        found.append(-0.5 * z**2 - np.log(sd) if len(sides) == 2 else z)
    return np.subtract(*found) if len(sides) == 2 else found[0]


def rmia_statistic(
    target: Scores,
    references: Matrix,
    sides: Sequence[Mask],
    pooled: Sequence[float | None] = (),
    *,
    offline_a: float = 0.3,
) -> Scores:
    """Return log p - log(mean of p), RMIA's ratio (Zarifzadeh et al. 2024, Equation 3).

    Online the mean is the mean of both sides' means, regardless of their sizes. So a score does
    not reveal whether one model less trained on the record.

    Args:
        target: n log-odds.
        references: runs x n.
        sides: see `Statistic`.
        pooled: not used.
        offline_a: a, where there is one side only.
    """
    log_p = log_expit(references)
    means = [_log_mean(log_p, side) for side in sides]
    if len(means) == 2:
        mean = np.logaddexp(*means) - np.log(2)
    else:
        mean = np.log(((1 + offline_a) * np.exp(means[0]) + (1 - offline_a)) / 2)
        if offline_a == 1:  # exp rounds small probabilities to 0
            mean = means[0]
    ratio: Scores = log_expit(target) - mean
    return ratio


def _log_mean(log_p: Matrix, side: Mask) -> Scores:
    used = np.where(side, log_p, -np.inf)
    highest = used.max(axis=0)
    used -= highest
    mean: Scores = highest + np.log(np.exp(used, out=used).sum(axis=0) / side.sum(axis=0))
    return mean


def bavaria_statistic(
    target: Scores,
    references: Matrix,
    sides: Sequence[Mask],
    pooled: Sequence[float | None],
    *,
    prior_models: float = PRIOR_MODELS,
) -> Scores:
    """Return BaVarIA's score, with Student's t (see `bavaria_scores`).

    Args:
        target: n log-odds.
        references: runs x n.
        sides: see `Statistic`.
        pooled: per side, the variance of all records.
        prior_models: weight of `pooled`, in models.
    """
    found: list[Scores] = []
    for side, common in zip(sides, pooled, strict=True):
        assert common is not None
        mean, own, count = moments(references, side)
        freedom = prior_models + count - 1
        variance = (prior_models * common + (count - 1) * own) / freedom
        scale = np.maximum(np.sqrt(variance * (1 + 1 / count)), LEAST_SD)
        z = (target - mean) / scale
        found.append(_log_student_t(z, freedom) - np.log(scale) if len(sides) == 2 else z)
    return np.subtract(*found) if len(sides) == 2 else found[0]


def moments(
    models: Matrix, side: Mask, *, with_variance: bool = True
) -> tuple[Scores, Scores, Scores]:
    """Return mean, variance and number of one side's models, per record."""
    count = side.sum(axis=0)
    mean = np.einsum("rn,rn->n", models, side) / count
    if not with_variance:
        return mean, np.zeros_like(mean), count.astype(np.float64)
    apart = models - mean
    variance = np.einsum("rn,rn,rn->n", apart, apart, side) / np.maximum(count - 1, 1)
    return mean, variance, count.astype(np.float64)


def _log_student_t(z: Scores, freedom: Scores) -> Scores:
    """Return the log-density of Student's t distribution."""
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(np.pi * freedom) / 2
    density: Scores = constant - (freedom + 1) / 2 * np.log1p(z**2 / freedom)
    return density
