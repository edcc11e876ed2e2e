"""Which attacks run, and whether they need only answers or also the records' features."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from selena.auditing.run import check_attacks as check_own
from selena.errors import ConfigError
from selena.registry import ATTACKS, EVERY_FLIP, FAMILIES, attacks_of, build_attacks
from selena.training.plans import PLANS
from selena.types import Attack, Dataset, FeatureKind, Needs, Records, TrainingAttack

_LOG = logging.getLogger(__name__)
_MANY = 2_000_000  # in larger tables a family leaves out attacks that train networks


def check_attacks(attacks: Sequence[str | Attack]) -> None:
    """Raise `ConfigError` unless there are attacks, each by a known name or one that can be run."""
    if not attacks:
        raise ConfigError(f"No attack was named. Families: {', '.join(FAMILIES)}.")
    for attack in attacks:
        if isinstance(attack, str) and needs_of(attack) == {"training"}:
            raise ConfigError(
                f"{attack} repeats the model's training, which its name does not tell. Pass "
                "selena.ReferenceModelAttack(training): selena.EstimatorTraining(classifier) for "
                "a classifier of scikit-learn, or an object of your own (docs/audit.md); or give "
                "references, a matrix of models that are trained."
            )
        if not isinstance(attack, str) and not hasattr(attack, "fit"):
            raise ConfigError(
                f"{attack!r} is no attack. Give one, or a name: "
                f"{', '.join([*FAMILIES, *ATTACKS, EVERY_FLIP])}."
            )
    check_own([attack for attack in attacks if not isinstance(attack, str)])


def needs_of(attack: str | Attack) -> set[Needs]:
    """Return what an attack needs, or what the attacks of a family need.

    Raises:
        ConfigError: an unknown name.
    """
    if isinstance(attack, str):
        return {ATTACKS[name].needs for name in attacks_of(attack)}
    return {attack.needs}


def beyond_predictions(attacks: Sequence[str | Attack]) -> list[str]:
    """Return the names of attacks and families that need more than predictions."""
    return [
        attack if isinstance(attack, str) else attack.name
        for attack in attacks
        if "predictions" not in needs_of(attack)
    ]


def affordable(attacks: Sequence[str | Attack], n: int) -> Sequence[str | Attack]:
    """Return the attacks without those of a family that would take too long for `n` records.

    Args:
        attacks: attacks, names and families. An attack given by its own name stays.
        n: number of records.
    """
    if n <= _MANY:
        return attacks
    kept: dict[str | Attack, None] = {}
    left_out: list[str] = []
    for attack in attacks:
        if isinstance(attack, str) and attack in FAMILIES:
            names = attacks_of(attack)
            slow = [name for name in names if _trains(name)]
            left_out += slow
            kept |= dict.fromkeys(name for name in names if name not in slow)
        else:
            kept[attack] = None
    if skipped := [name for name in left_out if name not in kept]:
        _LOG.warning(
            "%s: left out, because networks score %s records slowly. Name %s to run %s.",
            ", ".join(skipped),
            f"{n:,}",
            *(("it", "it") if len(skipped) == 1 else ("them", "them")),
        )
    return list(kept)


def _trains(name: str) -> bool:
    entry = ATTACKS[name]
    return isinstance(entry.kind(**entry.settings), TrainingAttack)


def chosen_attacks(
    attacks: Sequence[str | Attack],
    records: Records,
    features: FeatureKind | None,
    num_classes: int,
) -> list[Attack]:
    """Return the attacks; those given by name are built for these records.

    Args:
        attacks: attacks, names and families.
        records: the known records and those to score.
        features: kind of `records.x`; None if it holds row numbers of a table of predictions.
        num_classes: number of classes.

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
        features=features or "continuous",
        recipe=recipe,
        n_members=len(records) // 2,
        source="given to an audit",
    )
    named = build_attacks(
        [each for each in attacks if isinstance(each, str)],
        PLANS[recipe],
        data,
        needs=["predictions"] if features is None else ["predictions", "features"],
    )
    return [*named, *(each for each in attacks if not isinstance(each, str))]
