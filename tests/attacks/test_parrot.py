from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from selena.attacks.parrot import ParrotAttack, _effects
from selena.attacks.reference_model import ReferenceModelAttack
from selena.auditing.oracle import MeteredOracle
from selena.errors import ConfigError
from selena.metrics import roc_curve
from selena.seeding import numpy_generator
from selena.types import MembershipSets, Records
from selena.workspace import Workspace

CLUSTERS = 60


@dataclass(frozen=True, eq=False)
class Student:
    """Says of a record how many others of its cluster its teachers knew, and nothing of itself."""

    trained: frozenset[tuple[float, ...]]
    seed: int
    num_classes: int = 2

    def logits(self, x: Tensor) -> Tensor:
        rows = [tuple(row) for row in x.tolist()]
        counts: dict[float, int] = {}
        for row in self.trained:
            counts[row[0]] = counts.get(row[0], 0) + 1
        noise = [numpy_generator(self.seed, str(row)).normal() for row in rows]
        known = [counts.get(row[0], 0) - (row in self.trained) for row in rows]
        phi = 2 * torch.tensor(known) + 0.2 * torch.tensor(noise)
        return torch.stack([phi, torch.zeros_like(phi)], dim=1)


@dataclass(frozen=True)
class Teaching:
    """Trains a `Student`."""

    def fit(
        self, train: Records, validation: Records, *, seed: int, workspace: Any = None
    ) -> Student:
        return Student(frozenset(map(tuple, train.x.tolist())), seed)


def some(place: int) -> Records:
    """One record of each cluster; other places lie near it."""
    x = torch.stack([100.0 * torch.arange(CLUSTERS), torch.full((CLUSTERS,), float(place))], dim=1)
    return Records(x, torch.zeros(CLUSTERS, dtype=torch.int64), torch.arange(CLUSTERS))


def halves(place: int) -> tuple[Records, Records]:
    draw = torch.randperm(CLUSTERS, generator=torch.Generator().manual_seed(place))
    records = some(place)
    return records.take(draw[: CLUSTERS // 2]), records.take(draw[CLUSTERS // 2 :])


def test_a_record_is_found_in_answers_about_others() -> None:
    """LiRA asks about the record itself, where this student says nothing."""
    known, also, asked = (MembershipSets(*halves(place)) for place in (0, 1, 2))
    told = MembershipSets(
        *(
            Records(*(torch.cat(pair) for pair in zip(a.tensors, b.tensors, strict=True)))
            for a, b in ((known.members, also.members), (known.non_members, also.non_members))
        )
    )
    records, truth = asked.joined()
    told = replace(told, candidates=records)
    trained = torch.cat([told.members.x, asked.members.x])
    oracle = MeteredOracle(Student(frozenset(map(tuple, trained.tolist())), 99), "logits")

    def auc(attack: Any) -> float:
        scorer = attack.fit(oracle, told, seed=0, workspace=Workspace())
        return roc_curve(scorer.score(records).numpy(), truth.numpy()).auc

    by_others = ParrotAttack(Teaching(), runs=16, nearest=2, own=False)
    # 0.91 and 0.90: six standard deviations lie between.
    assert auc(by_others) > 0.73
    assert auc(replace(by_others, own=True)) > 0.7
    # Six standard deviations of the AUC of 30 and 30 scores that tell nothing.
    assert abs(auc(ReferenceModelAttack(Teaching(), "lira", runs=16)) - 0.5) < 0.45


def test_where_others_tell_nothing_lira_is_left() -> None:
    """The shrunken effects of neighbors are next to none."""
    generator = np.random.default_rng(0)
    answers = generator.normal(size=(8, 500, 4))
    inside = np.tile(np.arange(8)[:, None, None] % 2 == 0, (1, 500, 1))
    effect, _, variance, sampling = _effects(answers, inside)
    assert np.mean(variance) == pytest.approx(1, abs=0.1)
    assert np.mean(effect**2 - sampling) == pytest.approx(0, abs=0.15)


def test_bad_settings_are_errors() -> None:
    with pytest.raises(ConfigError, match="nearest is 0"):
        ParrotAttack(Teaching(), nearest=0)
    with pytest.raises(ConfigError, match="runs is 5"):
        ParrotAttack(Teaching(), runs=5)
