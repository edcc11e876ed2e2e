"""Who runs the tasks of an ensemble: this process, or a pool of them.

The pool is joblib's, so `joblib.parallel_config(backend=...)` puts tasks on another machine where
a backend for it is registered. A task returns its weights; the pieces that it keeps on the way
need a folder that every worker sees, and are not needed for the result.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from threading import Thread
from typing import Any

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed

from selena.networks import NetworkFactory
from selena.shared_memory import shared_folder
from selena.training.group import OnEpoch
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.training.task import Task, Weights
from selena.workspace import NoLog, Silent, Step, Workspace

# Operations below which starting processes, each of which imports PyTorch, is not worth it.
_WORTH_PROCESSES = 5e12
# On two cores one task takes 0.6 of its time on one; what it takes on many was not measured.
_FEW_CORES = 4
Point = tuple[str, int, dict[str, float]]

_ELSEWHERE = Examples(torch.empty(0), torch.empty(0))


def run_tasks(
    tasks: Sequence[Task], workspace: Workspace, bar: Step, on_epoch: OnEpoch | None = None
) -> Iterator[list[Weights]]:
    """Yield the weights of each task's networks, in order.

    Who runs them is decided by what is asked for and by the size of the whole, never by what is
    finished already, so that resumed work computes as undisturbed work does.
    """
    workers = 1
    if tasks and on_epoch is None:
        jobs = [job for task in tasks for job in task.jobs]
        workers = min(processes(tasks[0].factory, jobs, tasks[0].recipe, workspace), len(tasks))
    kept = [task.finished(workspace) for task in tasks]
    # One that would be left over for the last round has all cores here, instead of one in the pool.
    left_over = 1 < workers <= _FEW_CORES and len(tasks) % workers == 1
    in_pool = 0 if workers == 1 else len(tasks) - left_over
    pending = [(i, tasks[i]) for i, weights in enumerate(kept) if weights is None]
    pooled = [task for i, task in pending if i < in_pool]
    fresh = chain(
        _in_processes(pooled, workspace, bar, workers) if pooled else (),
        (task.run(workspace, bar, on_epoch) for i, task in pending if i >= in_pool),
    )
    for task, weights in zip(tasks, kept, strict=True):
        if weights is None:
            yield next(fresh)
        else:
            bar.advance(task.epochs)
            yield weights


def worker_count(workspace: Workspace) -> int:
    """Return how many tasks may run at once: 1 on an accelerator, which one task fills."""
    if workspace.torch_device.type != "cpu":
        return 1
    return workspace.workers or cpu_count()


def processes(
    factory: NetworkFactory, jobs: Sequence[Job], recipe: Recipe, workspace: Workspace
) -> int:
    """Return in how many processes the jobs are worth training, if there are tasks for them."""
    workers = min(worker_count(workspace), len(jobs))
    return workers if workers > 1 and operations(factory, jobs, recipe) >= _WORTH_PROCESSES else 1


def worker_threads(
    factory: NetworkFactory, jobs: Sequence[Job], recipe: Recipe, workspace: Workspace
) -> int:
    """Return how many threads each of those processes computes with."""
    workers = processes(factory, jobs, recipe, workspace)
    return torch.get_num_threads() if workers == 1 else max(1, cpu_count() // workers)


def operations(factory: NetworkFactory, jobs: Sequence[Job], recipe: Recipe) -> float:
    """Return about how many operations training takes: 6 a weight, record and epoch."""
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in factory().parameters())
    return 6.0 * weights * sum(len(job.rows) for job in jobs) * recipe.epochs


def _in_processes(
    tasks: Sequence[Task], workspace: Workspace, bar: Step, workers: int
) -> Iterator[list[Weights]]:
    # Arrays travel as files that all workers map; a tensor would be copied into every task.
    shared = [_arrays(tasks[0].examples), _arrays(tasks[0].validation)]
    quiet = replace(workspace, progress=Silent(), log=NoLog(), touched=set(), shared={})
    pool = Parallel(
        n_jobs=workers, return_as="generator", mmap_mode="c", temp_folder=str(shared_folder())
    )
    calls = (
        delayed(_run)(
            replace(task, examples=_ELSEWHERE, validation=None),
            quiet,
            *shared,
            asked_by=os.getpid(),
        )
        for task in tasks
    )
    with warnings.catch_warnings():
        # The pool replaces a worker that has grown (oneDNN keeps kernels for every size of batch),
        # which costs a second and loses nothing.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        for task, (weights, touched, curves) in zip(tasks, pool(calls), strict=True):
            workspace.touched.update(touched)
            for point in curves:
                workspace.log.scalars(*point)
            bar.advance(task.epochs)
            yield [{k: torch.from_numpy(v) for k, v in network.items()} for network in weights]


class _Curves:
    """Keeps what a worker would log for the process that asked."""

    def __init__(self) -> None:
        self.points: list[Point] = []

    def scalars(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        self.points.append((name, epoch, dict(values)))


def _run(
    task: Task, workspace: Workspace, examples: Any, validation: Any, *, asked_by: int
) -> tuple[list[dict[str, np.ndarray]], set[str], list[Point]]:
    end_with(asked_by)
    whole = replace(
        task,
        examples=Examples(*map(torch.from_numpy, examples)),
        validation=validation and Examples(*map(torch.from_numpy, validation)),
    )
    curves = _Curves()
    with Silent().step("", 0) as bar:
        weights = whole.run(replace(workspace, log=curves), bar)
    arrays = [{k: t.numpy() for k, t in network.items()} for network in weights]
    return arrays, workspace.touched, curves.points


@cache
def end_with(parent: int) -> None:
    """Let this process end soon after `parent`, if that is its parent: once killed, it cannot ask.

    Without, workers would outlive it, with the records that they share in memory.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent:
        Thread(target=watch, daemon=True).start()


def _arrays(examples: Examples | None) -> tuple[np.ndarray, np.ndarray] | None:
    return None if examples is None else (examples.x.numpy(), examples.target.numpy())
