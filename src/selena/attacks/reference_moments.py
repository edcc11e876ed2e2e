"""Mean and variance of reference models' log-odds, per record and side."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import gammaln

Matrix = Float64[np.ndarray, "r n"]
Mask = Bool[np.ndarray, "r n"]
Scores = Float64[np.ndarray, " n"]

PRIOR_MODELS = 4.0
"""Weight of other records' variance beside a record's own, in reference models."""

LEAST_SD = 1e-3


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


def log_student_t(z: Scores, freedom: Scores) -> Scores:
    """Return the log-density of Student's t distribution."""
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(np.pi * freedom) / 2
    density: Scores = constant - (freedom + 1) / 2 * np.log1p(z**2 / freedom)
    return density
