"""How many networks train side by side: a rule based on device, network and batch, not on time.

A stack starts one matrix product for all its networks. Starting products takes most of the time for
small networks and on accelerators; on a processor a stack of large networks exceeds the caches.
Convolutions are slower in a stack, so such networks run one by one, on a GPU four on own streams.
Rounding differs between a stack and a lone network, so the answer depends on nothing that differs
between two runs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from selena.networks import NetworkFactory
from selena.training.batches import as_input
from selena.training.executor import is_long, operations_per_record
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.training.stack import convolves, why_not_stackable
from selena.training.task import build
from selena.workspace import Workspace

# Operations per step of one network up to which a stack is faster on a processor. Measured time of
# a stack relative to one at a time: 0.4 to 0.7 at 2e7 (stack of 4), 0.8 at 1.2e8 (stack of 16),
# 1 at 2e8, 2 at 4e8 (`python -m benchmarks.cohort_sizes`).
_SMALL_STEP = 1.5e8
# Networks in one stack on a processor. Long training uses smaller stacks, so all cores have work.
_SHORT_STACK, _LONG_STACK = 16, 4
# Networks with convolutions trained at once on a GPU: this many fill it, more only take memory.
_CONVOLVING = 4

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks that are to be trained.

    Attributes:
        factory: builds a freshly initialised network.
        examples: all records.
        jobs: one per network.
        recipe: how they are trained.
    """

    factory: NetworkFactory
    examples: Examples
    jobs: Sequence[Job]
    recipe: Recipe


def cohort_size(ensemble: Ensemble, workspace: Workspace) -> int:
    """Return how many of the ensemble's networks train side by side.

    It is `workspace.cohort_size` unless that is 0. Then it is all of them on an accelerator (4 with
    convolutions); on a processor up to 16 small ones, and 1 for large ones.
    """
    jobs = ensemble.jobs
    size = workspace.cohort_size or len(jobs)
    if min(size, len(jobs)) <= 1:
        return 1
    network = build(ensemble.factory, jobs[0].seed, torch.device("cpu"))
    if not workspace.cohort_size:
        size = min(size, _usual(ensemble, workspace, convolves(network)))
    if size == 1:
        return 1
    reason = why_not_stackable(network, as_input(ensemble.examples.x[jobs[0].rows[:2]]))
    if not isinstance(ensemble.recipe.loss, str):
        reason = "their loss is one of a whole batch"
    if not isinstance(ensemble.recipe.augmentation, str):
        reason = "their augmentation is a function of one batch"
    if reason is not None:
        _LOG.info("Training one network at a time: %s.", reason)
        return 1
    return size


def _usual(ensemble: Ensemble, workspace: Workspace, with_convolutions: bool) -> int:
    factory, jobs, recipe = ensemble.factory, ensemble.jobs, ensemble.recipe
    if workspace.torch_device.type != "cpu":
        return _CONVOLVING if with_convolutions else len(jobs)
    step = operations_per_record(factory) * recipe.batch_size
    if with_convolutions or step > _SMALL_STEP:
        return 1
    return _LONG_STACK if is_long(factory, jobs, recipe) else _SHORT_STACK
