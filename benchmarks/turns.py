"""Two sides that take turns on one machine, and a command that says what they took."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from benchmarks.rates import matmul_rate
from selena.environment.description import describe_environment
from selena.files.writing import write_json

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what `work` gives, and the seconds that it takes."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def take_turns(
    ours: Callable[[], T], theirs: Callable[[], T], done: float, dtype: torch.dtype, repeats: int
) -> tuple[dict[str, Any], T, T]:
    """Return the figures of a training stage, and what each side gave last.

    Args:
        ours: the library's side, timed first in each turn.
        theirs: the plain side.
        done: operations of one side.
        dtype: of the products whose rate `done` is compared with, measured in each turn.
        repeats: number of turns.
    """
    seconds, baseline, rates = [], [], []
    for _ in range(repeats):
        rates.append(matmul_rate(dtype))
        fast, taken = timed(ours)
        seconds.append(taken)
        slow, taken = timed(theirs)
        baseline.append(taken)
    stage = {
        "ratio": median(baseline) / median(seconds),
        "ratios": [slower / faster for slower, faster in zip(baseline, seconds, strict=True)],
        "utilisation": done / median(seconds) / median(rates),
        "seconds": median(seconds),
        "baseline_seconds": median(baseline),
        "matmul_rate": median(rates),
        "precision": str(dtype).removeprefix("torch."),
        "repeats": repeats,
    }
    return stage, fast, slow


def common_options(
    description: str | None, stages: Iterable[str], repeats: int
) -> argparse.ArgumentParser:
    """Return a parser of what the commands of training stages share."""
    names = tuple(stages)
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser


def tell(result: dict[str, Any], module: str, path: Path | None) -> None:
    """Print the figures, and write them to `path` with the command that gave them."""
    print(result)
    if path:
        command = " ".join([f"python -m benchmarks.{module}", *sys.argv[1:]])
        write_json(path, {"command": command, "machine": describe_environment(), **result})
