"""The registry: every name builds, families take what suits the features, others are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from selena.errors import ConfigError
from selena.registry import ATTACKS, DEFENSES, FAMILIES, build_attacks, build_defense
from selena.training.plans import PLANS, Plan
from selena.types import Dataset, FeatureKind
from tests.toys import toy_dataset

X: dict[FeatureKind, torch.Tensor] = {
    "binary": torch.ones(6, 40, dtype=torch.uint8),
    "continuous": torch.rand(6, 5),
    "image": torch.zeros(6, 3, 32, 32, dtype=torch.uint8),
}


def dataset(features: FeatureKind) -> Dataset:
    return toy_dataset(X[features], torch.arange(6) % 2, num_classes=2, features=features)


@pytest.mark.parametrize("name", DEFENSES)
def test_every_defense_builds(name: str) -> None:
    defense = build_defense(name, Plan(hidden=(4,)), dataset("binary"))
    assert callable(defense.fit)


@pytest.mark.parametrize("features", X)
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_has_its_name_and_refuses_features(name: str, features: FeatureKind) -> None:
    entry = ATTACKS[name]
    if features not in entry.features:
        with pytest.raises(ConfigError, match=rf"{name} needs .* features"):
            build_attacks([name], Plan(hidden=(4,)), dataset(features))
        return
    (attack,) = build_attacks([name], Plan(hidden=(4,)), dataset(features))
    assert attack.family == entry.family
    if not name.startswith("indirect"):  # its name in reports says which neighbors it asks about
        assert attack.name == name


def test_the_shadow_trains_as_the_plan_says() -> None:
    """Texas100's for 30 epochs, the defender's sub-models for 20."""
    for name, epochs in (("texas100", 30), ("purchase100", 30), ("location30", 50)):
        (attack,) = build_attacks(["shadow_squared_l2"], PLANS[name], dataset("binary"))
        assert attack.split_ai.recipe.epochs == epochs  # type: ignore[attr-defined]
        assert attack.split_ai.recipe.batch_size == PLANS[name].training.batch_size  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="shadow_epochs"):
        Plan(shadow_epochs=0)


@pytest.mark.parametrize("name", ["lira", "rmia", "parrot"])
def test_reference_models_know_the_defense(name: str) -> None:
    """They repeat the whole of SELENA, with its K and L."""
    plan, data = Plan(hidden=(4,), n_submodels=7, n_nonmodels=3), dataset("binary")
    defense = build_defense("selena", plan, data)
    (attack,) = build_attacks([name], plan, data, defense=defense)
    assert attack.defense is defense  # type: ignore[attr-defined]
    assert (defense.n_submodels, defense.n_nonmodels) == (7, 3)


def test_settings_change_the_hyperparameters_they_name() -> None:
    settings: dict[str, dict[str, Any]] = {
        "flip_noise": {"flips": [1, 2], "copies": 3},
        "shadow_squared_l2": {"direction": "+"},
    }
    plan, data = Plan(hidden=(4,)), dataset("binary")
    flips, shadow = build_attacks(list(settings), plan, data, settings)
    assert (flips.flips, flips.copies) == ((1, 2), 3)  # type: ignore[attr-defined]
    assert shadow.direction == "+"  # type: ignore[attr-defined]
    smoothed = build_defense("label_smoothing", plan, data, {"label_smoothing": {"smoothing": 0.3}})
    assert smoothed.smoothing == 0.3  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"attack_settings\.flip_noise\.flips"):
        build_attacks(["flip_noise"], plan, data, {"flip_noise": {"flip": 3}})
    with pytest.raises(ConfigError, match="Did you mean 'flip_noise'"):
        build_attacks(["flip_noise"], plan, data, {"flip_noises": {}})
    # Of those that are not asked for too.
    with pytest.raises(ConfigError, match=r"attack_settings\.flip_noise\.flips"):
        build_attacks(["confidence"], plan, data, {"flip_noise": {"flip": 3}})
    with pytest.raises(ConfigError, match=r"defense_settings\.dp_sgd"):
        build_defense("hamp", plan, data, {"dp_sgd": {"nonsense": 4}})
    with pytest.raises(ConfigError, match="Did you mean 'hamp'"):
        build_defense("hamp", plan, data, {"hammp": {}})


@pytest.mark.parametrize("features", X)
def test_families_hold_attacks_that_suit_the_features(features: FeatureKind) -> None:
    for family in FAMILIES:
        attacks = build_attacks([family], Plan(hidden=(4,)), dataset(features))
        assert attacks
        assert {attack.family for attack in attacks} == {family}
        assert not {attack.access for attack in attacks} & {"gradient"}
    everything = build_attacks([*FAMILIES, *FAMILIES], Plan(hidden=(4,)), dataset(features))
    names = [attack.name for attack in everything]
    assert len(set(names)) == len(names)


def test_every_number_of_flips_is_an_attack_of_its_own() -> None:
    attacks = build_attacks(["flip_noise_each"], Plan(hidden=(4,)), dataset("binary"))
    assert [attack.name for attack in attacks] == [f"flip_noise_{i}" for i in range(1, 31)]
    with pytest.raises(ConfigError, match="binary"):
        build_attacks(["flip_noise_each"], Plan(hidden=(4,)), dataset("image"))
