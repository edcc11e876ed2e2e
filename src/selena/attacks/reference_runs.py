"""Reference runs: the target's training repeated on random halves of the records in question.

After Carlini et al. 2022. An attacker who knows how the target was trained, and a pool of
records of which it trained on some, trains models of its own on parts of the pool. Each record
is then seen by one half of them and not by the other: the two ways in which the target may
answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selena.defenses.content import content_digests, group_by_content
from selena.errors import DataError
from selena.fingerprint import TRAINING_CODE, code_digest, fingerprint, tensor_digest
from selena.seeding import child_seed, torch_generator
from selena.signals import confidence
from selena.types import Knowledge, Records, TargetModel, concatenate
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
        """Return a model trained on `train`; `validation` are some of its non-members."""
        ...


@runtime_checkable
class SideBySide(Protocol):
    """A training that can be done on several sets of the same records at once."""

    def fit_side_by_side(
        self,
        records: Records,
        masks: Sequence[Bool[Tensor, " n"]],
        *,
        seeds: Sequence[int],
        workspace: Workspace,
    ) -> list[TargetModel]:
        """Return a model for each mask, trained on the records that it marks."""
        ...


@dataclass(frozen=True, eq=False)
class ReferenceRuns:
    """What the runs say about the records of their pool.

    Attributes:
        confidences: of each run in the label of each record, runs x records: log-odds, `bounded`.
        inside: whether the run trained on the record, runs x records; half of the runs did.
        rows: place of each record, by content and label.
        end: what stands for the log-odds of a probability of exactly 1 (or 0, negative).
    """

    confidences: Float[Tensor, "r n"]
    inside: Bool[Tensor, "r n"]
    rows: dict[tuple[bytes, int], int]
    end: float = SURE

    def about(self, records: Records) -> tuple[Float[Tensor, "r m"], Bool[Tensor, "r m"]]:
        """Return confidences about some records of the pool, and which runs trained on them.

        Raises:
            DataError: a record that was not in the pool.
        """
        places = [self.rows.get(name, -1) for name in _names(records)]
        if -1 in places:
            raise DataError(
                f"Record {places.index(-1)} was not among the candidates that reference runs were "
                "trained for. Give all that will be asked about as `Knowledge.candidates`."
            )
        return self.confidences[:, places], self.inside[:, places]


def bounded(confidences: Float[Tensor, "..."], end: float) -> Float[Tensor, "..."]:
    """Return log-odds in [-100, 100], with `end` for infinity."""
    return torch.where(
        confidences.isinf(), confidences.sign() * end, confidences.clamp(-SURE, SURE)
    )


def end_of(confidences: Float[Tensor, "..."]) -> float:
    """Return where log-odds end that are as coarse as these: half a step above the last finite.

    A forest of 100 trees says 0.99 or 1. Were the latter worth 100, it would drown all else.
    """
    finite = confidences[confidences.isfinite()].abs()
    return min(SURE, (float(finite.max()) if len(finite) else 0.0) + _HALF_A_STEP)


def reference_runs(
    defense: Training, known: Knowledge, count: int, *, seed: int, workspace: Workspace
) -> ReferenceRuns:
    """Train `count` models by `defense` on halves of all records, known ones and candidates.

    Halves come in complementary pairs, so each record is in exactly half of them. What is kept
    of a run are its confidences; killed work goes on after the last one. Attacks that share a
    workspace share the runs.

    Raises:
        DataError: there are no candidates, or too few records to halve.
    """
    if known.candidates is None:
        raise DataError(
            "Reference runs train on halves of all records in question, but `Knowledge.candidates` "
            "is None. Give the records that the attack will be asked about; an audit does."
        )
    pool = concatenate(known.all_members, known.non_members, known.candidates)
    code = code_digest(*TRAINING_CODE, "attacks", "signals.py")
    identity = [tensor_digest(pool.x, pool.y), seed, count, code]
    name = f"reference-{fingerprint(defense, *identity)[:24]}"
    return workspace.share(name, lambda: _train(defense, pool, count, seed, name, workspace))


def _train(
    defense: Training, pool: Records, count: int, seed: int, name: str, workspace: Workspace
) -> ReferenceRuns:
    inside = draw_halves(pool, count, seed=seed)
    kept = {run: workspace.load(f"{name}-{run}") for run in range(count)}
    confidences = {run: piece["confidences"] for run, piece in kept.items() if piece is not None}
    pending = [run for run in range(count) if run not in confidences]
    with workspace.progress.step(f"{count} reference runs", count) as bar:
        bar.advance(len(confidences))
        for run, model in _fit(defense, pool, inside, pending, seed, name, workspace):
            confidences[run] = confidence(model.logits(pool.x), pool.y)
            workspace.save(f"{name}-{run}", {"confidences": confidences[run]})
            bar.advance()
    rows = {each: row for row, each in enumerate(_names(pool))}
    said = torch.stack([confidences[run] for run in range(count)])
    end = end_of(said)
    return ReferenceRuns(bounded(said, end), inside, rows, end)


def draw_halves(pool: Records, count: int, *, seed: int) -> Bool[Tensor, "r n"]:
    """Return which run trains on which record: `count` / 2 random halves and their complements.

    Records of equal content are on one side, or a run that is said not to have seen one would
    have seen it in another.

    Raises:
        DataError: fewer than two different records.
    """
    group = group_by_content(pool.x)
    contents = int(group.max()) + 1
    if contents < 2:
        raise DataError("Reference runs need at least two different records to halve.")
    halves = []
    for pair in range(count // 2):
        order = torch.randperm(contents, generator=torch_generator(seed, "halves", pair))
        half = torch.zeros(contents, dtype=torch.bool)
        half[order[: contents // 2]] = True
        halves += [half[group], ~half[group]]
    return torch.stack(halves)


def _fit(
    defense: Training,
    pool: Records,
    inside: Bool[Tensor, "r n"],
    pending: Sequence[int],
    seed: int,
    name: str,
    workspace: Workspace,
) -> Iterator[tuple[int, TargetModel]]:
    """Yield the models of the runs that are pending; of each, pieces are kept until it is used."""
    if not pending:
        return
    seeds = {run: child_seed(seed, "reference run", run) for run in pending}
    if isinstance(defense, SideBySide):
        room = _room(workspace, name)
        models = defense.fit_side_by_side(
            pool, [inside[run] for run in pending], seeds=list(seeds.values()), workspace=room
        )
        yield from zip(pending, models, strict=True)
        room.clear()
        return
    for run in pending:
        room = _room(workspace, f"{name}-{run}")
        # Records that the run must not train on are its non-members: a defense may want some.
        model = defense.fit(
            pool.take(inside[run]), pool.take(~inside[run]), seed=seeds[run], workspace=room
        )
        yield run, model
        room.clear()


def _room(workspace: Workspace, name: str) -> Workspace:
    """Return a workspace whose pieces go when a run is done: models of 16 runs take space."""
    folder = None if workspace.folder is None else workspace.folder / name
    return replace(workspace, folder=folder, touched=set())


def _names(records: Records) -> list[tuple[bytes, int]]:
    digests = content_digests(records.x, key=0).numpy()
    return [(each.tobytes(), int(y)) for each, y in zip(digests, records.y, strict=True)]
