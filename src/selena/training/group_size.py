"""How many networks train side by side: measured once on this machine, then remembered.

A stack shares the price of starting each product, which is most of the price of small networks and
on accelerators; on a processor large ones leave its caches. Rounding differs a little between
sizes, so the size is measured once, kept in a file, and the same ever after.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from selena.files import cache_folder, write_json
from selena.fingerprint import fingerprint
from selena.networks import NetworkFactory
from selena.training.batches import as_input
from selena.training.executor import processes, worker_threads
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.training.stack import convolves, why_not_stackable
from selena.training.task import Task, build
from selena.workspace import Silent, Workspace

# The first epoch of measuring is not counted: in it kernels are chosen, and on a GPU recorded.
_STEPS, _EPOCHS = 5, 3
# Measuring may take this part of the steps of training.
_PART = 0.1
# A stack larger than one that takes this many times the best time is not tried.
_HOPELESS = 1.25
# Networks with convolutions fill a GPU; more of them at once than this only take its memory.
_CONVOLVING = 4
# The gain for which the device's usual size is left.
_GAIN = 1.1

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks that are to be trained.

    Attributes:
        factory: builds a freshly initialised network.
        examples: all records.
        jobs: one a network.
        recipe: how they are trained.
    """

    factory: NetworkFactory
    examples: Examples
    jobs: Sequence[Job]
    recipe: Recipe


def group_size(ensemble: Ensemble, workspace: Workspace) -> int:
    """Return how many of the ensemble's networks train side by side.

    It is what `workspace.group_size` asks for. If that is 0: of short training one on a processor
    and all elsewhere; of long training what took the least time when it was measured.
    """
    jobs, recipe = ensemble.jobs, ensemble.recipe
    most = -(-len(jobs) // processes(ensemble.factory, jobs, recipe, workspace))
    usual = 1 if workspace.torch_device.type == "cpu" else max(1, most)
    if (workspace.group_size or most) == 1:
        return 1
    network = build(ensemble.factory, jobs[0].seed, torch.device("cpu"))
    if convolves(network):
        most, usual = min(most, _CONVOLVING), min(usual, _CONVOLVING)
    steps = recipe.epochs * sum(-(-len(job.rows) // recipe.batch_size) for job in jobs)
    short = _STEPS * _EPOCHS * sum(_sizes(most)) > _PART * steps
    if (workspace.group_size or (usual if short else most)) == 1:
        return 1
    sample = as_input(ensemble.examples.x[jobs[0].rows[:2]])
    reason = why_not_stackable(network, sample)
    if not isinstance(recipe.loss, str):
        reason = "their loss is one of a whole batch"
    if reason is not None:
        _LOG.info("Training one network at a time: %s.", reason)
        return 1
    if workspace.group_size or short:
        return workspace.group_size or usual
    return _remembered(ensemble, workspace, most, usual)


def _remembered(ensemble: Ensemble, workspace: Workspace, most: int, usual: int) -> int:
    threads = worker_threads(ensemble.factory, ensemble.jobs, ensemble.recipe, workspace)
    key = fingerprint(
        ensemble.factory,
        replace(ensemble.recipe, epochs=1),
        [*ensemble.examples.x.shape[1:], str(ensemble.examples.x.dtype)],
        [_device_name(workspace.torch_device), threads, torch.__version__, most],
    )
    path = cache_folder() / "group-sizes" / f"{key[:24]}.json"
    found = _read(path, most)
    if found is not None:
        return found
    with workspace.progress.step("Measuring group sizes", 1) as bar, _threads(threads):
        seconds = dict(_measure(ensemble, workspace, most))
        bar.advance()
    best = min(seconds, key=lambda size: seconds[size])
    size = best if seconds[best] * _GAIN < seconds.get(usual, float("inf")) else usual
    _LOG.info("%d networks train side by side; seconds a network's step: %s.", size, seconds)
    try:
        write_json(path, {"group_size": size, "seconds_a_step": seconds})
    except OSError as error:
        _LOG.warning("The group size %d cannot be remembered (%s).", size, error)
    return size


def _sizes(most: int) -> list[int]:
    return [*(size for size in (1, 4, 16, 64) if size < most), most]


def _measure(ensemble: Ensemble, workspace: Workspace, most: int) -> Iterator[tuple[int, float]]:
    """Yield group sizes with the seconds that a step takes them, a network."""
    best = float("inf")
    for size in _sizes(most):
        try:
            seconds = _seconds_a_step(ensemble, workspace, size)
        except torch.OutOfMemoryError:
            break
        yield size, seconds
        if seconds > _HOPELESS * best:
            break
        best = min(best, seconds)


def _seconds_a_step(ensemble: Ensemble, workspace: Workspace, size: int) -> float:
    recipe = replace(ensemble.recipe, epochs=_EPOCHS, selection="last")
    rows = _STEPS * recipe.batch_size
    jobs = tuple(Job(job.name, job.rows[:rows], job.seed) for job in ensemble.jobs[:size])
    task = Task(ensemble.factory, jobs, ("",) * size, recipe, ensemble.examples, None)
    ends: dict[int, float] = {}

    def look_at_the_clock(_job: Job, epoch: int, _network: nn.Module) -> None:
        ends.setdefault(epoch, time.perf_counter())

    with Silent().step("", 0) as bar:
        task.run(Workspace(workspace.device), bar, look_at_the_clock)
    return min(b - a for a, b in pairwise(ends.values())) / size / _STEPS


def _read(path: Path, most: int) -> int | None:
    try:
        size = json.loads(path.read_text(encoding="utf-8"))["group_size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) and 1 <= size <= most else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
