"""What this machine can do, measured beside a stage: the yardstick of its utilisation.

python -m benchmarks.rates [--json FILE]

By itself it compares the two libraries that PyTorch multiplies matrices with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.page import how_made
from selena.files.writing import write_json
from selena.training.forward import linear

_SIDE = 1024
_REPEATS = 7


def matmul_rate(dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of a large matrix product.

    The best of some repeats, on as many threads as PyTorch uses now, by whichever is faster of
    the libraries that it brings along.
    """
    return max(rates(dtype).values())


def rates(dtype: torch.dtype) -> dict[str, float]:
    """Return the rate of PyTorch's own choice of a library, and that of oneDNN.

    A product of 1,024 x 1,024 matrices fills every core, and takes milliseconds.
    """
    a, b = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    out = torch.mm(a, b)
    multiply: dict[str, Callable[[], object]] = {
        "pytorch": lambda: torch.mm(a, b, out=out),
        "onednn": lambda: linear(a, b, None, "none"),
    }
    seconds = dict.fromkeys(multiply, float("inf"))
    for _ in range(_REPEATS):
        for name, product in multiply.items():
            start = time.perf_counter()
            product()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return {name: 2 * _SIDE**3 / taken for name, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the rates")
    path = parser.parse_args().json
    found = {str(d).removeprefix("torch."): rates(d) for d in (torch.float32, torch.bfloat16)}
    print(found)
    if path:
        write_json(path, {**how_made("rates"), "rates": found})


if __name__ == "__main__":
    main()
