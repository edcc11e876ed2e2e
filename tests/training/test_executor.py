"""Tasks in a pool of processes: the same networks, artifacts and progress as in one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from selena.environment.description import describe_environment
from selena.environment.processor import numeric_environment
from selena.pools import local
from selena.pools.pool import Pool
from selena.training import executor
from selena.training.engine import fit_networks
from selena.training.executor import (
    Place,
    operations_per_record,
    run_tasks,
    worker_count,
    worker_threads,
)
from selena.training.job import Examples, Job
from selena.training.task import TrainingTask
from selena.workspace import Step, Workspace
from tests.toys import NETWORK, RECIPE, Curves, toy_records

RECORDS = toy_records(60)
EXAMPLES = Examples(RECORDS.x, RECORDS.y)
JOBS = [Job(f"job-{i}", torch.arange(60)[i::2], seed=i) for i in range(2)] + [
    Job("job-2", torch.arange(30), seed=2)
]


unlike_here = pytest.mark.skipif(
    "SELENA_TEST_SUMS" in os.environ, reason="other processes add up as this processor does"
)


class Counting:
    """A progress bar that adds up."""

    def __init__(self) -> None:
        self.total = self.done = 0.0

    def advance(self, amount: float = 1.0) -> None:
        self.done += amount

    @contextmanager
    def step(self, _description: str, total: float) -> Iterator[Step]:
        self.total += total
        yield self


HOLDING = """
import os, sys, time
from pathlib import Path
from joblib import Parallel, delayed
from selena.pools.local import end_with

def hold(parent, folder):
    end_with(parent)
    Path(folder, str(os.getpid())).touch()
    time.sleep(100)

Parallel(n_jobs=2)(delayed(hold)(os.getpid(), sys.argv[1]) for _ in range(2))
"""


def alive(pid: int) -> bool:
    """Return whether a process runs (one that nobody has waited for does not)."""
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")


@pytest.mark.deep
@pytest.mark.skipif(shutil.which("ps") is None, reason="needs the command ps")
def test_workers_end_with_the_process_that_asked_them(tmp_path: Path) -> None:
    script, folder = tmp_path / "holding.py", tmp_path / "workers"
    script.write_text(HOLDING)
    folder.mkdir()
    asking = subprocess.Popen([sys.executable, str(script), str(folder)])
    deadline = time.monotonic() + 120
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [int(path.name) for path in folder.iterdir()]
    assert len(workers) == 2
    assert all(map(alive, workers))
    asking.kill()
    asking.wait()
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))


def test_only_the_end_of_the_parent_ends_a_worker() -> None:
    threads = threading.active_count()
    local.end_with(os.getpid())
    assert threading.active_count() == threads


def fit(workspace: Workspace) -> list[dict[str, Tensor]]:
    networks = fit_networks(NETWORK, EXAMPLES, JOBS, RECIPE, workspace=workspace)
    return [network.state_dict() for network in networks]


@pytest.mark.deep
@unlike_here
def test_a_pool_trains_the_same_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "cpu_count", lambda: 64)  # as many threads for each worker
    logs = Curves(), Curves()
    alone = fit(Workspace(folder=tmp_path / "alone", log=logs[0], cohort_size=1))
    monkeypatch.setattr(executor, "_WORTH_PROCESSES", 0)
    bar = Counting()
    workspace = Workspace(
        folder=tmp_path / "pool", progress=bar, workers=2, cohort_size=1, log=logs[1]
    )
    pooled = fit(workspace)
    for one, other in zip(alone, pooled, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    kept = {path.stem for path in (tmp_path / "pool").iterdir()}
    assert kept == {path.stem for path in (tmp_path / "alone").iterdir()} == workspace.touched
    names = {(job.name, epoch + 1) for job in JOBS for epoch in range(RECIPE.epochs)}
    assert logs[0].points.keys() == logs[1].points.keys() == names
    assert logs[0].points == logs[1].points
    assert bar.done == bar.total == len(JOBS) * RECIPE.epochs

    # What is kept is not trained again, in whatever way it was trained.
    (tmp_path / "pool" / f"{min(kept)}.safetensors").unlink()
    for one, other in zip(fit(workspace), pooled, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


class Backwards:
    """A pool of one worker, this process, that answers last things first."""

    def slots(self) -> int:
        return 1

    def run(
        self, function: Callable[..., Any], tasks: Sequence[Any], shared: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        for number, task in reversed(list(enumerate(tasks))):
            yield number, function(task, *shared)


def test_results_may_arrive_in_any_order() -> None:
    keys = [f"key-{job.name}" for job in JOBS]
    tasks = [
        TrainingTask(NETWORK, (job,), (key,), RECIPE, EXAMPLES, None)
        for job, key in zip(JOBS, keys, strict=True)
    ]
    bars = Counting(), Counting()
    here = run_tasks(tasks, Workspace(), bars[0], Place(None, numeric_environment()))
    assert isinstance(Backwards(), Pool)
    there = run_tasks(tasks, Workspace(), bars[1], Place(Backwards(), {}))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert bars[0].done == bars[1].done == len(JOBS) * RECIPE.epochs


def test_workers_take_no_more_threads_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "cpu_count", lambda: 64)
    assert worker_threads(2) == torch.get_num_threads()


def test_artifacts_of_other_threads_are_not_mixed(tmp_path: Path) -> None:
    workspace, threads = Workspace(folder=tmp_path, cohort_size=1), torch.get_num_threads()
    fit(workspace)
    torch.set_num_threads(threads + 1)
    try:
        fit(workspace)
    finally:
        torch.set_num_threads(threads)
    assert len(list(tmp_path.iterdir())) == 2 * len(JOBS)


def test_small_work_stays_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a pool for a toy")

    monkeypatch.setattr(executor, "LocalPool", refuse)
    fit(Workspace(workers=2, cohort_size=1))


def test_operations_are_counted() -> None:
    weights = sum(p.numel() for p in NETWORK().parameters())
    assert operations_per_record(NETWORK) == 6 * weights


def test_workers_of_a_workspace() -> None:
    assert worker_count(Workspace()) == 1
    assert worker_count(Workspace(workers=3)) == 3
    assert worker_count(Workspace(workers=0)) >= 1
    assert worker_count(Workspace(device="cuda", workers=3)) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process")
def test_only_cores_that_may_be_used_are_counted() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert worker_count(Workspace(workers=0)) == 1
        assert describe_environment()["cores"] == 1
    finally:
        os.sched_setaffinity(0, allowed)
