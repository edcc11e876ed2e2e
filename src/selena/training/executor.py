"""Where the tasks of an ensemble run: in this process, in other local processes, on a cluster.

A task returns its weights. Local workers write artifacts and checkpoints to the folder themselves.
Workers of a cluster write nothing; this process keeps what they return.

Each worker has as many threads as its share of the cores: at equal threads, any number of workers
gives equal bytes. The choice of place depends on all tasks, finished ones included, so a resumed
run computes as the first one did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from joblib import cpu_count

from selena.environment.processor import numeric_environment
from selena.networks import NetworkFactory
from selena.pools.choose import is_remote, open_cluster, task_device
from selena.pools.local import LocalPool
from selena.pools.pool import Pool
from selena.training.cohort import OnEpoch
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.training.task import TrainingTask, Weights
from selena.workspace import NoLog, Silent, Step, Workspace

# Operations from which starting processes is worth the time that each takes to import PyTorch.
_WORTH_PROCESSES = 5e12
Point = tuple[str, int, dict[str, float]]

_ELSEWHERE = Examples(torch.empty(0), torch.empty(0))


@dataclass(frozen=True, eq=False)
class Place:
    """Where tasks run.

    Attributes:
        pool: the workers that run them; None for this process.
        numeric: the conditions there that results depend on (`numeric_environment`).
        keeps: whether the workers can write artifacts to the workspace's folder.
    """

    pool: Pool | None
    numeric: dict[str, Any]
    keeps: bool = True


def run_tasks(
    tasks: Sequence[TrainingTask],
    workspace: Workspace,
    bar: Step,
    place: Place,
    on_epoch: OnEpoch | None = None,
) -> list[list[Weights]]:
    """Return the weights of each task's networks.

    Args:
        tasks: what to run; tasks whose networks `workspace` keeps are not run again.
        workspace: device, folder and log.
        bar: advanced by every epoch.
        place: where they run.
        on_epoch: called after each epoch; works in this process only.
    """
    kept = {number: task.finished(workspace) for number, task in enumerate(tasks)}
    found = {number: weights for number, weights in kept.items() if weights is not None}
    pending = [number for number in kept if number not in found]
    bar.advance(sum(tasks[number].epochs for number in found))
    if place.pool is None:
        with _threads(place.numeric["threads"]):
            for number in pending:
                found[number] = tasks[number].run(workspace, bar, on_epoch)
    else:
        for i, weights in _in_pool([tasks[number] for number in pending], workspace, place):
            found[pending[i]] = weights
            bar.advance(tasks[pending[i]].epochs)
    return [found[number] for number in range(len(tasks))]


def choose_place(workspace: Workspace, tasks: int, *, shared_out: bool) -> Place:
    """Return where `tasks` tasks run: in this process unless they are `shared_out`."""
    workers = min(worker_count(workspace), tasks) if shared_out else 1
    threads = worker_threads(workers, workspace.cores)
    if shared_out and is_remote(workspace):
        cluster = open_cluster(workspace, threads)
        return Place(cluster, cluster.named_conditions, keeps=False)
    pool = LocalPool(workers, threads) if workers > 1 and workspace.executor != "here" else None
    return Place(pool, numeric_environment(workspace.device, threads))


def worker_count(workspace: Workspace) -> int:
    """Return how many tasks may run at once here: 1 on an accelerator, which one task fills."""
    if torch.device(task_device(workspace)).type != "cpu":
        return 1
    return workspace.workers or workspace.cores or cpu_count()


def worker_threads(workers: int, cores: int = 0) -> int:
    """Return how many threads each of `workers` processes computes with.

    It is their share of `cores` (0: the cores of this process), but never more than this process
    computes with. A task on a cluster has the same number as it would have here.
    """
    threads = torch.get_num_threads()
    return threads if workers == 1 else max(1, min(threads, (cores or cpu_count()) // workers))


def there(workspace: Workspace, *, shared_out: bool) -> Workspace:
    """Return the workspace with the device of the machine that runs the tasks."""
    elsewhere = shared_out and is_remote(workspace)
    return replace(workspace, device=task_device(workspace)) if elsewhere else workspace


def for_a_worker(workspace: Workspace) -> Workspace:
    """Return the workspace of a task on another machine, without a folder.

    The task runs nested tasks itself, with as many threads as each of them would have here.
    """
    return replace(
        workspace,
        device=task_device(workspace),
        folder=None,
        progress=Silent(),
        executor="here",
        task_gpus=0.0,
        cores=workspace.cores or cpu_count(),
        log=NoLog(),
        touched=set(),
        shared={},
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with `count` threads in the block."""
    before = torch.get_num_threads()
    if count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count != before:
            torch.set_num_threads(before)


def is_long(factory: NetworkFactory, jobs: Sequence[Job], recipe: Recipe) -> bool:
    """Return whether training is long enough to be shared out among processes."""
    return is_worth_sharing(factory, sum(len(job.rows) for job in jobs), recipe)


def is_worth_sharing(factory: NetworkFactory, rows: int, recipe: Recipe) -> bool:
    """Return whether networks that train on so many rows, all together, are worth processes."""
    return operations_per_record(factory) * recipe.epochs * rows >= _WORTH_PROCESSES


def operations_per_record(factory: NetworkFactory) -> float:
    """Return about how many operations a step takes per record: 6 per weight."""
    with torch.device("meta"):
        return 6.0 * sum(parameter.numel() for parameter in factory().parameters())


@dataclass(frozen=True, eq=False)
class _Elsewhere:
    """A task without its records, and the workspace that a worker runs it in."""

    task: TrainingTask
    workspace: Workspace

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.task.name


@dataclass(frozen=True, eq=False)
class _Trained:
    """What a worker returns: weights per network, names of artifacts, logged values."""

    weights: list[dict[str, np.ndarray]]
    touched: set[str]
    points: list[Point]


def _in_pool(
    tasks: Sequence[TrainingTask], workspace: Workspace, place: Place
) -> Iterator[tuple[int, list[Weights]]]:
    if not tasks or place.pool is None:
        return
    quiet = (
        replace(workspace, progress=Silent(), log=NoLog(), touched=set(), shared={})
        if place.keeps
        else for_a_worker(workspace)
    )
    small = [
        _Elsewhere(replace(task, examples=_ELSEWHERE, validation=None), quiet) for task in tasks
    ]
    # As arrays, which are sent once; tensors would be copied into every task.
    shared = [_arrays(tasks[0].examples), _arrays(tasks[0].validation)]
    for number, trained in place.pool.run(_train, small, shared):
        workspace.touched.update(trained.touched)
        for point in trained.points:
            workspace.log.scalars(*point)
        # Copies: a cluster may reuse the memory of the arrays that it returned.
        weights = [{k: torch.tensor(v) for k, v in net.items()} for net in trained.weights]
        if not place.keeps:
            tasks[number].keep(workspace, weights)
        yield number, weights


class _Curves:
    """Collects what a worker logs, for the process that started the task."""

    def __init__(self) -> None:
        self.points: list[Point] = []

    def scalars(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        self.points.append((name, epoch, dict(values)))


def _train(there: _Elsewhere, examples: Any, validation: Any) -> _Trained:
    whole = replace(
        there.task,
        examples=Examples(*map(torch.from_numpy, examples)),
        validation=validation and Examples(*map(torch.from_numpy, validation)),
    )
    curves, workspace = _Curves(), there.workspace
    with Silent().step("", 0) as bar:
        weights = whole.run(replace(workspace, log=curves), bar)
    arrays = [{k: t.numpy() for k, t in network.items()} for network in weights]
    return _Trained(arrays, workspace.touched, curves.points)


def _arrays(examples: Examples | None) -> tuple[np.ndarray, np.ndarray] | None:
    return None if examples is None else (examples.x.numpy(), examples.target.numpy())
