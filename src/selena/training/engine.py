"""The training engine: fits K networks of one architecture on K sets of rows.

A network's result depends on its own job alone (rows, seed), never on which others train beside
it: weights, batch order and dropout each have a seed named after job and epoch. So training K
networks together equals training each alone, and resumed training equals uninterrupted training.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from selena.environment.fingerprint import code_digest, fingerprint, tensor_digest
from selena.errors import ConfigError, TrainingError
from selena.networks import NetworkFactory
from selena.training.batches import in_even_chunks
from selena.training.cohort import OnEpoch
from selena.training.cohort_size import Ensemble, cohort_size
from selena.training.compiled import worth_compiling
from selena.training.executor import choose_place, is_long, run_tasks, there
from selena.training.job import Examples, Job
from selena.training.own_function import FunctionTask
from selena.training.recipe import Recipe
from selena.training.task import TrainingTask, build
from selena.workspace import Workspace


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
