"""One point of the scale study, in a process of its own: Split-AI, then its soft labels.

    python -m benchmarks.scale_point '{"n": 1000, "k": 5, ...}'

A line of JSON is printed at the start of every phase, and one at its end with its times, so that
whoever started the process can watch its memory phase by phase.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selena.defenses.split_ai import SplitAI, mean_prediction
from selena.networks.mlp import MLP
from selena.seeding import numpy_generator
from selena.training import executor
from selena.training.engine import fit_networks
from selena.training.job import Examples, Job
from selena.training.recipe import Precision, Recipe
from selena.types import Records
from selena.workspace import Silent, Step, Workspace

SEED, CLASSES = 0, 100
_BLOCK = 65_536


@dataclass(frozen=True)
class Point:
    """What one process is asked to do.

    Attributes:
        n: training records.
        k: sub-models; each trains for one epoch.
        l: how many of them do not train on a record.
        bits: features of a record, one byte each, mapped from a file.
        hidden: widths of the hidden layers.
        batch: records a step.
        threads: of PyTorch, in this process.
        workers: processes that train.
        precision: of training; see `Recipe`.
        passive: whether threads that wait for each other sleep, instead of spinning.
    """

    n: int
    k: int
    l: int  # noqa: E741 - the paper's letter
    bits: int = 128
    hidden: tuple[int, ...] = (256, 128)
    batch: int = 512
    threads: int = 1
    workers: int = 1
    precision: Precision = "auto"
    passive: bool = False

    @property
    def network(self) -> MLP:
        return MLP(self.bits, CLASSES, hidden=self.hidden)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"hidden": list(self.hidden)}


class Marks:
    """Prints where a phase begins and ends; the training is what a progress bar is open for."""

    def __init__(self) -> None:
        self._phase = ""
        self._start = (0.0, 0.0)

    def begin(self, phase: str) -> None:
        self.end()
        self._phase = phase
        print(json.dumps({"begin": phase}), flush=True)
        self._start = (time.perf_counter(), time.process_time())

    def end(self) -> None:
        if not self._phase:
            return
        wall, cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        print(json.dumps({"end": self._phase, "wall_s": wall, "cpu_s": cpu}), flush=True)
        self._phase = ""

    @contextmanager
    def step(self, _description: str, _total: float) -> Iterator[Step]:
        self.begin("training")
        with Silent().step("", 0) as bar:
            yield bar
        self.begin("index")


def write_records(folder: Path, n: int, bits: int) -> None:
    """Write `n` records of fair bits, and labels, as the arrays that `mapped` reads."""
    x = np.lib.format.open_memmap(
        folder / f"{bits}-bits.npy", mode="w+", dtype=np.uint8, shape=(n, bits)
    )
    draws = numpy_generator(SEED, "scale", bits)
    for start in range(0, n, _BLOCK):
        rows = x[start : start + _BLOCK]
        rows[:] = draws.integers(0, 2, rows.shape, dtype=np.uint8)
    np.save(folder / f"{bits}-labels.npy", draws.integers(0, CLASSES, n))


def mapped(folder: Path, n: int, bits: int) -> Records:
    """Return the first `n` records, mapped as `selena.data.published_bits` maps them."""
    x = torch.from_numpy(np.load(folder / f"{bits}-bits.npy", mmap_mode="c"))[:n]
    y = torch.from_numpy(np.load(folder / f"{bits}-labels.npy", mmap_mode="c"))[:n]
    return Records(x, y, torch.arange(n))


def run(point: Point, folder: Path) -> None:
    """Do what `SplitAI.fit` and the soft labels of `Selena.fit` do, phase by phase."""
    torch.set_num_threads(point.threads)
    executor._WORTH_PROCESSES = 0  # one epoch is short, thirty are not
    train = mapped(folder, point.n, point.bits)
    recipe = Recipe(epochs=1, batch_size=point.batch, precision=point.precision)
    split_ai = SplitAI(point.network, CLASSES, recipe, n_submodels=point.k, n_nonmodels=point.l)
    marks = Marks()
    marks.begin("start")
    _warm_up(point, train, recipe)
    marks.begin("draw")
    # What is studied is one sub-model after another; measuring subject sizes would be in its times.
    workspace = Workspace(workers=point.workers, progress=marks, cohort_size=1)
    model = split_ai.fit(train, train.take(torch.arange(0)), seed=SEED, workspace=workspace)
    marks.begin("soft labels")
    labels = mean_prediction(model.submodels, train.x, model.sets, CLASSES, "cpu")
    marks.end()
    assert labels.shape == (point.n, CLASSES)


def _warm_up(point: Point, train: Records, recipe: Recipe) -> None:
    """Start the pool's processes and let PyTorch choose its kernels."""
    rows = torch.arange(min(point.n, 2 * point.batch))
    jobs = [Job(f"warm-up-{i}", rows, i) for i in range(2 * point.workers)]
    few = Examples(train.x[: len(rows)], train.y[: len(rows)])
    fit_networks(point.network, few, jobs, recipe, workspace=Workspace(workers=point.workers))


if __name__ == "__main__":
    wish = json.loads(sys.argv[2])
    run(Point(**wish | {"hidden": tuple(wish["hidden"])}), Path(sys.argv[1]))
