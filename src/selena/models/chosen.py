"""Which attacks are run, and on what: on answers alone, or on features that they may change."""

from __future__ import annotations

from collections.abc import Sequence

from selena.auditing.run import check_attacks as check_own
from selena.errors import ConfigError, unknown_name
from selena.registry import ATTACKS, EVERY_FLIP, FAMILIES, build_attacks, prediction_attacks
from selena.training.plans import PLANS
from selena.types import Attack, Dataset, Family, FeatureKind, Records

_REPEATING: Family = "reference-model"


def check_attacks(attacks: Sequence[str | Attack]) -> None:
    """Raise `ConfigError` unless there are attacks, each by a known name or one that can be run."""
    if not attacks:
        raise ConfigError(f"No attack was named. Families: {', '.join(FAMILIES)}.")
    known = [*FAMILIES, *ATTACKS, EVERY_FLIP]
    repeating = [_REPEATING, *(name for name in ATTACKS if ATTACKS[name].family == _REPEATING)]
    for attack in attacks:
        if isinstance(attack, str) and attack not in known:
            raise unknown_name("attack", attack, known)
        if isinstance(attack, str) and attack in repeating:
            raise ConfigError(
                f"{attack} repeats the model's training, which its name does not tell. Pass "
                "selena.ReferenceModelAttack(training): selena.EstimatorTraining(classifier) for "
                "a classifier of scikit-learn, or an object of your own (docs/audit.md)."
            )
        if isinstance(attack, type) and isinstance(attack, Attack):
            raise ConfigError(f"{attack.__name__} is a class; pass {attack.__name__}(...).")
        if not isinstance(attack, str | Attack):
            raise ConfigError(
                f"{attack!r} is no attack: it lacks name, family, access or fit. Give one, or a "
                f"name: {', '.join(known)}."
            )
    check_own([attack for attack in attacks if not isinstance(attack, str)])


def needs_features(attacks: Sequence[str | Attack]) -> list[str]:
    """Return the names of attacks that may ask about other inputs than the records."""
    alone = prediction_attacks()
    kinds, names = {type(attack) for attack in alone}, {attack.name for attack in alone}
    names |= {
        family
        for family in FAMILIES
        if all(name in names for name, entry in ATTACKS.items() if entry.family == family)
    }
    return [
        attack if isinstance(attack, str) else attack.name
        for attack in attacks
        if (attack not in names if isinstance(attack, str) else type(attack) not in kinds)
    ]


def chosen_attacks(
    attacks: Sequence[str | Attack], records: Records, features: FeatureKind, num_classes: int
) -> list[Attack]:
    """Return the attacks, those that were named set up for these records.

    Raises:
        ConfigError: an attack that does not suit the features.
    """
    recipe = "tabular"
    if features == "image" and records.x.shape[1] == 3:
        recipe = "image_folder"  # an attacker who imitates the model trains a ResNet
    data = Dataset(
        name="these records",
        records=records,
        num_classes=num_classes,
        features=features,
        recipe=recipe,
        n_members=len(records) // 2,
        source="given to an audit",
    )
    named = build_attacks([each for each in attacks if isinstance(each, str)], PLANS[recipe], data)
    return [*named, *(each for each in attacks if not isinstance(each, str))]
