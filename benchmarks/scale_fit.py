"""Laws fitted to measured points: a power of one quantity, or a sum of a few terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """y = factor · x ** exponent, by least squares of the logarithms.

    Attributes:
        factor: y at x = 1.
        exponent: 1 where y doubles with x.
        last: exponent between the two largest x, where fixed costs weigh least.
    """

    factor: float
    exponent: float
    last: float

    def __call__(self, x: float) -> float:
        return float(self.factor * x**self.exponent)


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Return the law through points of rising `x`, all positive."""
    if len(x) < 2 or min(*x, *y) <= 0:
        raise ValueError(f"A power law needs two or more positive points; got {x} and {y}.")
    log_x, log_y = np.log(x), np.log(y)
    exponent, offset = np.polyfit(log_x, log_y, 1)
    last = (log_y[-1] - log_y[-2]) / (log_x[-1] - log_x[-2])
    return PowerLaw(float(np.exp(offset)), float(exponent), float(last))


def terms(columns: Sequence[Sequence[float]], y: Sequence[float]) -> list[float]:
    """Return the factors of `columns` whose sum comes closest to `y`, in shares of `y`.

    Weighted by 1 / y, so that a small point counts as much as a large one.
    """
    weight = 1 / np.asarray(y, dtype=np.float64)
    matrix = np.asarray(columns, dtype=np.float64).T * weight[:, None]
    factors, *_ = np.linalg.lstsq(matrix, np.ones(len(y)), rcond=None)
    return [float(factor) for factor in factors]
