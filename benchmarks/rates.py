"""What this machine can do, measured beside a stage: the yardstick of its utilisation."""

from __future__ import annotations

import time

import torch

_SIDE = 1024
_REPEATS = 7


def matmul_rate(dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of a large matrix product.

    The best of some repeats, on as many threads as PyTorch uses now. A product of
    1,024 x 1,024 matrices fills every core, and takes milliseconds.
    """
    a, b = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    out, seconds = torch.mm(a, b), float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds = min(seconds, time.perf_counter() - start)
    return 2 * _SIDE**3 / seconds
