"""One model of the worst-case benchmark: trained here or on another machine, and kept.

A model answers with a few numbers per audited record, or with one accuracy. Only these are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from shutil import rmtree
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selena.attacks.signals import confidence
from selena.auditing.run import accuracy
from selena.environment.fingerprint import TRAINING_CODE, code_digest, fingerprint
from selena.environment.processor import numeric_environment
from selena.experiments.paper.worst_case_pool import Arena, PoolAnswers
from selena.pools.choose import is_remote, open_cluster
from selena.seeding import child_seed
from selena.training.executor import for_a_worker
from selena.types import Defense
from selena.workspace import Workspace

_CODE = ("worst_case_pool.py", "worst_case_models.py")


@dataclass(frozen=True, eq=False)
class WorstCaseModel:
    """A model to train.

    Attributes:
        label: name of its defense, for messages.
        defense: what trains it.
        number: its number in the pool; None for a trial, which trains on the base records alone.
    """

    label: str
    defense: Defense
    number: int | None = None

    def artifact(self, arena: Arena, workspace: Workspace) -> str:
        """Return the name under which its answers are kept."""
        code = code_digest(
            *TRAINING_CODE, "attacks/signals.py", *(f"experiments/paper/{name}" for name in _CODE)
        )
        key = fingerprint(self.defense, arena.digest(), code, _conditions(workspace))[:24]
        trial = self.number is None
        return f"worst-case-trial-{key}" if trial else f"worst-case-{key}-{self.number}"

    def answers(self, arena: Arena, workspace: Workspace) -> dict[str, Tensor]:
        """Return its kept answers, or train it and keep them.

        These are "accuracy", on tuning records or (of a pool's model) on test records, and of a
        pool's model "confidences", one per audited record.
        """
        name = self.artifact(arena, workspace)
        kept = workspace.load(name)
        if kept is None:
            # Intermediate artifacts lie in a folder of their own, which is deleted afterwards.
            room = None if workspace.folder is None else workspace.folder / f"{name}-parts"
            kept = self.train(arena, replace(workspace, folder=room, touched=set(), shared={}))
            if room is not None:
                rmtree(room, ignore_errors=True)
            workspace.save(name, kept)
        return kept

    def train(self, arena: Arena, workspace: Workspace) -> dict[str, Tensor]:
        """Train it and return its answers."""
        trial, pool = self.number is None, arena.pool
        train = arena.base
        if self.number is not None:
            train = pool.training_set(train, arena.inside[self.number])
        seed = child_seed(arena.seed, "model", "tuning" if self.number is None else self.number)
        model = self.defense.fit(train, arena.validation, seed=seed, workspace=workspace)
        right = accuracy(model, arena.tuning if trial else arena.test)
        found = {"accuracy": torch.tensor(right.value).double()}
        if not trial:
            found["confidences"] = confidence(model.logits(pool.audited.x), pool.audited.y)
        return found


def pool_models(label: str, defense: Defense, arena: Arena) -> list[WorstCaseModel]:
    """Return the models of a defense's pool."""
    return [WorstCaseModel(label, defense, number) for number in range(len(arena.inside))]


def count_kept(models: Sequence[WorstCaseModel], arena: Arena, workspace: Workspace) -> int:
    """Return how many of the models have kept answers."""
    return sum(workspace.load(each.artifact(arena, workspace)) is not None for each in models)


def train_pool(models: Sequence[WorstCaseModel], arena: Arena, workspace: Workspace) -> PoolAnswers:
    """Return the answers of a pool's models; those with kept answers are not trained again."""
    kept = []
    with workspace.progress.step(f"{len(models)} models", len(models)) as bar:
        for model in models:
            kept.append(model.answers(arena, workspace))
            bar.advance()
    return PoolAnswers(
        torch.stack([each["confidences"] for each in kept]),
        tuple(float(each["accuracy"]) for each in kept),
    )


def fetch_models(models: Sequence[WorstCaseModel], arena: Arena, workspace: Workspace) -> None:
    """Let a cluster train the models that the workspace lacks, and keep their answers.

    Does nothing without a cluster.

    Raises:
        ClusterError: no machine may take part, or a model was lost thrice.
    """
    if not is_remote(workspace):
        return
    names = [model.artifact(arena, workspace) for model in models]
    lacking = [i for i, name in enumerate(names) if workspace.load(name) is None]
    if not lacking:
        return
    cluster = open_cluster(workspace, torch.get_num_threads())
    there = for_a_worker(workspace)
    tasks = [_Task(models[i], arena.seed, there) for i in lacking]
    with workspace.progress.step(f"{len(tasks)} models", len(tasks)) as bar:
        for number, found in cluster.run(_train, tasks, arena.arrays()):
            # Copies: a cluster may reuse the memory of the arrays that it returned.
            kept = {name: torch.tensor(array) for name, array in found.items()}
            workspace.save(names[lacking[number]], kept)
            bar.advance()


@dataclass(frozen=True, eq=False)
class _Task:
    """A model without its records, and the workspace in which a machine trains it."""

    model: WorstCaseModel
    seed: int
    workspace: Workspace

    @property
    def name(self) -> str:
        """What messages call it."""
        number = self.model.number
        what = "a trial" if number is None else f"model {number + 1}"
        return f"{what} of {self.model.label}, seed {self.seed}"


def _train(task: _Task, *arrays: Any) -> dict[str, np.ndarray]:
    """Do what a worker does for one model."""
    found = task.model.train(Arena.of(arrays, task.seed), task.workspace)
    return {name: tensor.numpy() for name, tensor in found.items()}


def _conditions(workspace: Workspace) -> dict[str, Any]:
    """Return what the bytes of a model depend on where it is trained."""
    if is_remote(workspace):
        return open_cluster(workspace, torch.get_num_threads()).named_conditions
    return numeric_environment(workspace.device)
