"""Variants of SELENA's second stage: each learns from what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import selena_variants
from benchmarks.selena_variants import VARIANTS, DroppedBits, MixedQueries, Variant
from selena.defenses.selena import Selena
from selena.types import Records
from tests.toys import CLASSES, NETWORK, RECIPE, toy_records

TRAIN, VALIDATION = toy_records(80, bits=True), toy_records(60, seed=7, start=1000, bits=True)
LONG = replace(RECIPE, epochs=30)
BASE = Selena(NETWORK, CLASSES, LONG, LONG, n_submodels=4, n_nonmodels=2, near_duplicates="exact")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("variants")


@pytest.mark.deep
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_predicts_above_chance(name: str, kept: Path) -> None:
    model = Variant(BASE, name, kept).fit(TRAIN, VALIDATION, seed=1)
    right = model.logits(VALIDATION.x).argmax(dim=1) == VALIDATION.y
    assert float(right.double().mean()) > 0.25 + 6 * 0.056  # chance; one standard deviation


def taught(
    name: str, kept: Path, monkeypatch: pytest.MonkeyPatch, train: Records = TRAIN
) -> tuple[Records, Tensor]:
    """What the student of a variant is given: records, and soft labels."""
    seen: list[tuple[Records, Tensor]] = []

    def student(base: Any, records: Records, soft: Tensor, *_: Any) -> None:
        seen.append((records, soft))

    monkeypatch.setattr(selena_variants, "student", student)
    Variant(BASE, name, kept).fit(train, VALIDATION, seed=1)
    return seen[0]


def test_flat_tails_keep_the_likeliest_class(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, soft = taught("SELENA", kept, monkeypatch)
    _, flat = taught("flat tails", kept, monkeypatch)
    torch.testing.assert_close(flat.sum(dim=1), torch.ones(80))
    assert torch.equal(flat.amax(dim=1), soft.amax(dim=1))
    tails = flat.sort(dim=1).values[:, :-1]
    assert torch.equal(tails[:, 0], tails[:, -1])


def test_doubtful_members_are_left_out(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, soft = taught("SELENA", kept, monkeypatch)
    records, rest = taught("doubtful 10 % left out", kept, monkeypatch)
    of_label = soft.gather(1, TRAIN.y[:, None]).squeeze(1)
    out = torch.isin(TRAIN.ids, records.ids, invert=True)
    assert int(out.sum()) == 8
    assert of_label[out].max() <= of_label[~out].min()
    assert torch.equal(rest, soft[~out])


def test_held_out_queries_meet_no_member(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("held-out queries", "held-out queries, mixed"):
        records, _ = taught(name, kept, monkeypatch)
        assert torch.equal(records.ids, VALIDATION.ids)


def test_losses_of_changed_queries() -> None:
    x, target = torch.ones(6, 4), torch.full((6, 4), 0.25)

    def seen(loss: Any) -> Tensor:
        inputs: list[Tensor] = []

        def network(given: Tensor) -> Tensor:
            inputs.append(given)
            return given

        loss(network, x, target, epoch=0)
        return inputs[0]

    assert torch.equal(seen(DroppedBits(0.0)), x)
    assert set(seen(DroppedBits(0.5)).flatten().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(seen(MixedQueries()), x)  # equal records stay what they are
