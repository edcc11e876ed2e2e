"""Reference models: the target's training repeated on random halves of the records in question.

After Carlini et al. 2022. An attacker who knows how the target was trained, and a pool of
records of which it trained on some, trains models on halves of the pool. Half of the models saw a
given record and half did not, which shows both ways in which the target may answer.

The pool is the known records and the candidates (`MembershipSets.candidates`: shuffled, with new
ids and without membership). Known records are halved like candidates, so that thresholds fitted on
them apply. A tenth of the known non-members is set aside as validation records. One confidence per
record and model is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log
from shutil import rmtree
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from selena.attacks.pool_index import PoolIndex, content_names
from selena.data.subjects import count_units, join_subjects, units
from selena.errors import DataError
from selena.fingerprint import TRAINING_CODE, code_digest, fingerprint, tensor_digest
from selena.pools.choose import is_remote, open_cluster
from selena.pools.pool import Pool
from selena.processor import numeric_environment
from selena.seeding import child_seed, torch_generator
from selena.signals import confidence
from selena.training.executor import for_a_worker
from selena.types import MembershipSets, Records, TargetModel, concatenate
from selena.workspace import Workspace

SURE = 100.0
"""Confidences are cut here: what a float32 probability can say in log-odds ends near 100."""

_HALF_A_STEP = log(2)


@runtime_checkable
class Training(Protocol):
    """How a target was trained: any `Defense`, or less than one."""

    def fit(
        self, train: Records, validation: Records, *, seed: int, workspace: Workspace = ...
    ) -> TargetModel:
        """Return a model trained on `train`; `validation` holds some of its non-members."""
        ...


class SideBySide(Protocol):
    """A training that can be done on several sets of the same records at once."""

    def fit_side_by_side(
        self,
        records: Records,
        masks: Sequence[Bool[Tensor, " n"]],
        validation: Records,
        *,
        seeds: Sequence[int],
        workspace: Workspace,
    ) -> Sequence[TargetModel]:
        """Return a model for each mask, trained on the records that it marks."""
        ...


@dataclass(frozen=True, eq=False)
class ReferenceModels:
    """What the reference models answer about the records of their pool.

    Attributes:
        confidences: of each model in the label of each record, models x records: log-odds,
            bounded by `end`.
        inside: whether the model trained on the record, models x records; half of them did.
        index: finds a record of the pool.
        end: log-odds in either direction end here, those of a probability of 0 or 1 too.
    """

    confidences: Float[Tensor, "r n"]
    inside: Bool[Tensor, "r n"]
    index: PoolIndex
    end: float = SURE

    def about(self, records: Records) -> tuple[Float[Tensor, "r m"], Bool[Tensor, "r m"]]:
        """Return confidences about some records of the pool, and which models trained on them.

        Raises:
            DataError: a record that was not in the pool.
        """
        places = self.index.places(records)
        return self.confidences[:, places], self.inside[:, places]


def clip_value(confidences: Float[Tensor, "..."]) -> float:
    """Return where log-odds end that are as coarse as these: half a step above the last finite.

    A forest of 100 trees says 0.99 or 1. Were the latter worth 100, it would drown all else.
    """
    finite = confidences[confidences.isfinite()].abs()
    return min(SURE, (float(finite.max()) if len(finite) else 0.0) + _HALF_A_STEP)


def set_aside(known: MembershipSets, seed: int) -> tuple[Records, MembershipSets]:
    """Return a tenth of the known non-members, at least one, and the rest of what is known.

    A defense may select an epoch, or learn what non-members look like, from records that it is
    not trained on. Nobody asks about those of the target, nor about those of reference models.

    Raises:
        DataError: fewer than two known non-members.
    """
    n = count_units(known.non_members)
    if n < 2:
        raise DataError(
            f"{n} non-members are known; reference models need two: one to validate them on, and "
            "one to fit thresholds on."
        )
    order = torch.randperm(n, generator=torch_generator(seed, "set aside"))
    aside = torch.isin(torch.from_numpy(units(known.non_members)), order[: max(1, n // 10)])
    rest = known.non_members.take(~aside)
    return known.non_members.take(aside), replace(known, non_members=rest)


def train_reference_models(
    defense: Training,
    known: MembershipSets,
    validation: Records,
    count: int,
    *,
    seed: int,
    workspace: Workspace,
) -> ReferenceModels:
    """Train `count` models by `defense` on halves of all records, known ones and candidates.

    Halves come in complementary pairs, so each record is in exactly half of them. The workspace
    keeps each model's confidences, so a killed process resumes after the last one. Attacks that
    share a workspace share the models.

    Args:
        defense: how a model is trained.
        known: whose records the models are trained on and asked about.
        validation: non-members of every model, none of them among `known`.
        count: how many, an even number.
        seed: root of all draws.
        workspace: device, progress and folder.

    Raises:
        DataError: there are no candidates, no features, or too few records to halve.
    """
    if known.candidates is None:
        raise DataError(
            "Reference models train on halves of the candidates, but "
            "`MembershipSets.candidates` is None. Give the records that will be scored."
        )
    pool = concatenate(known.all_members, known.non_members, known.candidates)
    sets = [tensor_digest(*each.tensors) for each in (pool, validation)]
    code = code_digest(*TRAINING_CODE, "attacks", "signals.py", "sklearn")
    cluster = open_cluster(workspace, torch.get_num_threads()) if is_remote(workspace) else None
    numeric = cluster.named_conditions if cluster else numeric_environment(workspace.device)
    work = _Work(
        defense=defense,
        pool=pool,
        validation=validation,
        inside=draw_halves(pool, count, seed=seed),
        seeds=[child_seed(seed, "reference run", run) for run in range(count)],
        name=f"reference-{fingerprint(defense, sets, seed, count, code, numeric)[:24]}",
        workspace=workspace,
        cluster=cluster,
    )
    return workspace.share(work.name, work.done)


@dataclass(frozen=True, eq=False)
class _Work:
    """The reference models of one attack, trained or to be trained."""

    defense: Training
    pool: Records
    validation: Records
    inside: Bool[Tensor, "r n"]
    seeds: Sequence[int]
    name: str
    workspace: Workspace
    cluster: Pool | None

    def done(self) -> ReferenceModels:
        """Return all models' answers; what is kept is not trained again."""
        count, artifacts = len(self.seeds), {}
        for run in range(count):
            artifact = self.workspace.load(f"{self.name}-{run}")
            if artifact is not None:
                artifacts[run] = artifact["confidences"]
        with self.workspace.progress.step(f"{count} reference models", count) as bar:
            bar.advance(len(artifacts))
            for run, found in self._answers([run for run in range(count) if run not in artifacts]):
                artifacts[run] = found
                self.workspace.save(f"{self.name}-{run}", {"confidences": artifacts[run]})
                self._clear(run)
                bar.advance()
        self._clear()
        confidences = torch.stack([artifacts[run] for run in range(count)])
        end = clip_value(confidences)
        return ReferenceModels(confidences.clamp(-end, end), self.inside, PoolIndex(self.pool), end)

    def _answers(self, runs: Sequence[int]) -> Iterator[tuple[int, Float[Tensor, " n"]]]:
        """Yield the confidences of the models of these numbers about the pool."""
        if runs and _goes_side_by_side(self.defense):
            # All, also where some are done: fewer side by side would round otherwise.
            models = self.defense.fit_side_by_side(
                self.pool,
                list(self.inside),
                self.validation,
                seeds=self.seeds,
                workspace=self._room("all"),
            )
            yield from ((run, _confidences(models[run], self.pool)) for run in runs)
        elif self.cluster is not None and runs:
            there = for_a_worker(self.workspace)
            tasks = [_Run(self.defense, run, self.seeds[run], there) for run in runs]
            records = [tuple(t.numpy() for t in r.tensors) for r in (self.pool, self.validation)]
            shared = [*records, self.inside.numpy()]
            for number, found in self.cluster.run(_train_and_ask, tasks, shared):
                yield runs[number], torch.tensor(found)
        else:
            for run in runs:
                task = _Run(self.defense, run, self.seeds[run], self._room(str(run)))
                yield run, task.confidences(self.pool, self.validation, self.inside)

    def _room(self, name: str) -> Workspace:
        """Return a workspace for what is trained on the way."""
        folder = self.workspace.folder
        return replace(
            self.workspace, folder=folder and folder / self.name / name, touched=set(), shared={}
        )

    def _clear(self, run: int | None = None) -> None:
        """Delete what one model, or all, left behind: 16 trainings take space."""
        if self.workspace.folder is not None:
            room = self.workspace.folder / self.name
            rmtree(room if run is None else room / str(run), ignore_errors=True)


@dataclass(frozen=True, eq=False)
class _Run:
    """One reference model to train, here or on another machine."""

    defense: Training
    number: int
    seed: int
    workspace: Workspace

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"reference model {self.number + 1}"

    def confidences(
        self, pool: Records, validation: Records, inside: Bool[Tensor, "r n"]
    ) -> Float[Tensor, " n"]:
        """Train it and return its confidences about the pool."""
        train = pool.take(inside[self.number])
        model = self.defense.fit(train, validation, seed=self.seed, workspace=self.workspace)
        return _confidences(model, pool)


def _train_and_ask(run: _Run, pool: Any, validation: Any, inside: Any) -> np.ndarray:
    """Do what a worker does for one reference model."""
    records = (Records(*map(torch.from_numpy, arrays)) for arrays in (pool, validation))
    return run.confidences(*records, torch.from_numpy(inside)).numpy()


def _confidences(model: TargetModel, pool: Records) -> Float[Tensor, " n"]:
    """Return its confidences about the pool; a class without a column it never saw: p = 0."""
    logits = model.logits(pool.x)
    absent = int(pool.y.max()) + 1 - logits.shape[1]
    return confidence(pad(logits, (0, max(0, absent)), value=-torch.inf), pool.y)


def _goes_side_by_side(defense: Training) -> TypeGuard[SideBySide]:
    """Return whether one ensemble can train all; a subclass may train otherwise than its base."""
    return "fit_side_by_side" in vars(type(defense))


def draw_halves(pool: Records, count: int, *, seed: int) -> Bool[Tensor, "r n"]:
    """Return which model trains on which record: `count` / 2 random halves and their complements.

    Records of equal content or of one subject are on one side, or a model
    that counts as not having seen a record would have seen one like it.

    Raises:
        DataError: fewer than two different records.
    """
    _, subject = np.unique(content_names(pool.x), return_inverse=True)
    if pool.subjects is not None:
        subject = join_subjects(subject, pool.subjects.numpy())
    contents = int(subject.max()) + 1
    if contents < 2:
        raise DataError("Reference models need at least two different records to halve.")
    side = torch.from_numpy(subject)
    halves = []
    for pair in range(count // 2):
        order = torch.randperm(contents, generator=torch_generator(seed, "halves", pair))
        half = torch.zeros(contents, dtype=torch.bool)
        half[order[: contents // 2]] = True
        halves += [half[side], ~half[side]]
    return torch.stack(halves)
