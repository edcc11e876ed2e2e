"""Where the tasks of an ensemble run: in this process, or in a pool.

A task returns its weights; the artifacts that it keeps on the way need a folder that every worker
sees, and are not needed for the result.

Each worker has as many threads as its share of the cores: at equal threads, any number of workers
gives equal bytes. Who runs the tasks depends on what is asked for, never on what is finished
already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from joblib import cpu_count

from selena.networks import NetworkFactory
from selena.pools.local import LocalPool
from selena.pools.pool import Pool
from selena.training.cohort import OnEpoch
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
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
    pool: Pool | None,
    on_epoch: OnEpoch | None = None,
) -> list[list[Weights]]:
    """Return the weights of each task's networks.

    Args:
        tasks: what to run; what `workspace` keeps of it is not run again.
        workspace: where.
        bar: told of every epoch.
        pool: who runs them; None for this process.
        on_epoch: told after each epoch, in this process only.
    """
    kept = {number: task.finished(workspace) for number, task in enumerate(tasks)}
    found = {number: weights for number, weights in kept.items() if weights is not None}
    pending = [number for number in kept if number not in found]
    bar.advance(sum(tasks[number].epochs for number in found))
    if pool is None:
        for number in pending:
            found[number] = tasks[number].run(workspace, bar, on_epoch)
    else:
        for i, weights in _in_pool([tasks[number] for number in pending], workspace, pool):
            found[pending[i]] = weights
            bar.advance(tasks[pending[i]].epochs)
    return [found[number] for number in range(len(tasks))]


def worker_count(workspace: Workspace) -> int:
    """Return how many tasks may run at once: 1 on an accelerator, which one task fills."""
    if workspace.torch_device.type != "cpu":
        return 1
    return workspace.workers or cpu_count()


def choose_pool(
    factory: NetworkFactory,
    jobs: Sequence[Job],
    recipe: Recipe,
    workspace: Workspace,
    tasks: int,
) -> LocalPool | None:
    """Return who trains the jobs, cut into `tasks`: None for this process."""
    workers = min(worker_count(workspace), tasks)
    if workers <= 1 or not is_long(factory, jobs, recipe):
        return None
    return LocalPool(workers, worker_threads(workers))


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


@dataclass(frozen=True, eq=False)
class _Elsewhere:
    """A task without its records, and the workspace that a worker runs it in."""

    task: TrainingTask
    workspace: Workspace


@dataclass(frozen=True, eq=False)
class _Trained:
    """What a worker returns: weights of each network, names of artifacts, points of curves."""

    weights: list[dict[str, np.ndarray]]
    touched: set[str]
    points: list[Point]


def _in_pool(
    tasks: Sequence[TrainingTask], workspace: Workspace, pool: Pool
) -> Iterator[tuple[int, list[Weights]]]:
    if not tasks:
        return
    quiet = replace(workspace, progress=Silent(), log=NoLog(), touched=set(), shared={})
    small = [
        _Elsewhere(replace(task, examples=_ELSEWHERE, validation=None), quiet) for task in tasks
    ]
    # As arrays, which travel once; a tensor would be copied into every task.
    shared = [_arrays(tasks[0].examples), _arrays(tasks[0].validation)]
    for number, trained in pool.run(_train, small, shared):
        workspace.touched.update(trained.touched)
        for point in trained.points:
            workspace.log.scalars(*point)
        yield (
            number,
            [{k: torch.from_numpy(v) for k, v in net.items()} for net in trained.weights],
        )


class _Curves:
    """Keeps what a worker would log for the process that asked."""

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
