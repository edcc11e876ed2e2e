"""The training engine: fits K networks of one architecture on K sets of rows.

A network's result depends on its own job alone (rows, seed) and never on which others train
beside it: weights, batch order and dropout each have a seed named after job and epoch. So
training K together equals training them apart, and killed training resumes without a trace.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import nn

from selena.errors import TrainingError
from selena.fingerprint import code_digest, fingerprint, tensor_digest
from selena.networks import NetworkFactory
from selena.training.batches import in_chunks
from selena.training.executor import run_tasks
from selena.training.group import OnEpoch
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.training.stack import why_not_stackable
from selena.training.task import Task, build
from selena.workspace import Workspace

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
    group_size: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[nn.Module]:
    """Fit one network a job and return them in order, in evaluation mode.

    Args:
        factory: builds a freshly initialised network.
        examples: all records; each job trains on its own rows of them.
        jobs: what to fit.
        recipe: how.
        validation: records with hard labels, for `recipe.selection == "validation"`.
        description: what the progress bar says.
        workspace: device, progress, and the folder where finished networks and checkpoints are
            kept; what is found there is not trained again.
        group_size: how many networks train side by side; by default one on a CPU, whose caches
            a stack overflows, and all of them elsewhere.
        on_epoch: called after each epoch of each network, before its checkpoint is written.
            Resumed training may repeat an epoch and then tells the same again; a network that
            is found finished tells nothing.

    Raises:
        TrainingError: a job without rows, a selection without validation records, or a loss that
            is no longer finite.
    """
    workspace = workspace or Workspace()
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
    keys = [fingerprint(what, tensor_digest(job.rows), job.seed) for job in jobs]
    tasks = [
        Task(factory, tuple(jobs[part]), tuple(keys[part]), recipe, examples, validation)
        for part in in_chunks(len(jobs), _group_size(group_size, workspace, factory, jobs, recipe))
    ]
    with workspace.progress.step(description, len(jobs) * recipe.epochs) as bar:
        results = run_tasks(tasks, workspace, bar, on_epoch)
        weights = [state for states in results for state in states]
    networks = [build(factory, job.seed, workspace.torch_device) for job in jobs]
    for network, state in zip(networks, weights, strict=True):
        network.load_state_dict(state)
    return [network.eval() for network in networks]


def _group_size(
    asked: int | None,
    workspace: Workspace,
    factory: NetworkFactory,
    jobs: Sequence[Job],
    recipe: Recipe,
) -> int:
    size = asked or (1 if workspace.torch_device.type == "cpu" else max(1, len(jobs)))
    if size == 1 or not jobs:
        return 1
    reason = why_not_stackable(build(factory, jobs[0].seed, torch.device("cpu")))
    if not isinstance(recipe.loss, str):
        reason = "their loss is one of a whole batch"
    if reason is not None:
        _LOG.info("Training one network at a time: %s.", reason)
        return 1
    return size
