"""Laws fitted to measured points: a power of one quantity, or a sum of a few terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


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
    """Return the factors, none below 0, of `columns` whose sum comes closest to `y`.

    By plain least squares: what blurs a measured peak or time is about as large at every point.
    """
    matrix = np.asarray(columns, dtype=np.float64).T
    scale = matrix.max(axis=0)
    factors, _ = nnls(matrix / scale, np.asarray(y, dtype=np.float64))
    return [float(factor) for factor in factors / scale]
