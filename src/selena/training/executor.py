"""Who runs the tasks of an ensemble: this process, or a pool of them.

The pool is joblib's, so `joblib.parallel_config(backend=...)` puts tasks on another machine where
a backend for it is registered. A task returns its weights; the artifacts that it keeps on the way
need a folder that every worker sees, and are not needed for the result.

The threads of a process wait for each other after each small step, so long training is faster in
several processes. Each has as many threads as its share of the cores: at equal threads, any number
of workers gives equal bytes. Who runs the tasks depends on what is asked for, never on what is
finished already.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed

from selena.networks import NetworkFactory
from selena.training.cohort import OnEpoch
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.training.shared_memory import shared_folder
from selena.training.task import TrainingTask, Weights
from selena.workspace import NoLog, Silent, Step, Workspace

# Operations below which starting processes, each of which imports PyTorch, is not worth it.
_WORTH_PROCESSES = 5e12
Point = tuple[str, int, dict[str, float]]

_ELSEWHERE = Examples(torch.empty(0), torch.empty(0))


def run_tasks(
    tasks: Sequence[TrainingTask],
    workspace: Workspace,
    bar: Step,
    workers: int,
    on_epoch: OnEpoch | None = None,
) -> Iterator[list[Weights]]:
    """Yield the weights of each task's networks, in order.

    Args:
        tasks: what to run; what `workspace` keeps of it is not run again.
        workspace: where.
        bar: told of every epoch.
        workers: how many processes run them (`processes`); 1 for this one.
        on_epoch: told after each epoch, in this process only.
    """
    kept = [task.finished(workspace) for task in tasks]
    pending = [task for task, weights in zip(tasks, kept, strict=True) if weights is None]
    fresh = (
        (task.run(workspace, bar, on_epoch) for task in pending)
        if workers == 1
        else _in_processes(pending, workspace, bar, workers)
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
    factory: NetworkFactory,
    jobs: Sequence[Job],
    recipe: Recipe,
    workspace: Workspace,
    tasks: int,
) -> int:
    """Return in how many processes the jobs, cut into `tasks`, are worth training."""
    workers = min(worker_count(workspace), tasks)
    return workers if workers > 1 and is_long(factory, jobs, recipe) else 1


def worker_threads(workers: int) -> int:
    """Return how many threads each of `workers` processes computes with.

    It is this process's share of cores, but never more than this process computes with.
    """
    threads = torch.get_num_threads()
    return threads if workers == 1 else max(1, min(threads, cpu_count() // workers))


def is_long(factory: NetworkFactory, jobs: Sequence[Job], recipe: Recipe) -> bool:
    """Return whether training is long enough to be shared out among processes."""
    records = recipe.epochs * sum(len(job.rows) for job in jobs)
    return operations_per_record(factory) * records >= _WORTH_PROCESSES


def operations_per_record(factory: NetworkFactory) -> float:
    """Return about how many operations a record's step takes: 6 per weight."""
    with torch.device("meta"):
        return 6.0 * sum(parameter.numel() for parameter in factory().parameters())


def _in_processes(
    tasks: Sequence[TrainingTask], workspace: Workspace, bar: Step, workers: int
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
            threads=worker_threads(workers),
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
    task: TrainingTask,
    workspace: Workspace,
    examples: Any,
    validation: Any,
    *,
    asked_by: int,
    threads: int,
) -> tuple[list[dict[str, np.ndarray]], set[str], list[Point]]:
    end_with(asked_by)
    torch.set_num_threads(threads)
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
