"""LiRA whose means and variances are empirical Bayes estimates: for few reference models.

A mean over two models is mostly noise, and so is their variance. Other records tell what to expect.
The two true means of a record, of models that trained on it and of models that did not, have a
joint normal prior, whose mean and covariance are those of all records less the noise. So a record
that is easy without training is expected to gain little by it, as the others did. A record's
variance is shrunk to that of records with similar means, since confident answers vary in another
way than doubtful ones. That variances lean on others is BaVarIA's idea (Braennvall 2026), with one
variance for all records; shrunk means are those of Efron and Morris (1973), in two dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from selena.attacks.reference_moments import (
    LEAST_SD,
    PRIOR_MODELS,
    Mask,
    Matrix,
    Scores,
    moments,
)

Sides = Float64[np.ndarray, "2 n"]

_SHARE, _FEWEST = 20, 50  # a variance is that of the nearest 1/20 of all records, at least of 50
_LEAST_SIGNAL = 0.01  # of the means' variance between records that is not taken for noise
_MOST_CORRELATION = 0.99


@dataclass(frozen=True, eq=False)
class Prior:
    """What all records of a pool say about one of them.

    The first side is that of models which trained on the record.

    Attributes:
        mean: mean of both sides' true means.
        covariance: their covariance between records.
        middles: middle of the two means per record of the pool, sorted.
        sums: sums of the variances of the first 0, 1, ... n records in that order, per side.
    """

    mean: Float64[np.ndarray, "2"]
    covariance: Float64[np.ndarray, "2 2"]
    middles: Float64[np.ndarray, " n"]
    sums: Float64[np.ndarray, "2 n1"]

    @classmethod
    def of(cls, means: Sides, variances: Sides, counts: Sides) -> Prior:
        """Return the prior of a pool: its records' means, variances and numbers of models."""
        middles = means.mean(axis=0)
        order = np.argsort(middles, kind="stable")
        sums = np.zeros((2, len(middles) + 1))
        np.cumsum(variances[:, order], axis=1, out=sums[:, 1:])
        if not len(middles):
            return cls(np.zeros(2), np.zeros((2, 2)), middles, sums)
        mean = means.mean(axis=1)
        apart = means - mean[:, None]
        observed = (apart**2).mean(axis=1)
        noise = (variances / counts).mean(axis=1)
        signal = np.maximum(observed - noise, _LEAST_SIGNAL * observed)
        most = _MOST_CORRELATION * np.sqrt(signal.prod())
        together = np.clip(apart.prod(axis=0).mean(), -most, most)
        covariance = np.array([[signal[0], together], [together, signal[1]]])
        return cls(mean, covariance, middles[order], sums)

    def variances(self, middles: Scores) -> Sides:
        """Return both sides' mean variance of the records with the nearest middles."""
        n = len(self.middles)
        wide = min(n, max(_FEWEST, n // _SHARE))
        left, right = (np.searchsorted(self.middles, middles, side) for side in ("left", "right"))
        first = np.clip((left + right) // 2 - wide // 2, 0, n - wide)
        found: Sides = (self.sums[:, first + wide] - self.sums[:, first]) / max(wide, 1)
        return found.clip(min=0)  # a difference of sums may round below 0


def empirical_bayes_statistic(
    target: Scores, references: Matrix, sides: Sequence[Mask], pooled: Prior
) -> Scores:
    """Return the log-ratio of two normal predictive densities (see `empirical_bayes_scores`).

    Args:
        target: n log-odds.
        references: runs x n.
        sides: which models trained on the record, and which did not.
        pooled: what all records say.
    """
    means, own, counts = (
        np.stack(each) for each in zip(*(moments(references, side) for side in sides), strict=True)
    )
    expected = pooled.variances(means.mean(axis=0))
    variances = PRIOR_MODELS * expected + (counts - 1) * own
    variances = np.maximum(variances / (PRIOR_MODELS + counts - 1), LEAST_SD**2)
    means, errors = _posterior(pooled, means, variances / counts)
    variances += errors
    member, non_member = -((target - means) ** 2 / variances + np.log(variances)) / 2
    ratio: Scores = member - non_member
    return ratio


def _posterior(prior: Prior, means: Sides, noise: Sides) -> tuple[Sides, Sides]:
    """Return mean and variance of the true means, given noisy ones and the noise's variances."""
    total = prior.covariance + noise.T[:, :, None] * np.eye(2)  # n x 2 x 2
    gain = prior.covariance @ np.linalg.inv(total)
    apart = means.T - prior.mean
    mean = prior.mean + (gain @ apart[:, :, None])[:, :, 0]
    left = prior.covariance - gain @ prior.covariance
    variance = np.maximum(left[:, [0, 1], [0, 1]], 0)
    return mean.T, variance.T
