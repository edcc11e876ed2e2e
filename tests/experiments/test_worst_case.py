"""The worst case on a tiny scale: tuning, leave-one-out attacks, and going on after a stop."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from typer.testing import CliRunner

from selena.cli import app
from selena.data.audit_pool import KINDS, draw_coins
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError
from selena.experiments.paper import (
    worst_case,
    worst_case_figures,
    worst_case_models,
    worst_case_tuning,
)
from selena.experiments.paper.budget import defense_trainings, total
from selena.experiments.paper.document import Document
from selena.experiments.paper.task import PaperTask
from selena.experiments.paper.worst_case import Sizes, WorstCase
from selena.experiments.paper.worst_case_figures import _figures_of_kind, resolved_fpr, scores
from selena.experiments.paper.worst_case_pool import PoolAnswers
from selena.experiments.paper.worst_case_tuning import KNOBS, Knob, candidates, tune
from selena.metrics.one_run import EpsilonBound
from selena.metrics.roc import roc_curve
from selena.registry import DEFENSES, build_defense
from selena.training.plans import Plan
from selena.workspace import Machines, Workspace
from tests.attacks.test_reference_model import Machine
from tests.test_registry import dataset

SIZES = Sizes(models=6, ordinary=10, canaries=4, trials=2, plan={"hidden": [8]})
NAMES = ("undefended", "label_smoothing")


@pytest.fixture(scope="module")
def worst(tiny: PaperTask) -> WorstCase:
    return WorstCase(tiny, SIZES, NAMES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worst")


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Few resamples, and a bound that takes no search: both are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worst_case_figures, "_RESAMPLES", 3)
        bound = EpsilonBound(0.5, 1e-5, 2, 2)
        patch.setattr(worst_case_figures, "gaussian_epsilon_lower_bound", lambda *_, **__: bound)
        yield


@pytest.fixture(scope="module")
def document(worst: WorstCase, runs: Path, quick: None) -> Document:
    return worst_case.run(worst, runs, command="selena test")


def answers_of(confidences: Any) -> PoolAnswers:
    return PoolAnswers(torch.as_tensor(confidences), (0.5,) * len(confidences))


def test_scores_find_planted_members_not_noise() -> None:
    coins = draw_coins(300, 8, seed=1)
    noise = np.random.default_rng(0).normal(size=(8, 300))
    for attack in ("lira", "rmia"):
        planted = scores(answers_of(noise + 10 * coins.numpy()), coins, attack)
        assert roc_curve(planted.ravel(), coins.numpy().ravel()).auc > 0.97
        nothing = scores(answers_of(noise), coins, attack)
        gap = nothing[coins.numpy()].mean() - nothing[~coins.numpy()].mean()
        assert abs(gap) < 6 * nothing.std() * 2 / math.sqrt(1200)


def test_a_targets_complement_is_no_reference() -> None:
    coins = draw_coins(50, 8, seed=1)
    said = torch.randn(8, 50, generator=torch.Generator().manual_seed(0)).double()
    moved = said.clone()
    moved[5] += 1
    for attack in ("lira", "rmia"):
        before, after = (scores(answers_of(each), coins, attack) for each in (said, moved))
        assert np.array_equal(before[4], after[4])
        assert not np.array_equal(before[3], after[3])


def test_the_strongest_setting_at_the_target_is_taken(
    monkeypatch: pytest.MonkeyPatch, worst: WorstCase, tiny: PaperTask
) -> None:
    tried = candidates("label_smoothing", Plan(hidden=(4,)), tiny.load(), 4, {})
    accuracies = {each[0]["smoothing"]: 0.3 + 0.1 * i for i, each in enumerate(tried)}

    def accuracy(trial: Any, *_: Any) -> float:
        return accuracies[trial.defense.smoothing]

    monkeypatch.setattr(worst_case_tuning, "tuning_accuracy", accuracy)
    arena = worst.arena(tiny.load(), 0)
    tuned = tune(tried, arena, 0.505, Workspace())
    assert (len(tuned.trials), tuned.meets_target) == (3, True)
    assert tuned.chosen.settings == tried[2][0]
    missed = tune(tried, arena, 0.9, Workspace())
    assert (len(missed.trials), missed.meets_target) == (4, False)
    assert missed.chosen.accuracy == pytest.approx(0.6)


def test_knobs_spread_trials_from_strong_to_weak() -> None:
    plan = Plan(n_submodels=10)
    assert Knob("a", 8.0, 1.0).settings(4, plan) == [{"a": 8.0}, {"a": 4.0}, {"a": 2.0}, {"a": 1.0}]
    assert KNOBS["selena"].settings(3, plan) == [
        {"n_nonmodels": 7},
        {"n_nonmodels": 4},
        {"n_nonmodels": 2},
    ]
    assert KNOBS["early_stopping"].settings(2, plan) == [{"epoch": 6}, {"epoch": 24}]
    assert KNOBS["undefended"].settings(8, plan) == [{}]


@pytest.mark.parametrize("name", DEFENSES)
def test_every_defense_has_a_knob_and_a_price(name: str) -> None:
    plan, data = Plan(hidden=(4,)), dataset("binary")
    for settings, _ in candidates(name, plan, data, 2, {}):
        defense = build_defense(name, plan, data, {name: settings})
        assert sum(work.steps for work in defense_trainings(defense, 100, 50).values()) > 0


def test_every_kind_has_figures_of_both_attacks(document: Document) -> None:
    rows = document.data["rows"]
    assert [row["defense"] for row in rows] == list(NAMES)
    for row in rows:
        assert row["target"] < 1
        for attack in ("lira", "rmia"):
            for kind in KINDS:
                one = row["attacks"][attack][kind]
                assert 0 <= one["tpr_interval"][0] <= one["tpr_interval"][1] <= 1
                assert one["epsilon_median"] == 0.5
                assert one["fpr"] == SIZES.fpr
                assert one["members_scored"] == one["non_members_scored"] == 3 * one["records"]
    assert len(document.table.lines) == 2 * len(NAMES)


def test_everything_is_written(document: Document, tmp_path: Path) -> None:
    document.write(tmp_path, "selena test")
    data = json.loads((tmp_path / "worst-case.json").read_text())
    assert data["schema"] == "selena-worst-case/1"
    assert "label\\_smoothing" in (tmp_path / "worst-case.tex").read_text()


def test_finished_models_are_not_trained_again(
    document: Document, worst: WorstCase, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing was left to train")

    monkeypatch.setattr(Undefended, "fit", never)
    monkeypatch.setattr("selena.defenses.single.fit_single", never)
    again = worst_case.run(worst, runs, command="selena test")
    assert again.data["rows"] == document.data["rows"]
    lines = worst_case.plan(worst, runs)
    assert [line.found for line in lines] == ["6 models"] * 2


@pytest.mark.usefixtures("quick")
def test_machines_give_the_same_table(
    document: Document, tiny: PaperTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    monkeypatch.setattr(worst_case_models, "open_cluster", lambda *_: machine)
    there = WorstCase(replace(tiny, machines=Machines(executor="ray")), SIZES, NAMES)
    found = worst_case.run(there, tmp_path, command="selena test")
    assert found.data["rows"] == document.data["rows"]
    trials = ["a trial of undefended, seed 0", *["a trial of label_smoothing, seed 0"] * 2]
    assert machine.tasks[:3] == trials[::-1]
    assert sorted(machine.tasks[3:]) == sorted(
        f"model {i + 1} of {name}, seed 0" for name in NAMES for i in range(6)
    )
    for name in sorted(path.name for path in (tmp_path / "artifacts").glob("*-3.safetensors")):
        (tmp_path / "artifacts" / name).unlink()
    machine.tasks.clear()
    assert worst_case.run(there, tmp_path, command="").data["rows"] == document.data["rows"]
    assert sorted(machine.tasks) == [f"model 4 of {name}, seed 0" for name in sorted(NAMES)]


def test_the_plan_counts_trials_and_pools(tiny: PaperTask, tmp_path: Path) -> None:
    worst = WorstCase(tiny, SIZES, (*NAMES, "selena"))
    undefended, smoothing, selena = worst_case.plan(worst, tmp_path)
    assert undefended.work.networks == 1 + 6
    assert smoothing.work.networks == 2 + 6
    assert selena.work.networks == 4 * (2 + 6)
    assert total([undefended, smoothing]).steps > 0


def test_unknown_defenses_and_lone_trials_are_refused(tiny: PaperTask) -> None:
    with pytest.raises(ConfigError, match="selna"):
        worst_case.run(WorstCase(tiny, SIZES, ("selna",)), Path("nowhere"), command="")
    with pytest.raises(ConfigError, match="trials is 1"):
        candidates("selena", Plan(), dataset("binary"), 1, {})


def test_the_command_line_shows_the_plan(tmp_path: Path) -> None:
    options = ["--dataset", "digits", "--defense", "undefended,mist", "--target", "0.9", "--plan"]
    options += ["--executor", "ray"]
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(app, ["reproduce", "worst-case", *options, *folders])
    assert found.exit_code == 0, found.output
    assert "mist, seed 0" in found.output
    assert not (tmp_path / "out").exists()


def test_the_reported_fpr_is_resolved() -> None:
    assert [resolved_fpr(n) for n in (5, 199, 200, 1000, 10_000)] == [0.1, 0.1, 0.05, 0.01, 0.001]
    assert SIZES.fpr == 0.1
    assert {name: sizes.fpr for name, sizes in worst_case.SIZES.items()} == {
        "paper": 0.01,
        "quick": 0.05,
    }


@pytest.mark.slow
@pytest.mark.parametrize("fpr", [0.01, 0.05])
def test_intervals_of_few_canaries_cover(fpr: float) -> None:
    """8 models and 50 records, as in the quick scale; the bound is six standard deviations off."""
    effect, spread, draws = 2.5, 0.5, np.random.default_rng(0)
    scale = float(np.hypot(1, spread))
    tpr = norm.sf(norm.isf(fpr) - effect / scale)
    auc = norm.cdf(effect / scale / np.sqrt(2))
    covered = np.zeros(2)
    for seed in range(800):
        pairs = draws.random((4, 50)) < 0.5
        coins = np.stack([pairs, ~pairs], axis=1).reshape(8, 50)
        values = draws.normal(size=(1, 50)) * spread + draws.normal(size=(8, 50)) + effect * coins
        figure = _figures_of_kind(values, coins, fpr, seed)
        for i, (true, (low, high)) in enumerate(
            [(tpr, figure.tpr_interval), (auc, figure.auc_interval)]
        ):
            covered[i] += low <= true <= high
    assert (covered >= 800 * 0.95 - 6 * (800 * 0.95 * 0.05) ** 0.5).all()
