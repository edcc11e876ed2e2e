"""How many networks train side by side: asked for, usual, or measured once and remembered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selena.files import CACHE_VARIABLE
from selena.networks.resnet import small_resnet
from selena.training import executor, group_size
from selena.training.engine import fit_networks
from selena.training.group_size import Ensemble
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.workspace import Workspace
from tests.toys import CLASSES, NETWORK, toy_records

RECORDS = toy_records(80)
# 640 steps a network: long enough to be measured.
LONG = Recipe(batch_size=8, epochs=64, learning_rate=1e-3)


def ensemble(k: int, recipe: Recipe = LONG) -> Ensemble:
    jobs = [Job(f"{i}", torch.arange(80), seed=i) for i in range(k)]
    return Ensemble(NETWORK, Examples(RECORDS.x, RECORDS.y), jobs, recipe)


def pretend(monkeypatch: pytest.MonkeyPatch, seconds: Mapping[int, float]) -> list[int]:
    """Let each size take so many seconds a step; return the list of what is measured."""
    tried: list[int] = []

    def measured(_ensemble: Ensemble, _workspace: Workspace, size: int) -> float:
        tried.append(size)
        return seconds[size]

    monkeypatch.setattr(group_size, "_seconds_a_step", measured)
    return tried


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return tmp_path / "group-sizes"


def test_the_fastest_size_is_measured_once(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    tried = pretend(monkeypatch, {1: 4.0, 4: 2.0, 16: 1.5, 20: 1.8})
    for _ in range(2):
        assert group_size.group_size(ensemble(20), Workspace()) == 16
    assert tried == [1, 4, 16, 20]
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["seconds_a_step"]["16"] == 1.5
    # Another recipe is another question; a longer one is not.
    group_size.group_size(ensemble(20, replace(LONG, epochs=99)), Workspace())
    assert len(tried) == 4
    group_size.group_size(ensemble(20, replace(LONG, batch_size=4)), Workspace())
    assert len(tried) == 8


def test_a_small_gain_changes_nothing_and_hopeless_sizes_are_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = pretend(monkeypatch, {1: 1.0, 4: 0.95, 16: 1.3, 20: 0.1})
    assert group_size.group_size(ensemble(20), Workspace()) == 1
    assert tried == [1, 4, 16]


def test_a_stack_that_does_not_fit_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(_ensemble: Ensemble, _workspace: Workspace, size: int) -> float:
        if size > 4:
            raise torch.OutOfMemoryError
        return 1 / size

    monkeypatch.setattr(group_size, "_seconds_a_step", measured)
    assert group_size.group_size(ensemble(20), Workspace()) == 4


@pytest.mark.parametrize("damage", ["{", "[]", '{"group_size": 99}', '{"group_size": "4"}'])
def test_a_damaged_note_is_measured_anew(
    damage: str, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    tried = pretend(monkeypatch, {1: 4.0, 2: 2.0})
    group_size.group_size(ensemble(2), Workspace())
    (file,) = cache.iterdir()
    file.write_text(damage)
    assert group_size.group_size(ensemble(2), Workspace()) == 2
    assert tried == [1, 2, 1, 2]
    assert json.loads(file.read_text())["group_size"] == 2


def test_a_cache_that_cannot_be_written_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    pretend(monkeypatch, {1: 4.0, 2: 2.0})
    assert group_size.group_size(ensemble(2), Workspace()) == 2
    assert "cannot be remembered" in caplog.text


def test_short_training_asked_sizes_and_single_networks_are_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = pretend(monkeypatch, {})
    short = replace(LONG, epochs=3)
    assert group_size.group_size(ensemble(5, short), Workspace()) == 1
    assert group_size.group_size(ensemble(5, short), Workspace(device="meta")) == 5
    assert group_size.group_size(ensemble(5), Workspace(group_size=3)) == 3
    assert group_size.group_size(ensemble(1), Workspace()) == 1
    assert tried == []


def test_of_networks_with_convolutions_only_a_few_share_an_accelerator() -> None:
    factory = small_resnet(CLASSES, (0.5,), (0.25,))
    work = replace(ensemble(20, replace(LONG, epochs=3)), factory=factory)
    assert group_size.group_size(work, Workspace(device="meta")) == 4


def test_every_process_of_a_pool_gets_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "_WORTH_PROCESSES", 0)
    tried = pretend(monkeypatch, {1: 4.0, 3: 2.0})
    assert group_size.group_size(ensemble(6), Workspace(workers=2)) == 3
    assert tried == [1, 3]


def test_measuring_changes_no_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """It really trains, with the seeds of the jobs, and leaves nothing behind but its note."""
    work = ensemble(3)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    size = group_size.group_size(work, Workspace())
    assert torch.equal(torch.rand(1), expected)
    (file,) = cache.iterdir()
    assert set(json.loads(file.read_text())["seconds_a_step"]) <= {"1", "3"}
    one, other = (
        fit_networks(NETWORK, work.examples, work.jobs, LONG, workspace=workspace)
        for workspace in (Workspace(), Workspace(group_size=size))
    )
    for a, b in zip(one, other, strict=True):
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name])
