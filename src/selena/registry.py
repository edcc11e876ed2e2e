"""Three literal tables: data sets, defenses and attacks by name.

A new defense or attack is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

from selena.attacks.adaptive import ShadowNeuralAttack, ShadowSplitAI
from selena.attacks.augmentation import AugmentationAttack
from selena.attacks.boundary import BoundaryDistance
from selena.attacks.flip_noise import FlipNoise
from selena.attacks.gaussian_noise import GaussianNoise
from selena.attacks.hopskipjump import HopSkipJump
from selena.attacks.indirect import IndirectQuery, Kind
from selena.attacks.neural import NeuralAttack
from selena.attacks.threshold import ThresholdAttack
from selena.data.load import DATASETS
from selena.defenses.selena import Selena
from selena.defenses.split_ai import SplitAI
from selena.defenses.undefended import Undefended
from selena.errors import ConfigError, unknown_name
from selena.signals import SignalName
from selena.training.plans import Plan
from selena.types import Attack, Dataset, Defense, Family, FeatureKind

__all__ = [
    "ATTACKS",
    "DATASETS",
    "DEFENSES",
    "FAMILIES",
    "build_attacks",
    "build_defense",
    "prediction_attacks",
]

# The perturbation that makes a record's near neighbor.
_NEIGHBORS: dict[FeatureKind, Kind] = {"binary": "flip", "continuous": "noise", "image": "shift"}


def _split_ai(plan: Plan, data: Dataset) -> SplitAI:
    return SplitAI(plan.network(data), data.num_classes, plan.training, plan.k, plan.l)


def _neural(plan: Plan) -> NeuralAttack:
    return NeuralAttack(batch_size=plan.training.batch_size)


def _flips(data: Dataset) -> tuple[int, ...]:
    """Return the paper's range: to 30 of Purchase100's 600 bits, to 100 of Texas100's 6,169."""
    bits = data.records.x[0].numel()
    return tuple(range(1, (100 if bits > 1000 else min(30, bits)) + 1))


def _box(data: Dataset) -> tuple[float, float]:
    """Return the range in which a record may be moved: pixels in [0, 1], others as they occur."""
    if data.features == "image":
        return 0.0, 1.0
    return float(data.records.x.min()), float(data.records.x.max())


def _boundary(data: Dataset) -> BoundaryDistance:
    low, high = _box(data)
    return BoundaryDistance(low=low, high=high)


def _hopskipjump(data: Dataset) -> HopSkipJump:
    low, high = _box(data)
    return HopSkipJump(low=low, high=high)


DEFENSES: dict[str, Callable[[Plan, Dataset], Defense]] = {
    "undefended": lambda plan, data: Undefended(
        plan.network(data), data.num_classes, plan.training
    ),
    "split_ai": _split_ai,
    "selena": lambda plan, data: Selena(
        plan.network(data), data.num_classes, plan.training, plan.distillation, plan.k, plan.l
    ),
}


@dataclass(frozen=True)
class AttackEntry:
    """How an attack is built, and for whom.

    Attributes:
        family: the family it is listed under.
        build: makes the attack for a plan and a data set.
        features: the kinds of features it knows how to change, or all of them.
        in_family: whether the family's name stands for it too; attacks that take very long or
            need gradients are run when they are named.
    """

    family: Family
    build: Callable[[Plan, Dataset], Attack]
    features: tuple[FeatureKind, ...] = get_args(FeatureKind)
    in_family: bool = True


ATTACKS: dict[str, AttackEntry] = {
    "correctness": AttackEntry("direct", lambda plan, data: ThresholdAttack("correctness")),
    "confidence": AttackEntry("direct", lambda plan, data: ThresholdAttack("confidence")),
    "entropy": AttackEntry("direct", lambda plan, data: ThresholdAttack("entropy")),
    "modified_entropy": AttackEntry(
        "direct", lambda plan, data: ThresholdAttack("modified_entropy")
    ),
    "neural": AttackEntry("direct", lambda plan, data: _neural(plan)),
    "flip_noise": AttackEntry(
        "label-only", lambda plan, data: FlipNoise(_flips(data)), ("binary",)
    ),
    "gaussian_noise": AttackEntry(
        "label-only", lambda plan, data: GaussianNoise(), ("continuous", "image")
    ),
    "augmentation": AttackEntry("label-only", lambda plan, data: AugmentationAttack(), ("image",)),
    "augmentation_classifier": AttackEntry(
        "label-only", lambda plan, data: AugmentationAttack("classifier"), ("image",)
    ),
    "boundary": AttackEntry(
        "label-only",
        lambda plan, data: _boundary(data),
        ("continuous", "image"),
        in_family=False,
    ),
    "hopskipjump": AttackEntry(
        "label-only",
        lambda plan, data: _hopskipjump(data),
        ("continuous", "image"),
        in_family=False,
    ),
    "shadow_cross_entropy": AttackEntry(
        "adaptive", lambda plan, data: ShadowSplitAI(_split_ai(plan, data), "cross_entropy")
    ),
    "shadow_squared_l2": AttackEntry(
        "adaptive", lambda plan, data: ShadowSplitAI(_split_ai(plan, data), "squared_l2")
    ),
    "shadow_neural_difference": AttackEntry(
        "adaptive",
        lambda plan, data: ShadowNeuralAttack(_split_ai(plan, data), "difference", _neural(plan)),
    ),
    "shadow_neural_both": AttackEntry(
        "adaptive",
        lambda plan, data: ShadowNeuralAttack(_split_ai(plan, data), "both", _neural(plan)),
    ),
    "indirect_confidence": AttackEntry(
        "adaptive", lambda plan, data: IndirectQuery(_NEIGHBORS[data.features], signal="confidence")
    ),
    "indirect_modified_entropy": AttackEntry(
        "adaptive",
        lambda plan, data: IndirectQuery(_NEIGHBORS[data.features], signal="modified_entropy"),
    ),
}

FAMILIES: tuple[Family, ...] = get_args(Family)


def build_defense(name: str, plan: Plan, dataset: Dataset) -> Defense:
    """Return the defense called `name`, set up by `plan` for `dataset`."""
    if name not in DEFENSES:
        raise unknown_name("defense", name, DEFENSES)
    return DEFENSES[name](plan, dataset)


def build_attacks(names: Iterable[str], plan: Plan, dataset: Dataset) -> list[Attack]:
    """Return the attacks called `names`.

    A family's name stands for those of its attacks that suit the data set's features.

    Raises:
        ConfigError: an unknown name, or a named attack that does not suit the features.
    """
    chosen: dict[str, Attack] = {}
    for name in names:
        if name not in FAMILIES and name not in ATTACKS:
            raise unknown_name("attack", name, [*FAMILIES, *ATTACKS])
        for each in [name] if name in ATTACKS else _family(name, dataset):
            entry = ATTACKS[each]
            if dataset.features not in entry.features:
                raise ConfigError(
                    f"The attack {each} needs {' or '.join(entry.features)} features; those of "
                    f"{dataset.name} are {dataset.features}."
                )
            chosen[each] = entry.build(plan, dataset)
    return list(chosen.values())


def prediction_attacks() -> list[Attack]:
    """Return the attacks that need nothing but predictions on the records themselves."""
    return [*(ThresholdAttack(signal) for signal in get_args(SignalName)), NeuralAttack()]


def _family(family: str, dataset: Dataset) -> list[str]:
    return [
        name
        for name, entry in ATTACKS.items()
        if entry.family == family and entry.in_family and dataset.features in entry.features
    ]
