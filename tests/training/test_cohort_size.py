"""How many networks train side by side: asked for, or by a rule that no clock moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from selena.networks import NetworkFactory
from selena.networks.mlp import MLP
from selena.networks.resnet import small_resnet
from selena.training import executor
from selena.training.engine import Ensemble, cohort_size
from selena.training.job import Examples, Job
from selena.training.recipe import Recipe
from selena.workspace import Workspace
from tests.toys import CLASSES, FEATURES, NETWORK, RECIPE, toy_records

RECORDS = toy_records(80)
LARGE = MLP(FEATURES, CLASSES, hidden=(2048, 1024))


def ensemble(k: int, factory: NetworkFactory = NETWORK, recipe: Recipe = RECIPE) -> Ensemble:
    jobs = [Job(f"{i}", torch.arange(80), seed=i) for i in range(k)]
    return Ensemble(factory, Examples(RECORDS.x, RECORDS.y), jobs, recipe)


@pytest.mark.parametrize(("k", "size"), [(1, 1), (5, 5), (40, 16)])
def test_small_networks_share_a_stack(k: int, size: int) -> None:
    assert cohort_size(ensemble(k), Workspace()) == size


def test_large_networks_train_in_turn() -> None:
    assert cohort_size(ensemble(5, LARGE), Workspace()) == 1


def test_large_batches_make_large_steps() -> None:
    assert cohort_size(ensemble(5, recipe=replace(RECIPE, batch_size=1 << 18)), Workspace()) == 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_long_training_is_cut_alike_for_all_workers(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_WORTH_PROCESSES", 0)
    assert cohort_size(ensemble(40), Workspace(workers=workers)) == 4


def test_an_accelerator_takes_all_at_once() -> None:
    assert cohort_size(ensemble(40, LARGE), Workspace(device="meta")) == 40


def test_few_networks_with_convolutions_share_one() -> None:
    factory = small_resnet(CLASSES, (0.5,), (0.25,))
    work = replace(ensemble(20), factory=factory)
    assert cohort_size(work, Workspace(device="meta")) == 4
    assert cohort_size(work, Workspace()) == 1


def test_what_is_asked_for_is_done() -> None:
    assert cohort_size(ensemble(5, LARGE), Workspace(cohort_size=3)) == 3
    assert cohort_size(ensemble(5), Workspace(cohort_size=1)) == 1
