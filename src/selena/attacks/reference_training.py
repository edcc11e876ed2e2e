"""Reference models: the target's training repeated on random halves of a pool of records.

After Carlini et al. 2022. An attacker who knows how the target was trained, and a pool that
contains some of its training records, trains models on halves of the pool. Half of the models saw a
given record and half did not, which shows how the target would answer in both cases.

The pool is the known records and the candidates (`MembershipSets.candidates`: shuffled, with new
ids and without membership). Known records are halved like candidates, so that thresholds fitted on
them are valid for candidates. A tenth of the known non-members is set aside as validation records.
The result is a `ReferenceMatrix` of confidences per record and model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from shutil import rmtree
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import pad

from selena.attacks.pool_index import content_names
from selena.attacks.reference_copies import Copies
from selena.attacks.reference_matrix import ReferenceMatrix
from selena.attacks.signals import confidence
from selena.data.subjects import count_units, join_subjects, units
from selena.environment.fingerprint import TRAINING_CODE, code_digest, fingerprint, tensor_digest
from selena.environment.processor import numeric_environment
from selena.errors import ConfigError, DataError
from selena.pools.choose import is_remote, open_cluster
from selena.pools.pool import Pool
from selena.seeding import child_seed, torch_generator
from selena.training.batches import in_chunks
from selena.training.executor import for_a_worker
from selena.types import MembershipSets, Records, TargetModel, concatenate
from selena.workspace import Workspace


@runtime_checkable
class Training(Protocol):
    """How a target was trained: any object with `fit`, such as a `Defense`."""

    def fit(
        self, train: Records, validation: Records, *, seed: int, workspace: Workspace = ...
    ) -> TargetModel:
        """Return a model trained on `train`; `validation` holds some of its non-members."""
        ...


class SideBySide(Protocol):
    """A training that can train on several subsets of the same records at once."""

    def fit_side_by_side(
        self,
        records: Records,
        masks: Sequence[Bool[Tensor, " n"]],
        validation: Records,
        *,
        seeds: Sequence[int],
        workspace: Workspace,
    ) -> Sequence[TargetModel]:
        """Return one model per mask, trained on the records that it marks."""
        ...


def check_runs(runs: int) -> None:
    """Raise `ConfigError` unless `runs` is even and at least 4."""
    if runs < 4 or runs % 2:
        raise ConfigError(
            f"runs is {runs}; give an even number from 4 on: halves of the records come in pairs, "
            "and a variance needs two values."
        )


def set_aside(known: MembershipSets, seed: int) -> tuple[Records, MembershipSets]:
    """Return a tenth of the known non-members, at least one, and all other known records.

    A defense may use validation records to select an epoch, or to learn how non-members look. So
    these are neither scored nor used to fit thresholds.

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


def pool_of(known: MembershipSets) -> Records:
    """Return the pool of the reference models: known records, then candidates.

    Raises:
        DataError: there are no candidates.
    """
    if known.candidates is None:
        raise DataError(
            "Reference models train on halves of the candidates, but "
            "`MembershipSets.candidates` is None. Give the records that will be scored."
        )
    return concatenate(known.all_members, known.non_members, known.candidates)


def train_reference_matrix(
    training: Training,
    records: Records,
    validation: Records,
    *,
    runs: int = 16,
    seed: int = 0,
    copies: Copies | None = None,
    grow: ReferenceMatrix | None = None,
    workspace: Workspace | None = None,
) -> ReferenceMatrix:
    """Train reference models on halves of `records`, and return their answers about all records.

    Halves come in complementary pairs, so exactly half of the models train on a record. The
    workspace keeps each model's confidences, so a killed process resumes after the last one.
    Attacks that share a workspace share the models. Seeds are named after pair and run, so ten runs
    extended to twenty equal twenty runs trained at once. Networks that train side by side may
    differ by rounding in the last digits of the log-odds.

    Args:
        training: how a model is trained: a defense, or an object with its `fit`.
        records: the pool: every record that will be scored, members and non-members.
        validation: records that no model trains on, for defenses that select on some.
        runs: number of models, even.
        seed: root of all draws.
        copies: changed copies of each record to ask about, too.
        grow: a matrix of the same training, records and seed, whose runs are reused.
        workspace: device, progress and folder.

    Raises:
        DataError: too few records to halve, or `grow` has other records, copies or draws.
        ConfigError: `runs` is odd, or smaller than the runs of `grow`.
    """
    workspace = workspace or Workspace()
    first = 0 if grow is None else grow.runs
    if runs % 2 or runs < max(2, first):
        raise ConfigError(
            f"runs is {runs}; give an even number{f' from {first} on' if first else ''}: halves "
            "come in pairs, and existing runs are kept."
        )
    sets = [tensor_digest(*each.tensors) for each in (records, validation)]
    code = code_digest(*TRAINING_CODE, "attacks", "sklearn")
    cluster = open_cluster(workspace, torch.get_num_threads()) if is_remote(workspace) else None
    numeric = cluster.named_conditions if cluster else numeric_environment(workspace.device)
    asked = [] if copies is None else [copies]
    parts = [training, sets, seed, runs, code, numeric, *asked, *([first] if first else [])]
    names = content_names(records.x, records.y)
    inside = draw_halves(records, runs, seed=seed)
    if grow is not None:
        _check_same(grow, names, inside, copies)
        if grow.runs == runs:
            return replace(grow, names=names)
    work = _Work(
        defense=training,
        pool=records,
        validation=validation,
        inside=inside,
        numbers=range(first, runs),
        seeds=[child_seed(seed, "reference run", run) for run in range(runs)],
        copies=copies,
        name=f"reference-{fingerprint(*parts)[:24]}",
        workspace=workspace,
        cluster=cluster,
    )
    found = workspace.share(work.name, work.done)
    return found if grow is None else replace(grow, names=names, copies=copies).join(found)


def _check_same(
    grow: ReferenceMatrix, names: np.ndarray, inside: Bool[Tensor, "r n"], copies: Copies | None
) -> None:
    """Raise `DataError` unless a matrix equals the first runs of the matrix to train."""
    same_names = grow.names is None or np.array_equal(grow.names, names)
    drawn = inside[: grow.runs].numpy()
    if not same_names or not np.array_equal(grow.inside, drawn):
        raise DataError(
            "The matrix to grow has other records, or its halves were drawn with another seed. "
            "Give the records and the seed that it was trained with."
        )
    if fingerprint(grow.copies) != fingerprint(copies):
        raise DataError("The matrix to grow has other copies. Pass copies=matrix.copies.")


@dataclass(frozen=True, eq=False)
class _Work:
    """Some of the reference models, trained or still to train."""

    defense: Training
    pool: Records
    validation: Records
    inside: Bool[Tensor, "r n"]
    numbers: Sequence[int]
    seeds: Sequence[int]
    copies: Copies | None
    name: str
    workspace: Workspace
    cluster: Pool | None

    def done(self) -> ReferenceMatrix:
        """Return these models' answers; models with kept answers are not trained again."""
        artifacts: dict[int, Tensor] = {}
        for run in self.numbers:
            artifact = self.workspace.load(f"{self.name}-{run}")
            if artifact is not None:
                artifacts[run] = artifact["confidences"]
        with self.workspace.progress.step(
            f"{len(self.numbers)} reference models", len(self.numbers)
        ) as bar:
            bar.advance(len(artifacts))
            for run, found in self._answers([run for run in self.numbers if run not in artifacts]):
                artifacts[run] = found
                self.workspace.save(f"{self.name}-{run}", {"confidences": artifacts[run]})
                self._clear(str(run))
                bar.advance()
        self._clear()
        names = content_names(self.pool.x, self.pool.y)
        confidences = torch.stack([artifacts[run] for run in self.numbers])
        mine = self.inside[list(self.numbers)]
        return ReferenceMatrix(confidences.numpy(), mine.numpy(), names, self.copies)

    def _answers(self, runs: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield the confidences of the models with these numbers about the pool."""
        if _goes_side_by_side(self.defense):
            size = getattr(self.defense, "most_side_by_side", lambda _: len(self.numbers))
            for part in in_chunks(len(self.numbers), max(1, size(self.pool))):
                yield from self._side_by_side(self.numbers[part], runs)
        elif self.cluster is not None and runs:
            there = for_a_worker(self.workspace)
            tasks = [_Run(self.defense, run, self.seeds[run], self.copies, there) for run in runs]
            records = [tuple(t.numpy() for t in r.tensors) for r in (self.pool, self.validation)]
            shared = [*records, self.inside.numpy()]
            for number, found in self.cluster.run(_train_and_ask, tasks, shared):
                yield runs[number], torch.tensor(found)
        else:
            for run in runs:
                room = self._room(str(run))
                task = _Run(self.defense, run, self.seeds[run], self.copies, room)
                yield run, task.confidences(self.pool, self.validation, self.inside)

    def _side_by_side(
        self, group: Sequence[int], wanted: Sequence[int]
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the confidences of the wanted models of a group that trains as one ensemble.

        The whole group trains, even if some models are done, because rounding depends on its size.
        """
        assert _goes_side_by_side(self.defense)
        if not set(group) & set(wanted):
            return
        room = f"from-{group[0]}"
        models = self.defense.fit_side_by_side(
            self.pool,
            [self.inside[run] for run in group],
            self.validation,
            seeds=[self.seeds[run] for run in group],
            workspace=self._room(room),
        )
        for run, model in zip(group, models, strict=True):
            if run in wanted:
                yield run, _confidences(model, self.pool, self.copies)
        self._clear(room)

    def _room(self, name: str) -> Workspace:
        """Return a workspace for intermediate artifacts."""
        folder = self.workspace.folder
        return replace(
            self.workspace, folder=folder and folder / self.name / name, touched=set(), shared={}
        )

    def _clear(self, room: str = "") -> None:
        """Delete the intermediate artifacts of some models, or of all, to save space."""
        if self.workspace.folder is not None:
            rmtree(self.workspace.folder / self.name / room, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class _Run:
    """One reference model to train, here or on another machine."""

    defense: Training
    number: int
    seed: int
    copies: Copies | None
    workspace: Workspace

    @property
    def name(self) -> str:
        """Name of the model in messages."""
        return f"reference model {self.number + 1}"

    def confidences(
        self, pool: Records, validation: Records, inside: Bool[Tensor, "r n"]
    ) -> Tensor:
        """Train it and return its confidences about the pool."""
        train = pool.take(inside[self.number])
        model = self.defense.fit(train, validation, seed=self.seed, workspace=self.workspace)
        return _confidences(model, pool, self.copies)


def _train_and_ask(run: _Run, pool: Any, validation: Any, inside: Any) -> np.ndarray:
    """Train and ask one reference model, in a worker."""
    asked, beside = (Records(*map(torch.from_numpy, arrays)) for arrays in (pool, validation))
    return run.confidences(asked, beside, torch.from_numpy(inside)).numpy()


def _confidences(model: TargetModel, pool: Records, copies: Copies | None) -> Tensor:
    """Return a model's confidences about the pool, n or n x queries."""
    classes = int(pool.y.max()) + 1

    def ask(x: Tensor) -> Tensor:
        logits = model.logits(x)
        # A class without a column was not in the training set, so p = 0.
        return pad(logits, (0, max(0, classes - logits.shape[1])), value=-torch.inf)

    return confidence(ask(pool.x), pool.y) if copies is None else copies.ask(ask, pool)


def _goes_side_by_side(defense: Training) -> TypeGuard[SideBySide]:
    """Return whether one ensemble can train all; not for a subclass, whose `fit` may differ."""
    return "fit_side_by_side" in vars(type(defense))


def draw_halves(pool: Records, count: int, *, seed: int) -> Bool[Tensor, "r n"]:
    """Return which model trains on which record: `count` / 2 random halves and their complements.

    Records of equal content or of one subject are on one side. Otherwise a model could count as
    not having seen a record although it saw an equal one.

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
