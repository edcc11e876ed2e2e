"""Recipes: schedules by hand, and settings that make no sense."""

from __future__ import annotations

import pytest

from selena.errors import ConfigError
from selena.training.recipe import Recipe


def test_rate_warms_up_and_decays_at_milestones() -> None:
    recipe = Recipe(learning_rate=0.1, epochs=10, warmup_epochs=2, milestones=(4, 6), decay=0.2)
    assert recipe.rate_at(0, 0, 5) == pytest.approx(0.01)
    assert recipe.rate_at(1, 4, 5) == pytest.approx(0.1)
    assert recipe.rate_at(3, 2, 5) == pytest.approx(0.1)
    assert recipe.rate_at(4, 0, 5) == pytest.approx(0.02)
    assert recipe.rate_at(9, 0, 5) == pytest.approx(0.004)


def test_one_cycle_rises_and_falls_to_almost_nothing() -> None:
    recipe = Recipe(learning_rate=0.1, epochs=10, warmup_epochs=2, schedule="one_cycle")
    assert recipe.rate_at(0, 0, 5) == pytest.approx(0.01)
    assert recipe.rate_at(1, 4, 5) == recipe.rate_at(2, 0, 5) == pytest.approx(0.1)
    assert recipe.rate_at(6, 0, 5) == pytest.approx(0.05)
    assert recipe.rate_at(9, 4, 5) == pytest.approx(0.1 / 40)
    whole = [recipe.rate_at(epoch, step, 5) for epoch in range(2, 10) for step in range(5)]
    assert sum(whole) == pytest.approx(0.1 * 41 / 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"momentum": -0.1},
        {"weight_decay": -1e-4},
        {"decay": -0.2},
        {"warmup_epochs": -1},
        {"optimizer": "lion"},
        {"precision": "float8"},
        {"selection": "test"},
        {"schedule": "cosine"},
        {"schedule": "one_cycle", "milestones": (3,)},
        {"loss": "hinge"},
        {"augmentation": "cutout"},
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Recipe(**settings)  # type: ignore[arg-type]
