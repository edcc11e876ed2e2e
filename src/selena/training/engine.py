"""The training engine: fits K networks of one architecture on K sets of rows.

A network's result depends on its own job alone (rows, seed), never on which others train beside
it: weights, batch order and dropout each have a seed named after job and epoch. So training K
networks together equals training each alone, and resumed training equals uninterrupted training.

How many networks train side by side is a rule based on device, network and batch, not on time. A
stack starts one matrix product for all its networks. Starting products takes most of the time for
small networks and on accelerators; on a processor a stack of large networks exceeds the caches.
Convolutions are slower in a stack, so such networks run one by one, on a GPU four on own streams.
Rounding differs between a stack and a lone network, so the rule depends on nothing that differs
between two runs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from selena.environment.fingerprint import code_digest, fingerprint, tensor_digest
from selena.errors import ConfigError, TrainingError
from selena.networks import NetworkFactory
from selena.training.batches import as_input, in_even_chunks
from selena.training.cohort import OnEpoch
from selena.training.executor import choose_place, is_long, operations_per_record, run_tasks, there
from selena.training.gpu_step import worth_compiling
from selena.training.job import Examples, Job
from selena.training.own_function import FunctionTask
from selena.training.recipe import Recipe
from selena.training.stack import convolves, why_not_stackable
from selena.training.task import TrainingTask, build
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


def fit_networks(
    factory: NetworkFactory,
    examples: Examples,
    jobs: Sequence[Job],
    recipe: Recipe,
    *,
    validation: Examples | None = None,
    description: str = "Training",
    workspace: Workspace | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[nn.Module]:
    """Fit one network per job and return them in order, in evaluation mode.

    Args:
        factory: builds a freshly initialised network.
        examples: all records; each job trains on its own rows of them.
        jobs: rows and seed of each network.
        recipe: how the networks are trained.
        validation: records with hard labels, for `recipe.selection == "validation"`.
        description: text of the progress bar.
        workspace: device, cohort size, progress, and the folder where finished networks and
            checkpoints are kept; networks found there are not trained again.
        on_epoch: called after each epoch of each network, before its checkpoint is written.
            Resumed training may repeat an epoch and then calls it again with the same values. It
            is not called for a network that is found finished.

    Raises:
        TrainingError: a job without rows, a selection without validation records, or a loss that
            is no longer finite.
        ConfigError: a training function together with `on_epoch` or a loss of the defense's own.
    """
    workspace = workspace or Workspace()
    if recipe.train is not None and (recipe.loss != "cross_entropy" or on_epoch is not None):
        raise ConfigError(
            "This defense changes the loss or observes each epoch, which a training function does "
            "not support. Use a recipe without train."
        )
    if recipe.selection != "validation":
        validation = None
    elif validation is None or len(validation.x) == 0:
        raise TrainingError('selection="validation" needs validation records; there are none.')
    for job in jobs:
        if len(job.rows) == 0:
            raise TrainingError(f"{job.name} has no record to train on. Give more records.")
    what = fingerprint(
        factory,
        recipe,
        tensor_digest(examples.x, examples.target),
        tensor_digest(validation.x, validation.target) if validation else None,
        code_digest(),
    )
    own = recipe.train is not None
    shared_out = on_epoch is None and is_long(factory, jobs, recipe)
    trainers = there(workspace, shared_out=shared_out)
    size = 1
    if jobs and not own:
        size = cohort_size(Ensemble(factory, examples, jobs, recipe), trainers)
    parts = list(in_even_chunks(len(jobs), size))
    worth = not own and worth_compiling(factory, jobs, recipe, trainers.torch_device)
    kind = FunctionTask if own else TrainingTask
    place = choose_place(workspace, len(parts), shared_out=shared_out)
    how = [place.numeric, worth]
    tasks = []
    for part in parts:
        mine = tuple(jobs[part])
        # Rounding depends on the processor and on the number of networks side by side.
        keys = (fingerprint(what, how, len(mine), tensor_digest(j.rows), j.seed) for j in mine)
        tasks.append(kind(factory, mine, tuple(keys), recipe, examples, validation, worth))
    with workspace.progress.step(description, len(jobs) * recipe.epochs) as bar:
        results = run_tasks(tasks, workspace, bar, place, on_epoch)
    weights = [state for states in results for state in states]
    networks = [build(factory, job.seed, workspace.torch_device) for job in jobs]
    for network, state in zip(networks, weights, strict=True):
        network.load_state_dict(state)
    return [network.eval() for network in networks]


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
