"""A search over settings: killed, resumed, judged without evaluation records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from selena.errors import ConfigError, StoreError
from selena.experiments import tuning
from selena.experiments.pipeline import DataSettings, RunSettings, check_settings
from selena.experiments.store import RunFolder
from selena.experiments.tuning import Space, Trial, choose, pareto, tune

SETTINGS = RunSettings(
    data=DataSettings("digits"), defenses=("undefended", "selena"), attacks=("confidence",)
)
SPACE = Space(epochs=(2, 20), weight_decay=(1e-6, 1e-3), n_nonmodels=(1, 9))


def trial(number: int, accuracy: float, leakage: float) -> Trial:
    return Trial(number, {}, accuracy, leakage, f"run-{number}")


def test_the_front_is_what_no_trial_beats() -> None:
    trials = (trial(0, 0.9, 0.3), trial(1, 0.8, 0.1), trial(2, 0.7, 0.2), trial(3, 0.9, 0.4))
    assert pareto(trials) == (1, 0)
    assert choose(trials, "auc", None, Path()).chosen is None
    assert choose(trials, "auc", 0.05, Path()).chosen is None


@pytest.mark.parametrize("limits", [(0, 5), (9, 3), (-1, 2)])
def test_a_range_goes_up_from_above_zero(limits: Any) -> None:
    with pytest.raises(ConfigError, match=r"epochs is .* LOW:HIGH"):
        Space(epochs=limits)


def test_the_range_of_l_counts_and_not_the_plans(tmp_path: Path) -> None:
    """K = 5 leaves no room for the plan's L of 10, which no trial uses."""
    small = replace(SETTINGS, plan={"n_submodels": 5})
    with pytest.raises(ConfigError, match="n_submodels=5, n_nonmodels=9"):
        tune(small, SPACE, tmp_path, trials=1)
    check_settings(replace(SPACE, n_nonmodels=(1, 4)).largest(small))


class Killed(BaseException):
    """Stands for a signal."""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[RunSettings]:
    """Stand in for trainings: figures that depend on the settings alone."""
    seen: list[RunSettings] = []

    def measure(settings: RunSettings, runs: Path, metric: str, progress: Any) -> Any:
        if len(seen) == 3 and seen[-1] is not KILL:
            seen.append(KILL)
            raise Killed
        seen.append(settings)
        rate, epochs = (settings.plan["training"][name] for name in ("learning_rate", "epochs"))
        return 1 - rate, epochs / 100, RunFolder(runs / f"run-{epochs}-{rate}")

    monkeypatch.setattr(tuning, "measure", measure)
    return seen


KILL = RunSettings(seeds=(99,))


def test_a_killed_search_goes_on_as_if_it_were_not(
    measured: list[RunSettings], tmp_path: Path
) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    with pytest.raises(Killed):
        tune(SETTINGS, SPACE, tmp_path / "a", trials=12)
    resumed = tune(SETTINGS, SPACE, tmp_path / "a", trials=12)
    measured[:] = [KILL] * 4
    whole = tune(SETTINGS, SPACE, tmp_path / "b", trials=12)
    assert [each.params for each in resumed.trials] == [each.params for each in whole.trials]
    assert len({each.run for each in whole.trials}) == 12
    assert {each.params["defense"] for each in whole.trials} == set(SETTINGS.defenses)
    assert tune(SETTINGS, SPACE, tmp_path / "b", trials=12) == whole  # nothing is done again
    with pytest.raises(StoreError, match="other data or settings"):
        tune(SETTINGS, Space(), tmp_path / "b", trials=12)


def test_what_is_tried_reaches_the_plan(measured: list[RunSettings], tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    found = tune(SETTINGS, SPACE, tmp_path, trials=1).trials[0]
    (settings,) = measured
    assert settings.defenses == (found.params["defense"],)
    assert settings.plan["n_nonmodels"] == found.params["n_nonmodels"]
    for name in ("epochs", "learning_rate", "weight_decay"):
        for recipe in ("training", "distillation"):
            assert settings.plan[recipe][name] == found.params[name]


@pytest.mark.deep
def test_a_search_trains_attacks_and_chooses(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    settings = RunSettings(
        data=DataSettings("digits", n_members=200),
        defenses=("undefended",),
        attacks=("confidence",),
    )
    found = tune(settings, Space(epochs=(1, 2)), tmp_path, trials=2, metric="auc", limit=1.0)
    assert found.chosen in found.front
    assert found.evaluation is not None
    report = RunFolder(tmp_path / "runs" / found.trials[found.chosen].run).report()
    assert found.evaluation == report.figure("auc")
    assert found.trials[found.chosen].leakage == report.figure("auc").known_value
    again = tune(settings, Space(epochs=(1, 2)), tmp_path, trials=2, metric="auc", limit=0.0)
    assert again.chosen is None
    assert again.trials == found.trials
