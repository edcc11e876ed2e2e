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
        {"loss": "hinge"},
        {"augmentation": "cutout"},
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Recipe(**settings)  # type: ignore[arg-type]
