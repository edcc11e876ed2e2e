"""Statistics of one answer among those of reference models, such as LiRA and RMIA, unchecked.

Every statistic takes n log-odds of the label from the target, runs x n from the reference models,
and the two sides of each record: the models that trained on it, and those that did not. "Online"
uses both sides, "offline" only the second. Arrays are finite float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from scipy.special import log_expit

from selena.attacks.empirical_bayes import empirical_bayes_statistic
from selena.attacks.reference_moments import (
    LEAST_SD,
    PRIOR_MODELS,
    Mask,
    Matrix,
    Scores,
    log_student_t,
    moments,
)
from selena.errors import ConfigError

StatisticName = Literal["lira", "rmia", "base", "bavaria", "empirical_bayes"]
Variance = Literal["auto", "record", "shared"]


@runtime_checkable
class Statistic(Protocol):
    """Scores records by the target's answers and those of the reference models."""

    def __call__(
        self,
        target: Scores,
        references: Matrix,
        sides: Sequence[Mask],
        pooled: Any,
    ) -> Scores:
        """Return n scores, higher = member.

        Args:
            target: n finite log-odds.
            references: runs x n, finite.
            sides: online, which models trained on the record and which did not; offline, only
                the latter.
            pooled: what all records say: a variance per side, None for a variance per record, or
                a prior.
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
        if statistic == "empirical_bayes" and not self.online:
            raise ConfigError(
                "empirical_bayes needs reference models that trained on the record. Use "
                "bavaria with online=False, or leave online at True."
            )

    def called(self, statistic: StatisticName) -> str:
        """Return the name of an attack with this statistic."""
        return statistic if self.online else f"{statistic}_offline"

    def bind(self, statistic: StatisticName) -> Statistic:
        """Return the statistic with these settings."""
        if statistic == "lira":
            return lira_statistic
        if statistic == "bavaria":
            return bavaria_statistic
        if statistic == "empirical_bayes":
            return empirical_bayes_statistic
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
        found.append(log_student_t(z, freedom) - np.log(scale) if len(sides) == 2 else z)
    return np.subtract(*found) if len(sides) == 2 else found[0]
