"""What this machine can do, measured beside a stage: the yardstick of its utilisation."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from selena.training.linear_stack import linear

_SIDE = 1024
_REPEATS = 7


def matmul_rate(dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of a large matrix product.

    The best of some repeats, on as many threads as PyTorch uses now, by whichever is faster of
    the libraries that it brings along. A product of 1,024 x 1,024 matrices fills every core, and
    takes milliseconds.
    """
    a, b = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    out, seconds = torch.mm(a, b), float("inf")
    multiply: tuple[Callable[[], object], ...] = (
        lambda: torch.mm(a, b, out=out),
        lambda: linear(a, b, None, "none"),
    )
    for one in _REPEATS * multiply:
        start = time.perf_counter()
        one()
        seconds = min(seconds, time.perf_counter() - start)
    return 2 * _SIDE**3 / seconds
